"""The HTTP endpoint of `--metrics`, where a scraper gets the counters as Prometheus text.

It runs an event loop of its own in a thread, with the same connections and deadlines as the site,
so a scraper that stalls delays neither requests nor the end of the server.

Limit: SCRAPERS connections. One more evicts the connection whose deadline is nearest.
"""

from __future__ import annotations

import signal
from threading import Thread
from typing import TYPE_CHECKING

from portico.config.config import Config, ConfigError
from portico.config.kinds import UNIX
from portico.server.clients import Clients, Door
from portico.server.fairness import Shares
from portico.server.net.descriptors import Descriptors
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
from portico.server.responder import Responder, Services
from portico.server.telemetry.counters import ServerCounters
from portico.site.hosts import LOOPBACK_HOSTS, Hosts
from portico.site.origin.freshness import Freshness
from portico.site.pages import errors

if TYPE_CHECKING:
    from portico.http.message import ProtocolError, RequestHead, Response
    from portico.server.net.listeners import Listeners
    from portico.server.telemetry.prometheus import ServerCollector
    from portico.site.origin.freshness import Dependencies

SCRAPERS = 16
"""Most connections. A Prometheus server keeps one open; two of them and a browser need few."""
PATH = "/metrics"


class MetricsEndpoint:
    """Serves metrics on the address `config.metrics`."""

    def __init__(self, config: Config) -> None:
        """Bind the address. Raises ConfigError without `prometheus_client`, or BindError."""
        self.address = config.metrics
        """The address as configured."""
        self.counters = ServerCounters()
        collector = _collector(self.counters)
        self._listeners = _bind(config.metrics)
        (listener,) = self._listeners.values()
        url = url_of(listener)
        self.url = url if url.startswith(UNIX) else url.rstrip("/") + PATH
        """The URL of the metrics, or the address of the unix socket, to show to the operator."""
        self.is_local = is_local(listener)
        """Whether only this machine can connect."""
        names = (*LOOPBACK_HOSTS, *config.allow_hosts) if is_loopback(listener) else None
        page = _Page(collector, Hosts(names))
        self._loop = Loop()
        self._responder = Responder(Services(config, Shares()), page, ReplyCache(0))
        self._clients = Clients(
            self._loop, [Door(listener, self._responder)], Descriptors(SCRAPERS)
        )
        self._thread = Thread(target=self._run, name="portico-metrics", daemon=True)

    def start(self) -> None:
        """Start the thread that serves."""
        self._thread.start()

    def close(self) -> None:
        """End the thread at once, without waiting for scrapers, and close every socket."""
        self._loop.stop()
        self._loop.wake()
        if self._thread.ident is not None:
            self._thread.join()
        discard(self._listeners)
        self._clients.close()
        self._loop.close()

    def _run(self) -> None:
        if hasattr(signal, "pthread_sigmask"):  # signals have to interrupt the main thread
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._clients.accept()
        self._loop.run(on_turn=self._responder.begin_turn, on_bug=self._clients.close_broken)


class _Page:
    """The handler of the endpoint's requests: the metrics at PATH, and nothing else."""

    fields_read = frozenset({"accept"})

    def __init__(self, collector: ServerCollector, hosts: Hosts) -> None:
        self._collector = collector
        self._hosts = hosts
        self.freshness = Freshness()

    def answer(self, request: RequestHead) -> tuple[Response, Dependencies]:
        """Return the present metrics, in the format that the Accept field prefers."""
        return self._answer(request), None

    def refuse(self, problem: ProtocolError, request: RequestHead | None = None) -> Response:
        """Return the response to a malformed request."""
        response = errors.error(problem.status, request, problem.detail)
        response.close = True
        return response

    def _answer(self, request: RequestHead) -> Response:
        if request.method not in errors.READS:
            return errors.refuse_method(request, errors.READS)
        if not self._hosts.are_meant(request.authority):
            return errors.error(421, request, "This is not a host of this server.")
        if request.method == "OPTIONS":
            return errors.options(errors.READS)
        if request.path != PATH:
            return errors.error(404, request, f"The metrics are at {PATH}.")
        text, media_type = self._collector.render(request.get("accept") or "")
        return errors.unstored(200, media_type, text)


def _collector(counters: ServerCounters) -> ServerCollector:
    try:
        import prometheus_client  # noqa: F401 (whether it is there)
    except ImportError:
        cure = "pip install 'portico-server[metrics]'"
        raise ConfigError(f"--metrics needs a library: {cure}") from None
    from portico.server.telemetry.prometheus import ServerCollector

    return ServerCollector(counters)


def _bind(address: str) -> Listeners:
    """Listen on `address`. Raises BindError."""
    try:
        return bind_anew(Config.of(listens=[address]), {})
    except BindError as problem:
        raise BindError(str(problem).replace("--listen", "--metrics")) from None
