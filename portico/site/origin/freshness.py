"""What a decision depends on, and how it is checked that all of it is as it was.

Rule: an answer that is given again must be what the disk says now. So each answer is kept together
with its dependencies (paths, folders, work under way), and each dependency is checked again once
after every call of `Freshness.begin_request`. There is no time to live.
"""

from __future__ import annotations

from typing import Protocol

NEVER = -1
"""The value of `Dependency.checked` for one that must be checked before it is relied on."""


class Dependency(Protocol):
    """Something that a decision depends on."""

    checked: int
    """The request (see `Freshness`) for which it was last found unchanged, or NEVER."""

    def holds(self) -> bool:
        """Return whether it is unchanged; checks at most once for each request."""
        ...


Dependencies = tuple[Dependency, ...] | None
"""All that a decision depends on. None if that is not known: the decision must not be reused."""


def merge(ones: Dependencies, others: Dependencies) -> Dependencies:
    """Return what a decision depends on that follows from two others."""
    return None if ones is None or others is None else (*ones, *others)


class Freshness:
    """What "since this request was begun" means, for one worker and all that it remembers.

    Requests that are taken up together share one check of the disk: none of them was sent after it.
    """

    __slots__ = ("request",)

    def __init__(self) -> None:
        self.request = 0
        """Changes with each call of `begin_request`; for comparison with `Dependency.checked`."""

    def begin_request(self) -> None:
        """Take up a request: whatever happened on the disk until now is seen from now on."""
        self.request += 1

    def holds(self, dependencies: Dependencies) -> bool:
        """Return whether all dependencies hold, so that the same decision would be made now."""
        if dependencies is None:
            return False
        request = self.request
        for dependency in dependencies:  # all() would take twice the time
            if dependency.checked != request and not dependency.holds():
                return False
        return True


class Checked:
    """A dependency that remembers for which request it was last found unchanged."""

    __slots__ = ("_freshness", "checked")

    def __init__(self, freshness: Freshness) -> None:
        self._freshness = freshness
        self.checked = freshness.request

    def holds(self) -> bool:
        """Return whether it is unchanged; checks at most once for each request."""
        request = self._freshness.request
        if self.checked != request:
            if not self._is_unchanged():
                return False
            self.checked = request
        return True

    def check_again(self) -> None:
        """Have the next `holds` check, whatever was found before."""
        self.checked = NEVER

    def confirm(self) -> None:
        """Note that it has just been found unchanged by other means."""
        self.checked = self._freshness.request

    def _is_unchanged(self) -> bool:
        raise NotImplementedError


class Pending:
    """A dependency on work under way: it holds until the work has ended, whatever came of it."""

    __slots__ = ("checked", "done")

    def __init__(self, *, done: bool = False) -> None:
        self.done = done
        self.checked = NEVER

    def holds(self) -> bool:
        """Return whether the work is still under way."""
        return not self.done
