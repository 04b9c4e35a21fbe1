"""The folders of a site one after the other, with what lies in them.

Rule: every name is seen, also those that are not served; only folders that requests can reach are
entered. A folder that several paths lead to is entered once, by its real path if that is one.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from typing import TYPE_CHECKING

from portico.site.rules.rulebook import is_rules_file
from portico.site.target import is_hidden

if TYPE_CHECKING:
    from collections.abc import Iterator

Names = tuple[str, ...]


class Item:
    """One name in a folder."""

    __slots__ = ("is_link", "leads_out", "names", "path", "status")

    def __init__(self, names: Names, path: str, root: str, *, is_link: bool) -> None:
        self.names = names
        """Its path below the root."""
        self.path = path
        """Its path on disk."""
        self.is_link = is_link
        self.leads_out = is_link and not _is_below(os.path.realpath(path), root)
        """It is a symlink to somewhere that is not in the root."""
        self.status = _status(path)
        """Of what it leads to; None for a symlink that leads nowhere."""

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
        """Is it a folder, or a symlink to one?"""
        return self.status is not None and stat.S_ISDIR(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        """Is it a regular file, or a symlink to one?"""
        return self.status is not None and stat.S_ISREG(self.status.st_mode)

    @property
    def is_hidden(self) -> bool:
        """Does its path have a dot name, so that it is never served?"""
        return is_hidden(self.names)

    @property
    def is_reachable(self) -> bool:
        """Can a request lead to it, as far as its path tells?"""
        return not self.leads_out and not self.is_hidden and not is_rules_file(self.names)

    @property
    def is_served(self) -> bool:
        """Is it a file, and one that a request can lead to?"""
        return self.is_file and self.is_reachable

    @property
    def is_readable(self) -> bool:
        """Has this user the right to read it?"""
        mode = os.R_OK | os.X_OK if self.is_folder else os.R_OK
        effective = os.access in os.supports_effective_ids
        return os.access(self.path, mode, effective_ids=effective)


def walk(root: str) -> Iterator[list[Item]]:
    """What lies in each folder that requests can reach, sorted by name.

    `root` is a real path. A folder that cannot be read, or has gone meanwhile, is passed over.
    """
    seen: set[tuple[int, int]] = set()
    folders: list[tuple[Names, str]] = [((), root)]
    links: deque[tuple[Names, str]] = deque()
    while folders or links:
        names, path = folders.pop() if folders else links.popleft()
        status = _status(path)
        if status is None or (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        items = _items(names, path, root)
        yield items
        below = [item for item in items if item.is_folder and item.is_reachable]
        folders += [(item.names, item.path) for item in reversed(below) if not item.is_link]
        links += [(item.names, item.path) for item in below if item.is_link]


def _items(names: Names, path: str, root: str) -> list[Item]:
    try:
        with os.scandir(path) as entries:
            found = [
                Item((*names, entry.name), entry.path, root, is_link=entry.is_symlink())
                for entry in entries
            ]
    except OSError:
        return []
    return sorted(found, key=lambda item: item.name)


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))
