"""The protocol that an origin implements, and the values that a look-up in an origin can return.

Every outcome is a value, not an exception. Its `dependencies` are everything by whose change the
outcome can change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from portico.http.content import ByteSource
    from portico.site.origin.freshness import Dependencies, Freshness


class File:
    """A regular file and its content at one moment."""

    __slots__ = (
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
        """The last name of the path, which determines the media type."""
        self.names: tuple[str, ...] = (name,)
        """The path from the root, as names."""
        self.size = size
        self.modified = modified
        """Seconds since the epoch."""
        self.content = content
        """Bytes, or a slice of the open file."""
        self.dependencies = dependencies
        self.digest: bytes | None = None
        """The content's SHA-256; None for a large file."""
        self.etag = ""
        """The strong entity tag."""
        self.codings: tuple[str, ...] = ()
        """The codings of those precompressed siblings that are no older than the file."""

    def depending_on(self, dependencies: Dependencies) -> File:
        """Return a copy with other dependencies."""
        file = File(self.name, self.size, self.modified, self.content, dependencies)
        for name in ("names", "digest", "etag", "codings"):
            setattr(file, name, getattr(self, name))
        return file


class Precompressed:
    """A file that exists only in content codings, as `page.html.br` without `page.html`."""

    __slots__ = ("codings", "dependencies", "name", "names")

    def __init__(
        self, names: tuple[str, ...], codings: tuple[str, ...], dependencies: Dependencies
    ) -> None:
        self.name = names[-1]
        self.names = names
        """The path without the suffix of a coding."""
        self.codings = codings
        self.dependencies = dependencies

    def depending_on(self, dependencies: Dependencies) -> Precompressed:
        """Return a copy with other dependencies."""
        return Precompressed(self.names, self.codings, dependencies)


class Entry(NamedTuple):
    """A file or folder in a folder: size in bytes, modified in seconds since the epoch."""

    name: str
    is_folder: bool
    size: int
    modified: float


class Directory:
    """A folder without an index file. Its entries can be iterated over once.

    If it `is_long`, the entries are to be read in steps, and their dependencies are not known.
    """

    __slots__ = ("dependencies", "entries", "is_long")

    def __init__(self, entries: Iterator[Entry], *, is_long: bool = False) -> None:
        self.dependencies: Dependencies = None
        self.entries = entries
        self.is_long = is_long


class SlashRedirect:
    """A folder requested without a final slash; or, if not `is_folder`, a page with one."""

    __slots__ = ("dependencies", "is_folder")

    def __init__(self, dependencies: Dependencies, *, is_folder: bool = True) -> None:
        self.dependencies = dependencies
        self.is_folder = is_folder


class Missing:
    """Nothing may be served at the path. `in_folder` tells whether the folder above exists."""

    __slots__ = ("dependencies", "in_folder")

    def __init__(self, dependencies: Dependencies, *, in_folder: bool = True) -> None:
        self.dependencies = dependencies
        self.in_folder = in_folder


class Failed:
    """Something exists but cannot be read: `status` is for the client, `cause` for the operator."""

    __slots__ = ("cause", "status")
    dependencies = None

    def __init__(self, status: int, cause: OSError | None = None) -> None:
        self.status = status
        self.cause = cause


Found = File | Precompressed | Directory | SlashRedirect | Missing | Failed


class Origin(Protocol):
    """Where a site's files come from."""

    @property
    def freshness(self) -> Freshness:
        """The rounds of checks of everything that depends on this origin."""
        ...

    def look_up(self, names: tuple[str, ...]) -> Found:
        """Return what is at the path `names` (see `target.path_names`).

        Raises Waiting if a thread has to look, or Postponed if it is to be tried in the next turn.
        """
        ...
