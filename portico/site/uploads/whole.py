"""PUT: one request makes or replaces one file (RFC 9110, 9.3.4).

Content goes to a file without a name, piece by piece; once it is whole and verified it takes its
place in one step (see `origin.writable`), and only then the response is made. Conditions are
evaluated under the lock under which the change is made, so If-Match is a compare-and-swap.
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
    """The content of one request becomes one file; a `sink.Store`."""

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
        """`length` is the number of bytes that are announced; 0 where that is not known."""
        self.names = names
        self.tag = ""
        """Its entity tag, once it is stored."""
        self.size = 0
        """Bytes that were stored."""
        self._folder = folder
        self._space = space
        self._terms = terms
        self._length = length
        self._hashes = Hashes(claims, most=HASHED_UP_TO)
        self._file: NewFile | None = None

    def prepare(self) -> None:
        """Look whether it can be stored, before the content comes."""
        self._folder.look(self.names, self._terms.check)
        self._space.check(self._length)

    def store(self, pieces: list[bytes]) -> None:
        """Write some of the content; more follows."""
        if self._file is None:
            self.prepare()
            self._file = self._folder.begin(self.names)
        self._space.check(0)
        self._hashes.update(pieces)
        self.size += sum(map(len, pieces))
        self._folder.append(self._file, pieces)

    def commit(self, pieces: list[bytes], check_wanted: Callable[[], None], /) -> Response:
        """Write the rest, and give the file its name."""

        def check(current: Current) -> None:
            check_wanted()
            self._terms.check(current)

        return stored(self._folder.url_path(self.names), *self._place(pieces, check))

    def _place(self, pieces: list[bytes], check: Check) -> tuple[str, bool]:
        """Do the same; return the entity tag, and whether the name is new."""
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
        """Let go of the file; without a name it is gone."""
        if self._file is not None:
            self._file.close()
            self._file = None


class NewFolder:
    """A request without content that makes a folder; a `sink.Store`."""

    keeps_parts = False

    def __init__(
        self, folder: WritableFolder, names: tuple[str, ...], *, makes_above: bool = True
    ) -> None:
        """`makes_above` says whether the folders above are made as needed."""
        self._folder = folder
        self._names = names
        self._makes_above = makes_above

    def prepare(self) -> None:
        """Look whether it can be made."""
        self._folder.look(self._names, self._check)

    def store(self, pieces: list[bytes]) -> None:
        """Refuse content: a folder has none."""
        if any(pieces):
            raise Refused(400, "A folder has no content.")

    def commit(self, pieces: list[bytes], _check_wanted: Callable[[], None], /) -> Response:
        """Make the folder."""
        self.store(pieces)
        self._folder.make_folder(self._names, self._check, makes_above=self._makes_above)
        return Response(201, [("Content-Length", "0")])

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def _check(self, current: Current) -> None:
        if current.is_folder:
            raise Refused(405, "There is a folder of that name.")


def stored(url_path: str, tag: str, is_new: bool) -> Response:  # noqa: FBT001
    """Return the response to what has stored a file."""
    fields: list[Field] = [("ETag", tag)]
    if not is_new:
        return Response(204, fields)
    return Response(201, [*fields, ("Location", url_path), ("Content-Length", "0")])
