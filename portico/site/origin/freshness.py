"""What a decision depends on, and when that is checked again.

Rule: a response that is sent again must be what is on disk now. So each response is kept together
with its dependencies (paths, folders, jobs under way), and each dependency is checked once after
every call of `Freshness.begin_round`. There is no time to live.
"""

from __future__ import annotations

from typing import Protocol

from portico.budget import Budget

NEVER = -1
"""The value of `Dependency.checked` for one that must be checked before it is used."""


class Dependency(Protocol):
    """Something that a decision depends on."""

    checked: int
    """The round (see `Freshness`) in which it was last found unchanged, or NEVER."""

    def holds(self) -> bool:
        """Return whether it is unchanged; checks at most once in each round. Raises Postponed."""
        ...


Dependencies = tuple[Dependency, ...] | None
"""What a decision depends on. None if that is not known; then it must not be reused."""


def merge(ones: Dependencies, others: Dependencies) -> Dependencies:
    """Return the dependencies of a decision that follows from two others."""
    return None if ones is None or others is None else (*ones, *others)


class Freshness:
    """The rounds of checks that everything a worker remembers shares.

    A new round begins with each turn of the loop, and before any request that may have arrived
    later than that. What is remembered is checked at most once in a round. So a request sees every
    change that was made on disk before it was sent, and those received together share one check.
    """

    __slots__ = ("budget", "round")

    def __init__(self, budget: Budget | None = None) -> None:
        self.round = 0
        """The number of the present round; for comparison with `Dependency.checked`."""
        self.budget = budget or Budget()
        """The time for checks, and for decisions, that take much of it: those of listings."""

    def begin_round(self) -> None:
        """Begin a round: what was checked before has to be checked again."""
        self.round += 1

    def holds(self, dependencies: Dependencies) -> bool:
        """Return whether no dependency has changed, so that the decision can be reused.

        Raises Postponed if there is no time to check that in this turn.
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
        """Return whether it is unchanged; checks at most once in each round."""
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
