"""The one way in which anything is measured: contenders take turns under load, round by round.

1. Start the servers, each on the same core; those that wait use no CPU time.
2. Ask each once; one that answers wrongly is left out, and the reason kept.  Warm it up.
3. Round by round, contender by contender: wait until the server is idle, read the CPU clocks, run
   the load, read them again.  Each round begins with the next contender, so that none has always
   the same neighbour.

What comes of it is a flat list of slices, of which everything that is reported is computed.  A
ratio is taken within a round, between two slices that ran next to each other, and then the median
over rounds: what slows the machine for longer than a round hits both alike.

CPU time is that of the server's processes.  What the kernel does in their name counts for them;
what it does in the load's name, part of the work of TCP on loopback, does not.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench import client, load, machine
from bench.client import Aim, AnswerError
from bench.load import Seen
from bench.process import Running, StartError, last_words, running
from bench.scenarios import MIB, Scenario
from bench.servers import Server, Setup

FORMAT = 3
# What a load or a client that gets nowhere ends by.
FAILURES = (ValueError, OSError, subprocess.SubprocessError)
# The servers that cost so much more that a few per cent do not matter run in the first rounds only.
REFERENCE_ROUNDS = 2
# A slice is disturbed if the server had to wait for its core for more than this share of it, or if
# the load's own lag is more than that share of the p99 that it has measured.
WAITED = 0.005
LAG = 0.5
# Files that are chosen at random have been asked for so often before; a pass ends after so long.
VISITS = 2
VISIT_SECONDS = 20.0


class Spread(NamedTuple):
    """The median of some figures, the smallest and the largest of them, and how many."""

    median: float
    low: float
    high: float
    rounds: int

    def __str__(self) -> str:
        """``0.51 (0.50-0.53)``; a single figure has no spread."""
        if self.rounds == 1:
            return f"{self.median:.2f}"
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


def spread(figures: Sequence[float]) -> Spread | None:
    """Median and extremes, or None where there is nothing."""
    least, most = min(figures, default=0), max(figures, default=0)
    return Spread(median(figures), least, most, len(figures)) if figures else None


@dataclass(frozen=True)
class Slice:
    """One server under load for a moment.

    ``part`` and ``case`` say what was measured, such as "scenarios" and "small"; ``variant`` tells
    contenders of one server apart, such as one and two workers.  ``count`` is what the CPU time is
    divided by.  ``more`` has what only some parts measure.
    """

    part: str
    case: str
    server: str
    variant: str
    round: int
    cpu: float
    count: float
    seen: Seen
    more: dict[str, float] = field(default_factory=dict)

    @property
    def disturbed(self) -> bool:
        """Whether it says more about the machine than about the server."""
        waited = self.more.get("waited", 0) > WAITED * self.seen.seconds
        return waited or self.seen.lag > LAG * self.seen.p99


@dataclass(frozen=True)
class Remark:
    """Something to be said of a server in a case; ``wrong`` if it has failed there."""

    part: str
    case: str
    server: str
    text: str
    wrong: bool = True


@dataclass(frozen=True)
class Participant:
    """A server that took part."""

    name: str
    title: str
    kind: str
    version: str


Value = Callable[[Slice], float | None]


def cost(one: Slice) -> float | None:
    """CPU microseconds per request (or MiB); None if nothing was answered."""
    return one.cpu * 1e6 / one.count if one.count > 0 else None


def values(slices: Iterable[Slice], value: Value) -> Spread | None:
    """A figure over the slices that have it."""
    return spread([found for one in slices if (found := value(one)) is not None])


def ratios(ours: Iterable[Slice], theirs: Iterable[Slice], value: Value = cost) -> list[float]:
    """Ours divided by theirs round by round; rounds in which either is missing do not count."""
    bases = {one.round: value(one) for one in theirs}
    pairs = [(value(one), bases.get(one.round)) for one in ours]
    return [our / base for our, base in pairs if our is not None and base]


def ratio(ours: Iterable[Slice], theirs: Iterable[Slice], value: Value = cost) -> Spread | None:
    """The spread of these ratios."""
    return spread(ratios(ours, theirs, value))


@dataclass
class Record:
    """What was run where, and all that was seen; ``made`` is an ISO date."""

    made: str
    rounds: int
    seconds: float
    machine: dict[str, str]
    servers: list[Participant] = field(default_factory=list)
    slices: list[Slice] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)

    def select(self, part: str, case: str, server: str, variant: str | None = None) -> list[Slice]:
        """The slices of a server in a case."""
        where = (part, case, server)
        found = [one for one in self.slices if (one.part, one.case, one.server) == where]
        return [one for one in found if variant in (None, one.variant)]

    def cases(self, part: str) -> list[str]:
        """The cases of a part in the order in which they were measured."""
        named = [(one.part, one.case) for one in self.slices]
        named += [(one.part, one.case) for one in self.remarks]
        return list(dict.fromkeys(case for found, case in named if found == part and case))

    def remark(self, part: str, case: str, server: str, text: str, *, wrong: bool = True) -> None:
        """Keep something to be said, in one line, and say it at once if it is about a part."""
        text = " ".join(text.split())[:300]
        remark = Remark(part, case, server, text, wrong)
        if remark not in self.remarks:
            self.remarks.append(remark)
        if not case:
            print(f"\nbench: {part}: {text}", file=sys.stderr)

    def remarks_on(self, part: str, case: str, server: str) -> str:
        """All remarks on a server in a case, and what failed in its slices."""
        where = (part, case, server)
        said = [one.text for one in self.remarks if (one.part, one.case, one.server) == where]
        failures = Counter[str]()
        for one in self.select(part, case, server):
            failures.update(one.seen.failures)
        if failures:
            counted = ", ".join(f"{count:,} {kind}" for kind, count in failures.items())
            said.append(f"failures: {counted}")
        return "; ".join(said)

    def failed(self) -> bool:
        """Whether Portico answered anything wrongly, or something could not be measured."""
        wrong = any(one.wrong and one.server in ("", "portico") for one in self.remarks)
        return wrong or any(one.seen.failures for one in self.slices if one.server == "portico")

    def save(self, path: Path) -> None:
        """Write the record as JSON."""
        path.write_text(json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Record:
        """Read a record that ``save`` wrote; ValueError for another format."""
        read = json.loads(path.read_text())
        if read.pop("format", None) != FORMAT:
            raise ValueError(f"{path} is no record of format {FORMAT}")
        read["servers"] = [Participant(**one) for one in read["servers"]]
        read["slices"] = [Slice(**{**one, "seen": Seen(**one["seen"])}) for one in read["slices"]]
        read["remarks"] = [Remark(**one) for one in read["remarks"]]
        return cls(**read)


@dataclass
class Contender:
    """One server under one load, which takes the seconds and the number of the round.

    What happens ``beside`` it fills in further figures.  A disturbed slice is made again, ``tries``
    times at most.
    """

    live: Running
    scenario: Scenario
    aim: Aim
    load: Callable[[float, int], Seen]
    variant: str = ""
    beside: Callable[[], AbstractContextManager[dict[str, float]]] = lambda: nullcontext({})
    tries: int = 1


@dataclass
class Bench:
    """What holds for a whole run."""

    folder: Path
    own: str
    peers: str
    cores: machine.Cores
    record: Record

    @property
    def site(self) -> Path:
        """The folder that is served."""
        return self.folder / "site"

    def say(self, text: str) -> None:
        """Tell whoever waits what is going on, in place, if anybody is there."""
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def setup(self, server: Server, scenario: Scenario, where: str, **more: bool | int) -> Setup:
        """What a server is told; *where* names a folder of its own."""
        folder = self.folder / f"{where.replace(' ', '-')}-{server.name}"
        return Setup(self.site, folder, scenario, self.own, self.peers, **more)  # type: ignore[arg-type]

    def enter(
        self, stack: ExitStack, case: tuple[str, str], setup: Setup, server: Server, *cores: int
    ) -> Contender | None:
        """Start a server, check its answer and warm it up; None with a remark if that fails."""
        scenario = setup.scenario
        self.say(f"{' '.join(case)}: starting {server.name}")
        try:
            live = stack.enter_context(running(server, setup, *(cores or self.cores[:1])))
            contender = self.contender(live, scenario)
        except (StartError, AnswerError, *FAILURES) as problem:
            self.record.remark(*case, server.name, f"left out: {problem}")
            return None
        if not (contender.aim.keeps or scenario.closes):
            self.record.remark(*case, server.name, "closes connections", wrong=False)
        return contender

    def contender(self, live: Running, scenario: Scenario) -> Contender:
        """A server that runs already, checked and warmed up for a scenario."""
        aim = client.check(scenario, live)
        if scenario.chooses:  # what is measured is how it goes on, not who comes first
            each = replace(scenario, chooses=0, once=scenario.chooses)
            for turn in range(VISITS):
                load.run(each, aim, VISIT_SECONDS, turn)
        if not scenario.once:
            load.run(scenario, aim, scenario.warm, -1)
        return Contender(live, scenario, aim, partial(load.run, scenario, aim))

    def measure(
        self,
        case: tuple[str, str],
        scenario: Scenario,
        present: Iterable[Server],
        rounds_per_start: int = 0,
    ) -> list[Contender | None]:
        """All rounds of these servers, started anew after so many; those started last."""
        rounds = range(self.record.rounds)
        step = 1 if scenario.once else rounds_per_start or len(rounds)
        ready: list[Contender | None] = []
        for start in rounds[::step]:
            with ExitStack() as stack:
                setups = [(self.setup(one, scenario, scenario.name), one) for one in present]
                ready = [self.enter(stack, case, *one) for one in setups]
                self.take_turns(case, ready, rounds[start : start + step])
        return ready

    def take_turns(
        self,
        case: tuple[str, str],
        contenders: Iterable[Contender | None],
        rounds: Iterable[int] = (),
        seconds: float = 0,
    ) -> None:
        """The rounds of these contenders, or all; one that fails is out, with a remark."""
        ready = [one for one in contenders if one is not None]
        for turn in rounds or range(self.record.rounds):
            self.say(f"{' '.join(case)}: round {turn + 1}")
            first = turn % max(len(ready), 1)
            for one in ready[first:] + ready[:first]:
                if one.live.server.kind == "reference" and turn >= REFERENCE_ROUNDS:
                    continue
                try:
                    seconds = seconds or self.record.seconds
                    self.record.slices.append(take(case, one, turn, seconds))
                except FAILURES as problem:
                    ready.remove(one)
                    text = f"{problem} {last_words(one.live.setup)}"
                    self.record.remark(*case, one.live.server.name, f"left out: {text}")
        self.say("")


def take(case: tuple[str, str], one: Contender, turn: int, seconds: float) -> Slice:
    """One slice, or the least disturbed of a few; ValueError or OSError if nothing is reported."""
    scenario, pid, found = one.scenario, one.live.pid, list[Slice]()
    for _ in range(one.tries):
        machine.settle(pid)
        with one.beside() as more:
            waited, used = machine.waited_seconds(pid), machine.cpu_seconds(pid)
            seen = one.load(max(seconds, scenario.seconds), turn)
            used = machine.cpu_seconds(pid) - used
            waited = machine.waited_seconds(pid) - waited
        counts = {"request": seen.requests, "MiB": seen.bytes / MIB}
        count = counts.get(scenario.unit, seen.bytes / one.aim.wire_size)
        more = {**more, "waited": waited}
        name = one.live.server.name
        found.append(Slice(*case, name, one.variant, turn, used, count, seen, more))
        if not found[-1].disturbed:
            return found[-1]
    return min(found, key=lambda each: each.more["waited"])
