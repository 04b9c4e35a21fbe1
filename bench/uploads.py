"""Uploads beside nginx's dav module: what PUT costs, and what readers notice of it.

Neither brings a file to the disk before it answers, since nginx cannot (Portico: ``--no-sync``),
except in the case that says so.  A file of 1 GiB comes on one connection, files of 1 KiB on 64.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

from bench import client, load, machine, scenarios
from bench.client import Aim, AnswerError
from bench.load import Seen
from bench.process import Running
from bench.runner import Bench, Contender
from bench.scenarios import MIB, SMALL, Scenario
from bench.servers import Server

GIB = 1024 * MIB
PIECE = random.Random(0).randbytes(MIB)
BODY = "x" * 1024
UPLOADS_AT_ONCE = 8
TRIES = 3
LARGE = Scenario("1 GiB", unit="MiB")


@dataclass(frozen=True)
class Case:
    """A kind of upload; ``small`` is the load of those that wrk makes."""

    name: str
    small: Scenario | None = None
    syncs: bool = False


CASES = (
    Case("1 GiB"),
    Case("1 GiB, synced", syncs=True),
    Case("1 KiB, created", Scenario("created", status=201, counts=True)),
    Case("1 KiB, replaced", Scenario("replaced", status=204, chooses=1000)),
)


def measure_uploads(bench: Bench, present: list[Server]) -> None:
    """Each case, the servers in turn."""
    scenarios.make_files(bench.site, {"page"})
    for case in CASES:
        with ExitStack() as stack:
            ready = []
            for server in present:
                if case.syncs and server.name != "portico":
                    continue
                one = enter(bench, stack, ("uploads", case.name), server, syncs=case.syncs)
                if one is not None:
                    ready.append(large(one) if case.small is None else small(one, case.small))
            bench.take_turns(("uploads", case.name), ready)


def measure_readers(bench: Bench, present: list[Server]) -> None:
    """The latency of readers at a fixed rate, alone and beside eight large uploads at once."""
    scenarios.make_files(bench.site, {"page"})
    for server in present:
        with ExitStack() as stack:
            one = enter(bench, stack, ("readers", "readers"), server)
            if one is not None:
                quiet = replace(
                    one, variant="alone", load=partial(load.steady, one.aim, 0.2), tries=TRIES
                )
                busy = replace(quiet, variant="beside", beside=partial(uploading, one.live))
                bench.take_turns(("readers", "readers"), [quiet, busy])


def enter(
    bench: Bench, stack: ExitStack, case: tuple[str, str], server: Server, *, syncs: bool = False
) -> Contender | None:
    """Start a server that takes files into a folder of its own."""
    (bench.site / server.name).mkdir(exist_ok=True)
    setup = bench.setup(server, SMALL, "-".join(case), stores=True, syncs=syncs)
    return bench.enter(stack, case, setup, server)


def head(live: Running, name: str, length: int) -> str:
    """The head of a PUT into the folder of a server."""
    lines = [f"PUT /{live.server.name}/{name} HTTP/1.1", f"Host: 127.0.0.1:{live.setup.port}"]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""])


def large(one: Contender) -> Contender:
    """The contender with one large upload as its load."""
    live = one.live

    def run(_seconds: float, _turn: int) -> Seen:
        path = live.setup.site / live.server.name / "large.bin"
        began = time.perf_counter()
        with client.connect(live.setup.port) as connection:
            connection.sendall(head(live, path.name, GIB).encode())
            for _ in range(GIB // MIB):
                connection.sendall(PIECE)
            answer = client.read_answer(connection)
        seconds = time.perf_counter() - began
        if answer.status != 201 or path.stat().st_size != GIB:
            raise ValueError(f"answered {answer.status}, or stored something else")
        path.unlink()
        return Seen(1, GIB, seconds)

    return replace(one, load=run, scenario=LARGE, beside=partial(grown, live.pid))


@contextmanager
def grown(pid: int) -> Iterator[dict[str, float]]:
    """By how many KiB the memory of a server grew at most in the block."""
    more: dict[str, float] = {}
    before = machine.peak(pid, again=True)
    yield more
    more["grown"] = machine.peak(pid) - before


def small(one: Contender, scenario: Scenario) -> Contender:
    """The contender with small files, which are there before if they are to be replaced."""
    live = one.live
    folder = live.setup.site / live.server.name
    for number in range(scenario.chooses):
        (folder / f"{number}.bin").write_text(BODY)
    text = head(live, "{n}.bin", len(BODY)) + BODY
    number = 0 if scenario.chooses else load.FIRST_NUMBER - 1
    answer = client.fetch(live.setup.port, text.replace("{n}", str(number)))
    if answer.status != scenario.status:
        raise AnswerError(f"answered {answer.status} instead of {scenario.status}")
    aim = Aim(live.setup.port, text, answer.wire_size)

    def run(seconds: float, turn: int) -> Seen:
        seen = load.run(scenario, aim, seconds, turn)
        if scenario.counts:
            for path in folder.iterdir():
                path.unlink(missing_ok=True)
        return seen

    return replace(one, load=run, scenario=scenario, aim=aim)


@contextmanager
def uploading(live: Running) -> Iterator[dict[str, float]]:
    """Eight clients that upload without end, at the least priority; and how much they sent."""
    more: dict[str, float] = {}
    over, sent = threading.Event(), [0] * UPLOADS_AT_ONCE

    def work(number: int) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        with suppress(OSError), client.connect(live.setup.port) as connection:
            connection.sendall(head(live, f"{number}.bin", 1 << 40).encode())
            while not over.is_set():
                connection.sendall(PIECE)
                sent[number] += len(PIECE)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(sent))]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    try:
        yield more
    finally:
        over.set()
        seconds = time.perf_counter() - began
        for thread in threads:
            thread.join()
    more["got"] = sum(sent) / MIB / seconds
