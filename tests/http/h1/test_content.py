"""Every content of the case tables: whole, octet by octet, and before another request."""

from __future__ import annotations

import pytest

from portico.http.h1.content import ContentReader
from portico.http.message import CHUNKED, ProtocolError
from tests.http.h1.content_cases import BROKEN, CODED, COUNTED, INCOMPLETE, ContentCase
from tests.http.h1.feeding import NEXT, Content, bytewise, read_content

CASES = (*COUNTED, *CODED, *BROKEN)


def outcome(case: ContentCase, rest: bytes = b"") -> Content:
    if case.content is None:
        return Content(b"", complete=False, rest=b"", status=400)
    return Content(case.content, case.complete, rest)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.section}: {case.name}")
def test_contents(case: ContentCase) -> None:
    for rest in (b"", NEXT):
        sent = case.sent + rest
        for pieces in ([sent], bytewise(sent)):
            assert read_content(case.length, pieces) == outcome(case, rest)


@pytest.mark.parametrize("case", INCOMPLETE, ids=lambda case: case.name)
def test_an_incomplete_content_is_waited_for(case: ContentCase) -> None:
    for pieces in ([case.sent], bytewise(case.sent)):
        assert read_content(case.length, pieces) == outcome(case)


@pytest.mark.parametrize(
    "begun", [b"5\n", b"5\rX", b"5\r\nhello\n", b"5\r\nhelloXY", b"5\r\nhello\rX", b"0\r\nX: y\n"]
)
def test_a_broken_coding_is_refused_as_soon_as_it_shows(begun: bytes) -> None:
    reader = ContentReader(CHUNKED)
    reader.feed(begun[:-2])
    with pytest.raises(ProtocolError) as caught:
        reader.feed(begun[-2:])
    assert caught.value.status == 400


def test_content_comes_out_as_it_comes_in() -> None:
    reader = ContentReader(CHUNKED)
    assert reader.feed(b"5\r\nhe") == (b"he", b"")
    assert reader.feed(b"ll") == (b"ll", b"")
    assert reader.feed(b"o\r\n1;a\r\n!\r\n0\r") == (b"o!", b"")
    assert not reader.complete
    assert reader.feed(b"\n\r\nGET") == (b"", b"GET")
    assert reader.complete
    assert reader.feed(b" /") == (b"", b" /")


def test_a_request_without_content_is_complete_at_once() -> None:
    reader = ContentReader(0)
    assert reader.complete
    assert reader.feed(NEXT) == (b"", NEXT)


@pytest.mark.parametrize(("length", "before"), [(10**18 - 1, b""), (CHUNKED, b"f" * 15 + b"\r\n")])
def test_an_enormous_length_is_only_a_number(length: int, before: bytes) -> None:
    reader = ContentReader(length)
    assert reader.feed(before + b"x" * 1000) == (b"x" * 1000, b"")
    assert not reader.complete
