"""What the operator is told of disks that fail."""

from __future__ import annotations

import errno

import pytest

from portico.http.content import ContentChanged
from portico.server.telemetry import faults
from portico.server.telemetry.ends import BY_CLIENT, BY_SERVER
from portico.server.telemetry.faults import Faults


def test_one_report_at_a_time_which_counts_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    disk = Faults(told.append)
    assert disk.cut(BrokenPipeError(errno.EPIPE, "")) == BY_CLIENT
    for cause in (ContentChanged(), OSError(errno.EIO, "")):
        assert disk.cut(cause) == BY_SERVER
    for _ in range(2):
        disk.failed(OSError(errno.EMFILE, ""), b"GET / HTTP/1.1")
    monkeypatch.setattr(faults, "REPORT_SECONDS", -1.0)
    disk._report._next_report = 0.0
    disk.failed(OSError(errno.EMFILE, ""), b"GET / HTTP/1.1")
    disk.cut(OSError(errno.EIO, ""))
    assert told == [
        "a response was cut short: Input/output error",
        "'GET / HTTP/1.1' could not be answered: Too many open files (and 2 more before that)",
        "a response was cut short: Input/output error",
    ]
