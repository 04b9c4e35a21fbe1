"""Faults of the system, of which the operator is told: a disk that fails, descriptors used up.

Limit: one report in REPORT_SECONDS, since one bad disk can make every request fail.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

from portico.server.telemetry.ends import BY_CLIENT, BY_SERVER

if TYPE_CHECKING:
    from collections.abc import Callable

REPORT_SECONDS = 60.0

_OF_NETWORKS = (ConnectionError, TimeoutError)
"""What is raised when a client has gone, or can be reached no more."""

_OF_DISKS = frozenset(
    getattr(errno, name)
    for name in ("EIO", "ENODEV", "ENOTCONN", "EREMOTEIO", "ESTALE", "EUCLEAN")
    if hasattr(errno, name)
)
"""Errors that no client causes when something is sent to it."""


class SparingReport:
    """Tells `report` one text in REPORT_SECONDS, and how many others there were before it."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._next_report = 0.0
        self._untold = 0

    def tell(self, text: str) -> None:
        """Tell `text`, or only count it."""
        now = time.monotonic()
        if now < self._next_report:
            self._untold += 1
            return
        self._next_report = now + REPORT_SECONDS
        more = f" (and {self._untold} more before that)" if self._untold else ""
        self._untold = 0
        self._report(f"{text}{more}")


class Faults:
    """Tells `report` of faults."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = SparingReport(report)

    def failed(self, cause: OSError, request_line: bytes) -> None:
        """Tell that a request could not be answered, because of `cause`."""
        self._tell(f"'{request_line.decode('latin-1')}' could not be answered", cause)

    def cut(self, cause: Exception) -> str:
        """Return who ended a response that is cut short (see `ends`); tell of a disk that fails."""
        if isinstance(cause, OSError) and cause.errno in _OF_DISKS:
            self._tell("a response was cut short", cause)
        return BY_CLIENT if isinstance(cause, _OF_NETWORKS) else BY_SERVER

    def _tell(self, what: str, cause: OSError) -> None:
        self._report.tell(f"{what}: {os.strerror(cause.errno or 0)}")
