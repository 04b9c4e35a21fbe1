"""From a path to what the site has for it: hidden names, clean URLs, the nearest error page.

Rule: hidden names are Missing, whichever way leads to them. /about also stands for about.html; a
file called exactly "about" comes first, a folder of that name last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.bounded import BoundedCache
from portico.site.origin.freshness import merge
from portico.site.origin.protocol import (
    Directory,
    Failed,
    File,
    Found,
    Missing,
    Precompressed,
    SlashRedirect,
)
from portico.site.rules.rulebook import is_rules_file
from portico.site.target import is_hidden

if TYPE_CHECKING:
    from portico.site.origin.freshness import Dependencies, Dependency
    from portico.site.origin.protocol import Origin
    from portico.site.representation.select import Note

ERROR_PAGE = "404.html"
_FOLDERS = 256
"""Folders of which it is known that they have no error page, nor have those above."""
_PAGE_SUFFIX = ".html"

_KINDS = {
    File: "a file",
    Precompressed: "a file in compressed form only",
    Directory: "a folder without index.html",
    SlashRedirect: "a folder",
    Missing: "missing",
    Failed: "something that cannot be read",
}

Names = tuple[str, ...]


class Resolver:
    """Finds things in `origin`. With `clean_urls`, /about also finds about.html.

    With `hidden`, dotfiles are found.
    """

    def __init__(
        self, origin: Origin, note: Note, *, clean_urls: bool, hidden: bool = False
    ) -> None:
        self._origin = origin
        self._note = note
        self._clean_urls = clean_urls
        # By folder: the dependencies of having found no error page.
        self._without_page: BoundedCache[Names, tuple[Names, tuple[Dependency, ...]]] = (
            BoundedCache(_FOLDERS)
        )
        self._hidden = hidden

    def find(self, names: Names) -> Found:
        """Return what is at a path."""
        if is_hidden(names, hidden=self._hidden) or is_rules_file(names):
            self._note("File: this name is hidden, so it is not found.")
            return Missing(())
        found = self._origin.look_up(names)
        self._note("File: /%s is %s.", "/".join(names), _KINDS[type(found)])
        if self._clean_urls and isinstance(found, Missing | SlashRedirect):
            return self._page(names, found)
        return found

    def index(self, names: Names) -> Found:
        """Return the index file of the folder called `names`, or what else is there."""
        return self._origin.look_up((*names, ""))

    def content(self, names: Names, found: Found) -> Found:
        """Follow `found`, which is at `names`, where it redirects: of a folder to its index."""
        if not isinstance(found, SlashRedirect):
            return found
        return self.index(names) if found.is_folder else self.find(names[:-1])

    def nearest_page(self, names: Names) -> tuple[File | Precompressed | None, Names, Dependencies]:
        """Return the 404.html nearest upward from `names`, and the nearest folder that exists.

        Last come the dependencies of the search.
        """
        folders = () if is_hidden(names, hidden=self._hidden) else names[:-1]
        known = self._without_page.get(folders)
        if known is not None and self._origin.freshness.holds(known[1]):
            return None, *known
        page, there, dependencies = self._nearest_page(folders)
        if page is None and dependencies is not None:
            self._without_page.put(folders, (there, dependencies))
        return page, there, dependencies

    def _nearest_page(
        self, folders: Names
    ) -> tuple[File | Precompressed | None, Names, Dependencies]:
        nearest = None
        there = 0
        dependencies: Dependencies = ()
        for depth in range(len(folders) + 1):
            page = self._origin.look_up((*folders[:depth], ERROR_PAGE))
            dependencies = merge(dependencies, page.dependencies)
            if isinstance(page, File | Precompressed):
                nearest = page
            elif isinstance(page, Missing) and not page.in_folder:
                break
            there = depth
        return nearest, folders[:there], dependencies

    def _page(self, names: Names, found: Missing | SlashRedirect) -> Found:
        """Return about.html for /about, and a redirect to /about for /about/."""
        slash = names[-1] == ""
        stem = names[:-1] if slash else names
        in_folder = isinstance(found, SlashRedirect) or slash or found.in_folder
        if not in_folder or not stem or not stem[-1] or stem[-1].endswith(_PAGE_SUFFIX):
            return found
        page = self._origin.look_up((*stem[:-1], stem[-1] + _PAGE_SUFFIX))
        dependencies = merge(found.dependencies, page.dependencies)
        if isinstance(page, File | Precompressed):
            self._note("File: /%s is used.", "/".join(page.names))
            if slash:
                return SlashRedirect(dependencies, is_folder=False)
            return page.depending_on(dependencies)
        if isinstance(found, SlashRedirect):
            return SlashRedirect(dependencies)
        return Missing(dependencies, in_folder=found.in_folder)
