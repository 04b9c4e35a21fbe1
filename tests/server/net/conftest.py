"""A pair of sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from portico.server.net.transport import Plain

Pair = tuple[Plain, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A transport with little room, and its client; neither blocks."""
    ours, client = socket.socketpair()
    with client, closing(Plain(fileno=ours.detach())) as transport:
        transport.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        transport.setblocking(False)
        client.setblocking(False)
        yield transport, client
