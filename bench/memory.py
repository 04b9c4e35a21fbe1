"""Memory before and after a million requests with 100,000 different heads and paths.

Rule: nothing repeats itself usefully: every path has a field of its own beside it, a fifth of the
paths are files, the others 404.  What a server keeps of that, it keeps for strangers.
Limits: Linux's ``smaps_rollup``; pages shared with other processes count in part (PSS) or whole
(RSS), and not at all in the private figure.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from bench import machine, scenarios
from bench.load import Aim
from bench.measure import Plan
from bench.running import StartError, last_words, running
from bench.scenarios import PLAIN, Scenario
from bench.servers import Server

REQUESTS = 1_000_000
HEADS = 100_000
SLICE_SECONDS = 3
MOST_SLICES = 200

SCENARIO = Scenario(
    "memory",
    "a million requests, 100,000 different heads and paths",
    "/memory/{n}.html",
    "memory",
    (*PLAIN, "X-Request-Id: bench-{n}"),
    chooses=HEADS,
)


@dataclass(frozen=True)
class Footprint:
    """Memory of one server in KiB, before and after so many requests; failures of the socket."""

    server: str
    requests: int
    before: machine.Memory
    after: machine.Memory
    failures: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """As plain values for a JSON file."""
        return asdict(self) | {"before": list(self.before), "after": list(self.after)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Footprint:
        """What ``to_json`` gave, read back."""
        before, after = machine.Memory(*values["before"]), machine.Memory(*values["after"])
        return cls(values["server"], values["requests"], before, after, values["failures"])


def measure(plan: Plan, server: Server, requests: int) -> Footprint:
    """Send at least so many requests and look at the server's memory before and after.

    StartError if the server is gone before the end.
    """
    scenarios.make_files(plan.site, {"page", "memory"})
    with running(server, plan.setup(server, SCENARIO), plan.cores.server) as live:
        before = machine.memory_of(live.pid)
        aim = Aim(live.setup.port, scenarios.head(SCENARIO, live.setup.port, server.prefix), 0)
        done, failures = 0, dict[str, int]()
        for turn in range(MOST_SLICES):
            plan.say(f"memory: {server.name}, {done:,} of {requests:,} requests")
            try:
                sample = plan.load.sample(SCENARIO, aim, SLICE_SECONDS, turn)
            except ValueError as problem:
                raise StartError(f"{server.name}: {problem} {last_words(live.setup)}") from None
            done += sample.requests
            for kind, count in sample.failures.items():
                # Every 404 is an error of status to wrk, and here the right answer.
                if kind != "status":
                    failures[kind] = failures.get(kind, 0) + count
            if done >= requests or sample.requests == 0:
                break
        return Footprint(server.name, done, before, machine.memory_of(live.pid), failures)
