"""The findings of a check: one Finding for each mistake to correct.

Rule: a finding has the places of a mistake, and tells in whole sentences what the mistake is and
how to correct it. The same mistake in many places, such as a broken link in a template, is one
finding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

KINDS = {
    "secret": "what looks like a secret or a leftover, served or not",
    "case": "names that macOS and Windows take for one and the same",
    "name": "names and symlinks that cannot be served, or not on every system",
    "access": "what this user has no right to read",
    "type": "text files whose media type is unknown",
    "charset": "text that is not UTF-8, though it is served as such",
    "stale": "compressed files that do not match their original",
    "rule": "lines of _redirects and _headers that are skipped",
    "loop": "redirects that never arrive",
    "link": "links within the site that lead to nothing",
    "redirected": "links that lead through a redirect (only with --strict)",
}
"""All kinds, in the order in which they are shown."""

MERGED = frozenset({"link", "redirected", "type"})
"""Kinds whose findings are merged if their text (`Finding.what`) is the same."""

LOCATIONS_LIMIT = 20
"""Most further locations of a finding that are kept; the rest are only counted."""

Location = tuple[str, int]
"""A path below the root, and a line in this file, from 1; 0 means the whole file."""


class Places:
    """The locations of a finding: their number, and the first ones, sorted by path and line."""

    def __init__(self, path: str, line: int = 0) -> None:
        self.kept: list[Location] = [(path, line)]
        """The first location, and up to LOCATIONS_LIMIT further ones."""
        self.count = 1
        """The number of all locations."""

    def add(self, other: Places) -> None:
        """Add all locations of `other`."""
        self.count += other.count
        if len(self.kept) <= LOCATIONS_LIMIT:
            self.kept = sorted(self.kept + other.kept)[: LOCATIONS_LIMIT + 1]


class Finding(NamedTuple):
    """One mistake to correct."""

    kind: str
    what: str
    """What the mistake is, and why it would surprise."""
    cure: str
    """How to correct it."""
    places: Places


class Findings:
    """Collects findings, except those of the kinds in `ignored`."""

    def __init__(self, ignored: Collection[str] = ()) -> None:
        self._ignored = frozenset(ignored)
        self._found: dict[tuple[object, ...], Finding] = {}

    def add(self, kind: str, places: Places, what: str, cure: str) -> None:
        """Add a finding; or add its places to an equal one, if its kind is in MERGED."""
        if kind not in self._ignored:
            key = (kind, what) if kind in MERGED else (kind, what, *places.kept)
            known = self._found.setdefault(key, Finding(kind, what, cure, places))
            if known.places is not places:
                known.places.add(places)

    def by_kind(self) -> dict[str, list[Finding]]:
        """Return the findings by kind, for each kind that has any, sorted by path and line."""
        found = sorted(self._found.values(), key=lambda each: each.places.kept[0])
        kinds = [kind for kind in KINDS if any(each.kind == kind for each in found)]
        return {kind: [each for each in found if each.kind == kind] for kind in kinds}
