"""Trusted proxies: they tell the client's address of each request, and its scheme.

A connection made by a trusted proxy carries the requests of many clients. For each request the
connection takes the client's address as its peer, and the responder for the client's scheme
answers. So the reply cache needs no change: replies contain nothing about a client, and a stranger
who sends the same head is neither taken for that client nor given replies that are for HTTPS only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from portico.bounded import BoundedCache
from portico.config.networks import Networks
from portico.http.forwarded import client_of_forwarded, client_of_x_forwarded
from portico.server.connection import Connection
from portico.server.net.loop import READ
from portico.server.net.proxy_protocol import take_header
from portico.server.states import CLOSED, IDLE
from portico.server.telemetry.faults import SparingReport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from portico.config.config import Config
    from portico.http.message import ProtocolError
    from portico.server.net.loop import Loop
    from portico.server.net.transport import Plain, Transport
    from portico.server.responder import Decision, Responder
    from portico.server.telemetry.telemetry import Telemetry

    Announce = Callable[[Plain, str, bool], None]
    Closed = Callable[[Connection], None]
    Fields = tuple[tuple[bytes, bytes], ...]
    """Names and values of the fields that tell the client of a request."""

_MEMORY = 1 << 20
"""Bytes of the cache of clients by their fields: enough for some 3,000 clients."""
_OVERHEAD = 256
"""Approximate bytes of an entry in this cache besides its field values."""
_HEADERS = {
    "x-forwarded": re.compile(rb"\r\n(X-Forwarded-For|X-Forwarded-Proto):([^\r]*)", re.IGNORECASE),
    "forwarded": re.compile(rb"\r\n(Forwarded):([^\r]*)", re.IGNORECASE),
}


class Proxies:
    """The proxies of --trust-proxy: makes their connections, and reads the clients they name."""

    def __init__(
        self, config: Config, telemetry: Telemetry, responders: Mapping[str, Responder]
    ) -> None:
        """`responders`, by "http" or "https", the scheme by which a client reached the proxy."""
        self.responders = responders
        self.trusts = Networks(config.trust_proxies).have
        """Return whether an address is that of a trusted proxy."""
        self._counters = telemetry.counters
        self._report = SparingReport(telemetry.report)
        self._reads_forwarded = config.trust_proxy_header == "forwarded"
        self._fields = _HEADERS[config.trust_proxy_header]
        self._clients: BoundedCache[tuple[str, Fields], tuple[str, str]]
        self._clients = BoundedCache(_MEMORY, _weight)

    def connect(
        self, transport: Transport, peer: str, loop: Loop, responder: Responder, on_close: Closed
    ) -> Connection:
        """Return a connection that follows the fields of a trusted proxy, or a plain one.

        `responder` answers requests for which the proxy tells no scheme.
        """
        if self.trusts(peer):
            return ProxiedConnection(transport, peer, loop, responder, on_close, self)
        return Connection(transport, peer, loop, responder, on_close)

    def await_header(
        self,
        plain: Plain,
        peer: str,
        loop: Loop,
        responder: Responder,
        on_close: Closed,
        on_header: Announce,
    ) -> Connection:
        """Return a connection that waits for a PROXY header and is then replaced by another.

        `on_header(plain, client, is_told)` makes the other connection. Without `is_told` the header
        names no client, and `client` is `peer`. Raises ConnectionAbortedError if `peer` is not a
        trusted proxy.
        """
        if not self.trusts(peer):
            plain.close()
            self.refused(peer, "it is not in --trust-proxy")
            raise ConnectionAbortedError
        return AnnouncedConnection(plain, peer, loop, responder, on_close, self, on_header)

    def refused(self, peer: str, why: str) -> None:
        """Count and report that a connection of `peer` is closed; `why` is the reason."""
        if self._counters is not None:
            self._counters.not_announced()
        self._report.tell(f"a connection of {peer} is closed (--proxy-protocol): {why}")

    def client(self, head: bytes, proxy: str) -> tuple[str, str]:
        """Return the client's address and the scheme of a request passed on by `proxy`.

        The scheme is "http" or "https", or "" if the fields do not tell it.
        """
        fields = tuple(self._fields.findall(head))
        found = self._clients.get((proxy, fields))
        if found is None:
            found = self._read(fields, proxy)
            self._clients.put((proxy, fields), found)
        return found

    def _read(self, fields: Fields, proxy: str) -> tuple[str, str]:
        if self._reads_forwarded:
            return client_of_forwarded(_value(fields, b"forwarded"), proxy, self.trusts)
        addresses = _value(fields, b"x-forwarded-for")
        schemes = _value(fields, b"x-forwarded-proto")
        return client_of_x_forwarded(addresses, schemes, proxy, self.trusts)


def _value(fields: Fields, name: bytes) -> str:
    """Return the value of the field `name`, its field lines joined (RFC 9110, 5.3)."""
    return b",".join([value for key, value in fields if key.lower() == name]).decode("latin-1")


def _weight(key: tuple[str, Fields], _client: tuple[str, str]) -> int:
    return _OVERHEAD + sum([len(value) for _, value in key[1]])


class AnnouncedConnection(Connection):
    """A connection whose PROXY header is not complete yet; IDLE until then, or its deadline."""

    __slots__ = ("_begun", "_on_header", "_plain", "_proxies")

    def __init__(
        self,
        plain: Plain,
        peer: str,
        loop: Loop,
        responder: Responder,
        on_close: Closed,
        proxies: Proxies,
        on_header: Announce,
    ) -> None:
        super().__init__(plain, peer, loop, responder, on_close)
        self._plain = plain
        self._proxies = proxies
        self._on_header = on_header
        self._begun = b""  # the part of the header received so far

    def receive(self) -> bytes:
        """Return b"": bytes after the header are for the connection that replaces this one."""
        return b""

    def start(self, _data: bytes | None) -> None:
        """Read the header if it has arrived, else wait for it."""
        self._take_header(READ)

    def expire(self) -> None:
        """Close, because the header has not arrived in time."""
        self.close()

    def drain(self) -> None:
        """Close, unless the header has just arrived."""
        self._take_header(READ)
        self.close()

    def _take_header(self, _events: int) -> None:
        try:
            self._begun, source = take_header(self._plain, self._begun)
        except (BlockingIOError, InterruptedError):
            source = None
        except OSError:
            self.close()
            return
        except ValueError as problem:
            self._proxies.refused(self._peer, str(problem))
            self.close()
            return
        if source is None:
            self._enter(IDLE)
            return
        if self._watched is not None:
            self._loop.forget(self.fd)
            self._watched = None
        try:
            self._on_header(self._plain, source or self._peer, source != "")
        except ConnectionAbortedError:
            self._on_close(self)
        self.state = CLOSED

    _STATES: ClassVar[Any] = {IDLE: (READ, _take_header)}


class ProxiedConnection(Connection):
    """A connection made by a trusted proxy, whose requests come from many clients."""

    __slots__ = ("_head", "_own", "_proxies", "_proxy")

    def __init__(
        self,
        transport: Transport,
        peer: str,
        loop: Loop,
        responder: Responder,
        on_close: Closed,
        proxies: Proxies,
    ) -> None:
        super().__init__(transport, peer, loop, responder, on_close)
        self._proxies = proxies
        self._own = responder  # answers requests whose scheme the proxy does not tell
        self._proxy = peer
        self._head = b""  # the last head whose client was looked up

    def _begin(self, data: bytes) -> None:
        self._identify(data if data.endswith(b"\r\n\r\n") else b"")
        super()._begin(data)

    def _answer(self, head: bytes, waited: Decision | None = None) -> None:
        if waited is None and head is not self._head:
            self._identify(head)
        super()._answer(head, waited)

    def _fail(self, error: ProtocolError) -> None:
        if self._content is None and self._waiting is None:
            self._peer = self._proxy  # an incomplete head does not tell its client
        super()._fail(error)

    def _identify(self, head: bytes) -> None:
        """Set `_peer` and `_responder` to the client of a head and the responder of its scheme."""
        self._head = head
        self._peer, scheme = self._proxies.client(head, self._proxy)
        is_own = not scheme or (scheme == "https") == self._own.is_secure
        self._responder = self._own if is_own else self._proxies.responders[scheme]
