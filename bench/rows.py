"""Bad neighbours and scaling as rows of text, for the terminal and for the report; pure."""

from __future__ import annotations

from bench.neighbours import NEIGHBOURS as KINDS
from bench.neighbours import RATE, Beside, by_name, middle
from bench.ratios import spread
from bench.record import Record
from bench.scaling import AXES, Axis, Curve
from bench.table import figure, milliseconds, remarks_of

HEADLINE = f"neighbours: latency of {RATE:,} requests a second, alone and beside a neighbour"


def neighbour_rows(record: Record) -> tuple[list[str], list[list[str]]]:
    """Heading and one row per neighbour and server."""
    heading = ["neighbour", "server", "p50 alone", "beside", "p99 alone", "beside", "ratio of p99"]
    heading += ["p99.9 alone", "beside", "own lag", "neighbour gets", "remarks"]
    order = [one.name for one in KINDS]
    found = sorted(record.neighbours, key=lambda one: order.index(one.neighbour))
    return heading, [_neighbour_row(record, one) for one in found]


def _neighbour_row(record: Record, one: Beside) -> list[str]:
    row = [one.neighbour, record.title(one.server)]
    if not one.loud:
        return [*row, *[""] * 9, remarks_of(one.problem, one.failures())]
    for name in ("p50", "p99", "p999"):
        row += [milliseconds(middle(each, name)) for each in (one.quiet, one.loud)]
        row += [str(one.ratio() or "")] if name == "p99" else []
    lag = max(middle(each, "lag") for each in (one.quiet, one.loud))
    unit = by_name(one.neighbour).unit
    got = spread([each.figure(unit) for each in one.got])
    row += [milliseconds(lag), f"{got.median:,.0f} {unit}" if got else ""]
    said = [remarks_of(one.problem, one.failures())]
    if one.disturbed:
        said.append(f"{one.disturbed} of {len(one.quiet + one.loud)} slices disturbed")
    return [*row, "; ".join(filter(None, said))]


def axes(record: Record) -> list[Axis]:
    """The axes that were measured."""
    return [axis for axis in AXES if any(one.axis == axis.name for one in record.scaling)]


def curves(record: Record, axis: Axis) -> list[Curve]:
    """The servers along one axis."""
    return [one for one in record.scaling if one.axis == axis.name]


def scaling_rows(record: Record, axis: Axis) -> tuple[list[str], list[list[str]]]:
    """Heading and one row per value: each server's cost, and ours in that of the others."""
    found = curves(record, axis)
    base = next((one for one in found if one.server == record.base()), found[0])
    others = [one for one in found if one is not base]
    heading = [axis.name, *(record.title(one.server) for one in found)]
    heading += [f"{record.title(base.server)} / {record.title(one.server)}" for one in others]
    rows = []
    for index, shown in enumerate(axis.shown):
        costs = [one.at(index) for one in found]
        row = [shown, *(figure(cost.median) if cost else "" for cost in costs)]
        row += [str(base.ratio(one, index) or "") for one in others]
        said = [
            f"{record.title(one.server)}: {one.problems[shown]}"
            for one in found
            if shown in one.problems
        ]
        rows.append([*row, "; ".join(said)])
    return [*heading, "remarks"], rows
