"""Messages handed to the parser as a connection does it: piece by piece, each octet once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from portico.http.h1.content import ContentReader
from portico.http.h1.head import HeadParser, head_end
from portico.http.message import ProtocolError, RequestHead

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NEXT = b"GET /next HTTP/1.1\r\nHost: next.example\r\n\r\n"
"""A request that follows on the same connection; not an octet of it may be lost or misread."""

BARE = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")
"""A CR or LF without the other."""
REFUSALS = {400, 414, 417, 431, 501, 505}
"""The statuses with which a head is refused."""

ATTRIBUTES = RequestHead.__slots__


def attributes(head: RequestHead) -> dict[str, object]:
    """All that a RequestHead says, so that two can be compared."""
    return {name: getattr(head, name) for name in ATTRIBUTES}


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """`data` in the pieces that lie between `places`, some of them perhaps empty."""
    ends = sorted(min(place, len(data)) for place in places)
    return [data[begin:end] for begin, end in zip([0, *ends], [*ends, len(data)], strict=True)]


class Read(NamedTuple):
    """What came of a head: its attributes, or a status, or neither when it is not complete."""

    head: dict[str, object] | None
    status: int
    rest: bytes


def read_head(pieces: Sequence[bytes], parser: HeadParser | None = None) -> Read:
    """Receive `pieces` until they hold a head, and parse it."""
    parser = parser or HeadParser()
    data, scanned = b"", 0
    for number, piece in enumerate(pieces, 1):
        data += piece
        try:
            end = head_end(data, scanned)
            if end >= 0:
                head = attributes(parser.parse(data[:end]))
                return Read(head, 0, data[end:] + b"".join(pieces[number:]))
        except ProtocolError as error:
            return Read(None, error.status, b"")
        scanned = len(data)
    return Read(None, 0, data)


class Content(NamedTuple):
    """What came of a content: its octets, whether it has ended, what follows it, or a status."""

    content: bytes
    complete: bool
    rest: bytes
    status: int = 0


def read_content(length: int, pieces: Iterable[bytes]) -> Content:
    """Receive `pieces` and cut out the content."""
    reader = ContentReader(length)
    content, rest = b"", b""
    for piece in pieces:
        try:
            found, follows = reader.feed(piece)
        except ProtocolError as error:
            return Content(b"", complete=False, rest=b"", status=error.status)
        content += found
        rest += follows
    return Content(content, reader.complete, rest)
