"""Medians, spreads and paired ratios; pure.

Rule: a ratio is taken within a round, between two slices that ran next to each other, and then
the median over rounds; a drift of the machine that lasts longer than a round hits both alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple


class Spread(NamedTuple):
    """The median of some figures, the smallest and the largest of them, and how many."""

    median: float
    low: float
    high: float
    rounds: int

    def __str__(self) -> str:
        """``0.51 (0.50-0.53)``; a single figure has no spread."""
        if self.rounds == 1:
            return f"{self.median:.2f}"
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


def spread(figures: Sequence[float]) -> Spread | None:
    """Median and extremes, or None where there is nothing."""
    if not figures:
        return None
    return Spread(median(figures), min(figures), max(figures), len(figures))


def paired_ratio(ours: Sequence[float | None], theirs: Sequence[float | None]) -> Spread | None:
    """Ours divided by theirs round by round; rounds in which either is missing do not count."""
    pairs = zip(ours, theirs, strict=False)
    return spread([our / their for our, their in pairs if our is not None and their])
