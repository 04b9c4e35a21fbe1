"""The small protocol that an origin fulfils, and what a look-up in it can find.

Found things are values, not exceptions. Each carries its dependencies: whatever, if it changed,
would have made the answer another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from portico.http.content import ByteSource
    from portico.site.origin.freshness import Dependencies, Freshness

    Submit = Callable[[Iterator[None]], bool]
    """Hands over work that nobody waits for, in bounded steps; False when there is too much."""


def tag_of(digest: bytes) -> str:
    """The strong entity tag of octets that have this SHA-256 digest (RFC 9110, 8.8.3)."""
    return f'"{digest[:16].hex()}"'


class File:
    """A regular file and its content, as they were at one moment."""

    __slots__ = (
        "aliases",
        "codings",
        "content",
        "dependencies",
        "digest",
        "etag",
        "modified",
        "name",
        "names",
        "size",
    )

    def __init__(
        self, name: str, size: int, modified: float, content: ByteSource, dependencies: Dependencies
    ) -> None:
        self.name = name
        """The last name of its path, from which its media type follows."""
        self.names: tuple[str, ...] = (name,)
        """Its path from the root."""
        self.size = size
        self.modified = modified
        """Seconds since the epoch."""
        self.content = content
        """Bytes, or a slice of the open file."""
        self.dependencies = dependencies
        self.digest: bytes | None = None
        """The content's SHA-256; None while it is not known."""
        self.etag: str | None = None
        """Its strong entity tag; None when its octets cannot be told from others by any."""
        self.aliases: tuple[str, ...] = ()
        """Tags that it had before; they stand for the same octets."""
        self.codings: tuple[str, ...] = ()
        """The codings in which it lies beside itself, no older than the file."""

    def resting_on(self, dependencies: Dependencies) -> File:
        """The same file, as the outcome of a look-up that rested on `dependencies`."""
        file = File(self.name, self.size, self.modified, self.content, dependencies)
        file.names = self.names
        file.digest = self.digest
        file.etag = self.etag
        file.aliases = self.aliases
        file.codings = self.codings
        return file


class Precompressed:
    """A file that lies there in content codings only (see `File.codings`), not as itself."""

    __slots__ = ("codings", "dependencies", "name", "names")

    def __init__(
        self, names: tuple[str, ...], codings: tuple[str, ...], dependencies: Dependencies
    ) -> None:
        self.name = names[-1]
        self.names = names
        """The path that it would have as itself."""
        self.codings = codings
        self.dependencies = dependencies

    def resting_on(self, dependencies: Dependencies) -> Precompressed:
        """The same, as the outcome of a look-up that rested on `dependencies`."""
        return Precompressed(self.names, self.codings, dependencies)


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

    def __init__(self, entries: Iterator[Entry]) -> None:
        self.entries = entries


class SlashRedirect:
    """A folder that was asked for without its slash; or, if not `is_folder`, a page with one."""

    __slots__ = ("dependencies", "is_folder")

    def __init__(self, dependencies: Dependencies, *, is_folder: bool = True) -> None:
        self.dependencies = dependencies
        self.is_folder = is_folder


class Missing:
    """Nothing that may be served. `in_folder`: but the folder that it would lie in is there."""

    __slots__ = ("dependencies", "in_folder")

    def __init__(self, dependencies: Dependencies, *, in_folder: bool = True) -> None:
        self.dependencies = dependencies
        self.in_folder = in_folder


class Failed:
    """Something is there, but it could not be read: `status` says why."""

    __slots__ = ("status",)

    def __init__(self, status: int) -> None:
        self.status = status


Found = File | Precompressed | Directory | SlashRedirect | Missing | Failed


class Origin(Protocol):
    """Where a site's files come from."""

    @property
    def freshness(self) -> Freshness:
        """What tells all that depends on this origin when to check again."""
        ...

    def look_up(self, names: tuple[str, ...]) -> Found:
        """What the path of `names` (see `target.path_names`) stands for."""
        ...
