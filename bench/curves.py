"""The cost of a request along each axis as curves, one panel per axis, in SVG; pure.

Rule: the values of an axis stand at equal distances.  The scale of the cost begins at zero, or is
logarithmic where the costs differ by more than ``FACTOR``; a thin line spans the rounds.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from bench import plot
from bench.plot import MARGIN, TOP, WIDTH, words
from bench.ratios import Spread
from bench.record import Record
from bench.rows import axes, curves
from bench.table import figure

TITLE = "How the cost of a request grows"
NOTE = "CPU µs per request on one core, lower is better. Steps of the axes are not to scale."
COLUMNS = 2
GAP = 44
SCALE = 52
HIGH = 200
HEAD = 62
FOOT = 44
FACTOR = 50
STYLES = 5


class Line(NamedTuple):
    """One server's curve: the cost at each value, None where there is none."""

    title: str
    costs: list[Spread | None]


class Panel(NamedTuple):
    """One axis: the words under it, and the curves."""

    name: str
    title: str
    shown: tuple[str, ...]
    lines: list[Line]


class Scale(NamedTuple):
    """From a cost to a height between 0 and 1, and the costs that get a line."""

    low: float
    high: float
    logarithmic: bool
    marks: list[float]

    def at(self, cost: float) -> float:
        """How high a cost stands."""
        if self.logarithmic:
            return math.log(max(cost, self.low) / self.low) / math.log(self.high / self.low)
        return cost / self.high


def panels(record: Record) -> list[Panel]:
    """What there is to draw of a record."""
    found = []
    for axis in axes(record):
        lines = [
            Line(record.title(one.server), [one.at(i) for i in range(len(axis.values))])
            for one in curves(record, axis)
        ]
        lines = [line for line in lines if any(line.costs)]
        if lines:
            found.append(Panel(axis.name, axis.title, axis.shown, lines))
    return found


def scale(panel: Panel) -> Scale:
    """The scale that suits the panel's costs."""
    costs = [cost for line in panel.lines for cost in line.costs if cost is not None]
    low, high = min(cost.median for cost in costs), max(cost.high for cost in costs)
    if high > FACTOR * low:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        return Scale(10.0**first, 10.0**last, True, [10.0**n for n in range(first, last + 1)])
    step = 10.0 ** math.floor(math.log10(high / 2))
    step *= next((factor for factor in (1, 2, 5) if high / (step * factor) <= 5), 10)
    count = math.ceil(high / step)
    return Scale(0.0, step * count, False, [step * n for n in range(count + 1)])


def draw(found: list[Panel]) -> str:
    """The drawing, panels row by row."""
    wide = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS
    tall = HEAD + HIGH + FOOT
    body: list[str] = []
    for index, panel in enumerate(found):
        row, column = divmod(index, COLUMNS)
        body += _panel(panel, MARGIN + column * (wide + GAP), TOP + row * tall, wide)
    rows = math.ceil(len(found) / COLUMNS)
    return plot.page(TITLE, NOTE, body, TOP + rows * tall + 4)


def _panel(panel: Panel, x: float, y: float, wide: float) -> list[str]:
    axis, left, floor = scale(panel), x + SCALE, y + HEAD + HIGH
    parts = [words(x, y + 12, "name", panel.name), words(x, y + 30, "soft", panel.title)]
    for mark in axis.marks:
        at = floor - HIGH * axis.at(mark)
        parts.append(_stroke("grid", (left, at), (x + wide, at)))
        parts.append(words(left - 8, at + 4, "soft end value", _mark(mark)))
    step = (wide - SCALE) / len(panel.shown)
    places = [left + step * (index + 0.5) for index in range(len(panel.shown))]
    for index, shown in enumerate(panel.shown):
        # Where words would meet, every second one stands lower.
        lower = 14 * (index % 2) if step < 60 else 0
        parts.append(
            f'<text class="soft" text-anchor="middle" x="{places[index]:.1f}"'
            f' y="{floor + 18 + lower:g}">{shown}</text>'
        )
    at_x = x + SCALE
    for index, line in enumerate(panel.lines):
        parts += _line(line, min(index, STYLES - 1), places, (floor, axis))
        parts.append(f'<circle class="dot d{index}" cx="{at_x + 4:.1f}" cy="{y + 44:g}" r="4"/>')
        parts.append(words(at_x + 12, y + 48, "own" if index == 0 else "", line.title))
        at_x += 40 + 7.5 * len(line.title)
    return parts


def _line(line: Line, style: int, places: list[float], under: tuple[float, Scale]) -> list[str]:
    floor, axis = under
    parts, points = [], []
    for x, cost in zip(places, line.costs, strict=True):
        if cost is None:
            continue
        low, middle, high = (
            floor - HIGH * axis.at(each) for each in (cost.low, cost.median, cost.high)
        )
        points.append(f"{x:.1f},{middle:.1f}")
        parts.append(_stroke("span", (x, low), (x, high)))
        parts.append(
            f'<circle class="dot d{style}" cx="{x:.1f}" cy="{middle:.1f}" r="3.4">'
            f"<title>{figure(cost.median)}</title></circle>"
        )
    return [f'<polyline class="curve c{style}" points="{" ".join(points)}"/>', *parts]


def _stroke(style: str, start: tuple[float, float], end: tuple[float, float]) -> str:
    return (
        f'<line class="{style}" x1="{start[0]:.1f}" y1="{start[1]:.1f}"'
        f' x2="{end[0]:.1f}" y2="{end[1]:.1f}"/>'
    )


def _mark(cost: float) -> str:
    return f"{cost:,.0f}" if cost >= 1 or cost == 0 else f"{cost:g}"
