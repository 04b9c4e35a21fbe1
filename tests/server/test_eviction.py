"""Who goes first when all places are taken, among connections that are driven by hand."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from portico.config.config import Config
from portico.http.content import Octets
from portico.http.content_sink import Discard
from portico.http.message import RequestHead, Response
from portico.server.connection import Connection
from portico.server.eviction import AT_ONCE, NEWCOMERS_SHARE, YOUNG_SECONDS, first_to_go
from portico.server.states import LINGER, SEND, WAIT
from portico.site.origin.open_file import Waiting
from tests.server.clients import get, request
from tests.server.inside import Answers, Desk, Threads

LARGE = 1 << 22
PUT = request("PUT", "/", "Content-Length: 9000")


class Upload(Discard):
    """Takes what is sent, and answers at the end."""


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Answers "/large" with much, takes what is PUT, waits for the disk for "/cold"; else 204."""

    def answer(head: RequestHead) -> Response | Upload:
        if head.path == "/cold":
            raise Waiting("disk")
        if head.path == "/large":
            return Response(200, [("Content-Length", str(LARGE))], (Octets(bytes(LARGE)),))
        return Upload(9000) if head.method == "PUT" else Response(204, [])

    desk = Desk(Config.of(), Answers(answer), Threads().submit)
    desk.responder.begin_turn(1000.0)
    yield desk
    desk.close()


def wait(desk: Desk, seconds: float) -> None:
    desk.responder.begin_turn(desk.responder.now + seconds)


def download(desk: Desk, taken: int = 0) -> Connection:
    """A connection that takes a response, and whose client has taken so many octets of it."""
    client, connection = desk.connect(get("/large"))
    take(client, connection, taken)
    assert connection.state == SEND
    return connection


def take(client: socket.socket, connection: Connection, count: int) -> None:
    while count > 0:
        count -= len(client.recv(count))
        connection._on_room(0)


def test_the_order_in_which_they_go(desk: Desk) -> None:
    upload = desk.connect(PUT + b"x")[1]
    progressing, sink = desk.connect(PUT)
    fast, slow = download(desk, LARGE // 2), download(desk, LARGE // 4)
    content = desk.connect(request("POST", "/", "Content-Length: 9") + b"x")[1]
    first_idle = desk.connect(get("/"))[1]
    wait(desk, 1)
    idle = desk.connect(get("/"))[1]
    head = desk.connect(b"GET /")[1]
    cold = desk.connect(get("/cold"))[1]
    client, lingers = desk.connect(get("/", "Connection: close") + b"x")
    client.recv(1000)
    progressing.send(b"x" * 5000)
    sink._on_more(0)
    assert (lingers.state, cold.state) == (LINGER, WAIT)
    went = []
    while victims := first_to_go(desk.connections.values(), len(desk.connections)):
        went += victims
        for connection in victims:
            connection.give_up()
    assert went == [lingers, first_idle, idle, content, head, slow, fast, upload, sink]
    assert list(desk.connections.values()) == [cold]


def test_responses_hold_a_share_of_the_places_only(desk: Desk) -> None:
    idle = desk.connect(get("/"))[1]
    first = download(desk)
    wait(desk, 1)
    for _ in range(NEWCOMERS_SHARE - 2):
        download(desk, LARGE // 2)
    wait(desk, 1)
    assert first_to_go(desk.connections.values(), NEWCOMERS_SHARE) == [idle]
    download(desk, LARGE // 2)
    assert first_to_go(desk.connections.values(), NEWCOMERS_SHARE) == [first]


def test_all_responses_that_are_too_many_go_at_once(desk: Desk) -> None:
    """To look who they are costs more than to drop them."""
    most, too_many = 4 * NEWCOMERS_SHARE, 4
    idle = [desk.connect(get("/"))[1] for _ in range(2 * AT_ONCE)]
    downloads = [download(desk) for _ in range(most)]
    assert first_to_go(desk.connections.values(), most) == idle[:3]
    wait(desk, 1)
    assert first_to_go(desk.connections.values(), most) == downloads[:too_many]
    assert first_to_go(desk.connections.values(), most, spare=True) == idle[:3]


def test_a_response_has_a_moment_to_be_taken(desk: Desk) -> None:
    connection = download(desk)
    wait(desk, YOUNG_SECONDS / 2)
    assert first_to_go([connection], 1) == []
    wait(desk, YOUNG_SECONDS)
    assert first_to_go([connection], 1) == [connection]
    assert first_to_go([connection], 1, spare=True) == []


def test_who_has_its_response_in_the_system_still_takes_it(desk: Desk) -> None:
    """It is idle for us, but to close would cost it what it has not received."""
    client, connection = desk.connect(get("/large"))
    client.setblocking(True)
    received = 0
    while connection.state == SEND:
        received += len(client.recv(1 << 16))
        connection._on_room(0)
    wait(desk, 1)
    idle = desk.connect(get("/"))[1]
    assert first_to_go(desk.connections.values(), 2) == [idle]
    assert first_to_go([connection], 2) == [connection]
    client.send(get("/cold"))
    connection._on_request(0)
    assert connection.state == WAIT
    assert first_to_go([connection], 2) == [], "what it waits for is our disk"
    assert received < LARGE
