"""PUT: one request creates or replaces one file (RFC 9110, 9.3.4).

Content is written to a temporary file, piece by piece. Once the file is complete and its digests
are verified, it takes its place in one step (see `origin.writable`), and only then is the response
made. Conditions are evaluated under the same lock as the change, so If-Match is a compare-and-swap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.http.message import Response
from portico.site.origin.etags import HASHED_UP_TO, tag_of, tag_of_large
from portico.site.origin.writable import Current, Refused, WritableFolder
from portico.site.uploads.rules import Hashes

if TYPE_CHECKING:
    from collections.abc import Callable

    from portico.http.message import Field
    from portico.site.origin.new_file import NewFile
    from portico.site.origin.writable import Check
    from portico.site.uploads.rules import Terms
    from portico.site.uploads.space import Space


class WholeFile:
    """Stores the content of one request as one file; a `sink.Store`."""

    keeps_parts = False

    def __init__(
        self,
        folder: WritableFolder,
        space: Space,
        names: tuple[str, ...],
        terms: Terms,
        claims: dict[str, bytes],
        length: int = 0,
    ) -> None:
        """`claims` are the digests that the client has sent, by algorithm.

        `length` is the announced number of bytes; 0 if it is not known.
        """
        self.names = names
        self.tag = ""
        """The entity tag of the file, once it is stored."""
        self.size = 0
        """The number of bytes stored so far."""
        self._folder = folder
        self._space = space
        self._terms = terms
        self._length = length
        self._hashes = Hashes(claims, most=HASHED_UP_TO)
        self._file: NewFile | None = None

    def prepare(self) -> None:
        """Raise Refused unless the file may be stored and fits on the disk."""
        self._folder.look(self.names, self._terms.check)
        self._space.check(self._length)

    def store(self, pieces: list[bytes]) -> None:
        """Write the next `pieces` to the temporary file."""
        if self._file is None:
            self.prepare()
            self._file = self._folder.begin(self.names)
        self._space.check(0)
        self._hashes.update(pieces)
        self.size += sum(map(len, pieces))
        self._folder.append(self._file, pieces)

    def commit(self, pieces: list[bytes], check_wanted: Callable[[], None], /) -> Response:
        """Write the last `pieces`, put the file in its place, and return the response."""

        def check(current: Current) -> None:
            check_wanted()
            self._terms.check(current)

        return stored(self._folder.url_path(self.names), *self._place(pieces, check))

    def _place(self, pieces: list[bytes], check: Check) -> tuple[str, bool]:
        """Do the work of `commit`; return the entity tag, and whether the file is new."""
        if self._file is None:
            self._hashes.update(pieces)
            self._hashes.check()
            self.size = sum(map(len, pieces))
            self._space.check(self.size)
            is_new = self._folder.put_octets(self.names, pieces, check)
        else:
            self.store(pieces)
            self._hashes.check()
            is_new = self._folder.put(self.names, self._file, check)
        digest = self._hashes.sha256
        if digest is not None:
            self.tag = tag_of(digest)
        elif self._file is not None:
            self.tag = tag_of_large(self._file.status())
        return self.tag, is_new

    def close(self) -> None:
        """Close the temporary file, which deletes it unless it has its name."""
        if self._file is not None:
            self._file.close()
            self._file = None


class NewFolder:
    """Creates a folder, for a request without content; a `sink.Store`."""

    keeps_parts = False

    def __init__(
        self, folder: WritableFolder, names: tuple[str, ...], *, makes_above: bool = True
    ) -> None:
        """With `makes_above`, missing folders above are created, too."""
        self._folder = folder
        self._names = names
        self._makes_above = makes_above

    def prepare(self) -> None:
        """Raise Refused unless the folder can be created."""
        self._folder.look(self._names, self._check)

    def store(self, pieces: list[bytes]) -> None:
        """Raise Refused if there is content, since a folder has none."""
        if any(pieces):
            raise Refused(400, "A folder has no content.")

    def commit(self, pieces: list[bytes], _check_wanted: Callable[[], None], /) -> Response:
        """Create the folder, and return the response."""
        self.store(pieces)
        self._folder.make_folder(self._names, self._check, makes_above=self._makes_above)
        return Response(201, [("Content-Length", "0")])

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def _check(self, current: Current) -> None:
        if current.is_folder:
            raise Refused(405, "There is a folder of that name.")


def stored(url_path: str, tag: str, is_new: bool) -> Response:  # noqa: FBT001
    """Return the response to a request that has stored a file: 201 if it is new, else 204."""
    fields: list[Field] = [("ETag", tag)]
    if not is_new:
        return Response(204, fields)
    return Response(201, [*fields, ("Location", url_path), ("Content-Length", "0")])
