"""Ten thousand idle connections: what they do to the active ones, and the memory they hold.

Rule: a round is two slices of the same load on the same process, one with the idle connections and
one without, in turn first; the ratios are taken within a round.  An idle connection has made one
request and has its answer, and must still be open when the slice is over.
Limits: the memory is that of processes (PSS); what the kernel holds for a socket is not in it.
"""

from __future__ import annotations

import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bench import check, machine, scenarios
from bench.load import Aim
from bench.measure import Plan, Slice, how_started, take, takes_part
from bench.ratios import Spread, paired_ratio, spread
from bench.running import Running, StartError, last_words, running
from bench.servers import Server

COUNT = 10_000
ROUNDS = 5
BATCH = 100
# A server that takes longer to answer so many single requests does not get to its slices.
PATIENCE = 30.0
# Source addresses to take in turn: one alone would run out of ports after a few rounds.
SOURCES = 32
# Linux: the port is chosen when the connection is made, so that each address has all of them.
IP_BIND_ADDRESS_NO_PORT = 24
# The idle connections, the active ones of the server, and everything else it opens.
FILES_NEEDED = COUNT + 1000
# As many as the server that takes only half as many clients as files is told of.
FILES_WANTED = 24_576

SCENARIO = replace(
    scenarios.by_names(["small"])[0],
    name="idle",
    title=f"1 KiB page, {COUNT:,} more connections that are idle",
)


@dataclass
class Crowding:
    """One server without and with its idle connections, or the reason why not.

    ``quiet`` and ``crowded`` have a slice for each round; memory is in KiB, before the first idle
    connection came and after all had.
    """

    server: str
    quiet: list[Slice] = field(default_factory=list)
    crowded: list[Slice] = field(default_factory=list)
    before: machine.Memory | None = None
    after: machine.Memory | None = None
    lost: int = 0
    problem: str | None = None

    def per_connection(self) -> float | None:
        """KiB of proportional memory for each idle connection."""
        if self.before is None or self.after is None:
            return None
        return (self.after.pss - self.before.pss) / COUNT

    def ratio(self, value: Callable[[Slice], float | None]) -> Spread | None:
        """A figure with the idle connections in that without them, round by round."""
        return paired_ratio(
            [value(one) for one in self.crowded], [value(one) for one in self.quiet]
        )

    def failures(self) -> dict[str, int]:
        """What failed of the load, and the idle connections that were closed."""
        total = {"idle connections closed": self.lost} if self.lost else {}
        for one in self.quiet + self.crowded:
            for kind, count in one.sample.failures.items():
                total[kind] = total.get(kind, 0) + count
        return total

    def to_json(self) -> dict[str, Any]:
        """As plain values for a JSON file."""
        return asdict(self) | {
            "before": list(self.before) if self.before else None,
            "after": list(self.after) if self.after else None,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Crowding:
        """What ``to_json`` gave, read back."""
        read = dict(values)
        for kind in ("quiet", "crowded"):
            read[kind] = [Slice.from_json(one) for one in values[kind]]
        for moment in ("before", "after"):
            read[moment] = machine.Memory(*values[moment]) if values[moment] else None
        return cls(**read)


def middle(slices: list[Slice], value: Callable[[Slice], float | None]) -> float | None:
    """The median of a figure over the slices that have it."""
    found = spread([one for each in slices if (one := value(each)) is not None])
    return found.median if found else None


def measure(
    plan: Plan, servers: list[Server], note: Callable[[str, str], None]
) -> Iterator[Crowding]:
    """Each of these servers in turn; *note* takes how one was started.

    ValueError if this user may not open so many files.
    """
    allow_files()
    scenarios.make_files(plan.site, {SCENARIO.files})
    for server in servers:
        if takes_part(server, SCENARIO, plan.rounds, 0):
            plan.say(f"idle: {server.name}")
            found = Crowding(server.name)
            try:
                setup = replace(plan.setup(server, SCENARIO), crowd=True)
                with running(server, setup, plan.cores.server) as live:
                    aim = check.aim_at(SCENARIO, live)
                    note(server.name, how_started(live))
                    rounds = 1 if server.kind == "reference" else min(ROUNDS, plan.rounds)
                    for turn in range(rounds):
                        one_round(plan, found, (live, aim, turn))
            except (StartError, check.AnswerError, ValueError, OSError) as problem:
                found.problem = str(problem)
            yield found


def allow_files() -> None:
    """Let this process and its children open as many files as are needed; ValueError if not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = sys.maxsize if hard == resource.RLIM_INFINITY else hard
    if most < FILES_NEEDED:
        raise ValueError(
            f"needs {FILES_NEEDED:,} open files, and {most:,} is the limit (ulimit -n)"
        )
    if soft != resource.RLIM_INFINITY and soft < FILES_WANTED:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, FILES_WANTED), hard))


def one_round(plan: Plan, found: Crowding, at: tuple[Running, Aim, int]) -> None:
    """A slice without and one with the idle connections; which comes first changes."""
    live, _, turn = at
    try:
        if turn % 2 == 0:
            found.quiet.append(take(plan, SCENARIO, at))
        with_crowd(plan, found, at)
        machine.settle(live.pid)
        if turn % 2:
            found.quiet.append(take(plan, SCENARIO, at))
    except (ValueError, OSError) as problem:
        raise ValueError(f"{problem} {last_words(live.setup)}".strip()) from problem


def with_crowd(plan: Plan, found: Crowding, at: tuple[Running, Aim, int]) -> None:
    """The slice with the idle connections; the first one sees what they hold in memory."""
    live, aim, _ = at
    before = machine.memory_of(live.pid)
    with crowd(aim, COUNT) as clients:
        machine.settle(live.pid)
        if found.before is None:
            found.before, found.after = before, machine.memory_of(live.pid)
        taken = take(plan, SCENARIO, at)
        if not taken.sample.requests:
            raise ValueError(f"answered nobody else while {COUNT:,} connections were idle")
        found.crowded.append(taken)
        found.lost += sum(not is_open(client) for client in clients)


@contextmanager
def crowd(aim: Aim, count: int) -> Iterator[list[socket.socket]]:
    """So many connections, each with one request answered; ValueError says what went wrong."""
    until = time.monotonic() + PATIENCE
    head = aim.head.encode()
    with ExitStack() as stack:
        clients: list[socket.socket] = []
        while len(clients) < count:
            batch: list[socket.socket] = []
            for _ in range(min(BATCH, count - len(clients))):
                client = stack.enter_context(connect(aim.port, len(clients) + len(batch)))
                client.sendall(head)
                batch.append(client)
            for client in batch:
                answer = check.read_answer(client)
                if answer.status != SCENARIO.status or not answer.keeps:
                    kept = "kept the connection" if answer.keeps else "closed the connection"
                    raise ValueError(f"answered {answer.status} and {kept}")
            clients += batch
            if time.monotonic() > until:
                raise ValueError(f"had {len(clients):,} connections after {PATIENCE:.0f} seconds")
        yield clients


def connect(port: int, number: int) -> socket.socket:
    """A connection from one of the source addresses."""
    client = socket.socket()
    try:
        client.settimeout(PATIENCE)
        client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        client.bind((f"127.0.0.{1 + number % SOURCES}", 0))
        client.connect(("127.0.0.1", port))
    except OSError:
        client.close()
        raise
    return client


def is_open(client: socket.socket) -> bool:
    """Whether the server has neither closed nor reset the connection."""
    client.setblocking(False)
    try:
        return bool(client.recv(1))
    except BlockingIOError:
        return True
    except OSError:
        return False
