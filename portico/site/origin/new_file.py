"""Temporary files: files that are being written, and have no name yet, or a hidden one.

A file with a hidden name is locked as long as its writer lives. So a file that a killed process has
left can be told from one that is being written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:
    flock = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable

NO_LINK = getattr(os, "O_NOFOLLOW", 0)
READ_FILE = os.O_RDONLY | NO_LINK | getattr(os, "O_NONBLOCK", 0)
"""Flags to open a file for reading: no symlink is followed, and a FIFO does not block."""
HIDDEN_PREFIX = ".new-"
NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
"""The errors of link(2) on file systems without hard links."""


class NewFile:
    """A temporary file. Call `close` in any case.

    A process that dies leaves nothing, or a hidden file that `WritableFolder.sweep` removes.
    """

    __slots__ = ("_hidden", "_keeps_hidden", "_staging", "fd")

    def __init__(
        self, fd: int, staging: int | None = None, hidden: str = "", *, keeps_hidden: bool = False
    ) -> None:
        """`staging` is the descriptor of the folder that has the hidden name, if there is one.

        `close` closes both descriptors, and deletes the hidden name unless `keeps_hidden`.
        """
        self.fd = fd
        self._staging = staging
        self._hidden = hidden
        self._keeps_hidden = keeps_hidden

    def write(self, pieces: list[bytes]) -> None:
        """Write `pieces`, and empty the list. Raises OSError."""
        while pieces:
            count = os.writev(self.fd, pieces[:512])
            while pieces and count >= len(pieces[0]):
                count -= len(pieces.pop(0))
            if count:
                pieces[0] = pieces[0][count:]

    def status(self) -> os.stat_result:
        """Return the status of the file. Raises OSError."""
        return os.fstat(self.fd)

    def link(self, folder: int, name: str) -> None:
        """Give the file a name that is free. Raises FileExistsError if it is not, or OSError."""
        if self._staging is None:
            os.link(f"/proc/self/fd/{self.fd}", name, dst_dir_fd=folder)
        else:
            try:
                link(self._hidden, self._staging, name, folder)
            except OSError as error:
                if error.errno not in NO_HARD_LINKS:
                    raise
                os.replace(self._hidden, name, src_dir_fd=self._staging, dst_dir_fd=folder)
                self._hidden = ""

    def replace(self, folder: int, name: str, open_staging: Callable[[], int]) -> None:
        """Replace the file called `name`. Raises OSError.

        A file without a name gets a hidden one first, in the folder that `open_staging` opens.
        """
        if self._staging is None:
            lock(self.fd)  # else `sweep` could delete the hidden name before it is used
            self._hidden, self._staging = hidden_name(), open_staging()
            os.link(f"/proc/self/fd/{self.fd}", self._hidden, dst_dir_fd=self._staging)
        os.replace(self._hidden, name, src_dir_fd=self._staging, dst_dir_fd=folder)
        self._hidden = ""

    def close(self) -> None:
        """Close the file, which deletes it unless it has its name."""
        if self.fd >= 0:
            with contextlib.suppress(OSError):  # durable content was synced before
                os.close(self.fd)
            self.fd = -1
        if self._staging is not None:
            if self._hidden and not self._keeps_hidden:
                with contextlib.suppress(OSError):
                    os.unlink(self._hidden, dir_fd=self._staging)
            os.close(self._staging)
            self._staging = None


def hidden_name() -> str:
    """Return a random hidden name, which no file has."""
    return HIDDEN_PREFIX + os.urandom(12).hex()


def link(name: str, folder: int, other: str, other_folder: int) -> None:
    """Give the file `name` in `folder` a second name: `other` in `other_folder`."""
    os.link(name, other, src_dir_fd=folder, dst_dir_fd=other_folder, follow_symlinks=False)


def lock(fd: int) -> None:
    """Wait for the lock of an open file or folder, kept until it is closed. Errors are ignored."""
    if flock is not None:
        with contextlib.suppress(OSError):
            flock(fd, LOCK_EX)


def remove_if_left(name: str, staging: int) -> None:
    """Remove a hidden file, unless it is locked because its writer lives."""
    if flock is None:
        return
    with contextlib.suppress(OSError):
        fd = os.open(name, READ_FILE, dir_fd=staging)
        try:
            flock(fd, LOCK_EX | LOCK_NB)
            os.unlink(name, dir_fd=staging)
        finally:
            os.close(fd)


def descriptors_granted() -> int:
    """Return how many file descriptors this process may have open."""
    try:
        import resource
    except ImportError:
        return sys.maxsize
    granted = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if granted == resource.RLIM_INFINITY else granted
