"""How long a connection may stay in each state, and how its client's progress prolongs that."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from portico.server.states import CONTENT, HEAD, IDLE, LINGER, QUEUED, SEND, WAIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from portico.config.config import Config

CONTENT_RATE = 1024
"""Bytes of content that a client must send per second on average, even if they are dropped. A pause
may last up to `head_timeout`; in LINGER, up to LINGER_SILENCE."""
LINGER_SILENCE = 5.0
"""Seconds in which a client has to close, or send more, once it has acknowledged the whole last
response: the default of nginx's lingering_timeout."""
LINGER_SECONDS = 30.0
"""Seconds for which such a client may continue to send: the default of nginx's lingering_time."""
LOOKS = 8
"""How often within `send_timeout` a connection checks whether its client still reads."""
_UNKNOWN = -1


def time_limits(config: Config) -> dict[int, float]:
    """Return how long each state may last, in seconds, before `Connection.expire` is called.

    CONTENT and LINGER are prolonged when bytes arrive, SEND and LINGER as long as the client reads.
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
    """Tells until when to wait for a client: as long as it reads its response.

    Bytes that the client acknowledges between two looks show that it reads; bytes acknowledged
    right after sending do not, because its kernel buffers them. Limit: the client's kernel tells
    that there is new room only in steps of up to a sixteenth of its buffer, so a client that reads
    less than that within `send_timeout` seems to read nothing.

    All times are seconds of time.monotonic(); `time_limits` is from the function of this name.
    """

    __slots__ = ("_give_up_at", "_linger_until", "_time_limits", "_unread")

    def __init__(self, time_limits: Mapping[int, float]) -> None:
        self._time_limits = time_limits
        self._give_up_at = 0.0
        self._linger_until = math.inf
        self._unread = _UNKNOWN  # bytes not acknowledged at the last look

    def expect(self, now: float) -> float:
        """Allow the client `send_timeout` to read some of the sent bytes; return when to look."""
        self._give_up_at = now + self._time_limits[WAIT]
        self._unread = _UNKNOWN
        return now + self._time_limits[SEND]

    def linger(self, now: float, unread: int) -> None:
        """Begin to wait for the client to take the last `unread` octets and to close."""
        self._give_up_at = now + self._time_limits[WAIT]
        self._linger_until = now + LINGER_SECONDS
        self._unread = unread

    def look(self, now: float, unread: int, state: int) -> float:
        """Return when to look again; `now` if the client has stopped reading, or does not close."""
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
