"""The access log: one line per request, in Common, Combined or JSON format or in the short form.

Lines are written once per loop iteration. How an exchange ended (see `ends`) is a member of its own
in JSON and a word in the short form. Common and Combined have no place for it: there, an exchange
that ended early has a status from `ends.STATUSES`.

Text from a client is escaped, so that it can neither forge a line nor move a terminal's cursor.
Header fields with credentials are never logged.

Limits: when the reader of a pipe has closed it, logging ends silently. Lines that cannot be
written, because the disk is full or the reader has stopped reading (see `output`), are lost. Their
number is reported at most every REPORT_SECONDS, and logging resumes as soon as there is room.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

from portico.http.dates import common_log_date
from portico.server.telemetry import short_form
from portico.server.telemetry.ends import COMPLETE, STATUSES
from portico.server.telemetry.output import Output
from portico.site.rules.rulebook import warn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from portico.config.config import Config
    from portico.http.message import RequestHead
    from portico.server.telemetry.ends import Line

_REQUEST_LINE_LIMIT = 2048
"""Bytes of a request line that are logged."""

REPORT_SECONDS = 60
"""Least time between two reports of lost lines."""

_SPACE = r"\x20"
"""Replaces a space in a user's name, since programs split Common and Combined lines at spaces."""

_UNSAFE = re.compile(r'[^ -~]|["\\]')


def escape(text: str) -> str:
    r"""Return `text` with quotes, backslashes and everything but printable ASCII as \xHH."""
    return _UNSAFE.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class CertifiedPeer(str):
    """A client's address, together with the subject of the client's certificate."""

    __slots__ = ("_subject",)
    _subject: Sequence[str]

    def __new__(cls, address: str, subject: Sequence[str]) -> Self:
        """`subject` is a list that holds the subject once the handshake is complete.

        It is given instead of the connection, because caches keep addresses longer than connections
        live.
        """
        peer = super().__new__(cls, address)
        peer._subject = subject
        return peer

    @property
    def subject(self) -> str:
        """The subject; empty before the handshake is complete, or without a certificate."""
        return "".join(self._subject)


class AccessLog:
    """Writes log lines to the file descriptor `fd`, and never closes it.

    `config.log_format` is not "auto", and `config.color` not "auto" either. `report` is called with
    a text that says how many lines were lost, and why.
    """

    def __init__(self, fd: int, config: Config, report: Callable[[str], None] = warn) -> None:
        self._fd = fd
        self._output: Output | None = Output(fd)
        self._unfinished = b""  # the rest of a line whose beginning was written
        self._lost = 0
        self._why_lost = ""
        self._next_report = 0
        self._report = report
        self._format = config.log_format
        self._color = config.color == "always"
        # Clients may have names: those of users, or in their certificates.
        self._names = bool(config.users or config.tls_client_ca)
        self._second = 0
        self._around_peer = ("", "")
        self._lines: list[Line] = []
        self.fields: frozenset[str] = frozenset(
            () if self._format in {"common", "short"} else ("referer", "user-agent")
        )
        """The request header fields that are logged, in lower case."""

    def describe(
        self, request_line: bytes, request: RequestHead | None, status: int
    ) -> tuple[str, ...]:
        """Return the parts of a line that do not change when the same response is sent again.

        These are the text before the content's length, the text after it and, with `names`, the
        user's name. In the short form: status and method, and the target.
        """
        line = request_line[:_REQUEST_LINE_LIMIT].decode("latin-1")
        referer = agent = user = None
        if request is not None:
            referer, agent = request.get("referer"), request.get("user-agent")
            user = request.user
        if self._format == "json":
            return _json_members(line, status, referer, agent, user)
        if self._format == "short":
            return short_form.describe(escape(line), status)
        before = f'"{escape(line)}" {self._colored(status)} '
        after = "\n"
        if self._format == "combined":
            after = f' "{escape(referer or "-")}" "{escape(agent or "-")}"\n'
        return (before, after, user or "") if self._names else (before, after)

    def _colored(self, status: int) -> str:
        return short_form.colored(str(status)) if self._color else str(status)

    def add(self, peer: str, text: tuple[str, ...], length: int, began: float) -> None:
        """Log a complete response to `peer` with `length` bytes of content.

        `text` is a result of `describe`. `began` is the time at which the server began to process
        the request, in monotonic seconds.
        """
        self._lines.append((peer, text, length, began, COMPLETE))

    def add_cut(
        self, peer: str, text: tuple[str, ...], length: int, began: float, end: str
    ) -> None:
        """Log an exchange that ended before its response was complete; `end` is from `ends`."""
        if self._format in {"common", "combined"}:
            request_line, _, _ = text[0].rpartition('" ')
            text = f'{request_line}" {self._colored(STATUSES[end])} ', *text[1:]
        self._lines.append((peer, text, length, began, end))

    def flush(self) -> None:
        """Write the lines that were added since the last call."""
        if not self._lines:
            return
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._around_peer = self._timestamp(second)
        start, middle = self._around_peer
        if self._names:
            self._lines = [self._named(line) for line in self._lines]
        if self._format == "short":
            text = self._short_lines(start)
        elif self._format == "json":
            now = time.monotonic()
            text = "".join(
                [
                    f"{start}{peer}{middle}{before}{length}, "
                    f'"duration": {now - began:.6f}, "end": "{end}"{after}'
                    for peer, (before, after), length, began, end in self._lines
                ]
            )
        else:
            text = "".join(
                [
                    f"{start}{peer}{middle}{before}{length}{after}"
                    for peer, (before, after), length, _, _ in self._lines
                ]
            )
        self._lines.clear()
        self._write(text.encode("ascii"))

    def _named(self, line: Line) -> Line:
        """Return `line` with the client's name after the client's address."""
        peer, text, length, began, end = line
        subject = peer.subject if isinstance(peer, CertifiedPeer) else ""
        if self._format == "json":
            import json

            peer = f'{peer}", "client_subject": {json.dumps(subject or None)}'
        elif self._format != "short":
            text, user = text[:2], text[2]
            peer = f"{peer} - {escape(user or subject or '-').replace(' ', _SPACE)}"
        return peer, text, length, began, end

    def _short_lines(self, clock: str) -> str:
        """Return the lines in the short form, fit to the terminal's present width."""
        try:
            width = os.get_terminal_size(self._fd).columns
        except OSError:
            width = 0
        now = time.monotonic()
        return "".join(
            [
                short_form.short_line(clock, line, now, width=width, color=self._color)
                for line in self._lines
            ]
        )

    def _timestamp(self, second: int) -> tuple[str, str]:
        """Return the text before the client's address, and the text between it and the request."""
        if self._format == "short":
            return time.strftime("%H:%M:%S", time.localtime(second)), ""
        if self._format == "json":
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
            return f'{{"time": "{stamp}", "client": "', ", " if self._names else '", '
        stamp = f"[{common_log_date(second)}]"
        stamp = f"\x1b[2m{stamp}\x1b[0m" if self._color else stamp
        return "", f" {stamp} " if self._names else f" - - {stamp} "

    def _write(self, data: bytes) -> None:
        """Write `data`; drop and count the lines for which there is no room."""
        if self._output is None:
            return
        data = self._unfinished + data
        try:
            left = self._output.write(data)
            why = "its reader stands still, or the disk is full"
        except BrokenPipeError:
            self._output = None
            return
        except OSError as error:
            left, why = data, str(error.strerror)
        if len(left) < len(data):
            is_cut = left and data[-len(left) - 1] != ord("\n")
            self._unfinished = left[: left.find(b"\n") + 1] if is_cut else b""
        if left:
            self._lost += left.count(b"\n") - bool(self._unfinished)
            self._why_lost = why
        if self._lost and self._second >= self._next_report:
            self._next_report = self._second + REPORT_SECONDS
            self._report(f"lines lost from the access log: {self._lost} ({self._why_lost})")
            self._lost = 0


def _json_members(
    line: str, status: int, referer: str | None, agent: str | None, user: str | None
) -> tuple[str, str]:
    import json

    method, _, rest = line.partition(" ")
    target = rest.rpartition(" ")[0] or rest
    known = {"method": method, "target": target, "status": status}
    before = json.dumps(known)[1:-1] + ', "bytes": '
    return before, ", " + json.dumps({"referer": referer, "user_agent": agent, "user": user})[
        1:
    ] + "\n"
