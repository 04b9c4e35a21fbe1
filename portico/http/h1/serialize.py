"""Responses as bytes (RFC 9112): the status line, field lines, chunks."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from portico.http.h1.grammar import FIELD_LINE
from portico.http.status import REASONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from portico.http.message import Field


def status_line(status: int) -> bytes:
    """A response's first line, CRLF included (RFC 9112, 4)."""
    return f"HTTP/1.1 {status} {REASONS.get(status, '')}\r\n".encode("ascii")


def field_lines(response_fields: Iterable[Field]) -> bytes:
    """Field lines as they are sent, each with its CRLF (RFC 9112, 5).

    Raises ValueError for a value that would split the message: the last line of defence, whatever
    a file name or a configuration held.
    """
    return b"".join([_line(name, value) for name, value in response_fields])


@lru_cache(maxsize=512)
def _line(name: str, value: str) -> bytes:
    line = f"{name}: {value}".encode("latin-1")
    found = FIELD_LINE.fullmatch(line)
    if found is None or found.end(1) != len(name):
        msg = f"not a field line: {line!r}"
        raise ValueError(msg)
    return line + b"\r\n"


LAST_CHUNK = b"0\r\n\r\n"
"""Ends content in the chunked transfer coding, without trailer fields."""


def chunk(octets: bytes) -> bytes:
    """A piece of content, not an empty one, in the chunked transfer coding (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(octets), octets)
