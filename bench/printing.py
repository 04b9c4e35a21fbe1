"""What the command prints while it measures: a line of progress, and a table for each part."""

from __future__ import annotations

import sys

from bench import idle, measure, record, rows, table

TABLES = {
    "startup": ("start: command to first answer", table.startup_rows),
    "memory": ("memory: 100,000 different heads and paths", table.memory_rows),
    "idle": (
        f"idle: {idle.COUNT:,} idle connections beside {idle.SCENARIO.connections} active ones",
        table.idle_rows,
    ),
    "workers": ("workers: one and two, on two cores that the load shares", table.workers_rows),
    "neighbours": (rows.HEADLINE, rows.neighbour_rows),
}


def say(text: str) -> None:
    """Tell whoever waits what is going on, in place, if anybody is there."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def print_record(done: record.Record) -> None:
    """All tables of a record."""
    for result in done.results:
        print_result(done, result)
    for part in (*TABLES, "scaling"):
        print_part(done, part)


def print_part(done: record.Record, part: str) -> None:
    """The tables of a part that is not a scenario, if it was measured."""
    say("")
    if part == "scaling":
        for axis in rows.axes(done):
            print_table(f"scaling: {axis.title}; CPU µs/request", rows.scaling_rows(done, axis))
    elif getattr(done, part):
        title, rows_of = TABLES[part]
        print_table(title, rows_of(done))


def print_result(done: record.Record, result: measure.Result) -> None:
    """One scenario's table."""
    scenario = result.scenario
    title = f"{scenario.name}: {scenario.title}; {scenario.connections} connections"
    print_table(title, table.scenario_rows(done, result))


def print_table(title: str, rows: tuple[list[str], list[list[str]]]) -> None:
    """A table under its title."""
    print(f"\n{title}\n{table.plain(*rows)}", flush=True)
