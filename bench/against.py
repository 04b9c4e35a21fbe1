"""Two checkouts of Portico compared: ``python3 -m bench --against CHECKOUT``.

Both servers run at the same time and take turns under load in short slices, A B, B A, and so on, so
that whatever slows the machine for a while slows both.  The result of a pair of slices is the ratio
of their CPU time per request, and the result of the comparison is the median of these ratios.
After every few rounds both servers are started anew: where a process lies in memory, and the seed
of its hashes, can make it a per cent faster or slower for as long as it lives.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import check, measure, scenarios, servers
from bench.running import running
from bench.setup import ROOT, Launch, Setup

SCENARIOS = (
    *("small", "browser", "connect", "missing", "conditional", "random-2000", "100k", "10m"),
)
ROUNDS = 20
SECONDS = 0.5
ROUNDS_PER_START = 5
CONFIDENCE = 0.95


def checkout_server(name: str, checkout: Path) -> servers.Server:
    """Portico as it is in *checkout*."""

    def launch(setup: Setup) -> Launch:
        return dataclasses.replace(
            servers.portico(setup),
            environment={"PYTHONPATH": str(checkout)},
            working_folder=checkout,
        )

    return servers.Server(name, name, servers.portico_version, launch)


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Two of the values that have the true median between them in 95 of 100 experiments.

    How many values lie below the median is binomial, so that the two can be counted off from the
    ends.  Below six values, no two are so certain; then these are the smallest and the largest.
    """
    ordered, count = sorted(values), len(values)
    below, tail = 0, 0.5**count
    while 2 * (tail + math.comb(count, below + 1) * 0.5**count) <= 1 - CONFIDENCE:
        below += 1
        tail += math.comb(count, below) * 0.5**count
    return ordered[below], ordered[-1 - below]


def compare(plan: measure.Plan, other: Path, chosen: list[scenarios.Scenario]) -> bool:
    """Measure and print, scenario by scenario; whether nothing has failed."""
    pair = [checkout_server("other", other.resolve()), checkout_server("this", ROOT)]
    print(f"CPU time per request (per MiB for large files), {plan.rounds} pairs of slices")
    print(f"other: {other.resolve()}\nthis:  {ROOT}\n")
    print(f"{'scenario':15}{'other':>10}{'this':>10}   this / other, 95 % interval, quartiles")
    well = True
    for scenario in chosen:
        costs, failures = _costs(plan, pair, scenario)
        ratios = [ours / theirs for theirs, ours in zip(*costs, strict=True)]
        low, high = median_interval(ratios)
        quartiles = statistics.quantiles(ratios) if len(ratios) > 1 else ratios * 3
        middles = "".join(f"{statistics.median(cost):10.2f}" for cost in costs)
        print(
            f"{scenario.name:15}{middles}   {statistics.median(ratios):.3f}"
            f"  {low:.3f} to {high:.3f}  {quartiles[0]:.3f} {quartiles[2]:.3f}"
            f"{''.join(f'; {text}' for text in failures)}",
            flush=True,
        )
        well = well and not failures
    return well


def _costs(
    plan: measure.Plan, pair: list[servers.Server], scenario: scenarios.Scenario
) -> tuple[list[list[float]], list[str]]:
    """The CPU time per request of both in each round, and what failed."""
    costs: list[list[float]] = [[], []]
    failures = dict[str, int]()
    for start in range(0, plan.rounds, ROUNDS_PER_START):
        with ExitStack() as stack:
            lives = [
                stack.enter_context(running(one, plan.setup(one, scenario), plan.cores.server))
                for one in pair
            ]
            aims = [check.aim_at(scenario, live) for live in lives]
            for turn in range(start, min(start + ROUNDS_PER_START, plan.rounds)):
                plan.say(f"{scenario.name}: pair {turn + 1} of {plan.rounds}")
                found: list[float | None] = [None, None]
                for which in (0, 1) if turn % 2 == 0 else (1, 0):
                    taken = measure.take(plan, scenario, (lives[which], aims[which], turn))
                    found[which] = taken.cost(scenario.unit)
                    for kind, count in taken.sample.failures.items():
                        label = f"{pair[which].name} {kind}"
                        failures[label] = failures.get(label, 0) + count
                if found[0] and found[1]:
                    costs[0].append(found[0])
                    costs[1].append(found[1])
    plan.say("")
    if not costs[0]:
        sys.exit(f"bench: nobody answered in {scenario.name}")
    return costs, [f"{count} {label}" for label, count in failures.items()]
