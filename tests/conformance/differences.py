"""Where Portico does otherwise than a rule advises, and why. Never where the RFC says MUST."""

from __future__ import annotations

from typing import NamedTuple


class Difference(NamedTuple):
    """What a case finds, and the reason."""

    answer: str
    reason: str


DIFFERENCES: dict[str, Difference] = {
    "target-not-ascii": Difference(
        "404",
        "octets from 0x80 on stand for themselves, percent-encoded, because busybox wget, lftp and "
        "Java's HttpURLConnection send them so; the encoded form is what every rule sees.",
    ),
}
