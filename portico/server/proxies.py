"""The proxies that are trusted: they say where a request comes from, and by which scheme.

A connection that one of them has made carries requests of many clients: with each one, the address
of its client becomes that of the connection, and the responder for its scheme answers. So replies
are kept by their heads as always. Nothing about a client is in them, and a stranger who sends the
same head is neither taken for that client nor given what is for HTTPS only.
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
    """Those that tell whose a request is: names and values."""

_MEMORY = 1 << 20
"""Octets of fields of which is known whose they are: those of some 3,000 clients."""
_OVERHEAD = 256
"""About the octets that they take beside their own."""
_HEADERS = {
    "x-forwarded": re.compile(rb"\r\n(X-Forwarded-For|X-Forwarded-Proto):([^\r]*)", re.IGNORECASE),
    "forwarded": re.compile(rb"\r\n(Forwarded):([^\r]*)", re.IGNORECASE),
}


class Proxies:
    """The proxies of --trust-proxy, and what they tell."""

    def __init__(
        self, config: Config, telemetry: Telemetry, responders: Mapping[str, Responder]
    ) -> None:
        """`responders` answer the requests that came to a proxy by "http" or "https"."""
        self.responders = responders
        self.trusts = Networks(config.trust_proxies).have
        """Whether an address is that of one of them."""
        self._counters = telemetry.counters
        self._report = SparingReport(telemetry.report)
        self._reads_forwarded = config.trust_proxy_header == "forwarded"
        self._fields = _HEADERS[config.trust_proxy_header]
        self._clients: BoundedCache[tuple[str, Fields], tuple[str, str]]
        self._clients = BoundedCache(_MEMORY, _weight)

    def connect(
        self, transport: Transport, peer: str, loop: Loop, responder: Responder, on_close: Closed
    ) -> Connection:
        """Return a new connection; `responder` answers what came by the scheme that it is for."""
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
        """Return a new connection, the place of which another takes when a PROXY header has come.

        `on_header(plain, client, is_told)` makes that one; the client is `peer` itself unless it
        `is_told`. Raises ConnectionAbortedError for a peer that is no trusted proxy.
        """
        if not self.trusts(peer):
            plain.close()
            self.refused(peer, "it is not in --trust-proxy")
            raise ConnectionAbortedError
        return AnnouncedConnection(plain, peer, loop, responder, on_close, self, on_header)

    def refused(self, peer: str, why: str) -> None:
        """Count and tell that a connection of `peer` is closed for want of a PROXY header."""
        if self._counters is not None:
            self._counters.not_announced()
        self._report.tell(f"a connection of {peer} is closed (--proxy-protocol): {why}")

    def client(self, head: bytes, proxy: str) -> tuple[str, str]:
        """Return the address of the client whose request `proxy` has passed on, and its scheme.

        The scheme is "http" or "https", or "" if that is not told.
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
    """Return the value of a field, its lines joined (RFC 9110, 5.3)."""
    return b",".join([value for key, value in fields if key.lower() == name]).decode("latin-1")


def _weight(key: tuple[str, Fields], _client: tuple[str, str]) -> int:
    return _OVERHEAD + sum([len(value) for _, value in key[1]])


class AnnouncedConnection(Connection):
    """A connection whose PROXY header has not come yet. It is IDLE until it has, or too long."""

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
        self._begun = b""  # the header, as far as it has come

    def receive(self) -> bytes:
        """Return nothing: what follows the header is for the connection that takes this place."""
        return b""

    def start(self, _data: bytes | None) -> None:
        """Take the header if it has arrived, else wait for it."""
        self._take_header(READ)

    def expire(self) -> None:
        """Close: the header has not come in time."""
        self.close()

    def drain(self) -> None:
        """Close, unless the header came just now."""
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
    """A connection that a trusted proxy has made."""

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
        self._own = responder
        self._proxy = peer
        self._head = b""  # the last of which it is known whose it is

    def _begin(self, data: bytes) -> None:
        self._identify(data if data.endswith(b"\r\n\r\n") else b"")
        super()._begin(data)

    def _answer(self, head: bytes, waited: Decision | None = None) -> None:
        if waited is None and head is not self._head:
            self._identify(head)
        super()._answer(head, waited)

    def _fail(self, error: ProtocolError) -> None:
        if self._content is None and self._waiting is None:
            self._peer = self._proxy  # a head that is not whole does not tell whose it is
        super()._fail(error)

    def _identify(self, head: bytes) -> None:
        """Take the client's address from a head, and the responder for its scheme."""
        self._head = head
        self._peer, scheme = self._proxies.client(head, self._proxy)
        is_own = not scheme or (scheme == "https") == self._own.is_secure
        self._responder = self._own if is_own else self._proxies.responders[scheme]
