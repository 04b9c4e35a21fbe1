"""Request heads: found, checked and parsed (RFC 9112, 2 to 5).

Pure: bytes in, values out. Raises ProtocolError for what breaks the grammar or a limit.

1. `head_end` finds where the head ends.
2. `HeadParser.key` checks the syntax of each line and drops the fields that are not needed.
3. `HeadParser.interpret` parses the request line and the fields that frame the message.

A caller that has replied to the same key before can stop after step 2. What the fields of a key
mean is kept for step 3, since most requests of a client differ in the request line only. Three
bounded caches make step 2 cheap: one of lines already checked, since a browser repeats nearly
all of its lines; one of what such lines come to that follow a request line together; and one of
heads that differ in the value of a single field that is not needed, such as a cookie or a request
number, since then the rest of the head only has to be compared.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from portico.bounded import BoundedCache, Doorkeeper
from portico.http import fields
from portico.http.h1.grammar import (
    ABSOLUTE_FORM,
    FIELD_LINE,
    ORIGIN_FORM,
    QUERY_LINE,
    REQUEST_LINE,
    USUAL_LINE,
    VALUE_OCTETS,
)
from portico.http.message import Field, ProtocolError, RequestHead

if TYPE_CHECKING:
    from typing import Any

    Meaning = tuple[tuple[Field, ...], str, int, bool, bool]
    """Fields, authority, length of the content, and what is asked: to keep alive, to continue."""

HEAD_LIMIT = 16384
"""Octets of a request head. Browsers stay below 8 KiB; with large cookies it can be 16."""
TARGET_LIMIT = 8000
"""Octets of a request target: the minimum that RFC 9112, 3 recommends."""
FIELDS_LIMIT = 100
"""Field lines of a head or a trailer section. Browsers send about 15."""

_LINES_CACHED = 4096
_LINE_LIMIT = 512
"""Longer lines (cookies, tokens) are not cached, so the cache of lines is at most 5 MiB."""

_TEMPLATES_CACHED = 256
_TEMPLATE_LIMIT = 2048
"""Octets of a head kept as a template, so the cache of templates is at most 512 KiB."""

_SECTIONS_CACHED = 256
"""So many field sections that are kept, each as long as a template, so at most 512 KiB."""

_MEANINGS_CACHED = 64
"""So many combinations of fields that are kept, at most 1 MiB: the clients of a site send few."""

_NOT_ASCII = re.compile(r"[^\x00-\x7f]")

_FRAMING = frozenset({"connection", "content-length", "expect", "host", "transfer-encoding"})
"""The fields that `interpret` needs."""

SKIPPED = 1
"""Replaces a field line that is valid and not needed."""

HeadKey = tuple[bytes | Field | int, ...]
"""The request line as received, then for each field line its field, or SKIPPED. (Removing SKIPPED
would take longer than leaving it in.)"""


def head_end(data: bytes, scanned: int = 0) -> int:
    """Return the length of the head at the start of `data`, or -1 if it is not complete.

    An earlier call that returned -1 has seen the first `scanned` octets. Raises ProtocolError for a
    head that is too large, and for a line end other than CRLF as soon as it is seen: a client that
    ends its lines so would never send more.
    """
    end = data.find(b"\r\n\r\n", max(0, scanned - 3), HEAD_LIMIT)
    if end >= 0:
        return end + 4
    if len(data) >= HEAD_LIMIT:
        if data.find(b"\r\n", 0, HEAD_LIMIT) < 0:
            raise ProtocolError(414, f"The request line exceeds {HEAD_LIMIT} bytes.")
        raise ProtocolError(431, f"The request line and headers exceed {HEAD_LIMIT} bytes.")
    if line_end_is_bare(data, scanned):
        raise ProtocolError(400, "A line does not end with CR LF.")
    return -1


def line_end_is_bare(data: bytes, scanned: int) -> bool:
    """Return whether there is a CR or LF without the other after the first `scanned` octets.

    A CR at the very end does not count: its LF may follow. RFC 9112, 2.2 lets a recipient accept a
    bare LF as a line end, but then a proxy that does not would see a different message.
    """
    begin = scanned - data.endswith(b"\r", 0, scanned)
    rest = data[begin : len(data) - data.endswith(b"\r")].replace(b"\r\n", b"")
    return b"\n" in rest or b"\r" in rest


class HeadParser:
    """Parses request heads, with caches of valid lines and heads.

    `keep` names the fields, in lower case, that RequestHead gets besides those that frame the
    message. Others are checked and dropped. None keeps every field.
    """

    __slots__ = (
        "_keep",
        "_line_doorkeeper",
        "_lines",
        "_meanings",
        "_sections",
        "_template_doorkeeper",
        "_templates",
    )

    def __init__(self, keep: frozenset[str] | None = None) -> None:
        self._keep = None if keep is None else keep | _FRAMING
        self._lines: BoundedCache[bytes, Field | int] = BoundedCache(_LINES_CACHED)
        self._line_doorkeeper = Doorkeeper()
        # By request line: the head before and after the value that differs, and its key.
        self._templates: BoundedCache[bytes, tuple[bytes, bytes, HeadKey]] = BoundedCache(
            _TEMPLATES_CACHED
        )
        self._template_doorkeeper = Doorkeeper()
        # What follows a request line, and its part of the key.
        self._sections: BoundedCache[bytes, tuple[Any, ...]] = BoundedCache(_SECTIONS_CACHED)
        self._meanings: BoundedCache[tuple[Any, ...], Meaning] = BoundedCache(_MEANINGS_CACHED)

    def parse(self, head: bytes) -> RequestHead:
        """Parse a complete head, with its final empty line. Raises ProtocolError."""
        return self.interpret(self.key(head))

    def key(self, head: bytes) -> HeadKey:
        """Check each field line of a complete head, and return what the reply can depend on.

        Raises ProtocolError. The request line is not checked; `interpret` does that.
        """
        line_end = head.find(b"\r\n")
        template = self._templates.young.get(head[:line_end])
        if template is not None:
            prefix, suffix, key = template
            end = len(head) - len(suffix)
            # The value contains no CR or LF, so all other lines are those of the template.
            if (
                end >= len(prefix)
                and head.startswith(prefix)
                and head.endswith(suffix)
                and not head[len(prefix) : end].translate(None, VALUE_OCTETS)
            ):
                return key
        section = self._sections.young.get(head[line_end:])
        if section is not None and line_end:
            return (head[:line_end], *section)
        # Lines beyond the limit stay together in the last one, which is then never a cached line.
        lines = head[:-4].split(b"\r\n", FIELDS_LIMIT)
        kept: list[Any] = list(map(self._lines.young.get, lines))
        kept[0] = lines[0]
        if not all(kept):
            if not lines[0] and not head.startswith(b"\r\n\r\n"):
                return self.key(head[2:])  # ignore one empty line before it (RFC 9112, 2.2)
            if b"\r\n" in lines[-1]:
                raise ProtocolError(431, f"The request has more than {FIELDS_LIMIT} headers.")
            unknown = [index for index, field in enumerate(kept) if field is None]
            for index in unknown:
                kept[index] = self._field(lines[index])
            if (
                len(unknown) == 1
                and kept[unknown[0]] == SKIPPED
                and len(head) <= _TEMPLATE_LIMIT
                and self._template_doorkeeper.admit(lines[0])
            ):
                self._cache_template(head, lines, unknown[0], tuple(kept))
        elif len(head) <= _TEMPLATE_LIMIT:
            self._sections.put(head[line_end:], tuple(kept[1:]))
        return tuple(kept)

    def _cache_template(self, head: bytes, lines: list[bytes], new: int, key: HeadKey) -> None:
        """Cache a head of which every line but the one at index `new` was cached before."""
        start = sum(map(len, lines[:new])) + 2 * new
        prefix = head[: start + lines[new].index(b":") + 1]
        self._templates.put(lines[0], (prefix, head[start + len(lines[new]) :], key))

    def _field(self, line: bytes) -> Field | int:
        """Return the field in `line`, or SKIPPED if it is not to be kept."""
        known = self._lines.get(line)
        if known is not None:
            return known
        found = FIELD_LINE.fullmatch(line)
        if found is None:
            raise ProtocolError(400, "A header line is malformed.")
        name = found[1].decode("ascii").lower()
        field: Field | int = SKIPPED
        if self._keep is None or name in self._keep:
            field = (name, found[2].decode("latin-1").strip(" \t"))
        if len(line) <= _LINE_LIMIT and self._line_doorkeeper.admit(line):
            self._lines.put(line, field)
        return field

    def interpret(self, key: HeadKey) -> RequestHead:
        """Parse the request line and the framing fields of a key. Raises ProtocolError."""
        request = _request_line(request_line_of(key))
        lines = (request.version, *key[1:])
        meaning = self._meanings.get(lines)
        if meaning is None:
            meaning = _meaning(lines)
            self._meanings.put(lines, meaning)
        request.fields, authority, request.content_length = meaning[:3]
        request.keep_alive, request.expects_continue = meaning[3:]
        request.authority = request.authority or authority
        return request


def _meaning(lines: tuple[Any, ...]) -> Meaning:
    """Return what the field lines of a key mean; `lines` begins with the version instead.

    Raises ProtocolError.
    """
    version, *rest = lines
    kept = tuple([field for field in rest if field != SKIPPED])
    framing: dict[str, list[str]] = {}
    for name, value in kept:
        if name in _FRAMING:
            framing.setdefault(name, []).append(value)
    values = framing.get
    length = fields.content_length(
        values("content-length", ()), values("transfer-encoding", ()), version
    )
    authority = fields.host(values("host", ()), version)
    keep_alive = fields.keep_alive(values("connection", ()), version)
    return (
        kept,
        authority,
        length,
        keep_alive,
        fields.expects_continue(values("expect", ()), version),
    )


def request_line_of(key: HeadKey) -> bytes:
    """Return the request line in a key, as received."""
    line = key[0]
    assert isinstance(line, bytes)  # noqa: S101 - HeadKey's type cannot express it
    return line


def without_query(key: HeadKey) -> HeadKey | None:
    """Return the key of the same request without its query; None if it has none.

    None, too, for a request line that is not valid.
    """
    line = key[0]
    if not isinstance(line, bytes) or b"?" not in line or len(line) > TARGET_LIMIT:
        return None
    found = QUERY_LINE.fullmatch(line)
    return None if found is None else (found[1] + found[2], *key[1:])


def _request_line(line: bytes) -> RequestHead:
    """Parse a request line, with its target in one of the four forms of RFC 9112, 3.2."""
    usual = USUAL_LINE.fullmatch(line)
    if usual is None or len(line) > TARGET_LIMIT:
        return _other_request_line(line)
    method, path = usual[1].decode("ascii"), usual[2].decode("ascii")
    query = None if usual[3] is None else usual[3].decode("ascii")
    target = path if query is None else f"{path}?{query}"
    request = RequestHead(method, target, 0 if usual[4] == b"0" else 1, ())
    request.path, request.query = path, query
    return request


def _other_request_line(line: bytes) -> RequestHead:
    found = REQUEST_LINE.fullmatch(line)
    if found is None:
        raise ProtocolError(400, "The request line is malformed.")
    method, target = found[1].decode("ascii"), found[2].decode("latin-1")
    if found[3] != b"1":
        raise ProtocolError(505, "This server supports HTTP/1.1 and HTTP/1.0.")
    if len(target) > TARGET_LIMIT:
        raise ProtocolError(414, f"The request target exceeds {TARGET_LIMIT} bytes.")
    request = RequestHead(method, _in_ascii(target), 0 if found[4] == b"0" else 1, ())
    if origin := ORIGIN_FORM.fullmatch(target):
        request.path, request.query = origin[1], origin[2]
    elif absolute := ABSOLUTE_FORM.fullmatch(target):
        if not fields.is_host(absolute[2]):
            raise ProtocolError(400, "The host in the request target is not valid.")
        request.scheme, request.authority = absolute[1].lower(), absolute[2]
        request.path, request.query = absolute[3] or "/", absolute[4]
    elif target == "*" and method == "OPTIONS":
        request.path = target
    elif method != "CONNECT":
        raise ProtocolError(400, "The request target is malformed.")
    if not target.isascii():
        request.path = _in_ascii(request.path)
        request.query = request.query and _in_ascii(request.query)
    return request


def _in_ascii(target: str) -> str:
    """Return a target, decoded as Latin-1, with each octet beyond ASCII percent-encoded."""
    return target if target.isascii() else _NOT_ASCII.sub(_encoded, target)


def _encoded(octet: re.Match[str]) -> str:
    return f"%{ord(octet[0]):02X}"
