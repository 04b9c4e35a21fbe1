"""Sending at a limited rate, which the connections of one client address share.

Nothing sleeps. A transport that may not send now is put into the queue of its address, and the loop
waits for no event of it. A timer of the loop lets the first transport in the queue send one
portion; to send more, the transport has to queue again.

Limit: the rate limits the bytes handed to the kernel, whose buffers empty as fast as the client
reads.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from portico.server.net.loop import WRITE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portico.server.net.loop import Loop
    from portico.server.net.transport import Buffer, Transport

PORTIONS = 8
"""Portions per second, so many that a client hardly notices the pauses for other connections."""
LONGEST_WAIT = 8.0
"""Seconds within which each transport in a queue gets its turn. If many wait, portions are smaller,
to keep to that."""
_ROUNDING = 1e-6
"""The largest rounding error, in seconds, of floating-point times."""


class Bucket:
    """A token bucket: refilled at `rate` units per second, it holds those of one second at most.

    Units are bytes or requests; times are seconds of time.monotonic(). The generic cell rate
    algorithm needs only one number: the time at which the bucket will be full again.
    """

    __slots__ = ("_paid_until", "_rate")

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._paid_until = 0.0

    def room(self, now: float) -> int:
        """Return how many units may be taken now."""
        return max(0, int(self._rate * (1.0 - self._debt(now) + _ROUNDING)))

    def seconds_until(self, count: int, now: float) -> float:
        """Return in how many seconds `count` units may be taken; `count` is at most `rate`."""
        seconds = count / self._rate - 1.0 + self._debt(now)
        return seconds if seconds > _ROUNDING else 0.0

    def take(self, count: int, now: float) -> None:
        """Take `count` units, even if there is no room for them."""
        self._paid_until = now + self._debt(now) + count / self._rate

    def _debt(self, now: float) -> float:
        return max(0.0, self._paid_until - now)


class Pacer:
    """Shares `rate` bytes per second among the connections of one client address.

    Each waiting connection gets its turn within a quarter of `send_timeout`, so that none is closed
    because its client seems to have stopped reading.
    """

    __slots__ = ("_bucket", "_is_timed", "_line", "_longest_wait", "_loop", "_rate", "_turn")

    def __init__(self, rate: int, loop: Loop, send_timeout: float) -> None:
        self._rate = rate
        self._loop = loop
        self._longest_wait = min(LONGEST_WAIT, send_timeout / 4)
        self._bucket = Bucket(rate)
        self._line: OrderedDict[Paced, None] = OrderedDict()
        self._turn: Paced | None = None  # the transport that the timer lets send just now
        self._is_timed = False

    def grant(self, paced: Paced, count: int) -> int:
        """Return how many of the `count` bytes that `paced` wants to send may be sent now.

        If none may, queue `paced` and raise BlockingIOError.
        """
        is_turn, self._turn = paced is self._turn, None
        portion = min(count, self._portion(len(self._line) + 1))
        if (is_turn or not self._line) and not self._seconds_until(portion):
            return portion if self._line else min(count, self._bucket.room(self._loop.now))
        if paced not in self._line:
            self._line[paced] = None
            self._set_timer()
        raise BlockingIOError

    def take(self, count: int) -> None:
        """Count `count` bytes as sent."""
        self._bucket.take(count, self._loop.now)

    def is_waiting(self, paced: Paced) -> bool:
        """Return whether `paced` is in the queue."""
        return paced in self._line

    def leave(self, paced: Paced) -> None:
        """Remove `paced` from the queue, if it is there."""
        self._line.pop(paced, None)

    def _portion(self, waiting: int) -> int:
        return max(1, int(self._rate * min(1 / PORTIONS, self._longest_wait / waiting)))

    def _seconds_until(self, count: int) -> float:
        return self._bucket.seconds_until(count, self._loop.now)

    def _set_timer(self) -> None:
        if self._line and not self._is_timed:
            self._is_timed = True
            seconds = self._seconds_until(self._portion(len(self._line)))
            self._loop.later(seconds, self._serve_first)

    def _serve_first(self) -> None:
        self._is_timed = False
        if self._line and not self._seconds_until(self._portion(len(self._line))):
            self._turn, _ = self._line.popitem(last=False)
            try:
                self._loop.ready(self._turn.fileno(), WRITE)
            finally:
                self._turn = None
                self._set_timer()
        else:
            self._set_timer()


class Paced:
    """A transport that sends over `transport`, at the rate that `pacer` grants."""

    __slots__ = ("_pacer", "_transport")

    def __init__(self, transport: Transport, pacer: Pacer) -> None:
        self._transport = transport
        self._pacer = pacer

    def fileno(self) -> int:
        """Return the file descriptor that the loop watches."""
        return self._transport.fileno()

    def readiness(self, wanted: int, /) -> int:
        """Return the events that the loop has to wait for; none while in the pacer's queue."""
        if wanted & WRITE and self._pacer.is_waiting(self):
            return 0
        return self._transport.readiness(wanted)

    def receive(self, most: int, /) -> bytes:
        """Return received bytes; b"" if the client has ended its side."""
        return self._transport.receive(most)

    def send(self, octets: Buffer, flags: int = 0, /) -> int:
        """Send as many of `octets` as there is room for and the pacer grants; return how many."""
        granted = self._pacer.grant(self, len(octets))
        if granted < len(octets):
            octets, flags = memoryview(octets)[:granted], 0  # no MORE: the rest has to wait
        return self._count(self._transport.send(octets, flags))

    def send_pieces(self, pieces: Sequence[Buffer], flags: int = 0, /) -> int:
        """Send `pieces`, joined, as far as there is room and the pacer grants; return how many."""
        size = sum(map(len, pieces))
        granted = self._pacer.grant(self, size)
        if granted < size:
            octets = memoryview(b"".join(pieces))[:granted]
            return self._count(self._transport.send(octets, 0))
        return self._count(self._transport.send_pieces(pieces, flags))

    def send_file(self, fd: int, offset: int, count: int, /) -> int:
        """Send up to `count` bytes of an open file; return how many, 0 at the file's end."""
        granted = self._pacer.grant(self, count)
        return self._count(self._transport.send_file(fd, offset, granted))

    def _count(self, sent: int) -> int:
        self._pacer.take(sent)
        return sent

    def expect(self, length: int, /) -> None:
        """Prepare to receive content of `length` bytes, or of unknown length if it is CHUNKED."""
        self._transport.expect(length)

    def unread(self) -> int:
        """Return the number of sent bytes that the client has not acknowledged (0: unknown)."""
        return self._transport.unread()

    def shut_down_sending(self) -> None:
        """Close the sending side, which the client sees as the end; receiving remains possible."""
        self._transport.shut_down_sending()

    def reset_when_closed(self) -> None:
        """Make `close` reset the connection, so that the response does not look complete."""
        self._transport.reset_when_closed()

    def close(self) -> None:
        """Leave the pacer's queue and close the connection."""
        self._pacer.leave(self)
        self._transport.close()
