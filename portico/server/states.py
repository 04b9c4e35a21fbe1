"""The states of a connection. `Connection` implements this table.

Each line tells what a connection waits for in a state, and what happens then.

- IDLE: bytes; a request begins, of which nothing is here yet.
- HEAD: bytes; more of a request's head is taken.
- QUEUED: the next turn of the loop; the rest of many requests that came at once is answered.
- CONTENT: bytes; more of a request's content is taken, and given to its sink.
- WAIT: a thread, which does what the response or the sink needs from the disk; or a turn of the
  loop that has time for a listing. What comes meanwhile is received later.
- SEND: room to send, or its turn where the bandwidth of its address is limited; the rest of a
  response is sent, and a stream goes on, a step in each turn. Meanwhile nothing is received.
- LINGER: bytes; our side is closed. What still comes is dropped, so that the client is not reset
  before it has the last response: it may not look for one before it has sent all it has.
- CLOSED: nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from portico.config.config import Config

IDLE, HEAD, QUEUED, CONTENT, WAIT, SEND, LINGER, CLOSED = range(8)

BUSY = (QUEUED, CONTENT, WAIT, SEND)
"""States in which a response is under way."""

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
