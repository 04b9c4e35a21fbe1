"""TLS handshakes take turns: one step in a turn of the loop, in the order in which they came.

A step takes as long as tens of requests, so many in one turn would hold up everybody. As long as a
step comes alone it is not delayed.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from portico.server.net.loop import READ

if TYPE_CHECKING:
    from portico.server.net.loop import Loop
    from portico.server.net.transport import Transport


class Turns:
    """The line in which connections wait whose handshake is not complete."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._line: OrderedDict[Transport, None] = OrderedDict()
        self._first: Transport | None = None  # who may go on in the next turn
        self._turn = 0.0  # in which the last step was made
        self._is_going_on = False

    def __contains__(self, transport: Transport) -> bool:
        """Whether it stands in line; then it need not be watched."""
        return transport in self._line

    def admit(self, transport: Transport) -> bool:
        """Return whether a step may be made now; else it stands in line until it may."""
        if transport in self._line:  # and is not watched, so this is about an error
            raise ConnectionAbortedError("the client has left during the handshake")
        if transport is self._first or (not self._line and self._turn != self._loop.now):
            self._first, self._turn = None, self._loop.now
            return True
        self._line[transport] = None
        self._go_on()
        return False

    def _go_on(self) -> None:
        if self._line and not self._is_going_on:
            self._is_going_on = True
            self._loop.soon(-1, self._let_next)

    def _let_next(self) -> None:
        """At the end of a turn: let the first in line go on in the next."""
        self._is_going_on = False
        while self._line:
            self._first, _ = self._line.popitem(last=False)
            if (fd := self._first.fileno()) >= 0:  # it has not been closed
                self._loop.watch_again(fd, READ)
                break
        self._go_on()
