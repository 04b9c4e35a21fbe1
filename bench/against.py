"""Two checkouts of Portico compared: ``python3 -m bench --against CHECKOUT``.

Both servers run at the same time and take turns under load in short slices, A B, B A, and so on, so
that whatever slows the machine for a while slows both.  The result of a pair of slices is the ratio
of their CPU time per request, and the result of the comparison is the median of these ratios.
For every pair both servers are started anew: where a process lies in memory, and the seed of its
hashes, can make it a tenth faster or slower for as long as it lives.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench import scenarios, servers
from bench.runner import Bench, cost, ratios
from bench.scenarios import Scenario

SCENARIOS = ["small", "browser", "connect", "missing", "conditional", "files-8k", "100k", "10m"]
ROUNDS = 20
SECONDS = 0.5
ROUNDS_PER_START = 1
CONFIDENCE = 0.95


def median_interval(figures: Sequence[float]) -> tuple[float, float]:
    """Two of the figures that have the true median between them in 95 of 100 experiments.

    How many figures lie below the median is binomial, so that the two can be counted off from the
    ends.  Below six, no two are so certain; then these are the smallest and the largest.
    """
    ordered, count = sorted(figures), len(figures)
    below, tail = 0, 0.5**count
    while 2 * (tail + math.comb(count, below + 1) * 0.5**count) <= 1 - CONFIDENCE:
        below += 1
        tail += math.comb(count, below) * 0.5**count
    return ordered[below], ordered[-1 - below]


def compare(bench: Bench, other: Path, chosen: list[Scenario]) -> None:
    """Measure, and print a line for each scenario."""
    portico = servers.by_names(["portico"])[0]
    pair = [replace(portico, name="other", checkout=other), portico]
    scenarios.make_files(bench.site, {one.files for one in chosen} | {"page"})
    print(f"CPU µs per request, {bench.record.rounds} pairs of slices of {bench.record.seconds} s")
    print(f"other: {other}\nthis:  {servers.ROOT}\n")
    print("scenario          other    this   this / other    95 % interval    least and most")
    for scenario in chosen:
        case = ("against", scenario.name)
        bench.measure(case, scenario, pair, ROUNDS_PER_START)
        slices = [bench.record.select(*case, one.name) for one in pair]
        if found := ratios(slices[1], slices[0]):
            middles = [statistics.median(filter(None, map(cost, each))) for each in slices]
            low, high = median_interval(found)
            print(
                f"{scenario.name:15}{middles[0]:8.2f}{middles[1]:8.2f}"
                f"{statistics.median(found):15.3f}{low:10.3f} - {high:.3f}"
                f"{min(found):10.3f} - {max(found):.3f}",
                flush=True,
            )
        for one in pair:
            if said := bench.record.remarks_on(*case, one.name):
                print(f"{scenario.name:15}{one.name}: {said}")
