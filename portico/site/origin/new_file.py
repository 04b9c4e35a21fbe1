"""A file that is being written and has no name yet, or a hidden one.

A hidden one is locked as long as its writer lives, so one that a killed process left is told from
one that is being written.
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
"""How a file is opened: no link is followed, and a pipe in its place is not waited for."""
HIDDEN_PREFIX = ".new-"
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})


class NewFile:
    """A file that is being written and has no name yet. To be closed in any case.

    A process that dies leaves nothing, or a hidden file that `WritableFolder.sweep` finds.
    """

    __slots__ = ("_hidden", "_keeps_hidden", "_staging", "fd")

    def __init__(
        self, fd: int, staging: int | None = None, hidden: str = "", *, keeps_hidden: bool = False
    ) -> None:
        """`staging` is the folder in which its hidden name is; `close` closes both.

        With `keeps_hidden` it has the hidden name on, unless it has taken another.
        """
        self.fd = fd
        self._staging = staging
        self._hidden = hidden
        self._keeps_hidden = keeps_hidden

    def write(self, pieces: list[bytes]) -> None:
        """Append `pieces`. Raises OSError."""
        while pieces:
            count = os.writev(self.fd, pieces[:512])
            while pieces and count >= len(pieces[0]):
                count -= len(pieces.pop(0))
            if count:
                pieces[0] = pieces[0][count:]

    def status(self) -> os.stat_result:
        """Return its status. Raises OSError."""
        return os.fstat(self.fd)

    def link(self, folder: int, name: str) -> None:
        """Give it a name that is free. Raises FileExistsError."""
        if self._staging is None:
            os.link(f"/proc/self/fd/{self.fd}", name, dst_dir_fd=folder)
        else:
            try:
                link(self._hidden, self._staging, name, folder)
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS:
                    raise
                os.replace(self._hidden, name, src_dir_fd=self._staging, dst_dir_fd=folder)
                self._hidden = ""

    def replace(self, folder: int, name: str, open_staging: Callable[[], int]) -> None:
        """Take the place of the file called `name`, by a hidden name if it has none yet."""
        if self._staging is None:
            lock(self.fd)  # or it could be swept in the moment in which it has a hidden name
            self._hidden, self._staging = hidden_name(), open_staging()
            os.link(f"/proc/self/fd/{self.fd}", self._hidden, dst_dir_fd=self._staging)
        os.replace(self._hidden, name, src_dir_fd=self._staging, dst_dir_fd=folder)
        self._hidden = ""

    def close(self) -> None:
        """Close it; without a name it is gone."""
        if self.fd >= 0:
            with contextlib.suppress(OSError):  # what has to be safe was synced before
                os.close(self.fd)
            self.fd = -1
        if self._staging is not None:
            if self._hidden and not self._keeps_hidden:
                with contextlib.suppress(OSError):
                    os.unlink(self._hidden, dir_fd=self._staging)
            os.close(self._staging)
            self._staging = None


def hidden_name() -> str:
    """Return a name that no file has."""
    return HIDDEN_PREFIX + os.urandom(12).hex()


def link(name: str, folder: int, other: str, other_folder: int) -> None:
    """Give a file another name."""
    os.link(name, other, src_dir_fd=folder, dst_dir_fd=other_folder, follow_symlinks=False)


def lock(fd: int) -> None:
    """Lock an open file or folder until it is closed."""
    if flock is not None:
        with contextlib.suppress(OSError):
            flock(fd, LOCK_EX)


def remove_if_left(name: str, staging: int) -> None:
    """Remove a hidden file unless its writer lives, which holds its lock."""
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
    """Return how many descriptors the system grants this process."""
    try:
        import resource
    except ImportError:
        return sys.maxsize
    granted = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if granted == resource.RLIM_INFINITY else granted
