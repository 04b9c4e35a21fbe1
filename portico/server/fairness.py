"""What one connection, or one kind of work, may take in a turn of the loop before others go on."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from portico.budget import Budget
from portico.server.net.send_queue import BURST, LONG_BURST

if TYPE_CHECKING:
    from collections.abc import Callable

    from portico.server.net.send_queue import SendQueue

QUIET_SECONDS = 0.01
"""Where nobody was answered for so long, the next client waits for one long burst, some 0.3 ms.
Where there are others all the time, many would."""

STREAMS_AT_ONCE = 16
"""Streams that may be under way. A listing of 100,000 entries takes 16 MiB while it is read."""
STREAM_SECONDS = 0.003
"""How long all streams may work in one turn of the loop, and a step longer: so however many clients
ask for long listings, the others wait no longer than that."""
LISTING_SECONDS = 0.003
"""The same, for listings that are made, or checked, at once."""
REQUESTS_AT_ONCE = 8
"""Pipelined requests answered before other connections are served: some 60 us of work."""


class Bursts:
    """How much of a long response is sent on one connection before others are served."""

    __slots__ = ("_are_held", "_long_at", "_quiet_from", "_requests")

    def __init__(self) -> None:
        self._are_held = False
        self._requests = 0
        self._quiet_from = 0.0
        self._long_at = 0.0

    def hold(self, *, on: bool) -> None:
        """Let long responses begin with the next turn of the loop, or now again."""
        self._are_held = on

    def take(self, now: float, requests: int) -> int:
        """Return how many octets may be sent now: many once in a turn of the loop, if it is quiet.

        `now` is when the turn began, `requests` the number that was answered so far.
        """
        if self._are_held:
            return 0
        if requests != self._requests:
            self._requests = requests
            self._quiet_from = now + QUIET_SECONDS
        if now < self._quiet_from or self._long_at == now:
            return BURST
        self._long_at = now
        return LONG_BURST


class Streams:
    """Counts the streams under way, and bounds their work in a turn of the loop."""

    __slots__ = ("budget", "under_way")

    def __init__(self) -> None:
        self.budget = Budget(STREAM_SECONDS)
        self.under_way = 0

    @property
    def is_full(self) -> bool:
        """Whether no other may begin."""
        return self.under_way >= STREAMS_AT_ONCE

    def begin(self) -> None:
        """Count one that begins to be sent."""
        self.under_way += 1

    def end(self) -> None:
        """Count one as ended, whether it was sent or given up."""
        self.under_way -= 1

    def step(self, send_queue: SendQueue) -> None:
        """Let a stream do a step, if there is time in this turn. Raises OSError."""
        if not self.budget.is_spent:
            with self.budget:
                send_queue.step()


class Shares:
    """What the connections of one worker share, whichever responder answers them."""

    __slots__ = ("bursts", "line", "requests", "streams")

    def __init__(self) -> None:
        self.bursts = Bursts()
        self.streams = Streams()
        self.line: deque[Callable[[], None]] = deque()
        """What waits for a turn of the loop that has time for it."""
        self.requests = 0
        """Requests answered since the start."""
