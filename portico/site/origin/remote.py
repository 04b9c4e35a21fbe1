"""File systems where any call may block: network mounts, and FUSE daemons.

Rule: they are recognized by their type in /proc/self/mountinfo (proc(5)). A look at such a path can
hang as long as its server does, so a thread looks first; for a moment after that the system is
trusted to remember the answers, and the loop looks, too. Nothing found there is reused, because
checking whether it still holds would be one more look.

Limits: recognized on Linux only. A symlink from elsewhere that leads there is not noticed, nor is
what is mounted later, until `refresh`.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from functools import partial
from typing import TYPE_CHECKING

from portico.site.compression.encoders import SUFFIXES
from portico.site.origin.folder import OPENING, SMALL
from portico.site.origin.open_file import FileSlice, Waiting, open_file
from portico.site.origin.protocol import File, Missing, Precompressed, SlashRedirect

if TYPE_CHECKING:
    from portico.site.origin.folder import Folder
    from portico.site.origin.protocol import Found

REMEMBERED_SECONDS = 1.0
"""How long the system is trusted to remember what it has just been asked about a remote path."""
_LIMIT = 4096
"""Paths of which it is known when a thread looked at them."""
_TABLE = "/proc/self/mountinfo"
_REMOTE = frozenset(
    {
        *("9p", "afs", "autofs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "lustre"),
        *("ncpfs", "nfs", "nfs4", "orangefs", "smb3", "smbfs", "virtiofs"),
    }
)


class RemoteOrigin:
    """An origin: `folder`, except that a thread looks first where the path is remote."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.freshness = folder.freshness
        self._looked_at: dict[str, float] = {}
        self._mounts: tuple[str, ...] = ()
        self.refresh()

    def refresh(self) -> None:
        """Read again what is mounted."""
        self._mounts = remote_mounts(self._folder.real_path)

    def look_up(self, names: tuple[str, ...]) -> Found:
        """Return what is at the path `names`. Raises Waiting."""
        if not self._mounts or "" in names[:-1]:
            return self._folder.look_up(names)
        _, file = self._folder.paths(names)
        place = next((place for place in self._mounts if file.startswith(place)), None)
        if place is None:
            return self._folder.look_up(names)
        if self._looked_at.get(file, 0) < time.monotonic():
            raise Waiting(place, partial(self._look_ahead, file))
        found = self._folder.look_up(names)
        if isinstance(found, File) and isinstance(found.content, FileSlice):
            found.content.file.is_remote = True
            found.content.file.be_warm(0, SMALL)  # the thread has read it
        if isinstance(found, File | Precompressed):
            return found.depending_on(None)
        if isinstance(found, Missing | SlashRedirect):
            found.dependencies = None
        return found

    def _look_ahead(self, file: str) -> None:
        """In a thread: make the calls of a look-up, so that the system knows the answers."""
        for suffix in ("", *SUFFIXES.values()):
            with contextlib.suppress(OSError, ValueError):
                if stat.S_ISREG(os.stat(file + suffix).st_mode) and not suffix:
                    opened, _ = open_file(file, OPENING, self.freshness)
                    opened.read(SMALL, 0)
        if len(self._looked_at) >= _LIMIT:
            self._looked_at.clear()
        self._looked_at[file] = time.monotonic() + REMEMBERED_SECONDS


def remote_mounts(root: str, table: str = _TABLE) -> tuple[str, ...]:
    """Return the remote paths at and below the folder `root`, each with a slash at its end.

    `root` is a real path. If it is remote itself, it is the only one.
    """
    kinds: dict[str, str] = {}  # by mount point; the last one mounted there is on top
    try:
        with open(table, "rb") as file:
            for line in file:
                place, kind = _mount(os.fsdecode(line))
                kinds[place] = kind
    except (OSError, ValueError, IndexError):
        return ()
    root = os.path.join(root, "")
    around = max((place for place in kinds if root.startswith(place)), key=len, default="")
    if _is_remote(kinds.get(around, "")):
        return (root,)
    return tuple(
        [place for place, kind in kinds.items() if place.startswith(root) and _is_remote(kind)]
    )


def _mount(line: str) -> tuple[str, str]:
    """Return the mount point and the file system type on a line of the table."""
    before, _, behind = line.partition(" - ")
    place = before.split(" ")[4]
    for code, character in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        place = place.replace(code, character)
    return os.path.join(place, ""), behind.split(" ")[0]


def _is_remote(kind: str) -> bool:
    return kind in _REMOTE or kind == "fuse" or kind.startswith("fuse.")
