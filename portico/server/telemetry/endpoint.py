"""What `--metrics` shows: the counts of all workers as Prometheus text, on an address of its own.

`prometheus_client` writes the text. It is sent by Portico's own connections, on a loop of its own
in a thread, so a scraper that stalls has the deadlines that every client has, delays nobody, and
does not hold up the end.

Limit: SCRAPERS connections. One more takes the place of the one that has waited longest.
"""

from __future__ import annotations

import re
import signal
from threading import Thread
from typing import TYPE_CHECKING

from portico.config.config import Config, ConfigError
from portico.config.options import UNIX
from portico.http.fields import host_name
from portico.server.clients import Clients
from portico.server.net.listeners import (
    BindError,
    bind_anew,
    discard,
    is_local,
    is_loopback,
    url_of,
)
from portico.server.net.loop import Loop
from portico.server.reply_cache import ReplyCache
from portico.server.responder import Responder
from portico.server.telemetry.counters import Ledger
from portico.site.origin.freshness import Freshness
from portico.site.pages import responses

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from portico.http.message import ProtocolError, RequestHead, Response
    from portico.server.net.listeners import Listeners
    from portico.server.telemetry.prometheus import Exposition
    from portico.site.origin.freshness import Dependencies

SCRAPERS = 16
"""Connections. A Prometheus keeps one; there may be two of them, and a person who looks."""
PATH = "/metrics"
_SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGCHLD")
    if hasattr(signal, name)
]
# A name of the DNS may mean this machine because somebody else says so; these mean nothing else.
_NO_DNS_NAME = re.compile(r"\[.*\]|[0-9.]+|(?:.+\.)?localhost")


class Monitor:
    """Answers scrapes of `ledger` on the address that `config` has for metrics."""

    def __init__(self, config: Config, public: Iterable[socket.socket]) -> None:
        """`public` are the sockets of the site. Raises ConfigError or BindError."""
        self.address = config.metrics
        """As it was asked for."""
        self.ledger = Ledger(has_workers=config.workers != 1)
        exposition = _exposition(self.ledger)
        self._listeners = _bind(config.metrics, public)
        (self._listener,) = self._listeners.values()
        url = url_of(self._listener)
        self.url = url if url.startswith(UNIX) else url.rstrip("/") + PATH
        """Where to look, for the operator."""
        self.is_local = is_local(self._listener)
        """Can only this machine look?"""
        hosts = config.allow_hosts if is_loopback(self._listener) else None
        self._loop = Loop()
        self._responder = Responder(config, _Page(exposition, hosts), ReplyCache(0))
        self._clients = Clients(self._loop, self._responder, [self._listener], SCRAPERS)
        self._thread = Thread(target=self._run, name="portico-metrics", daemon=True)

    def start(self) -> None:
        """Answer, from now on."""
        self._thread.start()

    def close(self) -> None:
        """End the thread, whatever scrapers are doing, and close every socket."""
        self._loop.stop()
        self._loop.wake()
        if self._thread.ident is not None:
            self._thread.join()
        discard(self._listeners)
        self._clients.close()
        self._loop.close()

    def _run(self) -> None:
        if hasattr(signal, "pthread_sigmask"):  # or the main thread would sleep through a signal
            signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._clients.accept()
        self._loop.run(on_turn=self._responder.begin_turn, on_bug=self._clients.close_broken)


class _Page:
    """What a Site is to the site: all that there is at this address."""

    fields_read = frozenset({"accept"})

    def __init__(self, exposition: Exposition, hosts: tuple[str, ...] | None) -> None:
        """`hosts` are answered besides those that mean this machine; with None, all are."""
        self._exposition = exposition
        self.freshness = Freshness()
        self._hosts = hosts

    def answer(self, request: RequestHead) -> tuple[Response, Dependencies]:
        """The metrics as they are now, in the form that the scraper prefers."""
        response = self._decide(request)
        if request.method == "HEAD":
            response.content = ()
        return response, None

    def refuse(self, problem: ProtocolError, request: RequestHead | None = None) -> Response:
        """The Response to what is no request."""
        response = responses.error(problem.status, request, problem.detail)
        response.close = True
        return response

    def _decide(self, request: RequestHead) -> Response:
        if request.method not in responses.ALLOWED:
            return responses.refuse_method(request)
        if not self._is_ours(host_name(request.authority)):
            return responses.error(421, request, "This is not a host of this server.")
        if request.method == "OPTIONS":
            return responses.options()
        if request.path != PATH:
            return responses.error(404, request, f"The metrics are at {PATH}.")
        text, media_type = self._exposition.render(request.get("accept") or "")
        return responses.unstored(200, media_type, text)

    def _is_ours(self, host: str) -> bool:
        if self._hosts is None or not host or "*" in self._hosts:
            return True
        return host in self._hosts or _NO_DNS_NAME.fullmatch(host) is not None


def _exposition(ledger: Ledger) -> Exposition:
    try:
        import prometheus_client  # noqa: F401 (whether it is there)
    except ImportError:
        cure = "pip install prometheus_client"
        raise ConfigError(f"--metrics needs the package prometheus_client: {cure}") from None
    from portico.server.telemetry.prometheus import Exposition

    return Exposition(ledger)


def _bind(address: str, public: Iterable[socket.socket]) -> Listeners:
    """Listen there, if that is not where the site is served. Raises ConfigError or BindError."""
    if any(_is_at(address, listener) for listener in public):
        cure = "metrics need an address of their own, such as 127.0.0.1:9100"
        raise ConfigError(f"--metrics: the site is served at {address}; {cure}")
    try:
        return bind_anew(Config.of(listens=[address]), {})
    except BindError as problem:  # which names the option that has led here
        raise BindError(str(problem).replace("--listen", "--metrics")) from None


def _is_at(address: str, listener: socket.socket) -> bool:
    """Does `listener` listen there as well?"""
    if address.startswith(UNIX) or url_of(listener).startswith(UNIX):
        return address == url_of(listener)
    host, port = listener.getsockname()[:2]
    wanted, _, number = address.rpartition(":")
    wanted = wanted.strip("[]")
    everywhere = {"*", "0.0.0.0", "::"}  # noqa: S104 (it is compared)
    same = wanted == host or (wanted == "localhost" and is_loopback(listener))
    return int(number) == port and (same or not everywhere.isdisjoint({wanted, host}))
