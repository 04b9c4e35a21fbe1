"""The two protocols for resumable uploads; `parts` stores the uploads of both.

A request with Tus-Resumable speaks tus 1.0 (https://tus.io/protocols/resumable-upload); any other
speaks draft-ietf-httpbis-resumable-upload. Both work alike:

1. PUT to a file's path, or POST to its folder, creates an upload, and may bring some or all of the
   content. The response, or an interim response before it, tells the upload's own URL.
2. At that URL HEAD asks for the offset, PATCH appends, and DELETE cancels.
3. When the content is complete, the file is put in its place, and the response is like a PUT's.

Appending and cancelling need no rights besides the URL, which cannot be guessed. Whether the client
may create or replace the file is checked when the upload begins, and again at its end.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from email.utils import formatdate
from typing import TYPE_CHECKING

from portico.http.content import Octets
from portico.http.message import Response
from portico.site.origin.writable import Refused
from portico.site.uploads.parts import FOLDER, Note
from portico.site.uploads.rules import Hashes, Terms, check_name, claimed_digests, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from portico.http.message import Field, RequestHead
    from portico.site.access import RightsFor
    from portico.site.uploads.parts import Part, Parts
    from portico.site.uploads.space import Space

FIELDS = frozenset(
    {
        "content-disposition",
        "content-type",
        "tus-resumable",
        "upload-checksum",
        "upload-complete",
        "upload-defer-length",
        "upload-draft-interop-version",
        "upload-length",
        "upload-metadata",
        "upload-offset",
        "x-http-method-override",
    }
)
"""The request header fields, in lower case, that this module reads."""

INTEROP_VERSIONS = frozenset({"6", "7", "8", "9"})
"""The values of Upload-Draft-Interop-Version for which 104 responses are sent."""
TUS_VERSION = "1.0.0"
CHECKSUM_MISMATCH = 460
"""tus's status for content that does not match Upload-Checksum; HTTP does not define 460."""
TUS_EXTENSIONS = (
    "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination"
)
TUS_CHECKSUMS = ("sha1", "sha256", "sha512")
_TUS_CONTENT = "application/offset+octet-stream"
_DRAFT_CONTENT = "application/partial-upload"

_NUMBER = re.compile(r"[0-9]{1,15}")
_FILENAME = re.compile(
    r"""(?:^|;)\s*filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))""", re.IGNORECASE
)
_FILENAME_CODED = re.compile(r"(?:^|;)\s*filename\*\s*=\s*utf-8'[^']*'([^\s;]+)", re.IGNORECASE)


class Rejected(Refused):
    """A Refused whose response has further header fields, or problem details (RFC 9457)."""

    def __init__(
        self,
        status: int,
        detail: str,
        fields: list[Field],
        problem: dict[str, object] | None = None,
    ) -> None:
        super().__init__(status, detail)
        self.fields = fields
        self.problem = problem


def is_tus(request: RequestHead) -> bool:
    """Return whether a request speaks tus."""
    return request.get("tus-resumable") is not None


def creates(request: RequestHead) -> bool:
    """Return whether a PUT or POST creates a resumable upload."""
    return is_tus(request) or request.get("upload-complete") is not None


def method_of(request: RequestHead) -> str:
    """Return the method; tus clients may override it with X-HTTP-Method-Override."""
    override = request.get("x-http-method-override")
    return override.upper() if override and is_tus(request) else request.method


def upload_id(names: tuple[str, ...], base: tuple[str, ...] = ()) -> str | None:
    """Return the ID of the upload whose URL has this path; None for any other path."""
    return names[-1] if names[:-1] == (*base, *FOLDER) else None


def tus_fields(most: int) -> list[Field]:
    """Return the header fields of OPTIONS for tus; `most` is the largest size (0: any)."""
    fields = [
        ("Tus-Resumable", TUS_VERSION),
        ("Tus-Version", TUS_VERSION),
        ("Tus-Extension", TUS_EXTENSIONS),
        ("Tus-Checksum-Algorithm", ",".join(TUS_CHECKSUMS)),
    ]
    return [*fields, ("Tus-Max-Size", str(most))] if most else fields


def limit_field(most: int, expiry: float) -> Field:
    """Return Upload-Limit: the largest size in bytes (0: any), and the lifetime in seconds."""
    size = f"max-size={most}, " if most else ""
    return ("Upload-Limit", f"{size}max-age={int(expiry)}")


class Door:
    """Reads one request, and writes its response, in the protocol that the client speaks.

    `most` is the largest size of a file in bytes (0: any), `expiry` an upload's lifetime in
    seconds. `url_path` returns the path of the URL of names below the root.
    """

    def __init__(
        self,
        request: RequestHead,
        most: int,
        expiry: float,
        url_path: Callable[[tuple[str, ...]], str],
    ) -> None:
        self.request = request
        self._url_path = url_path
        self.is_tus = is_tus(request)
        self._most = most
        self._expiry = expiry
        if self.is_tus and request.get("tus-resumable") != TUS_VERSION:
            fields = [("Tus-Version", TUS_VERSION)]
            raise Rejected(412, "The only version of tus supported is 1.0.0.", fields)

    def number(self, field: str) -> int | None:
        """Return the number in a header field; None if the field is absent."""
        value = self.request.get(field)
        if value is None:
            return None
        if not _NUMBER.fullmatch(value):
            raise Refused(400, f"{field.title()} must be a number of bytes.")
        return int(value)

    @property
    def completes(self) -> bool | None:
        """Whether this request completes the upload, as Upload-Complete says; None for tus.

        A tus upload is complete when its offset equals its length.
        """
        if self.is_tus:
            return None
        value = self.request.get("upload-complete")
        if value not in {"?0", "?1"}:
            raise Refused(400, "Upload-Complete must be ?0 or ?1.")
        return value == "?1"

    def new_note(self, names: tuple[str, ...]) -> Note:
        """Return the note of the upload that this request creates; `names` is the file's path."""
        request = self.request
        length = self.number("upload-length")
        if self.is_tus and (length is None) == (request.get("upload-defer-length") is None):
            raise Refused(400, "One of Upload-Length and Upload-Defer-Length: 1 is needed.")
        if self.completes and request.content_length >= 0:
            length = self._consistent(length, request.content_length)
        if self._most and max(length or 0, request.content_length) > self._most:
            raise Refused(413, f"At most {self._most:,} bytes can be stored in one file.")
        claims = {} if self.is_tus else claimed_digests(request, ("repr-digest",))
        return Note(
            names,
            length,
            claims=claims,
            conditions=[field for field in request.fields if field[0].startswith("if-")],
            metadata=(request.get("upload-metadata") or "") if self.is_tus else "",
        )

    def _consistent(self, length: int | None, other: int) -> int:
        if length is not None and length != other:
            raise self.inconsistent()
        return other

    def inconsistent(self) -> Rejected:
        """Return the refusal for lengths that contradict each other."""
        return Rejected(
            400,
            "The lengths of the upload contradict each other.",
            self._own_fields(),
            _problem("inconsistent-upload-length", "inconsistent length values for upload"),
        )

    def file_name(self) -> str:
        """Return the file name that a POST gives: in Upload-Metadata or Content-Disposition."""
        request = self.request
        name = ""
        if self.is_tus:
            for member in (request.get("upload-metadata") or "").split(","):
                key, _, value = member.strip().partition(" ")
                if key == "filename":
                    try:
                        name = b64decode(value, validate=True).decode()
                    except ValueError:
                        raise Refused(400, "Upload-Metadata is malformed.") from None
        else:
            name = _disposition_name(request.get("content-disposition") or "")
        if not name:
            raise Refused(400, "The name of the file is missing.")
        name = name_of(name)
        check_name(name)
        return name

    def check_append(self, part: Part) -> None:
        """Raise Refused unless the content of this PATCH may be appended."""
        kind = (self.request.get("content-type") or "").partition(";")[0].strip().lower()
        wanted = _TUS_CONTENT if self.is_tus else _DRAFT_CONTENT
        if kind != wanted:
            raise Refused(415, f"The content must be {wanted}.")
        offset = self.number("upload-offset")
        if offset is None:
            raise Refused(400, "Upload-Offset is missing.")
        if part.note.is_done and not (self.is_tus and offset == part.offset):
            raise Rejected(
                400 if not self.is_tus else 409,
                "This upload is complete.",
                self._own_fields([("Upload-Complete", "?1")]),
                _problem("completed-upload", "upload is already completed"),
            )
        if offset != part.offset:
            raise Rejected(
                409,
                f"The upload has {part.offset} bytes so far.",
                self.state_fields(part),
                _problem(
                    "mismatching-upload-offset",
                    "offset from request does not match offset of resource",
                    {"expected-offset": part.offset, "provided-offset": offset},
                ),
            )
        self._take_length(part)
        end = offset + max(0, self.request.content_length)
        length = part.note.length
        is_last = self.completes and self.request.content_length >= 0
        if length is not None and (end > length or (is_last and end != length)):
            raise self.inconsistent()
        if self._most and end > self._most:
            raise Refused(413, f"At most {self._most:,} bytes can be stored in one file.")

    def _take_length(self, part: Part) -> None:
        """Record the file's length, which may come with any request but must never change."""
        told = self.number("upload-length")
        if told is not None and told != part.note.length:
            if part.note.length is not None or told < part.offset:
                raise self.inconsistent()
            part.note.length = told
            part.save()

    def takes_for_done(self, part: Part) -> bool:
        """Return whether the client would wrongly take the upload for done.

        A tus client knows only the offset, and takes an upload for done when the offset equals the
        length. If the server was killed after the last byte was stored, or refused the file at the
        end, the upload has that offset but the file is not in its place.
        """
        return self.is_tus and not part.note.is_done and part.offset == part.note.length

    def state_fields(self, part: Part) -> list[Field]:
        """Return the header fields that describe an upload's state."""
        fields = [("Upload-Offset", str(part.offset))]
        length = part.note.length
        if self.is_tus:
            if length is None:
                fields.append(("Upload-Defer-Length", "1"))
            if not part.note.is_done:
                expires = formatdate(part.changed() + self._expiry, usegmt=True)
                fields.append(("Upload-Expires", expires))
        else:
            fields.append(("Upload-Complete", "?1" if part.note.is_done else "?0"))
        if length is not None:
            fields.append(("Upload-Length", str(length)))
        return self._own_fields(fields)

    def _own_fields(self, fields: list[Field] | None = None) -> list[Field]:
        fields = list(fields or [])
        if self.is_tus:
            return [("Tus-Resumable", TUS_VERSION), *fields]
        version = self.request.get("upload-draft-interop-version")
        if version in INTEROP_VERSIONS:
            fields.append(("Upload-Draft-Interop-Version", version))
        return [*fields, limit_field(self._most, self._expiry)]

    def head_response(self, part: Part) -> Response:
        """Return the response to HEAD of an upload's URL."""
        fields = [*self.state_fields(part), ("Cache-Control", "no-store")]
        if self.is_tus:
            if part.note.metadata:
                fields.append(("Upload-Metadata", part.note.metadata))
            return Response(200, fields)
        return Response(204, fields)

    def interim(self, name: str) -> list[Response]:
        """Return the 104 response that tells the upload's URL; none if the client knows no 104."""
        version = self.request.get("upload-draft-interop-version")
        if self.is_tus or version not in INTEROP_VERSIONS:
            return []
        fields: list[Field] = [
            ("Location", self._url_path((*FOLDER, name))),
            ("Upload-Draft-Interop-Version", version),
            limit_field(self._most, self._expiry),
        ]
        return [Response(104, fields)]

    def response(self, part: Part, *, is_creation: bool) -> Response:
        """Return the response to a request whose content is stored."""
        note = part.note
        fields = self.state_fields(part)
        if is_creation:
            fields.append(("Location", self._url_path((*FOLDER, part.name))))
        if note.is_done and note.etag:
            fields.append(("ETag", note.etag))
        if note.is_done and not self.is_tus:
            if note.status == 201:
                fields = [field for field in fields if field[0] != "Location"]
                fields.append(("Location", self._url_path(note.names)))
            status = note.status or 204
        else:
            status = 201 if is_creation else 204
        if status == 201:
            fields.append(("Content-Length", "0"))
        return Response(status, fields)


class Append:
    """Appends the content of one request to an upload; a `sink.Store`."""

    keeps_parts = True

    def __init__(
        self,
        parts: Parts,
        space: Space,
        door: Door,
        name: str,
        rights_for: RightsFor,
        *,
        is_creation: bool,
    ) -> None:
        """Make this request the owner of the upload with the ID `name`. Waits for the disk.

        `is_creation` says that the request has created the upload. Raises Refused or OSError.
        """
        self._parts = parts
        self._space = space
        self._door = door
        self._name = name
        self._rights_for = rights_for
        self._is_creation = is_creation
        request = door.request
        self._claims = _checksum(request) if door.is_tus else _content_digests(request)
        self._hashes = Hashes(self._claims, most=0)
        with parts.open(name) as part:
            if not is_creation:
                door.check_append(part)
            self._is_done = part.note.is_done
            if not self._is_done:
                self._owner = part.own()
                self._start = part.offset

    def prepare(self) -> None:
        """Do nothing: the constructor has checked the request."""

    def store(self, pieces: list[bytes]) -> None:
        """Append a part of the content."""
        self._check(pieces)
        if pieces:
            with self._parts.open(self._name, self._owner) as part:
                self._append(part, pieces)

    def _check(self, pieces: list[bytes]) -> None:
        if self._is_done and any(pieces):
            raise self._door.inconsistent()
        self._space.check(sum(map(len, pieces)))
        self._hashes.update(pieces)

    def _append(self, part: Part, pieces: list[bytes]) -> None:
        size = part.offset + sum(map(len, pieces))
        if part.note.length is not None and size > part.note.length:
            raise self._door.inconsistent()
        part.append(pieces)

    def commit(self, pieces: list[bytes], _check_wanted: Callable[[], None], /) -> Response:
        """Append the last part of the content; if the upload is complete then, finish it.

        `_check_wanted` is not asked: a client that has gone meanwhile comes back for the outcome.
        """
        self._check(pieces)
        with self._parts.open(self._name, "" if self._is_done else self._owner) as part:
            if not self._is_done:
                self._append(part, pieces)
                self._check_digests(part)
                part.sync()
                if self._is_last(part):
                    finish(part, self._rights_for)
            return self._door.response(part, is_creation=self._is_creation)

    def close(self) -> None:
        """Do nothing: no file is open, and the content received so far is kept."""

    def _is_last(self, part: Part) -> bool:
        completes, length = self._door.completes, part.note.length
        if completes is None:
            return part.offset == length
        if completes and length is not None and part.offset != length:
            raise self._door.inconsistent()
        return completes

    def _check_digests(self, part: Part) -> None:
        try:
            self._hashes.check()
        except Refused as problem:
            part.cut(self._start)
            if self._door.is_tus:
                fields = [("Tus-Resumable", TUS_VERSION)]
                raise Rejected(CHECKSUM_MISMATCH, problem.detail, fields) from None
            raise


def finish(part: Part, rights_for: RightsFor) -> None:
    """Put the file of an upload in its place, since its content is complete.

    An upload whose digest (Repr-Digest) does not match is removed. Raises Refused or OSError.
    """
    note = part.note
    if note.claims:
        hashes = Hashes(note.claims, most=0)
        hashes.update(part.read())
        try:
            hashes.check()
        except Refused:
            part.remove()
            raise
    part.finish(Terms("PUT", note.conditions, note.names[-1], rights_for(note.names)))


def rejection(problem: Rejected) -> Response:
    """Return the response for a refusal, with its problem details if it has any (RFC 9457)."""
    if problem.problem is None:
        return Response(problem.status, [*problem.fields, ("Content-Length", "0")])
    content = (json.dumps({**problem.problem, "status": problem.status}) + "\n").encode()
    own = [("Content-Type", "application/problem+json"), ("Content-Length", str(len(content)))]
    return Response(problem.status, [*problem.fields, *own], (Octets(content),))


def _problem(kind: str, title: str, more: dict[str, object] | None = None) -> dict[str, object]:
    kind = f"https://iana.org/assignments/http-problem-types#{kind}"
    return {"type": kind, "title": title, **(more or {})}


def _disposition_name(value: str) -> str:
    """Return the file name in Content-Disposition (RFC 6266); "" without one."""
    from urllib.parse import unquote

    if coded := _FILENAME_CODED.search(value):
        return unquote(coded[1], errors="surrogateescape")
    found = _FILENAME.search(value)
    if found is None:
        return ""
    quoted, token = found.groups()
    text = token if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
    return text.encode("latin-1").decode("utf-8", "surrogateescape")


def _checksum(request: RequestHead) -> dict[str, bytes]:
    """Return the digest in Upload-Checksum of tus."""
    value = request.get("upload-checksum")
    if value is None:
        return {}
    name, _, digest = value.partition(" ")
    if name not in TUS_CHECKSUMS:
        raise Refused(400, f"The checksums supported are {', '.join(TUS_CHECKSUMS)}.")
    try:
        return {name: b64decode(digest, validate=True)}
    except ValueError:
        raise Refused(400, "Upload-Checksum is malformed.") from None


def _content_digests(request: RequestHead) -> dict[str, bytes]:
    return claimed_digests(request, ("content-digest",))
