"""The state that the stages of `site` share while they decide about a request."""

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
        """The dependencies of the decision; None if the decision must not be reused."""
        self.requested: tuple[str, ...] = ()
        """The path of the request."""
        self.names: tuple[str, ...] = ()
        """The path to look up: that of the request, or the destination of a rewrite."""
        self.found: Found | None = None
        """The result of looking up `names`; None before the look-up."""
        self.reads_query = True
        """Whether the decision may depend on the query."""
        self.user: str | None = None
        """The name of the user who sent the request; None for an anonymous client."""
        self.rewrite: int | None = None
        """The status of the rule that rewrote the path, 404 for an error page; None if none did."""

    def depend_on(self, dependencies: Dependencies) -> None:
        """Add to the dependencies of the decision."""
        if dependencies is None or self.dependencies is None:
            self.dependencies = None
        else:
            self.dependencies += dependencies
