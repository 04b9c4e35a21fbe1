"""How long a connection may stay in each of its states, and what progress adds to that."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from portico.server.states import CONTENT, HEAD, IDLE, LINGER, QUEUED, SEND, WAIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from portico.config.config import Config

CONTENT_RATE = 1024
"""Octets of content that must come in a second, on average, wanted or not. A client that pauses has
`head_timeout` to go on, or LINGER_SILENCE."""
LINGER_SILENCE = 5.0
"""How long a client has to close, or to go on sending, when its system has the whole of the last
response. As long as nginx gives it."""
LINGER_SECONDS = 30.0
"""How long it may go on sending then, however much that is: as long as with nginx."""
LOOKS = 8
"""How often, within `send_timeout`, a connection looks whether its client still reads."""
_UNKNOWN = -1


def time_limits(config: Config) -> dict[int, float]:
    """Return how long each state may last, in seconds, before the connection is closed.

    CONTENT and LINGER are prolonged by what comes, SEND and LINGER as long as the client reads.
    """
    return {
        IDLE: config.idle_timeout,
        HEAD: config.head_timeout,
        QUEUED: config.head_timeout,
        CONTENT: config.head_timeout,
        WAIT: config.send_timeout,
        SEND: config.send_timeout / LOOKS,
        LINGER: LINGER_SILENCE,
    }


class Progress:
    """Tells until when to wait for a client: as long as it reads, and takes what it was sent.

    What its system takes right after the last octets were sent says nothing about that, but what it
    takes between two looks does. Limit: a system tells only in steps, up to a sixteenth of its
    buffer, that there is room again; a client that reads less than that in the time it has seems to
    read nothing.

    All times are seconds of time.monotonic(); `time_limits` are those of the states.
    """

    __slots__ = ("_give_up_at", "_linger_until", "_time_limits", "_unread")

    def __init__(self, time_limits: Mapping[int, float]) -> None:
        self._time_limits = time_limits
        self._give_up_at = 0.0
        self._linger_until = math.inf
        self._unread = _UNKNOWN  # at the last look

    def expect(self, now: float) -> float:
        """Give the client the usual time to take some of what it was sent; return when to look."""
        self._give_up_at = now + self._time_limits[WAIT]
        self._unread = _UNKNOWN
        return now + self._time_limits[SEND]

    def linger(self, now: float, unread: int) -> None:
        """Begin to wait for the client to take the last `unread` octets and to close."""
        self._give_up_at = now + self._time_limits[WAIT]
        self._linger_until = now + LINGER_SECONDS
        self._unread = unread

    def look(self, now: float, unread: int, state: int) -> float:
        """Return when to look again; `now` if the client has stopped to read, or does not close."""
        before, self._unread = self._unread, unread
        if unread < before:
            self._give_up_at = now + self._time_limits[WAIT]
        if now >= self._give_up_at or (state == LINGER and before == unread == 0):
            return now
        if state != LINGER or unread:
            return now + self._time_limits[SEND]
        self._linger_until = now + LINGER_SECONDS
        return now + self._time_limits[LINGER]

    def prolong(self, deadline: float, data: bytes, now: float, state: int) -> float:
        """Return the deadline of a client that has just sent `data` as content."""
        longer = deadline + len(data) / CONTENT_RATE
        return min(longer, now + self._time_limits[state], self._linger_until)
