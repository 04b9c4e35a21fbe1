"""Walks the folders of a site, and returns the entries of each.

Rule: all entries are returned, even those that are not served, but only folders that requests can
reach are entered. A folder that has several paths is entered once, by a path without symlinks if
there is one.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from portico.site.dotfiles import is_hidden
from portico.site.origin.fingerprint import is_below, status_of
from portico.site.rules.rulebook import is_rules_file

if TYPE_CHECKING:
    from collections.abc import Iterator

Names = tuple[str, ...]


class Item:
    """One entry of a folder. For a symlink, its status is that of its target."""

    def __init__(self, names: Names, path: str, root: str, *, is_link: bool) -> None:
        self.names = names
        self.name = names[-1]
        self.shown = "/".join(names)
        """The path below the root."""
        self.path = path
        """The path on disk."""
        self.status: os.stat_result | None = None
        self.problem: OSError | None = None
        """Why there is no status; None if there is one, or the target of a symlink is missing."""
        try:
            self.status = os.stat(path)
        except OSError as problem:
            if status_of(problem) != 404:
                self.problem = problem
        mode = 0 if self.status is None else self.status.st_mode
        self.is_folder, self.is_file = stat.S_ISDIR(mode), stat.S_ISREG(mode)
        self.is_link = is_link
        self.leads_out = is_link and not is_below(os.path.realpath(path), root)
        """Whether this is a symlink to a target outside the root."""
        self.is_hidden = is_hidden(names)
        self.is_rules_file = is_rules_file(names)
        self.is_reachable = not (self.leads_out or self.is_hidden or self.is_rules_file)
        """Whether requests can reach this entry, judged by its path only."""
        self.is_served = self.is_file and self.is_reachable


class Folder(NamedTuple):
    """A folder and its items, sorted by name."""

    shown: str
    items: list[Item]
    problem: OSError | None
    """Why the entries cannot be read; None if they can."""


def walk(root: str, *, through_links: bool = True) -> Iterator[Folder]:
    """Yield each folder that requests can reach, the root first. `root` is a real path.

    With `through_links`, symlinks to folders are followed as well, after all other folders.
    """
    seen: set[tuple[int, int]] = set()
    folders: list[tuple[Names, str]] = [((), root)]
    links: deque[tuple[Names, str]] = deque()
    while folders or links:
        names, path = folders.pop() if folders else links.popleft()
        try:
            status = os.stat(path)
        except OSError:  # the folder was removed meanwhile
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        items: list[Item] = []
        problem = None
        try:
            with os.scandir(path) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    is_link = entry.is_symlink()
                    items.append(Item((*names, entry.name), entry.path, root, is_link=is_link))
        except OSError as error:
            problem = error
        yield Folder("/".join(names), items, problem)
        below = [item for item in items if item.is_folder and item.is_reachable]
        folders += [(item.names, item.path) for item in reversed(below) if not item.is_link]
        if through_links:
            links += [(item.names, item.path) for item in below if item.is_link]
