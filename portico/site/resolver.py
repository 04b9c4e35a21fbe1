"""Resolves paths: looks names up in the origin, with hidden names, clean URLs and error pages.

Rule: hidden names are Missing, whether a request or a rule leads to them. /about finds the file
"about" if there is one, else about.html, else the folder "about". /about/ finds that folder; if it
has no index file, /about/ redirects to /about if there is about.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.bounded import BoundedCache
from portico.site.dotfiles import is_hidden
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
from portico.site.representation.select import silent
from portico.site.rules.rulebook import is_rules_file

if TYPE_CHECKING:
    from portico.site.origin.freshness import Dependencies, Dependency
    from portico.site.origin.protocol import Origin
    from portico.site.representation.select import Note

ERROR_PAGE = "404.html"
_FOLDERS = 256
"""Most folders that are remembered as having no error page, neither they nor those above."""
_PAGE_SUFFIX = ".html"

_KINDS = {
    File: "a file",
    Precompressed: "a file in compressed form only",
    Directory: "a folder without an index file",
    SlashRedirect: "a folder",
    Missing: "missing",
    Failed: "something that cannot be read",
}

Names = tuple[str, ...]


class Resolver:
    """Looks paths up in `origin`, which is served at the path `base` (without its final slash).

    With `clean_urls`, /about also finds about.html. With `hidden`, dotfiles are found as well,
    except for those in `target.PRIVATE`.
    """

    def __init__(
        self,
        origin: Origin,
        note: Note,
        base: Names = (),
        *,
        clean_urls: bool,
        hidden: bool = False,
    ) -> None:
        self._origin = origin
        self._note = note
        self._base = base
        self._clean_urls = clean_urls
        # By folder without an error page: the result of `_nearest_page`, without the page.
        self._without_page: BoundedCache[Names, tuple[Names, tuple[Dependency, ...]]] = (
            BoundedCache(_FOLDERS)
        )
        self._hidden = hidden

    def find(self, names: Names) -> Found:
        """Return what is found at the path `names`."""
        if names == self._base:
            return SlashRedirect(())
        if self._base:
            if not self._is_below_base(names):
                self._note("File: this path is not below that of --base.")
                return Missing(())
            names = names[len(self._base) :]
        if is_hidden(names, hidden=self._hidden) or is_rules_file(names):
            self._note("File: this name is hidden, so it is not found.")
            return Missing(())
        found = self._origin.look_up(names)
        if self._note is not silent:
            self._note("File: /%s is %s.", "/".join(names), _KINDS[type(found)])
        if self._clean_urls and isinstance(found, Missing | SlashRedirect | Directory):
            return self._page(names, found)
        return found

    def home(self, names: Names) -> Found:
        """Return the index file of the root if the path `names` is below the base, else Missing."""
        return self._origin.look_up(("",)) if self._is_below_base(names) else Missing(())

    def content(self, names: Names, found: Found) -> Found:
        """Return `found`, the result for `names`; for a redirect, the result for its target."""
        if not isinstance(found, SlashRedirect):
            return found
        return self.find((*names, "") if found.is_folder else names[:-1])

    def follow(self, names: Names, found: Found, slash: bool | None) -> tuple[Names, Found]:  # noqa: FBT001
        """Return the path and the content to which a rule rewrites a request.

        `names` is the destination of the rule, and `found` is what was found there. `slash` tells
        whether the request's path ends with a slash; None if that makes no difference. Clients
        resolve relative links against the request's path. So a redirect is returned for a folder
        if that path has no final slash, and for a page if it has one.
        """
        content = self.content(names, found)
        wanted = True if names[-1] == "" else None
        if isinstance(found, SlashRedirect):
            wanted = found.is_folder
            names = (*names, "") if wanted else names[:-1]
        is_there = isinstance(content, File | Precompressed | Directory)
        if is_there and slash is not None and wanted is not None and wanted is not slash:
            return names, SlashRedirect(content.dependencies, is_folder=wanted)
        return names, content

    def nearest_page(self, names: Names) -> tuple[File | Precompressed | None, Names, Dependencies]:
        """Return the 404.html nearest upward from the path `names`; None if there is none.

        Also return the nearest folder that exists, and the dependencies of the search.
        """
        is_below = self._is_below_base(names)
        names = names[len(self._base) :] if is_below else ()
        folders = () if is_hidden(names, hidden=self._hidden) else names[:-1]
        page, there, dependencies = self._search_page(folders)
        return page, (*self._base, *there) if is_below else (), dependencies

    def _search_page(
        self, folders: Names
    ) -> tuple[File | Precompressed | None, Names, Dependencies]:
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

    def _is_below_base(self, names: Names) -> bool:
        return len(names) > len(self._base) and names[: len(self._base)] == self._base

    def _page(self, names: Names, found: Missing | SlashRedirect | Directory) -> Found:
        """Return about.html for /about, and a redirect to /about for /about/, else `found`."""
        slash = names[-1] == ""
        stem = names[:-1] if slash else names
        in_folder = slash or not isinstance(found, Missing) or found.in_folder
        if not in_folder or not stem or not stem[-1] or stem[-1].endswith(_PAGE_SUFFIX):
            return found
        page = self._origin.look_up((*stem[:-1], stem[-1] + _PAGE_SUFFIX))
        dependencies = merge(found.dependencies, page.dependencies)
        if isinstance(page, File | Precompressed):
            self._note("File: /%s is used.", "/".join(page.names))
            if slash:
                return SlashRedirect(dependencies, is_folder=False)
            return page.depending_on(dependencies)
        if isinstance(found, Missing):
            return Missing(dependencies, in_folder=found.in_folder)
        if isinstance(found, SlashRedirect):
            return SlashRedirect(dependencies)
        found.dependencies = dependencies
        return found
