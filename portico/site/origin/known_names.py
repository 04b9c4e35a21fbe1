"""Which names are in a folder, so that a name known to be missing costs no access to the disk.

Most names that a request makes the server look for do not exist: the precompressed siblings of a
file, `about.html` for `/about`. Looking for one of them on disk costs as much as opening the file.

Rules:
- `Names.lack` returns True only for a name that is not in the folder, as long as the folder's
  fingerprint is the same. For any other name, the disk has to be asked.
- `Names.have_file` returns True only for a name that is a regular file if it is in the folder, so
  it can be opened without a stat call before.
- Names are read a few at a time.

Limits: only hashes are kept, so a missing name with the hash of another one is looked for on disk.
Nothing is known of:
- folders in which case does not matter, or in which that cannot be tested,
- names that are not ASCII, because some file systems take several spellings for the same name,
- folders with more than NAMES_LIMIT names, or more than half the names kept for all folders,
- any folder, if the system cannot read folders through a descriptor.
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
"""Most names of one folder that are read: a quarter of a MiB of hashes."""
_FOLDER_WEIGHT = 64
"""Besides its names, each folder counts as so many names."""
_LOOKS = 8
"""Calls of `of` for a folder before its names are read: they cost about as much as reading it."""
_READINGS = 4
"""Most folders that are being read at once: each takes a descriptor."""
_STEP = 64
"""Names read at a time, in some 20 microseconds."""
_HASH = 0xFFFFFFFF
"""The bits of a name's hash that are kept."""
_CODED = tuple(SUFFIXES.values())
_READABLE = os.scandir in os.supports_fd and hasattr(os, "O_DIRECTORY")


class Names:
    """The hashes of the names in a folder; if `hashes` is None, the names are unknown."""

    __slots__ = ("_hashes", "_others", "may_be_coded")

    def __init__(
        self,
        hashes: list[int] | None = None,
        others: Iterable[int] = (),
        *,
        may_be_coded: bool = True,
    ) -> None:
        """`others` are hashes of names that are not regular files: folders, symlinks, devices."""
        self._hashes = None if hashes is None else array("I", sorted(hashes))
        self._others = array("I", sorted(others))
        self.may_be_coded = may_be_coded
        """False if no name ends with the suffix of a compressed file."""

    def lack(self, name: str) -> bool:
        """Return True if `name` is certainly not in the folder."""
        hashes = self._hashes
        if hashes is None or not name.isascii():
            return False
        return not _is_in(hashes, hash(name) & _HASH)

    def have_file(self, name: str) -> bool:
        """Return True if `name` is certainly either a regular file or not in the folder."""
        if self._hashes is None or not name.isascii():
            return False
        return not self._others or not _is_in(self._others, hash(name) & _HASH)

    def __len__(self) -> int:
        """Return how many hashes are kept."""
        return 0 if self._hashes is None else len(self._hashes) + len(self._others)


def _is_in(hashes: array[int], hashed: int) -> bool:
    place = bisect_left(hashes, hashed)
    return place < len(hashes) and hashes[place] == hashed


UNKNOWN = Names()


class KnownNames:
    """The names in frequently used folders: at most `limit` names in all."""

    __slots__ = ("_known", "_looks", "_most", "_readings")

    def __init__(self, limit: int) -> None:
        self._known: BoundedCache[FolderDependency, Names] = BoundedCache(
            limit, lambda _, names: _FOLDER_WEIGHT + len(names)
        )
        self._most = min(NAMES_LIMIT, limit // 2 - _FOLDER_WEIGHT)  # names of one folder
        self._looks: BoundedCache[FolderDependency, int] = BoundedCache(limit // _FOLDER_WEIGHT)
        self._readings: dict[FolderDependency, Iterator[Names | None]] = {}

    def of(self, folder: FolderDependency) -> Names:
        """Return the names in `folder`, or UNKNOWN until all are read; each call reads a few.

        The caller has just checked that `folder` holds.
        """
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
        """Begin to read the names in `folder`; None if it is used too rarely, or cannot be read."""
        looks = self._looks.get(folder) or 0
        self._looks.put(folder, looks + 1)
        if looks < _LOOKS or not folder.is_settled or self._most <= 0:
            return None
        if len(self._readings) == _READINGS:
            return None
        reading = self._readings[folder] = _read(folder, self._most)
        return reading

    def give_up(self) -> None:
        """Close the folders that are being read, as they may not be used any more."""
        self._readings.clear()


def _read(folder: FolderDependency, most: int) -> Iterator[Names | None]:
    """Yield None after each step of reading a folder; at the end its names, or UNKNOWN.

    UNKNOWN if there are more than `most`, or the folder differs from the state known as `folder`.
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
    """Yield after each step of reading the folder with the descriptor `fd`; return its names."""
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
    """Return whether case matters: `name`, a name in the folder in swapped case, is not found."""
    if names.lack(name):
        with suppress(FileNotFoundError):
            os.lstat(name, dir_fd=fd)
            return False
    return True
