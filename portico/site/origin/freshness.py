"""The dependencies of a decision, and when they are checked again.

Rule: a response is sent again only if it still agrees with the disk. So each response is kept with
its dependencies (paths, folders, jobs under way), and each dependency is checked once after every
call of `Freshness.begin_round`, before it is relied on. There is no time to live.
"""

from __future__ import annotations

from typing import Protocol

from portico.budget import Budget

NEVER = -1
"""The value of `Dependency.checked` for one that must be checked before it is used."""


class Dependency(Protocol):
    """Something that a decision depends on, and that can be checked for changes."""

    checked: int
    """The round (see `Freshness`) in which the dependency was last found unchanged, or NEVER."""

    def holds(self) -> bool:
        """Return whether nothing has changed; checks at most once per round. Raises Postponed."""
        ...


Dependencies = tuple[Dependency, ...] | None
"""All dependencies of a decision. None if they are unknown: the decision must not be reused."""


def merge(ones: Dependencies, others: Dependencies) -> Dependencies:
    """Return the dependencies of a decision that follows from two others."""
    return None if ones is None or others is None else (*ones, *others)


class Freshness:
    """The rounds of checks that all dependencies on one origin share.

    A new round begins with each turn of the event loop, and before any request that may have been
    sent after that. Each dependency is checked at most once in a round. So a response shows every
    change on disk that was made before its request was sent, and requests that were received
    together share one check.
    """

    __slots__ = ("budget", "round")

    def __init__(self, budget: Budget | None = None) -> None:
        self.round = 0
        """The number of the current round; compared with `Dependency.checked`."""
        self.budget = budget or Budget()
        """Limits the time of costly checks and decisions in a turn: those of listings."""

    def begin_round(self) -> None:
        """Begin a round: every dependency has to be checked again."""
        self.round += 1

    def holds(self, dependencies: Dependencies) -> bool:
        """Return whether no dependency has changed, so that the decision can be reused.

        Raises Postponed if there is no time for the check in this turn.
        """
        if dependencies is None:
            return False
        number = self.round
        for dependency in dependencies:  # all() would take twice the time
            if dependency.checked != number and not dependency.holds():
                return False
        return True


class Checked:
    """A dependency that remembers in which round it was last found unchanged."""

    __slots__ = ("_freshness", "checked")

    def __init__(self, freshness: Freshness) -> None:
        self._freshness = freshness
        self.checked = freshness.round

    def holds(self) -> bool:
        """Return whether nothing has changed; checks at most once per round."""
        number = self._freshness.round
        if self.checked != number:
            if not self._is_unchanged():
                return False
            self.checked = number
        return True

    def check_again(self) -> None:
        """Make the next `holds` check again."""
        self.checked = NEVER

    def _is_unchanged(self) -> bool:
        raise NotImplementedError


class Pending:
    """A dependency on a job under way: it holds until the job has ended, successfully or not."""

    __slots__ = ("checked", "done")

    def __init__(self, *, done: bool = False) -> None:
        self.done = done
        self.checked = NEVER

    def holds(self) -> bool:
        """Return whether the job is still under way."""
        return not self.done
