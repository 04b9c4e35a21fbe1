"""Parsing takes time linear in the input: shown by structure and by counting, not by a clock.

A pattern takes linear time if the next octet alone decides how it goes on: whatever may begin a
repeated part must not also begin what may follow it, and no two branches begin alike. Then no octet
is ever looked at from two sides. Calls made while parsing are counted for one input and for twice
the input.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from portico.http.h1 import grammar
from portico.http.h1.content import CHUNK_LINE_LIMIT, ContentReader
from portico.http.h1.head import HeadParser
from portico.http.message import CHUNKED, ProtocolError
from tests.http.h1.cases import having, target
from tests.http.h1.feeding import bytewise, read_content, read_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVERY = frozenset(range(256))
NONE: frozenset[int] = frozenset()

PATTERNS = {
    name: pattern for name, pattern in vars(grammar).items() if isinstance(pattern, re.Pattern)
}


def tree(pattern: re.Pattern[Any]) -> list[Any]:
    """The pattern as the standard library's own parser reads it."""
    return list(
        importlib.import_module("re._parser").parse(pattern.pattern, pattern.flags & ~re.UNICODE)
    )


def octets(members: list[Any]) -> frozenset[int]:
    """The octets in a class of characters."""
    found: set[int] = set()
    for kind, value in members:
        if str(kind) == "LITERAL":
            found.add(value)
        elif str(kind) == "RANGE":
            found.update(range(value[0], value[1] + 1))
        else:
            assert str(kind) == "NEGATE", kind
    return EVERY - found if str(members[0][0]) == "NEGATE" else frozenset(found)


class AmbiguousError(Exception):
    """The same octet may go on in two ways."""


def begins(items: list[Any], follow: frozenset[int]) -> frozenset[int]:
    """The octets that `items`, with one of `follow` behind them, may begin with.

    Raises AmbiguousError if somewhere within them an octet does not decide how to go on.
    """
    for kind, value in reversed(items):
        match str(kind):
            case "LITERAL":
                follow = frozenset({value})
            case "NOT_LITERAL":
                follow = EVERY - {value}
            case "IN":
                follow = octets(value)
            case "SUBPATTERN":
                follow = begins(list(value[3]), follow)
            case "BRANCH":
                first = [begins(list(branch), follow) for branch in value[1]]
                if sum(map(len, first)) > len(frozenset().union(*first)):
                    raise AmbiguousError(value)
                follow = frozenset().union(*first)
            case "MAX_REPEAT":
                follow = repeated(value[0], value[1], value[2], follow)
            case _:
                pytest.fail(f"{kind} is not known here")
    return follow


def repeated(least: int, most: int, body: list[Any], follow: frozenset[int]) -> frozenset[int]:
    """As `begins`, for what is repeated from `least` to `most` times."""
    again = begins(list(body), NONE)
    first = begins(list(body), again | follow if most > 1 else follow)
    if least != most and first & follow:
        raise AmbiguousError(body)
    return first if least else first | follow


def ambiguous(pattern: re.Pattern[Any]) -> bool:
    try:
        begins(tree(pattern), NONE)
    except AmbiguousError:
        return True
    return False


@pytest.mark.parametrize("name", sorted(PATTERNS.keys() - {"CHUNK_LINE"}))
def test_the_next_octet_decides_how_a_pattern_goes_on(name: str) -> None:
    assert not ambiguous(PATTERNS[name])


def test_the_pattern_of_chunk_lines_never_goes_back() -> None:
    """White space before "=" or ";" is read twice at most; all else that repeats is possessive."""

    def repeats(items: list[Any]) -> Iterator[tuple[str, int]]:
        for kind, value in items:
            if str(kind) in {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}:
                yield str(kind), value[1]
                yield from repeats(list(value[2]))
            elif str(kind) == "SUBPATTERN":
                yield from repeats(list(value[3]))
            elif str(kind) == "BRANCH":
                for branch in value[1]:
                    yield from repeats(list(branch))

    found = list(repeats(tree(grammar.CHUNK_LINE)))
    assert len(found) > 5
    assert [most for kind, most in found if kind != "POSSESSIVE_REPEAT"] == [15]
    assert CHUNK_LINE_LIMIT <= 256


@pytest.mark.parametrize(
    "pattern", [rb"a*a*", rb"(a*)*", rb"a*(?:ab)?", rb"(ab|b|ac)", rb"x?[^y]*y?x", rb"a?(?:ab)*"]
)
def test_patterns_that_go_back_are_recognised(pattern: bytes) -> None:
    assert ambiguous(re.compile(pattern))


@pytest.mark.parametrize(
    "pattern", [rb"a*b*", rb"(?:ab)*c", rb"a?b", rb"(?:a|b)*c", rb"[^/]*(/[^?]*)?"]
)
def test_patterns_that_go_straight_on_are_recognised(pattern: bytes) -> None:
    assert not ambiguous(re.compile(pattern))


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


WORK: dict[str, Callable[[int], Callable[[], object]]] = {
    "fields": lambda size: lambda: parse(having(*(b"X%d: y" % at for at in range(size // 32)))),
    "too many fields": lambda size: lambda: parse(having(*([b"X:"] * size))),
    "codings": lambda size: lambda: parse(having(b"Transfer-Encoding: " + b"," * size)),
    "connection options": lambda size: lambda: parse(having(b"Connection: " + b"a," * size)),
    "a target": lambda size: lambda: parse(target(b"http://" + b"a" * size + b"#")),
    "a head by octets": lambda size: lambda: read_head(bytewise(having(b"X: " + b"y" * size))),
    "chunks": lambda size: lambda: feed([small_chunks(size)]),
    "chunks by octets": lambda size: lambda: feed(bytewise(small_chunks(size))),
    "a trailer by octets": lambda size: lambda: feed(bytewise(trailers(size))),
    "an extension": lambda size: (
        lambda: read_content(CHUNKED, bytewise(b"0;" + b"a" * (size // 16)))
    ),
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK.keys())
def test_twice_the_input_takes_at_most_twice_the_calls(
    work: Callable[[int], Callable[[], object]],
) -> None:
    once, twice = calls(work(1500)), calls(work(3000))
    assert 0 < once <= twice <= 2 * once + 50
