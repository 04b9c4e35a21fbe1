"""The folders of a site one after the other, with what lies in them.

Rule: every name is listed, also those that are not served; only folders that requests can reach are
entered. A folder that several paths lead to is entered once, by its real path if that is one of
them.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from functools import cached_property
from typing import TYPE_CHECKING

from portico.site.origin.stat import is_below, status_of
from portico.site.rules.rulebook import is_rules_file
from portico.site.target import is_hidden

if TYPE_CHECKING:
    from collections.abc import Iterator

Names = tuple[str, ...]


class Item:
    """One name in a folder."""

    def __init__(self, names: Names, path: str, root: str, *, is_link: bool) -> None:
        self.names = names
        """Its path below the root."""
        self.path = path
        """Its path on disk."""
        self.is_link = is_link
        self.leads_out = is_link and not is_below(os.path.realpath(path), root)
        """Whether it is a symlink to something outside of the root."""
        self.problem: OSError | None = None
        """Why its status cannot be read; None also for a symlink that leads to nothing."""
        self.status: os.stat_result | None = None
        """The status of what it leads to."""
        try:
            self.status = os.stat(path)
        except OSError as problem:
            if status_of(problem) != 404:
                self.problem = problem

    @property
    def name(self) -> str:
        """Its last name."""
        return self.names[-1]

    @property
    def shown(self) -> str:
        """Its path below the root as one text."""
        return "/".join(self.names)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, or a symlink to one."""
        return self.status is not None and stat.S_ISDIR(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file, or a symlink to one."""
        return self.status is not None and stat.S_ISREG(self.status.st_mode)

    @cached_property
    def is_hidden(self) -> bool:
        """Whether a name in its path begins with a dot, so that it is never served."""
        return is_hidden(self.names)

    @property
    def is_reachable(self) -> bool:
        """Whether its path does not keep requests from it."""
        return not self.leads_out and not self.is_hidden and not is_rules_file(self.names)

    @property
    def is_served(self) -> bool:
        """Whether it is a file that requests can reach."""
        return self.is_file and self.is_reachable

    @property
    def is_readable(self) -> bool:
        """Whether this user has the right to read it."""
        mode = os.R_OK | os.X_OK if self.is_folder else os.R_OK
        effective = os.access in os.supports_effective_ids
        return os.access(self.path, mode, effective_ids=effective)


class Folder:
    """A folder and its items, sorted by name."""

    def __init__(self, names: Names, path: str, root: str) -> None:
        self.names = names
        self.items: list[Item] = []
        self.problem: OSError | None = None
        """Why its names cannot be read."""
        try:
            with os.scandir(path) as entries:
                self.items = [
                    Item((*names, entry.name), entry.path, root, is_link=entry.is_symlink())
                    for entry in entries
                ]
        except OSError as problem:
            self.problem = problem
        self.items.sort(key=lambda item: item.name)


def walk(root: str, *, through_links: bool = True) -> Iterator[Folder]:
    """Yield each folder that requests can reach, perhaps only through a symlink to a folder.

    `root` is a real path.
    """
    seen: set[tuple[int, int]] = set()
    folders: list[tuple[Names, str]] = [((), root)]
    links: deque[tuple[Names, str]] = deque()
    while folders or links:
        names, path = folders.pop() if folders else links.popleft()
        try:
            status = os.stat(path)
        except OSError:  # it has gone meanwhile
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        folder = Folder(names, path, root)
        yield folder
        below = [item for item in folder.items if item.is_folder and item.is_reachable]
        folders += [(item.names, item.path) for item in reversed(below) if not item.is_link]
        if through_links:
            links += [(item.names, item.path) for item in below if item.is_link]
