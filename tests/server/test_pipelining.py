"""Many requests at once: each is answered, in order, and one who never reads costs little."""

from __future__ import annotations

import random
import socket
import time

import pytest

from portico.http.h1.head import HEAD_LIMIT
from portico.server.embedded import Server
from portico.server.fairness import REQUESTS_AT_ONCE
from portico.server.net.transport import RECEIVE
from portico.server.states import SEND
from tests.server.clients import PATIENCE, Client, chunked, get, in_pieces, request
from tests.server.conftest import Connect
from tests.server.inside import connections, states

pytestmark = pytest.mark.usefixtures("any_poller")

MANY = 5 * REQUESTS_AT_ONCE + 1


def numbered(count: int) -> bytes:
    """Requests for the files 0, 1, 2, … 99, 0, 1 and so on."""
    return b"".join([get(f"/n/{number % 100}.txt") for number in range(count)])


def numbers(client: Client, count: int) -> list[int]:
    return [int(client.answer().content) for _ in range(count)]


@pytest.mark.parametrize("count", [2, REQUESTS_AT_ONCE, REQUESTS_AT_ONCE + 1, MANY, 2000])
def test_requests_in_one_send_are_answered_in_order(client: Client, count: int) -> None:
    client.send(numbered(count))
    assert numbers(client, count) == [number % 100 for number in range(count)]
    assert client.ask(get("/small.txt")).content == b"small"


def test_requests_may_arrive_octet_by_octet(client: Client) -> None:
    data = get("/small.txt") + request("HEAD", "/large.bin") + numbered(3)
    client.send(*[bytes([octet]) for octet in data])
    assert client.answer().content == b"small"
    assert client.answer("HEAD").fields["content-length"] == str(256 * 16384)
    assert numbers(client, 3) == [0, 1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_requests_of_all_kinds_cut_anywhere(client: Client, seed: int) -> None:
    dice = random.Random(seed)
    kinds = [
        (get("/small.txt"), "GET", 200),
        (get("/medium.bin", "Cookie: a=1"), "GET", 200),
        (get("/none"), "GET", 404),
        (b"\r\n" + request("HEAD", "/small.txt"), "HEAD", 200),
        (request("POST", "/", "Content-Length: 5") + b"GET /", "POST", 405),
        (request("POST", "/", "Transfer-Encoding: chunked") + chunked(b"a", b"b"), "POST", 405),
    ]
    chosen = [dice.choice(kinds) for _ in range(200)]
    data = b"".join([sent for sent, _, _ in chosen])
    client.send(*in_pieces(data, seed + 1))
    got = [client.answer(method).status for _, method, _ in chosen]
    assert got == [status for _, _, status in chosen]
    assert not client.received


def test_a_large_answer_among_small_ones(client: Client) -> None:
    client.send(get("/n/1.txt") + get("/large.bin") + get("/n/2.txt") + get("/medium.bin") * 40)
    assert client.answer().content == b"1"
    assert client.answer().content == bytes(range(256)) * 16384
    assert client.answer().content == b"2"
    assert {client.answer().content for _ in range(40)} == {bytes(range(256)) * 64}


def test_nothing_after_close_is_answered(client: Client) -> None:
    client.send(numbered(2) + get("/small.txt", "Connection: close") + numbered(MANY))
    assert numbers(client, 2) == [0, 1]
    assert client.answer().closes
    assert client.at_end()


def test_what_came_before_nonsense_is_answered(client: Client) -> None:
    client.send(numbered(MANY) + b"nonsense\r\n\r\n" + numbered(MANY))
    assert numbers(client, MANY) == [number % 100 for number in range(MANY)]
    assert client.answer().status == 400
    assert client.at_end()


@pytest.mark.parametrize("count", [2, MANY])
def test_a_half_closed_client_gets_all_its_answers(client: Client, count: int) -> None:
    client.send(numbered(count))
    client.half_close()
    assert numbers(client, count) == [number % 100 for number in range(count)]
    assert client.at_end()


@pytest.mark.parametrize(
    ("lines", "content"),
    [("Content-Length: 1", b"x"), ("Transfer-Encoding: chunked", b"0\r\n\r\n")],
)
def test_thousands_of_tiny_requests_with_content(
    client: Client, lines: str, content: bytes
) -> None:
    """More of them lie in one buffer than calls may be nested."""
    client.send((request("POST", "/", lines) + content) * 3000 + get("/small.txt"))
    assert {client.answer().status for _ in range(3000)} == {405}
    assert client.answer().content == b"small"


def test_who_never_reads_is_read_no_more(server: Server, connect: Connect) -> None:
    client = connect(server, receive_buffer=4096)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    one = get("/medium.bin")
    client.socket.setblocking(False)
    queued = looks = 0
    while looks < 20:  # until neither side has moved for a while
        sent = push(client, one, queued)
        queued += sent
        looks = 0 if sent or states(server) != [SEND] else looks + 1
        time.sleep(0.005 if looks else 0)
        assert queued < 64 << 20, "the server reads on and on"
    (connection,) = connections(server)
    assert len(connection._buffer) <= HEAD_LIMIT + RECEIVE
    client.socket.settimeout(PATIENCE)
    client.hurry()
    complete, rest = divmod(queued, len(one))
    for _ in range(complete):
        assert client.answer().content == bytes(range(256)) * 64
    assert client.ask(one[rest:]).content == bytes(range(256)) * 64
    assert client.ask(get("/small.txt")).content == b"small"


def push(client: Client, one: bytes, queued: int) -> int:
    """Send as many whole or partial requests as fit; the number of octets taken."""
    data = (one * 200)[queued % len(one) :]
    try:
        return client.socket.send(data)
    except BlockingIOError:
        return 0
