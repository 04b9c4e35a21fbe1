"""Asking a server once before it is timed: is its answer right, and how long on the wire.

Rule: a server that answers wrongly is not timed in that scenario; the reason is printed.
Limits: understands a length, chunks, or the end of the connection; no interim responses.
"""

from __future__ import annotations

import gzip
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from bench import machine, scenarios
from bench.load import Aim
from bench.running import Running
from bench.scenarios import Scenario

# Enough for an interpreter to specialise its code and for a cache to keep what is asked often.
WARM_UP = 300
WARM_UP_SECONDS = 1.0


class AnswerError(Exception):
    """What the server answered, and what was expected."""


@dataclass(frozen=True)
class Answer:
    """A response as it came: field names in lower case, and its length with head and framing."""

    status: int
    fields: dict[str, str]
    body: bytes
    wire_size: int

    @property
    def keeps(self) -> bool:
        """Whether the server lets the connection live."""
        return self.fields.get("connection", "").lower() != "close"


def ask(connection: socket.socket, head: str) -> Answer:
    """Send a request head and read the one response to it; ValueError if it is cut short."""
    connection.sendall(head.encode())
    return read_answer(connection)


def read_answer(connection: socket.socket) -> Answer:
    """The one response that comes now; ValueError if it is cut short."""
    start, body = _head(connection)
    status, fields = parse_head(start)
    if "chunked" in fields.get("transfer-encoding", ""):
        while not body.endswith(b"0\r\n\r\n"):
            body += _more(connection)
        return Answer(status, fields, unchunk(body), len(start) + 4 + len(body))
    pieces, missing = [body], _length(status, fields) - len(body)
    while missing > 0:
        pieces.append(_more(connection))
        missing -= len(pieces[-1])
    body = b"".join(pieces)
    return Answer(status, fields, body, len(start) + 4 + len(body))


def compare(connection: socket.socket, head: str, path: Path) -> tuple[Answer, str | None]:
    """Ask for a file too large to keep: the answer without its body, and what is wrong with it."""
    connection.sendall(head.encode())
    start, piece = _head(connection)
    status, fields = parse_head(start)
    size, done = _length(status, fields), 0
    answer = Answer(status, fields, b"", len(start) + 4 + size)
    wrong = difference(answer, 200, None)
    if wrong is None and "content-length" not in fields:
        wrong = "sent a large file without its length, so that it cannot be compared"
    with path.open("rb") as file:
        while wrong is None:
            if file.read(len(piece)) != piece:
                wrong = "sent other bytes than the file's"
            done += len(piece)
            if done >= size:
                break
            piece = _more(connection)
    if wrong is None and done != path.stat().st_size:
        wrong = f"sent {done} bytes instead of {path.stat().st_size}"
    return answer, wrong


def _head(connection: socket.socket) -> tuple[bytes, bytes]:
    got = b""
    while b"\r\n\r\n" not in got:
        got += _more(connection)
    start, _, rest = got.partition(b"\r\n\r\n")
    return start, rest


def _more(connection: socket.socket) -> bytes:
    piece = connection.recv(1 << 20)
    if not piece:
        raise ValueError("the connection was closed within the answer")
    return piece


def _length(status: int, fields: dict[str, str]) -> int:
    return 0 if status in (204, 304) else int(fields.get("content-length", "0"))


def parse_head(start: bytes) -> tuple[int, dict[str, str]]:
    """Status and fields of a response head without its empty line."""
    first, *lines = start.decode("latin-1").split("\r\n")
    fields = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip()
    return int(first.split(" ")[1]), fields


def unchunk(body: bytes) -> bytes:
    """The content of a chunked body."""
    content: list[bytes] = []
    at = 0
    while True:
        line_end = body.index(b"\r\n", at)
        size = int(body[at:line_end].split(b";")[0], 16)
        if size == 0:
            return b"".join(content)
        content.append(body[line_end + 2 : line_end + 2 + size])
        at = line_end + 2 + size + 2


def difference(answer: Answer, status: int, body: bytes | None, coding: str = "") -> str | None:
    """What is wrong with the answer, in words, or None."""
    if answer.status != status:
        return f"answered {answer.status} instead of {status}"
    if coding and answer.fields.get("content-encoding") != coding:
        return f"did not send the file that is there in {coding}"
    if body is None:
        return None
    given = answer.body
    if answer.fields.get("content-encoding") == "gzip":
        given = gzip.decompress(given)
    if len(given) != len(body):
        return f"sent {len(given)} bytes instead of {len(body)}"
    return None if given == body else "sent other bytes than the file's"


def aim_at(scenario: Scenario, running: Running) -> Aim:
    """Check the server's answer and warm it up; what the load then asks, and what it should see.

    What the server does once for a file, such as hashing it, is over when this returns.
    AnswerError says what was wrong.
    """
    prefix, port = running.server.prefix, running.setup.port
    more: tuple[str, ...] = ()
    try:
        if scenario.revalidates:
            more = validators(fetch(port, scenarios.head(scenario, port, prefix)))
        head = scenarios.head(scenario, port, prefix, more)
        answer = first_answer(scenario, running, head.replace("{n}", "0"))
        if not scenario.new_connection and not scenario.large:
            warm_up(port, head, scenario.chooses)
    except (OSError, ValueError) as problem:
        raise AnswerError(f"gave no usable answer: {problem}") from problem
    machine.settle(running.pid)
    return Aim(port, head, answer.wire_size, answer.keeps)


def first_answer(scenario: Scenario, running: Running, head: str) -> Answer:
    """The answer, if it is right; AnswerError says what is wrong."""
    port, site = running.setup.port, running.setup.site
    if scenario.large:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            answer, wrong = compare(connection, head, site / scenario.path.lstrip("/"))
    else:
        answer = fetch(port, head)
        body = scenarios.expected_body(scenario, site)
        wrong = difference(answer, scenario.status, body, scenario.coding)
    if wrong is not None:
        raise AnswerError(wrong)
    return answer


def fetch(port: int, head: str) -> Answer:
    """The answer to one request on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        return ask(connection, head)


def validators(answer: Answer) -> tuple[str, ...]:
    """The fields with which a client that has this answer asks whether it is still good."""
    wanted = {"etag": "If-None-Match", "last-modified": "If-Modified-Since"}
    return tuple(
        f"{wanted[name]}: {answer.fields[name]}" for name in wanted if name in answer.fields
    )


def warm_up(port: int, head: str, choices: int) -> None:
    """Ask a few hundred times, every choice once, for at most ``WARM_UP_SECONDS``."""
    until = time.monotonic() + WARM_UP_SECONDS
    numbers = iter(range(choices or WARM_UP))
    n = next(numbers, None)
    while n is not None and time.monotonic() < until:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            kept = True
            while n is not None and kept and time.monotonic() < until:
                kept = ask(connection, head.replace("{n}", str(n))).keeps
                n = next(numbers, None)


def log_lines(log: Path) -> int:
    """Lines in an access log."""
    with log.open("rb") as file:
        return sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))
