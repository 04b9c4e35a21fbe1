"""Eviction: which connections are closed when all places are taken and a new one waits.

Connections are evicted by kind, in this order:

1. Connections that linger (see `states`) and have the whole last response, or a short one on the
   way; soonest deadline first.
2. Idle connections, longest idle first.
3. Connections that have sent part of a request head, or send content that is not wanted; soonest
   deadline first.
4. Connections that are receiving a response, slowest first.
5. Connections that upload, or have more pipelined requests to be answered; soonest deadline first.

A connection that waits for the server's disk is never evicted.

Limit: connections of kind 4 hold at most seven eighths of the places. If there are more, kind 4 is
evicted first, and as many as are too many. So clients that read slowly leave some places to clients
that ask for little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.server.states import CONTENT, HEAD, IDLE, LINGER, QUEUED, WAIT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from portico.server.connection import Connection

NEWCOMERS_SHARE = 8
"""One eighth of the places is kept from connections that are receiving long responses."""
AT_ONCE = 16
"""About one sixteenth of a kind is evicted at once: to search all connections for each new one
would cost more than to serve the new one."""
MOST_AT_ONCE = 128
"""Most connections evicted at once: closing so many takes some 3 ms."""
YOUNG_SECONDS = 0.02
"""A response is not cut before this age: most responses are complete by then."""
HEAD_START = 65536
"""Bytes that each client counts as having received from the start, so that a distant client does
not count as slow before its first acknowledgement arrives."""
_HAS_ALL, _IDLE, _BEGUN, _TAKES, _SENDS = range(5)


def first_to_go(
    connections: Iterable[Connection], most: int, *, spare: bool = False
) -> list[Connection]:
    """Return the connections to evict next, possibly none; `most` is the limit of connections.

    With `spare`, none of kind 4 or 5 is returned.
    """
    kinds: list[list[tuple[float, int, Connection]]] = [[] for _ in range(5)]
    taking = 0
    for connection in connections:
        state = connection.state
        worth = connection.deadline
        if state == QUEUED or connection.is_uploading:
            kind = _SENDS
        elif state in {HEAD, CONTENT}:
            kind = _BEGUN
        elif state != WAIT and (taken := connection.taken()):
            kind, taking = _TAKES, taking + 1
            octets, seconds = taken
            if seconds < YOUNG_SECONDS:
                continue
            worth = (octets + HEAD_START) / seconds
        elif state in {IDLE, LINGER}:
            kind = _IDLE if state == IDLE else _HAS_ALL
        else:
            continue
        kinds[kind].append((worth, connection.fd, connection))
    too_many = taking - (most - most // NEWCOMERS_SHARE)
    if spare or too_many <= 0 or not kinds[_TAKES]:
        too_many = 0
        group = next(filter(None, kinds[:_TAKES] if spare else kinds), [])
    else:
        group = kinds[_TAKES]
    count = min(max(1 + len(group) // AT_ONCE, too_many), MOST_AT_ONCE)
    return [connection for *_, connection in sorted(group)[:count]]
