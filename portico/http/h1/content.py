"""Decodes a request's content from the received bytes (RFC 9112, 6.3 and 7.1)."""

from __future__ import annotations

from portico.http.h1.grammar import CHUNK_LINE, FIELD_LINE
from portico.http.h1.head import FIELDS_LIMIT, HEAD_LIMIT, line_end_is_bare
from portico.http.message import CHUNKED, ProtocolError

CHUNK_LINE_LIMIT = 256
"""Most bytes of a chunk-size line with its extensions, which are hardly ever sent."""
EXCESS_LIMIT = 16384
"""Most bytes of chunk-size lines that exceed, in total, 16 per chunk and twice its content: no
client needs many such lines."""
_LINE_LIMITS = {"size": CHUNK_LINE_LIMIT, "data end": 0, "trailer": HEAD_LIMIT}


class ContentReader:
    """Decodes the content of one request from the bytes that its connection receives.

    Call `feed` until `complete` is true. Chunk extensions and trailer fields are checked and
    dropped.
    """

    __slots__ = ("_excess", "_left", "_line", "_state", "_trailer_lines", "complete")

    def __init__(self, content_length: int) -> None:
        chunked = content_length == CHUNKED
        self._left = 0 if chunked else content_length
        self._state = "size" if chunked else "content"
        self._line = b""
        self._excess = 0
        self._trailer_lines = 0
        self.complete = content_length == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the content in `data`, decoded, and the bytes after the end of the content.

        Raises ProtocolError if the chunked coding is malformed.
        """
        if self.complete:
            return b"", data
        if self._state == "content":
            content = data[: self._left]
            self._left -= len(content)
            self.complete = self._left == 0
            return content, data[len(content) :]
        pieces: list[bytes] = []
        at = 0
        while at < len(data) and not self.complete:
            if self._state == "data":
                piece = data[at : at + self._left]
                pieces.append(piece)
                self._left -= len(piece)
                at += len(piece)
                if self._left == 0:
                    self._state = "data end"
            else:
                at = self._take_line(data, at)
        return b"".join(pieces), data[at:]

    def _take_line(self, data: bytes, at: int) -> int:
        """Read one line of the chunked coding, or a part of a line; return the index after it."""
        most = _LINE_LIMITS[self._state] + 2
        seen = len(self._line)
        line = self._line + data[at : at + most - seen]
        end = line.find(b"\r\n", max(0, seen - 1))
        if end < 0:
            if len(line) == most or line_end_is_bare(line, seen):
                raise ProtocolError(400, "The chunked coding is malformed.")
            self._line = line
            return len(data)
        self._line = b""
        self._end_line(line[:end])
        return at + end + 2 - seen

    def _end_line(self, line: bytes) -> None:
        """Act on one complete line: a chunk's size, the end of its data, or a trailer field."""
        if self._state == "size":
            found = CHUNK_LINE.fullmatch(line)
            if found is None:
                raise ProtocolError(400, "A chunk size is malformed.")
            self._left = int(found[1], 16)
            self._excess = max(0, self._excess + len(line) - 16 - 2 * self._left)
            if self._excess > EXCESS_LIMIT:
                raise ProtocolError(400, "The chunks hold too little content.")
            self._state = "data" if self._left else "trailer"
        elif self._state == "data end":
            self._state = "size"
        elif not line:
            self.complete = True
        else:
            self._trailer_lines += 1
            if self._trailer_lines > FIELDS_LIMIT or not FIELD_LINE.fullmatch(line):
                raise ProtocolError(400, "The trailer section is malformed.")
