"""The small protocol that an origin fulfils, and what a look-up in it can find.

Found things are values, not exceptions. Each carries the witnesses of the decision: whatever, if it
changed, would have made the answer another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from portico.http.message import Sized

    Submit = Callable[[Iterator[None]], bool]
    """Hands over work that nobody waits for, in bounded steps; False when there is too much."""


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


class Pending:
    """A witness of work that is under way: when it is done, whatever came of it, look again."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def holds(self, _epoch: int) -> bool:
        """Is it still under way?"""
        return not self.done


def tag_of(digest: bytes) -> str:
    """The strong entity tag of octets that have this SHA-256 digest (RFC 9110, 8.8.3)."""
    return f'"{digest[:16].hex()}"'


class File:
    """A regular file and its content, as they were at one moment."""

    __slots__ = (
        "aliases",
        "codings",
        "content",
        "digest",
        "etag",
        "modified",
        "name",
        "size",
        "witnesses",
    )

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
        self.digest: bytes | None = None
        """The content's SHA-256; None while it is not known."""
        self.etag: str | None = None
        """Its strong entity tag; None when its octets cannot be told from others by any."""
        self.aliases: tuple[str, ...] = ()
        """Tags that it had before; they stand for the same octets."""
        self.codings: tuple[str, ...] = ()
        """The codings in which it lies beside itself, no older than the file."""


class Coded:
    """A file that lies there in content codings only (see `File.codings`), not as itself."""

    __slots__ = ("codings", "name", "witnesses")

    def __init__(self, name: str, codings: tuple[str, ...], witnesses: Witnesses) -> None:
        self.name = name
        self.codings = codings
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


Found = File | Coded | Directory | Moved | Missing | Failed


class Origin(Protocol):
    """Where a site's files come from."""

    def look_up(self, names: tuple[str, ...], epoch: int) -> Found:
        """What the path of `names` (see `target.path_names`) stands for."""
        ...
