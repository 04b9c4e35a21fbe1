"""Clients that do what they are told, octet by octet, and what tests of a server wait with."""

from __future__ import annotations

import gc
import random
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from portico.http.h1.content import ContentReader
from portico.http.message import CHUNKED

PATIENCE = 20
"""Seconds: long enough for any machine; what is waited for comes in milliseconds."""


def eventually(condition: Callable[[], object]) -> None:
    """Wait until `condition` holds. The longer it takes, the less often it is asked for."""
    begin = time.monotonic()
    while not condition():
        waited = time.monotonic() - begin
        assert waited < PATIENCE, "what was waited for did not come"
        time.sleep(0.002 + min(waited / 20, 0.01))


def descriptors(*, with_garbage: bool = False) -> int:
    """How many this process has open.

    Without those that garbage holds: what an earlier test let go must not be closed between two
    counts.
    """
    if not with_garbage:
        gc.collect()
    folder = Path("/proc/self/fd")
    return len(list((folder if folder.exists() else Path("/dev/fd")).iterdir()))


def get(path: str, *lines: str, version: str = "1.1") -> bytes:
    """A GET request with further field lines."""
    return request("GET", path, *lines, version=version)


def request(method: str, path: str, *lines: str, version: str = "1.1") -> bytes:
    """A request's head."""
    head = [f"{method} {path} HTTP/{version}", "Host: localhost", *lines, "", ""]
    return "\r\n".join(head).encode("latin-1")


def chunked(*chunks: bytes, trailer: bytes = b"") -> bytes:
    """Content in the chunked transfer coding."""
    coded = b"".join([b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks])
    return coded + b"0\r\n" + trailer + b"\r\n"


def in_pieces(data: bytes, seed: int) -> list[bytes]:
    """Pieces of all sizes; seed 0 leaves it whole."""
    if seed == 0:
        return [data]
    dice = random.Random(seed)
    pieces = []
    while data:
        size = dice.choice([1, 2, 3, 100, 5000])
        pieces.append(data[:size])
        data = data[size:]
    return pieces


class Answer(NamedTuple):
    """A response as the client has it."""

    status: int
    fields: dict[str, str]
    content: bytes

    @property
    def closes(self) -> bool:
        return self.fields.get("connection", "").lower() == "close"


class Client:
    """One TCP connection. `receive_buffer` limits what the kernel takes in for a slow client.

    `source` is the address from which it comes.
    """

    def __init__(self, url: str, *, receive_buffer: int = 0, source: str = "") -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        family = socket.AF_INET6 if ":" in parts.hostname else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        try:
            if source:
                self.socket.bind((source, 0))
            self.socket.connect((parts.hostname, parts.port))
        except OSError:
            self.socket.close()
            raise

    def send(self, *pieces: bytes) -> None:
        """Send each piece by itself."""
        for piece in pieces:
            self.socket.sendall(piece)

    def send_as_far_as_possible(self, pieces: Iterable[bytes]) -> None:
        """Send to a server that may end the connection at any moment."""
        try:
            self.send(*pieces)
        except (BrokenPipeError, ConnectionResetError):
            return

    def ask(self, *pieces: bytes, method: str = "GET") -> Answer:
        self.send(*pieces)
        return self.answer(method)

    def answer(self, method: str = "GET") -> Answer:
        """Read one response to a request of `method`."""
        status, fields = self.head()
        is_empty = method == "HEAD" or status in {204, 304}
        return Answer(status, fields, b"" if is_empty else self.content(fields))

    def head(self) -> tuple[int, dict[str, str]]:
        """Read the status and the fields of one response."""
        while (end := self.received.find(b"\r\n\r\n")) < 0:
            assert self._more(), f"the connection ended after {self.received!r}"
        head, self.received = self.received[:end], self.received[end + 4 :]
        status_line, *lines = head.decode("latin-1").split("\r\n")
        fields: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            assert name.lower() not in fields, f"{name} came twice"
            fields[name.lower()] = value.strip()
        version, status, _ = status_line.split(" ", 2)
        assert version == "HTTP/1.1"
        return int(status), fields

    def content(self, fields: dict[str, str]) -> bytes:
        """Read the content of a response with these fields."""
        if "transfer-encoding" in fields:
            return self._chunks()
        if "content-length" not in fields:
            return self.until_end()
        length = int(fields["content-length"])
        pieces = [self.received]
        missing = length - len(self.received)
        while missing > 0:
            piece = self.socket.recv(min(missing, 1 << 20))
            assert piece, f"{missing} octets of {length} did not come"
            pieces.append(piece)
            missing -= len(piece)
        data = b"".join(pieces)
        self.received = data[length:]
        return data[:length]

    def _chunks(self) -> bytes:
        reader, content = ContentReader(CHUNKED), []
        while True:
            piece, self.received = reader.feed(self.received)
            content.append(piece)
            if reader.complete:
                return b"".join(content)
            assert self._more(), "the connection ended before the last chunk"

    def at_end(self) -> bool:
        """Wait until the server says something or closes: has it closed, with nothing more said?"""
        return not self.received and not self._more()

    def until_end(self) -> bytes:
        """All that comes until the server closes."""
        while self._more():
            pass
        return self.received

    def _more(self) -> bool:
        piece = self.socket.recv(65536)
        self.received += piece
        return bool(piece)

    def has_news(self) -> bool:
        """Is there something to read, or the end?"""
        return bool(select.select([self.socket], [], [], 0)[0])

    def is_cut(self) -> bool:
        """Read on; True if the connection broke instead of ending."""
        try:
            self.until_end()
        except ConnectionResetError:
            return True
        return False

    def hurry(self) -> None:
        """From now on take what comes as fast as others do."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        self.socket.shutdown(socket.SHUT_WR)

    def vanish(self) -> None:
        """Reset the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class UnixClient(Client):
    """A client that comes by a unix socket."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.received = b""
        self.socket.connect(str(path))
