"""Accepting: each connection a socket of its own, in as few system calls as there can be.

A connection that serves one request costs some 25 us, so what is saved here counts: conversions of
`socket.accept` to and from enums, and what `socket.socket` does around the C type that it is made
of, come to 2 us; an accept in vain to 4, since Linux makes a socket and a file before it looks
whether there is a connection for them.
"""

from __future__ import annotations

import select
import socket
from functools import partial
from typing import TYPE_CHECKING

from portico.config.networks import UNIX_PEER
from portico.server.net.listeners import is_unix
from portico.server.net.transport import Plain

if TYPE_CHECKING:
    from collections.abc import Callable

    Accepted = tuple[Plain, str]


class Acceptor:
    """A listening socket, as it is used once it listens."""

    __slots__ = ("accept", "fd", "has_more")

    def __init__(self, listener: socket.socket) -> None:
        self.fd = listener.fileno()
        self.accept: Callable[[], Accepted] = _acceptor(listener)
        """The next connection, not blocking, and its client's address. Raises OSError."""
        self.has_more: Callable[[], object] = _probe(listener)
        """Whether another connection waits; true as well where the system does not tell."""


def _acceptor(listener: socket.socket) -> Callable[[], Accepted]:
    kind = int(listener.family), int(listener.type), listener.proto
    accept_descriptor = getattr(listener, "_accept", None)  # it is no public name, so do without

    def accept() -> Accepted:
        if accept_descriptor is None:
            accepted, address = listener.accept()
            descriptor = accepted.detach()
        else:
            descriptor, address = accept_descriptor()
        transport = Plain(*kind, descriptor)
        transport.setblocking(False)
        return transport, address[0]

    def accept_ipv6() -> Accepted:
        transport, host = accept()
        return transport, host.removeprefix("::ffff:")  # of a client that came by IPv4

    def accept_unix() -> Accepted:
        accepted, _ = listener.accept()
        transport = Plain(*kind, accepted.detach())
        transport.setblocking(False)
        return transport, UNIX_PEER

    if is_unix(listener):
        return accept_unix
    return accept_ipv6 if listener.family == socket.AF_INET6 else accept


def _probe(listener: socket.socket) -> Callable[[], object]:
    if not hasattr(select, "poll"):
        return lambda: True
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    return partial(waiting.poll, 0)
