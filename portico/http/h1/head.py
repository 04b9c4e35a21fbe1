"""Request heads: found, checked and parsed (RFC 9112, 2 to 5).

Pure: bytes in, values out. Raises ProtocolError if the grammar or a limit is violated.

1. `head_end` finds the end of the head.
2. `HeadParser.key` checks the syntax of each line and drops the fields that are not needed.
3. `HeadParser.interpret` parses the request line and the fields that frame the message.

A caller that has replied to the same key before can stop after step 2. Step 3 caches the meaning of
a key's fields, since most requests of a client differ only in the request line. Three bounded
caches make step 2 cheap:
- lines that were checked before, since a browser repeats nearly all of its lines;
- sections: the whole text after a request line, when all its lines were checked before;
- templates: heads that differ only in the value of one field that is not needed, such as a cookie
  or a request id, so that the rest of the head only has to be compared.
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

    Meaning = tuple[tuple[Field, ...], frozenset[str], str, int, bool, bool]
    """Fields, their names, authority, content length, and whether to keep alive and to send 100
    (Continue)."""

HEAD_LIMIT = 16384
"""Most bytes of a request head. Browsers send less than 8 KiB, up to 16 with large cookies."""
TARGET_LIMIT = 8000
"""Most bytes of a request target: the least limit that RFC 9112, 3 recommends."""
FIELDS_LIMIT = 100
"""Most field lines of a head or a trailer section. Browsers send about 15."""

_LINES_CACHED = 4096
_LINE_LIMIT = 512
"""Longer lines (cookies, tokens) are not cached, so the cache of lines is at most 5 MiB."""

_TEMPLATES_CACHED = 256
_TEMPLATE_LIMIT = 2048
"""Most bytes of a head that is cached as a template, so that cache is at most 512 KiB."""

_SECTIONS_CACHED = 256
"""Cached sections, each at most as long as a template, so that cache is at most 512 KiB."""

_MEANINGS_CACHED = 64
"""Cached combinations of fields, at most 1 MiB: the clients of a site send few different ones."""

_NOT_ASCII = re.compile(r"[^\x00-\x7f]")

_FRAMING = frozenset({"connection", "content-length", "expect", "host", "transfer-encoding"})
"""The fields that `interpret` needs."""

SKIPPED = 1
"""Stands in a key for a field line that is valid but not needed."""

HeadKey = tuple[bytes | Field | int, ...]
"""The request line as received, then for each field line its field, or SKIPPED. (Removing each
SKIPPED would take longer than keeping it.)"""


def head_end(data: bytes, scanned: int = 0) -> int:
    """Return the length of the head at the start of `data`, or -1 if it is not complete.

    `scanned` is the length of `data` at an earlier call that returned -1, or 0. Raises
    ProtocolError for a head that is too large, and for a line end other than CRLF as soon as it is
    seen: a client with such line ends waits for the response, and sends no more.
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
    """Return whether there is a CR without LF, or LF without CR, after the first `scanned` bytes.

    A CR at the very end does not count: its LF may follow. RFC 9112, 2.2 lets a recipient accept a
    bare LF as a line end, but a proxy that does not accept it would see a different message.
    """
    begin = scanned - data.endswith(b"\r", 0, scanned)
    rest = data[begin : len(data) - data.endswith(b"\r")].replace(b"\r\n", b"")
    return b"\n" in rest or b"\r" in rest


class HeadParser:
    """Parses request heads, with caches of valid lines and heads.

    `keep` has the names, in lower case, of the fields that RequestHead gets in addition to those
    that frame the message. Other fields are checked and dropped. None keeps every field.
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
        # By request line: the head before and after the value that differs, and the key.
        self._templates: BoundedCache[bytes, tuple[bytes, bytes, HeadKey]] = BoundedCache(
            _TEMPLATES_CACHED
        )
        self._template_doorkeeper = Doorkeeper()
        # By the text after the request line: the key without its request line.
        self._sections: BoundedCache[bytes, tuple[Any, ...]] = BoundedCache(_SECTIONS_CACHED)
        self._meanings: BoundedCache[tuple[Any, ...], Meaning] = BoundedCache(_MEANINGS_CACHED)

    def parse(self, head: bytes) -> RequestHead:
        """Parse a complete head, with its final empty line. Raises ProtocolError."""
        return self.interpret(self.key(head))

    def key(self, head: bytes) -> HeadKey:
        """Check each field line of a complete head, and return the part that a reply can depend on.

        Raises ProtocolError. The request line is not checked; `interpret` does that.
        """
        line_end = head.find(b"\r\n")
        template = self._templates.young.get(head[:line_end])
        if template is not None:
            prefix, suffix, key = template
            end = len(head) - len(suffix)
            # The value contains no CR or LF, so all other lines are the template's.
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
        # Beyond the limit, the last item has all further lines, and so is never a cached line.
        lines = head[:-4].split(b"\r\n", FIELDS_LIMIT)
        kept: list[Any] = list(map(self._lines.young.get, lines))
        kept[0] = lines[0]
        if not all(kept):
            if not lines[0] and not head.startswith(b"\r\n\r\n"):
                return self.key(head[2:])  # ignore one empty line before the head (RFC 9112, 2.2)
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
        """Cache a head as a template; the value of the line at index `new` may differ later.

        All other lines were cached before.
        """
        start = sum(map(len, lines[:new])) + 2 * new
        prefix = head[: start + lines[new].index(b":") + 1]
        self._templates.put(lines[0], (prefix, head[start + len(lines[new]) :], key))

    def _field(self, line: bytes) -> Field | int:
        """Return the field in `line`, or SKIPPED if it is not needed. Raises ProtocolError."""
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
        """Parse the request line and the fields of a key. Raises ProtocolError."""
        request = _request_line(request_line_of(key))
        lines = (request.version, *key[1:])
        meaning = self._meanings.young.get(lines) or self._meanings.get(lines)
        if meaning is None:
            meaning = _meaning(lines)
            self._meanings.put(lines, meaning)
        (
            request.fields,
            request.field_names,
            authority,
            request.content_length,
            request.keep_alive,
            request.expects_continue,
        ) = meaning
        request.authority = request.authority or authority
        return request


def _meaning(lines: tuple[Any, ...]) -> Meaning:
    """Return the meaning of a key's fields. Raises ProtocolError.

    `lines` is the key with the minor version in the place of the request line.
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
        frozenset([name for name, _ in kept]),
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
    """Return the key of the same request without its query.

    Return None if there is no query, or the request line is not valid.
    """
    line = key[0]
    if not isinstance(line, bytes) or b"?" not in line or len(line) > TARGET_LIMIT:
        return None
    found = QUERY_LINE.fullmatch(line)
    return None if found is None else (found[1] + found[2], *key[1:])


def _request_line(line: bytes) -> RequestHead:
    """Parse a request line, with its target in one of the four forms of RFC 9112, 3.2."""
    usual = USUAL_LINE.fullmatch(line.decode("latin-1"))
    if usual is None or len(line) > TARGET_LIMIT:
        return _other_request_line(line)
    method, target, path, query, version = usual.groups()
    request = RequestHead(method, target, 0 if version == "0" else 1, ())
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
    """Return a target, decoded as Latin-1, with each non-ASCII byte percent-encoded."""
    return target if target.isascii() else _NOT_ASCII.sub(_encoded, target)


def _encoded(octet: re.Match[str]) -> str:
    return f"%{ord(octet[0]):02X}"
