"""The states of a connection, and until when each may last.

    state     waits for       what happens then
    IDLE      octets          a request begins; nothing of it is here yet
    HEAD      octets          more of a head that began to arrive
    TURN      its next turn   the rest of many requests that came at once is answered
    CONTENT   octets          content that nobody asked for is thrown away
    WAIT      a thread        what the reply needs is read from the disk; then it goes on
    SEND      room to send    the rest of a reply goes out, and a stream goes on, a step in a turn;
                              meanwhile nothing is read
    LINGER    octets          our side is closed; what still comes is thrown away, so that the
                              client is not reset before it has the last reply
    CLOSED

`connection` has the table of what is done in each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from portico.server.responder import Responder

IDLE, HEAD, TURN, CONTENT, WAIT, SEND, LINGER, CLOSED = range(8)

LINGER_SECONDS = 2.0
"""How long a client has to close when its system has the whole of the last reply."""
LOOKS = 8
"""Looks, within the time after which it is given up, at whether a client takes what it is sent."""


def idle_deadline(responder: Responder) -> float:
    """Until when a client may ask for nothing. All in seconds of time.monotonic()."""
    return responder.idle_deadline


def head_deadline(responder: Responder) -> float:
    """Until when a head or content must be there."""
    return responder.now + responder.config.head_timeout


def send_deadline(responder: Responder) -> float:
    """Until when a client must have read something, or the disk."""
    return responder.now + responder.config.send_timeout


def look_deadline(responder: Responder) -> float:
    """When it is looked at next whether a client takes what it is sent."""
    return responder.now + responder.config.send_timeout / LOOKS


def linger_deadline(responder: Responder) -> float:
    """Until when a client may close."""
    return responder.now + LINGER_SECONDS
