"""CPU time per request as horizontal bars, one panel per scenario, in SVG; pure.

Rule: each panel has its own scale from zero and is sorted; a thin line spans smallest and largest
round.  A bar that would dwarf the others is cut, which a gap shows, and keeps its figure.
The drawing carries its own background and follows the reader's choice of light or dark.
"""

from __future__ import annotations

from html import escape
from typing import NamedTuple

from bench.ratios import Spread
from bench.record import Record
from bench.table import figure

WIDTH = 960
MARGIN = 24
GAP = 36
NAMES = 152
VALUES = 64
ROW = 22
BAR = 14
HEAD = 54
TOP = 78
# A bar longer than this many times the dearest contender's is cut.
CUT = 1.6

STYLE = """\
.card{fill:#ffffff;stroke:#d5dae0}
text{fill:#1f2328;font:13px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
.title{font-size:19px;font-weight:600}.name{font-size:14px;font-weight:600}
.soft{fill:#59636e;font-size:12px}.own{font-weight:600}
.end{text-anchor:end}.value{font-variant-numeric:tabular-nums}
.bar{fill:#a9b4c0}.portico{fill:#2f6fde}.floor{fill:#d5dae0}
.axis{stroke:#8b949e;stroke-width:1}.span{stroke:#1f2328;stroke-width:1.2;opacity:.65}
.gap{fill:#ffffff}
.grid{stroke:#d5dae0;stroke-width:1}.curve{fill:none;stroke-width:2.2;stroke-linejoin:round}
.c0{stroke:#2f6fde}.c1{stroke:#d9730d}.c2{stroke:#2e8b57}.c3{stroke:#8250df}.c4{stroke:#8b949e}
.dot{stroke:none}.d0{fill:#2f6fde}.d1{fill:#d9730d}.d2{fill:#2e8b57}.d3{fill:#8250df}.d4{fill:#8b949e}
@media (prefers-color-scheme:dark){
.card{fill:#0d1117;stroke:#30363d}text{fill:#e6edf3}.soft{fill:#9198a1}
.bar{fill:#57606a}.portico{fill:#4c8dff}.floor{fill:#30363d}
.axis{stroke:#6e7681}.span{stroke:#e6edf3}.gap{fill:#0d1117}
.grid{stroke:#30363d}.c0{stroke:#4c8dff}.c1{stroke:#f0883e}.c2{stroke:#56d364}.c3{stroke:#bc8cff}
.d0{fill:#4c8dff}.d1{fill:#f0883e}.d2{fill:#56d364}.d3{fill:#bc8cff}}
"""


class Bar(NamedTuple):
    """One server's bar: how it is called and drawn, and its figures."""

    title: str
    style: str
    cost: Spread


class Panel(NamedTuple):
    """One scenario: its bars from the cheapest to the dearest, and where a bar is cut."""

    name: str
    title: str
    unit: str
    bars: list[Bar]
    longest: float


def panels(record: Record, names: list[str] | None = None) -> list[Panel]:
    """What there is to draw of a record: these scenarios, or all."""
    found = []
    kinds = {one.name: one.kind for one in record.servers}
    for result in record.results:
        if names is not None and result.scenario.name not in names:
            continue
        bars, near = [], [0.0]
        for cell in result.cells:
            cost = cell.cost(result.scenario.unit)
            if cost is None:
                continue
            kind = kinds.get(cell.server, "")
            style = cell.server if cell.server == "portico" else "floor" if kind == "floor" else ""
            bars.append(Bar(record.title(cell.server), style, cost))
            if kind == "contender":
                near.append(cost.median)
        if bars:
            bars.sort(key=lambda bar: bar.cost.median)
            dearest = bars[-1].cost.median
            longest = min(dearest, max(near) * CUT) or dearest
            scenario = result.scenario
            found.append(Panel(scenario.name, scenario.title, scenario.unit, bars, longest))
    return found


def draw(title: str, note: str, found: list[Panel], columns: int) -> str:
    """The drawing: *found* in so many columns, filled row by row."""
    wide = (WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns
    body, y = [], float(TOP)
    for start in range(0, len(found), columns):
        line = found[start : start + columns]
        for column, panel in enumerate(line):
            body += _panel(panel, MARGIN + column * (wide + GAP), y, wide)
        y += HEAD + ROW * max(len(panel.bars) for panel in line) + GAP / 2
    return page(title, note, body, y + 8)


def page(title: str, note: str, body: list[str], height: float) -> str:
    """A drawing of this height around *body*, which begins at ``TOP``."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}"',
            f'width="{WIDTH}" height="{height:g}" role="img" aria-labelledby="title note">',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="note">{escape(note)}</desc>',
            f"<style>{STYLE}</style>",
            '<rect class="card" x=".5" y=".5" rx="8"',
            f'width="{WIDTH - 1}" height="{height - 1:g}"/>',
            words(MARGIN, 36, "title", title),
            words(MARGIN, 58, "soft", note),
            *body,
            "</svg>\n",
        ]
    )


def _panel(panel: Panel, x: float, y: float, wide: float) -> list[str]:
    unit = "µs per request" if panel.unit == "request" else "µs per MiB"
    left, room, top = x + NAMES, wide - NAMES - VALUES, y + HEAD - 14
    parts = [
        words(x, y + 12, "name", panel.name),
        words(x, y + 30, "soft", panel.title),
        words(x + wide, y + 12, "soft end", unit),
    ]
    for i, bar in enumerate(panel.bars):
        at = top + ROW * i
        parts.append(
            words(left - 8, at + 15, f"end {'own' if bar.style == 'portico' else ''}", bar.title)
        )
        parts += _bar(bar, (left, at), room / panel.longest, panel.longest)
    below = top + ROW * len(panel.bars)
    parts.append(
        f'<line class="axis" x1="{left:g}" x2="{left:g}" y1="{top - 1:g}" y2="{below:g}"/>'
    )
    return parts


def _bar(bar: Bar, at: tuple[float, float], scale: float, longest: float) -> list[str]:
    left, top = at[0], at[1] + (ROW - BAR) / 2
    median, low, high = (min(one, longest) * scale for one in bar.cost[:3])
    parts = [
        f'<rect class="bar {bar.style}" x="{left:g}" y="{top:g}"',
        f'width="{median:.1f}" height="{BAR}" rx="2"/>',
    ]
    if bar.cost.median > longest:
        parts.append(_cut(left + median - 20, top))
        high = median
    else:
        middle = top + BAR / 2
        parts.append(
            f'<line class="span" x1="{left + low:.1f}" x2="{left + high:.1f}"'
            f' y1="{middle:g}" y2="{middle:g}"/>'
        )
    # The figure stands clear of the line that shows the spread.
    parts.append(words(left + max(median, high) + 6, at[1] + 15, "value", figure(bar.cost.median)))
    return parts


def _cut(x: float, y: float) -> str:
    low = y + BAR + 1
    points = f"{x:.1f},{low:g} {x + 6:.1f},{y - 1:g} {x + 11:.1f},{y - 1:g} {x + 5:.1f},{low:g}"
    return f'<polygon class="gap" points="{points}"/>'


def words(x: float, y: float, style: str, text: str) -> str:
    """A line of text that stands on *y*."""
    return f'<text class="{style.strip()}" x="{x:.1f}" y="{y:g}">{escape(text)}</text>'
