"""The load that keeps its pace, and reads the server's CPU clocks itself (`bench/steady.c`).

Rule: what happens before the clocks are read, opening connections and warming up, does not count.
Limits: every answer must have the same length, which `target` finds out; a server that varies it
fails, visibly.
"""

from __future__ import annotations

import json
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import machine
from bench.check import AnswerError, parse_head
from bench.load import compile_c, run_to_end
from bench.running import Running

TIMEOUT = 60.0
PLAIN = "User-Agent: bench\r\nAccept: */*\r\n"
# Files up to this size are compared with what came; of larger ones the length must do.
COMPARED = 1 << 20


@dataclass(frozen=True)
class Target:
    """What is asked, and of whom: a head that may have ``{n}`` in it, and its answer's length."""

    live: Running
    head: str
    wire_size: int
    choices: int = 0


@dataclass(frozen=True)
class Pace:
    """Seconds before and while it counts; ``rate`` 0 is as fast as answers come."""

    connections: int
    seconds: float
    rate: int = 0
    warm: float = 0.2


@dataclass(frozen=True)
class Seen:
    """One slice: latencies and the load's own lag (99 % stay below) in microseconds."""

    requests: int
    bytes: int
    seconds: float
    cpu: float
    p50: int
    p99: int
    p999: int
    lag: int
    failures: dict[str, int] = field(default_factory=dict)

    def cost(self, wire_size: int) -> float | None:
        """CPU microseconds per answer, parts of answers counted as such; None without any."""
        return self.cpu * 1e6 * wire_size / self.bytes if self.bytes else None

    def to_json(self) -> dict[str, Any]:
        """As plain values for a JSON file."""
        return asdict(self)


class Steady:
    """Runs slices. The core is set by the caller: children inherit it."""

    def __init__(self, folder: Path) -> None:
        """Compile it into *folder*; FileNotFoundError where there is no compiler."""
        program = compile_c("steady.c", folder)
        if program is None:
            raise FileNotFoundError("a C compiler, cc, is needed for this load")
        self.program = str(program)

    def run(self, target: Target, pace: Pace) -> Seen:
        """One slice; ValueError with the program's words if it reports nothing."""
        live = target.live
        words = [self.program, str(live.setup.port), str(pace.connections), str(pace.warm)]
        words += [str(pace.seconds), str(pace.rate), str(target.choices), "200"]
        words += [str(target.wire_size), *map(str, machine.tree(live.pid))]
        return parse(run_to_end(words, pace.warm + pace.seconds + TIMEOUT, target.head))


def parse(output: str) -> Seen:
    """The slice out of the program's output; ValueError if there is none."""
    for line in output.splitlines():
        if line.startswith('{"requests"'):
            seen = json.loads(line)
            failures = {kind: count for kind, count in seen["failures"].items() if count}
            return Seen(
                seen["requests"],
                seen["bytes"],
                seen["microseconds"] / 1e6,
                seen["cpu"] / 1e6,
                seen["p50"],
                seen["p99"],
                seen["p999"],
                seen["lag"],
                failures,
            )
    raise ValueError(f"the load reported no result: {output[-500:]!r}")


def target(live: Running, path: str, choices: int = 0) -> Target:
    """A file to be asked for, its answer checked; AnswerError says what was wrong with it."""
    port = live.setup.port
    head = f"GET {live.server.prefix}{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{PLAIN}\r\n"
    file = live.setup.site / path.lstrip("/").replace("{n}", "0")
    try:
        wire_size = probe(port, head.replace("{n}", "0"), file)
    except (OSError, ValueError) as problem:
        raise AnswerError(f"gave no usable answer: {problem}") from problem
    return Target(live, head, wire_size, choices)


def probe(port: int, head: str, file: Path) -> int:
    """Ask once for a file and look at the answer; its octets on the wire, head included.

    AnswerError if it is not that of the file.
    """
    size = file.stat().st_size
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head.encode())
        got = b""
        while b"\r\n\r\n" not in got:
            piece = connection.recv(65536)
            if not piece:
                raise ValueError("the connection was closed within the answer")
            got += piece
        start, _, body = got.partition(b"\r\n\r\n")
        status, fields = parse_head(start)
        if status != 200:
            raise AnswerError(f"answered {status} instead of 200")
        if fields.get("content-length") != str(size):
            raise AnswerError(f"did not announce the {size} bytes of the file")
        while size <= COMPARED and len(body) < size:
            piece = connection.recv(1 << 20)
            if not piece:
                raise ValueError("the connection was closed within the answer")
            body += piece
    if size <= COMPARED and body != file.read_bytes():
        raise AnswerError("sent other bytes than the file's")
    return len(start) + 4 + size
