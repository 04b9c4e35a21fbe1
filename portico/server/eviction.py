"""Who has to go when all places are taken and a newcomer waits.

1. Who lingers and has its last response, or a short one on the way.
2. Who is idle, the longest first.
3. Who has begun a request, or sends content that nobody asked for, the longest ago first.
4. Who takes a response, the slowest first.
5. Who uploads, or has sent many requests at once; whose time is over soonest goes first.

Who waits for our disk never goes.

Limit: responses hold at most seven eighths of the places. Where there are more, 4 goes first, and
as many as there are too many: so clients that read slowly leave some places to those that ask for
little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.server.states import CONTENT, HEAD, IDLE, LINGER, QUEUED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from portico.server.connection import Connection

NEWCOMERS_SHARE = 8
"""An eighth of the places is kept from those that take long responses."""
AT_ONCE = 16
"""One in so many of a kind goes at once, so that all are not searched for each newcomer: that would
cost more than to serve it."""
MOST_AT_ONCE = 128
"""More do not go at once: to close these takes some 3 ms."""
YOUNG_SECONDS = 0.02
"""A response is not given up before this age: most are over by then."""
HEAD_START = 65536
"""Octets that a client counts as having taken before any. So one that is far away is not slow while
its first acknowledgement is on its way."""
_HAS_ALL, _IDLE, _BEGUN, _TAKES, _SENDS = range(5)


def first_to_go(
    connections: Iterable[Connection], most: int, *, spare: bool = False
) -> list[Connection]:
    """Return those of `connections` that go first, where there may be `most`; perhaps nobody.

    With `spare` nobody goes who takes a response or uploads.
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
        elif taken := connection.taken():
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
