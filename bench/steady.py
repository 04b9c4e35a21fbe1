"""A client that keeps its pace: requests at fixed moments, whatever became of those before.

Request n is due n / rate seconds after the start and goes out on the connection that has been free
for longest; its latency runs from the moment at which it was due, so that a server that stands
still pays for each request that had to wait.  wrk waits for answers before it goes on, and h2load
with ``--rps`` times a request from its sending, so neither can tell this.  A few thousand requests
a second are little enough for Python; ``lag``, from the moment at which a request was due and a
connection free for it to its sending, says how late this program itself was.

    python -m bench.steady PORT CONNECTIONS RATE WARM SECONDS WIRE_SIZE < request-head

It prints one line of JSON.  What happens in the first WARM seconds does not count.
"""

from __future__ import annotations

import gc
import json
import math
import os
import select
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from bench.load import MARK, Seen

START = b"HTTP/1.1 200 "
# The longest wait for an answer where no connection is free.
LONGEST_WAIT = 0.02


@dataclass
class Client:
    """A connection, the moment at which its request was due, and what came of the answer."""

    connection: socket.socket
    due: float = 0.0
    freed: float = 0.0
    asking: bool = False
    got: int = 0


@dataclass
class Steady:
    """All the clients, and what they have seen."""

    port: int
    head: bytes
    wire_size: int
    rate: float
    clients: dict[int, Client] = field(default_factory=dict)
    free: deque[Client] = field(default_factory=deque)
    took: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    asked: int = 0
    began: float = 0.0

    def open(self) -> None:
        """One more connection."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        client = Client(connection, freed=time.perf_counter())
        self.clients[connection.fileno()] = client
        self.free.append(client)

    def due(self) -> float:
        """The moment at which the next request is due."""
        return self.began + self.asked / self.rate

    def ask_what_is_due(self, end: float) -> None:
        """Send what is due now and before `end`, as far as connections are free for it."""
        while self.free and self.due() <= min(time.perf_counter(), end):
            client = self.free.popleft()
            client.due, client.asking, client.got = self.due(), True, 0
            self.asked += 1
            self.late.append(time.perf_counter() - max(client.due, client.freed))
            with suppress(OSError):  # what is wrong is seen when the answer is read
                client.connection.send(self.head)

    def receive(self, client: Client) -> None:
        """What has come on a connection."""
        try:
            piece = client.connection.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            self.fail(client, "read")
        elif not client.got and not piece.startswith(START):
            self.fail(client, "status")
        else:
            client.got += len(piece)
            self.bytes += len(piece)
            if client.got > self.wire_size:
                self.fail(client, "read")
            elif client.got == self.wire_size:
                client.freed = time.perf_counter()
                if client.due >= self.began:  # not one of the run before
                    self.took.append(client.freed - client.due)
                client.asking = False
                self.free.append(client)

    def fail(self, client: Client, kind: str) -> None:
        """The connection is of no more use: it is replaced."""
        self.failures[kind] += 1
        del self.clients[client.connection.fileno()]
        client.connection.close()
        if client in self.free:
            self.free.remove(client)
        self.open()

    def run(self, seconds: float) -> Seen:
        """Keep the pace for so long, from now on; what was seen of what was due since."""
        self.took, self.late, self.bytes = [], [], 0
        self.failures.clear()
        self.began, self.asked = time.perf_counter(), 0
        end = self.began + seconds
        while (now := time.perf_counter()) < end:
            # select waits for microseconds, epoll for whole milliseconds.
            wait = max(self.due() - now, 0) if self.free else LONGEST_WAIT
            ready, _, _ = select.select(list(self.clients), [], [], wait)
            for descriptor in ready:
                self.receive(self.clients[descriptor])
            self.ask_what_is_due(end)
        answered = len(self.took)
        # What has no answer at the end has taken at least as long as it has waited.
        waiting = [end - one.due for one in self.clients.values() if one.asking]
        never_sent = range(self.asked, math.floor(seconds * self.rate))
        waiting += [end - self.began - n / self.rate for n in never_sent]
        took, late = sorted(self.took + waiting), sorted(self.late)
        p50, p99, p999 = (quantile(took, share) for share in (0.5, 0.99, 0.999))
        lag = quantile(late, 0.99)
        return Seen(answered, self.bytes, seconds, p50, p99, p999, lag, dict(self.failures))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed, in microseconds."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] * 1e6 if ordered else 0.0


def main(words: list[str]) -> None:
    """Keep the pace that the words say."""
    port, connections = map(int, words[:2])
    rate, warm, seconds = map(float, words[2:5])
    gc.disable()
    with suppress(OSError):  # whoever else runs on this core waits for us, if we may ask for that
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(2))
    steady = Steady(port, sys.stdin.buffer.read(), int(words[5]), rate)
    for _ in range(connections):
        steady.open()
    steady.run(warm)
    print(MARK + json.dumps(asdict(steady.run(seconds))))


if __name__ == "__main__":
    main(sys.argv[1:])
