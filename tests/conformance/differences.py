"""Where Portico does otherwise than a rule advises, and why. Never where the RFC says MUST."""

from __future__ import annotations

from typing import NamedTuple


class Difference(NamedTuple):
    """What a case finds, and the reason."""

    answer: str
    reason: str


DIFFERENCES: dict[str, Difference] = {}
