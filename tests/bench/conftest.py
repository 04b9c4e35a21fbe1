"""What a run of the bench needs, in a folder of the test's own."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from bench import machine, measure
from bench.load import Load
from bench.setup import Pythons


@pytest.fixture
def plan(tmp_path: Path) -> measure.Plan:
    if sys.platform != "linux" or shutil.which("wrk") is None:
        pytest.skip("needs Linux and wrk")
    pythons = Pythons(sys.executable, sys.executable)
    site, cores = tmp_path / "site", machine.pick_cores()
    return measure.Plan(tmp_path, site, pythons, cores, Load(tmp_path), 1, 1, print)
