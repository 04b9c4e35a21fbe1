"""Every head of the case tables: whole, octet by octet, before another request, and once more."""

from __future__ import annotations

import pytest

from portico.http.h1.head import (
    FIELDS_LIMIT,
    HEAD_LIMIT,
    TARGET_LIMIT,
    HeadParser,
    without_query,
)
from portico.http.message import ProtocolError
from tests.http.h1 import field_cases, framing_cases, start_line_cases
from tests.http.h1.cases import HeadCase, having, sized, start, target
from tests.http.h1.feeding import NEXT, Read, bytewise, read_head

CASES = (*start_line_cases.CASES, *field_cases.CASES, *framing_cases.CASES)


def check(case: HeadCase, outcome: Read) -> None:
    assert outcome.status == case.status, case.name
    assert (outcome.head is None) == (case.status != 0)
    if outcome.head is not None:
        assert {name: outcome.head[name] for name in case.expect} == case.expect, case.name


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.section}: {case.name}")
def test_heads(case: HeadCase) -> None:
    for rest in (b"", NEXT):
        sent = case.head + rest
        for pieces in ([sent], bytewise(sent)):
            outcome = read_head(pieces)
            check(case, outcome)
            assert outcome.status or outcome.rest == rest


def test_once_more_when_their_lines_are_remembered() -> None:
    for case in CASES:
        parser = HeadParser()
        for line in (b"X: y", b"Content-Length: 5", b"Transfer-Encoding: chunked"):
            read_head([having(line)], parser)
        for _ in range(3):
            check(case, read_head([case.head], parser))


def test_a_parser_that_keeps_no_field_judges_alike() -> None:
    for case in CASES:
        expect = {name: value for name, value in case.expect.items() if name != "fields"}
        check(case._replace(expect=expect), read_head([case.head], HeadParser(frozenset())))


@pytest.mark.parametrize("head", field_cases.INCOMPLETE.values(), ids=field_cases.INCOMPLETE.keys())
def test_an_incomplete_head_is_waited_for(head: bytes) -> None:
    for pieces in ([head], bytewise(head)):
        assert read_head(pieces) == Read(None, 0, head)


@pytest.mark.parametrize(
    "begun",
    [
        *(b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\rX", b"\n", b"GET / HTTP/1.1\r\nX: y\n", b"G\r\r"),
        *(b"\r\n\n", b"GET / HTTP/1.1\r\nHost: a\r\n\n", b"GET / HTTP/1.1\r\n\rX"),
    ],
)
def test_a_bare_line_end_is_refused_before_the_head_is_complete(begun: bytes) -> None:
    """RFC 9112, 2.2: whoever sent it believes that the line has ended, and waits."""
    for pieces in ([begun], bytewise(begun), [begun[:-1], begun[-1:]]):
        assert read_head(pieces).status == 400


def test_only_the_fields_to_be_kept_are_kept() -> None:
    parser = HeadParser(frozenset({"range"}))
    head = having(b"Range: bytes=0-", b"X: y", b"Expect: 100-continue", b"RANGE: b")
    request = parser.parse(head)
    assert request.fields == (
        *(("host", "a.example"), ("range", "bytes=0-")),
        *(("expect", "100-continue"), ("range", "b")),
    )
    assert request.get("range") == "bytes=0-, b"
    assert request.get("x") is None


def test_heads_that_differ_in_what_cannot_matter_have_one_key() -> None:
    parser = HeadParser(frozenset())
    key = parser.key(having(b"User-Agent: one", b"Cookie: two"))
    assert parser.key(having(b"User-Agent: three", b"X-Request-Id: four")) == key
    assert parser.key(having(b"User-Agent: three", b"Connection: close")) != key
    assert parser.key(having(b"Content-Length: 5")) != key
    assert parser.key(target(b"/other")) != key


def test_a_valid_line_repeated_beyond_the_limit_is_refused_though_it_is_remembered() -> None:
    parser = HeadParser()
    parser.parse(having(b"X: y"))
    assert len(parser.parse(having(*([b"X: y"] * (FIELDS_LIMIT - 1)))).fields) == FIELDS_LIMIT
    with pytest.raises(ProtocolError) as caught:
        parser.parse(having(*([b"X: y"] * FIELDS_LIMIT)))
    assert caught.value.status == 431


def test_the_lines_remembered_are_bounded_and_those_in_use_stay() -> None:
    parser = HeadParser(frozenset())
    for number in range(100):
        for _ in range(2):  # lines seen once are not remembered
            parser.key(having(*(b"X-%d: %d" % (number, line) for line in range(90))))
    assert 1000 < len(parser._lines) <= 4096
    assert parser._lines.get(b"Host: a.example")


def test_neither_long_lines_nor_lines_seen_once_are_remembered() -> None:
    parser = HeadParser()
    parser.parse(having(b"Cookie: one"))
    assert len(parser._lines) == 0
    for _ in range(3):
        request = parser.parse(having(b"Cookie: " + b"c" * 600))
        assert request.get("cookie") == "c" * 600
    assert len(parser._lines) == 1


def test_a_head_that_can_no_longer_end_within_the_limit_is_refused_at_once() -> None:
    head = sized(HEAD_LIMIT + 1)
    assert read_head([head[: HEAD_LIMIT - 1]]).status == 0
    assert read_head([head[:HEAD_LIMIT]]).status == 431


def test_protocol_errors_say_what_is_wrong() -> None:
    error = ProtocolError(400, "The Host header is not a valid host.")
    assert (error.status, error.detail, str(error)) == (400, str(error), error.detail)


def test_a_head_of_a_known_template_has_its_key() -> None:
    parser = HeadParser(frozenset({"accept"}))
    parser.key(having(b"Accept: a/b", b"Cookie: zero", b"X: y"))
    parser.key(having(b"Accept: a/b", b"Cookie: zero", b"X: y"))
    keys = [
        parser.key(having(b"Accept: a/b", b"Cookie: %d" % number, b"X: y")) for number in range(9)
    ]
    assert list(parser._templates.young) == [b"GET / HTTP/1.1"]
    assert set(keys) == {keys[0]}
    assert parser.interpret(keys[8]).get("accept") == "a/b"


@pytest.mark.parametrize(
    "value", [b"\n", b"\r", b"\0", b"1\r\nHost: b", b"1\r\n X", b"1\r\n\r\nGET /"]
)
def test_a_value_that_breaks_the_grammar_is_seen_in_a_known_template(value: bytes) -> None:
    parser = HeadParser(frozenset())
    for number in range(9):
        parser.key(having(b"Cookie: %d" % number, b"X: y"))
    assert len(parser._templates) == 1
    with pytest.raises(ProtocolError):
        parser.parse(having(b"Cookie: " + value, b"X: y"))


def test_a_head_shorter_than_a_known_template_does_not_match() -> None:
    """What stands before the value and what stands behind it may overlap in a shorter head."""
    parser = HeadParser(frozenset())
    for number in range(9):
        parser.key(having(b"A:%d" % number, b"A:"))
    assert len(parser._templates) == 1
    assert len(parser.key(having(b"A:"))) == len(parser.key(having(b"A:", b"A:"))) - 1


def test_a_field_of_another_name_does_not_match_a_known_template() -> None:
    parser = HeadParser(frozenset({"range"}))
    for number in range(9):
        parser.key(having(b"Rangx: %d" % number))
    assert len(parser._templates) == 1
    assert ("range", "1") in parser.key(having(b"Range: 1"))


def test_a_field_that_matters_makes_no_template() -> None:
    parser = HeadParser(frozenset({"range"}))
    keys = {parser.key(having(b"Range: bytes=%d-" % number)) for number in range(9)}
    assert len(keys) == 9
    assert len(parser._templates) == 0


# Keys without their query


@pytest.mark.parametrize(
    ("line", "bare"),
    [
        (b"GET /a?b HTTP/1.1", b"GET /a HTTP/1.1"),
        (b"GET /? HTTP/1.1", b"GET / HTTP/1.1"),
        (b"GET /a??b?c=/d HTTP/1.0", b"GET /a HTTP/1.0"),
        (b'HEAD //a%3F!~|{"?"|!~%3f HTTP/1.1', b'HEAD //a%3F!~|{" HTTP/1.1'),
        (b"OPTIONS /a?b HTTP/1.1", b"OPTIONS /a HTTP/1.1"),
        (b"GET /\xc3?\xa9 HTTP/1.1", b"GET /\xc3 HTTP/1.1"),
    ],
)
def test_a_key_without_its_query_is_that_of_the_bare_target(line: bytes, bare: bytes) -> None:
    parser = HeadParser(frozenset({"range"}))
    for fields in (b"Host: a.example", b"X: ?\r\nRange: bytes=0-\r\nHost: b.example"):
        assert without_query(parser.key(start(line, fields))) == parser.key(start(bare, fields))


@pytest.mark.parametrize(
    "line",
    [
        # no query
        *(b"GET /a HTTP/1.1", b"GET /%3F HTTP/1.1", b"OPTIONS * HTTP/1.1"),
        # not valid
        *(b"GET /a?b", b"GET /a? HTTP/2.0", b"GET /a?b HTTP/1.1 ", b"GET /a?b  HTTP/1.1"),
        *(b"GET /a?b#c HTTP/1.1", b"GET /a#?b HTTP/1.1", b"GET ?b HTTP/1.1", b"GET * ?b HTTP/1.1"),
        *(b"GET /a?b c HTTP/1.1", b"GET /a b?c HTTP/1.1"),
        *(b"GET /a?\0 HTTP/1.1", b"GET /a?b\n HTTP/1.1", b"GET /a?b HTTP/1.1\n", b" /a?b HTTP/1.1"),
        *(b"G?T /a HTTP/1.1", b"GET /a HTTP/1.1?b", b"GET a?b HTTP/1.1", b"GET /a\x7f?b HTTP/1.1"),
        # valid, but in a form that is rare
        *(b"GET http://a/?b HTTP/1.1", b"get /a?b HTTP/1.1"),
    ],
)
def test_a_key_without_a_query_or_that_is_not_valid_has_none_to_remove(line: bytes) -> None:
    assert without_query((line, ("host", "a.example"))) is None


def test_a_target_beyond_the_limit_is_refused_with_its_query() -> None:
    parser = HeadParser()
    longest = b"/?" + b"q" * (TARGET_LIMIT - 2)
    for path, status in ((longest, 0), (longest + b"q", 414)):
        assert read_head([target(path)]).status == status
        assert without_query(parser.key(target(path))) is None
