"""The bound on connections: who goes when it is reached, and who waits."""

from __future__ import annotations

import threading
import time

from portico.server.embedded import Server
from portico.server.states import IDLE, SEND
from tests.server.clients import Client, eventually, get, request
from tests.server.conftest import Connect, Serve
from tests.server.inside import states, worker_of


def test_a_newcomer_takes_the_place_of_who_was_idle_longest(serve: Serve, connect: Connect) -> None:
    server = serve(max_connections=3)
    first, second, third = (connect(server) for _ in range(3))
    for client in (first, second, third):
        assert client.ask(get("/small.txt")).content == b"small"
    assert first.ask(get("/small.txt")).content == b"small"
    assert connect(server).ask(get("/small.txt")).content == b"small"
    assert second.at_end()
    assert not first.has_news()
    assert not third.has_news()
    assert len(states(server)) == 3


def test_slow_heads_and_contents_make_room_too(serve: Serve, connect: Connect) -> None:
    server = serve(max_connections=2)
    heads, contents = connect(server), connect(server)
    heads.send(b"GET /")
    contents.send(request("POST", "/", "Content-Length: 9"))
    assert contents.answer().status == 405
    eventually(lambda: len(states(server)) == 2)
    for _ in range(2):
        client = connect(server)
        assert client.ask(get("/small.txt", "Connection: close")).content == b"small"
        assert client.at_end()
    assert heads.at_end()


def busy(server: Server, connect: Connect, count: int) -> list[Client]:
    """Clients in the middle of a download."""
    clients = [connect(server, receive_buffer=4096) for _ in range(count)]
    for client in clients:
        client.send(get("/large.bin"))
    eventually(lambda: states(server) == [SEND] * count)
    return clients


def test_a_newcomer_waits_for_the_end_of_a_connection(serve: Serve, connect: Connect) -> None:
    server = serve(max_connections=2)
    first, second = busy(server, connect, 2)
    newcomer = connect(server)
    newcomer.send(get("/small.txt"))
    assert first.answer().content[:2] == b"\x00\x01"
    first.close()
    assert newcomer.answer().content == b"small"
    assert len(second.answer().content) == 1 << 22


def test_a_newcomer_waits_until_a_connection_is_idle(serve: Serve, connect: Connect) -> None:
    """Its client keeps it open after the download."""
    server = serve(max_connections=2)
    first, second = busy(server, connect, 2)
    newcomer = connect(server)
    newcomer.send(get("/small.txt"))
    assert len(first.answer().content) == 1 << 22
    assert newcomer.answer().content == b"small"
    assert first.at_end()
    assert len(second.answer().content) == 1 << 22


def test_while_it_is_full_it_does_not_spin(serve: Serve, connect: Connect) -> None:
    server = serve(max_connections=1)
    (client,) = busy(server, connect, 1)
    newcomer = connect(server)
    newcomer.send(get("/small.txt"))
    worker = worker_of(server)
    eventually(lambda: not worker._clients._accepting)
    turns = worker._responder.freshness.request
    time.sleep(0.3)  # in which nothing is to happen
    assert worker._responder.freshness.request - turns < 50
    client.hurry()
    assert len(client.answer().content) == 1 << 22
    assert newcomer.answer().content == b"small"


def test_threads_of_clients_against_a_small_bound(serve: Serve) -> None:
    server = serve(max_connections=4)
    served: list[bytes] = []

    def visit() -> None:
        for _ in range(20):
            with Client(server.url) as client:
                served.append(client.ask(get("/medium.bin", "Connection: close")).content[-3:])

    threads = [threading.Thread(target=visit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert served == [b"\xfd\xfe\xff"] * 160


def test_idle_connections_are_kept_as_long_as_there_is_room(serve: Serve, connect: Connect) -> None:
    server = serve(max_connections=50)
    clients = [connect(server) for _ in range(50)]
    for _ in range(2):
        for client in clients:
            assert client.ask(get("/small.txt")).content == b"small"
    assert states(server) == [IDLE] * 50
