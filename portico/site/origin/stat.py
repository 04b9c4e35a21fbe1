"""What the disk is asked about paths, and what tells one state of a file from another.

Rule: a file's fingerprint is its device, inode, size, mtime and ctime. Dependencies hold for
as long as a path leads to the same fingerprint.
Limit: what leaves no trace in a fingerprint is not seen. That is a change in place of the same size
within the same tick of the file system's clock, wherefore nothing is concluded from a fingerprint
that is so young (`is_settled`); and what is written through a memory mapping after its first
change.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from typing import TYPE_CHECKING

from portico.site.origin.freshness import Checked

if TYPE_CHECKING:
    from portico.site.origin.freshness import Freshness

_HAS_PREAD = hasattr(os, "pread")
_FINE_CLOCK_NS = 50_000_000
"""Kernels stamp files with a clock that ticks every 1 to 10 ms; this is well above."""
_COARSE_CLOCK_NS = 2_000_000_000
"""The coarsest clock in use: FAT's."""

Fingerprint = tuple[int, int, int, int, int]
"""What tells one state of a file from another: device, inode, size, mtime_ns, ctime_ns."""


def fingerprint(status: os.stat_result) -> Fingerprint:
    """The fingerprint in a stat result."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def is_settled(status: os.stat_result) -> bool:
    """Would a change from now on show in the fingerprint? No, while its clock stands still."""
    now = time.time_ns()
    for stamp in (status.st_ctime_ns, status.st_mtime_ns):
        age = abs(now - stamp)
        if age < _FINE_CLOCK_NS or (age < _COARSE_CLOCK_NS and stamp % 1_000_000_000 == 0):
            return False
    return True


def status_of(error: OSError) -> int:
    """The status that an error of the operating system comes to. Its text reaches no client."""
    return _STATUS.get(error.errno or 0, 500)


_STATUS = {
    errno.ENOENT: 404,
    errno.ENOTDIR: 404,
    errno.ELOOP: 404,
    errno.ENAMETOOLONG: 404,
    errno.EINVAL: 404,
    errno.ENXIO: 404,
    errno.EACCES: 403,
    errno.EPERM: 403,
    errno.EMFILE: 503,
    errno.ENFILE: 503,
    errno.ENOMEM: 503,
    errno.EAGAIN: 503,
    errno.ENOSPC: 507,
    errno.EDQUOT: 507,
}


class Disturbed(Exception):  # noqa: N818 (a fact, not an error of ours)
    """What a path leads to changed while it was looked up: look again."""


class PathDependency(Checked):
    """A path and the fingerprint of what it leads to; None for a path that leads nowhere."""

    __slots__ = ("_path", "_settled", "fingerprint")

    def __init__(self, path: str, status: os.stat_result | None, freshness: Freshness) -> None:
        super().__init__(freshness)
        self._path = path
        self.fingerprint = None if status is None else fingerprint(status)
        self._settled = status is None or is_settled(status)

    def _is_unchanged(self) -> bool:
        """Return whether the path leads to the same file, in the same state."""
        try:
            now = fingerprint(os.stat(self._path))
        except OSError as error:
            return self.fingerprint is None and status_of(error) == 404
        return now == self.fingerprint and self._settled


class FolderDependency(Checked):
    """A folder by its real path, as the place of names: it changes when a name comes or goes.

    Without it nobody would notice that something appeared beside a file (a coded sibling, a file
    that had been missing), or that a folder above was moved out of the root and linked from its old
    place: the file itself shows no change then.
    """

    __slots__ = ("_fingerprint", "_path", "_settled")

    def __init__(self, path: str, freshness: Freshness) -> None:
        """Raises Disturbed if there is no folder at `path`, but perhaps a symlink to one."""
        super().__init__(freshness)
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode):
            raise Disturbed
        self._path = path
        self._fingerprint = fingerprint(status)
        self._settled = is_settled(status)

    def _is_unchanged(self) -> bool:
        """Return whether the same folder, with the same names, is at the path."""
        try:
            now = fingerprint(os.lstat(self._path))
        except OSError:
            return False
        return now == self._fingerprint and self._settled


def is_below(path: str, folder: str) -> bool:
    """Return whether `path` is `folder` or lies in it. Both are real paths."""
    return path == folder or path.startswith(os.path.join(folder, ""))


def real_path(fd: int, path: str) -> str:
    """Where the open descriptor really lies; `path` is what it was opened by.

    Raises Disturbed when that cannot be told, as for a file that was just replaced or deleted.
    """
    with contextlib.suppress(OSError):  # where there is no /proc
        real = os.readlink(f"/proc/self/fd/{fd}")
        if not real.endswith(" (deleted)"):
            return real
    real = os.path.realpath(path)
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.stat(real, follow_symlinks=False), os.fstat(fd)):
            return real
    raise Disturbed


def read_at(fd: int, count: int, offset: int) -> bytes:
    """At most `count` octets of a file from `offset`."""
    if _HAS_PREAD:
        return os.pread(fd, count, offset)
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, count)
