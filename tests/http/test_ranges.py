"""Byte ranges (RFC 9110, 14) and multipart/byteranges (14.6, 15.3.7.2)."""

from __future__ import annotations

import email.parser
import email.policy
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.http.ranges import (
    PART_COST,
    RANGES_LIMIT,
    WASTE_LIMIT,
    Multipart,
    content_range,
    parse_range,
    unsatisfied_range,
)
from tests.http.h1.effort import EFFORT

Ranges = list[tuple[int, int]]

SPEC = re.compile(r"([0-9]+)-([0-9]*)|-([0-9]+)")

# Range sets around a length of at most 60 octets, nearly all of them valid, with their white space.
positions = st.integers(0, 70)
specs = st.one_of(
    st.tuples(positions, positions).map(lambda ends: f"{min(ends)}-{max(ends)}"),
    st.tuples(positions, positions).map(lambda ends: f"{ends[0]}-{ends[1]}"),
    positions.map("{}-".format),
    positions.map("-{}".format),
    st.sampled_from(["", "007-0009", "0-99999999999999999999999", "-", "a", "1", "3--4", "--1"]),
)
spaces = st.sampled_from(["", " ", "\t "])
range_sets = st.lists(st.builds("{}{}{}".format, spaces, specs, spaces), max_size=8).map(",".join)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # The examples of 14.1.2, of 10,000 octets.
        ("bytes=0-499", [(0, 500)]),
        ("bytes=500-999", [(500, 1000)]),
        ("bytes=-500", [(9500, 10000)]),
        ("bytes=9500-", [(9500, 10000)]),
        ("bytes=0-0,-1", [(0, 1), (9999, 10000)]),
        ("bytes= 0-999, 4500-5499, -1000", [(0, 1000), (4500, 5500), (9000, 10000)]),
        ("bytes=500-600,601-999", [(500, 1000)]),
        ("bytes=500-700,601-999", [(500, 1000)]),
        # What the common servers get wrong.
        ("bytes=9000-10000", [(9000, 10000)]),
        ("bytes=-99999", [(0, 10000)]),
        # 14.1: units have no case.
        ("BYTES=1-2", [(1, 3)]),
        # 5.6.1.2: white space around commas, and empty elements.
        ("bytes=1-2\t,\t5-6", [(1, 3), (5, 7)]),
        ("bytes=,1-2, ,5-6,,", [(1, 3), (5, 7)]),
        # 15.3.7.2: what touches or overlaps is one, in the place of the first of them.
        ("bytes=0-9,5-14,14-20", [(0, 21)]),
        ("bytes=0-,0-,0-", [(0, 10000)]),
        ("bytes=50-59,0-9,90-99,40-49", [(40, 60), (0, 10), (90, 100)]),
        # What cannot be satisfied drops out; what is left of several may be one.
        ("bytes=20000-30000,5-9,1-2", [(5, 10), (1, 3)]),
        # 14.1.2: large numerals.
        ("bytes=0-18446744073709551615", [(0, 10000)]),
        ("bytes=0-" + "9" * 5000, [(0, 10000)]),
        ("bytes=-" + "9" * 5000, [(0, 10000)]),
        ("bytes=" + "0" * 5000 + "5-" + "0" * 5000 + "6", [(5, 7)]),
        ("bytes=-" + "0" * 5000 + "6", [(9994, 10000)]),
    ],
)
def test_ranges_of_ten_thousand_octets(value: str, expected: Ranges) -> None:
    assert parse_range(value, 10000) == expected


@pytest.mark.parametrize(
    "value",
    [
        *(
            "bytes=10000-",
            "bytes=10000-10001",
            "bytes=-0",
            "bytes=-000",
            "bytes=-0,10000-,2000000-",
        ),
        *("bytes=" + "9" * 19 + "-", "bytes=" + "9" * 5000 + "-" + "9" * 6000),
    ],
)
def test_nothing_that_is_asked_for_exists(value: str) -> None:
    """RFC 9110, 15.5.17: 416, and the field says how long the representation is."""
    assert parse_range(value, 10000) == []


@pytest.mark.parametrize(
    "value",
    [
        # 14.2: a unit that is not understood.
        *("seconds=0-9", "byte=0-9", "bytesx=0-9", "none=0-9", "bytes =0-9", "bytes:0-9"),
        # 14.1.1: an invalid ranges-specifier.
        *("", "bytes", "bytes=", "bytes=,", "bytes= , ", "bytes=-", "bytes=--1", "bytes=0"),
        *("bytes=a-b", "bytes=0-a", "bytes=1-0", "bytes=1-2-3", "bytes=*", "bytes=0-9\x00"),
        *("bytes=5-" + "0" * 20 + "4", "bytes=" + "9" * 30 + "-5", "bytes=0-9,9-8", "bytes=0-9,x"),
        *("bytes=0-9;5-6", "bytes=0-9 10-19", "bytes=0 - 9", "bytes=0- 9", "bytes=- 9"),
        *("bytes=+0-9", "bytes=0-+9", "bytes=0x0-0x9", "bytes=0_0-9", "bytes=\xb2-9"),
        *("bytes=\u0663-9", "bytes=0-9\xa0"),
        # Two field lines joined: Range is no list.
        "bytes=0-9, bytes=20-29",
    ],
)
def test_what_is_ignored(value: str) -> None:
    assert parse_range(value, 10000) is None


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0", "bytes=5-"])
def test_an_empty_representation_has_no_ranges(value: str) -> None:
    """RFC 9110, 14.2 lets the field be ignored; no Content-Range could say "nothing"."""
    assert parse_range(value, 0) is None


def test_as_many_ranges_as_the_limit() -> None:
    spread = [f"{start}-{start + 999}" for start in range(0, 2_000 * RANGES_LIMIT, 2_000)]
    assert len(parse_range("bytes=" + ",".join(spread), 10**9) or ()) == RANGES_LIMIT
    assert parse_range("bytes=" + ",".join(["0-"] * RANGES_LIMIT), 10**9) == [(0, 10**9)]
    assert parse_range("bytes=" + ",".join([*spread, "-1"]), 10**9) is None
    assert parse_range("bytes=" + "," * RANGES_LIMIT + "0-1", 10**9) is None


def test_parts_that_cost_more_than_the_whole() -> None:
    """RFC 9110, 17.15: many single octets of a small file; a few are answered as asked."""
    single = "bytes=" + ",".join(f"{2 * index}-{2 * index}" for index in range(200))
    assert parse_range(single, 400) is None
    assert len(parse_range(single, 200 * (PART_COST + 1) - WASTE_LIMIT) or ()) == 200
    assert parse_range(single, 200 * (PART_COST + 1) - WASTE_LIMIT - 1) is None
    assert parse_range("bytes=0-0,-1", 3) == [(0, 1), (2, 3)]


def asked_for(range_set: str, length: int) -> list[set[int]] | None:
    """RFC 9110, 14.1.2 once more, position by position; None for an invalid set."""
    selections = []
    for element in range_set.split(","):
        spec = element.strip(" \t")
        if not spec:
            continue
        match = SPEC.fullmatch(spec)
        if match is None:
            return None
        if match[3]:
            selections.append(set(range(length)[-int(match[3]) or length :]))
        elif match[2] and int(match[2]) < int(match[1]):
            return None
        else:
            last = min(int(match[2] or length), length - 1)
            selections.append(set(range(int(match[1]), last + 1)))
    return selections or None


@EFFORT
@given(range_sets, st.integers(1, 60))
def test_exactly_the_octets_asked_for_and_each_once(range_set: str, length: int) -> None:
    asked = asked_for(range_set, length)
    selected = parse_range(f"bytes={range_set}", length)
    if asked is None:
        assert selected is None
        return
    assert selected is not None
    covered = [set(range(start, end)) for start, end in selected]
    assert all(0 <= start < end <= length for start, end in selected)
    assert set().union(*covered) == set().union(*asked)
    # Neither overlapping nor touching: no position, and no neighbour of one, is in another range.
    assert sum(map(len, covered)) == len(set().union(*covered))
    assert {end for _, end in selected}.isdisjoint(start for start, _ in selected)
    # In the order in which the first octets of each were asked for.
    first = [min(i for i, part in enumerate(asked) if part and part <= each) for each in covered]
    assert first == sorted(first)


@EFFORT
@given(
    st.text() | range_sets.map("bytes={}".format) | st.text(st.sampled_from("bytes=0123-, ")),
    st.integers(0, 10**12),
)
def test_any_text_is_ignored_or_selects_within_the_file(value: str, length: int) -> None:
    selected = parse_range(value, length)
    assert selected is None or all(0 <= start < end <= length for start, end in selected)


def test_content_range() -> None:
    """RFC 9110, 14.4."""
    assert content_range(500, 1234, 1234) == "bytes 500-1233/1234"
    assert unsatisfied_range(1234) == "bytes */1234"


# multipart/byteranges


def assemble(multipart: Multipart, content: bytes) -> bytes:
    """What a sender makes of it: each head, then its octets, at last the closing delimiter."""
    pieces = [head + content[start:end] for head, start, end in multipart.parts]
    return b"".join([*pieces, multipart.closing])


def test_the_octets_of_a_multipart_content() -> None:
    """RFC 9110, 15.3.7.2; a CRLF before each delimiter, the first one too, and behind the last."""
    multipart = Multipart([(500, 1000), (7000, 8000)], "application/pdf", 8000, "SEPARATES")
    content = bytes(range(250)) * 32
    assert multipart.content_type == "multipart/byteranges; boundary=SEPARATES"
    assert assemble(multipart, content) == (
        b"\r\n--SEPARATES\r\n"
        b"Content-Type: application/pdf\r\n"
        b"Content-Range: bytes 500-999/8000\r\n"
        b"\r\n" + content[500:1000] + b"\r\n--SEPARATES\r\n"
        b"Content-Type: application/pdf\r\n"
        b"Content-Range: bytes 7000-7999/8000\r\n"
        b"\r\n" + content[7000:] + b"\r\n--SEPARATES--\r\n"
    )


def test_without_a_media_type_the_parts_have_none() -> None:
    [(head, start, end)] = Multipart([(3, 5)], None, 10, "b").parts
    assert head == b"\r\n--b\r\nContent-Range: bytes 3-4/10\r\n\r\n"
    assert (start, end) == (3, 5)


@pytest.mark.parametrize(
    "boundary", ["", "a b", 'a"', "a\r\n", "a\n", "a;b", "a'b", "\xe9", "x" * 71]
)
def test_what_is_no_boundary(boundary: str) -> None:
    """RFC 2046, 5.1.1, of which only what needs no quotes is used."""
    with pytest.raises(ValueError, match="boundary"):
        Multipart([(0, 1)], None, 2, boundary)


@pytest.mark.parametrize(
    "media_type", ["text/plain\r\nX: y", "text/plain\n", "a/b\r\n\r\n<script>"]
)
def test_a_media_type_never_splits_a_head(media_type: str) -> None:
    with pytest.raises(ValueError, match="field line"):
        Multipart([(0, 1)], media_type, 2, "b")


@EFFORT
@given(
    st.binary(min_size=1, max_size=200),
    st.lists(st.tuples(st.integers(0, 199), st.integers(1, 200)), min_size=2, max_size=6),
    st.sampled_from([None, "text/html; charset=utf-8", "image/png"]),
    st.text(string.ascii_letters + string.digits + "._-", min_size=16, max_size=70),
)
def test_the_announced_length_is_the_real_one_and_the_parts_come_back(
    content: bytes, wanted: Ranges, media_type: str | None, boundary: str
) -> None:
    """Read back by the standard library's parser of e-mail, which knows nothing of lengths."""
    ranges = [
        (start % len(content), min(len(content), start % len(content) + size))
        for start, size in wanted
    ]
    multipart = Multipart(ranges, media_type, len(content), boundary)
    octets = assemble(multipart, content)
    assert len(octets) == multipart.content_length
    # That parser changes line ends and some octets, but no digits; it quotes parameters.
    digits = assemble(multipart, content.hex().encode()[: len(content)])
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
        f"Content-Type: {multipart.content_type}\r\n\r\n".encode() + digits
    )
    parts = list(message.iter_parts())
    assert [part["Content-Range"] for part in parts] == [
        content_range(start, end, len(content)) for start, end in ranges
    ]
    types = [part["Content-Type"] for part in parts]
    assert types == [media_type and media_type.replace("utf-8", '"utf-8"')] * len(ranges)
    assert [part.get_payload() for part in parts] == [
        content.hex()[start:end] for start, end in ranges
    ]
