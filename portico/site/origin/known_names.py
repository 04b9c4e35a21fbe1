"""The names in a folder, so that the disk need not be asked for each one that is not there.

Most of what is looked for beside a file is missing: its precompressed forms, `about.html` for
`/about`. Asking for each costs as much as to open the file.

Rule: `lack` returns True only for a name that the folder lacks as long as its fingerprint stays as
it is; of any other, the disk has to be asked. So does `have_file` for one that is a regular file if
it is there, and can be opened without a look at what it is. Names are read a few at a time.
Limits: only hashes are kept, so a missing name that has the hash of another is asked for. Nothing
is said of folders in which case does not matter or cannot be tried out, of names that are not ASCII
(there are file systems that take several spellings of them for the same), of folders with more than
NAMES_LIMIT names or half of those that are kept, nor where the system cannot read a folder through
its descriptor.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from contextlib import closing, suppress
from itertools import islice
from typing import TYPE_CHECKING

from portico.bounded import BoundedCache
from portico.site.compression.encoders import SUFFIXES
from portico.site.origin.fingerprint import fingerprint

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from portico.site.origin.fingerprint import FolderDependency

NAMES_LIMIT = 1 << 16
"""Names of one folder that are read: a quarter of a MiB of hashes."""
_FOLDER_WEIGHT = 64
"""A folder without any names counts as so many."""
_LOOKS = 8
"""Looks into a folder before its names are read, which costs about as much."""
_READINGS = 4
"""Folders whose names are being read: each holds a descriptor."""
_STEP = 64
"""Names read at a time, in some 20 microseconds."""
_HASH = 0xFFFFFFFF
"""The bits of a name's hash that are kept."""
_CODED = tuple(SUFFIXES.values())
_READABLE = os.scandir in os.supports_fd and hasattr(os, "O_DIRECTORY")


class Names:
    """The names in a folder; without `hashes`, nothing is known of them."""

    __slots__ = ("_hashes", "_others", "may_be_coded")

    def __init__(
        self,
        hashes: list[int] | None = None,
        others: Iterable[int] = (),
        *,
        may_be_coded: bool = True,
    ) -> None:
        """`others` are the hashes of what is no regular file: folders, symlinks, devices."""
        self._hashes = None if hashes is None else array("I", sorted(hashes))
        self._others = array("I", sorted(others))
        self.may_be_coded = may_be_coded
        """False if none of them ends as that of a compressed file does."""

    def lack(self, name: str) -> bool:
        """Return whether there is surely no such name."""
        hashes = self._hashes
        if hashes is None or not name.isascii():
            return False
        return not _is_in(hashes, hash(name) & _HASH)

    def have_file(self, name: str) -> bool:
        """Return whether `name` is surely a regular file, if there is such a name."""
        if self._hashes is None or not name.isascii():
            return False
        return not self._others or not _is_in(self._others, hash(name) & _HASH)

    def __len__(self) -> int:
        """Return how many there are, as far as that is known."""
        return 0 if self._hashes is None else len(self._hashes) + len(self._others)


def _is_in(hashes: array[int], hashed: int) -> bool:
    place = bisect_left(hashes, hashed)
    return place < len(hashes) and hashes[place] == hashed


UNKNOWN = Names()


class KnownNames:
    """The names in those folders that are looked into again and again: at most `limit` names."""

    __slots__ = ("_known", "_looks", "_most", "_readings")

    def __init__(self, limit: int) -> None:
        self._known: BoundedCache[FolderDependency, Names] = BoundedCache(
            limit, lambda _, names: _FOLDER_WEIGHT + len(names)
        )
        self._most = min(NAMES_LIMIT, limit // 2 - _FOLDER_WEIGHT)  # of one folder
        self._looks: BoundedCache[FolderDependency, int] = BoundedCache(limit // _FOLDER_WEIGHT)
        self._readings: dict[FolderDependency, Iterator[Names | None]] = {}

    def of(self, folder: FolderDependency) -> Names:
        """Return the names in `folder`, which has just been checked; UNKNOWN until all are read."""
        names = self._known.get(folder)
        if names is not None:
            return names
        reading = self._readings.get(folder)
        if reading is None:
            reading = self._begin(folder)
        names = None if reading is None else next(reading)
        if names is None:
            return UNKNOWN
        del self._readings[folder]
        self._known.put(folder, names)
        return names

    def _begin(self, folder: FolderDependency) -> Iterator[Names | None] | None:
        """Begin to read the names in `folder`, if that is worth it now."""
        looks = self._looks.get(folder) or 0
        self._looks.put(folder, looks + 1)
        if looks < _LOOKS or not folder.is_settled or self._most <= 0:
            return None
        if len(self._readings) == _READINGS:
            return None
        reading = self._readings[folder] = _read(folder, self._most)
        return reading

    def give_up(self) -> None:
        """Close the folders that are being read, perhaps of no use any more."""
        self._readings.clear()


def _read(folder: FolderDependency, most: int) -> Iterator[Names | None]:
    """Yield None after each step of reading a folder, and its names at the end, if at most `most`.

    Only what is read of the very state that `folder` stands for is true of it.
    """
    names = UNKNOWN
    with suppress(OSError):
        if _READABLE:
            fd = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                if fingerprint(os.fstat(fd)) == folder.fingerprint:
                    names = yield from _read_open(fd, most)
            finally:
                os.close(fd)
    yield names


def _read_open(fd: int, most: int) -> Generator[None, None, Names]:
    """Yield after each step of reading the folder that is open as `fd`; return its names."""
    hashes: list[int] = []
    others: list[int] = []
    with_case, is_coded = "", False
    with closing(os.scandir(fd)) as entries:
        is_last = False
        while not is_last:
            found = []
            for entry in islice(entries, _STEP):
                found.append(entry.name)
                if not entry.is_file(follow_symlinks=False):
                    others.append(hash(entry.name) & _HASH)
            is_last = len(found) < _STEP
            hashes += [hash(name) & _HASH for name in found]
            if len(hashes) > most:
                return UNKNOWN
            with_case = with_case or next(filter(_has_case, found), "")
            is_coded = is_coded or any(name.lower().endswith(_CODED) for name in found)
            if not is_last:
                yield
    names = Names(hashes, others, may_be_coded=is_coded)
    if not hashes or (with_case and _case_matters(with_case.swapcase(), names, fd)):
        return names
    return UNKNOWN


def _has_case(name: str) -> bool:
    return name.isascii() and name.swapcase() != name


def _case_matters(name: str, names: Names, fd: int) -> bool:
    """Return whether the system does not find a `name` that is spelt otherwise in the folder."""
    if names.lack(name):
        with suppress(FileNotFoundError):
            os.lstat(name, dir_fd=fd)
            return False
    return True
