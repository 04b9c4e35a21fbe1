"""PUT and DELETE: how clients change what is served (RFC 9110, 9.3.4 and 9.3.5).

Rules:
- A name is refused by form before the disk is touched: what would not be served (dotfiles, rules
  files) cannot be written, nor what no other system could read.
- Content goes to a file without a name, piece by piece, by threads; once it is whole and verified
  it takes its place in one step (see `origin.writable`), and only then the response is made.
- Conditions are evaluated under the lock under which the change is made, so If-Match is a
  compare-and-swap. Where the client waits for 100 (Continue), they are evaluated before, too.
- `rights` says what the client may do: "create", "replace", "delete".

Limits: the content's length, and the space that is kept free on the disk.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from portico.http import digests
from portico.http.conditional import NOTHING, PROCEED, Validators, evaluate, is_conditional
from portico.http.message import ProtocolError, Response
from portico.site.compression.encoders import SUFFIXES
from portico.site.origin.etags import HASHED_UP_TO, tag_of, tag_of_large
from portico.site.origin.fingerprint import status_of
from portico.site.origin.open_file import Waiting
from portico.site.origin.writable import Current, NewFile, Refused, WritableFolder
from portico.site.pages import errors
from portico.site.rules.rulebook import is_rules_file
from portico.site.target import encode_path, is_hidden, path_names

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from portico.config.config import Config
    from portico.http.content_sink import ContentSink
    from portico.http.message import Field, RequestHead

WRITE_FIELDS = digests.SENT | {"content-encoding", "content-range", "origin", "sec-fetch-site"}
"""Fields of a request that matter here, besides its conditions."""

PLACE = "uploads"
"""What threads that write have in common (see `Waiting`): reads do not queue behind them."""
_PIECE = 256 << 10
"""Bytes that are held until a thread writes them."""
_SYNCED = 32 << 20
"""Bytes after which they are brought to the disk, so that the end need not wait long for that."""
_FREE_SECONDS = 0.5
"""For how long it is not asked again how much space there is."""
_NAME_OCTETS = 255
"""Octets of a name: what most file systems take."""
_UNWRITABLE = '<>:"|?*\\'
"""Characters that other systems do not allow in names."""


class Uploads:
    """Takes requests that change the files below one folder."""

    def __init__(self, config: Config, *, may_wait: bool) -> None:
        """Without `may_wait`, Waiting is raised where the response depends on the disk."""
        self.folder = WritableFolder(config.root, sync=config.sync)
        self.config = config
        self._may_wait = may_wait
        self._free = 0
        self._free_until = 0.0

    def free(self) -> int:
        """Return the bytes that were free on the disk within the last second."""
        now = time.monotonic()
        if now >= self._free_until:
            self._free_until = now + _FREE_SECONDS
            self._free = self.folder.free()
        return self._free

    def answer(self, request: RequestHead, rights: frozenset[str]) -> Response | ContentSink:
        """Return the response to a request, or what takes its content. Raises Waiting."""
        answer = self._put if request.method == "PUT" else self._delete
        return answer(request, rights)

    def sweep(self) -> Iterator[None]:
        """Remove what killed processes left behind; a job for the background."""
        self.folder.sweep()
        yield

    def refuse(self, status: int, request: RequestHead, detail: str) -> Response:
        """Return the response that refuses a request."""
        response = errors.error(status, request, detail)
        if self.config.cors:
            errors.add_cors(response)
        return response

    def _put(self, request: RequestHead, rights: frozenset[str]) -> Response | Upload:
        try:
            upload = Upload(self, request, rights)
            if request.expects_continue:
                self._need_disk()
                upload.prepare()
        except Refused as problem:
            return self.refuse(problem.status, request, problem.detail)
        return upload

    def _delete(self, request: RequestHead, rights: frozenset[str]) -> Response:
        def check(current: Current) -> None:
            if current.status is None or (is_folder and not current.is_folder):
                raise Refused(404, "There is nothing of that name.")
            check_conditions(request, current)

        if "delete" not in rights:
            return self.refuse(403, request, "Nothing may be deleted here.")
        try:
            names = writable_names(request.path)
            is_folder = names[-1] == ""
            self._need_disk()
            self.folder.delete(names[:-1] if is_folder else names, check)
        except (Refused, OSError) as problem:
            refused = as_refused(problem)
            return self.refuse(refused.status, request, refused.detail)
        return Response(204, [])

    def _need_disk(self) -> None:
        if not self._may_wait:
            raise Waiting(PLACE)


class Upload:
    """Takes the content of one PUT; a `ContentSink`. Its work is done by threads, one at a time."""

    interim: Sequence[Response] = ()

    def __init__(self, uploads: Uploads, request: RequestHead, rights: frozenset[str]) -> None:
        """Raises Refused for what can be told from the head alone."""
        self._uploads = uploads
        self._request = request
        self._rights = rights
        self._names = writable_names(request.path)
        self._names_of_folder = self._names[:-1] if self._names[-1] == "" else ()
        self._most = uploads.config.max_upload
        self._refuse_by_form()
        self._claims = claimed_digests(request)
        self._hashes = {name: _hash(name) for name in {"sha-256", *self._claims}}
        self._file: NewFile | None = None
        self._pieces: list[bytes] = []
        self._held = 0  # bytes in them
        self._taken = 0  # bytes in all
        self._unsynced = 0
        self._is_working = self._is_aborted = False
        self._response: Response | None = None
        self.refusal: Refused | None = None
        """Why it cannot be stored, as soon as that is known."""

    def _refuse_by_form(self) -> None:
        request = self._request
        if not self._rights & {"create", "replace"}:
            raise Refused(403, "Nothing may be written here.")
        if request.get("content-range") is not None:
            raise Refused(400, "A part of a file cannot be put (RFC 9110, 14.5).")
        if request.get("content-encoding") not in {None, "identity"}:
            raise Refused(415, "Content-Encoding is not undone here.")
        if 0 < self._most < request.content_length:
            raise Refused(413, _too_large(self._most))
        if self._names_of_folder and request.content_length > 0:
            raise Refused(400, "A folder has no content.")

    # What the connection calls

    def write(self, octets: bytes) -> None:
        """Take some of the content. Raises ProtocolError to refuse it, or Waiting."""
        if self.refusal is not None:
            raise ProtocolError(self.refusal.status, self.refusal.detail)
        if self._most and self._taken + len(octets) > self._most:
            raise ProtocolError(413, _too_large(self._most))
        if self._held and self._held + len(octets) > _PIECE:
            raise Waiting(PLACE, self._work(self._store))
        self._pieces.append(octets)
        self._held += len(octets)
        self._taken += len(octets)

    def finish(self) -> Response:
        """Return the response, since the content is complete. Raises Waiting."""
        if self.refusal is not None:
            self.abort()
            return self._uploads.refuse(self.refusal.status, self._request, self.refusal.detail)
        if self._response is None:
            raise Waiting(PLACE, self._work(self._commit))
        return self._response

    def abort(self) -> None:
        """Let go of what was taken: the rest does not come."""
        self._is_aborted = True
        if not self._is_working:
            self._close()

    # What threads do

    def prepare(self) -> None:
        """Look whether it can be stored, before the content comes. Raises Refused."""
        self._run(self._prepare)
        if self.refusal is not None:
            raise self.refusal

    def _work(self, what: Callable[[], None]) -> Callable[[], None]:
        self._is_working = True
        return lambda: self._run(what)

    def _run(self, what: Callable[[], None]) -> None:
        """Do a piece of work, in a thread, and keep what comes of it."""
        self._is_working = True
        try:
            if not self._is_aborted:
                what()
        except (Refused, OSError) as problem:
            self.refusal = as_refused(problem)
        finally:
            self._is_working = False
            if self._is_aborted or self.refusal is not None or self._response is not None:
                self._close()

    def _prepare(self) -> None:
        self._uploads.folder.look(self._names_of_folder or self._names, self._check)
        self._check_space(max(0, self._request.content_length))

    def _store(self) -> None:
        """Write what is held, because more follows."""
        if self._file is None:
            if self._names_of_folder:
                raise Refused(400, "A folder has no content.")
            self._prepare()
            self._file = self._uploads.folder.begin(self._names)
        self._hash_held()
        self._unsynced += self._held
        self._held = 0
        pieces, self._pieces = self._pieces, []
        self._file.write(pieces)
        if self._unsynced >= _SYNCED:
            self._unsynced = 0
            self._check_space(0)
            if self._uploads.config.sync:
                self._file.sync()

    def _commit(self) -> None:
        """Store the whole, and make the response."""
        folder = self._uploads.folder
        if self._names_of_folder:
            folder.make_folder(self._names_of_folder, self._check)
            self._response = Response(201, [("Content-Length", "0")])
            return
        if self._file is not None:
            self._store()
            self._check_digests()
            is_new = folder.put(self._names, self._file, self._check)
        else:
            self._hash_held()
            self._check_digests()
            self._check_space(self._held)
            is_new = folder.put_octets(self._names, self._pieces, self._check)
        self._response = stored(self._names, self._tag(), is_new=is_new)

    def _hash_held(self) -> None:
        for name, digest in self._hashes.items():
            if name in self._claims or self._taken <= HASHED_UP_TO:
                for piece in self._pieces:
                    digest.update(piece)

    def _tag(self) -> str:
        if self._taken > HASHED_UP_TO and self._file is not None:
            return tag_of_large(self._file.status())
        return tag_of(self._hashes["sha-256"].digest())

    def _check(self, current: Current) -> None:
        """Raise Refused unless the file may take the place of what is there."""
        if current.is_folder:
            status = 405 if self._names_of_folder else 409
            raise Refused(status, "There is a folder of that name.")
        check_conditions(self._request, current)
        right = "create" if current.status is None else "replace"
        if right not in self._rights:
            raise Refused(403, f"It is not allowed to {right} files here.")
        if "replace" not in self._rights and _is_coded_sibling(self._names[-1], current):
            raise Refused(403, "It would change what is sent for a file that exists.")

    def _check_digests(self) -> None:
        for name, claimed in self._claims.items():
            if self._hashes[name].digest() != claimed:
                raise Refused(400, f"The content does not have the {name} digest that was sent.")

    def _check_space(self, length: int) -> None:
        if self._uploads.free() - length < self._uploads.config.keep_free:
            raise Refused(507, "There is not enough space left on the disk.")

    def _close(self) -> None:
        self._pieces = []
        if self._file is not None:
            self._file.close()
            self._file = None


def methods_of(rights: Iterable[str]) -> tuple[str, ...]:
    """Return the methods that these rights allow."""
    methods = {"create": "PUT", "replace": "PUT", "delete": "DELETE"}
    return tuple(dict.fromkeys([methods[right] for right in rights]))


def is_cross_site(request: RequestHead) -> bool:
    """Whether a page of another site may have sent the request, with a browser's help.

    Browsers tell by Sec-Fetch-Site where a request comes from, older ones by Origin.
    """
    site = request.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = request.get("origin")
    return origin is not None and origin.partition("://")[2] != request.authority


def writable_names(path: str) -> tuple[str, ...]:
    """Return the names in a path that may be written; the last is "" for a folder.

    Raises Refused for what would not be served, or not have the same name on another system, and
    ProtocolError for what is no path.
    """
    names = path_names(path)
    if names == ("",):
        raise Refused(405, "The site's own folder cannot be changed.")
    if is_hidden(names) or is_rules_file(names):
        raise Refused(403, "A name that is not served cannot be written.")
    for name in names[:-1] if names[-1] == "" else names:
        if not name:
            raise Refused(400, "A name in the path is empty.")
        if len(name.encode("utf-8", "surrogateescape")) > _NAME_OCTETS:
            raise Refused(400, f"A name has more than {_NAME_OCTETS} bytes.")
        if not name.isprintable() or any(letter in _UNWRITABLE for letter in name):
            raise Refused(400, "A name has characters that not every system allows.")
        if name[-1] in ". ":
            raise Refused(400, "A name cannot end with a dot or a space.")
    return names


def claimed_digests(request: RequestHead) -> dict[str, bytes]:
    """Return the digests that the content must have, by algorithm (RFC 9530). Raises Refused.

    No content coding is accepted, so Content-Digest and Repr-Digest mean the same.
    """
    claims: dict[str, bytes] = {}
    for field in sorted(digests.SENT):
        value = request.get(field)
        if value is None:
            continue
        try:
            found = digests.claimed(value)
        except ValueError:
            raise Refused(400, f"{field.title()} is malformed.") from None
        if any(claims.get(name, digest) != digest for name, digest in found.items()):
            raise Refused(400, "Content-Digest and Repr-Digest contradict each other.")
        claims |= found
    return claims


def check_conditions(request: RequestHead, current: Current) -> None:
    """Raise Refused unless the request's conditions hold (RFC 9110, 13)."""
    if not is_conditional(request.fields):
        return
    validators = NOTHING
    if current.status is not None:
        tag = current.tag() if current.is_file else None
        validators = Validators(tag, int(current.status.st_mtime))
    if evaluate(request.get, request.method, validators, time.time()) != PROCEED:
        raise Refused(412, "What is there is not what the condition asks for.")


def stored(names: tuple[str, ...], tag: str, *, is_new: bool) -> Response:
    """Return the response to what has stored a file (RFC 9110, 9.3.4)."""
    fields: list[Field] = [("ETag", tag)]
    if not is_new:
        return Response(204, fields)
    return Response(201, [*fields, ("Location", encode_path(names)), ("Content-Length", "0")])


def as_refused(problem: Refused | OSError) -> Refused:
    """Return what a client is told of an error of the operating system."""
    if isinstance(problem, Refused):
        return problem
    status = status_of(problem)
    detail = {
        403: "The server may not write there.",
        404: "There is nothing of that name.",
        507: "There is not enough space left on the disk.",
    }.get(status, "It could not be stored.")
    return Refused(status, detail)


def _too_large(most: int) -> str:
    return f"At most {most:,} bytes can be stored in one file."


def _is_coded_sibling(name: str, current: Current) -> bool:
    """Whether a file would be taken for a coded form of one that exists, and sent in its place."""
    return any(
        name.endswith(suffix) and current.has_sibling(name.removesuffix(suffix))
        for suffix in SUFFIXES.values()
    )


def _hash(name: str) -> hashlib._Hash:
    import hashlib

    return hashlib.new(name.replace("-", ""))
