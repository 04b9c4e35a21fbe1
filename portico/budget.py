"""Bounded time: how long costly work may take in one turn (iteration) of the event loop.

Work that takes a millisecond or more, and that many clients can request at once, is charged to a
`Budget`. When the budget of a turn is spent, further work raises `Postponed`, and is done in a
later turn.
Limit: a piece of work that was begun is finished, so a turn can take one piece longer.
"""

from __future__ import annotations

from math import inf
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


class Postponed(Exception):  # noqa: N818 (a fact, not an error of ours)
    """The budget is spent in this turn of the loop: try again in the next turn."""


class Budget:
    """The seconds of work allowed in a turn, unlimited by default.

    Do each piece of work in a `with` block of the budget, which measures its time.
    """

    __slots__ = ("_began", "_left", "_seconds")

    def __init__(self, seconds: float = inf) -> None:
        self._seconds = seconds
        self._left = seconds
        self._began = 0.0

    def begin_turn(self) -> None:
        """Begin a turn: allow the full number of seconds again."""
        self._left = self._seconds

    @property
    def is_spent(self) -> bool:
        """Whether no more work may begin in this turn."""
        return self._left <= 0

    def check(self) -> None:
        """Raise Postponed if the budget is spent."""
        if self._left <= 0:
            raise Postponed

    def __enter__(self) -> None:
        """Begin to measure a piece of work."""
        self._began = perf_counter()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Charge the time that the work took to the budget."""
        self._left -= perf_counter() - self._began
