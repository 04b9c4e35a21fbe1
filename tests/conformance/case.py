"""A case: a rule, what is sent to see whether a server keeps it, and what has to come back.

Octets to send are written with placeholders for what the connection's first answer said:
`{etag}` its entity tag, `{opaque}` the same without W/, `{modified}` its Last-Modified; `{etag1}`
is that of the second answer. A server whose answer has none is not measured by that rule.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.conformance.exchange import Address, Answer, Connection, MalformedError
from tests.server.clients import request

MUST, MUST_NOT, SHOULD, SHOULD_NOT = "MUST", "MUST NOT", "SHOULD", "SHOULD NOT"
MAY, OUGHT, DEFINED = "MAY", "ought", "defined"
"""OUGHT is the RFC's word where it only advises. DEFINED: it says what something means, without any
such word."""

YES = "yes"


class Exchange(NamedTuple):
    """What is sent at once, and which responses are read before the next exchange."""

    octets: bytes
    methods: tuple[str, ...] = ("GET",)
    """The methods whose responses are awaited, in order."""
    before: Callable[[Path], None] | None = None
    """Changes the site before anything is sent."""
    half_close: bool = False
    """The client sends nothing more."""


class NotMeasuredError(Exception):
    """The server lacks what the rule is about."""


class Transcript:
    """What came back on one connection."""

    def __init__(self, answers: list[Answer], awaited: int, began: float, *, ended: bool) -> None:
        self.answers = answers
        self.awaited = awaited
        """How many answers there should be."""
        self.began = began
        """When the case began, in seconds since the epoch."""
        self.ended = ended
        """The server closed the connection: instead of an answer, or after the last, if awaited."""

    def __getitem__(self, index: int) -> Answer:
        """The answer with that index, from the end if it is negative.

        A server may close after any response; then it is not measured by what was to follow.
        """
        if index < 0:
            index += self.awaited
        if index < len(self.answers):
            return self.answers[index]
        if not self.answers:
            raise MalformedError("closes without an answer")
        raise NotMeasuredError(f"closes after answer {len(self.answers)}")


Check = Callable[[Transcript], str | None]
"""What is wrong, in a few words; None where nothing is."""


class Case(NamedTuple):
    """One rule and how it is seen."""

    name: str
    section: str
    """Number of the RFC, a space, the section."""
    level: str
    rule: str
    exchanges: tuple[Exchange, ...]
    check: Check
    awaits_end: bool
    """Whether the connection's end is waited for after the last answer."""


def case(
    name: str,
    section: str,
    level: str,
    rule: str,
    *exchanges: Exchange,
    check: Check,
    awaits_end: bool = False,
) -> Case:
    return Case(name, section, level, rule, exchanges, check, awaits_end)


def ask(
    path: str,
    *lines: str,
    method: str = "GET",
    version: str = "1.1",
    content: bytes = b"",
    before: Callable[[Path], None] | None = None,
) -> Exchange:
    """One request and its response."""
    return Exchange(
        request(method, path, *lines, version=version) + content, (method,), before=before
    )


def raw(*lines: bytes, content: bytes = b"", method: str = "GET") -> Exchange:
    """One request of exactly these lines, and its response."""
    return Exchange(b"\r\n".join([*lines, b"", content]), (method,))


_PLACE = re.compile(rb"\{(etag|opaque|modified)([1-9]?)\}")


def filled(octets: bytes, answers: list[Answer]) -> bytes:
    """`octets` with what the answers so far have said."""

    def value(found: re.Match[bytes]) -> bytes:
        answer = answers[int(found[2] or 0)]
        if found[1] == b"modified":
            return _given(answer, "last-modified", "no Last-Modified")
        tag = _given(answer, "etag", "no ETag")
        return tag.removeprefix(b"W/") if found[1] == b"opaque" else tag

    return _PLACE.sub(value, octets)


def _given(answer: Answer, name: str, absent: str) -> bytes:
    value = answer.get(name)
    if value is None:
        raise NotMeasuredError(absent)
    return value.encode("latin-1")


def outcome(case: Case, address: Address, root: Path, patience: float) -> str:
    """What a server makes of a case: "yes", "no: reason", or "-: reason" if it is not measured.

    `patience` are the seconds that an answer may take, and the end of a connection.
    """
    try:
        wrong = case.check(_converse(case, address, root, patience))
    except NotMeasuredError as absent:
        return f"-: {absent}"
    except MalformedError as problem:
        wrong = str(problem)
    except TimeoutError:
        wrong = "no answer"
    return YES if wrong is None else f"no: {wrong}"


def _converse(case: Case, address: Address, root: Path, patience: float) -> Transcript:
    answers: list[Answer] = []
    awaited = sum(len(exchange.methods) for exchange in case.exchanges)
    began = time.time()
    with Connection(address, patience) as connection:
        for exchange in case.exchanges:
            if exchange.before is not None:
                exchange.before(root)
            connection.send(filled(exchange.octets, answers))
            if exchange.half_close:
                connection.half_close()
            for method in exchange.methods:
                answer = connection.answer(method)
                if answer is None:
                    return Transcript(answers, awaited, began, ended=True)
                answers.append(answer)
        ended = case.awaits_end and connection.ended()
    return Transcript(answers, awaited, began, ended=ended)
