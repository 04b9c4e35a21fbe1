"""HTTP/1.1 messages as bytes (RFC 9112): heads cut, parsed and written, content unframed.

Pure: bytes in, values out, ProtocolError for what breaks the grammar. A head takes three steps,

1. `head_end` finds where it ends,
2. `HeadParser.key` checks the syntax of each line and keeps only the fields that can matter,
3. `HeadParser.interpret` gives those their meaning,

so that a caller who has answered the same key before can stop after step 2. What makes step 2 cheap
are two bounded memories: of lines already checked, since a browser repeats nearly all of its lines;
and of heads in which a single line that does not matter was new, such as a cookie or a request's
number, since when it is new again the rest of the head need only be compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.bounded import Bounded
from portico.http import fields
from portico.http.h1.grammar import (
    ABSOLUTE_FORM,
    FIELD_LINE,
    HOST,
    ORIGIN_FORM,
    REQUEST_LINE,
)
from portico.http.message import Field, ProtocolError, RequestHead

if TYPE_CHECKING:
    from typing import Any

HEAD_LIMIT = 16384
"""Octets of a request head. Browsers stay below 8 KiB; large cookies come to 16."""
TARGET_LIMIT = 8000
"""Octets of a request target: the least that RFC 9112, 3 recommends to support."""
FIELDS_LIMIT = 100
"""Field lines of a head or a trailer section. Browsers send about 15."""

_LINES_REMEMBERED = 4096
_LINE_REMEMBERED_LIMIT = 512
"""Longer lines (cookies, tokens) are checked each time; so the memory of lines is at most 5 MiB."""

SKIPPED = 1
"""Stands for a field line that is valid and does not matter."""

_SHAPES_REMEMBERED = 256
_SHAPE_LIMIT = 2048
"""Octets of a head whose shape is remembered; so the memory of shapes is at most 512 KiB."""
_VALUE_OCTETS = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
"""What a field value consists of: see `grammar.FIELD_LINE`."""

HeadKey = tuple[bytes | Field | int, ...]
"""A head without what cannot matter: the request line as it came, then for each line its field, or
SKIPPED. (SKIPPED stays in it because to take it out costs more than to leave it.)"""


def head_end(data: bytes, scanned: int = 0) -> int:
    """The index behind the head that `data` begins with, or -1 when it is not complete.

    `scanned` octets were seen by an earlier call that answered -1. Raises ProtocolError for a head
    that is too large, and at once for a line end other than CRLF: its sender would wait in vain.
    """
    end = data.find(b"\r\n\r\n", max(0, scanned - 3), HEAD_LIMIT)
    if end >= 0:
        return end + 4
    if len(data) >= HEAD_LIMIT:
        if data.find(b"\r\n", 0, HEAD_LIMIT) < 0:
            raise ProtocolError(414, f"The request line exceeds {HEAD_LIMIT} octets.")
        raise ProtocolError(431, f"The request head exceeds {HEAD_LIMIT} octets.")
    if line_end_is_bare(data, scanned):
        raise ProtocolError(400, "Lines end with CR LF; this one does not.")
    return -1


def line_end_is_bare(data: bytes, scanned: int) -> bool:
    """Does a CR or LF stand alone behind the first `scanned` octets? The last CR may get its LF.

    RFC 9112, 2.2 lets a recipient take a bare LF for a line end; two parties that differ in this
    see two different messages, so it is refused.
    """
    begin = scanned - data.endswith(b"\r", 0, scanned)
    rest = data[begin : len(data) - data.endswith(b"\r")].replace(b"\r\n", b"")
    return b"\n" in rest or b"\r" in rest


class HeadParser:
    """Parses request heads and remembers the lines it has found valid.

    `keep` names the fields (lower case) that end up in a RequestHead; all others are checked and
    dropped. None keeps every field.
    """

    __slots__ = ("_keep", "_lines", "_shapes")

    def __init__(self, keep: frozenset[str] | None = None) -> None:
        self._keep = None if keep is None else keep | _FRAMING
        self._lines: Bounded[bytes, Field | int] = Bounded(_LINES_REMEMBERED)
        # By request line: what stands before and behind the value that differs, and the key.
        self._shapes: Bounded[bytes, tuple[bytes, bytes, HeadKey]] = Bounded(_SHAPES_REMEMBERED)

    def parse(self, head: bytes) -> RequestHead:
        """Parse a complete head, its final empty line included. Raises ProtocolError."""
        return self.interpret(self.key(head))

    def key(self, head: bytes) -> HeadKey:
        """Check each field line of a complete head; what is left decides the answer.

        Raises ProtocolError. The request line is not looked into: `interpret` does that.
        """
        shape = self._shapes.young.get(head[: head.find(b"\r\n")])
        if shape is not None:
            before, behind, key = shape
            end = len(head) - len(behind)
            # Without CR and LF in the value, the head has the same lines but for that one.
            if (
                end >= len(before)
                and head.startswith(before)
                and head.endswith(behind)
                and not head[len(before) : end].translate(None, _VALUE_OCTETS)
            ):
                return key
        # What exceeds the limit stays in the last piece, which then is no line found valid before.
        lines = head[:-4].split(b"\r\n", FIELDS_LIMIT)
        kept: list[Any] = list(map(self._lines.young.get, lines))
        kept[0] = lines[0]
        if not all(kept):
            if not lines[0] and not head.startswith(b"\r\n\r\n"):
                return self.key(head[2:])  # one empty line before it is ignored (RFC 9112, 2.2)
            if b"\r\n" in lines[-1]:
                raise ProtocolError(431, f"The head has more than {FIELDS_LIMIT} field lines.")
            unknown = [index for index, field in enumerate(kept) if field is None]
            for index in unknown:
                kept[index] = self._field(lines[index])
            if len(unknown) == 1 and kept[unknown[0]] == SKIPPED and len(head) <= _SHAPE_LIMIT:
                self._remember_shape(head, lines, unknown[0], tuple(kept))
        return tuple(kept)

    def _remember_shape(self, head: bytes, lines: list[bytes], new: int, key: HeadKey) -> None:
        """Remember a head in which only the line with the index `new` was not known."""
        start = sum(map(len, lines[:new])) + 2 * new
        before = head[: start + lines[new].index(b":") + 1]
        self._shapes.offer(lines[0], (before, head[start + len(lines[new]) :], key))

    def _field(self, line: bytes) -> Field | int:
        """The field in `line`, or SKIPPED when it is not to be kept."""
        known = self._lines.get(line)
        if known is not None:
            return known
        found = FIELD_LINE.fullmatch(line)
        if found is None:
            raise ProtocolError(400, "A field line is malformed.")
        name = found[1].decode("ascii").lower()
        field: Field | int = SKIPPED
        if self._keep is None or name in self._keep:
            field = (name, found[2].decode("latin-1").strip(" \t"))
        if len(line) <= _LINE_REMEMBERED_LIMIT:
            self._lines.offer(line, field)
        return field

    def interpret(self, key: HeadKey) -> RequestHead:
        """Give a key its meaning: framing, target, authority, persistence. Raises ProtocolError."""
        request = _request_line(request_line_of(key))
        request.fields = tuple([field for field in key if isinstance(field, tuple)])
        version = request.version
        given: dict[str, list[str]] = {}
        for name, value in request.fields:
            if name in _FRAMING:
                given.setdefault(name, []).append(value)
        values = given.get
        request.content_length = fields.content_length(
            values("content-length", []), values("transfer-encoding", []), version
        )
        authority = fields.host(values("host", []), version)
        request.authority = request.authority or authority
        request.keep_alive = fields.keep_alive(values("connection", []), version)
        request.expects_continue = fields.expects_continue(values("expect", []), version)
        return request


_FRAMING = frozenset(
    {"connection", "content-length", "expect", "host", "transfer-encoding"},
)


def request_line_of(key: HeadKey) -> bytes:
    """The request line in a key, as it came."""
    line = key[0]
    assert isinstance(line, bytes)  # noqa: S101 (it always is; the type cannot say so)
    return line


def _request_line(line: bytes) -> RequestHead:
    """Parse a request line, its target in one of the four forms of RFC 9112, 3.2."""
    found = REQUEST_LINE.fullmatch(line)
    if found is None:
        raise ProtocolError(400, "The request line is malformed.")
    method, target = found[1].decode("ascii"), found[2].decode("ascii")
    if found[3] != b"1":
        raise ProtocolError(505, "This server speaks HTTP/1.1 and HTTP/1.0.")
    if len(target) > TARGET_LIMIT:
        raise ProtocolError(414, f"The request target exceeds {TARGET_LIMIT} octets.")
    request = RequestHead(method, target, 0 if found[4] == b"0" else 1, ())
    if origin := ORIGIN_FORM.fullmatch(target):
        request.path, request.query = origin[1], origin[2]
    elif absolute := ABSOLUTE_FORM.fullmatch(target):
        if not HOST.fullmatch(absolute[1]):
            raise ProtocolError(400, "The request target does not name a host.")
        request.authority, request.path = absolute[1], absolute[2] or "/"
        request.query = absolute[3]
    elif target == "*" and method == "OPTIONS":
        request.path = target
    elif method != "CONNECT":
        raise ProtocolError(400, "The request target is malformed.")
    return request
