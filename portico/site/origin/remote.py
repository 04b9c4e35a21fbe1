"""Files on file systems whose every answer may take its time: those of a network, or of a daemon.

Rule: what the system mounts there is known by its kind (proc(5), /proc/PID/mountinfo). A look at
such a path can hang for as long as a server elsewhere does, so a thread looks first; for a moment
after that the system is taken to remember the answers, and the loop looks, too. Nothing of it is
reused, since to see whether it still holds would be one more look.

Limits: told on Linux only. A symlink that leads there from elsewhere is not seen, and neither is
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
"""For how long a remote file system is taken to remember what it has just been asked."""
_PATHS = 4096
"""Paths of which is known when a thread looked at them."""
_TABLE = "/proc/self/mountinfo"
_REMOTE = frozenset(
    {
        *("9p", "afs", "autofs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "lustre"),
        *("ncpfs", "nfs", "nfs4", "orangefs", "smb3", "smbfs", "virtiofs"),
    }
)


class RemoteOrigin:
    """An origin: `folder`, with a thread that looks first where that is remote."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.freshness = folder.freshness
        self._looked_at: dict[str, float] = {}
        self._places: tuple[str, ...] = ()
        self.refresh()

    def refresh(self) -> None:
        """Find out anew what is remote."""
        self._places = remote_places(self._folder.real_path)

    def look_up(self, names: tuple[str, ...]) -> Found:
        """What the path of `names` stands for. Raises Waiting."""
        if not self._places or "" in names[:-1]:
            return self._folder.look_up(names)
        _, file = self._folder.paths(names)
        place = next((place for place in self._places if file.startswith(place)), None)
        if place is None:
            return self._folder.look_up(names)
        if self._looked_at.get(file, 0) < time.monotonic():
            raise Waiting(place, partial(self._look_ahead, file))
        found = self._folder.look_up(names)
        if isinstance(found, File) and isinstance(found.content, FileSlice):
            found.content.file.is_remote = True
            found.content.file.be_warm(0, SMALL)  # by the thread
        if isinstance(found, File | Precompressed):
            return found.depending_on(None)
        if isinstance(found, Missing | SlashRedirect):
            found.dependencies = None
        return found

    def _look_ahead(self, file: str) -> None:
        """In a thread: ask what a look-up will ask, so that the system knows the answers."""
        for suffix in ("", *SUFFIXES.values()):
            with contextlib.suppress(OSError, ValueError):
                if stat.S_ISREG(os.stat(file + suffix).st_mode) and not suffix:
                    opened, _ = open_file(file, OPENING, self.freshness)
                    opened.read(SMALL, 0)
        if len(self._looked_at) >= _PATHS:
            self._looked_at.clear()
        self._looked_at[file] = time.monotonic() + REMEMBERED_SECONDS


def remote_places(root: str, table: str = _TABLE) -> tuple[str, ...]:
    """The paths at and below the folder `root`, each with a slash at its end, that are remote.

    `root` is a real path. If it is remote itself, that is all there is to say.
    """
    kinds: dict[str, str] = {}  # by mount point; the last one mounted at a place is on top
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
    """The mount point on a line of the table, and the kind of what is mounted there."""
    before, _, behind = line.partition(" - ")
    place = before.split(" ")[4]
    for code, character in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        place = place.replace(code, character)
    return os.path.join(place, ""), behind.split(" ")[0]


def _is_remote(kind: str) -> bool:
    return kind in _REMOTE or kind == "fuse" or kind.startswith("fuse.")
