"""A connection serves over any transport: here one that is as narrow and as fussy as can be."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from portico.config.config import Config
from portico.server.net.loop import LAST, READ, WRITE
from portico.server.net.transport import Plain
from portico.server.states import HEAD, SEND
from portico.site.origin.folder import Folder
from portico.site.site import Site
from tests.server.clients import chunked, get, request
from tests.server.inside import Desk

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Fussy(Plain):
    """Gives and takes one octet at a time, and not twice in a row.

    Before it can read an octet it needs room to write, as in the middle of a TLS handshake.
    """

    def __init__(self, *arguments: int) -> None:
        super().__init__(*arguments)
        self._needs_room = True
        self._waits_for_room = False
        self._has_just_sent = False

    def readiness(self, wanted: int, /) -> int:
        self._waits_for_room = bool(wanted & READ) and self._needs_room
        return WRITE if self._waits_for_room else wanted

    def receive(self, _most: int, _flags: int = 0, /) -> bytes:
        if self._needs_room and not self._waits_for_room:
            raise BlockingIOError
        self._needs_room = False
        octet = self.recv(1)
        self._needs_room = True
        return octet

    def send(self, octets: ReadableBuffer, _flags: int = 0, /) -> int:
        self._has_just_sent = not self._has_just_sent
        if not self._has_just_sent:
            raise BlockingIOError
        return super().send(memoryview(octets)[:1])

    def send_pieces(self, pieces: Sequence[bytes | memoryview], _flags: int = 0, /) -> int:
        return self.send(pieces[0])

    def send_file(self, fd: int, offset: int, _count: int, /) -> int:
        return super().send_file(fd, offset, 1)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    (tmp_path / "small.txt").write_bytes(b"small")
    (tmp_path / "long.bin").write_bytes(bytes(range(256)) * 20)
    desk = Desk(Config.of(head_timeout=10), Site(Folder(Config.of(root=str(tmp_path)), 0)))
    yield desk
    desk.close()


def said(desk: Desk, client: socket.socket, transport: type[Plain]) -> bytes:
    """All that the client gets, until the connection ends."""
    octets, piece = b"", b""
    for _ in range(50_000):
        desk.turn()
        try:
            piece = client.recv(1 << 16)
        except BlockingIOError:
            continue
        octets += piece
        if not piece:
            return octets
    raise AssertionError(f"no end by {transport.__name__} after {octets!r}")


def test_it_says_the_same_octets(desk: Desk) -> None:
    requests = [
        get("/small.txt"),
        request("POST", "/", "Content-Length: 4") + b"abcd",
        request("POST", "/", "Transfer-Encoding: chunked") + chunked(b"ab", b"c"),
        get("/long.bin"),
        get("/none"),
        get("/small.txt", "Connection: close"),
    ]
    answers = []
    for transport in (Plain, Fussy):
        client, _ = desk.connect(transport=transport)
        client.send(b"".join(requests))
        answers.append(re.sub(rb"Date: [^\r]*", b"", said(desk, client, transport)))
    assert answers[0] == answers[1]
    assert answers[0].count(b"HTTP/1.1 ") == len(requests)


def test_what_a_transport_waits_for_gains_no_time(desk: Desk) -> None:
    """A client that makes it change its mind with each octet has no longer for its head."""
    client, connection = desk.connect(transport=Fussy)
    client.send(get("/small.txt")[:20])
    while connection.state != HEAD:
        desk.turn()
    deadline = connection.deadline
    assert connection._watched == WRITE
    for _ in range(50):
        desk.turn()
    assert connection._watched == READ | LAST, "there is nothing more to read"
    assert connection.deadline == deadline


def test_a_client_that_leaves_ends_the_connection(desk: Desk) -> None:
    client, connection = desk.connect(transport=Fussy)
    client.send(get("/long.bin"))
    while connection.state != SEND:
        desk.turn()
    client.close()
    for _ in range(5):
        desk.turn()
    assert not desk.connections
