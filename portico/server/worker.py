"""One worker: a loop, its listening sockets and the connections it has accepted.

It touches no signal and nothing global, so that several can live in one process. `stop` and
`retire` only queue, the loop acts. Both let it drain: accept no more, and end each connection with
the answer that is under way. A worker that is stopped ends idle connections, and what is not done
within the grace time; asked again, all at once. One that is retired, because others take its place,
takes the time that its clients need: only those that ask for nothing are closed, after the grace
time, so that no request meets a connection that has just been closed.
"""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING

from portico.server.background.blocking_io import BlockingIO
from portico.server.background.jobs import JobThread
from portico.server.connection import Connection
from portico.server.limits import Descriptors
from portico.server.net.acceptor import Acceptor
from portico.server.net.listeners import BACKLOG, host_of, is_loopback
from portico.server.net.loop import EXCLUSIVE, READ, Loop, report_bug
from portico.server.reply_cache import ReplyCache
from portico.server.responder import Responder
from portico.server.states import CLOSED, CONTENT, HEAD, IDLE, SEND
from portico.site.compression.cache import CompressionCache
from portico.site.origin.folder import Folder
from portico.site.origin.remote import RemoteOrigin
from portico.site.rules.rulebook import warn
from portico.site.site import LOOPBACK_HOSTS, Site

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from portico.config.config import Config
    from portico.server.telemetry.access_log import AccessLog
    from portico.server.telemetry.counters import Counts
    from portico.site.rules.rulebook import Report

ACCEPTS_AT_ONCE = 4
"""Connections accepted from one listening socket before they are served, and others too: some 100
us of work."""
SWEEP_SECONDS = 0.5
"""How often deadlines are looked at; so this is how much too late one is noticed."""
EXPIRE_SWEEPS = 60
"""Sweeps after which memories let go of what was not used."""
SHORTAGE_SECONDS = 0.25
"""How long accepting rests when the system is out of descriptors or memory."""
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Worker:
    """Serves `config.root` on `listeners` until it is stopped; closes them at the end."""

    def __init__(
        self,
        config: Config,
        listeners: list[socket.socket],
        log: AccessLog | None = None,
        report: Report = warn,
    ) -> None:
        """`report` is told what is wrong with the site's own rules, now and when they change."""
        self._config = config
        self._listeners = listeners
        self._acceptors = [Acceptor(listener) for listener in listeners]
        self._log = log
        # Two, so that a large file to hash holds up no compression.
        self._pools = JobThread(), JobThread()
        descriptors = Descriptors(config)
        self._most = descriptors.connections
        self._scarce = descriptors.scarce
        share = config.cache_size // 8
        self._folder = Folder(config.root, share, self._pools[0].submit, descriptors.files)
        copies = None
        if config.compress:
            copies = CompressionCache(2 * share, self._pools[1].submit)
        self._copies = copies
        hosts = None
        if all(map(is_loopback, listeners)) or config.allow_hosts:
            own = [host_of(listener) for listener in listeners if is_loopback(listener)]
            hosts = (*LOOPBACK_HOSTS, *own, *config.allow_hosts)
        self._remote = RemoteOrigin(self._folder)
        self._site = Site(self._remote, config, hosts, copies, report)
        self._site.read_rules()
        self._folder.may_wait = False
        reply_cache = ReplyCache(5 * share, descriptors.files)
        self._responder = Responder(config, self._site, reply_cache, log)
        self._loop = Loop(self._responder.begin_turn, self._rest, self._on_bug)
        self._blocking_io = BlockingIO(self._loop.call)
        self._responder.wait = self._blocking_io.submit
        self._connections: dict[int, Connection] = {}
        self._shares = config.workers > 1
        """Do other workers accept from the same sockets?"""
        self._accepting = False
        self._sweeping = False
        self._sweeps = 0
        self._sweeps_left = 0
        self._short = False
        self._stops = 0
        self._retires = False
        self._hurries = False
        self.on_leaving: Callable[[], None] = _nothing
        """Called once, by the loop, when the worker has ceased to accept."""

    @property
    def requests(self) -> int:
        """Requests answered so far."""
        return self._responder.requests

    @property
    def connections(self) -> int:
        """Connections open now."""
        return len(self._connections)

    def count_in(self, counts: Counts) -> None:
        """Count there what happens; to be called before `run`."""
        self._responder.counts = counts
        counts.serves()

    def run(self) -> None:
        """Serve until stopped."""
        try:
            self._accept_again()
            if self._shares:
                self._sweep_from_now_on()
            self._loop.run()
        finally:
            for listener in self._listeners:
                listener.close()
            for connection in list(self._connections.values()):
                connection.close()
            self._rest()
            self._observe()
            self._loop.close()
            for pool in (*self._pools, self._blocking_io):
                pool.close()
            self._responder.begin_drain()  # forgets the replies, and with them their open files
            self._expire()
            self._expire()  # what was used since the last call goes only now

    def stop(self) -> None:
        """Ask for a drain; asked again, end at once. For any thread, and for signal handlers."""
        self._stops += 1
        if self._log is not None:
            self._log.give_up()
        self._loop.wake()

    def retire(self) -> None:
        """Ask for a drain without haste. For any thread, and for signal handlers."""
        self._retires = True
        self._loop.wake()

    def call(self, what: Callable[[], None]) -> None:
        """Have the loop call `what`. For any thread, and for signal handlers."""
        self._loop.call(what)

    def heed(self, fd: int, handler: Callable[[int], None]) -> None:
        """Have the loop call `handler(events)` whenever `fd` can be read."""
        self._loop.watch(fd, READ, handler)

    def ignore(self, fd: int) -> None:
        """Heed `fd` no more; before it is closed as well."""
        self._loop.forget(fd)

    def _rest(self) -> None:
        """At the end of each turn."""
        if self._log is not None:
            self._log.flush()
        if self._stops or self._retires:
            self._obey()

    def _obey(self) -> None:
        """Act on `stop` and `retire`."""
        self._site.ends = self._stops > 0  # to be retired is no illness: others serve
        if self._stops > 1:
            self._loop.stop()
            return
        if not self._responder.draining:
            self._leave()
        if self._stops and not self._hurries:
            self._hurries = True
            self._end_idle()
            self._loop.later(self._config.grace, self._loop.stop)
        if not self._connections:
            self._loop.stop()

    def _leave(self) -> None:
        """Accept no more, but for those in the queue: they have been promised an answer."""
        self._responder.begin_drain()
        self._stop_accepting()
        for listener, acceptor in zip(self._listeners, self._acceptors, strict=True):
            for _ in range(BACKLOG // ACCEPTS_AT_ONCE):
                if not acceptor.has_more():
                    break
                self._accept(acceptor)
            listener.close()
        self._loop.later(self._config.grace, self._end_idle)
        self.on_leaving()

    def _end_idle(self) -> None:
        for connection in list(self._connections.values()):
            connection.drain()

    # Accepting

    def _accept_again(self) -> None:
        if not self._accepting and not self._responder.draining:
            self._accepting = True
            for acceptor in self._acceptors:
                events = READ | EXCLUSIVE if self._shares else READ
                self._loop.watch(acceptor.fd, events, partial(self._accept, acceptor))

    def _stop_accepting(self) -> None:
        if self._accepting:
            self._accepting = False
            for acceptor in self._acceptors:
                self._loop.forget(acceptor.fd)

    def _accept(self, acceptor: Acceptor, _events: int = READ) -> None:
        """Accept what waits at a listening socket, as far as there is room."""
        self._sweep_from_now_on()
        if len(self._connections) >= self._most and not self._make_room():
            self._stop_accepting()  # `_closed` or the next sweep begins again
            return
        arrived = []
        short = False
        for _ in range(min(ACCEPTS_AT_ONCE, self._most - len(self._connections))):
            try:
                accepted = acceptor.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break
            except OSError as error:
                short = error.errno in _SHORTAGES
                break
            connection = Connection(accepted, self._loop, self._responder, self._closed)
            self._connections[connection.fd] = connection
            arrived.append((connection, connection.first_octets()))
            short = connection.fd >= self._scarce  # the system gives the lowest that is free
            if short or not acceptor.has_more():
                break
        # These requests may have been sent after this turn of the loop began, but not after this.
        self._responder.freshness.begin_request()
        if self._responder.counts is not None:
            self._responder.counts.accepted(len(arrived))
        for connection, data in arrived:
            self._start(connection, data)
        if short:
            self._wait_for_room()

    def _start(self, connection: Connection, data: bytes) -> None:
        if connection.state == CLOSED:
            return
        try:
            connection.start(data)
        except Exception:  # noqa: BLE001
            report_bug()
            connection.close()

    def _closed(self, connection: Connection) -> None:
        """A connection has ended."""
        del self._connections[connection.fd]
        if not self._accepting and not self._short:
            self._accept_again()

    def _make_room(self) -> bool:
        """Close connections that have waited long for their client; True if there were any.

        So whoever holds all connections open without using them harms no one else. Several go at
        once, so that the search among thousands is not made for each newcomer.
        """
        waiting = [
            each for each in self._connections.values() if each.state in (IDLE, HEAD, CONTENT)
        ]
        waiting.sort(key=lambda each: (each.state != IDLE, each.deadline))
        victims = waiting[: 1 + len(waiting) // 32]
        for connection in victims:
            connection.close()
        return bool(victims)

    def _wait_for_room(self) -> None:
        """Out of descriptors or memory: make room, and accept again a little later."""
        self._short = True
        self._stop_accepting()
        self._make_room()
        self._expire()  # files that are kept open hold descriptors, too
        self._loop.later(SHORTAGE_SECONDS, self._after_shortage)

    def _after_shortage(self) -> None:
        self._short = False
        self._accept_again()

    # Deadlines

    def _sweep_from_now_on(self) -> None:
        self._sweeps_left = 2 * EXPIRE_SWEEPS + 1
        if not self._sweeping:
            self._sweeping = True
            self._loop.later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """End what has lasted too long. With nothing left to look after, sweep no more.

        For a newcomer the system wakes one worker only, and that may have had no room, or be held
        up at just this moment: so workers that share their sockets look for newcomers at each sweep
        and never cease.
        """
        now = self._loop.now
        for connection in list(self._connections.values()):
            if connection.deadline < now:
                connection.expire()
        if not self._short:
            self._accept_again()  # one that kept a newcomer waiting may be idle by now
        if self._accepting and self._shares:
            for acceptor in self._acceptors:
                if acceptor.has_more():
                    self._accept(acceptor)
        if not self._connections:
            self._sweeps_left -= 1
        self._sweeps += 1
        self._observe()
        if self._sweeps % EXPIRE_SWEEPS == 0:
            self._expire()
        self._sweeping = self._shares or self._sweeps_left > 0
        if self._sweeping:
            self._loop.later(SWEEP_SECONDS, self._sweep)

    def _observe(self) -> None:
        """Take note of how things stand, if somebody wants to know."""
        counts = self._responder.counts
        if counts is not None:
            states = [connection.state for connection in self._connections.values()]
            jobs = sum([pool.waiting for pool in self._pools])
            counts.observe(self._responder, states, states.count(SEND), jobs)

    def _expire(self) -> None:
        """Let go of what was not used since the last call, and of the files held open by it."""
        self._responder.expire()
        self._folder.expire()
        self._remote.refresh()
        if self._copies is not None:
            self._copies.expire()

    def _on_bug(self, fd: int) -> None:
        """A handler has raised: its connection cannot be trusted any more."""
        if fd in self._connections:
            self._connections[fd].close()


def _nothing() -> None:
    """Do nothing."""
