"""TLS handshakes take turns: one step at the end of a turn of the loop, in order of coming.

A step takes as long as tens of requests. So all else that has come is served before it, and others
wait for one step at most, however many want one. A step that comes alone is not delayed.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from portico.server.net.loop import READ

if TYPE_CHECKING:
    from portico.server.net.loop import Loop
    from portico.server.net.transport import Transport


class Turns:
    """The line in which connections wait whose handshake is not complete.

    The loop does not watch who waits there for longer, and watches it again before it goes on; so
    the connection need not know of this.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._line: OrderedDict[Transport, bool] = OrderedDict()
        """Each with whether the loop has ceased to watch it."""
        self._next: Transport | None = None  # who may go on now

    def admit(self, transport: Transport) -> bool:
        """Return whether a step may be made now; else its handler is called when it may."""
        if transport is self._next:
            return True
        if transport not in self._line:
            if not self._line:
                self._loop.soon(-1, self._let_next)
            self._line[transport] = False
        elif self._line[transport]:
            raise ConnectionAbortedError("the client has left during the handshake")
        else:
            self._line[transport] = True
            self._loop.watch_again(transport.fileno(), 0)
        return False

    def _let_next(self) -> None:
        """At the end of a turn: let the first in line go on."""
        try:
            while self._line and self._next is None:
                first, is_unwatched = self._line.popitem(last=False)
                if (fd := first.fileno()) >= 0:  # it has not been closed
                    self._next = first
                    if is_unwatched:
                        self._loop.watch_again(fd, READ)
                    self._loop.ready(fd, READ)
        finally:
            self._next = None
            if self._line:
                self._loop.soon(-1, self._let_next)
