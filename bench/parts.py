"""The parts of the bench besides the scenarios: a table of how each is measured into a record.

A server that fails in one part does not end the others: the record says what could not be measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench import idle, measure, memory, neighbours, record, scaling, servers, startup, workers
from bench.running import StartError

Present = list[servers.Server]


def take(
    part: str,
    plan: measure.Plan,
    present: Present,
    done: record.Record,
    options: argparse.Namespace,
) -> None:
    """Measure a part into *done*."""
    with noting(done, part):
        PARTS[part](plan, present, done, options)


def _startup(
    plan: measure.Plan, present: Present, done: record.Record, options: argparse.Namespace
) -> None:
    done.startup = startup.measure(plan, options.starts, [one.name for one in present])


def _memory(
    plan: measure.Plan, present: Present, done: record.Record, options: argparse.Namespace
) -> None:
    own = [one for one in present if options.server or one.name == "portico"]
    done.memory = [memory.measure(plan, one, options.requests) for one in own]


def _idle(
    plan: measure.Plan, present: Present, done: record.Record, _options: argparse.Namespace
) -> None:
    for crowding in idle.measure(plan, present, noted(done, "idle")):
        done.idle.append(crowding)


def _workers(
    plan: measure.Plan, present: Present, done: record.Record, _options: argparse.Namespace
) -> None:
    for crew in workers.measure(plan, present, noted(done, "workers")):
        done.workers.append(crew)


def _neighbours(
    plan: measure.Plan, present: Present, done: record.Record, options: argparse.Namespace
) -> None:
    who = neighbours.chosen(present, named=options.server is not None)
    done.neighbours = neighbours.measure(plan, who)


def _scaling(
    plan: measure.Plan, present: Present, done: record.Record, options: argparse.Namespace
) -> None:
    who = scaling.chosen(present, named=options.server is not None)
    done.scaling = scaling.measure(plan, who)


PARTS = {
    "startup": _startup,
    "memory": _memory,
    "idle": _idle,
    "workers": _workers,
    "neighbours": _neighbours,
    "scaling": _scaling,
}


@contextmanager
def noting(done: record.Record, title: str) -> Iterator[None]:
    """Keep what was measured before, where a server fails in the block, and say so."""
    try:
        yield
    except (StartError, ValueError) as problem:
        done.problems.append(f"{title}: {' '.join(str(problem).split())[:500]}")
        print(f"\nbench: {done.problems[-1]}", file=sys.stderr)


def remember(done: record.Record, scenario: str, configured: dict[str, str]) -> None:
    """Keep how each server was started."""
    done.servers = [one.configured(scenario, configured.get(one.name, "")) for one in done.servers]


def noted(done: record.Record, part: str) -> Callable[[str, str], None]:
    """What takes a server's name and how it was started in a part, and keeps it."""
    return lambda server, text: remember(done, part, {server: text})
