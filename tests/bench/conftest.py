"""What a run of the bench needs, in a folder of the test's own."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from bench import machine
from bench.load import Seen
from bench.runner import Bench, Participant, Record, Slice


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A bench with one short round."""
    if sys.platform != "linux" or shutil.which("wrk") is None:
        pytest.skip("needs Linux and wrk")
    participants = [Participant("portico", "Portico", "contender", "0.1.0")]
    record = Record("2026-01-31", 1, 0.1, {"CPU": "Example"}, participants)
    return Bench(tmp_path, sys.executable, sys.executable, machine.pick_cores(), record)


@pytest.fixture
def canned() -> Record:
    """Portico, nginx and a slow server in two rounds of three scenarios, and along an axis."""
    record = Record("2026-01-31", 2, 1.0, {"CPU": "Example CPU"})
    for name, kind in (("portico", "contender"), ("nginx", "contender"), ("slow", "reference")):
        record.servers.append(Participant(name, name.title(), kind, "1.0"))
    costs = {"portico": (8, 8), "nginx": (16, 20), "slow": (800, 800)}
    for case in ("small", "10m", "range"):
        for name, rounds in costs.items():
            for turn, cost in enumerate(rounds):
                record.slices.append(one("scenarios", case, name, turn, cost))
    for x, value in enumerate(("10", "100", "1,000")):
        record.slices.append(one("scaling files", value, "portico", 0, 10 * 30**x))
        record.slices.append(one("scaling files", value, "nginx", 0, 20))
    record.remark("scenarios", "range", "slow", "left out:  answered 200\ninstead of 206")
    return record


def one(part: str, case: str, server: str, turn: int, cost: float) -> Slice:
    """A slice of a second with 1,000 requests at this cost."""
    seen = Seen(1000, 1000 * 2**20, 1.0, 400, 1000 + turn, 3000)
    return Slice(part, case, server, "", turn, cost / 1000, 1000, seen)
