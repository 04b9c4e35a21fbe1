"""Byte ranges: which octets a Range field selects, and how they are sent (RFC 9110, 14 and 15.3.7).

Rule: exactly the octets are selected that the field asks for, each of them once. Ranges that
overlap or touch become one; a gap is never filled, since nobody asked for it. Parts keep the order
of the request, a merged one at the place of its first range (15.3.7.2).
Limits: RANGES_LIMIT bounds the count, WASTE_LIMIT the total; beyond them the whole is sent. "bytes"
is the only unit. Content is not touched here: a part is a pair of positions.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from portico.http.h1.serialize import field_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

Range = tuple[int, int]
"""The position of a range's first octet, and the one behind its last."""

RANGES_LIMIT = 256
"""Ranges in one field, empty list elements included. zsync asks for 20 at once, zchunk for 255."""
PART_COST = 128
"""Octets that each part costs beside its content: delimiter, Content-Type and Content-Range."""
WASTE_LIMIT = 4096
"""Octets by which a multipart answer may exceed the whole: some parts of a tiny file are answered
as asked, hundreds of them are not."""

_DIGITS = 18
_BEYOND = 10**18
"""Stands for every number of more than _DIGITS digits: no file is that long."""

# Of the bchars of RFC 2046, 5.1.1 the plainest: some clients misread a boundary that needs quotes
# (RFC 9110, 14.6), and the standard library's e-mail parser one that holds an apostrophe.
_BOUNDARY = re.compile(r"[0-9A-Za-z._-]{1,70}")


def parse_range(value: str, length: int) -> list[Range] | None:
    """What a Range field selects of a representation that is `length` octets long.

    - None: the field is to be ignored, the whole to be sent (200). So for another unit, for an
      invalid range set (14.1.1), beyond the limits, and for an empty representation, since no
      Content-Range can describe what a suffix selects of it (14.2).
    - An empty list: nothing that is asked for exists (416).
    - Ranges (206). A single one is sent without multipart, even where more were asked for.
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
    """What one range-spec selects (RFC 9110, 14.1.2), clipped; None where it is invalid.

    What cannot be satisfied selects a range that ends where it starts, or before.
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
    """The number that `digits` write. The longest cost no arithmetic."""
    if len(digits) > _DIGITS:
        digits = digits.lstrip("0") or "0"
        if len(digits) > _DIGITS:
            return _BEYOND
    return int(digits)


def _merge(ranges: list[Range]) -> list[Range]:
    """The same octets in ranges that neither overlap nor touch, in the order of their first."""
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
    """The Content-Range of octets `start` to `end`, exclusive, of `length` (RFC 9110, 14.4)."""
    return f"bytes {start}-{end - 1}/{length}"


def unsatisfied_range(length: int) -> str:
    """The Content-Range of a 416 for a representation of `length` octets (RFC 9110, 14.4)."""
    return f"bytes */{length}"


class Multipart:
    """Several ranges as one content: multipart/byteranges (RFC 9110, 14.6 and 15.3.7.2).

    To be sent: each part's head and then its octets, at last `closing`. Every delimiter begins with
    its CRLF (RFC 2046, 5.1.1), the first one too, and the last one ends with another: zsync skips a
    line before each delimiter, and takes whatever follows the last on its line for a part of it.
    """

    __slots__ = ("closing", "content_length", "content_type", "parts")

    def __init__(
        self, ranges: Sequence[Range], media_type: str | None, length: int, boundary: str
    ) -> None:
        """`media_type` is the Content-Type of the whole, `length` its octets.

        Nothing in the octets sent may look like `boundary`. Raises ValueError for a boundary that
        is none, or that would need quotes, and for a media type that would split a part's head.
        """
        if not _BOUNDARY.fullmatch(boundary):
            raise ValueError(f"not a boundary: {boundary!r}")
        opening = f"\r\n--{boundary}\r\n".encode("ascii")
        if media_type is not None:
            opening += field_lines([("Content-Type", media_type)])
        self.content_type = f"multipart/byteranges; boundary={boundary}"
        """The Content-Type of the answer."""
        self.parts = [
            (
                b"%bContent-Range: bytes %d-%d/%d\r\n\r\n" % (opening, start, end - 1, length),
                start,
                end,
            )
            for start, end in ranges
        ]
        """For each part its delimiter and head, then its range."""
        self.closing = f"\r\n--{boundary}--\r\n".encode("ascii")
        """The closing delimiter."""
        self.content_length = len(self.closing) + sum(
            len(head) + end - start for head, start, end in self.parts
        )
        """Octets in all: the Content-Length of the answer."""
