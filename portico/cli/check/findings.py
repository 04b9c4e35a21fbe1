"""What a check finds: one Finding for each thing to mend, kept in bounded numbers.

Rule: a finding says where it is, what it is, and what to do about it, in whole sentences. What
occurs in many places in the same way, such as a broken link in a template, is one finding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

KINDS = {
    "secret": "what looks like a secret or a leftover, served or not",
    "case": "names that macOS and Windows take for one and the same",
    "name": "names and symlinks that cannot be served, or not on every system",
    "access": "what this user has no right to read",
    "type": "files whose media type is unknown",
    "charset": "text that is not UTF-8, though it is served as such",
    "stale": "compressed files that do not match their original",
    "rule": "lines of _redirects and _headers that are skipped",
    "loop": "redirects that never arrive",
    "link": "links within the site that lead to nothing",
    "redirected": "links that lead through a redirect (only with --strict)",
}
"""All kinds, in the order in which they are shown."""

MERGED = frozenset({"link", "redirected", "type"})
"""Kinds whose findings are merged if they say the same."""

FINDINGS_LIMIT = 10_000
"""Findings of one kind that are kept; further ones are only counted."""

LOCATIONS_LIMIT = 20
"""Further locations of one finding that are kept; the rest is only counted."""

Location = tuple[str, int | None]
"""A path below the root, and the line in that file, from 1; None where there is no line."""


@dataclass(slots=True)
class Finding:
    """One thing to mend."""

    kind: str
    location: Location
    """The first location."""
    what: str
    """What it is, and why it would surprise."""
    cure: str
    """What to do."""
    also: list[Location] = field(default_factory=list)
    """Further locations of the same, as far as they are kept."""
    count: int = 1
    """All locations."""


class Findings:
    """All that was found, except the kinds that are `ignored`."""

    def __init__(self, ignored: Collection[str] = ()) -> None:
        self.ignored = frozenset(ignored)
        self.counts: dict[str, int] = {}
        """Findings by kind, including those that are not kept."""
        self._kept: list[Finding] = []
        self._merged: dict[tuple[str, str], Finding] = {}

    def add(self, kind: str, location: Location, what: str, cure: str) -> None:
        """Add a finding, or its location to a finding that says the same."""
        if kind in self.ignored:
            return
        known = self._merged.get((kind, what))
        if known is not None:
            known.count += 1
            if len(known.also) < LOCATIONS_LIMIT:
                known.also.append(location)
            return
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.counts[kind] > FINDINGS_LIMIT:
            return
        finding = Finding(kind, location, what, cure)
        self._kept.append(finding)
        if kind in MERGED:
            self._merged[kind, what] = finding

    @property
    def total(self) -> int:
        """The number of findings, including those that are not kept."""
        return sum(self.counts.values())

    def sorted(self) -> list[Finding]:
        """Return the findings that are kept, by kind, path and line."""
        order = list(KINDS)
        return sorted(
            self._kept,
            key=lambda each: (order.index(each.kind), each.location[0], each.location[1] or 0),
        )
