"""Clients that take a large response a few bytes at a time, to hold places that others need.

``python3 -m bench.trickle PORT COUNT AGAIN HEAD`` opens COUNT connections, sends HEAD on each and
reads as slowly as that.  If AGAIN is 1, who is cut connects again at once.  It ends with SIGTERM,
and prints how many were cut.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.client import Aim
from bench.servers import ROOT

ROUND_SECONDS = 0.05
PIECE = 500
BUFFER = 4096
PATIENCE = 30.0


class Reader:
    """One connection that trickles."""

    def __init__(self, port: int, head: bytes) -> None:
        self._head = head
        self._has_asked = False
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._socket.setblocking(False)
        self._socket.connect_ex(("127.0.0.1", port))

    def goes_on(self) -> bool:
        """Whether it could read a little, or may still; if not, it was cut, and is closed."""
        try:
            if not self._has_asked:
                self._socket.send(self._head)
                self._has_asked = True
                return True
            if self._socket.recv(PIECE):
                return True
        except BlockingIOError:
            return True
        except OSError:
            pass
        self._socket.close()
        return False


def main(port: int, count: int, again: bool, head: bytes) -> int:  # noqa: FBT001
    """Trickle until told to stop; the number of readers that were cut."""
    stopped, cut = list[int](), 0
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    readers = [Reader(port, head) for _ in range(count)]
    print("trickling", flush=True)
    while not stopped:
        staying = [reader for reader in readers if reader.goes_on()]
        lost = len(readers) - len(staying)
        cut += lost
        readers = staying + [Reader(port, head) for _ in range(lost if again else 0)]
        time.sleep(ROUND_SECONDS)
    return cut


@contextmanager
def trickling(aim: Aim, count: int, *, again: bool) -> Iterator[dict[str, float]]:
    """Readers for the length of the block, and how many of them were cut."""
    more: dict[str, float] = {}
    words = [sys.executable, "-m", "bench.trickle", str(aim.port), str(count), str(int(again))]
    with subprocess.Popen(
        [*words, aim.head], cwd=ROOT, text=True, stdout=subprocess.PIPE
    ) as process:
        try:
            process.stdout.readline()  # type: ignore[union-attr]
            yield more
            process.terminate()
            more["cut"] = float(process.communicate(timeout=PATIENCE)[0])
        finally:
            process.kill()


if __name__ == "__main__":
    print(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "1", sys.argv[4].encode()))
