"""Each state of a connection has its time, and then the connection is dropped.

Most connections are driven by hand here, by a clock of their own. Where a server of its own finds
out that the time is over, the times are short, and how long it takes is not looked at.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from portico.config.config import Config
from portico.http.message import Response
from portico.server import clients, timeouts, worker
from portico.server.fairness import Bursts
from portico.server.net.loop import READ
from portico.server.net.send_queue import LONG_BURST
from portico.server.states import CLOSED, CONTENT, HEAD, IDLE, LINGER, SEND
from tests.server.clients import Client, eventually, get, request
from tests.server.conftest import Connect, Serve
from tests.server.inside import Answers, Desk, worker_of
from tests.server.inside import states as states_of

IDLE_TIME, HEAD_TIME, SEND_TIME = 5.0, 10.0, 80.0
SIZE = 24 << 20
SHORT = 0.3


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Answers everything with 204, at a time of its own."""
    config = Config.of(idle_timeout=IDLE_TIME, head_timeout=HEAD_TIME, send_timeout=SEND_TIME)
    desk = Desk(config, Answers(lambda _: Response(204, [])))
    desk.responder.begin_turn(1000.0)
    yield desk
    desk.close()


@pytest.mark.parametrize(
    ("sent", "state", "seconds", "said"),
    [
        (b"", IDLE, HEAD_TIME, b""),  # as if its head were slow
        (b"G", HEAD, HEAD_TIME, b"408"),
        (b"\r\n", HEAD, HEAD_TIME, b"408"),
        (get("/")[:-1], HEAD, HEAD_TIME, b"408"),
        (get("/") + b"GET /", HEAD, HEAD_TIME, b"204408"),
        (get("/"), IDLE, IDLE_TIME, b"204"),
        (request("POST", "/", "Content-Length: 9") + b"x", CONTENT, HEAD_TIME, b"204"),
        (request("POST", "/", "Transfer-Encoding: chunked") + b"1\r\n", CONTENT, HEAD_TIME, b"204"),
        (request("POST", "/", "Content-Length: 1") + b"x", IDLE, IDLE_TIME, b"204"),
    ],
)
def test_each_state_has_its_time(
    desk: Desk, sent: bytes, state: int, seconds: float, said: bytes
) -> None:
    """A request that was begun is refused, all else ends without a word."""
    client, connection = desk.connect(sent)
    assert connection.state == state
    assert connection.deadline == desk.responder.now + seconds
    connection.expire()
    answers = client.recv(1 << 16).split(b"HTTP/1.1 ")
    assert b"".join(answer[:3] for answer in answers) == said
    assert not said or client.recv(1) == b""


def test_a_trickle_of_octets_does_not_gain_time(desk: Desk) -> None:
    client, connection = desk.connect(b"GET / HTTP/1.1\r\nA: ")
    deadline = connection.deadline
    for _ in range(20):
        desk.responder.begin_turn(desk.responder.now + 1)
        client.send(b"a")
        connection._on_more(READ)
    assert connection.deadline == deadline < desk.responder.now


def test_idleness_begins_anew_with_each_request(desk: Desk) -> None:
    client, connection = desk.connect()
    for _ in range(3):
        desk.responder.begin_turn(desk.responder.now + IDLE_TIME - 1)
        client.send(get("/"))
        connection._on_request(READ)
        assert connection.deadline == desk.responder.now + IDLE_TIME


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell what is unread")
@pytest.mark.parametrize("reads_after", [0, 1, 5])
def test_who_takes_nothing_is_given_up_when_the_time_is_over(desk: Desk, reads_after: int) -> None:
    """What a client's system takes right after something was sent is no sign of life.

    What it takes after so many looks is one.
    """
    begun = desk.responder.now
    theirs, connection = desk.connect()
    for octet in b"xyz":
        connection._transport.send(bytes([octet]))
    connection._enter(SEND)
    connection.deadline = connection._progress.expect(desk.responder.now)
    theirs.recv(1)
    looks: list[float] = []
    while True:
        connection.expire()
        if connection.state == CLOSED:
            break
        looks.append(desk.responder.now)
        if len(looks) == reads_after:
            theirs.recv(1)
        desk.responder.now = connection.deadline
    assert desk.responder.now == SEND_TIME + (looks[reads_after] if reads_after else begun)


@pytest.mark.parametrize(
    ("octets", "seconds"),
    [
        (0, timeouts.LINGER_SILENCE),
        (2 * timeouts.CONTENT_RATE, timeouts.LINGER_SECONDS),
        (timeouts.CONTENT_RATE // 2, 2 * timeouts.LINGER_SILENCE),
    ],
)
def test_who_sends_on_after_the_last_response_has_its_time(
    desk: Desk, octets: int, seconds: float
) -> None:
    """So it can send all it has, and only then look for the response; not silently, not slowly.

    It sends so many octets a second.
    """
    begun = desk.responder.now
    client, connection = desk.connect(request("POST", "/", "Content-Length: 1000000"))
    assert client.recv(1 << 16).endswith(b"Connection: close\r\n\r\n")
    connection.expire()  # the first look finds that the client has the response
    while desk.responder.now < connection.deadline:
        desk.responder.begin_turn(desk.responder.now + 1)
        client.sendall(bytes(octets))
        connection._on_linger(READ)
    assert desk.responder.now == begun + seconds
    assert connection.state == LINGER
    connection.expire()
    assert connection.state == CLOSED


# --- servers that look at the deadlines by themselves


@pytest.fixture
def _frequent_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "SWEEP_SECONDS", 0.02)
    monkeypatch.setattr(timeouts, "LINGER_SILENCE", SHORT)


@pytest.mark.usefixtures("_frequent_sweeps")
def test_each_connection_has_its_own_deadline(serve: Serve, connect: Connect) -> None:
    server = serve(head_timeout=SHORT)
    steady: list[Client] = [connect(server) for _ in range(3)]
    for client in steady:
        assert client.ask(get("/small.txt")).content == b"small"
    slow = [connect(server) for _ in range(3)]
    for client in slow:
        client.send(b"GET")
    for client in slow:
        answer = client.answer()
        assert (answer.status, answer.closes) == (408, True)
    for client in steady:
        assert client.ask(get("/small.txt")).content == b"small"
    assert states_of(server).count(IDLE) == 3


@pytest.mark.usefixtures("_frequent_sweeps")
def test_who_stops_reading_is_dropped(serve: Serve, connect: Connect) -> None:
    server = serve(send_timeout=SHORT)
    client = connect(server, receive_buffer=4096)
    client.send(get("/large.bin") * 3)
    eventually(lambda: server.requests)
    eventually(lambda: not states_of(server))
    assert client.is_cut()
    assert client.received.count(b"HTTP/1.1 200") < 3


@pytest.mark.usefixtures("_frequent_sweeps")
@pytest.mark.parametrize("burst", [LONG_BURST, 2 * SIZE])
def test_a_slow_reader_that_goes_on_reading_gets_it_all(
    tmp_path: Path,
    serve: Serve,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    burst: int,
) -> None:
    """It takes longer than the timeout until the socket has room again.

    The socket is full when a burst is over, or within one.
    """
    with (tmp_path / "huge.bin").open("wb") as file:
        file.truncate(SIZE)
    monkeypatch.setattr(Bursts, "take", lambda *_: burst)
    # If the system took in many more octets, it would not tell for seconds that some were read.
    client = connect(serve(root=tmp_path, send_timeout=2 * SHORT), receive_buffer=128 << 10)
    client.send(get("/huge.bin", "Connection: close"))
    received, begun = 0, time.monotonic()
    while time.monotonic() < begun + 8 * SHORT:
        received += len(client.socket.recv(32768))
        time.sleep(SHORT / 5)
    while part := client.socket.recv(1 << 20):
        received += len(part)
    assert received > SIZE


@pytest.mark.usefixtures("_frequent_sweeps")
def test_a_slow_reader_of_the_last_response_may_still_say_something(
    serve: Serve, connect: Connect
) -> None:
    """All is in the system's hands, and on its way for longer than lingering lasts otherwise."""
    client = connect(serve(send_timeout=10 * SHORT), receive_buffer=32768)
    client.send(get("/large.bin", version="1.0"))
    begin = time.monotonic()
    while time.monotonic() < begin + 4 * SHORT:
        client.received += client.socket.recv(32768)
        client.send_as_far_as_possible([b"\r\n"])
        time.sleep(SHORT / 10)
    client.until_end()
    assert client.received.partition(b"\r\n\r\n")[2] == bytes(range(256)) * 16384


@pytest.mark.usefixtures("_frequent_sweeps")
def test_sweeps_begin_again_after_a_long_rest(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without connections there is nothing to look after; with the next one there is again."""
    monkeypatch.setattr(clients, "SWEEPS_WHEN_IDLE", 2)
    monkeypatch.setattr(worker, "EXPIRE_SWEEPS", 2)
    server = serve(idle_timeout=SHORT)
    for _ in range(2):
        client = connect(server)
        assert client.ask(get("/small.txt")).content == b"small"
        assert client.at_end()
        eventually(lambda: not worker_of(server)._clients._is_sweeping)


@pytest.mark.usefixtures("_frequent_sweeps")
def test_lingering_ends(serve: Serve, connect: Connect) -> None:
    """The client neither reads nor closes."""
    server = serve()
    client = connect(server)
    client.send(b"nonsense\r\n\r\n")
    eventually(lambda: server.requests == 1)
    eventually(lambda: not states_of(server))
