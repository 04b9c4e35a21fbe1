"""Results as rows of text, for the terminal and for the report; pure."""

from __future__ import annotations

from bench.measure import Cell, Result, Slice
from bench.memory import Footprint
from bench.record import Record

UNITS = {"request": "µs/request", "MiB": "µs/MiB"}


def scenario_rows(record: Record, result: Result) -> tuple[list[str], list[list[str]]]:
    """Heading and one row per server; servers without figures say why."""
    base = record.base()
    heading = ["server", f"CPU {UNITS[result.scenario.unit]}", "requests/s", "p50", "p99", "p99.9"]
    heading += ["busy", f"{record.title(base)} / it", "remarks"]
    rows = []
    for cell in result.cells:
        title, cost = record.title(cell.server), cell.cost(result.scenario.unit)
        if cost is None:
            rows.append([title, *[""] * 7, remarks(cell)])
            continue
        ratio = result.ratio(base, cell.server) if cell.server != base else None
        row = [title, figure(cost.median), f"{cell.middle(rate):,.0f}"]
        row += [milliseconds(cell.middle(latency)) for latency in (p50, p99, p999)]
        row += [f"{cell.middle(busy):.0%}", str(ratio or ""), remarks(cell)]
        rows.append(row)
    return heading, rows


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
    return "; ".join(
        [*([f"left out: {' '.join(problem.split())[:200]}"] if problem else []), *failed(failures)]
    )


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
            rows.append([*row, str(ratio or "")])
    return ["server", "ms, median", "ms, span", "starts", f"{record.title(base)} / it"], rows


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
        *(f"{size / 1024:.1f} MiB" for size in sizes),
        *(failed(one.failures) or [""]),
    ]


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
