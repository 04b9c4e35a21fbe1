"""Accept-Encoding (RFC 9110, 12.5.3) and quality values (12.4.2)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.http.codings import IDENTITY, MEMBERS_LIMIT, acceptable, parse_quality
from tests.http.h1.effort import EFFORT

ALL = ["br", "zstd", "gzip", "identity"]
QVALUE = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")

# Values that are nearly right, and many that are.
members = st.builds(
    "{}{}".format,
    st.sampled_from(
        ["br", "zstd", "gzip", "x-gzip", "GZIP", "identity", "*", "deflate", "", "a b"]
    ),
    st.sampled_from(
        ["", ";q=0", ";q=1", "; q=0.5", " ;\tQ=0.001", ";q=0.000", ";q=2", ";q=", ";x=1"]
    ),
)
values = st.lists(members, max_size=6).map(", ".join)


QUALITIES = {"0": 0, "0.": 0, "0.001": 1, "0.05": 50, "0.5": 500, "0.999": 999}


@pytest.mark.parametrize(
    ("text", "expected"), [*QUALITIES.items(), *((text, 1000) for text in ("1", "1.", "1.000"))]
)
def test_quality_values(text: str, expected: int) -> None:
    assert parse_quality(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", ".5", "00", "01", "2", "-1", "+1", "1.001", "1.5", "0.0001", "1.0000", "0,5"),
        *("0.5 ", " 0.5", "0.+5", "0._1", "0.5e1", "1e0", "0x1", "0.\xb2", "\u0661", "nan", "high"),
        "9" * 5000,
    ],
)
def test_anything_else_is_no_quality(text: str) -> None:
    assert parse_quality(text) is None


@EFFORT
@given(st.text() | st.text(st.sampled_from("01.59"), max_size=6))
def test_quality_is_read_where_the_grammar_matches_and_nowhere_else(text: str) -> None:
    expected = round(float(text) * 1000) if QVALUE.fullmatch(text) else None
    assert parse_quality(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # The examples of 12.5.3.
        ("compress, gzip", ["gzip", "identity"]),
        ("", ["identity"]),
        ("*", ALL),
        ("compress;q=0.5, gzip;q=1.0", ["gzip", "identity"]),
        ("gzip;q=1.0, identity; q=0.5, *;q=0", ["gzip", "identity"]),
        # What clients send: Chromium, Firefox, curl, wget.
        ("gzip, deflate, br, zstd", ALL),
        ("identity", ["identity"]),
        # The client's order is by quality only.
        ("br;q=0.5, gzip;q=0.8, zstd;q=0.6", ["gzip", "zstd", "br", "identity"]),
        ("identity, gzip;q=0.9", ["identity", "gzip"]),
        # Not acceptable.
        ("gzip;q=0", ["identity"]),
        ("gzip;q=0.000, br", ["br", "identity"]),
        ("identity;q=0", []),
        ("gzip, identity;q=0", ["gzip"]),
        ("identity, *;q=0", ["identity"]),
        ("compress, identity;q=0", []),
        # "*" speaks for what is not named, identity included.
        ("*, gzip;q=0", ["br", "zstd", "identity"]),
        ("*;q=0.5, gzip;q=0.1", ["br", "zstd", "identity", "gzip"]),
        ("*, identity;q=0", ["br", "zstd", "gzip"]),
        # 8.4.1.3 and 8.4.1: x-gzip is gzip, names have no case.
        ("X-GZip;Q=0.5, BR;q=0.4", ["gzip", "br", "identity"]),
        # Of a coding named twice, the lower quality counts.
        ("gzip, gzip;q=0", ["identity"]),
        ("br;q=0.1, gzip;q=0.2, br", ["gzip", "br", "identity"]),
        # White space and empty elements (5.6.1.2).
        (" , gzip\t;\tq=0.5 ,,br ", ["br", "gzip", "identity"]),
        # A malformed member is ignored.
        ("gzip;q=2, br", ["br", "identity"]),
        ("gzip;level=9, br", ["br", "identity"]),
        ("gzip;q=1;level=9, br", ["br", "identity"]),
        ("gzip; q = 1, br", ["br", "identity"]),
        ("gzip;", ["identity"]),
        (";q=1", ["identity"]),
    ],
)
def test_which_of_all_codings(value: str, expected: list[str]) -> None:
    assert acceptable(value, ALL) == expected


@pytest.mark.parametrize(
    ("value", "available", "expected"),
    [
        (None, ALL, ["identity", "br", "zstd", "gzip"]),
        (None, ["br"], ["br"]),  # no field: any coding is acceptable
        ("gzip", ["br"], []),
        ("br, gzip", ["gzip", "br"], ["gzip", "br"]),
        ("*", ["identity", "gzip"], ["identity", "gzip"]),
        ("gzip", ["identity", "gzip"], ["gzip", "identity"]),
    ],
)
def test_what_is_at_hand_matters(
    value: str | None, available: list[str], expected: list[str]
) -> None:
    """Only where the result is empty no representation is left (406)."""
    assert acceptable(value, available) == expected


def test_only_so_many_members_count() -> None:
    fill = "a," * (MEMBERS_LIMIT - 1)
    assert acceptable(fill + "gzip", ALL) == ["gzip", "identity"]
    assert acceptable(fill + "a,gzip", ALL) == ["identity"]
    assert acceptable("gzip," + "a;q=0.1," * 2000, ALL) == ["gzip", "identity"]


def quality(coding: str, value: str) -> float | None:
    """RFC 9110, 12.5.3 read once more, member by member; None: not named, by "*" neither."""
    found: dict[str, list[float]] = {}
    for member in value.split(","):
        match = re.fullmatch(
            rf"[ \t]*([^;\s]+)(?:[ \t]*;[ \t]*[qQ]=({QVALUE.pattern}))?[ \t]*", member
        )
        if match:
            name = match[1].lower().removeprefix("x-")
            found.setdefault(name, []).append(float(match[2] or 1))
    for name in (coding, "*"):
        if name in found:
            return min(found[name])
    return None


@EFFORT
@given(values, st.lists(st.sampled_from(ALL), unique=True))
def test_the_order_is_by_quality_and_then_ours(value: str, available: list[str]) -> None:
    expected = {}
    for coding in available:
        weight = quality(coding, value)
        if weight is None and coding == IDENTITY:
            expected[coding] = 0.0
        elif weight:
            expected[coding] = weight
    order = sorted(expected, key=lambda coding: (-expected[coding], available.index(coding)))
    assert acceptable(value, available) == order


@EFFORT
@given(st.none() | st.text() | values, st.lists(st.sampled_from(ALL), unique=True))
def test_any_text_selects_from_what_is_at_hand(value: str | None, available: list[str]) -> None:
    ranked = acceptable(value, available)
    assert len(set(ranked)) == len(ranked)
    assert set(ranked) <= set(available)
