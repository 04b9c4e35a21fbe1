"""Parsing takes time linear in the input: shown by structure and by counting, not by a clock."""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from portico.http.h1 import grammar
from portico.http.h1.content import ContentReader
from portico.http.h1.head import HeadParser
from portico.http.message import CHUNKED, ProtocolError
from tests.http.h1.cases import having, target
from tests.http.h1.feeding import bytewise, read_content, read_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATTERNS = {
    name: pattern for name, pattern in vars(grammar).items() if isinstance(pattern, re.Pattern)
}


def backtracking(node: Any) -> Iterator[Any]:  # noqa: ANN401 - the parser's types are private
    """The classes of characters in a parsed pattern that may give back what they took.

    Also the groups that repeat possessively, which Python before 3.11.5 mis-matches.
    """
    if isinstance(node, tuple) and str(node[0]).endswith("_REPEAT"):
        least, most, body = node[1]
        is_class = len(body) == 1 and str(body[0][0]) in {"IN", "LITERAL", "NOT_LITERAL", "ANY"}
        if least < most > 1 and is_class != str(node[0]).startswith("POSSESSIVE"):
            yield node
    if not isinstance(node, int | str | None):
        for child in node:
            yield from backtracking(child)


def parsed(pattern: re.Pattern[Any]) -> object:
    """The pattern as the standard library's own parser reads it."""
    parser = importlib.import_module("re._parser")
    return parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE)


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS.keys())
def test_no_pattern_goes_back(pattern: re.Pattern[Any]) -> None:
    assert not list(backtracking(parsed(pattern)))


@pytest.mark.parametrize(
    "pattern",
    [rb"a*", rb"(?:b|(c+?d))", rb"(?:x{1,3})?+", rb"(?:a*b)+", rb"(?:ab)*+"],
)
def test_patterns_that_go_back_are_recognised(pattern: bytes) -> None:
    assert list(backtracking(parsed(re.compile(pattern))))


def calls(work: Callable[[], object]) -> int:
    """How many calls, of Python and of C functions, `work` makes."""
    made = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal made
        made += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return made


def parse(head: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        HeadParser().parse(head)


def feed(pieces: list[bytes]) -> None:
    reader = ContentReader(CHUNKED)
    for piece in pieces:
        reader.feed(piece)


def small_chunks(size: int) -> bytes:
    return b"1\r\nx\r\n" * size + b"0\r\n\r\n"


def trailers(size: int) -> bytes:
    return b"0\r\n" + b"X: y\r\n" * (size // 32) + b"\r\n"


WORK: dict[str, Callable[[int], object]] = {
    "fields": lambda size: parse(having(*(b"X%d: y" % at for at in range(size // 32)))),
    "too many fields": lambda size: parse(having(*([b"X:"] * size))),
    "codings": lambda size: parse(having(b"Transfer-Encoding: " + b"," * size)),
    "connection options": lambda size: parse(having(b"Connection: " + b"a," * size)),
    "a target": lambda size: parse(target(b"http://" + b"a" * size + b"#")),
    "a head by octets": lambda size: read_head(bytewise(having(b"X: " + b"y" * size))),
    "chunks": lambda size: feed([small_chunks(size)]),
    "chunks by octets": lambda size: feed(bytewise(small_chunks(size))),
    "a trailer by octets": lambda size: feed(bytewise(trailers(size))),
    "an extension": lambda size: read_content(CHUNKED, bytewise(b"0;" + b"a" * (size // 16))),
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK.keys())
def test_twice_the_input_takes_at_most_twice_the_calls(work: Callable[[int], object]) -> None:
    once, twice = calls(lambda: work(1500)), calls(lambda: work(3000))
    assert 0 < once <= twice <= 2 * once + 50
