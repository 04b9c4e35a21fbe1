"""The load: wrk, with a script written for the request, and what is made of its report.

The request goes out byte for byte as the scenario has it.  An answer of another status or length,
or an error of the socket, is a failure, never a request.  wrk waits for an answer before it asks
again on the same connection, so that its latencies leave out the requests it did not send
meanwhile; where that matters, ``steady`` is used.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.client import Aim
from bench.scenarios import SMALL, Scenario
from bench.servers import ROOT

MARK = "bench-result: "
# Counters start high, so that every number has the same length.
FIRST_NUMBER = 2_000_000_000
NUMBERS_PER_ROUND = 10_000_000
# A difference in length below this share is the answers cut off by the end of the slice, or an
# error page that repeats something of the request.
LENGTH_TOLERANCE = 0.02
# How long wrk may take beyond its time, and how long it runs if it is to be told when to stop.
PATIENCE = 30
ENDLESS = 120
# Requests a second of the client that keeps its pace.
RATE = 5000
SCRIPT = Path(__file__).with_name("requests.lua")


@dataclass(frozen=True)
class Seen:
    """What the load saw in one slice; latencies in microseconds, ``requests`` those answered.

    ``lag`` is how late the load itself was, where it has a schedule to keep.
    """

    requests: int
    bytes: int
    seconds: float
    p50: float = 0
    p99: float = 0
    p999: float = 0
    lag: float = 0
    failures: dict[str, int] = field(default_factory=dict)


def told(scenario: Scenario, aim: Aim, turn: int) -> dict[str, str]:
    """What the script is told; *turn* numbers the slices so that none repeats another."""
    first = FIRST_NUMBER + turn * NUMBERS_PER_ROUND if scenario.counts else 0
    count = NUMBERS_PER_ROUND if scenario.counts else scenario.once
    return {
        "BENCH_HEAD": aim.head,
        "BENCH_CHOICES": str(scenario.chooses),
        "BENCH_FIRST": str(first),
        "BENCH_COUNT": str(count),
        "BENCH_CONNECTIONS": str(scenario.connections),
        "BENCH_RENAMES": "\n".join(str(aim.site / name) for name in scenario.renames),
        "BENCH_BATCH": str(scenario.batch),
        "BENCH_GATHERS": str(int(scenario.gathers)),
        "BENCH_SEED": str(turn + 2),
    }


def parse(output: str) -> Seen:
    """The slice out of a load generator's output; ValueError if it did not report one."""
    for line in output.splitlines():
        if line.startswith(MARK):
            values = json.loads(line.removeprefix(MARK))
            values["failures"] = {kind: n for kind, n in values["failures"].items() if n}
            return Seen(**values)
    raise ValueError(f"the load reported no result: {output[-500:]!r}")


def judge(seen: Seen, scenario: Scenario, wire_size: int) -> Seen:
    """The slice with failures counted as the scenario means them and taken out of the requests.

    wrk calls every status from 400 up an error and none below it; where 404 is the right answer
    those below are the failures.  Answers of a wrong length show in the sum of bytes.
    """
    failures = dict(seen.failures)
    if scenario.status == 0:
        failures.pop("status", None)
        return replace(seen, failures=failures)
    if scenario.status >= 400:
        failures["status"] = seen.requests - failures.get("status", 0)
    expected = seen.requests * wire_size
    slack = expected * LENGTH_TOLERANCE + (scenario.connections + 1) * scenario.batch * wire_size
    if abs(seen.bytes - expected) > slack:
        failures["length"] = round(abs(seen.bytes - expected) / wire_size)
    failures = {kind: count for kind, count in failures.items() if count}
    return replace(seen, requests=seen.requests - failures.get("status", 0), failures=failures)


@contextmanager
def wrk(
    scenario: Scenario, aim: Aim, turn: int, seconds: int, *before: str
) -> Iterator[subprocess.Popen[str]]:
    """A running wrk, which is ended with the block; the core is inherited."""
    words = [*before, "wrk", f"-t{scenario.threads}", f"-c{scenario.connections}"]
    words += [f"-d{seconds}s", "--latency", "--timeout", "10s", "-s", str(SCRIPT)]
    with subprocess.Popen(
        [*words, f"http://127.0.0.1:{aim.port}/"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | told(scenario, aim, turn),
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run(scenario: Scenario, aim: Aim, seconds: float, turn: int) -> Seen:
    """One slice; *turn* makes its numbered heads differ from those of other slices.

    wrk knows whole seconds only; interrupted sooner, it reports what it has seen so far.  It
    interrupts itself when all numbers are sent.
    """
    with wrk(scenario, aim, turn, math.ceil(seconds)) as process:
        if seconds % 1:
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
            process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=seconds + PATIENCE)[0]
    return judge(parse(output), scenario, aim.wire_size)


@contextmanager
def beside(scenario: Scenario, aim: Aim) -> Iterator[list[Seen]]:
    """Load for the length of the block, at the least priority; then the list has the slice."""
    found: list[Seen] = []
    with wrk(scenario, aim, 0, ENDLESS, "nice", "-n", "19") as process:
        yield found
        process.send_signal(signal.SIGINT)
        found.append(parse(process.communicate(timeout=PATIENCE)[0]))


def steady(aim: Aim, warm: float, seconds: float, _turn: int) -> Seen:
    """A slice of the client that keeps its pace."""
    words = (aim.port, SMALL.connections, RATE, warm, seconds, aim.wire_size)
    done = subprocess.run(
        [sys.executable, "-m", "bench.steady", *map(str, words)],
        input=aim.head,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=seconds + PATIENCE,
        check=False,
    )
    return parse(done.stdout + done.stderr)
