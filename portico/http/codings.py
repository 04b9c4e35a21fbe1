"""Content codings that a client accepts, in order of preference (RFC 9110, 12.5.3).

The client's quality values decide; the server's order decides between equal ones. A malformed
member of the list is skipped.
Limit: only the first MEMBERS_LIMIT members are read. Several codings applied to the same content
are not supported.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

IDENTITY = "identity"
"""The name in Accept-Encoding for content without any coding."""
MEMBERS_LIMIT = 32
"""Members of one Accept-Encoding field. Browsers send four; about ten codings are registered."""

_ALIASES = {"x-gzip": "gzip"}
"""Equivalent names (RFC 9110, 8.4.1.3)."""

# qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] ) (RFC 9110, 12.4.2)
_QVALUE = re.compile(r"0(?:\.([0-9]{0,3}))?|1(?:\.0{0,3})?")


def acceptable(value: str | None, available: Sequence[str]) -> list[str]:
    """Return the `available` codings that the client accepts, the preferred one first.

    `value` is the value of Accept-Encoding, None without the field. `available` has names in lower
    case in the server's order of preference, including IDENTITY if there is uncoded content. If the
    result is empty, no representation is acceptable (406).

    Without the field, every coding is acceptable, but identity comes first: such a client may not
    be able to decode any coding. If the field has neither identity nor "*", identity is acceptable
    and comes last.
    """
    if value is None:
        return sorted(available, key=IDENTITY.__ne__)
    qualities = _qualities(value)
    default = qualities.get("*")
    scores = {}
    for coding in available:
        quality = qualities.get(coding, default)
        if quality:
            scores[coding] = quality
        elif quality is None and coding == IDENTITY:
            scores[coding] = 0
    return sorted(scores, key=scores.__getitem__, reverse=True)


@lru_cache(maxsize=64)
def _qualities(value: str) -> dict[str, int]:
    """Return each coding's quality in thousandths; the lowest if a coding is named repeatedly."""
    qualities: dict[str, int] = {}
    for member in value.lower().split(",", MEMBERS_LIMIT)[:MEMBERS_LIMIT]:
        coding, semicolon, weight = member.partition(";")
        quality: int | None = 1000
        if semicolon:
            weight = weight.strip(" \t")
            quality = parse_quality(weight[2:]) if weight[:2] == "q=" else None
        coding = coding.strip(" \t")
        if quality is not None and coding:
            coding = _ALIASES.get(coding, coding)
            qualities[coding] = min(quality, qualities.get(coding, 1000))
    return qualities


def parse_quality(text: str) -> int | None:
    """Return a quality value in thousandths; None if `text` is not valid (RFC 9110, 12.4.2)."""
    found = _QVALUE.fullmatch(text)
    if found is None:
        return None
    return 1000 if text[0] == "1" else int((found[1] or "").ljust(3, "0"))
