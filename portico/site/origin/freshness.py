"""What a decision depends on, and when that is checked again.

Rule: a response that is sent again must be what is on disk now. So each response is kept together
with its dependencies (paths, folders, jobs under way), and each dependency is checked once after
every call of `Freshness.begin_request`. There is no time to live.
"""

from __future__ import annotations

from typing import Protocol

NEVER = -1
"""The value of `Dependency.checked` for one that must be checked before it is used."""


class Dependency(Protocol):
    """Something that a decision depends on."""

    checked: int
    """The request (see `Freshness`) for which it was last found unchanged, or NEVER."""

    def holds(self) -> bool:
        """Return whether it is unchanged; checks at most once for each request."""
        ...


Dependencies = tuple[Dependency, ...] | None
"""What a decision depends on. None if that is not known; then it must not be reused."""


def merge(ones: Dependencies, others: Dependencies) -> Dependencies:
    """Return the dependencies of a decision that follows from two others."""
    return None if ones is None or others is None else (*ones, *others)


class Freshness:
    """The notion "since this request was begun", shared by everything that a worker remembers.

    Requests that are taken up together share one check of the disk, made after all were received.
    """

    __slots__ = ("request",)

    def __init__(self) -> None:
        self.request = 0
        """Changes with each call of `begin_request`; for comparison with `Dependency.checked`."""

    def begin_request(self) -> None:
        """Take up a request: it will see every change made on disk until now."""
        self.request += 1

    def holds(self, dependencies: Dependencies) -> bool:
        """Return whether no dependency has changed, so that the decision can be reused."""
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
        """Make the next `holds` check again."""
        self.checked = NEVER

    def confirm(self) -> None:
        """Note that it was just found unchanged by other means."""
        self.checked = self._freshness.request

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
