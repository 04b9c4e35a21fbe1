"""POST of a form: stores all files in it in one folder, or none of them (RFC 7578).

The content is parsed by the `multipart` library, the extra `upload`.

Limits: at most MOST_FILES files in one form, because all are kept open until the end; fewer while
file descriptors are scarce, so that forms leave some for other requests. Fields that are not files
are dropped, and so are files without a name, which browsers send if no file was chosen.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from portico.http.content import Octets
from portico.http.message import Response
from portico.site.origin.etags import HASHED_UP_TO, tag_of, tag_of_large
from portico.site.origin.new_file import descriptors_granted
from portico.site.origin.writable import Current, Refused, WritableFolder
from portico.site.pages.errors import redirect
from portico.site.uploads.rules import Hashes, Terms, check_served, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from multipart import PushMultipartParser

    from portico.http.message import RequestHead
    from portico.site.access import RightsFor
    from portico.site.origin.new_file import NewFile
    from portico.site.uploads.space import Space

MOST_FILES = 100
"""The maximum number of files in one form."""
MOST_PARTS = 1000
"""The maximum number of parts in one form, including those that are not files."""
_SHARE = 0.75
"""The share of all file descriptors that forms may use; each form may always open one file."""
_MISSING = "This server takes no forms: it lacks a library: pip install 'portico-server[upload]'."


class Form:
    """Stores the files in a form in one folder; a `sink.Store`."""

    keeps_parts = False

    def __init__(
        self,
        folder: WritableFolder,
        space: Space,
        names: tuple[str, ...],
        request: RequestHead,
        rights_for: RightsFor,
        *,
        wants_page: bool,
    ) -> None:
        """`names` is the path of the folder.

        With `wants_page`, since a browser has sent the form, the response redirects to the folder;
        without it, the response is JSON.
        """
        self._folder = folder
        self._space = space
        self._names = names
        self._fields = request.fields
        self._rights_for = rights_for
        self._wants_page = wants_page
        self._length = max(0, request.content_length)
        self._parser = _parser(request.get("content-type") or "")
        self._parts: list[_Part] = []
        self._part: _Part | None = None  # the part being received, if it is a file
        self._is_prepared = False

    def prepare(self) -> None:
        """Raise Refused unless the folder exists and the form fits on the disk."""
        self._is_prepared = True
        self._folder.check_folder(self._names)
        self._space.check(self._length)

    def store(self, pieces: list[bytes]) -> None:
        """Parse the next `pieces` of the form, and write the files in them."""
        from multipart import MultipartError

        if not self._is_prepared:
            self.prepare()
        self._space.check(0)
        try:
            for piece in pieces:
                for event in self._parser.parse(piece):
                    self._take(event)
        except MultipartError as problem:
            raise Refused(400, f"The form is malformed: {problem}") from None

    def commit(self, pieces: list[bytes], check_wanted: Callable[[], None], /) -> Response:
        """Parse the last `pieces`, give the files their names, and return the response."""

        def check(name: str, current: Current) -> None:
            check_wanted()
            self._check(name, current)

        self.store([*pieces, b""])
        if not self._parts:
            raise Refused(400, "There is no file in the form.")
        self._folder.put_all(self._names, [(part.name, part.file) for part in self._parts], check)
        if self._wants_page:
            return redirect(303, "./")
        paths = [self._folder.url_path((*self._names, part.name)) for part in self._parts]
        files = [part.told(path) for part, path in zip(self._parts, paths, strict=True)]
        content = (json.dumps({"files": files}) + "\n").encode()
        fields = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        return Response(201, fields, (Octets(content),))

    def close(self) -> None:
        """Close the files, which deletes those that have no name yet."""
        for part in self._parts:
            part.file.close()

    def _take(self, event: object) -> None:
        """Handle an event of the parser: the head of a part, some of its content, or its end."""
        if isinstance(event, bytes | bytearray):
            if self._part is not None:
                self._part.update(bytes(event))
                self._folder.append(self._part.file, [bytes(event)])
        elif event is None:
            self._part = None
        else:
            self._begin(getattr(event, "filename", None))

    def _begin(self, filename: str | None) -> None:
        self._part = None
        if not filename:
            return
        name = name_of(filename)
        if len(self._parts) == MOST_FILES:
            raise Refused(413, f"At most {MOST_FILES} files can be stored by one form.")
        if any(part.name == name for part in self._parts):
            raise Refused(409, "Two files in the form have the same name.")
        check_served((*self._names, name))
        self._part = _Part(name, self._folder.begin((*self._names, name)))
        self._parts.append(self._part)
        # The system gives the lowest free descriptor, so a high number means that many are open.
        if len(self._parts) > 1 and self._part.file.fd > _SHARE * descriptors_granted():
            raise Refused(503, "Too many files are being stored at this moment.")

    def _check(self, name: str, current: Current) -> None:
        rights = self._rights_for((*self._names, name))
        if current.status is not None and "replace" not in rights:
            raise Refused(409, f"There is something called {name} already.")
        Terms("POST", self._fields, name, rights).check(current)


class _Part:
    """A file in the form."""

    def __init__(self, name: str, file: NewFile) -> None:
        self.name = name
        self.file = file
        self._hashes = Hashes({}, most=HASHED_UP_TO)
        self._size = 0

    def update(self, octets: bytes) -> None:
        """Count and hash the next piece of the content."""
        self._size += len(octets)
        self._hashes.update([octets])

    def told(self, url_path: str) -> dict[str, object]:
        """Return what the JSON response says of the file."""
        digest = self._hashes.sha256
        return {
            "name": self.name,
            "path": url_path,
            "size": self._size,
            "etag": tag_of_large(self.file.status()) if digest is None else tag_of(digest),
        }


def is_form(request: RequestHead) -> bool:
    """Return whether the content of a request is a form with files."""
    kind = (request.get("content-type") or "").partition(";")[0]
    return kind.strip().lower() == "multipart/form-data"


def _parser(content_type: str) -> PushMultipartParser:
    try:
        from multipart import MultipartError, PushMultipartParser, parse_options_header
    except ImportError:
        raise Refused(501, _MISSING) from None
    _, options = parse_options_header(content_type)
    try:
        # Not strict: that refuses the final line break if it arrives in a piece of its own.
        return PushMultipartParser(options.get("boundary", ""), max_segment_count=MOST_PARTS)
    except MultipartError as problem:
        raise Refused(400, f"The form is malformed: {problem}") from None
