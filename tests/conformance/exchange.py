"""A raw client for any server: octets out, responses in, read to the letter of RFC 9112.

Rule: it mends nothing. What is not a response by the grammar is MalformedError, with the reason.
Limit: it knows what an origin may answer to requests without Upgrade and CONNECT.
"""

from __future__ import annotations

import contextlib
import re
import socket
from typing import Self

Address = tuple[str, int] | str
"""Host and port, or the path of a Unix socket."""

STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-5]\d\d) ([\t -~\x80-\xff]*)")
FIELD_LINE = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t -~\x80-\xff]*?)[ \t]*")
SINGLE = frozenset(
    {
        *("content-encoding", "content-length", "content-range", "content-type", "date", "etag"),
        *("last-modified", "location", "transfer-encoding"),
    }
)
"""Fields that stand in a response at most once."""


class MalformedError(Exception):
    """What came is not a response."""


class Answer:
    """A response as it came; `interim` are the 1xx statuses before it."""

    def __init__(self, head: str, interim: tuple[int, ...] = ()) -> None:
        first, *lines = head.split("\r\n")
        found = STATUS_LINE.fullmatch(first)
        if found is None:
            raise MalformedError(f"no status line: {first[:30]!r}")
        self.minor, self.status, self.reason = int(found[1]), int(found[2]), found[3]
        self.interim = interim
        self.lines: list[tuple[str, str]] = []
        for line in lines:
            field = FIELD_LINE.fullmatch(line)
            if field is None:
                raise MalformedError(f"no field line: {line[:30]!r}")
            name = field[1].lower()
            if name in SINGLE and self.get(name) is not None:
                raise MalformedError(f"{name} twice")
            self.lines.append((name, field[2]))
        self.content = b""

    def get(self, name: str) -> str | None:
        """The value of a field by its name in lower case, several lines joined."""
        values = [value for key, value in self.lines if key == name]
        return ", ".join(values) if values else None

    def members(self, name: str) -> set[str]:
        """The members of a list field, in lower case."""
        members = (self.get(name) or "").lower().split(",")
        return {member.strip() for member in members} - {""}


class Connection:
    """One connection to a server. `patience` are the seconds that it waits for anything."""

    def __init__(self, address: Address, patience: float) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.settimeout(patience)
        self._received = b""
        try:
            self._socket.connect(address)
        except OSError:
            self._socket.close()
            raise

    def send(self, octets: bytes) -> None:
        """Send; a server that has closed already has said why, so it is no error here."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(octets)

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def answer(self, method: str) -> Answer | None:
        """The final response to a request of `method`, None where the connection ends instead."""
        interim: list[int] = []
        while True:
            while (end := self._received.find(b"\r\n\r\n")) < 0:
                if not self._more():
                    if self._received:
                        raise MalformedError("an answer without a head")
                    return None
            head = self._received[:end].decode("latin-1")
            self._received = self._received[end + 4 :]
            answer = Answer(head, tuple(interim))
            if answer.status >= 200:
                answer.content = self._content(answer, method)
                return answer
            interim.append(answer.status)

    def ended(self) -> bool:
        """Wait: has the server closed the connection, with nothing more said?"""
        try:
            return not self._received and not self._more()
        except TimeoutError:
            return False

    def _content(self, answer: Answer, method: str) -> bytes:
        """The content by the framing of RFC 9112, 6.3."""
        coding, length = answer.get("transfer-encoding"), answer.get("content-length")
        if coding is not None and length is not None:
            raise MalformedError("Content-Length beside Transfer-Encoding")
        if length is not None and not re.fullmatch("[0-9]+", length):
            raise MalformedError(f"Content-Length: {length[:30]!r}")
        if method == "HEAD" or answer.status in {204, 304}:
            return b""
        if coding is not None:
            if coding.lower() != "chunked":
                raise MalformedError(f"Transfer-Encoding: {coding[:30]!r}")
            return self._chunks()
        if length is not None:
            return self._exactly(int(length))
        while self._more():
            pass
        return self._exactly(len(self._received))

    def _chunks(self) -> bytes:
        content = b""
        while True:
            size = self._line()
            if not re.fullmatch(rb"[0-9A-Fa-f]+", size):
                raise MalformedError(f"chunk size: {size[:30]!r}")
            if int(size, 16) == 0:
                break
            content += self._exactly(int(size, 16))
            if self._line():
                raise MalformedError("a chunk longer than its size")
        while self._line():
            pass
        return content

    def _line(self) -> bytes:
        while (end := self._received.find(b"\r\n")) < 0:
            if not self._more():
                raise MalformedError("incomplete content")
        line, self._received = self._received[:end], self._received[end + 2 :]
        return line

    def _exactly(self, length: int) -> bytes:
        while len(self._received) < length:
            if not self._more():
                raise MalformedError(f"{length - len(self._received)} octets of content missing")
        content, self._received = self._received[:length], self._received[length:]
        return content

    def _more(self) -> bool:
        try:
            piece = self._socket.recv(1 << 18)
        except ConnectionResetError:
            return False
        self._received += piece
        return bool(piece)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
