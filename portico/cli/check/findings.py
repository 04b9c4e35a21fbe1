"""What a check finds: one Finding for each thing to mend, kept in bounded numbers.

Rule: a finding says where, what it is, and what to do about it, in whole sentences. What stands in
many places in the same way, such as a broken link in a template, is one finding with many places.
"""

from __future__ import annotations

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
"""Kinds of which findings that say the same become one."""

FINDINGS_LIMIT = 10_000
"""Findings of one kind that are kept; further ones are only counted."""

PLACES_LIMIT = 20
"""Further places of one finding that are kept; the rest is only counted."""

Place = tuple[str, int | None]
"""A path below the root, and the line in that file, from 1, where there is one."""


class Finding:
    """One thing to mend."""

    __slots__ = ("also", "count", "cure", "kind", "line", "path", "what")

    def __init__(self, kind: str, place: Place, what: str, cure: str) -> None:
        self.kind = kind
        self.path, self.line = place
        self.what = what
        """What it is, and why that would surprise."""
        self.cure = cure
        """What to do."""
        self.also: list[Place] = []
        """Further places of the same, as far as they are kept."""
        self.count = 1
        """All places."""

    @property
    def place(self) -> Place:
        """The first place."""
        return self.path, self.line

    def add_place(self, place: Place) -> None:
        """Note one more place of the same."""
        self.count += 1
        if len(self.also) < PLACES_LIMIT:
            self.also.append(place)


class Findings:
    """All that was found, but for the kinds that are `ignored`."""

    def __init__(self, ignored: Collection[str] = ()) -> None:
        self.ignored = frozenset(ignored)
        self.counts: dict[str, int] = {}
        """Findings by kind, those included that are not kept."""
        self._kept: list[Finding] = []
        self._merged: dict[tuple[str, str], Finding] = {}

    def add(self, kind: str, place: Place, what: str, cure: str) -> None:
        """Note that something is found."""
        self.put(Finding(kind, place, what, cure))

    def put(self, finding: Finding) -> None:
        """Note a finding, or its places if the same is known already."""
        kind = finding.kind
        if kind in self.ignored:
            return
        known = self._merged.get((kind, finding.what))
        if known is not None:
            for place in (finding.place, *finding.also):
                known.add_place(place)
            known.count += finding.count - 1 - len(finding.also)
            return
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.counts[kind] > FINDINGS_LIMIT:
            return
        self._kept.append(finding)
        if kind in MERGED:
            self._merged[kind, finding.what] = finding

    @property
    def total(self) -> int:
        """The number of findings, those included that are not kept."""
        return sum(self.counts.values())

    def sorted(self) -> list[Finding]:
        """The findings that are kept: by kind, path and line."""
        order = {kind: number for number, kind in enumerate(KINDS)}
        return sorted(self._kept, key=lambda each: (order[each.kind], each.path, each.line or 0))
