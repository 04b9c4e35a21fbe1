"""A bad neighbour: one client that takes of a server what it can get, until it is told to stop.

usage: python -m bench.neighbour KIND PORT PATH WIRE_SIZE

It says "ready", does what KIND says, and at SIGTERM prints one line of JSON: what it got, and in
how many seconds.  The kinds stand in the table at the end.

Rule: it runs with the least priority and throws away what it receives without copying it, so that
it takes from the clients that are measured no more of their core than it must.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

BATCH = 1000
"""Requests that are sent at a time by who pipelines."""
CROWD = 5000
"""Connections that are opened, and kept, by who wants them all."""
BURST = 500
"""Connections that are opened before the first of them is asked anything."""
STALLED = 100
"""Downloads that are begun and not read."""
ROOM = 1 << 24
"""Octets thrown away by one call, at most."""
PATIENCE = 10.0


class Stopped(Exception):  # noqa: N818 (a fact, not an error)
    """SIGTERM has come."""


@dataclass
class Neighbour:
    """What it asks of whom, how long an answer is, and what it got so far."""

    port: int
    path: str
    wire_size: int
    requests: int = 0
    octets: int = 0

    def __post_init__(self) -> None:
        """Make what is used again and again."""
        self.head = f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n\r\n".encode()
        self.waste = bytearray(ROOM)  # never touched, so it takes no memory

    def connect(self, receive_buffer: int = 0) -> socket.socket:
        """A connection to the server."""
        connection = socket.socket()
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def throw_away(self, connection: socket.socket, most: int = ROOM) -> int:
        """Receive without copying; how many octets. EOFError at the end."""
        count = connection.recv_into(self.waste, most, socket.MSG_TRUNC)
        if not count:
            raise EOFError("the server has closed the connection")
        self.octets += count
        return count

    def burst(self, count: int) -> list[socket.socket]:
        """So many connections, opened at once, then asked once each."""
        opened = [self.connect() for _ in range(count)]
        for connection in opened:
            connection.sendall(self.head)
        for connection in opened:
            self.throw_away(connection)
            self.requests += 1
        return opened

    def download(self) -> None:
        """One large file after the other, as fast as they come."""
        connection = self.connect()
        while True:
            connection.sendall(self.head)
            left = self.wire_size
            while left:
                wake_up_for(connection, min(left, 1 << 17))
                left -= self.throw_away(connection, min(left, ROOM))
            self.requests += 1

    def pipeline(self) -> None:
        """Always between one and two batches of requests that have no answer yet."""
        connection = self.connect()
        connection.setblocking(False)
        wake_up_for(connection, 1 << 16)
        batch, unsent, due = self.head * BATCH, memoryview(b""), 0
        with selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_READ)
            while True:
                if due < BATCH * self.wire_size and not unsent:
                    unsent, due = memoryview(batch), due + BATCH * self.wire_size
                if unsent:
                    with suppress(BlockingIOError):
                        unsent = unsent[connection.send(unsent) :]
                writes = selectors.EVENT_WRITE if unsent else 0
                selector.modify(connection, selectors.EVENT_READ | writes)
                selector.select()
                with suppress(BlockingIOError):
                    due -= self.throw_away(connection)
                self.requests = self.octets // self.wire_size

    def crowd(self) -> None:
        """Very many connections, each asked for one page and then kept."""
        kept: list[socket.socket] = []
        while len(kept) < CROWD:
            kept += self.burst(BURST)
        while True:
            signal.pause()

    def churn(self) -> None:
        """Connections that are opened, asked for one page and closed, without pause."""
        reset = struct.pack("ii", 1, 0)  # or else there would soon be no port left
        while True:
            for connection in self.burst(BURST):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                connection.close()

    def stall(self) -> None:
        """Many downloads of which nothing is read."""
        kept = [self.connect(4096) for _ in range(STALLED)]
        for connection in kept:
            connection.sendall(self.head)
            self.requests += 1
        while True:
            signal.pause()

    def listing(self) -> None:
        """A listing, to its end, again and again, each on a connection of its own."""
        self.head = self.head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        while True:
            with self.connect() as connection:
                connection.sendall(self.head)
                with suppress(EOFError):
                    while True:
                        self.throw_away(connection)
            self.requests += 1


def wake_up_for(connection: socket.socket, octets: int) -> None:
    """Do not return from waiting for less: fewer calls for the same octets."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, octets)


KINDS: dict[str, Callable[[Neighbour], None]] = {
    "download": Neighbour.download,
    "pipeline": Neighbour.pipeline,
    "crowd": Neighbour.crowd,
    "churn": Neighbour.churn,
    "stall": Neighbour.stall,
    "listing": Neighbour.listing,
}


def stop(_: int, __: object) -> None:
    """End what is going on."""
    raise Stopped


def main(words: list[str]) -> None:
    """Be the neighbour that the words name."""
    kind, port, path, wire_size = words
    signal.signal(signal.SIGTERM, stop)
    neighbour = Neighbour(int(port), path, int(wire_size))
    os.nice(19)
    print("ready", flush=True)
    began, problem = time.perf_counter(), ""
    try:
        KINDS[kind](neighbour)
    except Stopped:
        pass
    except (OSError, EOFError) as error:
        problem = f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - began
    got = {"requests": neighbour.requests, "bytes": neighbour.octets, "seconds": seconds}
    print(json.dumps({**got, "problem": problem}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
