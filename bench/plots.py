"""The plots of a report, made by matplotlib: costs as bars and as curves, in SVG.

Bars stand from the cheapest to the dearest, with a line from the smallest round to the largest.  A
server that would dwarf the others has its bar cut at the edge of the panel, and keeps its figure.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from bench.parts import AXES
from bench.runner import Record, Spread, cost, values
from bench.scenarios import BY_NAME, SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = {"portico": "#2f6fde", "limit": "#d5dae0"}
OTHERS = "#a9b4c0"
# A bar longer than this many times the dearest contender's is cut.
CUT = 1.6
# Costs that differ by more than this stand on a logarithmic scale.
FACTOR = 50


def figure(value: float) -> str:
    """Three digits that count: 7.41, 14.5, 318, 1,332."""
    return f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f}"


def costs(record: Record, part: str, case: str) -> dict[str, Spread]:
    """What each server costs in a case, by name."""
    found = (
        (one.name, values(record.select(part, case, one.name), cost)) for one in record.servers
    )
    return {name: spread for name, spread in found if spread is not None}


def panels(count: int, height: float, title: str) -> tuple[Figure, list[Axes]]:
    """A plot with so many panels, two beside each other."""
    from matplotlib.figure import Figure

    rows, columns = -(-count // 2), min(count, 2)
    plot = Figure(figsize=(9.6, rows * height + 0.4), layout="constrained")
    plot.suptitle(title)
    found = list(plot.subplots(rows, columns, squeeze=False).flatten())
    for panel in found[count:]:
        panel.set_axis_off()
    return plot, found[:count]


def bars(record: Record, cases: list[str]) -> Figure:
    """CPU time per request, one panel for each of these scenarios."""
    height = 0.22 * len(record.servers) + 0.9
    title = "CPU time of the server per request: shorter is better"
    plot, found = panels(len(cases), height, title)
    for panel, case in zip(found, cases, strict=True):
        draw_bars(panel, record, costs(record, "scenarios", case))
        scenario = BY_NAME.get(case, SMALL)
        panel.set_title(fill(f"{case}: {scenario.title}", 50), loc="left", fontsize=9)
        panel.set_xlabel(f"µs per {scenario.unit}")
    return plot


def draw_bars(panel: Axes, record: Record, found: dict[str, Spread]) -> None:
    """One bar for each server, the dearest below."""
    servers = {one.name: one for one in record.servers}
    names = sorted(found, key=lambda name: found[name].median, reverse=True)
    near = [found[name].median * CUT for name in names if servers[name].kind == "contender"]
    longest = min(max(one.high for one in found.values()), max(near, default=float("inf")))
    for row, name in enumerate(names):
        middle, low, high, _ = found[name]
        panel.barh(row, min(middle, longest), color=COLORS.get(name, OTHERS))
        if middle <= longest:
            panel.hlines(row, low, min(high, longest), color="#1f2328", linewidth=1)
        text = f" {figure(middle)}{' ▸' if middle > longest else ''}"
        panel.text(min(high, longest), row, text, va="center", fontsize=8)
    panel.set_yticks(range(len(names)), [servers[name].title for name in names], fontsize=8)
    panel.set_xlim(0, longest * 1.2)
    panel.spines[["top", "right"]].set_visible(False)


def curves(record: Record) -> Figure:
    """How the cost of a request grows, one panel for each axis."""
    axes = [axis for axis in AXES if record.cases(f"scaling {axis.name}")]
    title = "How the cost of a request grows: CPU µs per request, lower is better"
    plot, found = panels(len(axes), 3.4, title)
    for panel, axis in zip(found, axes, strict=True):
        part = f"scaling {axis.name}"
        cases = record.cases(part)
        seen = [costs(record, part, case) for case in cases]
        for server in record.servers:
            points = {x: each[server.name] for x, each in enumerate(seen) if server.name in each}
            middles = [one.median for one in points.values()]
            below = [one.median - one.low for one in points.values()]
            above = [one.high - one.median for one in points.values()]
            if points:
                panel.errorbar([*points], middles, [below, above], marker="o", label=server.title)
        middles = [one.median for each in seen for one in each.values()]
        if middles and max(middles) > FACTOR * min(middles):
            panel.set_yscale("log")
        else:
            panel.set_ylim(bottom=0)
        panel.set_title(f"{axis.name}: {axis.title}", loc="left", fontsize=9)
        panel.set_xticks(range(len(cases)), cases, fontsize=7)
        panel.grid(axis="y", alpha=0.4)
        panel.legend(fontsize=8)
    return plot


def write(record: Record, folder: Path) -> list[Path]:
    """Write the plots of all scenarios, the small page, and the axes, as far as measured."""
    import matplotlib as mpl

    cases = [one for one in record.cases("scenarios") if costs(record, "scenarios", one)]
    with mpl.rc_context({"svg.hashsalt": "portico", "svg.fonttype": "none", "font.size": 9}):
        plots = {"cpu": bars(record, cases)} if cases else {}
        if "small" in cases:
            plots["small"] = bars(record, ["small"])
        if any(one.part.startswith("scaling") for one in record.slices):
            plots["scaling"] = curves(record)
        for name, plot in plots.items():
            plot.savefig(folder / f"benchmarks-{name}.svg", metadata={"Date": None})
    return [folder / f"benchmarks-{name}.svg" for name in plots]
