"""Responses as HTTP/1.1 bytes (RFC 9112): status line, field lines, chunks."""

from __future__ import annotations

from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, cast

from portico.http.content import OutgoingStream
from portico.http.h1.grammar import TOKEN, VALUE_OCTETS
from portico.http.status import REASONS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from portico.http.content import Content, Stream
    from portico.http.message import Field

CLOSE = b"Connection: close\r\n"
KEEP_ALIVE = b"Connection: keep-alive\r\n"
"""Sent to HTTP/1.0 clients only: HTTP/1.1 keeps connections alive by default (RFC 9112, 9.3)."""
LAST_CHUNK = b"0\r\n\r\n"
"""The end of content in the chunked transfer coding, without trailer fields."""
_DATE_LENGTH = 29


def status_line(status: int) -> bytes:
    """Return a response's first line, including CRLF (RFC 9112, 4)."""
    return f"HTTP/1.1 {status} {REASONS.get(status, '')}\r\n".encode("ascii")


def field_lines(fields: Collection[Field]) -> bytes:
    """Return field lines as bytes, each with its CRLF (RFC 9112, 5).

    Raises ValueError for a name that is not a token, or a value with a control character, which
    could split the message: the last line of defence against a bad file name or configuration.
    """
    lines = list(map(": ".join, fields))
    _check_names(tuple(map(itemgetter(0), fields)))
    octets = "\r\n".join([*lines, ""]).encode("latin-1")
    # After removing valid bytes, only the CRLF of each line may remain.
    if octets.translate(None, VALUE_OCTETS) != b"\r\n" * len(lines):
        msg = f"not field lines: {octets!r}"
        raise ValueError(msg)
    return octets


@lru_cache(maxsize=512)
def _check_names(names: tuple[str, ...]) -> None:
    for name in names:
        if TOKEN.fullmatch(name) is None:
            msg = f"not a field name: {name!r}"
            raise ValueError(msg)


def interim_head(status: int, fields: Collection[Field] = ()) -> bytes:
    """Return an interim response, which consists of a head only (RFC 9110, 15.2)."""
    return status_line(status) + field_lines(fields) + b"\r\n"


@lru_cache(maxsize=64)
def _before_date(status: int) -> bytes:
    """Return the start of every final response head with this status, up to the date."""
    return status_line(status) + b"Server: Portico\r\nDate: "


class Head:
    """The head of a final response, ready to be sent except for its Date (RFC 9110, 6.6.1)."""

    __slots__ = ("_after_date", "_before_date", "closes", "length")

    def __init__(self, status: int, fields: Collection[Field], connection: bytes) -> None:
        """`connection` is the Connection field line to send: CLOSE, KEEP_ALIVE or b""."""
        self._before_date = _before_date(status)
        self._after_date = b"\r\n" + field_lines(fields) + connection + b"\r\n"
        self.closes = connection == CLOSE
        """Whether it says that the connection ends with this response."""
        self.length = len(self._before_date) + _DATE_LENGTH + len(self._after_date)

    def octets(self, date: bytes) -> bytes:
        """Return the bytes of the head; `date` is an IMF-fixdate."""
        return self._before_date + date + self._after_date


def in_chunks(
    fields: Sequence[Field], content: Sequence[Content]
) -> tuple[list[Field], list[Content]]:
    """Return the fields and the content of a stream's response, in the chunked transfer coding.

    `content` is a stream, or empty for HEAD. Not for HTTP/1.0, which has no transfer codings: there
    the content ends with the connection (RFC 9112, 6.3).
    """
    chunked: list[Content] = [Chunked(cast("Stream", piece)) for piece in content]
    return [*fields, ("Transfer-Encoding", "chunked")], chunked


class Chunked:
    """A stream in the chunked transfer coding (RFC 9112, 7.1)."""

    __slots__ = ("_stream",)
    is_stream = True
    in_memory = None

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __len__(self) -> int:
        """Return 0: the length is unknown."""
        return 0

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield the pieces of the content as they are made, without chunk framing."""
        return self._stream.pieces(size)

    def outgoing(self) -> OutgoingChunks:
        """Return an Outgoing that sends the stream in chunks."""
        return OutgoingChunks(self._stream)


class OutgoingChunks(OutgoingStream):
    """The rest of a stream that one connection has to send in chunks."""

    __slots__ = ("_framing", "_size")
    ends_with_connection = False

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self._framing = 0  # bytes of all chunks so far that are not content
        self._size = 0  # bytes of content in the chunk that is in `memory`

    @property
    def framing_sent(self) -> int:
        """The number of bytes sent so far that frame the content."""
        left = len(self.memory)  # the rest of a chunk: its size line, its content, CRLF
        return self._framing - min(left, 2) - max(0, left - 2 - self._size)

    def _framed(self, piece: bytes | None) -> bytes:
        """Return a piece as a chunk; None stands for the end, and gives the last chunk."""
        framed = LAST_CHUNK if piece is None else chunk(piece) if piece else b""
        self._size = len(piece or b"")
        self._framing += len(framed) - self._size
        return framed


def chunk(octets: bytes) -> bytes:
    """Return a piece of content, which must not be empty, as a chunk (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(octets), octets)
