"""What is measured: the parts of the bench, each a function that fills the record.

A server that fails in one part does not end the others: the record says what was not measured.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, product

from bench import client, load, machine, scenarios
from bench.client import Aim, AnswerError
from bench.load import Seen
from bench.process import START_SECONDS, Running, StartError, end, free_port, running, spawn
from bench.runner import FAILURES, Bench, Contender, Slice
from bench.scenarios import FLOODS, MIB, SMALL, Scenario
from bench.servers import CLOSEST, WITH_WORKERS, Server
from bench.steady import quantile
from bench.trickle import trickling
from bench.uploads import measure_readers, measure_uploads

STARTS = 15
RETRY_SECONDS = 0.0002
MEMORY_REQUESTS = 1_000_000
MEMORY_SLICE = 3.0
IDLE_CONNECTIONS = 10_000
# The idle connections, the active ones of the server, and everything else it opens.
FILES_NEEDED = IDLE_CONNECTIONS + 1000
TRIES = 3
NEWCOMERS_SECONDS = 4.0
# How long after the one before has its answer a newcomer comes.
NEWCOMERS_APART = 0.05
# So long after the start of a crowd, it has opened its connections and sent its first requests.
CROWD_SECONDS = 1.5
SCALING_SECONDS = 0.5
# As many on 200 places.
TRICKLING = 400
# At most so many with neighbours and newcomers, and along axes.
ROUNDS = 3
CONNECT = scenarios.BY_NAME["connect"]


def measure_scenario(bench: Bench, present: list[Server], scenario: Scenario) -> None:
    """Every server in a scenario."""
    scenarios.make_files(bench.site, {scenario.files, "page"})
    case = ("scenarios", scenario.name)
    able = [one for one in present if one.kind != "limit" or scenario.limit]
    ready = bench.measure(case, scenario, able)
    for contender in ready:  # all have ended, and written what they held back
        if contender is not None and scenario.log:
            count_log(bench, case, contender.live)


def count_log(bench: Bench, case: tuple[str, str], live: Running) -> None:
    """A log that is shorter than the requests answered is a failure."""
    path = live.setup.log
    lines = path.read_bytes().count(b"\n") if path and path.exists() else 0
    answered = sum(one.seen.requests for one in bench.record.select(*case, live.server.name))
    if lines < answered:
        bench.record.remark(*case, live.server.name, f"{answered - lines:,} answers not logged")


def measure_startup(bench: Bench, present: list[Server]) -> None:
    """From starting the command to its first answer: Portico and ``python -m http.server``.

    The first start of each is not counted, so that compiled modules lie on disk for both.  The
    client tries again every 0.2 ms, which is what a figure can be too large by.
    """
    scenarios.make_files(bench.site, {"page"})
    typed = "$own -m http.server $port --bind 127.0.0.1 --directory $site"
    pair = [
        replace(one, command=typed, file="") if one.name == "http.server" else one
        for one in present
        if one.name in ("portico", "http.server")
    ]
    for turn in range(STARTS + 1):
        bench.say(f"start: {turn} of {STARTS}")
        for server in pair:
            setup = replace(bench.setup(server, SMALL, "startup"), port=free_port())
            began = time.perf_counter()
            process = spawn(server, setup, bench.cores.server)
            try:
                took = first_answer(setup.port) - began
                held = {"pss": machine.memory(process.pid)["pss"]}
            finally:
                end(process)
            if turn:
                what = ("startup", "start", server.name, "")
                bench.record.slices.append(Slice(*what, turn, 0, 0, Seen(1, 0, took), held))


def first_answer(port: int) -> float:
    """The moment at which the port has answered 200; StartError if it does not."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with suppress(OSError):
            if client.fetch(port, scenarios.head(SMALL, port)).status == 200:
                return time.perf_counter()
        time.sleep(RETRY_SECONDS)
    raise StartError("no answer of the status 200")


def measure_memory(bench: Bench, present: list[Server]) -> None:
    """Memory before and after each of several floods of a million requests.

    What a server keeps of that, it keeps for strangers.
    """
    scenarios.make_files(bench.site, {"page", *(flood.files for flood in FLOODS)})
    for flood, server in product(FLOODS, present):
        with running(server, bench.setup(server, flood, flood.name), bench.cores.server) as live:
            before = machine.memory(live.pid)
            head = scenarios.head(flood, live.setup.port, server.prefix)
            aim = client.check(flood, live) if flood.status else Aim(live.setup.port, head, 0)
            done, failures = 0, Counter[str]()
            for turn in count():
                bench.say(f"{flood.name}: {server.name}, {done:,} of {MEMORY_REQUESTS:,} requests")
                seen = load.run(flood, aim, MEMORY_SLICE, turn)
                done += seen.requests
                failures.update(seen.failures)
                if done >= MEMORY_REQUESTS or seen.requests == 0:
                    break
            more = {f"{name} before": size for name, size in before.items()}
            more |= {f"{name} after": size for name, size in machine.memory(live.pid).items()}
        seen = replace(seen, requests=done, failures=dict(failures))
        what = ("memory", flood.name, server.name, "")
        bench.record.slices.append(Slice(*what, 0, 0, 0, seen, more))


def measure_idle(bench: Bench, present: list[Server]) -> None:
    """The small page without and with ten thousand idle connections, and the memory these hold.

    An idle connection has made one request and has its answer, and must still be open when the
    slice is over.
    """
    machine.allow_open_files(FILES_NEEDED)
    scenarios.make_files(bench.site, {"page"})
    for server in present:
        case = ("idle", "idle")
        with ExitStack() as stack:
            setup = bench.setup(server, SMALL, "idle", crowd=True)
            quiet = bench.enter(stack, case, setup, server)
            if quiet is None:
                continue
            quiet.variant = "without"
            crowded = replace(quiet, variant="with", beside=partial(crowd, quiet))
            bench.take_turns(case, [quiet, crowded])
        slices = bench.record.select(*case, server.name, "with")
        if lost := sum(one.more["closed"] for one in slices):
            bench.record.remark(*case, server.name, f"{lost:,.0f} idle connections closed")
        if not all(one.seen.requests for one in slices):
            bench.record.remark(*case, server.name, "answered nobody else meanwhile")


@contextmanager
def crowd(one: Contender) -> Iterator[dict[str, float]]:
    """Idle connections for the length of the block, and what they hold in memory."""
    before = machine.memory(one.live.pid)["pss"]
    with client.held(one.aim, IDLE_CONNECTIONS) as clients:
        machine.settle(one.live.pid)
        grown = machine.memory(one.live.pid)["pss"] - before
        more = {"KiB per idle": grown / IDLE_CONNECTIONS}
        yield more
        more["closed"] = sum(not client.is_open(each) for each in clients)


def measure_workers(bench: Bench, present: list[Server]) -> None:
    """One worker and two of the same server, on all cores, which the load shares with them.

    Two workers that cost no more for each request than one serve twice as much on twice the cores.
    """
    if bench.cores.server == bench.cores.load:
        raise ValueError("needs two cores")
    scenarios.make_files(bench.site, {"page"})
    with machine.on_core(*bench.cores):
        several = [one for one in present if one.name in WITH_WORKERS]
        for scenario, server in product(scenarios.by_names(["small", "connect"]), several):
            case, wide = ("workers", scenario.name), replace(scenario, threads=2)
            with ExitStack() as stack:
                pair = []
                for workers in (1, 2):
                    where = f"workers-{scenario.name}-{workers}"
                    setup = bench.setup(server, wide, where, workers=workers)
                    one = bench.enter(stack, case, setup, server, *bench.cores)
                    if one is not None:
                        one.variant, one.beside = str(workers), partial(shares, one.live.pid)
                        pair.append(one)
                bench.take_turns(case, pair)


@contextmanager
def shares(pid: int) -> Iterator[dict[str, float]]:
    """How evenly two workers share what happens in the block."""
    more: dict[str, float] = {}
    before = machine.thread_times(pid)
    yield more
    after = machine.thread_times(pid)
    more["lesser share"] = lesser_share([after[n][0] - before.get(n, (0,))[0] for n in after])


def lesser_share(used: list[float]) -> float:
    """Of the CPU time that the two busiest threads used, the part of the second."""
    first, second = sorted([*used, 0.0, 0.0], reverse=True)[:2]
    return second / (first + second) if first else 0.0


@dataclass(frozen=True)
class Neighbour:
    """A client that takes of a server what it can get, at the least priority.

    It runs wrk with this *request*, or opens its connections, asks once on each and ``holds`` them.
    """

    name: str
    title: str
    unit: str
    request: Scenario
    holds: bool = False


NEIGHBOURS, CROWDS = (
    tuple(
        Neighbour(name, **{**row, "request": Scenario(name, **row["request"])})
        for name, row in scenarios.ROWS[table].items()
    )
    for table in ("neighbours", "crowds")
)


def measure_neighbours(bench: Bench, present: list[Server]) -> None:
    """What a bad neighbour does to the others: their latency at a fixed rate, alone and beside it.

    The clients that are measured send far fewer requests than the server could bear.  A slice in
    which the server had to wait for its core, or in which the load itself was late, is made again.
    """
    machine.allow_open_files(FILES_NEEDED)
    scenarios.make_files(bench.site, {one.request.files for one in NEIGHBOURS})
    for server in present:
        with ExitStack() as stack:
            setup = bench.setup(server, SMALL, "neighbours", crowd=True, lists=True)
            quiet = bench.enter(stack, ("neighbours", ""), setup, server)
            if quiet is None:
                continue
            quiet = replace(
                quiet, variant="alone", load=partial(load.steady, quiet.aim, 0.2), tries=TRIES
            )
            for kind in NEIGHBOURS:
                case = ("neighbours", kind.name)
                if (disturbed := beside(bench, case, kind, quiet)) is not None:
                    pair = [quiet, replace(disturbed, variant="beside")]
                    rounds = range(min(bench.record.rounds, ROUNDS))
                    bench.take_turns(case, pair, rounds)


def beside(
    bench: Bench, case: tuple[str, str], kind: Neighbour, one: Contender
) -> Contender | None:
    """The contender beside a neighbour; None with a remark if that is answered wrongly."""
    try:
        aim = client.check(kind.request, one.live)
    except AnswerError as problem:
        bench.record.remark(*case, one.live.server.name, f"left out: {problem}")
        return None
    return replace(one, beside=partial(holding if kind.holds else busy, kind, aim))


@contextmanager
def busy(kind: Neighbour, aim: Aim) -> Iterator[dict[str, float]]:
    """A neighbour that runs wrk for the length of the block, and what it got."""
    more: dict[str, float] = {}
    with load.beside(kind.request, aim) as found:
        yield more
    count = found[0].bytes / MIB if kind.unit == "MiB/s" else found[0].requests
    more["got"] = count / found[0].seconds


@contextmanager
def holding(kind: Neighbour, aim: Aim) -> Iterator[dict[str, float]]:
    """A neighbour that opens connections and keeps them until the end of the block."""
    more: dict[str, float] = {}
    stop, opened = threading.Event(), list[socket.socket]()

    def work() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        with suppress(OSError):  # refused: then it has got no more
            while len(opened) < kind.request.connections and not stop.is_set():
                opened.append(client.connect(aim.port))
                opened[-1].sendall(aim.head.encode())
                if kind.request.files == "page":  # of a large file nothing is read
                    opened[-1].recv(1 << 16)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield more
    finally:
        stop.set()
        thread.join()
        for connection in opened:
            connection.close()
    more["got"] = len(opened)


def measure_newcomers(bench: Bench, present: list[Server]) -> None:
    """How long newcomers wait beside a crowd that asks for what costs a server more than a page.

    Each connects, asks for the page and closes.  The crowd opens its connections before it asks
    for anything, and all servers have their usual limits.
    """
    scenarios.make_files(bench.site, {"page", *(one.request.files for one in CROWDS)})
    for kind in CROWDS:
        case = ("newcomers", kind.name)
        with ExitStack() as stack:
            ready = []
            for server in present:
                setup = bench.setup(server, CONNECT, f"newcomers-{kind.name}", lists=True)
                one = bench.enter(stack, case, setup, server)
                if one is not None:
                    one.load = partial(newcomers, one.aim)
                    ready.append(beside(bench, case, kind, one))
            rounds = range(min(bench.record.rounds, ROUNDS))
            bench.take_turns(case, ready, rounds, NEWCOMERS_SECONDS)


def measure_trickle(bench: Bench, present: list[Server]) -> None:
    """How long newcomers wait where all places are taken by readers that trickle.

    Those that are cut for the sake of others stay away (``once``), or come again (``again``).  The
    server takes little of its core, so it runs before whatever else is there.
    """
    scenarios.make_files(bench.site, {"page", "10m"})
    large = Scenario("large", files="10m")
    for server in present:
        with ExitStack() as stack:
            setup = bench.setup(server, CONNECT, "trickle", few=True)
            one = bench.enter(stack, ("trickle", ""), setup, server)
            if one is None:
                continue
            machine.prefer(one.live.pid)
            aim = replace(one.aim, head=scenarios.head(large, one.aim.port, server.prefix))
            for case in ("once", "again"):
                crowd = partial(trickling, aim, TRICKLING, again=case == "again")
                contender = replace(one, load=partial(newcomers, one.aim), beside=crowd)
                rounds = range(min(bench.record.rounds, ROUNDS))
                bench.take_turns(("trickle", case), [contender], rounds, NEWCOMERS_SECONDS)


def newcomers(aim: Aim, seconds: float, _turn: int) -> Seen:
    """A slice of newcomers, one after another, when the crowd has begun."""
    took, failures = list[float](), Counter[str]()
    time.sleep(CROWD_SECONDS)
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        try:
            failures["status"] += client.fetch(aim.port, aim.head).status != 200
        except (OSError, ValueError):
            failures["read"] += 1
        took.append(time.perf_counter() - began)
        time.sleep(NEWCOMERS_APART)
    p50, p99, worst = (quantile(sorted(took), share) for share in (0.5, 0.99, 1))
    answered = len(took) - failures.total()
    wrong = {kind: count for kind, count in failures.items() if count}
    return Seen(answered, answered * aim.wire_size, seconds, p50, p99, worst, 0, wrong)


@dataclass(frozen=True)
class Axis:
    """What is varied, and what is asked for at each of its values."""

    name: str
    title: str
    points: dict[str, Scenario]


AXES = tuple(
    Axis(
        name,
        row["title"],
        {
            shown: Scenario(f"{name} {shown}", **{**row.get("same", {}), **point})
            for shown, point in row["points"].items()
        },
    )
    for name, row in scenarios.ROWS["axes"].items()
)


def measure_scaling(bench: Bench, present: list[Server]) -> None:
    """How the cost of a request grows: with connections, with files, with folders, with octets.

    Files above ``SPARSE`` are holes, whose pages are in memory all the same; what a disk costs is
    not in these figures.
    """
    machine.allow_open_files(FILES_NEEDED)
    bench.say("scaling: writing files")
    points = [point for axis in AXES for point in axis.points.values()]
    scenarios.make_files(bench.site, {one.files for one in points})
    rounds = range(min(bench.record.rounds, ROUNDS))
    for axis in AXES:
        with ExitStack() as stack:
            lives: list[Running] = []
            for server in present:
                setup = bench.setup(server, SMALL, f"scaling-{axis.name}", crowd=True)
                one = bench.enter(stack, (f"scaling {axis.name}", ""), setup, server)
                lives += [one.live] if one is not None else []
            for shown, scenario in axis.points.items():
                case = (f"scaling {axis.name}", shown)
                ready = []
                for live in lives:
                    bench.say(f"{' '.join(case)}: {live.server.name} warms up")
                    try:
                        ready.append(bench.contender(live, scenario))
                    except (AnswerError, *FAILURES) as problem:
                        bench.record.remark(*case, live.server.name, f"left out: {problem}")
                bench.take_turns(case, ready, rounds, SCALING_SECONDS)


PARTS: dict[str, Callable[[Bench, list[Server]], None]] = {
    "startup": measure_startup,
    "memory": measure_memory,
    "idle": measure_idle,
    "workers": measure_workers,
    "neighbours": measure_neighbours,
    "newcomers": measure_newcomers,
    "trickle": measure_trickle,
    "uploads": measure_uploads,
    "readers": measure_readers,
    "scaling": measure_scaling,
}
# Who takes part unless servers are named.
USUAL = {
    "memory": ("portico",),
    "trickle": ("portico",),
    **dict.fromkeys(("neighbours", "newcomers", "scaling"), CLOSEST),
    **dict.fromkeys(("uploads", "readers"), ("portico", "nginx")),
}


def measure(name: str, bench: Bench, present: list[Server], *, named: bool) -> None:
    """Measure one of ``PARTS``; what it fails by is kept as a remark."""
    if not named and name in USUAL:
        present = [one for one in present if one.name in USUAL[name]]
    try:
        PARTS[name](bench, present)
    except (StartError, *FAILURES) as problem:
        bench.record.remark(name, "", "", str(problem))
    bench.say("")
