"""All clients of a worker: who is accepted when, and who goes when there are too many."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from portico.config.config import Config
from portico.http.content import Octets
from portico.http.message import RequestHead, Response
from portico.server.clients import ACCEPTS_AT_ONCE, Clients
from portico.server.embedded import Server
from portico.server.states import IDLE, SEND
from tests.server.clients import PATIENCE, Client, eventually, get, request
from tests.server.conftest import Connect, Serve
from tests.server.inside import Answers, Desk, states, worker_of


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
    turns = worker._responder.freshness.round
    time.sleep(0.3)  # in which nothing is to happen
    assert worker._responder.freshness.round - turns < 50
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


# --- clients of a loop that is driven by hand


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Answers "/large" with much, and all else with 204."""

    def answer(head: RequestHead) -> Response:
        if head.path == "/large":
            return Response(200, [("Content-Length", str(1 << 24))], (Octets(bytes(1 << 24)),))
        return Response(204, [])

    desk = Desk(Config.of(), Answers(answer))
    yield desk
    desk.close()


@contextmanager
def accepting(desk: Desk, most: int) -> Iterator[tuple[Clients, Callable[[bytes], socket.socket]]]:
    """Clients by TCP, and how to become one that has sent something."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as stack:
        listener.setblocking(False)
        clients = Clients(desk.loop, desk.responder, [listener], most)
        clients.accept()

        def connect(sent: bytes) -> socket.socket:
            client = stack.enter_context(socket.create_connection(listener.getsockname()))
            client.settimeout(0)
            client.sendall(sent)
            return client

        yield clients, connect
        clients.close()


def test_newcomers_keep_a_client_waiting_for_a_share_of_them(desk: Desk) -> None:
    """However many connections wait to be accepted, who is connected has its turn."""
    with accepting(desk, 1000) as (clients, connect):
        known = connect(get("/"))
        desk.turn()
        assert known.recv(1000).startswith(b"HTTP/1.1 204 ")
        newcomers = [connect(get("/")) for _ in range(3 * ACCEPTS_AT_ONCE)]
        known.sendall(get("/"))
        desk.turn()
        assert known.recv(1000).startswith(b"HTTP/1.1 204 ")
        assert len(clients) == 1 + ACCEPTS_AT_ONCE
        desk.turn()
        desk.turn()
        for client in newcomers:
            assert client.recv(1000).startswith(b"HTTP/1.1 204 ")


def test_all_is_closed_while_it_is_full(desk: Desk) -> None:
    """The end of a connection makes room for others, but not then."""
    with accepting(desk, 1) as (clients, connect):
        busy, newcomer = connect(get("/large")), connect(b"")
        desk.turn()
        desk.turn()
        assert clients.states() == [SEND]
        assert not clients._accepting
        clients.close()
        assert len(clients) == 0
        for client in (busy, newcomer):
            client.settimeout(PATIENCE)
            with suppress(ConnectionResetError):
                while client.recv(1 << 20):
                    pass
