"""Reports to the operator of system faults: a disk that fails, descriptors used up.

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
"""Exceptions raised when a client has closed the connection or is no longer reachable."""

_OF_DISKS = frozenset(
    getattr(errno, name)
    for name in ("EIO", "ENODEV", "ENOTCONN", "EREMOTEIO", "ESTALE", "EUCLEAN")
    if hasattr(errno, name)
)
"""Errors that come from a disk or file system, never from sending to a client."""


class SparingReport:
    """Passes at most one text in REPORT_SECONDS on to `report`, with the number dropped before."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._next_report = 0.0
        self._untold = 0

    def tell(self, text: str) -> None:
        """Pass `text` on, or only count it if the last report is too recent."""
        now = time.monotonic()
        if now < self._next_report:
            self._untold += 1
            return
        self._next_report = now + REPORT_SECONDS
        more = f" (and {self._untold} more before that)" if self._untold else ""
        self._untold = 0
        self._report(f"{text}{more}")


class Faults:
    """Passes faults on to `report`, sparingly."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = SparingReport(report)

    def failed(self, cause: OSError, request_line: bytes) -> None:
        """Report that a request could not be answered, because of `cause`."""
        self._tell(f"'{request_line.decode('latin-1')}' could not be answered", cause)

    def cut(self, cause: Exception) -> str:
        """Return the end (see `ends`) of a response cut short by `cause`; report a disk's error."""
        if isinstance(cause, OSError) and cause.errno in _OF_DISKS:
            self._tell("a response was cut short", cause)
        return BY_CLIENT if isinstance(cause, _OF_NETWORKS) else BY_SERVER

    def _tell(self, what: str, cause: OSError) -> None:
        self._report.tell(f"{what}: {os.strerror(cause.errno or 0)}")
