"""All clients of a worker: who is accepted when, and who goes when there are too many."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from portico.config.config import Config
from portico.http.content import Octets, Stream
from portico.http.message import ProtocolError, RequestHead, Response
from portico.server import clients as clients_module
from portico.server.clients import ACCEPTS_AT_ONCE, Clients, Door
from portico.server.embedded import Server
from portico.server.eviction import AT_ONCE, NEWCOMERS_SHARE
from portico.server.net.descriptors import Descriptors
from portico.server.net.loop import LONG_TURN
from portico.server.states import HEAD, IDLE, SEND, WAIT
from portico.site.origin.open_file import Waiting
from tests.server.clients import PATIENCE, Client, eventually, get, request
from tests.server.conftest import Connect, Serve
from tests.server.inside import Answers, Desk, Threads, states

if TYPE_CHECKING:
    from portico.server.responder import Answer


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


def test_a_newcomer_takes_the_place_of_the_slowest_reader(serve: Serve, connect: Connect) -> None:
    """What the slowest has not taken is dropped at once; who reads faster gets all."""
    server = serve(max_connections=2)
    slow, fast = busy(server, connect, 2)
    fast.hurry()
    fast.head()
    while len(fast.received) < 1 << 19:  # so the server has noticed that it reads
        fast.received += fast.socket.recv(1 << 16)
    newcomer = connect(server)
    assert newcomer.ask(get("/small.txt")).content == b"small"
    assert slow.is_cut()
    while len(fast.received) < 1 << 22:
        fast.received += fast.socket.recv(1 << 20)


def test_readers_that_trickle_do_not_keep_others_out(serve: Serve, connect: Connect) -> None:
    """Although each that is cut comes again."""
    server = serve(max_connections=10)
    readers: list[Client] = []

    def trickle() -> None:
        for client in readers:
            with suppress(ConnectionResetError, BlockingIOError):
                if client.socket.recv(100, socket.MSG_DONTWAIT):
                    continue
            client.close()
            readers.remove(client)
        while len(readers) < 20:
            readers.append(connect(server, receive_buffer=4096))
            readers[-1].send(get("/large.bin"))

    trickle()
    for _ in range(30):
        assert connect(server).ask(get("/small.txt", "Connection: close")).content == b"small"
        trickle()
    assert len(states(server)) <= 10


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
def threads() -> Threads:
    return Threads()


@pytest.fixture
def desk(threads: Threads) -> Iterator[Desk]:
    """Answers 204, "/cold" when its threads have run, "/slow" late; "/large", "/long" at length."""

    def answer(head: RequestHead) -> Response:
        if head.path == "/cold":
            raise Waiting("disk")
        if head.path == "/slow":
            time.sleep(2 * LONG_TURN)
        if head.path == "/large":
            return Response(200, [], (Octets(bytes(1 << 22)),))
        if head.path == "/long":
            return Response(200, [], (Stream(octet for octet in (b"x", b"y")),))
        return Response(204, [])

    def in_thread(_head: RequestHead) -> Answer:
        return Response(204, []), None

    desk = Desk(Config.of(), Answers(answer), threads.submit, in_thread)
    yield desk
    desk.close()


@contextmanager
def accepting(desk: Desk, most: int) -> Iterator[tuple[Clients, Callable[[bytes], socket.socket]]]:
    """Clients by TCP, and how to become one that has sent something."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as stack:
        listener.setblocking(False)
        clients = Clients(desk.loop, [Door(listener, desk.responder)], Descriptors(most))
        clients.accept()

        def connect(sent: bytes) -> socket.socket:
            client = stack.enter_context(socket.create_connection(listener.getsockname()))
            client.settimeout(0)
            client.sendall(sent)
            return client

        yield clients, connect
        clients.close()


def test_a_connection_that_fails_at_its_deadline_is_closed_and_the_others_are_looked_at(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(clients_module, "SWEEP_SECONDS", 0.01)

    class Broken(Answers):
        def refuse(self, problem: ProtocolError, _request: RequestHead | None = None) -> Response:
            raise LookupError(problem.detail)

    desk = Desk(Config.of(head_timeout=0.01), Broken(lambda _: Response(204, [])))
    with accepting(desk, 10) as (clients, connect):

        def all_have_gone() -> bool:
            desk.turn()
            return len(clients) == 0

        for _ in range(2):
            peers = [connect(b"GET /"), connect(b"GET /")]
            eventually(all_have_gone)
            assert [peer.recv(1) for peer in peers] == [b"", b""]
    desk.close()
    assert capfd.readouterr().err.count("LookupError: The request did not arrive in time.") == 4


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


def test_in_a_long_turn_newcomers_are_let_in_again_and_again(desk: Desk) -> None:
    """So they do not wait until all have had their turn, however many are there."""
    with accepting(desk, 1000) as (clients, connect):
        known = [connect(b"") for _ in range(20)]
        while len(clients) < len(known):
            desk.turn()
        for _ in range(2):  # the first is not known to be long before it is over
            newcomers = [connect(get("/")) for _ in range(3 * ACCEPTS_AT_ONCE)]
            for client in known:
                client.sendall(get("/slow"))
            desk.turn(clients.look_for_newcomers)
        for client in newcomers:
            assert client.recv(1000).startswith(b"HTTP/1.1 204 ")


def test_who_asks_for_little_comes_first_where_hardly_any_place_is_left(desk: Desk) -> None:
    with accepting(desk, most := 4 * NEWCOMERS_SHARE) as (clients, connect):
        for there in (0, most - 2):
            while len(clients) < there:
                connect(b"")
                desk.turn()
            long, short = connect(get("/long")), connect(get("/"))
            desk.turn()
            assert short.recv(1000).startswith(b"HTTP/1.1 204 ")
            if there:
                with pytest.raises(BlockingIOError):
                    long.recv(1000)
                desk.turn()
            assert long.recv(1000).startswith(b"HTTP/1.1 200 ")


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere the system takes what it has room for"
)
def test_little_is_sent_ahead_to_newcomers_where_hardly_any_place_is_left(desk: Desk) -> None:
    """So it costs little when they do not take it, and have to go."""
    with accepting(desk, most := 4 * NEWCOMERS_SHARE) as (clients, connect):
        ahead = []
        for there in (0, most - 2):
            while len(clients) < there:
                connect(b"")
                desk.turn()
            client = connect(get("/large"))
            desk.turn()
            [connection] = [each for each in clients._connections.values() if each.state == SEND]
            for _ in range(20):
                connection._on_room(0)
            ahead.append(connection._transport.unread())
            client.close()
            desk.turn()
        assert ahead[1] < 1 << 18 < ahead[0]


def test_a_newcomer_waits_while_all_wait_for_the_disk(desk: Desk, threads: Threads) -> None:
    """And nothing spins meanwhile."""
    with accepting(desk, 1) as (clients, connect):
        connect(get("/cold"))
        desk.turn()
        newcomer = connect(get("/"))
        desk.turn()
        assert clients.states() == [WAIT]
        assert not clients._accepting
        threads.run()
        while not clients._accepting:
            desk.turn()
        desk.turn()
        assert newcomer.recv(1000).startswith(b"HTTP/1.1 204 ")


def test_those_whose_time_is_over_do_not_end_in_one_turn(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is answered, which takes time that others would have to wait."""
    monkeypatch.setattr(clients_module, "EXPIRE_SECONDS", 0)
    desk.responder.time_limits[HEAD] = 0.0
    with accepting(desk, 1000) as (clients, connect):
        slow = [connect(b"GET") for _ in range(10)]
        while len(clients) < len(slow):
            desk.turn()
        clients._sweep()
        slow.pop().close()  # which is noticed in the next turn
        for left in (9, *range(7, -1, -1)):
            assert clients.states().count(HEAD) == left
            desk.turn()
        for client in slow:
            assert client.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_those_who_make_room_do_not_keep_a_newcomer_waiting(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To drop what a client has not taken takes time; nobody more goes when that is used up."""
    monkeypatch.setattr(clients_module, "MAKE_ROOM_SECONDS", 0)
    with accepting(desk, most := 2 * AT_ONCE) as (clients, connect):
        while len(clients) < most:
            connect(get("/"))
            desk.turn()
        newcomer = connect(get("/"))
        desk.turn()
        assert newcomer.recv(1000).startswith(b"HTTP/1.1 204 ")
        assert len(clients) == most


def test_all_is_closed_while_it_is_full(desk: Desk) -> None:
    """The end of a connection makes room for others, but not then."""
    with accepting(desk, 1) as (clients, connect):
        busy, newcomer = connect(get("/cold")), connect(b"")
        desk.turn()
        desk.turn()
        assert clients.states() == [WAIT]
        assert not clients._accepting
        clients.close()
        assert len(clients) == 0
        for client in (busy, newcomer):
            client.settimeout(PATIENCE)
            with suppress(ConnectionResetError):
                while client.recv(1 << 20):
                    pass
