"""A client that reads slowly, but reads, is served to the end."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from portico import Server
from portico.server.limits import Bursts
from portico.server.net.send_queue import LONG_BURST
from tests.server.clients import get

SIZE = 24 << 20
SHORT = 0.6
"""Seconds after which a client that reads nothing is given up."""
BUFFER = 128 << 10
"""Octets that the system takes in for the client. If there were many more, it would not tell the
server for seconds that some of them were read."""


@contextmanager
def downloading(folder: Path) -> Iterator[tuple[Server, socket.socket]]:
    """A server, and a client that has asked it for a large file."""
    (folder / "large").write_bytes(bytes(SIZE))
    with Server(folder, send_timeout=SHORT) as server, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        client.connect(("127.0.0.1", int(server.url.split(":")[2][:-1])))
        client.sendall(get("/large"))
        yield server, client


@pytest.mark.parametrize("burst", [LONG_BURST, 2 * SIZE])
def test_a_steady_slow_reader_is_not_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, burst: int
) -> None:
    """It takes longer than the deadline until the socket has room again.

    It is full when a burst is over, or within one.
    """
    monkeypatch.setattr(Bursts, "take", lambda *_: burst)
    with downloading(tmp_path) as (_, client):
        received = 0
        begun = time.monotonic()
        while time.monotonic() < begun + 6 * SHORT:
            received += len(client.recv(32768))
            time.sleep(SHORT / 10)
        while part := client.recv(1 << 20):
            received += len(part)
            if received > SIZE:
                break
        assert received > SIZE


def test_one_that_stops_is_given_up(tmp_path: Path) -> None:
    with downloading(tmp_path) as (server, _):
        worker = server._worker
        assert worker is not None
        until = time.monotonic() + 20
        while worker.requests == 0 and time.monotonic() < until:
            time.sleep(0.05)
        assert worker.connections == 0
