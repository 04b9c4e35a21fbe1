"""What holds for any octets: no other error, no dependence on the cuts or on what came before."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portico.http.h1.grammar import QUERY_LINE
from portico.http.h1.head import HeadParser, without_query
from portico.http.h1.serialize import field_lines, status_line
from portico.http.message import CHUNKED
from tests.http.h1 import wire
from tests.http.h1.effort import EFFORT
from tests.http.h1.feeding import (
    BARE,
    NEXT,
    REFUSALS,
    Content,
    attributes,
    bytewise,
    cut,
    read_content,
    read_head,
)

names = st.text(wire.TCHARS, min_size=1) | st.text(max_size=5)
values = (
    st.text(st.characters(max_codepoint=255)) | st.text() | st.just("a\r\nb: c") | st.just("\n")
)


@EFFORT
@given(wire.heads)
def test_any_octets_give_a_head_or_a_refusal_or_are_waited_for(data: bytes) -> None:
    outcome = read_head([data])
    if outcome.head is not None:
        assert data.endswith(outcome.rest)
        assert outcome.status == 0
    elif outcome.status:
        assert outcome.status in REFUSALS
    else:
        assert b"\r\n\r\n" not in data
        assert outcome.rest == data


@EFFORT
@given(wire.heads, wire.cuts)
@example(b"GET / HTTP/1.1\r\nHost: a\r\nX: y\n" + b"X: y\r\n" * 101 + b"\r\n", [20, 40])
def test_the_cuts_never_change_what_becomes_of_a_head(data: bytes, places: list[int]) -> None:
    whole = read_head([data])
    for outcome in (read_head(cut(data, places)), read_head(bytewise(data))):
        if BARE.search(data) and whole.status:
            # Broken twice, perhaps: which of the two is seen first depends on what has come.
            assert outcome.status in {400, whole.status}
        else:
            assert outcome == whole


@EFFORT
@given(wire.heads, st.lists(wire.heads, max_size=4))
def test_what_came_before_never_changes_what_becomes_of_a_head(
    data: bytes, before: list[bytes]
) -> None:
    parser = HeadParser()
    for head in before:
        read_head([head], parser)
    assert read_head([data], parser) == read_head([data])


@EFFORT
@given(wire.heads, st.sets(st.sampled_from(("x", "cookie", "range", "accept"))))
def test_the_fields_kept_never_change_the_meaning(data: bytes, keep: set[str]) -> None:
    every, some = read_head([data]), read_head([data], HeadParser(frozenset(keep)))
    assert some.status == every.status
    assert some.rest == every.rest
    if every.head is not None and some.head is not None:
        kept, all_fields = some.head.pop("fields"), every.head.pop("fields")
        assert isinstance(kept, tuple)
        assert isinstance(all_fields, tuple)
        keep |= {"connection", "content-length", "expect", "host", "transfer-encoding"}
        assert kept == tuple(field for field in all_fields if field[0] in keep)
        for head, fields in ((some.head, kept), (every.head, all_fields)):
            assert head.pop("field_names") == {name for name, _ in fields}
        assert some.head == every.head


@EFFORT
@given(wire.heads)
def test_an_accepted_head_written_again_means_the_same(data: bytes) -> None:
    head = read_head([data]).head
    if head is None:
        return
    line = f"{head['method']} {head['target']} HTTP/1.{head['version']}\r\n".encode()
    fields = head["fields"]
    assert isinstance(fields, tuple)
    assert attributes(HeadParser().parse(line + field_lines(fields) + b"\r\n")) == head


@EFFORT
@given(
    st.sampled_from((b"GET", b"HEAD", b"OPTIONS", b"CONNECT", b"get", b"G?T", b"")),
    st.text('/a.%?#"~\x7f *', max_size=5) | st.just("http://b/"),
    st.text('?/a=&#"~|%\x00\n \xff', max_size=5),
    st.sampled_from((b" HTTP/1.1", b" HTTP/1.0", b" HTTP/1.2", b" HTTP/2.0", b" HTTP/1.1\n", b"")),
)
def test_without_its_query_a_head_means_the_same(
    method: bytes, path: str, query: str, version: bytes
) -> None:
    """Only what is valid loses its query, and it loses no more than that."""
    line = method + f" {path}?{query}".encode("latin-1") + version
    parser, host = HeadParser(), ("host", "a.example")
    key = without_query((line, host))
    assert (key is not None) == (QUERY_LINE.fullmatch(line) is not None)
    if key is None:
        return
    bare, whole = parser.interpret(key), parser.interpret((line, host))
    assert bare.query is None
    assert whole.query is not None
    assert whole.target == f"{bare.target}?{whole.query}"
    expected = attributes(whole) | {"target": bare.target, "query": None}
    assert attributes(bare) == expected


@EFFORT
@given(wire.valid_head(), st.text('?/a=&"~|%', max_size=8))
def test_any_query_in_a_valid_head_is_removed(head: bytes, query: str) -> None:
    parser = HeadParser()
    bare = head.replace(b"/a?b=c ", b"/a ")
    method, target, version = bare.partition(b"\r\n")[0].split(b" ")
    asked = head.replace(
        head.partition(b"\r\n")[0], b"%b %b?%b %b" % (method, target, query.encode(), version), 1
    )
    expected = None if target.startswith(b"http") else parser.key(bare)
    assert without_query(parser.key(asked)) == expected


@EFFORT
@given(wire.valid_head(), wire.cuts)
def test_a_valid_head_is_accepted_and_leaves_what_follows(head: bytes, places: list[int]) -> None:
    outcome = read_head(cut(head + NEXT, places))
    assert outcome.rest == NEXT
    assert outcome.head is not None
    assert outcome.head["method"] == head.split(b" ")[0].decode()
    assert (outcome.head["content_length"] == CHUNKED) == (b"chunked" in head)
    closes = b"Connection: close" in head or (
        b" HTTP/1.0\r\n" in head and b"Connection: keep-alive" not in head
    )
    assert outcome.head["keep_alive"] != closes


@EFFORT
@given(wire.chunked(), wire.cuts)
def test_chunks_are_put_together_exactly(coded: tuple[bytes, bytes], places: list[int]) -> None:
    content, sent = coded
    sent += NEXT
    for pieces in ([sent], cut(sent, places), bytewise(sent)):
        assert read_content(CHUNKED, pieces) == Content(content, complete=True, rest=NEXT)


@EFFORT
@given(wire.chunked(), wire.cuts)
def test_chunks_cut_off_are_never_complete(coded: tuple[bytes, bytes], places: list[int]) -> None:
    """RFC 9112, 8: neither a part of the content nor a missing end passes for the whole."""
    content, sent = coded
    for length in {place % len(sent) for place in places}:
        outcome = read_content(CHUNKED, [sent[:length]])
        assert not outcome.complete
        assert not outcome.status
        assert content.startswith(outcome.content)


@EFFORT
@given(wire.broken_chunks() | wire.octets, wire.cuts)
@example(b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n", [200])
@example(b"0\r\nX:" + b"v" * 20_000 + b"\r\n\r\n", [10_000])
def test_the_cuts_never_change_what_becomes_of_a_content(data: bytes, places: list[int]) -> None:
    whole = read_content(CHUNKED, [data])
    assert whole.status in {0, 400}
    assert read_content(CHUNKED, cut(data, places)) == whole
    assert read_content(CHUNKED, bytewise(data)) == whole


@EFFORT
@given(st.binary(max_size=100), st.integers(0, 120), wire.cuts)
def test_counted_content_ends_where_it_should(data: bytes, length: int, places: list[int]) -> None:
    outcome = read_content(length, cut(data, places))
    assert outcome == Content(data[:length], complete=length <= len(data), rest=data[length:])


@EFFORT
@given(st.lists(st.tuples(names, values), max_size=5))
def test_no_field_ever_splits_a_message(fields: list[tuple[str, str]]) -> None:
    try:
        lines = field_lines(fields)
    except ValueError:
        return
    assert lines.count(b"\r\n") == lines.count(b"\r") == lines.count(b"\n") == len(fields)
    assert b"\r\n\r\n" not in lines
    head = b"GET http://a/ HTTP/1.0\r\n" + lines + b"\r\n"
    key = HeadParser().key(head)
    assert key[1:] == tuple((name.lower(), value.strip(" \t")) for name, value in fields)


@pytest.mark.parametrize(
    "field",
    [
        *((name, "x") for name in ("", "a b", "a:b", "a: b", "a\r\nb", "\xe9", "a\n")),
        *(("a", value) for value in ("x\ny", "x\ry", "x\r\ny: z", "\0", "\x7f", "\u20ac")),
        *(("a", value) for value in ("x\r\n", "x\n")),
    ],
)
def test_what_is_no_field_is_not_written(field: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"not a field name|not field lines|latin-1"):
        field_lines([("ok", "x"), field])


def test_fields_are_written_in_their_order() -> None:
    fields = [("B", "1"), ("a", "caf\xe9 \t"), ("B", "")]
    assert field_lines(fields) == b"B: 1\r\na: caf\xe9 \t\r\nB: \r\n"


def test_status_lines() -> None:
    """RFC 9112, 4: the reason may be missing, the space before it may not."""
    assert status_line(404) == b"HTTP/1.1 404 Not Found\r\n"
    assert status_line(299) == b"HTTP/1.1 299 \r\n"
