"""What is known about a request while the stages of `site` decide about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from portico.site.origin.freshness import Dependencies
    from portico.site.origin.protocol import Found


class Context:
    """What the stages have decided so far about one request."""

    __slots__ = (
        "dependencies",
        "found",
        "names",
        "reads_query",
        "requested",
        "rewrite",
        "user",
    )

    def __init__(self) -> None:
        self.dependencies: Dependencies = ()
        """What the decision depends on; None if it must not be reused."""
        self.requested: tuple[str, ...] = ()
        """The request's path."""
        self.names: tuple[str, ...] = ()
        """The path to look up: the request's, or the one to which a rule rewrites it."""
        self.found: Found | None = None
        """What is there."""
        self.reads_query = True
        """Whether the decision may depend on the query."""
        self.user: str | None = None
        """Who has sent the request; None for somebody unknown."""
        self.rewrite: int | None = None
        """The status of the rule that rewrites the path: 200, or 404 for an error page."""

    def depend_on(self, dependencies: Dependencies) -> None:
        """Add to the dependencies of the decision."""
        if dependencies is None or self.dependencies is None:
            self.dependencies = None
        else:
            self.dependencies += dependencies
