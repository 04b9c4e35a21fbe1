"""Byte ranges: which bytes a Range field selects, and how they are sent (RFC 9110, 14 and 15.3.7).

Exactly the requested bytes are selected, each of them once. Ranges that overlap or are adjacent are
merged; gaps between ranges are never filled. Parts are in the order of the request, and a merged
part is at the place of its first range (15.3.7.2).
Limits: beyond RANGES_LIMIT and WASTE_LIMIT the whole representation is sent. "bytes" is the only
unit. This module does not read content: a part is a pair of positions.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from portico.http.h1.serialize import field_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

Range = tuple[int, int]
"""The position of a range's first byte, and the position after its last byte."""

RANGES_LIMIT = 256
"""Ranges in one field, empty list elements included. zsync sends 20, zchunk 255."""
PART_COST = 128
"""Estimated bytes of a part's delimiter, Content-Type and Content-Range."""
WASTE_LIMIT = 4096
"""Bytes by which a multipart response may exceed the whole representation. A few parts of a tiny
file are sent as requested, hundreds of parts are not."""

_DIGITS = 18
"""Numbers with more digits are taken for 10**18; no file is longer."""

# A subset of the bchars of RFC 2046, 5.1.1: some clients misread a boundary that needs quotes
# (RFC 9110, 14.6), and Python's email parser misreads a boundary with an apostrophe.
_BOUNDARY = re.compile(r"[0-9A-Za-z._-]{1,70}")


def parse_range(value: str, length: int) -> list[Range] | None:
    """Return the ranges that a Range field selects of a representation of `length` bytes.

    - None: ignore the field and send the whole representation (200). This is the result for another
      unit, an invalid range set (14.1.1), beyond the limits, and for an empty representation, of
      which a suffix range selects an empty part that no Content-Range can describe (14.2).
    - An empty list: no range can be satisfied (416).
    - Ranges (206). A single range is sent without multipart, even if several were requested.
    """
    if value[:6].lower() != "bytes=" or length == 0:
        return None
    specs = value[6:].split(",", RANGES_LIMIT)
    if len(specs) > RANGES_LIMIT:
        return None
    selected: list[Range] = []
    valid = False
    for element in specs:
        if spec := element.strip(" \t"):
            chosen = _select(spec, length)
            if chosen is None:
                return None
            valid = True
            if chosen[0] < chosen[1]:
                selected.append(chosen)
    if not valid:
        return None
    if len(selected) < 2:
        return selected
    parts = _merge(selected)
    cost = sum(end - start + PART_COST for start, end in parts)
    return parts if len(parts) == 1 or cost <= length + WASTE_LIMIT else None


def _select(spec: str, length: int) -> Range | None:
    """Return the range of one range-spec, clipped to `length`; None if it is invalid (14.1.2).

    For a range that cannot be satisfied, the end is not greater than the start.
    """
    first, dash, last = spec.partition("-")
    digits = first + last
    if not (dash and digits.isdigit() and digits.isascii()):
        return None
    if not first:
        return max(0, length - _number(last)), length
    start = _number(first)
    if not last:
        return start, length
    end = _number(last) + 1
    return None if end <= start else (start, min(end, length))


def _number(digits: str) -> int:
    """Return the number, at most 10**18: int() would raise ValueError for thousands of digits."""
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _DIGITS else 10**_DIGITS


def _merge(ranges: list[Range]) -> list[Range]:
    """Merge ranges that overlap or are adjacent; a merged range is at the place of its first."""
    if all(one[1] < other[0] for one, other in pairwise(ranges)):
        return ranges
    merged: list[list[int]] = []
    for start, end, place in sorted((*each, place) for place, each in enumerate(ranges)):
        if merged and start <= merged[-1][2]:
            last = merged[-1]
            merged[-1] = [min(place, last[0]), last[1], max(end, last[2])]
        else:
            merged.append([place, start, end])
    return [(start, end) for _, start, end in sorted(merged)]


def content_range(start: int, end: int, length: int) -> str:
    """Return the Content-Range of the bytes from `start` up to `end` (RFC 9110, 14.4)."""
    return f"bytes {start}-{end - 1}/{length}"


def unsatisfied_range(length: int) -> str:
    """Return the Content-Range of a 416 for a representation of `length` bytes (RFC 9110, 14.4)."""
    return f"bytes */{length}"


class Multipart:
    """Several ranges as one content: multipart/byteranges (RFC 9110, 14.6 and 15.3.7.2).

    The content is each part's head followed by its bytes, then `closing`. Every delimiter begins
    with CRLF (RFC 2046, 5.1.1), even the first, and the closing one also ends with CRLF: zsync
    skips a line before each delimiter, and reads the closing one up to the end of its line.
    """

    __slots__ = ("closing", "content_length", "content_type", "parts")

    def __init__(
        self, ranges: Sequence[Range], media_type: str | None, length: int, boundary: str
    ) -> None:
        """`media_type` and `length` are those of the whole representation.

        `boundary` must not occur in the content. Raises ValueError for a boundary that is invalid
        or needs quotes, and for a media type that is not a valid field value.
        """
        if not _BOUNDARY.fullmatch(boundary):
            raise ValueError(f"not a boundary: {boundary!r}")
        opening = f"\r\n--{boundary}\r\n".encode("ascii")
        if media_type is not None:
            opening += field_lines([("Content-Type", media_type)])
        self.content_type = f"multipart/byteranges; boundary={boundary}"
        """The Content-Type of the response."""
        self.parts = [
            (
                b"%bContent-Range: bytes %d-%d/%d\r\n\r\n" % (opening, start, end - 1, length),
                start,
                end,
            )
            for start, end in ranges
        ]
        """For each part: its delimiter with its head, and the start and end of its range."""
        self.closing = f"\r\n--{boundary}--\r\n".encode("ascii")
        """The closing delimiter."""
        self.content_length = len(self.closing) + sum(
            len(head) + end - start for head, start, end in self.parts
        )
        """The Content-Length of the response."""
