"""Faults of the system, of which the operator is told: a disk that fails, descriptors used up.

Limit: one report in REPORT_SECONDS, since one bad disk can make every request fail.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

REPORT_SECONDS = 60.0

_OF_DISKS = frozenset(
    getattr(errno, name)
    for name in ("EIO", "ENODEV", "ENOTCONN", "EREMOTEIO", "ESTALE", "EUCLEAN")
    if hasattr(errno, name)
)
"""Errors that no client causes when something is sent to it."""


class Faults:
    """Tells `report` of faults."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._next_report = 0.0
        self._untold = 0

    def failed(self, cause: OSError, request_line: bytes) -> None:
        """Tell that a request could not be answered, because of `cause`."""
        self._tell(f"'{request_line.decode('latin-1')}' could not be answered", cause)

    def cut(self, cause: Exception) -> None:
        """Tell why a response was cut short, unless its client has left."""
        if isinstance(cause, OSError) and cause.errno in _OF_DISKS:
            self._tell("a response was cut short", cause)

    def _tell(self, what: str, cause: OSError) -> None:
        now = time.monotonic()
        if now < self._next_report:
            self._untold += 1
            return
        self._next_report = now + REPORT_SECONDS
        more = f" (and {self._untold} more before that)" if self._untold else ""
        self._untold = 0
        self._report(f"{what}: {os.strerror(cause.errno or 0)}{more}")
