"""Bounded time: how long costly work may take in one turn of the loop.

As `bounded` bounds memory. What many clients can ask for at once, and takes a millisecond or more
each time, is done within a `Budget`: what finds it spent raises `Postponed`, and is done in a later
turn.
Limit: a piece of work that was begun is finished, so a turn can take one piece longer.
"""

from __future__ import annotations

from math import inf
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


class Postponed(Exception):  # noqa: N818 (a fact, not an error of ours)
    """The time for such work is used up in this turn of the loop: ask again in the next."""


class Budget:
    """Seconds of work in a turn; without a limit unless one is given. Used as a context manager."""

    __slots__ = ("_began", "_left", "_seconds")

    def __init__(self, seconds: float = inf) -> None:
        self._seconds = seconds
        self._left = seconds
        self._began = 0.0

    def begin_turn(self) -> None:
        """Allow the whole of it again."""
        self._left = self._seconds

    @property
    def is_spent(self) -> bool:
        """Whether no more work may begin in this turn."""
        return self._left <= 0

    def check(self) -> None:
        """Raise Postponed if it is spent."""
        if self._left <= 0:
            raise Postponed

    def __enter__(self) -> None:
        """Begin a piece of work."""
        self._began = perf_counter()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Charge the time that the work took."""
        self._left -= perf_counter() - self._began
