"""The load: wrk with a script written for the request, or a compiled client for new connections.

Rule: the request goes out byte for byte as the scenario has it, and what came back is counted:
an answer of another status or length, or an error of the socket, is a failure, never a request.
Limits: wrk measures in whole seconds and waits for an answer before it asks again on the same
connection, so that its latencies leave out the requests it did not send meanwhile.
"""

from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.scenarios import Scenario

MARK = "bench-result: "
# Counters start high, so that every number has the same length.
FIRST_NUMBER = 1_000_000_000
NUMBERS_PER_ROUND = 10_000_000
# A difference in length below this share is the answers cut off by the end of the slice, or an
# error page that repeats something of the request.
LENGTH_TOLERANCE = 0.02

DONE = """
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('%s{"requests": %%d, "bytes": %%.0f, "microseconds": %%d, '
    .. '"p50": %%d, "p99": %%d, "p999": %%d, "failures": {"connect": %%d, "read": %%d, '
    .. '"write": %%d, "status": %%d, "timeout": %%d}}\\n',
    summary.requests, summary.bytes, summary.duration, latency:percentile(50),
    latency:percentile(99), latency:percentile(99.9), e.connect, e.read, e.write, e.status,
    e.timeout))
end
""" % (MARK,)  # noqa: UP031 - Lua's braces would clash with those of format


@dataclass(frozen=True)
class Sample:
    """What the load saw in one slice; latencies in microseconds, ``requests`` those answered."""

    requests: int
    bytes: int
    seconds: float
    p50: int
    p99: int
    p999: int
    failures: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Aim:
    """Where the load goes, and what one answer was: its size on the wire, connection kept."""

    port: int
    head: str
    wire_size: int
    keeps: bool = True


def lua_text(text: str) -> str:
    """*text* as a Lua string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\r", "\\r").replace("\n", "\\n") + '"'


def script(scenario: Scenario, head: str, turn: int) -> str:
    """The wrk script for these requests; *turn* numbers the slices so that none repeats another."""
    numbered = " .. n .. ".join(lua_text(part) for part in head.split("{n}"))
    if scenario.counts:
        text = (
            f"local n = {FIRST_NUMBER + turn * NUMBERS_PER_ROUND}\n"
            f"function request() n = n + 1; return {numbered} end\n"
        )
    elif scenario.chooses:
        text = (
            "local heads, random = {}, math.random\n"
            f"for n = 0, {scenario.chooses - 1} do heads[n + 1] = {numbered} end\n"
            f"math.randomseed({turn + 1})\n"
            f"function request() return heads[random({scenario.chooses})] end\n"
        )
    else:
        text = f"local head = {numbered}\nwrk.format = function() return head end\n"
    return text + DONE


def parse_result(output: str) -> Sample:
    """The slice out of a load generator's output; ValueError if it did not report one."""
    for line in output.splitlines():
        if line.startswith((MARK, '{"requests"')):
            seen = json.loads(line.removeprefix(MARK))
            return Sample(
                seen["requests"],
                seen["bytes"],
                seen["microseconds"] / 1e6,
                seen["p50"],
                seen["p99"],
                seen["p999"],
                {kind: count for kind, count in seen["failures"].items() if count},
            )
    raise ValueError(f"the load reported no result: {output[-500:]!r}")


def judge(sample: Sample, scenario: Scenario, wire_size: int) -> Sample:
    """The slice with failures counted as the scenario means them and taken out of the requests.

    wrk calls every status from 400 up an error and none below it; where 404 is the right answer
    those below are the failures.  Answers of a wrong length show in the sum of bytes.
    """
    failures = dict(sample.failures)
    if scenario.status >= 400 and not scenario.new_connection:
        failures["status"] = sample.requests - failures.get("status", 0)
    wrong = failures.get("status", 0) if not scenario.new_connection else 0
    expected = sample.requests * wire_size
    slack = expected * LENGTH_TOLERANCE + (scenario.connections + 1) * wire_size
    if abs(sample.bytes - expected) > slack:
        failures["length"] = round(abs(sample.bytes - expected) / wire_size)
    failures = {kind: count for kind, count in failures.items() if count}
    return Sample(
        sample.requests - wrong,
        sample.bytes,
        sample.seconds,
        sample.p50,
        sample.p99,
        sample.p999,
        failures,
    )


class Load:
    """Runs slices of load.  ``cores.load`` is set by the caller: children inherit it."""

    def __init__(self, folder: Path) -> None:
        """Find wrk and compile the client for new connections; *folder* takes what is written."""
        self.folder = folder
        found = shutil.which("wrk")
        if found is None:
            raise FileNotFoundError("wrk is needed as the load (Debian: apt install wrk)")
        self.wrk = found
        self.connector = compile_c("connect.c", folder)

    def run(self, scenario: Scenario, aim: Aim, seconds: float, turn: int) -> Sample:
        """One slice, judged; *turn* makes its numbered heads differ from those of other slices."""
        return judge(self.sample(scenario, aim, seconds, turn), scenario, aim.wire_size)

    def sample(self, scenario: Scenario, aim: Aim, seconds: float, turn: int) -> Sample:
        """One slice as the load itself reports it."""
        if scenario.new_connection and self.connector is not None:
            words = [str(self.connector), str(aim.port), str(scenario.connections), str(seconds)]
            words += [str(scenario.status), str(aim.wire_size)]
            output = run_to_end(words, seconds + 10, aim.head)
        else:
            path = self.folder / "requests.lua"
            path.write_text(script(scenario, aim.head, turn))
            words = [
                self.wrk,
                f"-t{scenario.threads}",
                f"-c{scenario.connections}",
                f"-d{math.ceil(seconds)}s",
            ]
            words += ["--latency", "--timeout", "10s", "-s", str(path)]
            words.append(f"http://127.0.0.1:{aim.port}/")
            # wrk knows whole seconds only; interrupted sooner, it reports what it has seen so far.
            until = seconds if seconds % 1 else None
            output = run_to_end(words, seconds + 30, interrupt_after=until)
        return parse_result(output)


def run_to_end(
    words: list[str], timeout: float, text: str = "", interrupt_after: float | None = None
) -> str:
    """A program's output; it is killed if it outlasts *timeout* seconds or we are interrupted."""
    with tempfile.TemporaryFile("w+") as source:
        source.write(text)
        source.seek(0)
        with subprocess.Popen(
            words,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                if interrupt_after is not None:
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(interrupt_after)
                    process.send_signal(signal.SIGINT)
                return process.communicate(timeout=timeout)[0]
            finally:
                with suppress(ProcessLookupError):
                    process.kill()


def compile_c(name: str, folder: Path) -> Path | None:
    """A C file of this folder compiled into *folder*; None where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    program = folder / name.removesuffix(".c")
    if not program.exists():
        source = Path(__file__).with_name(name)
        subprocess.run([compiler, "-O2", "-o", str(program), str(source)], check=True)
    return program
