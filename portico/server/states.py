"""The states of a connection; `connection` has the table of what happens in each.

state     waits for           what happens then
IDLE      octets              a request begins; nothing of it is here yet
HEAD      octets              more of a request's head is taken
QUEUED    the loop's next     the rest of many requests that came at once is answered
          turn
CONTENT   octets              more of a request's content is taken, and given to its sink
WAIT      a thread            what the response or the sink needs from the disk is done
SEND      room to send        the rest of a response is sent, and a stream goes on, a step in
                              each turn; meanwhile nothing is received
LINGER    octets              our side is closed; what still comes is dropped, so that the
                              client is not reset before it has the last response
CLOSED
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from portico.config.config import Config

IDLE, HEAD, QUEUED, CONTENT, WAIT, SEND, LINGER, CLOSED = range(8)

LINGER_SECONDS = 2.0
"""How long a client has to close when its system has the whole of the last response."""
LOOKS = 8
"""How often, within `send_timeout`, a connection looks whether its client still reads."""


def patience(config: Config) -> dict[int, float]:
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
