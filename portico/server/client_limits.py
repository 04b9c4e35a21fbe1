"""Limits per client address: connections, requests per second, response bytes per second.

Rules:
- IPv6 addresses with the same first 64 bits count as one address, because one client usually has
  all of them. Clients of a unix socket have no address, and are not limited.
- The connections of a trusted proxy do not count, nor do the bytes sent on them. The requests that
  it passes on count for the address of their client. If a PROXY header names the client of a
  connection, the connection counts for this client once the header has arrived.
- A connection beyond the limit gets 429 (Too Many Requests) for its first request, and ends. If an
  address has REFUSED_AT_ONCE of these at once, further ones are closed without a response.
- A request beyond the limit gets 429 with Retry-After. An address may send the requests of one
  second at once (a token bucket), and refused requests do not count.
- Response bytes beyond the limit are delayed; see `pacing`.

Limit: up to ADDRESSES addresses without a connection are remembered. The least recently used one is
forgotten first, and may then send the requests of a second again. Each worker counts for itself.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from portico.bounded import BoundedCache
from portico.config.networks import UNIX_PEER, Networks
from portico.server.net.pacing import Bucket, Paced, Pacer
from portico.server.responder import come_back
from portico.site.access import network_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from portico.config.config import Config
    from portico.http.message import ProtocolError, RequestHead, Response
    from portico.server.clients import Connect
    from portico.server.connection import Connection
    from portico.server.net.loop import Loop
    from portico.server.net.transport import Transport
    from portico.server.responder import Handler, Responder
    from portico.site.origin.freshness import Dependencies, Freshness

ADDRESSES = 16384
"""Addresses without a connection that are remembered, in at most some 12 MiB."""
REFUSED_AT_ONCE = 8
"""Most connections of an address that are being refused with 429 at the same time: meanwhile they
take places of other connections."""
RETRY_SECONDS = 5
"""Retry-After for too many connections: browsers close unused connections before long."""


class ClientLimits:
    """The limits of all addresses, for one worker."""

    def __init__(self, config: Config, loop: Loop, refusing: Responder) -> None:
        """`refusing` answers connections beyond the limit; see `TooManyConnections`."""
        self._refusing = refusing
        self._connections = config.client_connections
        self._requests = config.client_requests
        self._bandwidth = config.client_bandwidth
        self._send_timeout = config.send_timeout
        self._loop = loop
        self._are_free = Networks((UNIX_PEER, *config.trust_proxies)).have
        self._connected: dict[str, _Account] = {}  # no more entries than there are connections
        self._others: BoundedCache[str, _Account] = BoundedCache(ADDRESSES)

    def connect(
        self,
        make: Connect,
        transport: Transport,
        peer: str,
        loop: Loop,
        responder: Responder,
        on_close: Callable[[Connection], None],
    ) -> Connection:
        """Return a new connection, made by `make`.

        Raises ConnectionAbortedError if there are too many even to be refused with a response; then
        the transport is closed.
        """
        if self._are_free(peer):
            return make(transport, peer, loop, responder, on_close)
        address = network_of(peer)
        account = self._account(address)
        surplus = account.connections - self._connections if self._connections else -1
        if surplus >= REFUSED_AT_ONCE:
            transport.close()
            raise ConnectionAbortedError(f"{peer} has too many connections")
        self._others.drop(address)
        self._connected[address] = account
        account.connections += 1

        def closed(connection: Connection) -> None:
            account.connections -= 1
            if not account.connections:
                del self._connected[address]
                self._others.put(address, account)
            on_close(connection)

        if account.pacer is not None:
            transport = Paced(transport, account.pacer)
        return make(transport, peer, loop, responder if surplus < 0 else self._refusing, closed)

    def seconds_to_wait(self, peer: str, now: float) -> int:
        """Count a request of `peer` at monotonic `now` and return 0 if it is within the limit.

        If not, return after how many seconds `peer` may send a request.
        """
        if not self._requests or self._are_free(peer):
            return 0
        address = network_of(peer)
        account = self._account(address)
        if not account.connections:  # a proxy has passed the request on
            self._others.put(address, account)
        seconds = account.requests.seconds_until(1, now)
        if not seconds:
            account.requests.take(1, now)
        return math.ceil(seconds)

    def _account(self, address: str) -> _Account:
        """Return the account of an address, a new one if there is none."""
        found = self._connected.get(address) or self._others.get(address)
        return found or _Account(
            Bucket(self._requests or 1),
            Pacer(self._bandwidth, self._loop, self._send_timeout) if self._bandwidth else None,
        )


class _Account:
    """The usage of one address."""

    __slots__ = ("connections", "pacer", "requests")

    def __init__(self, requests: Bucket, pacer: Pacer | None) -> None:
        self.connections = 0
        self.requests = requests
        self.pacer = pacer


class TooManyConnections:
    """Answers every request with 429, on connections beyond the limit `most` of an address."""

    fields_read: frozenset[str] = frozenset({"accept"})

    def __init__(self, handler: Handler, most: int) -> None:
        self._handler = handler
        self._detail = f"This address may have {most} connections at once. Close one, or wait."
        self.freshness: Freshness = handler.freshness

    def answer(self, request: RequestHead) -> tuple[Response, Dependencies]:
        """Return 429, after which the connection ends."""
        response = come_back(self._handler, request, self._detail, RETRY_SECONDS)
        response.close = True
        return response, None

    def refuse(self, problem: ProtocolError, request: RequestHead | None = None) -> Response:
        """Return the response of `handler` to a malformed request."""
        return self._handler.refuse(problem, request)
