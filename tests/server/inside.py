"""The inside of a server under test: its worker, the connections, and those driven by hand."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING

from portico.config.config import Config
from portico.http.content_sink import ContentSink
from portico.http.message import ProtocolError, RequestHead, Response
from portico.server.connection import Connection
from portico.server.embedded import Server
from portico.server.fairness import Shares
from portico.server.net.listeners import bind, url_of
from portico.server.net.loop import Loop
from portico.server.net.tls import Tls
from portico.server.net.transport import Plain, Transport
from portico.server.reply_cache import ReplyCache
from portico.server.responder import Handler, Responder, Services
from portico.server.telemetry.access_log import AccessLog
from portico.server.telemetry.telemetry import Telemetry
from portico.server.worker import Worker
from portico.site.origin.freshness import Dependencies, Freshness
from portico.site.pages import errors

if TYPE_CHECKING:
    from portico.server.responder import Answer, Wait


class Threads:
    """Takes work, if it has room, and does it when it is told to."""

    def __init__(self) -> None:
        self.has_room = True
        self.waiting: list[tuple[Callable[[], object], Callable[[], None]]] = []

    def submit(
        self, _place: object, work: Callable[[], object], done: Callable[[], None], /
    ) -> bool:
        self.waiting.append((work, done))
        return self.has_room

    def run(self) -> None:
        waiting, self.waiting = self.waiting, []
        for work, done in waiting:
            work()
            done()


def statuses(client: socket.socket) -> list[int]:
    """The statuses of the responses that have come; the end of the connection is 0."""
    said, ended = b"", False
    while not ended:
        try:
            piece = client.recv(1 << 16)
        except BlockingIOError:
            break
        said += piece
        ended = not piece
    found = [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]]
    return [*found, 0] if ended else found


def worker_of(server: Server) -> Worker:
    """The worker of a server that runs."""
    assert server._worker is not None
    return server._worker


def connections(server: Server) -> list[Connection]:
    """The server's side of each connection."""
    return list(worker_of(server)._clients._connections.values())


def states(server: Server) -> list[int]:
    """The state of each connection."""
    return worker_of(server)._clients.states()


@contextmanager
def running(
    config: Config, log: AccessLog | None = None, telemetry: Telemetry | None = None
) -> Iterator[tuple[Worker, str]]:
    """A worker in a thread, and its URL. At the end it is stopped, with the grace time it has."""
    listeners = bind(config)
    url = url_of(listeners[0])
    worker = Worker(config, listeners, telemetry or Telemetry(log))
    thread = Thread(target=worker.run)
    thread.start()
    try:
        yield worker, url
    finally:
        worker.stop()
        thread.join()


class Answers:
    """A Handler without a site: `answer` is called for each request."""

    fields_read: frozenset[str] = frozenset()

    def __init__(self, answer: Callable[[RequestHead], Response | ContentSink]) -> None:
        self.freshness = Freshness()
        self._answer = answer

    def answer(self, request: RequestHead) -> tuple[Response | ContentSink, Dependencies]:
        return self._answer(request), None

    def refuse(self, problem: ProtocolError, request: RequestHead | None = None) -> Response:
        response = errors.error(problem.status, request, problem.detail)
        response.close = request is None
        return response


class Desk:
    """A responder without a worker: connections are socket pairs, and turns are made by hand."""

    def __init__(
        self,
        config: Config,
        handler: Handler,
        wait: Wait | None = None,
        in_thread: Callable[[RequestHead], Answer] | None = None,
        log: AccessLog | None = None,
    ) -> None:
        cache = ReplyCache(1 << 20)
        services = Services(config, Shares(), Telemetry(log), wait, in_thread)
        self.responder = Responder(services, handler, cache)
        self.loop = Loop()
        self.connections: dict[int, Connection] = {}
        self.clients: list[socket.socket] = []

    def connect(
        self,
        first: bytes = b"",
        transport: type[Plain] = Plain,
        wrap: Callable[[Plain], Transport] | None = None,
    ) -> tuple[socket.socket, Connection]:
        """A new client that has sent `first`, and its connection, started."""
        client, ours = socket.socketpair()
        client.settimeout(0)
        client.sendall(first)
        way = transport(ours.family, ours.type, ours.proto, ours.detach())
        way.setblocking(False)
        return client, self.serve(client, way if wrap is None else wrap(way))

    def serve(self, client: socket.socket, transport: Transport) -> Connection:
        """Start a connection over `transport`, at the other end of which `client` is."""
        connection = Connection(transport, "client", self.loop, self.responder, self._closed)
        self.connections[connection.fd] = connection
        self.clients.append(client)
        connection.start(None if isinstance(transport, Tls) else connection.receive())
        return connection

    def _closed(self, connection: Connection) -> None:
        del self.connections[connection.fd]

    def turn(self, on_long_turn: Callable[[], None] | None = None) -> None:
        """Make one turn of the loop."""
        self.loop._stopped = False
        self.loop.wake()
        self.loop.run(
            on_turn=self.responder.begin_turn,
            on_long_turn=on_long_turn,
            on_turn_end=self.loop.stop,
            on_bug=self._on_bug,
        )

    def _on_bug(self, fd: int) -> None:
        raise AssertionError(f"a handler of {fd} raised")

    def close(self) -> None:
        """Close all connections, from both sides."""
        for connection in list(self.connections.values()):
            connection.close()
        for client in self.clients:
            client.close()
        self.loop.close()
        self.responder.begin_drain()  # forgets the replies, and with them their open files
