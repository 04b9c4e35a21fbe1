"""kill -9 in the middle of uploads: see `killing`, which runs for longer by itself."""

from __future__ import annotations

from pathlib import Path

from tests.end_to_end.killing import rounds


def test_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    assert "acknowledged" in rounds(tmp_path, kills=6, clients=4, largest=4 << 20, seed=7)
