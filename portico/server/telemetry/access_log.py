"""One line for each response: Common, Combined or JSON; written once per turn of the loop.

Rule: what a client sent is escaped, so that it can neither forge a line nor move a terminal's
cursor. Credentials are never among the fields that are logged.

Limit: a log whose reader has gone is given up silently; serving goes on. A reader who does not read
holds serving up, as it does any program that writes to a pipe, but not the end of it.
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
"""Octets of a request line that are logged; the rest of a longer one says nothing to anybody."""

_PIECE = getattr(select, "PIPE_BUF", 512)
"""Octets that a pipe with room takes at once, without waiting for its reader (POSIX, write)."""
_PATIENCE = 100
"""Milliseconds after which a reader who does not read is given up, once the worker stops."""

_UNSAFE = re.compile(r'[^ -~]|["\\]')

# The colour of a status by its first digit: green, cyan, yellow, red.
_COLORS = {"2": "32", "3": "36", "4": "33", "5": "31"}


def escape(text: str) -> str:
    r"""`text` with quotes, backslashes and all that is not visible ASCII as \xHH."""
    return _UNSAFE.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class AccessLog:
    """Writes lines to the descriptor `fd`, which stays open; `log_format` as the option has it."""

    def __init__(self, fd: int, log_format: str, *, color: bool) -> None:
        self._fd: int | None = fd
        self._room = _room_in(fd)
        self._patient = True
        self._format = log_format
        self._color = color
        self._second = 0
        self._stamp = ""
        self._lines: list[tuple[str, tuple[str, str], int]] = []
        self.fields: frozenset[str] = frozenset(
            () if log_format == "common" else ("referer", "user-agent")
        )
        """The fields that a line repeats."""

    def describe(
        self, request_line: bytes, request: RequestHead | None, status: int
    ) -> tuple[str, str]:
        """What a line says of a request and its status: the text before the length, and after."""
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
        """Log a response to `peer` of `length` octets of content; `text` comes from `describe`."""
        self._lines.append((peer, text, length))

    def flush(self) -> None:
        """Write what was added."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        second = int(time.time())
        if second != self._second:
            self._second, self._stamp = second, self._moment(second)
        stamp = self._stamp
        if self._format == "json":
            text = "".join(
                [
                    f'{{"time": "{stamp}", "client": "{peer}", {before}{length}{after}'
                    for peer, (before, after), length in lines
                ]
            )
        else:
            text = "".join(
                [
                    f"{peer} - - {stamp} {before}{length}{after}"
                    for peer, (before, after), length in lines
                ]
            )
        self._write(text.encode("ascii"))

    def _moment(self, second: int) -> str:
        if self._format == "json":
            return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
        moment = f"[{common_log_date(second)}]"
        return f"\x1b[2m{moment}\x1b[0m" if self._color else moment

    def give_up(self) -> None:
        """Wait no longer for a reader who does not read. For signal handlers as well."""
        self._patient = False

    def _write(self, data: bytes) -> None:
        """Write all of `data`. The descriptor may be a pipe that is full or has lost its reader."""
        while data and self._fd is not None:
            try:
                if self._room is None:
                    data = data[os.write(self._fd, data) :]
                elif self._room.poll(_PATIENCE):
                    # Whole lines, where they fit: other workers may write to the same pipe.
                    end = data.rfind(b"\n", 0, _PIECE) + 1 or _PIECE
                    data = data[os.write(self._fd, data[:end]) :]
                elif not self._patient:
                    return
            except BlockingIOError:  # somebody made it non-blocking; it will catch up
                time.sleep(0.001)
            except OSError:
                self._fd = None


def _room_in(fd: int) -> select.poll | None:
    """What tells whether a write to `fd` would have to wait; None for a file, which never does."""
    if stat.S_ISREG(os.fstat(fd).st_mode) or not hasattr(select, "poll"):
        return None
    room = select.poll()
    room.register(fd, select.POLLOUT)
    return room


def _json_members(
    line: str, status: int, referer: str | None, agent: str | None
) -> tuple[str, str]:
    import json

    method, _, rest = line.partition(" ")
    target = rest.rpartition(" ")[0] or rest
    known = {"method": method, "target": target, "status": status}
    before = json.dumps(known)[1:-1] + ', "length": '
    return before, ", " + json.dumps({"referer": referer, "user_agent": agent})[1:] + "\n"
