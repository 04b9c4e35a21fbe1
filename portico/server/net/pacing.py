"""Sending at a limited rate: the connections of one address share it, each in its turn.

Nothing sleeps. A transport that may send no more waits for no event, but in the line of its
address. A timer of the loop lets the first in the line send a portion; for more it has to queue
again.

Limit: the rate is that of what the system is handed. Its buffers empty as fast as the client reads.
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
"""Portions in a second: whoever waits hardly notices that others are served between."""
LONGEST_WAIT = 8.0
"""Seconds in which each in a line has its turn. Where there are many, portions are smaller."""
_ROUNDING = 1e-6
"""Seconds that floating-point numbers may be off."""


class Bucket:
    """`rate` units a second, and as many in reserve. Times are monotonic, in seconds.

    One number is enough: until when what was taken is paid (the generic cell rate algorithm).
    """

    __slots__ = ("_paid_until", "_rate")

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._paid_until = 0.0

    def room(self, now: float) -> int:
        """Return how many units may be taken now."""
        return max(0, int(self._rate * (1.0 - self._debt(now) + _ROUNDING)))

    def seconds_until(self, count: int, now: float) -> float:
        """Return in how many seconds there is room for `count` units, which are at most `rate`."""
        seconds = count / self._rate - 1.0 + self._debt(now)
        return seconds if seconds > _ROUNDING else 0.0

    def take(self, count: int, now: float) -> None:
        """Take `count` units."""
        self._paid_until = now + self._debt(now) + count / self._rate

    def _debt(self, now: float) -> float:
        return max(0.0, self._paid_until - now)


class Pacer:
    """Shares out among the connections of one address what it may be sent: `rate` octets a second.

    Each has its turn within a quarter of `send_timeout`, so no one is taken for one who stands
    still.
    """

    __slots__ = ("_bucket", "_is_timed", "_line", "_longest_wait", "_loop", "_rate", "_turn")

    def __init__(self, rate: int, loop: Loop, send_timeout: float) -> None:
        self._rate = rate
        self._loop = loop
        self._longest_wait = min(LONGEST_WAIT, send_timeout / 4)
        self._bucket = Bucket(rate)
        self._line: OrderedDict[Paced, None] = OrderedDict()
        self._turn: Paced | None = None  # whose turn it is
        self._is_timed = False

    def grant(self, paced: Paced, count: int) -> int:
        """Return how many of `count` octets may be sent now.

        If there are none, raise BlockingIOError and let it wait in the line.
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
        """Count octets that were sent."""
        self._bucket.take(count, self._loop.now)

    def is_waiting(self, paced: Paced) -> bool:
        """Return whether `paced` is in the line."""
        return paced in self._line

    def leave(self, paced: Paced) -> None:
        """Let `paced` wait no longer."""
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
    """A transport that sends over another one, as fast as `pacer` lets it."""

    __slots__ = ("_pacer", "_transport")

    def __init__(self, transport: Transport, pacer: Pacer) -> None:
        self._transport = transport
        self._pacer = pacer

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._transport.fileno()

    def readiness(self, wanted: int, /) -> int:
        """Return the events to wait for: none where it is the pacer that makes it wait."""
        if wanted & WRITE and self._pacer.is_waiting(self):
            return 0
        return self._transport.readiness(wanted)

    def receive(self, most: int, /) -> bytes:
        """Return what has come."""
        return self._transport.receive(most)

    def send(self, octets: Buffer, flags: int = 0, /) -> int:
        """Send octets, as many as there is room for and as may be sent; return how many."""
        granted = self._pacer.grant(self, len(octets))
        if granted < len(octets):
            octets, flags = memoryview(octets)[:granted], 0  # what follows does not follow at once
        return self._count(self._transport.send(octets, flags))

    def send_pieces(self, pieces: Sequence[Buffer], flags: int = 0, /) -> int:
        """Send several pieces as if they were one."""
        size = sum(map(len, pieces))
        granted = self._pacer.grant(self, size)
        if granted < size:
            octets = memoryview(b"".join(pieces))[:granted]
            return self._count(self._transport.send(octets, 0))
        return self._count(self._transport.send_pieces(pieces, flags))

    def send_file(self, fd: int, offset: int, count: int, /) -> int:
        """Send `count` octets of an open file; return how many, 0 at the file's end."""
        granted = self._pacer.grant(self, count)
        return self._count(self._transport.send_file(fd, offset, granted))

    def _count(self, sent: int) -> int:
        self._pacer.take(sent)
        return sent

    def expect(self, length: int, /) -> None:
        """Prepare for so many octets of content; CHUNKED if that is not known."""
        self._transport.expect(length)

    def unread(self) -> int:
        """Return how many octets the client has not taken; 0 where the system does not tell."""
        return self._transport.unread()

    def shut_down_sending(self) -> None:
        """Tell the client that nothing more will be sent, and go on receiving."""
        self._transport.shut_down_sending()

    def reset_when_closed(self) -> None:
        """Have `close` break the connection, so that what was sent does not look complete."""
        self._transport.reset_when_closed()

    def close(self) -> None:
        """Close the connection."""
        self._pacer.leave(self)
        self._transport.close()
