"""The small protocol that an origin fulfils, and what a look-up in it can find.

Found things are values, not exceptions. Each carries the witnesses of the decision: whatever, if it
changed, would have made the answer another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from portico.http.message import Sized


class Witness(Protocol):
    """Something that a decision rested on, and that can be asked whether it is still so."""

    def holds(self, epoch: int) -> bool:
        """Is it as it was? Within one epoch the question may be answered from memory.

        An epoch is a stretch of time that the caller ends: whatever happened before it began must
        be seen in it.
        """
        ...


Witnesses = tuple[Witness, ...] | None
"""All that a decision rested on; None when that cannot be told, so that it must not be reused."""


class File:
    """A regular file and its content, as they were at one moment."""

    __slots__ = ("content", "modified", "name", "size", "witnesses")

    def __init__(
        self, name: str, size: int, modified: float, content: Sized, witnesses: Witnesses
    ) -> None:
        self.name = name
        """The last name of its path, from which its media type follows."""
        self.size = size
        self.modified = modified
        """Seconds since the epoch."""
        self.content = content
        """Bytes, or a slice of the open file."""
        self.witnesses = witnesses


class Entry:
    """One name in a folder."""

    __slots__ = ("is_folder", "modified", "name", "size")

    def __init__(self, name: str, is_folder: bool, size: int, modified: float) -> None:  # noqa: FBT001
        self.name = name
        self.is_folder = is_folder
        self.size = size
        self.modified = modified


class Directory:
    """A folder without an index file."""

    __slots__ = ("entries",)

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = entries


class Moved:
    """A folder that was asked for without its slash."""

    __slots__ = ("witnesses",)

    def __init__(self, witnesses: Witnesses) -> None:
        self.witnesses = witnesses


class Missing:
    """Nothing that may be served."""

    __slots__ = ("witnesses",)

    def __init__(self, witnesses: Witnesses) -> None:
        self.witnesses = witnesses


class Failed:
    """Something is there, but it could not be read: `status` says why."""

    __slots__ = ("status",)

    def __init__(self, status: int) -> None:
        self.status = status


Found = File | Directory | Moved | Missing | Failed


class Origin(Protocol):
    """Where a site's files come from."""

    def look_up(self, names: tuple[str, ...], epoch: int) -> Found:
        """What the path of `names` (see `target.path_names`) stands for."""
        ...
