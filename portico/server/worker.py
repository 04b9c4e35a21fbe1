"""One worker: an event loop, the connections of its clients, and the site that it serves.

A worker sets no signal handler and changes nothing global, so several can live in one process.
`stop` and `retire` set a flag, on which the loop acts. Both begin a drain: the worker accepts no
more connections, and each reply is the last of its connection.

- After `stop`, idle connections are closed at once, and exchanges that are not complete within the
  grace time are cut off; after a second `stop`, all are cut off at once.
- After `retire`, because other workers take over, exchanges are not limited in time. Idle
  connections are closed after the grace time, so that hardly any client sends a request on a
  connection that has just been closed.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from portico.budget import Budget
from portico.config.config import Config
from portico.server.background.blocking_io import BlockingIO
from portico.server.background.jobs import JobThread
from portico.server.background.sites import Sites
from portico.server.clients import Clients, Door
from portico.server.connection import Connection
from portico.server.fairness import LISTING_SECONDS, Shares
from portico.server.net.descriptors import share_out
from portico.server.net.listeners import CLEAR, HTTPS, REDIRECT, has_tls, is_loopback, is_unix
from portico.server.net.loop import READ, Loop
from portico.server.reply_cache import ReplyCache
from portico.server.responder import Responder, Services
from portico.server.states import BUSY, SEND
from portico.server.telemetry.telemetry import Telemetry
from portico.site.compression.cache import CompressionCache
from portico.site.hosts import LAN_HOSTS, LOOPBACK_HOSTS
from portico.site.origin.fingerprint import absolute
from portico.site.origin.folder import Folder
from portico.site.representation.select import silent
from portico.site.resources import Resources
from portico.site.site import Site
from portico.site.to_https import ToHttps

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence

    from portico.server.client_limits import ClientLimits
    from portico.server.clients import Connect, Secure
    from portico.server.net.certificates import Certificates
    from portico.server.net.transport import Plain
    from portico.server.processes.sandbox import Held
    from portico.server.responder import Handler
    from portico.site.rules.rulebook import Report

CERTIFICATE_SECONDS = 2.0
"""Interval between checks of the certificate files, so new ones are used within five seconds."""
REPORTS = 1000
"""Most mistakes that are reported in the rules of a root on a remote file system, each once."""
UPLOAD_SWEEPS = 1200
"""Sweeps (see `clients`) between two removals of expired resumable uploads: ten minutes."""
EXPIRE_SWEEPS = 60
"""Sweeps between two removals of unused entries from the caches: half a minute."""


class Worker:
    """Serves `config.root` on `listeners` until it is stopped; closes them at the end."""

    def __init__(
        self,
        config: Config,
        listeners: list[socket.socket],
        telemetry: Telemetry | None = None,
        *,
        schemes: Sequence[str] = (),
        on_drain: Callable[[], None] | None = None,
        on_wait: Callable[[str], None] | None = None,
    ) -> None:
        """Raises ConfigError for a certificate that cannot be used.

        `schemes` has the scheme of each listener (see `listeners.schemes`); without it, TCP is
        served with TLS if there is a certificate. `on_drain` is called once, by the loop, when the
        worker has stopped accepting. `on_wait` is called with a text for the operator if a stopped
        worker has to wait for responses.
        """
        # Absolute, because the program around this worker may change its current folder.
        config = Config({**config.settings(), "root": absolute(config.root)})
        self._config = config
        self._telemetry = telemetry or Telemetry()
        if self._telemetry.counters is not None:
            self._telemetry.counters.serves()
        self._on_drain = on_drain
        self._on_wait = on_wait
        self.cut = 0
        """Number of responses that were cut off when this worker ended."""
        self._held: Held | None = None
        self._has_begun = self._retires = False
        self._sweeps = self._stops = 0
        self._loop = Loop()
        self._jobs = JobThread()
        self._blocking_io = BlockingIO(self._loop.call)
        self._descriptors = share_out(config)
        copies = None
        if config.compress:
            copies = CompressionCache(config.cache_size // 4, self._jobs.submit)
        report = self._telemetry.report_mistakes
        self._resources = Resources(config, _hosts(config, listeners), copies, report)
        self._folder = Folder(
            config,
            config.cache_size // 8,
            self._descriptors.files,
            may_wait=False,
            budget=Budget(LISTING_SECONDS),
            is_lost=self._is_lost,
        )
        self._site = Site(self._folder, self._resources, may_wait=False)
        self._site.read_rules()
        self._report_in_threads = _once(report) if self._folder.mounts.cover_root else silent
        in_thread = Sites(self._new_site).answer
        self._shares = Shares()
        submit = self._blocking_io.submit
        self._services = Services(config, self._shares, self._telemetry, submit, in_thread)
        self._certificates: Certificates | None = None
        self._responders: list[Responder] = []
        self._limits: ClientLimits | None = None
        self._limits = self._new_limits()
        self._clients = Clients(
            self._loop,
            self._doors(listeners, schemes or _schemes(config, listeners)),
            self._descriptors,
            is_shared=config.workers > 1,
            on_sweep=self._on_sweep,
            on_shortage=self._expire,
        )

    def _new_site(self) -> Site:
        """Return another Site of the same root, for use in a thread."""
        folder = Folder(self._config, 0, is_lost=self._is_lost, like=self._folder)
        return Site(folder, self._resources, report=self._report_in_threads)

    def _new_responder(
        self, handler: Handler, memory: int, *, is_secure: bool = False
    ) -> Responder:
        """Return a responder for `handler`, whose reply cache has `memory` bytes."""
        limits = self._limits if self._config.client_requests else None
        responder = Responder(
            self._services,
            handler,
            ReplyCache(memory, self._descriptors.files),
            is_secure=is_secure,
            seconds_to_wait=None if limits is None else limits.seconds_to_wait,
        )
        self._responders.append(responder)
        return responder

    def _new_limits(self) -> ClientLimits | None:
        """Return the limits for each client address; None if no such limit is configured."""
        config = self._config
        if not (config.client_connections or config.client_requests or config.client_bandwidth):
            return None
        from portico.server.client_limits import ClientLimits, TooManyConnections

        handler = TooManyConnections(self._site, config.client_connections)
        # This responder does not limit requests, because `_limits` is still None.
        return ClientLimits(config, self._loop, self._new_responder(handler, 0))

    def _doors(self, listeners: Sequence[socket.socket], schemes: Sequence[str]) -> list[Door]:
        """Return the doors, one for each listener. Raises ConfigError."""
        config = self._config
        is_secure = HTTPS in schemes
        memory = 5 * config.cache_size // (16 if config.trust_proxies else 8)
        self._responder = other = self._new_responder(self._site, memory, is_secure=is_secure)
        if config.trust_proxies:
            other = self._new_responder(self._site, memory, is_secure=not is_secure)
        elif is_secure and CLEAR in schemes:
            other = self._new_responder(self._site, config.cache_size // 8)
        both = (self._responder, other) if is_secure else (other, self._responder)
        responders = dict(zip((HTTPS, CLEAR), both, strict=True))
        secure = {HTTPS: self._secure()} if is_secure else {}
        connect: Connect = Connection
        await_header = None
        if config.trust_proxies:
            from portico.server.proxies import Proxies

            proxies = Proxies(config, self._telemetry, responders)
            connect = proxies.connect
            await_header = proxies.await_header if config.proxy_protocol else None
        if self._limits is not None:
            connect = partial(self._limits.connect, connect)
        doors = []
        for listener, scheme in zip(listeners, schemes, strict=True):
            if scheme == REDIRECT and is_secure:
                secured = listeners[schemes.index(HTTPS)]
                ports = listener.getsockname()[1], secured.getsockname()[1]
                handler = ToHttps(self._site, self._resources.hosts, *ports)
                responder = self._new_responder(handler, config.cache_size // 8)
            else:
                responder = responders.get(scheme, self._responder)
            doors.append(Door(listener, responder, secure.get(scheme), connect, await_header))
        return doors

    def _secure(self) -> Secure:
        """Load the certificates, and return a `Secure` for the doors. Raises ConfigError."""
        from portico.server.net.certificates import Certificates  # ssl takes time and memory
        from portico.server.net.tls import Tls
        from portico.server.telemetry.access_log import CertifiedPeer
        from portico.server.telemetry.handshakes import Handshakes

        self._certificates = Certificates(self._config)
        self._look_at_certificates()
        choose = self._certificates.context_for
        handshakes = Handshakes(self._telemetry.counters, self._telemetry.report)
        are_meant = self._resources.hosts.are_meant

        def secure(plain: Plain, peer: str) -> tuple[Tls, str]:
            tls = Tls(plain, choose, partial(handshakes.failed, peer), are_meant)
            return tls, CertifiedPeer(peer, tls.subject) if self._config.tls_client_ca else peer

        return secure

    def _look_at_certificates(self) -> None:
        self._loop.later(CERTIFICATE_SECONDS, partial(self._load_certificates, goes_on=True))

    def _load_certificates(self, *, goes_on: bool) -> None:
        """Have a thread load changed certificates, or with `goes_on` do that again and again."""
        certificates = self._certificates
        if certificates is not None:
            work = partial(certificates.refresh, self._resources.report, now=not goes_on)
            done = self._look_at_certificates if goes_on else _nothing
            if not self._blocking_io.submit(certificates, work, done):
                done()  # too many jobs wait, or no thread can be started

    @property
    def requests(self) -> int:
        """Requests answered so far."""
        return self._shares.requests

    @property
    def connections(self) -> int:
        """Connections open now."""
        return len(self._clients)

    @property
    def _busy(self) -> int:
        """Connections with a response under way."""
        return sum(state in BUSY for state in self._clients.states())

    def run(self, held: Held | None = None) -> bool:
        """Serve until stopped, and return False; or return True if the root was replaced.

        `held` is the root to which the sandbox restricts this thread; None without a sandbox. After
        True, another thread, which is restricted to the new root, has to call this again.
        """
        self._held = held
        goes_on = False
        try:
            if not self._has_begun:
                self._begin()
            goes_on = self._loop.run(
                on_turn=self._on_turn(),
                on_long_turn=self._clients.look_for_newcomers,
                on_turn_end=self._end_turn,
                on_bug=self._clients.close_broken,
            )
        finally:
            if goes_on:
                self._blocking_io.renew()
            else:
                self._close()
        return goes_on

    def _begin(self) -> None:
        self._has_begun = True
        self._clients.accept()
        if self._config.allows:
            self._jobs.submit(self._look_at_root())
            self._jobs.submit(self._resources.uploads.sweep())

    def _look_at_root(self) -> Iterator[None]:
        """Report a root into which this process may not write: a background job of one step."""
        root, user = self._config.root, self._config.user
        if not os.access(root, os.W_OK | os.X_OK):
            who = f"--user {user}" if user else "this user"
            self._resources.report(
                f"{root} cannot be written by {who}: uploads get 403, but for those into folders "
                "below it that can"
            )
        yield

    def _close(self) -> None:
        self.cut = self._busy
        self._clients.close()
        self._end_turn()
        self._observe()
        self._loop.close()
        for threads in (self._jobs, self._blocking_io):
            threads.close()
        self._begin_drain()  # forgets the replies, and with them their open files
        self._expire()
        self._expire()  # the first call keeps what was used recently

    def _is_lost(self) -> bool:
        """Return whether the root was replaced, so the sandbox denies it; then `run` returns, too.

        For any thread.
        """
        is_lost = self._held is not None and self._held.is_replaced()
        if is_lost:
            self._loop.call(self._loop.leave)
        return is_lost

    def stop(self) -> None:
        """Drain; when called again, end at once. For any thread, and for signal handlers."""
        self._stops += 1
        self._loop.wake()

    def retire(self) -> None:
        """Drain without a time limit for exchanges. For any thread, and for signal handlers."""
        self._retires = True
        self._loop.wake()

    def reload_certificates(self) -> bool:
        """Reload the certificates; return False if there are none. Only for the loop's thread."""
        self._load_certificates(goes_on=False)
        return self._certificates is not None

    def call(self, what: Callable[[], None]) -> None:
        """Have the loop call `what()` soon. For any thread, and for signal handlers."""
        self._loop.call(what)

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        """Have the loop call `what()` in `seconds`. Only before `run`, or in the loop's thread."""
        self._loop.later(seconds, what)

    def watch(self, fd: int, handler: Callable[[int], None]) -> None:
        """Have the loop call `handler(events)` whenever `fd` can be read."""
        self._loop.watch(fd, READ, handler)

    def forget(self, fd: int) -> None:
        """Stop watching `fd`. Call this before closing `fd`, too."""
        self._loop.forget(fd)

    def _on_turn(self) -> Callable[[float], None]:
        """Return the function that the loop calls with the time when a turn begins."""
        first, *others = self._responders
        if not others:
            return first.begin_turn

        def begin_turn(now: float) -> None:
            for responder in others:
                responder.take_time(now)
            first.begin_turn(now)

        return begin_turn

    def _end_turn(self) -> None:
        """Write the log, and act on `stop` and `retire`: called at the end of each turn."""
        try:
            if self._telemetry.log is not None:
                self._telemetry.log.flush()
        finally:
            if self._shares.line:
                self._loop.wake()
            if self._stops or self._retires:
                self._end_soon()

    def _end_soon(self) -> None:
        if self._stops:  # not if retired: the health checks are answered by other workers
            self._site.fail_health_checks()
        if self._stops > 1:
            self._loop.stop()
            return
        if not self._responder.draining:
            self._drain()
        if self._stops and not self._responder.hurries:
            for responder in self._responders:
                responder.hurry()
            self._clients.drain()
            self._loop.later(self._config.grace, self._loop.stop)
            if self._busy and self._on_wait is not None:
                responses = "1 response" if self._busy == 1 else f"{self._busy} responses"
                self._on_wait(
                    f"waiting up to {self._config.grace:g} s for {responses} to finish; "
                    "Ctrl+C again stops at once"
                )
        if not self._clients:
            self._loop.stop()

    def _begin_drain(self) -> None:
        for responder in self._responders:
            responder.begin_drain()

    def _drain(self) -> None:
        """Stop accepting, and make each reply the last of its connection."""
        self._begin_drain()
        self._clients.stop_listening()
        self._loop.later(self._config.grace, self._clients.drain)
        if self._on_drain is not None:
            self._on_drain()

    def _on_sweep(self) -> None:
        self._observe()
        if not self._folder.mounts.cover_root:
            self._is_lost()
        self._sweeps += 1
        if self._sweeps % EXPIRE_SWEEPS == 0:
            self._expire()
        if self._config.allows and self._sweeps % UPLOAD_SWEEPS == 0:
            self._jobs.submit(self._resources.uploads.sweep())

    def _observe(self) -> None:
        """Update the counters: how many connections, streams and jobs there are."""
        if self._telemetry.counters is not None:
            states = self._clients.states()
            self._telemetry.counters.observe(
                states,
                self.requests + states.count(SEND),
                self._shares.streams.under_way,
                self._jobs.waiting,
                draining=self._responder.draining,
            )

    def _expire(self) -> None:
        """Drop cached replies and close files not used since the last call; look for mounts."""
        for responder in self._responders:
            responder.reply_cache.expire()
        self._folder.expire()
        self._folder.mounts.refresh()


def _hosts(config: Config, listeners: list[socket.socket]) -> tuple[str, ...] | None:
    """Return the hosts whose requests are answered (see `site.hosts`); None for any."""
    if config.allow_hosts or all(map(is_loopback, listeners)):
        return (*LOOPBACK_HOSTS, *config.allow_hosts)
    if config.lan:
        from socket import gethostname

        name = gethostname()
        return (*LOOPBACK_HOSTS, *LAN_HOSTS, name, name.partition(".")[0])
    return None


def _schemes(config: Config, listeners: Sequence[socket.socket]) -> list[str]:
    """Return the default scheme of each listener: HTTPS if there is a certificate."""
    return [HTTPS if has_tls(config) and not is_unix(each) else CLEAR for each in listeners]


def _nothing() -> None:
    """Do nothing: the `done` of work after which nothing follows."""


def _once(report: Report) -> Report:
    """Return a function that reports each text once, as several sites find the same mistake."""
    reported: set[str] = set()

    def report_once(text: str) -> None:
        if text not in reported and len(reported) < REPORTS:
            reported.add(text)
            report(text)

    return report_once
