"""The entries of a folder as a listing shows them, and a check whether they have changed.

Rules:
- Entries that may not be served are left out: hidden names, the site's rules files, anything but
  regular files and folders, and symlinks that lead out of the root.
- A listing depends on each entry, because the size or date of an entry can change without a change
  of the folder. So checking a listing costs a stat call for each entry, within the budget of the
  turn.
"""

from __future__ import annotations

import errno
import os
import stat
from array import array
from contextlib import closing
from typing import TYPE_CHECKING

from portico.site.dotfiles import is_dotfile
from portico.site.origin.freshness import Checked
from portico.site.origin.open_file import OPENING
from portico.site.origin.protocol import Entry
from portico.site.rules.rulebook import is_rules_file
from portico.site.target import is_safe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from portico.site.origin.freshness import Freshness
    from portico.site.origin.open_file import OpenFile

    Name = tuple[str, bool]
    """A name in a folder, and whether it is a symlink."""

WHOLE = 500
"""A listing of so many names or more is a stream. A shorter one is made in one piece, in at most
about 3 milliseconds, and kept."""
FOLDER = OPENING | getattr(os, "O_DIRECTORY", 0)
"""The flags with which folders are opened."""

_SERVED = (stat.S_IFREG, stat.S_IFDIR)
_READS_FD = os.scandir in os.supports_fd
_LOOKS_BELOW_FD = os.stat in os.supports_dir_fd


class Reader:
    """Reads the folder at `path`; `leads_inside` tells whether a path leads to a place in the root.

    `is_root` means that rules files in it are left out; with `hidden`, dotfiles are served.
    """

    __slots__ = ("_hidden", "_is_root", "_leads_inside", "_path")

    def __init__(
        self, path: str, leads_inside: Callable[[str], bool], *, is_root: bool, hidden: bool = False
    ) -> None:
        self._hidden = hidden
        self._path = path
        self._leads_inside = leads_inside
        self._is_root = is_root

    def names(self, folder: OpenFile, links: int) -> Iterator[Name]:
        """Yield the names in the open folder that may be served, judged by name. Raises OSError.

        `links` is the folder's hard link count when it was opened.
        """
        with closing(os.scandir(folder.fd if _READS_FD else self._path)) as names:
            for each in names:
                name = each.name
                if is_dotfile(name, hidden=self._hidden) or not is_safe(name):
                    continue
                if not (self._is_root and is_rules_file((name,))):
                    yield name, each.is_symlink()
        # In a folder that was removed, the system reports no more names instead of an error. (Some
        # file systems always report a link count of 0.)
        if links and os.fstat(folder.fd).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "the folder was removed")

    def entries(self, folder: OpenFile, names: Iterable[Name]) -> Iterator[Entry]:
        """Yield the entries with these names, except those that may not be served."""
        for name, is_link in names:
            status = self._look(folder.fd, name, is_link)
            if status is not None:
                yield _entry(name, status)

    def read(
        self, folder: OpenFile, names: list[Name], freshness: Freshness
    ) -> tuple[list[Entry], EntriesDependency]:
        """Return the entries that `entries` would yield, and the dependency on them."""
        found = self.look(folder.fd, names)
        entries = [
            _entry(name, status)
            for (name, _), status in zip(names, found, strict=True)
            if status is not None
        ]
        return entries, EntriesDependency(self, names, _state(found), freshness)

    def is_unchanged(self, names: list[Name], state: array[float]) -> bool:
        """Return whether the entries with these names still have `state` (see `_state`)."""
        try:
            fd = os.open(self._path, FOLDER)
        except OSError:
            return False
        try:
            return _state(self.look(fd, names)) == state
        finally:
            os.close(fd)

    def look(self, fd: int, names: Iterable[Name]) -> list[os.stat_result | None]:
        """Return the status of each of `names` in the open folder; None if it is not served."""
        return [self._look(fd, name, is_link) for name, is_link in names]

    def _look(self, fd: int, name: str, is_link: bool) -> os.stat_result | None:  # noqa: FBT001
        try:
            if is_link and not self._leads_inside(os.path.join(self._path, name)):
                return None
            if _LOOKS_BELOW_FD:
                status = os.stat(name, dir_fd=fd)
            else:
                status = os.stat(os.path.join(self._path, name))
        except OSError:
            return None
        return status if stat.S_IFMT(status.st_mode) in _SERVED else None


class EntriesDependency(Checked):
    """A dependency on type, size and date of entries; new and removed names change the folder."""

    __slots__ = ("_names", "_reader", "_state")

    def __init__(
        self, reader: Reader, names: list[Name], state: array[float], freshness: Freshness
    ) -> None:
        super().__init__(freshness)
        self._reader = reader
        self._names = names
        self._state = state

    def _is_unchanged(self) -> bool:
        """Get the status of each entry again, and compare. Raises Postponed."""
        budget = self._freshness.budget
        budget.check()
        with budget:
            return self._reader.is_unchanged(self._names, self._state)


def _entry(name: str, status: os.stat_result) -> Entry:
    return Entry(name, stat.S_ISDIR(status.st_mode), status.st_size, status.st_mtime)


def _state(found: Iterable[os.stat_result | None]) -> array[float]:
    """Return what a listing shows of entries: mode, size and date of each, in little memory."""
    state = array("d")
    for status in found:
        state.extend(
            (0, 0, 0) if status is None else (status.st_mode, status.st_size, status.st_mtime)
        )
    return state
