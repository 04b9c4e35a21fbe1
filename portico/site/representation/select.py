"""From a file to what a request gets of it: coding, conditions, ranges.

1. `Selector.choose`: the content coding, by what the client accepts (RFC 9110, 12.5.3). A coded
   sibling is used where there is one; else a compressed copy, once it has been made.
2. `respond`: preconditions (13.2.2), then ranges (14.2), on the representation that was chosen.

Rule: each coding is a representation of its own, with its own tag, length and ranges.
Limit: a large file that has changed a moment ago has no tag. Then it has no validator at all, for
its date could tell even less, and no ranges, for nothing tells whether two of them belong together.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from portico.http.codings import IDENTITY, acceptable
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
from portico.site.compression.encoders import SUFFIXES, WORTH_FROM
from portico.site.origin.etags import sha256
from portico.site.origin.folder import SMALL
from portico.site.origin.freshness import merge
from portico.site.origin.protocol import File
from portico.site.representation.media import is_compressible, media_type

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from portico.http.content import ByteSource
    from portico.http.message import Field, RequestHead
    from portico.site.compression.cache import CompressionCache
    from portico.site.origin.freshness import Dependencies, Dependency
    from portico.site.origin.protocol import Origin, Precompressed

    Note = Callable[..., None]
    """Told each step of a decision: a text with places for `%`, and what fills them."""

RANGE_NOT_SATISFIABLE = 416

# Of the fields of 200, what a 304 leaves out: the client has it (RFC 9110, 15.4.5).
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
# And what a 206 leaves out for a client that holds a part already, since it named it in If-Range
# (15.3.7). Of several ranges each part has its type.
_NOT_IN_RESUMED = frozenset(
    {"content-disposition", "content-encoding", "content-language", "content-type", "last-modified"}
)


_OUTCOMES = {
    PROCEED: "they hold",
    IGNORE_RANGE: "the client's part is of another version, so it gets the whole",
    NOT_MODIFIED: "the client has what is here",
    PRECONDITION_FAILED: "they do not hold",
}


class Selected:
    """The representation that was selected for a request (RFC 9110, 3.2)."""

    __slots__ = ("coding", "dependencies", "file", "media_type", "varies")

    def __init__(self, file: File, kind: str, coding: str, dependencies: Dependencies) -> None:
        self.file = file
        """What holds its octets: the file itself, or a coded form of it."""
        self.media_type = kind
        self.coding = coding
        self.varies = False
        """Might another Accept-Encoding have selected another one?"""
        self.dependencies = dependencies


class Unacceptable:
    """No representation that the client accepts: what there is instead (RFC 9110, 15.5.7)."""

    __slots__ = ("available", "dependencies", "is_pending")

    def __init__(
        self, available: list[str], dependencies: Dependencies, *, is_pending: bool
    ) -> None:
        self.available = available
        """Content codings."""
        self.dependencies = dependencies
        self.is_pending = is_pending
        """Is one being made that the client accepts?"""


class Selector:
    """Chooses among the codings of a file in `origin`; `copies` are those made here."""

    def __init__(self, origin: Origin, copies: CompressionCache | None, note: Note) -> None:
        self._origin = origin
        self._copies = copies
        self.note = note

    def choose(self, request: RequestHead, found: File | Precompressed) -> Selected | Unacceptable:
        """The representation that suits the client best (RFC 9110, 12.5.3).

        A client that names the file as it is in a condition goes on with that, if it accepts it:
        otherwise its copy would be worth nothing as soon as there is a compressed one.
        """
        kind = media_type(found.name)
        codings = found.codings or self._copied(kind, found)
        available = [*codings, IDENTITY] if isinstance(found, File) else list(codings)
        wanted = acceptable(request.get("accept-encoding"), available)
        if not found.codings:  # one copy is enough: that which this client likes best
            wanted = [coding for coding in wanted if coding in {wanted[0], IDENTITY}]
        named = _named_in(request)
        has_plain = IDENTITY in wanted and isinstance(found, File) and _is_in(named, found)
        dependencies = found.dependencies
        is_pending = False
        for coding in wanted:
            chosen = self._in_coding(coding, found)
            if isinstance(chosen, File):
                if has_plain and chosen is not found and not _is_in(named, chosen):
                    continue
                if len(available) > 1 or coding != IDENTITY:
                    self.note("Coding: %s, out of %s.", coding, ", ".join(available))
                if chosen is not found:
                    dependencies = merge(dependencies, chosen.dependencies)
                selected = Selected(chosen, kind, coding, dependencies)
                selected.varies = available != [IDENTITY]
                return selected
            if chosen is not None:
                self.note("Coding: %s is wanted, and will be made in the background.", coding)
                dependencies = merge(dependencies, (chosen,))
                is_pending = True
        self.note("Coding: none of %s is acceptable.", ", ".join(available))
        return Unacceptable(available, dependencies, is_pending=is_pending)

    def _in_coding(self, coding: str, found: File | Precompressed) -> File | Dependency | None:
        """The file in a coding, or the dependency that it is not so yet; None if there is none."""
        if isinstance(found, File):
            if coding == IDENTITY:
                return found
            if not found.codings and self._copies is not None:
                return self._copies.get(found, coding)
        return self._sibling(found, coding)

    def _copied(self, kind: str, found: File | Precompressed) -> Sequence[str]:
        """The codings in which a copy may be had."""
        if not isinstance(found, File) or found.size < WORTH_FROM or not is_compressible(kind):
            return ()
        if self._copies is None:
            return ()
        return self._copies.codings

    def _sibling(self, original: File | Precompressed, coding: str) -> File | None:
        """A coded sibling, unless what lies there may not be served."""
        name = original.name + SUFFIXES[coding]
        found = self._origin.look_up((*original.names[:-1], name))
        return found if isinstance(found, File) else None


def _named_in(request: RequestHead) -> str:
    """The tags of what the client says that it has, or of which it has a part."""
    if not is_conditional(request.fields):
        return ""
    return f"{request.get('if-none-match')}, {request.get('if-range')}"


def _is_in(named: str, file: File) -> bool:
    return file.etag is not None and any(tag in named for tag in (file.etag, *file.aliases))


def respond(
    request: RequestHead, selected: Selected, fields: list[Field], now: float, note: Note
) -> Response:
    """The answer to GET or HEAD with the selected representation; `fields` are those of 200.

    For 412 and 416 it has no content yet: that is a page, which the caller makes. `now` is in
    seconds since the epoch.
    """
    file = selected.file
    may_be_partial = request.method == "GET" and file.etag is not None
    if is_conditional(request.fields):
        # Rounded down as in imf_fixdate, before 1970 too.
        modified = None if file.etag is None else int(min(file.modified, now) // 1)
        validators = Validators(file.etag, modified, file.aliases)
        outcome = evaluate(request.get, request.method, validators, now)
        names = ", ".join([name.title() for name, _ in request.fields if name in FIELDS])
        note("Conditions: %s: %s.", names, _OUTCOMES[outcome])
        if outcome == PRECONDITION_FAILED:
            return Response(PRECONDITION_FAILED, [])
        fields = _as_named(request, file, fields)
        if outcome == NOT_MODIFIED:
            kept = [field for field in fields if field[0].lower() not in _NOT_IN_304]
            return Response(NOT_MODIFIED, kept)
        may_be_partial = may_be_partial and outcome != IGNORE_RANGE
    if may_be_partial and (value := request.get("range")) is not None:
        ranges = parse_range(value, file.size)
        note("Range: %s of %d octets selects %s.", value, file.size, _shown(ranges))
        if ranges is not None:
            return _partial(request, selected, fields, ranges)
    content = (file.content,) if file.size else ()
    if file.digest is not None and is_wanted(request.get("want-content-digest")):
        fields = [*fields, ("Content-Digest", digest_value(file.digest))]
    return Response(200, fields, content)


def _as_named(request: RequestHead, file: File, fields: list[Field]) -> list[Field]:
    """`fields`, with that of the file's tags by which the client has named it.

    A cache may freshen its copy, and a client join two parts, only under one and the same tag (RFC
    9111, 4.3.4; RFC 9110, 15.3.7.3).
    """
    named = ", ".join([value for name, value in request.fields if name in FIELDS])
    if file.etag is None or file.etag in named:
        return fields
    for alias in file.aliases:
        if alias in named:
            return [(name, alias if name == "ETag" else value) for name, value in fields]
    return fields


def fields_of(selected: Selected, cache_control: str, now: float) -> list[Field]:
    """The fields of a 200 with the whole representation.

    The date is never later than the answer's (RFC 9110, 8.8.2.1). It comes only with a tag, which
    clients prefer, for two states of a file can have the same second.
    """
    file = selected.file
    fields = [("Content-Type", selected.media_type), ("Content-Length", str(file.size))]
    if selected.coding != IDENTITY:
        fields.append(("Content-Encoding", selected.coding))
    if file.etag is not None:
        fields.append(("ETag", file.etag))
        fields.append(("Accept-Ranges", "bytes"))
        fields.append(("Last-Modified", imf_fixdate(min(file.modified, now))))
    if selected.varies:
        fields.append(("Vary", "Accept-Encoding"))
    fields.append(("Cache-Control", cache_control))
    fields.append(("X-Content-Type-Options", "nosniff"))
    return fields


def repr_digest(request: RequestHead, selected: Selected) -> list[Field]:
    """Repr-Digest, if it is wanted and known (RFC 9530, 3)."""
    digest = selected.file.digest
    if digest is None or not is_wanted(request.get("want-repr-digest")):
        return []
    return [("Repr-Digest", digest_value(digest))]


def _partial(
    request: RequestHead, selected: Selected, fields: list[Field], ranges: Sequence[tuple[int, int]]
) -> Response:
    """206 with the ranges, or 416 where there are none."""
    file = selected.file
    if not ranges:
        return Response(RANGE_NOT_SATISFIABLE, [("Content-Range", unsatisfied_range(file.size))])
    known = {name.lower(): value for name, value in fields}
    left_out = {"content-length"}
    if request.get("if-range") is not None:
        left_out |= _NOT_IN_RESUMED
    added: list[Field]
    has_digest = is_wanted(request.get("want-content-digest"))
    content = _cut(file.content, ranges, at_once=has_digest or len(ranges) > 1)
    if len(ranges) == 1:
        [(start, end)] = ranges
        length = end - start
        added = [("Content-Range", content_range(start, end, file.size))]
    else:
        parts = Multipart(ranges, known.get("content-type"), file.size, _boundary(file, ranges))
        heads = [Octets(head) for head, _, _ in parts.parts]
        content = [*chain.from_iterable(zip(heads, content, strict=True)), Octets(parts.closing)]
        length = parts.content_length
        left_out.add("content-type")
        added = [("Content-Type", parts.content_type)]
    if has_digest and (digest := _digest(content)):
        added.append(("Content-Digest", digest_value(digest)))
    kept = [field for field in fields if field[0].lower() not in left_out]
    return Response(206, [*added, ("Content-Length", str(length)), *kept], content)


def _shown(ranges: Sequence[tuple[int, int]] | None) -> str:
    """What a Range field selects, for people."""
    if ranges is None:
        return "the whole, because it is no range set that could be answered in parts"
    return ", ".join([f"{start}-{end - 1}" for start, end in ranges]) or "nothing"


def _cut(
    content: ByteSource, ranges: Sequence[tuple[int, int]], *, at_once: bool
) -> list[ByteSource]:
    """The octets of each range of a file's content.

    Several small pieces of a file are read at once: that costs less than sending each from it.
    """
    parts = [content.slice(start, end) for start, end in ranges]
    if at_once and sum(map(len, parts)) <= SMALL:
        octets = [part.read() for part in parts]
        is_whole = list(map(len, octets)) == list(map(len, parts))
        if is_whole and not content.has_changed():
            return [Octets(each) for each in octets]
    return parts


def _boundary(file: File, ranges: Sequence[tuple[int, int]]) -> str:
    """A boundary that nobody can have put into the file: it follows from the octets themselves."""
    return sha256(f"{file.etag}{ranges}".encode("ascii"))[:18].hex()


def _digest(content: Sequence[ByteSource]) -> bytes | None:
    """The SHA-256 digest of content that is in memory."""
    octets = [piece.in_memory for piece in content]
    return None if None in octets else sha256(b"".join(filter(None, octets)))
