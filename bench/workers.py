"""One worker and two of the same server, on all cores, which the load shares with them.

Rule: the server runs twice, with one worker and with two; a round is a slice of each, in turn
first, and the ratio of their cost per request is taken within a round.  Two workers that cost no
more for each request than one does serve twice as much on twice the cores.
Limits: the load takes most of two cores, so requests per second say little.  How the requests were
spread is told by the CPU time of the threads that used most, one for each worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any

from bench import check, machine, scenarios
from bench.load import Aim
from bench.measure import Plan, Slice, how_started, take
from bench.ratios import Spread, paired_ratio
from bench.running import Running, StartError, last_words, running
from bench.scenarios import Scenario
from bench.servers import Server

WORKERS = 2
SCENARIOS = tuple(
    replace(one, name=f"{one.name}-{WORKERS}", threads=WORKERS)
    for one in scenarios.by_names(["small", "connect"])
)


@dataclass
class Crew:
    """One server in one scenario with one worker and with two, or the reason why not.

    ``least`` is the share of the CPU time that the worker with least to do had, in each round.
    """

    server: str
    scenario: str
    alone: list[Slice] = field(default_factory=list)
    together: list[Slice] = field(default_factory=list)
    least: list[float] = field(default_factory=list)
    problem: str | None = None

    def ratio(self) -> Spread | None:
        """The cost per request with two workers in that with one, round by round."""
        return paired_ratio(
            [one.cost("request") for one in self.together],
            [one.cost("request") for one in self.alone],
        )

    def evenness(self) -> float | None:
        """The median share of the worker with least to do: 0.5 is even."""
        return median(self.least) if self.least else None

    def failures(self) -> dict[str, int]:
        """What failed of the load."""
        total: dict[str, int] = {}
        for one in self.alone + self.together:
            for kind, count in one.sample.failures.items():
                total[kind] = total.get(kind, 0) + count
        return total

    def to_json(self) -> dict[str, Any]:
        """As plain values for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Crew:
        """What ``to_json`` gave, read back."""
        read = dict(values)
        for kind in ("alone", "together"):
            read[kind] = [Slice.from_json(one) for one in values[kind]]
        return cls(**read)


def measure(plan: Plan, servers: list[Server], note: Callable[[str, str], None]) -> Iterator[Crew]:
    """Those of these servers that can, by scenario; *note* takes how one was started.

    ValueError where there is only one core.
    """
    if plan.cores.server == plan.cores.load:
        raise ValueError("needs two cores")
    scenarios.make_files(plan.site, {one.files for one in SCENARIOS})
    with machine.on_core(*plan.cores):
        for scenario in SCENARIOS:
            for server in servers:
                if server.multiplies:
                    plan.say(f"{scenario.name}: {server.name}")
                    yield compare(plan, scenario, server, note)


def compare(
    plan: Plan, scenario: Scenario, server: Server, note: Callable[[str, str], None]
) -> Crew:
    """All rounds of one server in one scenario."""
    crew = Crew(server.name, scenario.name)
    try:
        with ExitStack() as stack:
            both: list[tuple[Running, Aim]] = []
            for workers in (1, WORKERS):
                setup = replace(plan.setup(server, scenario), workers=workers)
                setup = replace(setup, folder=setup.folder / str(workers))
                live = stack.enter_context(running(server, setup, *plan.cores))
                both.append((live, check.aim_at(scenario, live)))
                note(server.name, how_started(live))
            for turn in range(plan.rounds):
                for workers in (1, WORKERS) if turn % 2 == 0 else (WORKERS, 1):
                    live, aim = both[workers != 1]
                    one_slice(plan, scenario, (live, aim, turn), crew)
    except (StartError, check.AnswerError, ValueError, OSError) as problem:
        crew.problem = str(problem)
    return crew


def one_slice(plan: Plan, scenario: Scenario, at: tuple[Running, Aim, int], crew: Crew) -> None:
    """A slice of the server with one worker or with two; ValueError if the load saw nothing."""
    live = at[0]
    before = machine.cpu_by_thread(live.pid)
    try:
        taken = take(plan, scenario, at)
    except ValueError as problem:
        raise ValueError(f"{problem} {last_words(live.setup)}") from problem
    if live.setup.workers == 1:
        crew.alone.append(taken)
        return
    crew.together.append(taken)
    after = machine.cpu_by_thread(live.pid)
    crew.least.append(least_share([used - before.get(task, 0) for task, used in after.items()]))


def least_share(used: list[float]) -> float:
    """Of what the busiest threads used, as many as there are workers, the share of the last."""
    busiest = sorted(used, reverse=True)[:WORKERS]
    total = sum(busiest)
    return busiest[-1] / total if len(busiest) == WORKERS and total > 0 else 0.0
