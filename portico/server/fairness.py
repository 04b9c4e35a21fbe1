"""How much one connection, or one kind of work, may do per turn of the loop."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from portico.budget import Budget
from portico.server.net.send_queue import BURST, LONG_BURST

if TYPE_CHECKING:
    from collections.abc import Callable

    from portico.server.net.send_queue import SendQueue

QUIET_SECONDS = 0.01
"""If no request was answered for so long, one long burst (some 0.3 ms) may be sent: at most one new
request is likely to wait for it. On a busy server, many requests would."""

STREAMS_AT_ONCE = 16
"""Streams under way at once. A listing of 100,000 entries takes 16 MiB while it is read."""
STREAM_SECONDS = 0.003
"""Time for the steps of all streams in one turn; the last step may exceed it. So however many
clients request long listings, other clients wait no longer than that."""
LISTING_SECONDS = 0.003
"""Time in one turn for listings that are made or checked in one piece."""
REQUESTS_AT_ONCE = 8
"""Pipelined requests answered on one connection before others are served: some 60 us of work."""


class Bursts:
    """Decides how many bytes of a response a connection may send before others are served."""

    __slots__ = ("_are_held", "_long_at", "_quiet_from", "_requests")

    def __init__(self) -> None:
        self._are_held = False
        self._requests = 0
        self._quiet_from = 0.0
        self._long_at = 0.0

    def hold(self, *, on: bool) -> None:
        """While `on`, `take` returns 0, so that long responses begin in the next turn."""
        self._are_held = on

    def take(self, now: float, requests: int) -> int:
        """Return how many bytes may be sent now: LONG_BURST once per quiet turn, else BURST.

        A turn is quiet if `requests`, the number of requests answered so far, has not changed for
        QUIET_SECONDS. `now` is when the turn began.
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
    """Counts the streams under way, and limits their work per turn of the loop."""

    __slots__ = ("budget", "under_way")

    def __init__(self) -> None:
        self.budget = Budget(STREAM_SECONDS)
        self.under_way = 0

    @property
    def is_full(self) -> bool:
        """Whether no further stream may begin."""
        return self.under_way >= STREAMS_AT_ONCE

    def begin(self) -> None:
        """Count a stream that begins to be sent."""
        self.under_way += 1

    def end(self) -> None:
        """Count a stream that has ended, whether it was sent completely or not."""
        self.under_way -= 1

    def step(self, send_queue: SendQueue) -> None:
        """Let a stream do one step, if there is time left in this turn. Raises OSError."""
        if not self.budget.is_spent:
            with self.budget:
                send_queue.step()


class Shares:
    """State that all connections of one worker share, whichever responder answers them."""

    __slots__ = ("bursts", "line", "requests", "streams")

    def __init__(self) -> None:
        self.bursts = Bursts()
        self.streams = Streams()
        self.line: deque[Callable[[], None]] = deque()
        """Calls that wait for a turn of the loop with time left for a listing."""
        self.requests = 0
        """Requests answered since the start."""
