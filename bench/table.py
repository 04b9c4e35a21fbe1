"""Results as rows of text, for the terminal and for the report; pure."""

from __future__ import annotations

from collections.abc import Callable

from bench import idle
from bench.idle import Crowding
from bench.measure import Cell, Result, Slice
from bench.memory import Footprint
from bench.record import Record
from bench.scenarios import MIB
from bench.workers import Crew

UNITS = {"request": ("µs/request", "requests/s"), "MiB": ("µs/MiB", "MiB/s")}
# Of fewer answers in a slice, no latency is shown.
FEW = 20


def scenario_rows(record: Record, result: Result) -> tuple[list[str], list[list[str]]]:
    """Heading and one row per server; servers without figures say why."""
    base = record.base()
    unit = result.scenario.unit
    heading = ["server", f"CPU {UNITS[unit][0]}", UNITS[unit][1], "p50", "p99", "p99.9"]
    heading += ["busy", f"{record.title(base)} / it", "remarks"]
    rows = []
    for cell in result.cells:
        title, cost = record.title(cell.server), cell.cost(unit)
        if cost is None:
            rows.append([title, *[""] * 7, remarks(cell)])
            continue
        ratio = result.ratio(base, cell.server) if cell.server != base else None
        row = [
            title,
            figure(cost.median),
            f"{cell.middle(rate if unit == 'request' else speed):,.0f}",
        ]
        many = cell.middle(answers) >= FEW
        row += [milliseconds(cell.middle(x)) if many else "" for x in (p50, p99, p999)]
        row += [f"{cell.middle(busy):.0%}", str(ratio or ""), remarks(cell)]
        rows.append(row)
    return heading, rows


def cost(one: Slice) -> float | None:
    """CPU microseconds per request."""
    return one.cost("request")


def answers(one: Slice) -> float:
    """Requests answered to the end."""
    return one.sample.requests


def p50(one: Slice) -> float:
    """The latency half of the answers stay below, in microseconds."""
    return one.sample.p50


def p99(one: Slice) -> float:
    """The latency 99 % stay below, in microseconds."""
    return one.sample.p99


def p999(one: Slice) -> float:
    """The latency 99.9 % stay below, in microseconds."""
    return one.sample.p999


def rate(one: Slice) -> float:
    """Answered requests per second."""
    return one.sample.requests / one.sample.seconds


def speed(one: Slice) -> float:
    """MiB per second, heads included."""
    return one.sample.bytes / MIB / one.sample.seconds


def busy(one: Slice) -> float:
    """The share of its core that the server used."""
    return one.cpu / one.sample.seconds


def figure(value: float) -> str:
    """Three digits that count: 7.41, 14.5, 318, 1,332."""
    return f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f}"


def milliseconds(value: float) -> str:
    """Microseconds as milliseconds."""
    return f"{figure(value / 1000)} ms"


def remarks(cell: Cell) -> str:
    """Failures, a reason for having no figures, connections that were not kept."""
    said = [remarks_of(cell.problem or "", cell.failures())]
    if cell.closes:
        said.append("closes connections")
    return "; ".join(filter(None, said))


def remarks_of(problem: str, failures: dict[str, int]) -> str:
    """Why there are no figures, or what failed."""
    return "; ".join([*([left_out(problem)] if problem else []), *failed(failures)])


def left_out(problem: str) -> str:
    """Why a server has no figures, in one line."""
    return f"left out: {' '.join(problem.split())[:200]}"


def failed(failures: dict[str, int]) -> list[str]:
    """Failures by kind in one phrase, or nothing."""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in failures.items())
    return [f"failures: {kinds}"] if kinds else []


def startup_rows(record: Record) -> tuple[list[str], list[list[str]]]:
    """Milliseconds from the start to the first answer."""
    base = record.base()
    rows = []
    for name, starts in record.startup.seconds.items() if record.startup else ():
        took = record.startup.spread(name) if record.startup else None
        ratio = record.startup.ratio(base, name) if record.startup and name != base else None
        if took:
            span = f"{took.low:.1f}-{took.high:.1f}"
            row = [record.title(name), f"{took.median:.1f}", span, str(len(starts))]
            held = record.startup.held(name) if record.startup else 0
            rows.append([*row, str(ratio or ""), mebibytes(held)])
    heading = ["server", "ms, median", "ms, span", "starts", f"{record.title(base)} / it"]
    return [*heading, "PSS then"], rows


def mebibytes(size: float) -> str:
    """KiB as MiB."""
    return f"{size / 1024:.1f} MiB"


def memory_rows(record: Record) -> tuple[list[str], list[list[str]]]:
    """MiB before and after."""
    heading = ["server", "requests", "RSS before", "RSS after", "PSS before", "PSS after"]
    return [*heading, "private after", "remarks"], [
        _memory_row(record, one) for one in record.memory
    ]


def _memory_row(record: Record, one: Footprint) -> list[str]:
    sizes = (one.before.rss, one.after.rss, one.before.pss, one.after.pss, one.after.private)
    return [
        record.title(one.server),
        f"{one.requests:,}",
        *(mebibytes(size) for size in sizes),
        *(failed(one.failures) or [""]),
    ]


def idle_rows(record: Record) -> tuple[list[str], list[list[str]]]:
    """Each server without and with its idle connections, and what one of these holds."""
    heading = ["server", "CPU µs/request", "with / without", "p50", "p99", "p99 at best"]
    heading += ["p99, with / without", "p99.9", "KiB per idle", "remarks"]
    return heading, [_idle_row(record, one) for one in record.idle]


def _idle_row(record: Record, one: Crowding) -> list[str]:
    title, held = record.title(one.server), one.per_connection()
    if one.problem or held is None:
        return [title, *[""] * 8, left_out(one.problem or "not measured")]

    def change(value: Callable[[Slice], float | None], shown: Callable[[float], str]) -> str:
        return " → ".join(shown(idle.middle(each, value) or 0) for each in (one.quiet, one.crowded))

    best = (min(map(p99, each)) for each in (one.quiet, one.crowded))
    row = [title, change(cost, figure), str(one.ratio(cost) or "")]
    row += [change(value, milliseconds) for value in (p50, p99)]
    row += [" → ".join(map(milliseconds, best)), str(one.ratio(p99) or "")]
    row += [change(p999, milliseconds), f"{held:.1f}"]
    return [*row, *(failed(one.failures()) or [""])]


def workers_rows(record: Record) -> tuple[list[str], list[list[str]]]:
    """One worker and two of each server and scenario."""
    heading = ["server", "scenario", "CPU µs/request, one", "two", "two / one"]
    heading += ["requests/s, one", "two", "lesser share", "remarks"]
    return heading, [_workers_row(record, one) for one in record.workers]


def _workers_row(record: Record, one: Crew) -> list[str]:
    row, share = [record.title(one.server), one.scenario], one.evenness()
    if one.problem or share is None:
        return [*row, *[""] * 6, left_out(one.problem or "not measured")]
    row += [figure(idle.middle(kind, cost) or 0) for kind in (one.alone, one.together)]
    row.append(str(one.ratio() or ""))
    row += [f"{idle.middle(kind, rate) or 0:,.0f}" for kind in (one.alone, one.together)]
    return [*row, f"{share:.0%}", *(failed(one.failures()) or [""])]


def plain(heading: list[str], rows: list[list[str]]) -> str:
    """Columns for a terminal: the first to the left, figures to the right, remarks to the left."""
    widths = [max(len(row[i]) for row in [heading, *rows]) for i in range(len(heading))]
    lines = []
    for row in [heading, *rows]:
        cells = [text.rjust(width) for text, width in zip(row, widths, strict=True)]
        cells[0] = row[0].ljust(widths[0])
        cells[-1] = row[-1].ljust(widths[-1])
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(heading: list[str], rows: list[list[str]]) -> str:
    """The same as a Markdown table; columns that are empty throughout are left out."""
    kept = [i for i in range(len(heading)) if i == 0 or any(row[i] for row in rows)]
    lines = [[heading[i] for i in kept], ["---" if i == 0 else "---:" for i in kept]]
    lines += [[row[i].replace("|", "\\|") for i in kept] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
