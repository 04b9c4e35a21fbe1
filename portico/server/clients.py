"""Accepts the connections of one worker, keeps them until they close, and enforces deadlines.

A few new connections are accepted in each turn (iteration) of the event loop, and a few more for
each millisecond that a turn lasts. Their first requests are served at once.

Limit: as many connections at once as `descriptors` allows. At the limit, connections are evicted
for new ones; see `eviction`. When the system is out of descriptors or memory, accepting pauses for
SHORTAGE_SECONDS.
"""

from __future__ import annotations

import errno
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from portico.server.connection import Connection
from portico.server.eviction import YOUNG_SECONDS, first_to_go
from portico.server.net.acceptor import Acceptor
from portico.server.net.listeners import BACKLOG
from portico.server.net.loop import EXCLUSIVE, READ, run_guarded
from portico.server.states import CLOSED

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence

    from portico.server.net.descriptors import Descriptors
    from portico.server.net.loop import Loop
    from portico.server.net.transport import Plain, Transport
    from portico.server.responder import Responder

    Closed = Callable[[Connection], None]
    Connect = Callable[[Transport, str, Loop, Responder, Closed], Connection]
    Secure = Callable[[Plain, str], tuple[Transport, str]]
    AwaitHeader = Callable[
        [Plain, str, Loop, Responder, Closed, Callable[[Plain, str, bool], None]], Connection
    ]

ACCEPTS_AT_ONCE = 4
"""Connections accepted from one listening socket before established ones are served: some 100 us
of work. A worker that accepted many at once would take them from the other workers. With TLS only
one is accepted, because of its handshake."""
CROWDED_SHARE = 4
"""A worker is crowded if less than a quarter of the places is free: twice the share that eviction
keeps free of long responses."""
ACCEPTS_WHEN_CROWDED = 16
"""ACCEPTS_AT_ONCE of a crowded worker. The long responses of the accepted connections then begin
only in the next turn, so a client that asks for little does not wait behind many slow readers. For
the same reason the kernel buffers little of these responses (see `transport.SENT_AHEAD`)."""
SWEEP_SECONDS = 0.5
"""Interval between two sweeps, which close the connections whose deadline has passed."""
EXPIRE_SECONDS = 0.0001
"""Time for closing such connections in one turn; the remaining ones are closed in later turns."""
MAKE_ROOM_SECONDS = 0.003
"""Time for evicting connections before new ones are accepted."""
SWEEPS_WHEN_IDLE = 120
"""Sweeps that still run after the last connection was closed, for the sake of `on_sweep`."""
SHORTAGE_SECONDS = 0.25
"""How long accepting pauses when the system is out of descriptors or memory."""
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Door(NamedTuple):
    """A listening socket, and how the connections accepted from it are made and answered."""

    listener: socket.socket
    responder: Responder
    secure: Secure | None = None
    """Wraps a `Plain` transport in TLS and returns it with the peer; None without TLS."""
    connect: Connect = Connection
    """Makes a connection. Raises ConnectionAbortedError if it has refused and closed it."""
    await_header: AwaitHeader | None = None
    """Makes a connection that must begin with a PROXY header (see `proxies`); None: none must."""


class Clients:
    """Accepts connections at `doors` and keeps them until they are closed."""

    def __init__(
        self,
        loop: Loop,
        doors: Sequence[Door],
        descriptors: Descriptors,
        *,
        is_shared: bool = False,
        on_sweep: Callable[[], None] | None = None,
        on_shortage: Callable[[], None] | None = None,
    ) -> None:
        """`is_shared` means that other processes accept from the same sockets.

        `on_sweep` is called at the end of each sweep, `on_shortage` when the system is out of
        descriptors or memory.
        """
        self._loop = loop
        self._doors = doors
        self._acceptors = [Acceptor(door.listener) for door in doors]
        self._most, self._scarce = descriptors.connections, descriptors.scarce
        self._is_shared = is_shared
        self._on_sweep = on_sweep
        self._on_shortage = on_shortage
        self._connections: dict[int, Connection] = {}
        self._accepting = False
        self._has_stopped = False
        self._is_short = False
        self._is_sweeping = False
        self._sweeps_left = 0

    def __len__(self) -> int:
        return len(self._connections)

    def states(self) -> list[int]:
        """Return the state (see `states`) of each connection."""
        return [connection.state for connection in self._connections.values()]

    def accept(self) -> None:
        """Start to accept connections."""
        self._accept_again()
        if self._is_shared:
            self._sweep_from_now_on()

    def look_for_newcomers(self) -> None:
        """Accept waiting connections now, instead of in the next turn of the loop."""
        if self._accepting:
            for door, acceptor in zip(self._doors, self._acceptors, strict=True):
                if acceptor.has_more():
                    self._accept(acceptor, door)

    def stop_listening(self) -> None:
        """Accept the connections that the kernel has queued already, then close the listeners."""
        self._has_stopped = True
        self._stop_accepting()
        for door, acceptor in zip(self._doors, self._acceptors, strict=True):
            for _ in range(BACKLOG):
                if not acceptor.has_more():
                    break
                self._accept(acceptor, door)
            door.listener.close()

    def drain(self) -> None:
        """Close idle connections now, and each other connection after its current exchange."""
        for connection in list(self._connections.values()):
            self._guard(connection, connection.drain)

    def close(self) -> None:
        """Close all sockets."""
        self._has_stopped = True
        for door in self._doors:
            door.listener.close()
        for connection in list(self._connections.values()):
            run_guarded(connection.close)

    def close_broken(self, fd: int) -> None:
        """Close the connection with the descriptor `fd`, because its handler has raised."""
        if fd in self._connections:
            self._connections[fd].close()

    def _accept_again(self) -> None:
        if not self._accepting and not self._has_stopped and not self._is_short:
            self._accepting = True
            for door, acceptor in zip(self._doors, self._acceptors, strict=True):
                events = READ | EXCLUSIVE if self._is_shared else READ
                accept = partial(self._accept, acceptor, door)
                self._loop.watch(acceptor.fd, events, accept)

    def _stop_accepting(self) -> None:
        if self._accepting:
            self._accepting = False
            for acceptor in self._acceptors:
                self._loop.forget(acceptor.fd)

    def _accept(self, acceptor: Acceptor, door: Door, _events: int = READ) -> None:
        """Accept connections that wait at a listening socket, as far as there is room."""
        self._sweep_from_now_on()
        if len(self._connections) >= self._most and not self._make_room():
            self._stop_accepting()  # until a connection closes, or the timer runs
            self._loop.later(YOUNG_SECONDS, self._accept_again)
            return
        is_crowded = len(self._connections) > self._most - self._most // CROWDED_SHARE
        usual = ACCEPTS_AT_ONCE if door.secure is None else 1
        at_once = ACCEPTS_WHEN_CROWDED if is_crowded else usual
        arrived = []
        responder = door.responder
        is_short = False
        for _ in range(min(at_once, self._most - len(self._connections))):
            try:
                connection = self._next(acceptor, door, is_crowded=is_crowded)
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break
            except OSError as error:
                is_short = error.errno in _SHORTAGES
                break
            self._connections[connection.fd] = connection
            shakes_hands = door.secure is not None and door.await_header is None
            arrived.append((connection, None if shakes_hands else connection.receive()))
            is_short = connection.fd >= self._scarce  # the system assigns the lowest free number
            if is_short or not acceptor.has_more():
                break
        # The requests just received may have been sent after the checks of this turn.
        responder.freshness.begin_round()
        if responder.counters is not None:
            responder.counters.accepted(len(arrived))
        responder.shares.bursts.hold(on=is_crowded)
        for connection, data in arrived:
            self._start(connection, data)
        responder.shares.bursts.hold(on=False)
        if is_short:
            self._wait_for_room()

    def _next(self, acceptor: Acceptor, door: Door, *, is_crowded: bool) -> Connection:
        """Accept one connection and return it. Raises OSError."""
        plain, peer = acceptor.accept()
        if is_crowded:
            plain.send_little_ahead()
        if door.await_header is None:
            return self._connect(door, plain, peer)
        announced = partial(self._announced, door)
        return door.await_header(plain, peer, self._loop, door.responder, self._closed, announced)

    def _connect(
        self, door: Door, plain: Plain, peer: str, connect: Connect | None = None
    ) -> Connection:
        transport: Transport = plain
        if door.secure is not None:
            transport, peer = door.secure(plain, peer)
        connect = connect or door.connect
        return connect(transport, peer, self._loop, door.responder, self._closed)

    def _announced(self, door: Door, plain: Plain, peer: str, is_told: bool) -> None:  # noqa: FBT001
        """Serve a connection whose PROXY header has arrived. Raises ConnectionAbortedError.

        With `is_told`, `peer` is the client that the header names. Without it the header names
        none, and `peer` is the proxy: a plain Connection serves it, which trusts no X-Forwarded-*
        or Forwarded fields, as they may be a stranger's, and does not count for `client_limits`.
        """
        connection = self._connect(door, plain, peer, None if is_told else Connection)
        self._connections[connection.fd] = connection
        door.responder.freshness.begin_round()  # as in `_accept`
        self._start(connection, connection.receive() if door.secure is None else None)
        if door.responder.hurries:
            connection.drain()

    def _start(self, connection: Connection, data: bytes | None) -> None:
        if connection.state != CLOSED:
            self._guard(connection, partial(connection.start, data))

    def _guard(self, connection: Connection, act: Callable[[], None]) -> None:
        """Call `act`; if it raises, report that and close the connection."""
        if not run_guarded(act):
            run_guarded(connection.close)

    def _closed(self, connection: Connection) -> None:
        del self._connections[connection.fd]
        self._accept_again()

    def _make_room(self) -> bool:
        """Evict connections (see `eviction`); return False if none can be evicted."""
        victims = first_to_go(self._connections.values(), self._most, spare=self._is_short)
        end = monotonic() + MAKE_ROOM_SECONDS
        for connection in victims:
            self._guard(connection, connection.give_up)
            if monotonic() > end:
                break
        return bool(victims)

    def _wait_for_room(self) -> None:
        """Evict connections, and pause accepting: the system is out of descriptors or memory."""
        self._is_short = True
        self._stop_accepting()
        self._make_room()
        if self._on_shortage is not None:
            self._on_shortage()
        self._loop.later(SHORTAGE_SECONDS, self._after_shortage)

    def _after_shortage(self) -> None:
        self._is_short = False
        self._accept_again()

    def _sweep_from_now_on(self) -> None:
        self._sweeps_left = SWEEPS_WHEN_IDLE + 1
        if not self._is_sweeping:
            self._is_sweeping = True
            self._loop.later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Close connections whose deadline has passed, and schedule the next sweep if needed.

        For a new connection the kernel wakes only one of the processes that share a socket, and
        that one may have no room, or be busy. So such processes also accept at each sweep, and
        never stop sweeping; others stop SWEEPS_WHEN_IDLE sweeps after the last connection.
        """
        self._expire(iter(list(self._connections.values())))
        if self._is_shared:
            self.look_for_newcomers()
        if not self._connections:
            self._sweeps_left -= 1
        if self._on_sweep is not None:
            run_guarded(self._on_sweep)
        self._is_sweeping = self._is_shared or self._sweeps_left > 0
        if self._is_sweeping:
            self._loop.later(SWEEP_SECONDS, self._sweep)

    def _expire(self, connections: Iterator[Connection]) -> None:
        """Call `expire` of each connection whose deadline has passed, if need be in many turns."""
        end = monotonic() + EXPIRE_SECONDS
        for connection in connections:
            if connection.deadline < self._loop.now and connection.state != CLOSED:
                self._guard(connection, connection.expire)
                if monotonic() > end:
                    self._loop.soon(-1, partial(self._expire, connections))
                    return
