"""How long from starting the command to its first answer: Portico and ``python -m http.server``.

Also how much memory the processes have then, in proportion (PSS).

Rule: the two take turns, on the servers' core, each started fresh; the first start of each is not
counted, so that compiled modules lie on disk for both.
Limits: the client tries again every 0.2 ms, which is what a figure can be too large by.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import median

from bench import machine, scenarios, servers
from bench.check import ask
from bench.measure import Plan
from bench.ratios import Spread, paired_ratio, spread
from bench.running import START_SECONDS, StartError, end, free_port, spawn
from bench.setup import Launch, Setup

RETRY_SECONDS = 0.0002
TIMES = 15


@dataclass(frozen=True)
class Startup:
    """Seconds to the first answer and KiB of memory then, per server and start."""

    seconds: dict[str, list[float]]
    pss: dict[str, list[int]]

    def spread(self, name: str) -> Spread | None:
        """Milliseconds to the first answer."""
        return spread([one * 1000 for one in self.seconds[name]])

    def ratio(self, ours: str, theirs: str) -> Spread | None:
        """One server's time in that of the other, start by start."""
        return paired_ratio(self.seconds.get(ours, []), self.seconds.get(theirs, []))

    def held(self, name: str) -> float:
        """The median of the memory in KiB."""
        return median(self.pss[name])


def plain_http_server(setup: Setup) -> Launch:
    """The command as its users type it."""
    words = [setup.pythons.own, "-m", "http.server", str(setup.port), "--bind", "127.0.0.1"]
    return Launch([*words, "--directory", str(setup.site)])


def first_answer(port: int) -> float:
    """The moment at which the port has answered 200; StartError if it does not."""
    head = scenarios.head(scenarios.SCENARIOS[0], port)
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
            connection.settimeout(START_SECONDS)
            status = ask(connection, head).status
            if status != 200:
                raise StartError(f"the first answer was {status}")
            return time.perf_counter()
        time.sleep(RETRY_SECONDS)
    raise StartError("no answer")


def measure(plan: Plan, times: int, names: list[str]) -> Startup:
    """Start each of these servers *times* times, in turn."""
    scenarios.make_files(plan.site, {"page"})
    known = {"portico": servers.portico, "http.server": plain_http_server}
    seconds: dict[str, list[float]] = {name: [] for name in known if name in names}
    pss: dict[str, list[int]] = {name: [] for name in seconds}
    by_name = {server.name: server for server in servers.SERVERS}
    for turn in range(times + 1):
        plan.say(f"start: {turn} of {times}")
        for name, took in seconds.items():
            setup = replace(plan.setup(by_name[name], scenarios.SCENARIOS[0]), port=free_port())
            launch = known[name](setup)
            began = time.perf_counter()
            process = spawn(launch, setup, plan.cores.server)
            try:
                answered = first_answer(setup.port)
                held = machine.memory_of(process.pid).pss
            finally:
                end(process)
            if turn:
                took.append(answered - began)
                pss[name].append(held)
    return Startup(seconds, pss)
