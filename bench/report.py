"""The tables of a record for the terminal, and the same as a page in Markdown with its plots.

The tables are data: for each part, ``COLUMNS`` says what stands under which heading.  The page is
``page.md.in``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import Template

from bench import plots
from bench.load import RATE
from bench.parts import AXES, CROWDS, IDLE_CONNECTIONS, NEIGHBOURS, TRICKLING
from bench.plots import figure
from bench.runner import Participant, Record, Slice, Value, cost, ratio, values
from bench.scenarios import BY_NAME, MIB, SMALL

TEMPLATE = Path(__file__).with_name("page.md.in")
# Of fewer answers in a slice, no latency is shown.
FEW = 20
# The variants of a contender that a part compares.
VARIANTS = {
    "idle": ("without", "with"),
    "workers": ("1", "2"),
    "neighbours": ("alone", "beside"),
    "readers": ("alone", "beside"),
}

Column = Callable[["Group"], str]


@dataclass(frozen=True)
class Table:
    """Rows under a title, each a mapping from heading to text; empty columns are left out."""

    title: str
    rows: list[dict[str, str]]

    def __str__(self) -> str:
        """The table in Markdown, in columns that a terminal shows as well."""
        found = dict.fromkeys(name for row in self.rows for name, text in row.items() if text)
        headings = sorted(found, key=lambda name: name == "remarks")
        lines = [headings, *([row.get(name, "") for name in headings] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        texts = [
            " | ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
            for line in lines
        ]
        texts.insert(1, " | ".join("-" * (width - 1) + ":" for width in widths))
        return "\n".join(f"| {text} |" for text in texts)


@dataclass(frozen=True)
class Group:
    """One server in one case: its slices, those of each of two variants if the part has these."""

    record: Record
    part: str
    case: str
    server: Participant

    @property
    def both(self) -> list[list[Slice]]:
        """The slices by variant."""
        variants = VARIANTS.get(self.part, ("",))
        return [self.record.select(self.part, self.case, self.server.name, v) for v in variants]

    def base_ratio(self, value: Value = cost) -> str:
        """The base server's figure in that of this one."""
        base = base_of(self.record)
        if self.server is base:
            return ""
        ours = self.record.select(self.part, self.case, base.name)
        return str(ratio(ours, self.both[0], value) or "")


def base_of(record: Record) -> Participant:
    """The server whose ratios are given: Portico, or the first where it did not run."""
    return next((one for one in record.servers if one.name == "portico"), record.servers[0])


def each(show: str, value: Value, of: str = "median") -> Column:
    """A figure, or that of both variants with an arrow between."""

    def column(group: Group) -> str:
        found = [values(slices, value) for slices in group.both]
        return " → ".join(show_as(show, getattr(one, of)) if one else "" for one in found)

    return column


def last(show: str, value: Value, of: str = "median") -> Column:
    """A figure of the second variant alone."""
    return lambda group: each(show, value, of)(group).rpartition(" → ")[2]


def change(value: Value = cost) -> Column:
    """A figure of the second variant in that of the first."""
    return lambda group: str(ratio(group.both[1], group.both[0], value) or "")


def show_as(show: str, value: float) -> str:
    """A figure as text: three digits, milliseconds, MiB, or a format of Python's."""
    if show == "MiB":
        return f"{value / 1024:.1f} MiB"
    if show == "ms":
        return f"{figure(value / 1000)} ms"
    return figure(value) if show == "3" else format(value, show)


def latency(name: str) -> Value:
    """Takes p50 and the like of a slice, if there were enough answers."""
    return lambda one: getattr(one.seen, name) if one.seen.requests >= FEW else None


def more(name: str) -> Value:
    """Takes what only some parts measure."""
    return lambda one: one.more.get(name)


def worst(one: Slice) -> float:
    """Microseconds; few requests have no other p99.9."""
    return one.seen.p999


def took(one: Slice) -> float:
    """Milliseconds."""
    return one.seen.seconds * 1000


def gets(group: Group) -> str:
    """What a neighbour or a crowd has got."""
    units = {kind.name: kind.unit for kind in (*NEIGHBOURS, *CROWDS)}
    return f"{last(',.0f', more('got'))(group)} {units.get(group.case, '')}"


def disturbed(group: Group) -> str:
    """How many slices others have disturbed."""
    slices = [one for variant in group.both for one in variant]
    count = sum(one.disturbed for one in slices)
    return f"{count} of {len(slices)}" if count else ""


COST = {
    "CPU µs/request": each("3", cost),
    "requests/s": each(",.0f", lambda one: one.seen.requests / one.seen.seconds),
}
COST_OF_MIB = {
    "CPU µs/MiB": each("3", cost),
    "MiB/s": each(",.0f", lambda one: one.seen.bytes / MIB / one.seen.seconds),
}
LATENCIES = {
    "p50": each("ms", latency("p50")),
    "p99": each("ms", latency("p99")),
    "p99.9": each("ms", latency("p999")),
}
COLUMNS: dict[str, dict[str, Column]] = {
    "scenarios": {
        **LATENCIES,
        "busy": each(".0%", lambda one: one.cpu / one.seen.seconds),
        "Portico / it": Group.base_ratio,
    },
    "startup": {
        "ms": each(".1f", took),
        "ms, least": each(".1f", took, "low"),
        "ms, most": each(".1f", took, "high"),
        "starts": lambda group: str(len(group.both[0])),
        "Portico / it": lambda group: group.base_ratio(took),
        "PSS then": each("MiB", more("pss")),
    },
    "memory": {
        "requests": each(",.0f", lambda one: one.seen.requests),
        "RSS before": each("MiB", more("rss before")),
        "RSS after": each("MiB", more("rss after")),
        "PSS before": each("MiB", more("pss before")),
        "PSS after": each("MiB", more("pss after")),
        "private after": each("MiB", more("private after")),
    },
    "idle": {
        "CPU µs/request": each("3", cost),
        "with / without": change(),
        **LATENCIES,
        "p99 at best": each("ms", latency("p99"), "low"),
        "p99, with / without": change(latency("p99")),
        # A server that keeps memory for the next crowd grows in the first round only.
        "KiB per idle": last(".1f", more("KiB per idle"), "high"),
    },
    "workers": {**COST, "two / one": change(), "lesser share": last(".0%", more("lesser share"))},
    "neighbours": {
        **LATENCIES,
        "ratio of p99": change(latency("p99")),
        "own lag": each("ms", latency("lag")),
        "neighbour gets": gets,
        "disturbed": disturbed,
    },
    "newcomers": {
        "newcomers": each(",.0f", lambda one: one.seen.requests),
        "p50": each("ms", lambda one: one.seen.p50),
        "p99": each("ms", lambda one: one.seen.p99),
        "worst": each("ms", worst, "high"),
        "Portico's worst / its": lambda group: group.base_ratio(worst),
        "crowd gets": gets,
    },
    "trickle": {
        "newcomers": each(",.0f", lambda one: one.seen.requests),
        "p50": each("ms", lambda one: one.seen.p50),
        "p99": each("ms", lambda one: one.seen.p99),
        "worst": each("ms", worst, "high"),
        "readers cut": each(",.0f", more("cut")),
    },
    "uploads": {
        "CPU µs": each("3", cost),
        "per": lambda group: "MiB" if "GiB" in group.case else "request",
        "of these a second": each(",.0f", lambda one: one.count / one.seen.seconds),
        "p99": each("ms", latency("p99")),
        "memory grows by": each("MiB", more("grown"), "high"),
        "Portico / it": Group.base_ratio,
    },
    "readers": {
        **LATENCIES,
        "ratio of p99": change(latency("p99")),
        "own lag": each("ms", latency("lag")),
        "uploads get MiB/s": last(",.0f", more("got")),
        "disturbed": disturbed,
    },
}


def table(
    record: Record, part: str, title: str, cases: list[str], columns: dict[str, Column]
) -> Table:
    """One row per case and server; servers without figures say why."""
    rows = []
    for case in cases:
        for server in record.servers:
            group = Group(record, part, case, server)
            row = {"case": case if len(cases) > 1 else "", "server": server.title}
            complete = all(group.both)
            if complete:
                row |= {name: column(group) for name, column in columns.items()}
            row["remarks"] = record.remarks_on(part, case, server.name)
            if complete or row["remarks"]:
                rows.append(row)
    return Table(title, rows)


def pivot(record: Record, part: str, title: str, *, all_costs: bool) -> Table:
    """One row per case: our cost, or that of each server, and ours in that of the others."""
    base, rows = base_of(record), []
    for case in record.cases(part):
        ours, row, remarks = record.select(part, case, base.name), {"case": case}, []
        if part == "scenarios":
            row["CPU µs per"] = BY_NAME.get(case, SMALL).unit
        for one in record.servers if all_costs else [base]:
            row[one.title] = each("3", cost)(Group(record, part, case, one))
            if said := record.remarks_on(part, case, one.name):
                remarks.append(f"{one.title}: {said}")
        for one in record.servers:
            if one is not base and one.kind != "reference":
                theirs = record.select(part, case, one.name)
                row[f"{base.title} / {one.title}"] = str(ratio(ours, theirs) or "")
        rows.append(row | {"remarks": "; ".join(remarks)})
    return Table(title, rows)


def scenario_table(record: Record, case: str) -> Table:
    """One row per server."""
    scenario = BY_NAME.get(case, SMALL)
    kind, count = "new" if scenario.closes else "keep-alive", scenario.connections
    title = f"{case}: {scenario.title}; {count} {kind} connection{'s' * (count > 1)} at once"
    first = COST_OF_MIB if scenario.unit == "MiB" else COST
    return table(record, "scenarios", title, [case], first | COLUMNS["scenarios"])


TITLES = {
    "startup": "start: command to first answer",
    "memory": "memory: before and after a million requests",
    "idle": f"idle: without → with {IDLE_CONNECTIONS:,} idle connections",
    "workers": "workers: one → two, on two cores that the load shares",
    "neighbours": f"neighbours: latency of {RATE:,} requests a second, alone → beside a neighbour",
    "newcomers": "newcomers: wait of a client that connects, asks once and closes, beside a crowd",
    "trickle": f"trickle: the same, beside {TRICKLING} readers that trickle, on 200 places",
    "uploads": "uploads: PUT on one connection (1 GiB) or 64 (1 KiB)",
    "readers": f"readers: latency of {RATE:,} requests a second, alone → beside eight uploads",
}
PARTS = ("scenarios", *TITLES, "scaling")


def tables(record: Record, part: str) -> list[Table]:
    """The tables of a part that have rows."""
    if part == "scenarios":
        found = [scenario_table(record, case) for case in record.cases(part)]
    elif part == "scaling":
        found = [
            pivot(
                record,
                f"scaling {axis.name}",
                f"{axis.name}: {axis.title}; CPU µs per request",
                all_costs=True,
            )
            for axis in AXES
        ]
    else:
        found = [table(record, part, TITLES[part], record.cases(part), COLUMNS[part])]
    return [one for one in found if one.rows]


def print_part(record: Record, part: str) -> None:
    """The tables of a part on the terminal."""
    for one in tables(record, part):
        print(f"\n{one.title}\n{one}", flush=True)


def render(record: Record) -> str:
    """The whole page: the template without the sections of parts that were not measured."""
    machine = [{"": name, "value": text} for name, text in record.machine.items()]
    versions = [{"server": one.title, "version": one.version} for one in record.servers]
    texts = {
        "made": record.made,
        "seconds": f"{record.seconds:g}",
        "rounds": str(record.rounds),
        "kinds": "\n".join(f"- **{one.name}** {one.title}." for one in NEIGHBOURS),
        "crowds": "\n".join(f"- **{one.name}** {one.title}." for one in CROWDS),
        "summary": str(pivot(record, "scenarios", "", all_costs=False)),
        "machine": str(Table("", machine)),
        "versions": str(Table("", versions)),
        "always": "always",
        "unmeasured": "\n".join(
            f"- {f'{one.part} {one.server}'.strip()}: {one.text}"
            for one in record.remarks
            if not one.case
        ),
    }
    for part in PARTS:
        found = tables(record, part)
        titles = [f"### {one.title}\n\n" if len(found) > 1 else "" for one in found]
        pairs = zip(titles, found, strict=True)
        texts[part] = "\n\n".join(f"{title}{one}" for title, one in pairs)
    first, *rest = re.split(r"<!-- (\w+) -->\n", TEMPLATE.read_text(encoding="utf-8"))
    shown = [text for name, text in zip(rest[::2], rest[1::2], strict=True) if texts[name]]
    return Template("".join([first, *shown])).substitute(texts)


def write(record: Record, folder: Path) -> list[Path]:
    """Write the page and its plots into *folder*; what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "benchmarks.md"
    page.write_text(render(record), encoding="utf-8")
    return [page, *plots.write(record, folder)]
