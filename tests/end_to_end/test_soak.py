"""A short soak, for as many seconds as PORTICO_SOAK says: see `soak`, which runs for longer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.end_to_end.soak import Soak
from tests.server.processes.supervised import needs_proc

SECONDS = float(os.environ.get("PORTICO_SOAK", "0"))

pytestmark = [
    needs_proc,
    pytest.mark.first,
    pytest.mark.skipif(not SECONDS, reason="it takes minutes; PORTICO_SOAK=120 runs it"),
]


def test_a_server_under_mixed_load_stays_the_same(tmp_path: Path) -> None:
    soak = Soak(tmp_path, SECONDS)
    soak.run()
    assert "responses checked" in soak.told
