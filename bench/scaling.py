"""How the cost of a request grows: with connections, with files, with folders, with octets.

Rule: an axis is data.  At each point the servers take turns, round by round; each is asked as fast
as it answers (`steady.c`), and its CPU time is divided by the answers, parts of them counted as
such.  The first round warms up for longer where there are many files.
Limits: files of more than ``SPARSE`` octets are holes, whose pages are in memory all the same; what
a disk costs is not in these figures.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import scenarios
from bench.check import AnswerError
from bench.measure import Plan
from bench.neighbours import for_crowds, make_hole, rest
from bench.ratios import Spread, paired_ratio, spread
from bench.running import Running, StartError, running
from bench.scenarios import MIB
from bench.servers import Server
from bench.steady import Pace, Steady, Target, target

ROUNDS = 3
SECONDS = 0.4
CONNECTIONS = 64
FEW = 16
"""Connections where answers are large: as many as keep the server busy."""
SERVERS = ("portico", "nginx", "h2o")
"""Who takes part unless others are named."""
SPARSE = 16 * MIB
KIB = 1024
FILES_PER_SECOND = 10_000
"""So many files are warmed up in a second, at least."""


@dataclass(frozen=True)
class Axis:
    """What is varied; ``shown`` are the same values as words."""

    name: str
    title: str
    values: tuple[int, ...]
    shown: tuple[str, ...]


@dataclass(frozen=True)
class Point:
    """What is asked for at one value of an axis."""

    path: str
    connections: int = CONNECTIONS
    choices: int = 0
    warm: float = 0.2


@dataclass
class Curve:
    """One server along one axis: the cost in each round at each value, None where there is none."""

    axis: str
    server: str
    costs: list[list[float | None]] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)

    def at(self, index: int) -> Spread | None:
        """The cost at one value, in CPU microseconds per request."""
        return spread([cost for cost in self.costs[index] if cost is not None])

    def ratio(self, other: Curve, index: int) -> Spread | None:
        """Our cost in that of the other, round by round."""
        return paired_ratio(self.costs[index], other.costs[index])

    def to_json(self) -> dict[str, Any]:
        """As plain values for a JSON file."""
        return asdict(self)


def counted(*values: int) -> tuple[str, ...]:
    """Numbers as a reader likes them."""
    return tuple(f"{value:,}" for value in values)


COUNTS = (10, 100, 1000, 10_000)
DEPTHS = (0, 1, 2, 4, 8, 16)
SIZES = (0, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 16 * MIB, 256 * MIB, 1024 * MIB)
SIZE_NAMES = ("0", "1 KiB", "4 KiB", "16 KiB", "64 KiB", "256 KiB", "1 MiB", "16 MiB", "256 MiB")

AXES = (
    Axis("connections", "keep-alive connections, all of them in use", COUNTS, counted(*COUNTS)),
    Axis(
        "files",
        "files of 1 KiB, asked for at random",
        (*COUNTS, 100_000),
        counted(*COUNTS, 100_000),
    ),
    Axis("depth", "folders above a file of 1 KiB", DEPTHS, counted(*DEPTHS)),
    Axis("size", "size of the file", SIZES, (*SIZE_NAMES, "1 GiB")),
)


def point(axis: Axis, value: int) -> Point:
    """What is asked for at this value."""
    if axis.name == "connections":
        return Point("/page.html", connections=value)
    if axis.name == "files":
        warm = 0.2 + value / FILES_PER_SECOND
        return Point("/scale/files/{n}.bin", choices=value, warm=min(warm, 4.0))
    if axis.name == "depth":
        return Point(f"/scale/{'d/' * value}page.bin")
    return Point(f"/scale/{value}.bin", connections=FEW)


def make_files(site: Path, axes: tuple[Axis, ...] = AXES) -> None:
    """Write what the points of these axes ask for."""
    scenarios.make_files(site, {"page"})
    page = scenarios.content("scale.bin", KIB)
    for axis in axes:
        for value in axis.values:
            path = site / point(axis, value).path.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if axis.name == "depth":
                path.write_bytes(page)
            elif axis.name == "size" and value > SPARSE:
                make_hole(path, value)
            elif axis.name == "size":
                path.write_bytes(scenarios.content(path.name, value))
        if axis.name == "files":
            write_many(site / "scale" / "files", max(axis.values), page)


def write_many(folder: Path, count: int, content: bytes) -> None:
    """Many small files, each with its own octets, in a few seconds."""
    for n in range(count):
        start = b"%08d" % n
        made = os.open(folder / f"{n}.bin", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(made, start + content[len(start) :])
        os.close(made)


def chosen(present: list[Server], *, named: bool) -> list[Server]:
    """Who takes part: those named, or the usual ones."""
    return [one for one in present if named or one.name in SERVERS]


def measure(plan: Plan, present: list[Server], axes: tuple[Axis, ...] = AXES) -> list[Curve]:
    """Each of these servers along each axis."""
    plan.say("scaling: writing files")
    make_files(plan.site, axes)
    steady = Steady(plan.folder)
    curves: list[Curve] = []
    for axis in axes:
        with ExitStack() as stack:
            lives: list[tuple[Curve, Running]] = []
            for server in present:
                curve = Curve(
                    axis.name, server.name, [[None] * rounds_of(plan) for _ in axis.values]
                )
                curves.append(curve)
                try:
                    lives.append((curve, stack.enter_context(started(plan, server, axis))))
                except StartError as problem:
                    curve.problems = dict.fromkeys(axis.shown, str(problem))
            for index in range(len(axis.values)):
                measure_at(plan, steady, lives, (axis, index))
    return curves


def rounds_of(plan: Plan) -> int:
    """Slices for each server at each point."""
    return min(plan.rounds, ROUNDS)


def started(plan: Plan, server: Server, axis: Axis) -> AbstractContextManager[Running]:
    """The server, for the length of an axis."""
    setup = plan.setup(server, scenarios.SCENARIOS[0])
    setup = replace(setup, folder=plan.folder / f"{axis.name}-{server.name}")
    return running(for_crowds(server), setup, plan.cores.server)


def measure_at(
    plan: Plan, steady: Steady, lives: list[tuple[Curve, Running]], where: tuple[Axis, int]
) -> None:
    """All rounds at one value."""
    axis, index = where
    at, shown = point(axis, axis.values[index]), axis.shown[index]
    ready: list[tuple[Curve, Target]] = []
    for curve, live in lives:
        try:
            ready.append((curve, target(live, at.path, at.choices)))
        except AnswerError as problem:
            curve.problems[shown] = str(problem)
        rest(live)
    for turn in range(rounds_of(plan)):
        plan.say(f"scaling: {axis.name} {shown}, round {turn + 1} of {rounds_of(plan)}")
        first = turn % len(ready) if ready else 0
        pace = Pace(at.connections, SECONDS, 0, Point.warm if turn else at.warm)
        for curve, aim in ready[first:] + ready[:first]:
            try:
                seen = steady.run(aim, pace)
            except (ValueError, OSError) as problem:
                curve.problems[shown] = str(problem)
                continue
            rest(aim.live)
            curve.costs[index][turn] = seen.cost(aim.wire_size)
            if seen.failures:
                curve.problems[shown] = ", ".join(
                    f"{count:,} {kind}" for kind, count in seen.failures.items()
                )
