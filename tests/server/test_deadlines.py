"""Each state of a connection has its time, and then the connection is dropped.

The times are short here, and the end is waited for; how long it takes is not looked at.
"""

from __future__ import annotations

import sys
import time

import pytest

from portico.config.config import Config
from portico.http.message import Response
from portico.server import clients, states, worker
from portico.server.states import CONTENT, IDLE
from tests.server import inside
from tests.server.clients import Client, eventually, get, request
from tests.server.conftest import Connect, Serve

SHORT = 0.2
pytestmark = pytest.mark.usefixtures("_frequent_sweeps")


@pytest.fixture
def _frequent_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "SWEEP_SECONDS", 0.02)
    monkeypatch.setattr(states, "LINGER_SECONDS", SHORT)


@pytest.mark.parametrize("start", [b"G", b"\r\n", get("/small.txt")[:-1], b"GET / HTTP/1.1\r\nA"])
def test_a_slow_head_gets_408(serve: Serve, connect: Connect, start: bytes) -> None:
    client = connect(serve(head_timeout=SHORT))
    client.send(start)
    answer = client.answer()
    assert answer.status == 408
    assert answer.closes
    assert client.at_end()


def test_a_slow_head_behind_another_request_gets_408(serve: Serve, connect: Connect) -> None:
    client = connect(serve(head_timeout=SHORT))
    client.send(get("/small.txt") + b"GET /")
    assert client.answer().content == b"small"
    assert client.answer().status == 408
    assert client.at_end()


def test_a_trickle_of_octets_does_not_gain_time(serve: Serve, connect: Connect) -> None:
    client = connect(serve(head_timeout=SHORT))
    client.send(b"GET / HTTP/1.1\r\nA: ")
    while not client.has_news():
        client.send_as_far_as_possible([b"a"])
        time.sleep(0.01)
    assert client.answer().status == 408


def test_who_has_said_nothing_is_closed_as_if_its_head_were_slow(
    serve: Serve, connect: Connect
) -> None:
    client = connect(serve(head_timeout=SHORT, idle_timeout=3600))
    assert client.at_end()


def test_an_idle_connection_is_closed_without_a_word(serve: Serve, connect: Connect) -> None:
    client = connect(serve(idle_timeout=SHORT))
    assert client.ask(get("/small.txt")).content == b"small"
    assert client.at_end()


def test_idleness_begins_anew_with_each_request(serve: Serve, connect: Connect) -> None:
    server = serve(idle_timeout=1)
    client = connect(server)
    begin = time.monotonic()
    while time.monotonic() < begin + 1.5:
        assert client.ask(get("/small.txt")).content == b"small"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("line", "part"), [("Content-Length: 9", b"x"), ("Transfer-Encoding: chunked", b"1\r\n")]
)
def test_slow_content_ends_the_connection(
    serve: Serve, connect: Connect, line: str, part: bytes
) -> None:
    client = connect(serve(head_timeout=SHORT))
    client.send(request("POST", "/", line) + part)
    assert client.answer().status == 405
    assert client.at_end()


def test_a_connection_lives_on_after_content(serve: Serve, connect: Connect) -> None:
    """The deadline for the content is not that for the idle time which follows."""
    server = serve(head_timeout=SHORT)
    client = connect(server)
    client.send(request("POST", "/", "Content-Length: 2") + b"x")
    assert client.answer().status == 405
    eventually(lambda: inside.states(server) == [CONTENT])
    client.send(b"x")
    time.sleep(2 * SHORT)
    assert client.ask(get("/small.txt")).content == b"small"


def test_who_stops_reading_is_dropped(serve: Serve, connect: Connect) -> None:
    server = serve(send_timeout=SHORT)
    client = connect(server, receive_buffer=4096)
    client.send(get("/large.bin") * 3)
    eventually(lambda: len(inside.states(server)) == 1)
    eventually(lambda: not inside.states(server))
    client.is_cut()
    assert client.received.count(b"HTTP/1.1 200") < 3


def test_a_slow_reader_that_goes_on_reading_gets_it_all(serve: Serve, connect: Connect) -> None:
    """It takes much longer than the timeout altogether."""
    client = connect(serve(send_timeout=SHORT), receive_buffer=32768)
    client.send(get("/large.bin", "Connection: close"))
    begin = time.monotonic()
    while time.monotonic() < begin + 5 * SHORT:
        client.received += client.socket.recv(32768)
        time.sleep(SHORT / 40)
    client.until_end()
    assert client.received.partition(b"\r\n\r\n")[2] == bytes(range(256)) * 16384


def test_a_slow_reader_of_the_last_response_may_still_say_something(
    serve: Serve, connect: Connect
) -> None:
    """All is in the system's hands, and on its way for longer than lingering lasts otherwise."""
    client = connect(serve(send_timeout=10 * SHORT), receive_buffer=32768)
    client.send(get("/large.bin", version="1.0"))
    begin = time.monotonic()
    while time.monotonic() < begin + 5 * SHORT:
        client.received += client.socket.recv(32768)
        client.send_as_far_as_possible([b"\r\n"])
        time.sleep(SHORT / 10)
    client.until_end()
    assert client.received.partition(b"\r\n\r\n")[2] == bytes(range(256)) * 16384


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell what is unread")
@pytest.mark.parametrize("reads_after", [0, 1, 5])
def test_who_takes_nothing_is_given_up_when_the_time_is_over(reads_after: int) -> None:
    """What a client's system takes right after something was sent is no sign of life.

    What it takes after so many looks is one.
    """
    timeout = 80.0
    desk = inside.Desk(Config.of(send_timeout=timeout), inside.Answers(lambda _: Response(204, [])))
    theirs, connection = desk.connect()
    desk.responder.now = begun = 1000.0
    for octet in b"xyz":
        connection._transport.send(bytes([octet]))
    connection._expect_progress()
    theirs.recv(1)
    looks = []
    while connection._is_read():
        looks.append(desk.responder.now)
        if len(looks) == reads_after:
            theirs.recv(1)
        desk.responder.now = connection.deadline
    given_up = begun + timeout + (looks[reads_after] - begun if reads_after else 0)
    assert desk.responder.now == given_up
    desk.close()


def test_lingering_ends(serve: Serve, connect: Connect) -> None:
    """The client neither reads nor closes."""
    server = serve()
    client = connect(server)
    client.send(b"nonsense\r\n\r\n")
    eventually(lambda: server.requests == 1)
    eventually(lambda: not inside.states(server))


def test_each_connection_has_its_own_deadline(serve: Serve, connect: Connect) -> None:
    server = serve(head_timeout=SHORT)
    steady: list[Client] = [connect(server) for _ in range(3)]
    for client in steady:
        assert client.ask(get("/small.txt")).content == b"small"
    slow = [connect(server) for _ in range(3)]
    for client in slow:
        client.send(b"GET")
    for client in slow:
        assert client.answer().status == 408
    for client in steady:
        assert client.ask(get("/small.txt")).content == b"small"
    assert inside.states(server).count(IDLE) == 3


def test_sweeps_begin_again_after_a_long_rest(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without connections there is nothing to look after; with the next one there is again."""
    monkeypatch.setattr(worker, "EXPIRE_SWEEPS", 2)
    server = serve(idle_timeout=SHORT)
    for _ in range(2):
        client = connect(server)
        assert client.ask(get("/small.txt")).content == b"small"
        assert client.at_end()
        eventually(lambda: not inside.worker_of(server)._clients._is_sweeping)
