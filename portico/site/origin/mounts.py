"""File systems where any call may block: network mounts, and FUSE daemons.

They are recognized by their type in /proc/self/mountinfo (proc(5)). Only threads access them, and
nothing that is found there is reused, because checking it would be one more access. The site's
rules files are the exception, since each request needs them.

Limits: recognized on Linux only. A symlink from elsewhere into such a file system is not noticed,
nor is a file system that is mounted later, until `refresh`.
"""

from __future__ import annotations

import os

_TABLE = "/proc/self/mountinfo"
_REMOTE = frozenset(
    {
        *("9p", "afs", "autofs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "lustre"),
        *("ncpfs", "nfs", "nfs4", "orangefs", "smb3", "smbfs", "virtiofs"),
    }
)


class RemoteMounts:
    """The remote file systems at and below the folder `root`, which is a real path."""

    def __init__(self, root: str, table: str = "") -> None:
        self._root = os.path.join(root, "")
        self._table = table or _TABLE
        self.places: tuple[str, ...] = ()
        """The mount points, relative to the root, with a final slash; "" if they have the root."""
        self.refresh()

    def refresh(self) -> None:
        """Read the table of mounts again."""
        kinds: dict[str, str] = {}  # by mount point; the last mount there hides others
        try:
            with open(self._table, "rb") as file:
                for line in file:
                    place, kind = _mount(os.fsdecode(line))
                    kinds[place] = kind
        except (OSError, ValueError, IndexError):
            return
        root = self._root
        around = max((place for place in kinds if root.startswith(place)), key=len, default="")
        if _is_remote(kinds.get(around, "")):
            self.places = ("",)
        else:
            below = [place for place, kind in kinds.items() if _is_remote(kind)]
            self.places = tuple([place[len(root) :] for place in below if place.startswith(root)])

    @property
    def cover_root(self) -> bool:
        """Whether the root itself is on a remote file system."""
        return "" in self.places

    def place_of(self, names: tuple[str, ...]) -> str | None:
        """Return the remote mount point that contains the path `names`; None if that is local."""
        if not self.places:
            return None
        path = os.sep.join(names) + os.sep
        return next((place for place in self.places if path.startswith(place)), None)

    def place_in(self, names: tuple[str, ...]) -> str | None:
        """Return a remote mount point that is an entry of the folder `names`; None without one."""
        folder = os.sep.join(names)
        for place in self.places:
            if place.startswith(folder) and os.sep not in place[len(folder) : -1]:
                return place
        return None


def _mount(line: str) -> tuple[str, str]:
    """Return the mount point, with a final slash, and the file system type in a line."""
    before, _, behind = line.partition(" - ")
    place = before.split(" ")[4]
    for code, character in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        place = place.replace(code, character)
    return os.path.join(place, ""), behind.split(" ")[0]


def _is_remote(kind: str) -> bool:
    return kind in _REMOTE or kind == "fuse" or kind.startswith("fuse.")
