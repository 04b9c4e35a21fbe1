"""Does a client still read what it is sent?"""

from __future__ import annotations

_UNKNOWN = -1


class Progress:
    """Tells whether a client still reads, by the octets that it has not taken.

    What its system takes right after the last octets were sent says nothing about that, but what it
    takes between two looks does. Limit: a system tells only in steps, up to a sixteenth of its
    buffer, that there is room again; a client that reads less than that in the time it has seems to
    read nothing.
    """

    __slots__ = ("_give_up_at", "unread")

    def __init__(self) -> None:
        self._give_up_at = 0.0
        self.unread = _UNKNOWN
        """Octets that the client had not taken at the last look."""

    def restart(self, give_up_at: float, unread: int = _UNKNOWN) -> None:
        """Begin to look: a client that takes nothing until `give_up_at` has stopped reading."""
        self._give_up_at = give_up_at
        self.unread = unread

    def goes_on(self, unread: int, now: float, give_up_at: float) -> bool:
        """Return whether the client may still be reading; if it has read, until `give_up_at`."""
        if unread < self.unread:
            self._give_up_at = give_up_at
        self.unread = unread
        return now < self._give_up_at
