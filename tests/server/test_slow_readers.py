"""A client that reads slowly, but reads, is served to the end."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from portico import Server
from tests.server.clients import get

SIZE = 24 << 20
SHORT = 0.6
"""Seconds after which a client that reads nothing is given up."""


def test_a_steady_slow_reader_is_not_given_up(tmp_path: Path) -> None:
    """It takes longer than the deadline until the socket has room again."""
    (tmp_path / "large").write_bytes(bytes(SIZE))
    with (
        Server(tmp_path, send_timeout=SHORT) as server,
        socket.create_connection(("127.0.0.1", int(server.url.split(":")[2][:-1]))) as client,
    ):
        client.sendall(get("/large"))
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
    (tmp_path / "large").write_bytes(bytes(SIZE))
    with (
        Server(tmp_path, send_timeout=SHORT) as server,
        socket.create_connection(("127.0.0.1", int(server.url.split(":")[2][:-1]))) as client,
    ):
        client.sendall(get("/large"))
        worker = server._worker
        assert worker is not None
        until = time.monotonic() + 20
        while worker.requests == 0 and time.monotonic() < until:
            time.sleep(0.05)
        assert worker.connections == 0
