"""The rounds: every server of a scenario runs for a short slice, then all of them again.

1. Start the servers of the scenario, all at once; those that wait use no CPU time.
2. Ask each once; one that answers wrongly is left out, and the reason kept.  Wait until it has
   done what it does once for a file.
3. Round by round, server by server: read the CPU clocks, run the load, read them again.  Each
   round begins with the next server, so that none has always the same neighbour.
4. Stop all; where a log was asked for, count its lines.

Limits: CPU time is that of the server's processes.  What the kernel does in their name counts for
them; what it does in the load's name, part of the work of TCP on loopback, does not.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import check, machine
from bench.load import Aim, Load, Sample
from bench.ratios import Spread, paired_ratio, spread
from bench.running import Running, StartError, last_words, running
from bench.scenarios import MIB, Scenario, fixed_answer
from bench.servers import Server
from bench.setup import Pythons, Setup, anonymous

REFERENCE_ROUNDS = 2


@dataclass(frozen=True)
class Slice:
    """One server under load for a moment: CPU seconds, and what the load saw."""

    round: int
    cpu: float
    sample: Sample

    def cost(self, unit: str) -> float | None:
        """CPU microseconds per request, or per MiB sent; None if nothing was answered.

        What came of answers that were not complete at the end of the slice is sent as well.
        """
        count = self.sample.requests if unit == "request" else self.sample.bytes / MIB
        return self.cpu * 1e6 / count if count >= 1 else None

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Slice:
        """What ``asdict`` gave, read back."""
        return cls(values["round"], values["cpu"], Sample(**values["sample"]))


@dataclass
class Cell:
    """One server in one scenario: its slices, or why there are none.

    ``closes``: it ended the connection after its answer although the client would have kept it.
    """

    server: str
    slices: list[Slice] = field(default_factory=list)
    problem: str | None = None
    logged: int | None = None
    closes: bool = False

    def costs(self, unit: str, rounds: int) -> list[float | None]:
        """The cost in each round; None where the server did not take part or failed."""
        costs: list[float | None] = [None] * rounds
        for one in self.slices:
            costs[one.round] = one.cost(unit)
        return costs

    def cost(self, unit: str) -> Spread | None:
        """The cost over all rounds."""
        return spread([cost for one in self.slices if (cost := one.cost(unit)) is not None])

    def middle(self, figure: Callable[[Slice], float]) -> float:
        """The median of a figure over the slices."""
        found = spread([figure(one) for one in self.slices])
        return found.median if found else 0.0

    def failures(self) -> dict[str, int]:
        """All failures by kind; a log that is shorter than the requests is one."""
        total: dict[str, int] = {}
        for one in self.slices:
            for kind, count in one.sample.failures.items():
                total[kind] = total.get(kind, 0) + count
        answered = sum(one.sample.requests for one in self.slices)
        if self.logged is not None and self.logged < answered:
            total["answers not logged"] = answered - self.logged
        return total


@dataclass
class Result:
    """All servers in one scenario."""

    scenario: Scenario
    rounds: int
    cells: list[Cell]

    def ratio(self, ours: str, theirs: str) -> Spread | None:
        """The cost of one server in that of another, round by round."""
        unit = self.scenario.unit
        costs = {cell.server: cell.costs(unit, self.rounds) for cell in self.cells}
        return paired_ratio(costs.get(ours, []), costs.get(theirs, []))

    def to_json(self) -> dict[str, Any]:
        """As plain values for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Result:
        """What ``to_json`` gave, read back."""
        described = dict(values["scenario"])
        described["fields"] = tuple(described["fields"])
        if described["slice_of"]:
            described["slice_of"] = tuple(described["slice_of"])
        cells = []
        for cell in values["cells"]:
            slices = [Slice.from_json(one) for one in cell["slices"]]
            cells.append(Cell(**{**cell, "slices": slices}))
        return cls(Scenario(**described), values["rounds"], cells)


@dataclass(frozen=True)
class Plan:
    """What holds for a whole run of the bench; *say* takes lines for whoever is waiting."""

    folder: Path
    site: Path
    pythons: Pythons
    cores: machine.Cores
    load: Load
    rounds: int
    seconds: float
    say: Callable[[str], None]

    def setup(self, server: Server, scenario: Scenario) -> Setup:
        """Where the server lives during this scenario; the port is chosen when it starts."""
        page, part = fixed_answer(scenario, self.site)
        folder = self.folder / f"{scenario.name}-{server.name}"
        return Setup(
            self.site,
            folder,
            0,
            self.pythons,
            page,
            folder / "access.log" if scenario.log else None,
            scenario.new_connection,
            bool(scenario.coding),
            scenario.status,
            part,
        )


def takes_part(server: Server, scenario: Scenario, rounds: int, turn: int) -> bool:
    """Whether the server runs in this round: references only at the start, the floor if it can."""
    if server.kind == "floor" and not scenario.floor:
        return False
    return server.kind != "reference" or turn < min(REFERENCE_ROUNDS, rounds)


def run(plan: Plan, scenario: Scenario, servers: list[Server]) -> tuple[Result, dict[str, str]]:
    """Measure these servers in this scenario; also how each was started, for the report."""
    cells = {
        server.name: Cell(server.name)
        for server in servers
        if takes_part(server, scenario, plan.rounds, 0)
    }
    configured: dict[str, str] = {}
    with ExitStack() as stack:
        ready: list[tuple[Running, Aim]] = []
        for server in servers:
            if server.name not in cells:
                continue
            try:
                setup = plan.setup(server, scenario)
                live = stack.enter_context(running(server, setup, plan.cores.server))
                aim = check.aim_at(scenario, live)
                ready.append((live, aim))
                cells[server.name].closes = not (aim.keeps or scenario.new_connection)
                configured[server.name] = how_started(live)
            except (StartError, check.AnswerError) as problem:
                cells[server.name].problem = str(problem)
        for turn in range(plan.rounds):
            plan.say(f"{scenario.name}: round {turn + 1} of {plan.rounds}")
            first = turn % len(ready) if ready else 0
            for live, aim in ready[first:] + ready[:first]:
                if takes_part(live.server, scenario, plan.rounds, turn):
                    slice_into(cells[live.server.name], plan, scenario, (live, aim, turn))
    if scenario.log:
        count_logs([live for live, _ in ready], cells)
    return Result(scenario, plan.rounds, list(cells.values())), configured


def slice_into(cell: Cell, plan: Plan, scenario: Scenario, at: tuple[Running, Aim, int]) -> None:
    """Run one slice; a load that reports nothing ends the server's part in the scenario."""
    live = at[0]
    if cell.problem is not None:
        return
    try:
        cell.slices.append(take(plan, scenario, at))
    except (ValueError, OSError) as problem:
        cell.problem = f"{problem} {last_words(live.setup)}"


def take(plan: Plan, scenario: Scenario, at: tuple[Running, Aim, int]) -> Slice:
    """One slice; ValueError or OSError from a load that reports nothing."""
    live, aim, turn = at
    before = machine.cpu_seconds(live.pid)
    sample = plan.load.run(scenario, aim, max(plan.seconds, scenario.seconds), turn)
    return Slice(turn, machine.cpu_seconds(live.pid) - before, sample)


def count_logs(lives: list[Running], cells: dict[str, Cell]) -> None:
    """Keep how many lines each server wrote; called once all have ended and flushed."""
    for live in lives:
        if live.setup.log is not None:
            found = live.setup.log.exists()
            cells[live.server.name].logged = check.log_lines(live.setup.log) if found else 0


def how_started(live: Running) -> str:
    """The command and the files of a server, without the paths of this run."""
    words = [f"$ {' '.join(live.launch.words)}"]
    for name, text in live.launch.files.items():
        words += [f"--- {name}", "\n".join(line for line in text.splitlines() if line)]
    return anonymous("\n".join(words), live.setup)
