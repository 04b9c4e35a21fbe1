"""Fingerprints, which tell one state of a file from another, and dependencies on paths.

Rule: a file's fingerprint is its device, inode, size, mtime and ctime. A dependency holds as long
as its path leads to a file with the same fingerprint.
Limits: a change that does not change the fingerprint is not seen. There are two. One is a change in
place that keeps the size, within one tick of the file system's clock; so a fingerprint that young
proves nothing (`is_settled`). The other is what is written through a memory mapping after the first
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
"""Kernels stamp files with a clock that ticks every 1 to 10 ms; this is well above that."""
_COARSE_CLOCK_NS = 2_000_000_000
"""The coarsest clock in use: FAT's."""

Fingerprint = tuple[int, int, int, int, int]
"""Device, inode, size, mtime_ns, ctime_ns."""


def fingerprint(status: os.stat_result) -> Fingerprint:
    """Return the fingerprint in a stat result."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def is_settled(status: os.stat_result) -> bool:
    """Return whether any later change will change the fingerprint.

    So it is once the file system's clock has ticked after the time stamps of the file.
    """
    now = time.time_ns()
    if status.st_ctime_ns <= now - _COARSE_CLOCK_NS >= status.st_mtime_ns:
        return True
    for stamp in (status.st_ctime_ns, status.st_mtime_ns):
        age = abs(now - stamp)
        if age < _FINE_CLOCK_NS or (age < _COARSE_CLOCK_NS and stamp % 1_000_000_000 == 0):
            return False
    return True


def status_of(error: OSError) -> int:
    """Return the HTTP status for an OSError, whose own text is never sent to a client."""
    return _STATUS.get(error.errno or 0, 500)


def why_unreadable(path: str, error: OSError) -> str:
    """Return why the file at `path` cannot be opened, for the operator."""
    if isinstance(error, PermissionError) and os.access(path, os.R_OK):  # access() ignores Landlock
        return (
            "it was replaced where the sandbox lets only the file of the start be read; restart "
            "or reload, and keep it in a folder of its own"
        )
    return error.strerror or ""


_STATUS = {
    errno.ENOENT: 404,
    errno.ENOTDIR: 404,
    errno.ELOOP: 404,
    errno.ENAMETOOLONG: 404,
    errno.EINVAL: 404,
    errno.ENXIO: 404,
    errno.EACCES: 403,
    errno.EPERM: 403,
    errno.EROFS: 403,
    errno.EEXIST: 409,
    errno.EISDIR: 409,
    errno.EMFILE: 503,
    errno.ENFILE: 503,
    errno.ENOMEM: 503,
    errno.EAGAIN: 503,
    # The server or daemon of the file system cannot be reached now.
    errno.ENOTCONN: 503,
    errno.ECONNABORTED: 503,
    errno.ECONNREFUSED: 503,
    errno.ETIMEDOUT: 503,
    errno.EHOSTUNREACH: 503,
    errno.ENOSPC: 507,
    errno.EDQUOT: 507,
}


class Disturbed(Exception):  # noqa: N818 (a fact, not an error of ours)
    """What a path leads to changed during the look-up, which has to be repeated."""


class PathDependency(Checked):
    """A path and the fingerprint of the file that it leads to; None if there is no such file."""

    __slots__ = ("_path", "fingerprint", "is_settled")

    def __init__(self, path: str, status: os.stat_result | None, freshness: Freshness) -> None:
        self._freshness = freshness  # what Checked.__init__ does, in less time
        self.checked = freshness.round
        self._path = path
        self.fingerprint = None if status is None else fingerprint(status)
        self.is_settled = status is None or is_settled(status)

    def _is_unchanged(self) -> bool:
        """Return whether the path leads to the same file, in the same state."""
        try:
            now = fingerprint(os.stat(self._path))
        except OSError as error:
            return self.fingerprint is None and status_of(error) == 404
        return now == self.fingerprint and self.is_settled


class FolderDependency(Checked):
    """A folder by its real path, and its fingerprint, which changes with the names in the folder.

    It shows two changes that the file itself does not show: that another file has appeared beside
    it (a precompressed sibling, a file that was missing), and that a folder above was moved out of
    the root and replaced by a symlink to it.
    """

    __slots__ = ("fingerprint", "is_settled", "path")

    def __init__(self, path: str, freshness: Freshness) -> None:
        """Raises Disturbed if `path` is not a folder, or is a symlink to one; OSError."""
        super().__init__(freshness)
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode):
            raise Disturbed
        self.path = path
        self.fingerprint = fingerprint(status)
        self.is_settled = is_settled(status)

    def _is_unchanged(self) -> bool:
        """Return whether the same folder, with the same names, is at the path."""
        try:
            now = fingerprint(os.lstat(self.path))
        except OSError:
            return False
        return now == self.fingerprint and self.is_settled


def absolute(path: str) -> str:
    """Return `path` as an absolute path, with all its names.

    os.path.abspath() takes "link/.." for ".", but the system follows the link. The current folder
    is read only for a relative path, since it may have been deleted.
    """
    return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)


def is_below(path: str, folder: str) -> bool:
    """Return whether `path` is `folder` or lies in it. Both are real paths."""
    return path == folder or path.startswith(os.path.join(folder, ""))


def real_path(fd: int, path: str) -> str:
    """Return the real path of an open descriptor; `path` is the path by which it was opened.

    Raises Disturbed if there is none, because the file was just replaced or deleted.
    """
    try:
        real = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:  # where there is no /proc
        real = ""
    if real and not real.endswith(" (deleted)"):
        return real
    real = os.path.realpath(path)
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.stat(real, follow_symlinks=False), os.fstat(fd)):
            return real
    raise Disturbed


def read_at(fd: int, count: int, offset: int) -> bytes:
    """Return at most `count` bytes of a file from `offset`; waits for the disk. Raises OSError."""
    if _HAS_PREAD:
        return os.pread(fd, count, offset)
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, count)
