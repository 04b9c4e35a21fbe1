"""Clients that vanish at any moment harm nobody: no traceback, no descriptor left, others served.

The fixtures look at stderr and at the descriptors after each test.
"""

from __future__ import annotations

import random

import pytest

from portico.server.embedded import Server
from portico.server.fairness import REQUESTS_AT_ONCE
from tests.server.clients import descriptors, eventually, get, request
from tests.server.conftest import Connect
from tests.server.inside import states

pytestmark = pytest.mark.usefixtures("any_poller")

BEGINNINGS = {
    "nothing": b"",
    "the middle of a head": get("/small.txt")[:20],
    "the end of a head": get("/small.txt"),
    "the middle of content": request("POST", "/", "Content-Length: 100") + b"x" * 50,
    "the middle of chunks": request("POST", "/", "Transfer-Encoding: chunked") + b"5\r\nab",
    "the middle of a download": get("/large.bin"),
    "many requests": get("/small.txt") * 10 * REQUESTS_AT_ONCE,
    "many large requests": get("/large.bin") * REQUESTS_AT_ONCE,
    "too much content": request("POST", "/", "Content-Length: 999999") + b"x" * 99999,
    "nonsense": b"nonsense\r\n\r\n",
}


def goes_on(server: Server, connect: Connect) -> bool:
    return connect(server).ask(get("/n/5.txt")).content == b"5"


@pytest.mark.parametrize("what", BEGINNINGS)
def test_a_reset_after(server: Server, connect: Connect, what: str) -> None:
    steady = connect(server)
    steady.ask(get("/small.txt"))
    for read_first in (0, 1, 100, 5000):
        client = connect(server, receive_buffer=8192)
        client.send(BEGINNINGS[what])
        if read_first and BEGINNINGS[what].startswith(b"GET") and what.endswith(("load", "ests")):
            client.socket.recv(read_first)
        client.vanish()
    assert steady.ask(get("/small.txt")).content == b"small"
    eventually(lambda: len(states(server)) == 1)
    assert goes_on(server, connect)


def test_a_hundred_at_once(server: Server, connect: Connect) -> None:
    dice = random.Random(1)
    assert goes_on(server, connect)
    before = descriptors()
    clients = [connect(server, receive_buffer=8192) for _ in range(100)]
    for client in clients:
        client.send(dice.choice(list(BEGINNINGS.values())))
    steady = connect(server)
    assert steady.ask(get("/small.txt")).content == b"small"
    for client in clients:
        dice.choice([client.vanish, client.close])()
    assert steady.ask(get("/small.txt")).content == b"small"
    steady.close()
    eventually(lambda: len(states(server)) == 1)
    eventually(lambda: descriptors() <= before + 1)  # one more for the large file


@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_a_client_that_closes_while_it_is_refused(
    server: Server, connect: Connect, size: int
) -> None:
    for _ in range(10):
        client = connect(server)
        client.send_as_far_as_possible([b"nonsense\r\n\r\n" + b"x" * size] * 2)
        client.vanish()
    eventually(lambda: not states(server))
    assert goes_on(server, connect)


def test_connections_that_end_before_they_are_accepted(server: Server, connect: Connect) -> None:
    for _ in range(50):
        connect(server).vanish()
        connect(server).close()
    assert goes_on(server, connect)
