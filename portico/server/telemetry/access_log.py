"""The access log: a line for each response, in Common, Combined or JSON format.

Lines are written once per turn of the loop. What a client sent is escaped, so that it can neither
forge a line nor move a terminal's cursor. Fields with credentials are never logged.

Limits: when the reader of a pipe has gone, logging ends silently. A reader that does not read
blocks the server, as it does any program that writes to a pipe, but does not delay its end.
"""

from __future__ import annotations

import os
import re
import select
import stat
import time
from typing import TYPE_CHECKING

from portico.http.dates import common_log_date

if TYPE_CHECKING:
    from portico.http.message import RequestHead

_REQUEST_LINE_LIMIT = 2048
"""Octets of a request line that are logged."""

_PIECE = getattr(select, "PIPE_BUF", 512)
"""Octets that a writable pipe takes without blocking (POSIX, write)."""
_POLL_MILLISECONDS = 100
"""How long to wait for a reader at a time; once the worker stops, at all."""

_UNSAFE = re.compile(r'[^ -~]|["\\]')

# The colour of a status by its first digit: green, cyan, yellow, red.
_COLORS = {"2": "32", "3": "36", "4": "33", "5": "31"}


def escape(text: str) -> str:
    r"""Return `text` with quotes, backslashes and all but visible ASCII as \xHH."""
    return _UNSAFE.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class AccessLog:
    """Writes lines to the descriptor `fd`, which stays open. `log_format` is that option."""

    def __init__(self, fd: int, log_format: str, *, color: bool) -> None:
        self._fd: int | None = fd
        self._writable = _poll_for(fd)
        self._stopping = False
        self._format = log_format
        self._color = color
        self._second = 0
        self._around_peer = ("", "")
        self._lines: list[tuple[str, tuple[str, str], int]] = []
        self.fields: frozenset[str] = frozenset(
            () if log_format == "common" else ("referer", "user-agent")
        )
        """The request fields that are logged."""

    def describe(
        self, request_line: bytes, request: RequestHead | None, status: int
    ) -> tuple[str, str]:
        """Return what a line says before and after the length of the content."""
        line = request_line[:_REQUEST_LINE_LIMIT].decode("latin-1")
        referer = agent = None
        if request is not None:
            referer, agent = request.get("referer"), request.get("user-agent")
        if self._format == "json":
            return _json_members(line, status, referer, agent)
        code = f"\x1b[{_COLORS.get(str(status)[0], '0')}m{status}\x1b[0m" if self._color else status
        before = f'"{escape(line)}" {code} '
        if self._format == "combined":
            return before, f' "{escape(referer or "-")}" "{escape(agent or "-")}"\n'
        return before, "\n"

    def add(self, peer: str, text: tuple[str, str], length: int) -> None:
        """Log a response with `length` octets of content to `peer`; `describe` makes `text`."""
        self._lines.append((peer, text, length))

    def flush(self) -> None:
        """Write the lines that were added."""
        if not self._lines:
            return
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._around_peer = self._timestamp(second)
        start, middle = self._around_peer
        text = "".join(
            [
                f"{start}{peer}{middle}{before}{length}{after}"
                for peer, (before, after), length in self._lines
            ]
        )
        self._lines.clear()
        self._write(text.encode("ascii"))

    def _timestamp(self, second: int) -> tuple[str, str]:
        """Return what a line says before the client's address, and between it and the request."""
        if self._format == "json":
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
            return f'{{"time": "{stamp}", "client": "', '", '
        stamp = f"[{common_log_date(second)}]"
        return "", f" - - \x1b[2m{stamp}\x1b[0m " if self._color else f" - - {stamp} "

    def give_up(self) -> None:
        """Block no longer: drop lines that a reader does not take. For signal handlers as well."""
        self._stopping = True

    def _write(self, data: bytes) -> None:
        """Write all of `data`, perhaps to a pipe that is full or has lost its reader."""
        while data and self._fd is not None:
            try:
                if self._writable is None:
                    data = data[os.write(self._fd, data) :]
                elif self._writable.poll(_POLL_MILLISECONDS):
                    # Whole lines if they fit, because other workers may write to the same pipe.
                    end = data.rfind(b"\n", 0, _PIECE) + 1 or _PIECE
                    data = data[os.write(self._fd, data[:end]) :]
                elif self._stopping:
                    return
            except BlockingIOError:  # another program has made it non-blocking
                time.sleep(0.001)
            except OSError:
                self._fd = None


def _poll_for(fd: int) -> select.poll | None:
    """Return a poll object that waits until `fd` is writable; None for a file, which always is."""
    if stat.S_ISREG(os.fstat(fd).st_mode) or not hasattr(select, "poll"):
        return None
    writable = select.poll()
    writable.register(fd, select.POLLOUT)
    return writable


def _json_members(
    line: str, status: int, referer: str | None, agent: str | None
) -> tuple[str, str]:
    import json

    method, _, rest = line.partition(" ")
    target = rest.rpartition(" ")[0] or rest
    known = {"method": method, "target": target, "status": status}
    before = json.dumps(known)[1:-1] + ', "length": '
    return before, ", " + json.dumps({"referer": referer, "user_agent": agent})[1:] + "\n"
