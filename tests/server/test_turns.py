"""Connections turn by turn: who is served when, and what on disk a request may see.

The loop, the responder and the connections are driven by hand here, so that a change on disk falls
between two things that happen in one turn.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from portico.budget import Budget
from portico.config.config import Config
from portico.server.connection import Connection
from portico.server.fairness import REQUESTS_AT_ONCE
from portico.server.net.loop import READ
from portico.server.states import HEAD, IDLE, QUEUED
from portico.site.origin.folder import Folder
from portico.site.site import Site
from tests.server.clients import get, request
from tests.server.inside import Desk

OLD, NEW = b"old content", b"new content"
LONG_AGO = 1_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one file, not touched for a long time."""
    write(tmp_path / "file.txt", OLD)
    return tmp_path


def write(path: Path, content: bytes) -> None:
    """Replace the file, with a time at which nobody would think it young."""
    new = path.with_name("new")
    new.write_bytes(content)
    moment = LONG_AGO + len(content) + (content == NEW)
    os.utime(new, (moment, moment))
    new.rename(path)


@pytest.fixture
def desk(folder: Path) -> Iterator[Desk]:
    desk = Desk(Config.of(), Site(Folder(Config.of(root=str(folder)), 1 << 20)))
    yield desk
    desk.close()


def contents(client: socket.socket) -> list[bytes]:
    """The contents of the answers that have arrived."""
    heads = client.recv(1 << 20).split(b"HTTP/1.1 ")[1:]
    return [answer.partition(b"\r\n\r\n")[2] for answer in heads]


ONE = get("/file.txt")


def warm(desk: Desk) -> tuple[socket.socket, Connection]:
    """A connection whose request is known by now, so that it takes the shortest way."""
    time.sleep(0.06)  # until the file is old enough for its fingerprint to be relied on
    client, connection = desk.connect()
    for _ in range(4):
        client.send(ONE)
        desk.turn()
        assert contents(client) == [OLD]
    known = desk.responder.reply_cache.heads.get(ONE)
    assert known is not None
    assert desk.responder.is_current(known)
    return client, connection


def test_a_change_is_seen_by_the_next_request(desk: Desk, folder: Path) -> None:
    client, _ = warm(desk)
    for content in (NEW, OLD, NEW):
        write(folder / "file.txt", content)
        client.send(ONE)
        desk.turn()
        assert contents(client) == [content]
    (folder / "file.txt").unlink()
    client.send(ONE)
    desk.turn()
    assert b"404" in contents(client)[0]
    write(folder / "file.txt", NEW)
    client.send(ONE)
    desk.turn()
    assert contents(client) == [NEW]


def test_a_new_connection_of_this_turn_sees_a_change_of_this_turn(desk: Desk, folder: Path) -> None:
    """It is for the worker to begin a request; here it is done by hand."""
    warm(desk)
    write(folder / "file.txt", NEW)
    desk.responder.freshness.begin_round()
    client, _ = desk.connect(ONE)
    assert contents(client) == [NEW]


def test_what_comes_behind_another_request_sees_a_change_made_meanwhile(
    desk: Desk, folder: Path
) -> None:
    """Both arrive in one piece, but another connection has looked at the file in this turn."""
    client, connection = warm(desk)
    desk.responder.begin_turn(desk.loop.now)
    client.send(ONE)
    connection._on_request(READ)
    assert contents(client) == [OLD]
    write(folder / "file.txt", NEW)
    other, second = desk.connect()
    other.send(get("/none") + ONE)
    second._on_request(READ)
    assert contents(other)[1] == NEW


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (ONE[:10], ONE[10:]),
        (request("POST", "/", "Content-Length: 4") + b"ab", b"cd" + ONE),
        (request("POST", "/", "Transfer-Encoding: chunked"), b"0\r\n\r\n" + ONE),
    ],
)
def test_what_comes_behind_the_rest_of_another_sees_a_change_made_meanwhile(
    desk: Desk, folder: Path, first: bytes, rest: bytes
) -> None:
    """Its beginning was ready when the turn began; the request itself was sent later."""
    client, connection = desk.connect()
    client.send(first)
    desk.turn()
    assert connection.state != IDLE
    other, second = warm(desk)
    desk.responder.begin_turn(desk.loop.now)
    other.send(ONE)
    second._on_request(READ)
    assert contents(other) == [OLD]
    write(folder / "file.txt", NEW)
    client.send(rest)
    connection._on_more(READ)
    assert contents(client)[-1] == NEW


def test_who_asks_for_very_much_lets_others_have_their_turn(desk: Desk) -> None:
    clients, connections = zip(*[desk.connect() for _ in range(3)], strict=True)
    for client in clients[:2]:
        client.send(ONE * (2 * REQUESTS_AT_ONCE + 5))
    clients[2].send(ONE)
    answered: list[list[int]] = []

    def look() -> None:
        answered.append([len(contents(client)) for client in clients])

    desk.loop.soon(-1, look)
    desk.turn()
    assert answered == [[REQUESTS_AT_ONCE, REQUESTS_AT_ONCE, 1]]
    assert [each.state for each in connections] == [QUEUED, QUEUED, IDLE]
    clients[2].send(ONE)
    desk.turn()
    look()
    assert answered[1] == [REQUESTS_AT_ONCE + 5, REQUESTS_AT_ONCE + 5, 1]
    assert [each.state for each in connections] == [IDLE] * 3


def test_who_asks_for_listings_waits_in_line_and_others_do_not(tmp_path: Path) -> None:
    """There is time for one listing in a turn: to make it, or to check it."""
    for number in range(3):
        (tmp_path / f"folder {number}").mkdir()
        (tmp_path / f"folder {number}" / "file.txt").touch()
    (tmp_path / "file.txt").write_bytes(OLD)
    time.sleep(0.06)  # until they are old enough for their fingerprints to be relied on
    folder = Folder(Config.of(root=str(tmp_path)), 1 << 20, budget=Budget(1e-9))
    desk = Desk(Config.of(), Site(folder))
    clients, connections = zip(*[desk.connect() for _ in range(4)], strict=True)
    for number in range(3):
        clients[number].send(get(f"/folder%20{number}/"))
        connections[number]._on_request(READ)
    served: list[int] = []
    for _ in range(9):
        clients[3].send(ONE)
        desk.turn()
        assert contents(clients[3]) == [OLD]
        for number in range(3):
            with suppress(BlockingIOError):
                (page,) = contents(clients[number])
                assert b"file.txt" in page
                served.append(number)
                clients[number].send(get(f"/folder%20{number}/"))  # behind those that wait
    # The first found time before the first turn began.
    assert served == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    desk.close()


def test_while_it_waits_for_its_turn_a_broken_connection_is_noticed(desk: Desk) -> None:
    client, connection = desk.connect()
    client.send(ONE * (REQUESTS_AT_ONCE + 1))
    connection._on_request(READ)
    assert connection.state == QUEUED
    client.close()
    desk.turn()
    assert not desk.connections


def test_an_event_for_the_former_owner_of_a_descriptor_breaks_nothing(desk: Desk) -> None:
    client, connection = desk.connect()
    client.send(ONE * (REQUESTS_AT_ONCE + 1))
    connection._on_request(READ)
    connection._on_broken(READ)
    desk.turn()
    assert len(contents(client)) == REQUESTS_AT_ONCE + 1


def test_a_drain_answers_what_has_arrived(desk: Desk) -> None:
    """A request that lies in the socket, unseen so far, was sent before anyone could know."""
    client, connection = warm(desk)
    client.send(ONE + ONE)
    desk.responder.begin_drain()
    connection.drain()
    assert client.recv(1 << 20).count(b"Connection: close") == 1
    client.close()
    desk.turn()
    assert not desk.connections


def test_a_drain_ends_who_has_nothing_under_way(desk: Desk) -> None:
    client, connection = warm(desk)
    sender, second = desk.connect()
    sender.send(request("POST", "/", "Content-Length: 9"))
    beginner, third = desk.connect()
    beginner.send(ONE[:9])
    desk.turn()
    desk.responder.begin_drain()
    for each in (connection, second, third):
        each.drain()
    assert client.recv(1) == b""
    assert sender.recv(1 << 20).startswith(b"HTTP/1.1 405")
    assert sender.recv(1) == b""
    assert third.state == HEAD
    beginner.send(ONE[9:])
    desk.turn()
    assert b"Connection: close" in beginner.recv(1 << 20)
