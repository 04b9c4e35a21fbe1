"""What a bad neighbour does to the others: their latency at a fixed rate, alone and beside it.

1. Start a server and ask it for everything once, so that it has hashed and kept what it will.
2. Neighbour by neighbour, round by round: a quiet slice, then one beside the neighbour.  The ratio
   of the two p99 is taken within the pair.
3. Wait after each slice until the server has nothing left to do.

The clients that are measured keep 64 connections open and send requests at fixed moments
(`steady.c`), far fewer than the server could bear.  The neighbour (`neighbour.py`) runs beside
them, on the load's core, with the least priority.

Rule: a slice in which the server had to wait for its core, or in which the load itself was late,
is made again, at most ``TRIES`` times: it says more about the machine than about the server.
Limits: one neighbour at a time, on loopback, where the fastest download is faster than any network.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import machine, scenarios
from bench.check import AnswerError
from bench.measure import Plan
from bench.ratios import Spread, paired_ratio, spread
from bench.running import Running, StartError, end, environment, running
from bench.servers import Server
from bench.setup import ROOT, Launch, Setup
from bench.steady import Pace, Seen, Steady, Target, probe, target

CONNECTIONS = 64
RATE = 5000
ROUNDS = 3
SERVERS = ("portico", "nginx", "h2o")
"""Who takes part unless others are named."""
GIB = 1 << 30
ENTRIES = 20_000
LONGEST_REST = 3.0
"""Seconds that a server gets to finish what a neighbour has left behind."""
REST = 0.04
"""Seconds without CPU time after which it has finished."""
IDLE = 0.0005
"""CPU time that does not count as such: a timer, a look around."""
TRIES = 3
DELAY = 0.005
"""Share of a slice that the server may have waited for its core."""
LAG = 0.5
"""The load's own lag in the p99 that it has measured; more of it is too much."""


@dataclass(frozen=True)
class Neighbour:
    """One kind: what it asks for, and how that is counted."""

    name: str
    title: str
    path: str
    unit: str


NEIGHBOURS = (
    Neighbour("download", "downloads 1 GiB again and again", "/1g.bin", "MiB/s"),
    Neighbour("pipeline", "sends 1,000 requests at a time, always", "/page.html", "requests/s"),
    Neighbour("crowd", "opens 5,000 connections and keeps them", "/page.html", "connections"),
    Neighbour("churn", "opens and closes connections, always", "/page.html", "connections/s"),
    Neighbour("stall", "begins 100 downloads and reads nothing", "/1g.bin", "downloads"),
    Neighbour("listing", "lists a folder of 20,000 files, always", "/wide/", "listings/s"),
)


@dataclass(frozen=True)
class Got:
    """What a neighbour has got in a slice."""

    requests: int
    bytes: int
    seconds: float
    problem: str = ""

    def figure(self, unit: str) -> float:
        """The same in the unit of the neighbour."""
        if not unit.endswith("/s"):
            return self.requests
        count = self.bytes / scenarios.MIB if unit == "MiB/s" else self.requests
        return count / self.seconds if self.seconds else 0.0


@dataclass
class Beside:
    """One server beside one neighbour: pairs of slices, or why there are none."""

    server: str
    neighbour: str
    quiet: list[Seen] = field(default_factory=list)
    loud: list[Seen] = field(default_factory=list)
    got: list[Got] = field(default_factory=list)
    problem: str = ""
    disturbed: int = 0
    """Slices in which others took the cores, however often they were made."""

    def ratio(self) -> Spread | None:
        """The p99 beside the neighbour in that of the quiet slice before it."""
        return paired_ratio([one.p99 for one in self.loud], [one.p99 for one in self.quiet])

    def failures(self) -> dict[str, int]:
        """All failures of the clients that were measured, by kind."""
        total: dict[str, int] = {}
        for one in self.quiet + self.loud:
            for kind, count in one.failures.items():
                total[kind] = total.get(kind, 0) + count
        return total

    def to_json(self) -> dict[str, Any]:
        """As plain values for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Beside:
        """What ``to_json`` gave, read back."""
        slices = {name: [Seen(**one) for one in values[name]] for name in ("quiet", "loud")}
        return cls(**{**values, **slices, "got": [Got(**one) for one in values["got"]]})


def middle(slices: list[Seen], name: str) -> float:
    """The median of one figure over these slices."""
    found = spread([getattr(one, name) for one in slices])
    return found.median if found else 0.0


def by_name(name: str) -> Neighbour:
    """The neighbour of this name."""
    return next(one for one in NEIGHBOURS if one.name == name)


def make_files(site: Path) -> None:
    """The page, a gibibyte (a hole, whose pages are in memory after this) and a wide folder."""
    scenarios.make_files(site, {"page"})
    make_hole(site / "1g.bin", GIB)
    (site / "wide").mkdir(exist_ok=True)
    for n in range(ENTRIES):
        (site / "wide" / f"entry-{n}.txt").touch()


def make_hole(path: Path, size: int) -> None:
    """A file of zeros that takes no room on the disk, read once."""
    with path.open("wb") as file:
        file.truncate(size)
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass


def for_crowds(server: Server) -> Server:
    """The server with listings, and with room for all the connections."""

    def launch(setup: Setup) -> Launch:
        usual = server.launch(setup)
        more = ["--max-connections", "12000", "--idle-timeout", "600"]
        files = {name: with_listings(text) for name, text in usual.files.items()}
        words = [*usual.words, *more] if server.name == "portico" else usual.words
        return replace(usual, words=words, files=files)

    return replace(server, launch=launch)


def with_listings(text: str) -> str:
    """A configuration of nginx, lighttpd or h2o that lists folders, too."""
    text = text.replace("    sendfile on;\n", "    sendfile on;\n    autoindex on;\n")
    text = text.replace("server.errorlog", 'dir-listing.activate = "enable"\nserver.errorlog')
    return text.replace("file.send-compressed", "file.dirlisting: ON\n        file.send-compressed")


def chosen(present: list[Server], *, named: bool) -> list[Server]:
    """Who takes part: those named, or the usual ones."""
    return [one for one in present if named or one.name in SERVERS]


def measure(plan: Plan, present: list[Server]) -> list[Beside]:
    """Each of these servers beside each neighbour."""
    make_files(plan.site)
    steady = Steady(plan.folder)
    found = []
    for server in present:
        setup = plan.setup(server, scenarios.SCENARIOS[0])
        setup = replace(setup, folder=plan.folder / f"neighbours-{server.name}")
        try:
            with running(for_crowds(server), setup, plan.cores.server) as live:
                found += beside_all(plan, steady, live)
        except (StartError, AnswerError) as problem:
            found += [Beside(server.name, one.name, problem=str(problem)) for one in NEIGHBOURS]
    return found


def beside_all(plan: Plan, steady: Steady, live: Running) -> list[Beside]:
    """One server beside each neighbour."""
    page = target(live, "/page.html")
    sizes = {one.path: wire_size(live, one.path) for one in NEIGHBOURS}
    rest(live)
    found = []
    for one in NEIGHBOURS:
        beside = Beside(live.server.name, one.name)
        found.append(beside)
        for turn in range(min(plan.rounds, ROUNDS)):
            plan.say(f"neighbours: {live.server.name}, {one.name}, round {turn + 1}")
            try:
                pair(plan, steady, page, (one, sizes[one.path], beside))
            except (ValueError, OSError) as problem:
                beside.problem = str(problem)
            if beside.problem:
                break
    return found


def wire_size(live: Running, path: str) -> int:
    """How long the answer is that a neighbour asks for; 0 where it reads to the end."""
    if path.endswith("/"):
        return 0
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{live.setup.port}\r\n\r\n"
    return probe(live.setup.port, head, live.setup.site / path.lstrip("/"))


def pair(plan: Plan, steady: Steady, page: Target, what: tuple[Neighbour, int, Beside]) -> None:
    """A quiet slice and one beside the neighbour."""
    kind, size, beside = what
    pace = Pace(CONNECTIONS, plan.seconds, RATE)
    alone, _, calm = undisturbed(steady, page, pace, None)
    seen, got, calm_again = undisturbed(steady, page, pace, (kind, size))
    beside.quiet.append(alone)
    beside.loud.append(seen)
    beside.disturbed += (not calm) + (not calm_again)
    if got is not None:
        beside.got.append(got)
        beside.problem = got.problem


def undisturbed(
    steady: Steady, page: Target, pace: Pace, beside: tuple[Neighbour, int] | None
) -> tuple[Seen, Got | None, bool]:
    """A slice, made again if others have taken the cores meanwhile; else the best, and False."""
    best: tuple[float, Seen, Got | None] | None = None
    for _ in range(TRIES):
        before = machine.waited_seconds(page.live.pid)
        with calling(page.live, beside) as call:
            seen = steady.run(page, pace)
        waited = (machine.waited_seconds(page.live.pid) - before) / pace.seconds
        rest(page.live)
        if best is None or waited < best[0]:
            best = waited, seen, call.got
        if waited <= DELAY and seen.lag <= LAG * max(seen.p99, 1):
            return seen, call.got, True
    assert best is not None  # noqa: S101 (TRIES is above zero)
    return best[1], best[2], False


@dataclass
class Call:
    """A neighbour while it is there, and what it has got once it has gone."""

    got: Got | None = None


@contextmanager
def calling(live: Running, beside: tuple[Neighbour, int] | None) -> Iterator[Call]:
    """The neighbour for the length of the block, or nobody."""
    call = Call()
    if beside is None:
        yield call
        return
    kind, size = beside
    words = [sys.executable, "-m", "bench.neighbour", kind.name, str(live.setup.port)]
    words += [live.server.prefix + kind.path, str(size)]
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=environment(),
        start_new_session=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101 (a pipe was asked for)
        process.stdout.readline()  # it is ready
        yield call
        process.terminate()
        call.got = Got(**json.loads(process.communicate(timeout=30)[0]))
    finally:
        end(process)
        if process.stdout is not None:
            process.stdout.close()


def rest(live: Running) -> None:
    """Wait until the server uses no CPU time any more: hashes and closed connections are done."""
    until = time.monotonic() + LONGEST_REST
    used = -1.0
    while time.monotonic() < until and (now := machine.cpu_seconds(live.pid)) - used > IDLE:
        used = now
        time.sleep(REST)
