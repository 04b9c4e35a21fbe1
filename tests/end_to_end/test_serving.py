"""A client that is not installed: its tests are skipped, or fail where it is required."""

from __future__ import annotations

import sys

import pytest

from tests.end_to_end import serving


@pytest.mark.parametrize(
    ("required", "outcome"), [(False, pytest.skip.Exception), (True, pytest.fail.Exception)]
)
def test_a_missing_client(
    monkeypatch: pytest.MonkeyPatch, required: bool, outcome: type[Exception]
) -> None:
    monkeypatch.setattr(serving, "CLIENTS_REQUIRED", required)
    assert serving.installed(sys.executable) == sys.executable
    with pytest.raises(outcome, match="there is no no-such-client on this machine"):
        serving.run("no-such-client", "--version")
