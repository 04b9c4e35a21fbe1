"""A client that is not installed: its tests are skipped, or failed where it is required."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
from tests.end_to_end.serving import installed, run

def test_python():
    assert installed({python!r})

def test_nothing():
    run("no-such-client-anywhere", "--version")
"""


@pytest.mark.parametrize(
    ("required", "code", "said"),
    [("", 0, "1 passed, 1 skipped"), ("1", 1, "PORTICO_REQUIRE_CLIENTS=1, but there is no")],
)
def test_a_missing_client(tmp_path: Path, required: str, code: int, said: str) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_suite.py").write_text(SUITE.format(python=sys.executable))
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PORTICO_REQUIRE_CLIENTS": required},
    )
    assert result.returncode == code, result.stdout
    assert said in result.stdout
