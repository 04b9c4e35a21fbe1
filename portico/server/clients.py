"""All clients of one loop: accepted, served, and dropped when they take too long.

Newcomers are let in a few at a time, once in a turn of the loop, and again and again in a turn that
takes long. Their first requests are served at once.

Limit: as many connections at once as `descriptors` allow. When they are used up, others make room
for newcomers: `eviction` says who. Where the system is out of descriptors or memory, accepting
rests.
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
"""Connections accepted from one listening socket before those that are there are served: some 100
us of work. Of several workers, one that took many at once would leave the others without. Where
there is a handshake to be made, it is one."""
CROWDED_SHARE = 4
"""Hardly any place is left where it is less than a quarter: twice what those who go leave free."""
ACCEPTS_WHEN_CROWDED = 16
"""The same, where hardly any place is left. Long responses begin with the next turn only then: who
asks for little must not wait behind many who do not take theirs. For the same reason the kernel
then takes little of them (see `transport.SENT_AHEAD`)."""
SWEEP_SECONDS = 0.5
"""How often deadlines are looked at; so this is how much too late one is noticed."""
EXPIRE_SECONDS = 0.0001
"""How long connections may be ended in a turn; the others go on with the next turns."""
MAKE_ROOM_SECONDS = 0.003
"""How long connections may be given up for newcomers before these are let in."""
SWEEPS_WHEN_IDLE = 120
"""How many sweeps still run after the last connection was closed, for `on_sweep`."""
SHORTAGE_SECONDS = 0.25
"""How long accepting rests when the system is out of descriptors or memory."""
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Door(NamedTuple):
    """A listening socket, who answers its clients, and what makes their connections secure."""

    listener: socket.socket
    responder: Responder
    secure: Secure | None = None
    connect: Connect = Connection
    """Makes the connections; raises ConnectionAbortedError for one that it has closed."""
    await_header: AwaitHeader | None = None
    """Where each connection begins with a header of the PROXY protocol: see `proxies`."""


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
        """`is_shared` says that other processes accept from the same sockets.

        `on_sweep` is called with each look at the deadlines, `on_shortage` when the system is out
        of descriptors or memory.
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
        """Return the state of each connection."""
        return [connection.state for connection in self._connections.values()]

    def accept(self) -> None:
        """Accept from now on."""
        self._accept_again()
        if self._is_shared:
            self._sweep_from_now_on()

    def look_for_newcomers(self) -> None:
        """Accept what waits, now and not only when its turn comes."""
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
        """End the connections that are idle now, and the others with their present exchange."""
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
        """Close the connection with the descriptor `fd`, the handler of which has failed."""
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
        """Accept what waits at a listening socket, as far as there is room."""
        self._sweep_from_now_on()
        if len(self._connections) >= self._most and not self._make_room():
            self._stop_accepting()  # `_closed` begins again as well
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
            is_short = connection.fd >= self._scarce  # the system gives the lowest that is free
            if is_short or not acceptor.has_more():
                break
        # These requests may have been sent after this turn of the loop began, but not after this.
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
        """Accept one connection. Raises OSError."""
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
        """Serve a connection whose PROXY header has come; it names `peer`, if that `is_told`.

        If not, the proxy may have passed on the octets of a stranger: so it is trusted no more, and
        its own connections are not limited. Raises ConnectionAbortedError for one that is closed.
        """
        connection = self._connect(door, plain, peer, None if is_told else Connection)
        self._connections[connection.fd] = connection
        door.responder.freshness.begin_round()  # what follows may be younger than this turn
        self._start(connection, connection.receive() if door.secure is None else None)
        if door.responder.hurries:
            connection.drain()

    def _start(self, connection: Connection, data: bytes | None) -> None:
        if connection.state != CLOSED:
            self._guard(connection, partial(connection.start, data))

    def _guard(self, connection: Connection, act: Callable[[], None]) -> None:
        """Have a connection do something; if it fails it is closed, and the others go on."""
        if not run_guarded(act):
            run_guarded(connection.close)

    def _closed(self, connection: Connection) -> None:
        del self._connections[connection.fd]
        self._accept_again()

    def _make_room(self) -> bool:
        """Give up those that are the first to go; return False if nobody has to."""
        victims = first_to_go(self._connections.values(), self._most, spare=self._is_short)
        end = monotonic() + MAKE_ROOM_SECONDS
        for connection in victims:
            self._guard(connection, connection.give_up)
            if monotonic() > end:
                break
        return bool(victims)

    def _wait_for_room(self) -> None:
        """Out of descriptors or memory: make room, and accept again a little later."""
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
        """End what has lasted too long. With nothing left to look after, sweep no more.

        For a newcomer the system wakes one process only, and that may have had no room, or be held
        up at just this moment: so processes that share their sockets look for newcomers at each
        sweep and never cease.
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
        """End those whose time is over, thousands perhaps, so not all in one turn of the loop."""
        end = monotonic() + EXPIRE_SECONDS
        for connection in connections:
            if connection.deadline < self._loop.now and connection.state != CLOSED:
                self._guard(connection, connection.expire)
                if monotonic() > end:
                    self._loop.soon(-1, partial(self._expire, connections))
                    return
