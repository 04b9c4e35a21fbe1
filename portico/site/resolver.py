"""From names to what a site has for them: hidden names, clean URLs, the nearest error page.

Rule: what is hidden is as if it were not there, whichever way leads to it. /about stands for
about.html, unless there is a file of just that name; a folder of that name comes after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    from portico.site.origin.freshness import Dependencies
    from portico.site.origin.protocol import Origin
    from portico.site.representation.select import Note

ERROR_PAGE = "404.html"
_PAGE_SUFFIX = ".html"

_KINDS = {
    File: "a file",
    Precompressed: "a file in coded form only",
    Directory: "a folder without an index file",
    SlashRedirect: "a folder",
    Missing: "nothing",
    Failed: "something that cannot be read",
}

Names = tuple[str, ...]


class Resolver:
    """Finds things in `origin`; with `clean_urls`, pages by their names without suffix, too."""

    def __init__(self, origin: Origin, note: Note, *, clean_urls: bool) -> None:
        self.note = note
        self._origin = origin
        self._clean_urls = clean_urls

    def find(self, names: Names) -> Found:
        """What a path stands for."""
        if is_hidden(names) or is_rules_file(names):
            self.note("Look-up: this name is hidden, as if it were not there.")
            return Missing(())
        found = self._origin.look_up(names)
        self.note("Look-up: /%s is %s.", "/".join(names), _KINDS[type(found)])
        if self._clean_urls and isinstance(found, Missing | SlashRedirect):
            return self._page(names, found)
        return found

    def index(self, names: Names) -> Found:
        """The index file, or what else is there, of the folder called `names`."""
        return self._origin.look_up((*names, ""))

    def content(self, names: Names, found: Found) -> Found:
        """What is read in the end where `found` was found: of a folder its index file."""
        if not isinstance(found, SlashRedirect):
            return found
        inner = self.index(names) if found.is_folder else self.find(names[:-1])
        if isinstance(inner, File | Precompressed):
            return inner.resting_on(merge(found.dependencies, inner.dependencies))
        return inner

    def nearest_page(self, names: Names) -> tuple[Found, Dependencies]:
        """The 404.html of the nearest folder upward from `names`, and what was seen on the way."""
        folders = () if is_hidden(names) else names[:-1]
        nearest: Found = Missing(())
        dependencies: Dependencies = ()
        for depth in range(len(folders) + 1):
            page = self._origin.look_up((*folders[:depth], ERROR_PAGE))
            dependencies = merge(dependencies, dependencies_of(page))
            if isinstance(page, File | Precompressed):
                nearest = page
            elif isinstance(page, Missing) and not page.in_folder:
                break
        return nearest, dependencies

    def _page(self, names: Names, found: Missing | SlashRedirect) -> Found:
        """about.html for /about, and the way there for /about/."""
        slash = names[-1] == ""
        stem = names[:-1] if slash else names
        in_folder = isinstance(found, SlashRedirect) or slash or found.in_folder
        if not in_folder or not stem or not stem[-1] or stem[-1].endswith(_PAGE_SUFFIX):
            return found
        page = self._origin.look_up((*stem[:-1], stem[-1] + _PAGE_SUFFIX))
        dependencies = merge(found.dependencies, dependencies_of(page))
        if isinstance(page, File | Precompressed):
            self.note("Look-up: /%s stands for it.", "/".join(page.names))
            if slash:
                return SlashRedirect(dependencies, is_folder=False)
            return page.resting_on(dependencies)
        if isinstance(found, SlashRedirect):
            return SlashRedirect(dependencies)
        return Missing(dependencies, in_folder=found.in_folder)


def dependencies_of(found: Found) -> Dependencies:
    """What a look-up's outcome rests on."""
    return None if isinstance(found, Directory | Failed) else found.dependencies
