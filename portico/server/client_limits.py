"""What one address may take: connections, requests in a second, bytes of responses in a second.

Rules:
- Of IPv6, the first 64 bits are one address: a client usually has all that begin so. A client of a
  unix socket has none, and is not limited.
- The connections of a trusted proxy do not count, nor what it is sent, but the requests that it
  passes on do, for the address of their client. Where it says by a PROXY header whose a connection
  is, that counts as any other, once the header has come.
- A connection too many gets 429 (Too Many Requests) for its first request, and ends. Beyond
  REFUSED_AT_ONCE of them it is just closed.
- A request too many gets 429, and Retry-After. An address has as many in reserve as it may send in
  a second, and what it is refused costs it nothing.
- What an address is sent waits until it may be sent: see `pacing`.

Limit: ADDRESSES that have no connection are remembered. Who has sent nothing for longest is
forgotten first, and then has its whole reserve again. Each worker counts for itself.
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
"""Addresses without a connection that are remembered: at most some 12 MiB."""
REFUSED_AT_ONCE = 8
"""Connections too many of an address that are told so at the same time: they take places."""
RETRY_SECONDS = 5
"""When to come back who has too many connections: browsers close some of theirs sooner or later."""


class ClientLimits:
    """The limits of all addresses, for one loop."""

    def __init__(self, config: Config, loop: Loop, refusing: Responder) -> None:
        """`refusing` answers the connections that are too many: see `TooManyConnections`."""
        self._refusing = refusing
        self._connections = config.client_connections
        self._requests = config.client_requests
        self._bandwidth = config.client_bandwidth
        self._send_timeout = config.send_timeout
        self._loop = loop
        self._are_free = Networks((UNIX_PEER, *config.trust_proxies)).have
        self._connected: dict[str, _Account] = {}  # no more than there are connections
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
        """Return a new connection that `make` makes.

        Raises ConnectionAbortedError for one of too many that are refused.
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
        """Count a request of `peer` at monotonic `now`, if it may send one; then return 0.

        Else return after how many seconds it may.
        """
        if not self._requests or self._are_free(peer):
            return 0
        address = network_of(peer)
        account = self._account(address)
        if not account.connections:  # a proxy has passed it on
            self._others.put(address, account)
        seconds = account.requests.seconds_until(1, now)
        if not seconds:
            account.requests.take(1, now)
        return math.ceil(seconds)

    def _account(self, address: str) -> _Account:
        """Return what is known of an address, perhaps nothing."""
        found = self._connected.get(address) or self._others.get(address)
        return found or _Account(
            Bucket(self._requests or 1),
            Pacer(self._bandwidth, self._loop, self._send_timeout) if self._bandwidth else None,
        )


class _Account:
    """What one address has taken."""

    __slots__ = ("connections", "pacer", "requests")

    def __init__(self, requests: Bucket, pacer: Pacer | None) -> None:
        self.connections = 0
        self.requests = requests
        self.pacer = pacer


class TooManyConnections:
    """Answers in the place of `handler` who has a connection too many."""

    fields_read: frozenset[str] = frozenset({"accept"})

    def __init__(self, handler: Handler, most: int) -> None:
        self._handler = handler
        self._detail = f"This address may have {most} connections at once. Close one, or wait."
        self.freshness: Freshness = handler.freshness

    def answer(self, request: RequestHead) -> tuple[Response, Dependencies]:
        """Return 429; the connection then ends."""
        response = come_back(self._handler, request, self._detail, RETRY_SECONDS)
        response.close = True
        return response, None

    def refuse(self, problem: ProtocolError, request: RequestHead | None = None) -> Response:
        """Return the response to a malformed request."""
        return self._handler.refuse(problem, request)
