"""Single requests: asking a server once before it is timed, and connections that are held open.

A server that answers wrongly is not timed in that scenario; the reason is kept and printed.
"""

from __future__ import annotations

import gzip
import http.client
import io
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from bench import scenarios
from bench.process import Running
from bench.scenarios import Scenario

PIECE = 1 << 20
# Connections that are opened before the first of them is asked anything.
BATCH = 100
# How long one answer may take, and all those before many connections are held.
PATIENCE = 30.0


class AnswerError(Exception):
    """What the server answered, and what was expected."""


@dataclass(frozen=True)
class Aim:
    """Where the load goes, and what one answer was: its size on the wire, connection kept.

    ``site`` is the folder that is served.
    """

    port: int
    head: str
    wire_size: int
    keeps: bool = True
    site: Path = Path()


@dataclass(frozen=True)
class Answer:
    """A response; ``wire_size`` is its length with head and framing."""

    status: int
    fields: Message
    body: bytes
    wire_size: int
    keeps: bool


class _Counter(io.RawIOBase):
    """What comes from a connection, counted; given to http.client in the place of a socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        got = self.connection.recv_into(buffer)
        self.count += got
        return got

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self, PIECE)


def read_answer(connection: socket.socket, file: Path | None = None) -> Answer:
    """The one response that comes now.

    With a *file*, the body is compared with it as it comes and not kept; AnswerError if it differs.
    OSError or ValueError if the response is cut short or is none.
    """
    counter, body = _Counter(connection), b""
    try:
        with http.client.HTTPResponse(counter) as response:  # type: ignore[arg-type]
            response.begin()
            keeps = not response.will_close
            if file is None:
                body = response.read()
            elif response.status == http.HTTPStatus.OK:
                compare(response, file)
            return Answer(response.status, response.headers, body, counter.count, keeps)
    except http.client.HTTPException as problem:
        raise ValueError(f"no whole response: {problem!r}") from problem


def compare(response: http.client.HTTPResponse, file: Path) -> None:
    """Read a body that is too large to keep; AnswerError if it is not that of the file."""
    if response.length != file.stat().st_size:
        raise AnswerError(f"announced {response.length} bytes instead of {file.stat().st_size}")
    with file.open("rb") as content:
        while piece := response.read(PIECE):
            if piece != content.read(len(piece)):
                raise AnswerError("sent other bytes than the file's")
        if content.read(1):
            raise AnswerError("ended before the file")


def fetch(port: int, head: str, file: Path | None = None) -> Answer:
    """The answer to one request on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(head.encode())
        return read_answer(connection, file)


def check(scenario: Scenario, running: Running) -> Aim:
    """Check the server's answer; what the load then asks, and what it should see.

    AnswerError says what was wrong.
    """
    prefix, port, site = running.server.prefix, running.setup.port, running.setup.site
    path = scenarios.file_of(scenario, site)
    large = scenario.status == 200 and path.is_file() and path.stat().st_size > scenarios.SPARSE
    head = scenarios.head(scenario, port, prefix)
    try:
        if scenario.revalidates:
            head = scenarios.head(scenario, port, prefix, validators(fetch(port, head)))
        answer = fetch(port, head.replace("{n}", "0"), path if large else None)
        wrong = difference(answer, scenario, None if large else path)
    except (OSError, ValueError) as problem:
        raise AnswerError(f"gave no usable answer: {problem!r}") from problem
    if wrong is not None:
        raise AnswerError(wrong)
    return Aim(port, head, answer.wire_size, answer.keeps, site)


def difference(answer: Answer, scenario: Scenario, file: Path | None) -> str | None:
    """What is wrong with the answer, in words, or None; without a *file*, the body may be any."""
    if scenario.status not in (0, answer.status):
        return f"answered {answer.status} instead of {scenario.status}"
    coding = answer.fields.get("Content-Encoding", "")
    if scenario.coding and coding != scenario.coding:
        return f"did not send the file that is there in {scenario.coding}"
    if file is None or not file.is_file() or scenario.status not in (200, 206):
        return None
    expected = file.read_bytes()
    if scenario.part:
        expected = expected[slice(*scenario.part)]
    given = gzip.decompress(answer.body) if coding == "gzip" else answer.body
    if len(given) != len(expected):
        return f"sent {len(given)} bytes instead of {len(expected)}"
    return None if given == expected else "sent other bytes than the file's"


def validators(answer: Answer) -> list[str]:
    """The fields with which a client that has this answer asks whether it is still good."""
    wanted = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}
    return [f"{wanted[one]}: {answer.fields[one]}" for one in wanted if one in answer.fields]


@contextmanager
def held(aim: Aim, count: int) -> Iterator[list[socket.socket]]:
    """So many connections, each with one request answered; ValueError says what went wrong."""
    until = time.monotonic() + PATIENCE
    with ExitStack() as stack:
        clients: list[socket.socket] = []
        while len(clients) < count:
            batch: list[socket.socket] = []
            for _ in range(min(BATCH, count - len(clients))):
                client = stack.enter_context(connect(aim.port))
                client.sendall(aim.head.encode())
                batch.append(client)
            for client in batch:
                answer = read_answer(client)
                if answer.status != 200 or not answer.keeps:
                    raise ValueError(f"answered {answer.status}, or closed the connection")
            clients += batch
            if time.monotonic() > until:
                raise ValueError(f"had {len(clients):,} connections after {PATIENCE:.0f} seconds")
        yield clients


def connect(port: int) -> socket.socket:
    """A connection that is reset when it is closed, so that its port is free again at once."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return connection


def is_open(client: socket.socket) -> bool:
    """Whether the server has neither closed nor reset the connection."""
    client.setblocking(False)
    try:
        return bool(client.recv(1))
    except BlockingIOError:
        return True
    except OSError:
        return False
