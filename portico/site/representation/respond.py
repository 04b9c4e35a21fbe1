"""The Response to GET or HEAD with a selected representation, in the order of RFC 9110, 13.2.2.

1. Preconditions: 412, or 304 if the client's copy is current.
2. If-Range: if the client's part is of another version, Range is ignored.
3. Range (14.2): 206, or 416 if no requested range lies within the content.
4. Otherwise 200.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from portico.http.codings import IDENTITY
from portico.http.conditional import (
    FIELDS,
    IGNORE_RANGE,
    NOT_MODIFIED,
    PRECONDITION_FAILED,
    PROCEED,
    Validators,
    evaluate,
    is_conditional,
)
from portico.http.content import Octets
from portico.http.dates import imf_fixdate
from portico.http.digests import digest_value, is_wanted
from portico.http.message import Response
from portico.http.ranges import Multipart, content_range, parse_range, unsatisfied_range
from portico.site.fields import without
from portico.site.origin.etags import sha256
from portico.site.origin.folder import SMALL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portico.http.content import ByteSource
    from portico.http.message import Field, RequestHead
    from portico.site.origin.protocol import File
    from portico.site.representation.select import Note, Selected

    Ranges = Sequence[tuple[int, int]]
    """The start and the end (exclusive) of each range."""

RANGE_NOT_SATISFIABLE = 416

_NO_DATE = 1
"""Seconds since the epoch up to which a time is not the date of a change: Nix sets 1 for all files,
Bazel and other tools for reproducible images set 0."""

# The fields of a 200 that a 304 leaves out, because the client has them (RFC 9110, 15.4.5).
_NOT_IN_304 = frozenset(
    {
        "accept-ranges",
        "content-digest",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-length",
        "content-type",
        "last-modified",
        "repr-digest",
        "x-content-type-options",
    }
)
# The fields that a 206 leaves out if the request has If-Range, since such a client has them from an
# earlier part (15.3.7).
_NOT_IN_RESUMED = frozenset(
    {"content-disposition", "content-encoding", "content-language", "content-type", "last-modified"}
)

_CHANGING = FIELDS | {"range", "want-content-digest"}
"""Request fields that can change a 200, or turn it into another status."""

_OUTCOMES = {
    PROCEED: "they hold",
    IGNORE_RANGE: "the client's part is of another version, so it gets the whole",
    NOT_MODIFIED: "the client has what is here",
    PRECONDITION_FAILED: "they do not hold",
}


def fields_of(selected: Selected, cache_control: str, now: float) -> list[Field]:
    """Return the fields of a 200 with the whole representation."""
    file = selected.file
    fields = [
        ("Content-Type", selected.media_type),
        ("Content-Length", str(file.size)),
        ("ETag", file.etag),
        ("Accept-Ranges", "bytes"),
        ("Cache-Control", cache_control),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if selected.coding != IDENTITY:
        fields.insert(2, ("Content-Encoding", selected.coding))
    if (modified := last_modified(file, now)) is not None:
        fields.insert(-2, ("Last-Modified", imf_fixdate(modified)))
    if selected.varies:
        fields.insert(-2, ("Vary", "Accept-Encoding"))
    return fields


def last_modified(file: File, now: float) -> int | None:
    """Return the date of Last-Modified in whole seconds, never later than `now` (8.8.2.1).

    Return None for a time up to _NO_DATE: tools that build reproducible images set such a time for
    all files, so a new version would have the same date.
    """
    seconds = int(min(file.modified, now) // 1)
    return seconds if seconds > _NO_DATE else None


def repr_digest(request: RequestHead, selected: Selected) -> list[Field]:
    """Return Repr-Digest if the request wants it and the digest is known, else [] (RFC 9530, 3)."""
    digest = selected.file.digest
    if (
        "want-repr-digest" not in request.field_names
        or digest is None
        or not is_wanted(request.get("want-repr-digest"))
    ):
        return []
    return [("Repr-Digest", digest_value(digest))]


def respond(
    request: RequestHead, selected: Selected, fields: list[Field], now: float, note: Note
) -> Response:
    """Return the Response; `fields` are those of a 200, `now` is in seconds since the epoch.

    A 412 or 416 has no content: the caller makes a page for it.
    """
    file = selected.file
    content = (file.content,) if file.size else ()
    if request.field_names.isdisjoint(_CHANGING):
        return Response(200, fields, content)
    may_be_partial = request.method == "GET"
    if is_conditional(request.fields):
        validators = Validators(
            file.etag, last_modified(file, now), shares_date=selected.shares_date
        )
        outcome = evaluate(request.get, request.method, validators, now)
        names = ", ".join([name.title() for name, _ in request.fields if name in FIELDS])
        note("Conditions: %s: %s.", names, _OUTCOMES[outcome])
        if outcome == PRECONDITION_FAILED:
            return Response(PRECONDITION_FAILED, [])
        if outcome == NOT_MODIFIED:
            return Response(NOT_MODIFIED, without(fields, _NOT_IN_304))
        may_be_partial = may_be_partial and outcome != IGNORE_RANGE
    if may_be_partial and (value := request.get("range")) is not None:
        ranges = parse_range(value, file.size)
        note("Range: %s of %d bytes selects %s.", value, file.size, _shown(ranges))
        if ranges is not None:
            return _partial(request, file, fields, ranges)
    if file.digest is not None and is_wanted(request.get("want-content-digest")):
        fields = [*fields, ("Content-Digest", digest_value(file.digest))]
    return Response(200, fields, content)


def under_conditions(request: RequestHead, response: Response) -> Response:
    """Return `response`, a 200 with a generated page, or 304 or 412 as its entity tag decides."""
    tag = next((value for name, value in response.fields if name == "ETag"), None)
    if tag is None or not is_conditional(request.fields):
        return response
    outcome = evaluate(request.get, request.method, Validators(tag, None), 0)
    if outcome == PRECONDITION_FAILED:
        return Response(PRECONDITION_FAILED, [])
    if outcome == NOT_MODIFIED:
        return Response(NOT_MODIFIED, without(response.fields, _NOT_IN_304))
    return response


def _partial(request: RequestHead, file: File, fields: list[Field], ranges: Ranges) -> Response:
    """Return 206 with the ranges, or 416 if `ranges` is empty."""
    if not ranges:
        return Response(RANGE_NOT_SATISFIABLE, [("Content-Range", unsatisfied_range(file.size))])
    left_out = {"content-length"}
    if request.get("if-range") is not None:
        left_out |= _NOT_IN_RESUMED
    has_digest = is_wanted(request.get("want-content-digest"))
    content = _cut(file.content, ranges, at_once=has_digest or len(ranges) > 1)
    if len(ranges) == 1:
        [(start, end)] = ranges
        length = end - start
        added = [("Content-Range", content_range(start, end, file.size))]
    else:
        # The boundary depends on the content, so that nobody can write a file that contains it.
        boundary = sha256(f"{file.etag}{ranges}".encode("ascii"))[:18].hex()
        media_type = next((value for name, value in fields if name.lower() == "content-type"), None)
        parts = Multipart(ranges, media_type, file.size, boundary)
        heads = [Octets(head) for head, _, _ in parts.parts]
        content = [*chain.from_iterable(zip(heads, content, strict=True)), Octets(parts.closing)]
        length = parts.content_length
        left_out.add("content-type")
        added = [("Content-Type", parts.content_type)]
    in_memory = [piece.in_memory for piece in content]
    if has_digest and None not in in_memory:
        digest = sha256(b"".join(filter(None, in_memory)))
        added.append(("Content-Digest", digest_value(digest)))
    fields = without(fields, left_out)
    return Response(206, [*added, ("Content-Length", str(length)), *fields], content)


def _shown(ranges: Ranges | None) -> str:
    """Return a text for people: what a Range field selects."""
    if ranges is None:
        return "the whole, because it is not a range that can be sent as a part"
    return ", ".join([f"{start}-{end - 1}" for start, end in ranges]) or "nothing"


def _cut(content: ByteSource, ranges: Ranges, *, at_once: bool) -> list[ByteSource]:
    """Return each range of a file's content.

    With `at_once`, small ranges are read now: to send each of several from the file costs more.
    """
    parts = [content.slice(start, end) for start, end in ranges]
    if at_once and sum(map(len, parts)) <= SMALL:
        octets = [part.read() for part in parts]
        if list(map(len, octets)) == list(map(len, parts)) and not content.has_changed():
            return [Octets(each) for each in octets]
    return parts
