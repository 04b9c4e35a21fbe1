"""The states of a connection. `Connection` implements this table.

Each line tells what a connection waits for in a state, and what happens then.

- IDLE: bytes; a request begins, of which nothing is here yet.
- HEAD: bytes; more of a request's head is taken.
- QUEUED: the next turn of the loop; the rest of many requests that came at once is answered.
- CONTENT: bytes; more of a request's content is taken, and given to its sink.
- WAIT: a thread; it does what the response or the sink needs from the disk.
- SEND: room to send; the rest of a response is sent, and a stream goes on, a step in each turn.
  Meanwhile nothing is received.
- LINGER: bytes; our side is closed. What still comes is dropped, so that the client is not reset
  before it has the last response.
- CLOSED: nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from portico.config.config import Config

IDLE, HEAD, QUEUED, CONTENT, WAIT, SEND, LINGER, CLOSED = range(8)

CONTENT_RATE = 1024
"""Octets of a request's content that must come in a second, on average. A client that pauses has
`head_timeout` to go on."""
LINGER_LIMIT = 1 << 20
"""Octets dropped after the last response; then the client is reset."""
LINGER_SECONDS = 2.0
"""How long a client has to close when its system has the whole of the last response."""
LOOKS = 8
"""How often, within `send_timeout`, a connection looks whether its client still reads."""


def time_limits(config: Config) -> dict[int, float]:
    """Return how long each state may last, in seconds, before the connection is closed.

    CONTENT is prolonged by what comes, SEND and LINGER as long as the client reads.
    """
    return {
        IDLE: config.idle_timeout,
        HEAD: config.head_timeout,
        QUEUED: config.head_timeout,
        CONTENT: config.head_timeout,
        WAIT: config.send_timeout,
        SEND: config.send_timeout / LOOKS,
        LINGER: LINGER_SECONDS,
    }
