"""Content codings: which of those at hand a client accepts, and in what order (RFC 9110, 12.5.3).

Rule: the client's quality decides, and only where it is equal our own order. A malformed member of
the list is as if it were not there.
Limit: the first MEMBERS_LIMIT members count. Codings applied one upon another are not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

IDENTITY = "identity"
"""The coding of what is not coded."""
MEMBERS_LIMIT = 32
"""Members of one Accept-Encoding field. Browsers send four, and the registry holds about ten."""

_ALIASES = {"x-gzip": "gzip"}
"""Equivalent names (RFC 9110, 8.4.1.3)."""
_USUAL = {"1": 1000, "0": 0, "0.5": 500, "0.8": 800, "0.9": 900, "1.0": 1000}


def acceptable(value: str | None, available: Sequence[str]) -> list[str]:
    """Those of the `available` codings that a client accepts, the best first.

    `value` is that of Accept-Encoding, None where there is no such field; `available` names codings
    in lower case in our own order of preference, `IDENTITY` among them if the representation exists
    without a coding. An empty list means that no representation is left (406).

    Without the field all are acceptable, and identity comes first: who does not say what it decodes
    may decode nothing. In a field that does not name it, nor "*", identity is acceptable and comes
    last.
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


def _qualities(value: str) -> dict[str, int]:
    """The quality of each member of Accept-Encoding; of a coding named twice, the lower one."""
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
    """A qvalue in thousandths, 0 to 1000; None for any other text (RFC 9110, 12.4.2)."""
    usual = _USUAL.get(text)
    if usual is not None:
        return usual
    decimals = text[2:]
    if (
        text[1:2] != "."
        or len(decimals) > 3
        or not (decimals + "0").isdigit()
        or not text.isascii()
    ):
        return None
    if text[0] == "0":
        return int(decimals.ljust(3, "0"))
    return 1000 if text[0] == "1" and not decimals.strip("0") else None
