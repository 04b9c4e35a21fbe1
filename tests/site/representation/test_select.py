"""Codings, conditions and ranges together: what each request gets of a file, to the octet."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from portico.http.dates import imf_fixdate
from portico.http.message import Response
from tests.site.asking import Client, content, fields, parts, vary
from tests.site.kinds import DATE, GZIP, KINDS, PLAIN, Kind, make_client

ALWAYS = {"Cache-Control", "X-Content-Type-Options"}
VALIDATORS = {"ETag", "Accept-Ranges", "Last-Modified"}
WHOLE = ALWAYS | VALIDATORS | {"Content-Type", "Content-Length"}
PAGE = {"Content-Type", "Content-Length", "Content-Security-Policy", "Vary"} | ALWAYS


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return make_client(tmp_path / "site")


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


# Values of each field; TAG stands for the representation's own tag, and None for no field.
TAG = "<tag>"
OTHER = '"another"'
EARLIER, SAME, LATER = (imf_fixdate(DATE + seconds) for seconds in (-1, 0, 1))

IF_MATCH = {None: True, TAG: True, f"{OTHER}, {TAG}": True, "*": True, OTHER: False}
IF_MATCH |= {f"W/{TAG}": False, "malformed": False}
IF_NONE_MATCH = {None: True, TAG: False, f"W/{TAG}": False, "*": False, OTHER: True}
IF_NONE_MATCH |= {f"{OTHER} , W/{TAG}": False, "malformed": True}
IF_RANGE = {None: True, TAG: True, SAME: True, f"W/{TAG}": False, OTHER: False}
IF_RANGE |= {LATER: False, EARLIER: False, "malformed": False}
RANGE: dict[str | None, list[tuple[int, int]] | None] = {
    None: None,
    "bytes=0-0": [(0, 1)],
    "bytes=10-19,40-": [(10, 20), (40, -1)],
    "bytes=-5": [(-5, -1)],
    "bytes=999999-": [],
    "bytes=2-1": None,
    "lines=1-2": None,
}


def said(name: str, value: str | None, tag: str) -> list[str]:
    return [] if value is None else [f"{name}: {value.replace(TAG, tag)}"]


def requests() -> Iterator[tuple[str | None, str | None, str | None, str | None]]:
    """All that follows from one method and all values of four fields."""
    yield from itertools.product(IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE)


def check_whole(response: Response, kind: Kind, method: str) -> None:
    extra = {"Content-Encoding"} if kind.coding else set()
    if kind.path not in {"/alone.bin", "/large.bin"}:
        extra.add("Vary")
    assert fields(response).keys() == WHOLE | extra
    assert fields(response)["Content-Length"] == str(len(kind.octets))
    assert content(response) == (b"" if method == "HEAD" else kind.octets)


def check_partial(
    response: Response, kind: Kind, selected: list[tuple[int, int]], *, resumed: bool
) -> None:
    length = len(kind.octets)
    bounds = [
        (start % length if start < 0 else start, length if end < 0 else end)
        for start, end in selected
    ]
    found = fields(response)
    names = set(WHOLE) | ({"Content-Encoding"} if kind.coding else set())
    if resumed:  # the client has the rest since it has got a part (RFC 9110, 15.3.7)
        names -= {"Last-Modified", "Content-Type", "Content-Encoding"}
    if len(bounds) == 1:
        ((start, end),) = bounds
        names.add("Content-Range")
        assert found["Content-Range"] == f"bytes {start}-{end - 1}/{length}"
        assert content(response) == kind.octets[start:end]
        assert found["Content-Length"] == str(end - start)
    else:
        names.add("Content-Type")
        sent = parts(response)
        assert [octets for _, octets in sent] == [kind.octets[slice(*each)] for each in bounds]
        assert [head["Content-Range"] for head, _ in sent] == [
            f"bytes {start}-{end - 1}/{length}" for start, end in bounds
        ]
        assert all(head.keys() == {"Content-Type", "Content-Range"} for head, _ in sent)
    assert found.keys() - {"Vary"} == names


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_every_combination_of_conditions_and_ranges(
    client: Client, kind: Kind, method: str
) -> None:
    """What comes of all is as in RFC 9110, 13.2.2: 412, else 304, else a range, else the whole."""
    seen = set()
    for match, none_match, if_range, wanted in requests():
        lines = [*kind.lines, *said("If-Match", match, kind.tag)]
        lines += said("If-None-Match", none_match, kind.tag)
        lines += said("If-Range", if_range, kind.tag) + said("Range", wanted, kind.tag)
        response = client.ask(kind.path, *lines, method=method)
        found = fields(response)
        seen.add(response.status)
        selected = RANGE[wanted] if method == "GET" and IF_RANGE[if_range] else None
        if not IF_MATCH[match]:
            assert response.status == 412, lines
            assert found.keys() == PAGE
            continue
        if not IF_NONE_MATCH[none_match]:
            assert response.status == 304, lines
            assert found.keys() - {"Vary"} == {"ETag", "Cache-Control"}
            assert content(response) == b""
        elif selected is None:
            assert response.status == 200, lines
            check_whole(response, kind, method)
        elif not selected:
            assert response.status == 416, lines
            assert found.keys() == PAGE | {"Content-Range"}
            assert found["Content-Range"] == f"bytes */{len(kind.octets)}"
            continue
        else:
            assert response.status == 206, lines
            check_partial(response, kind, selected, resumed=if_range is not None)
        assert found["ETag"] == kind.tag
        assert ("Vary" in found) == (kind.path not in {"/alone.bin", "/large.bin"})
        if "Content-Encoding" in found:
            assert found["Content-Encoding"] == kind.coding
    assert seen == ({200, 206, 304, 412, 416} if method == "GET" else {200, 304, 412})


MODIFIED_SINCE = {EARLIER: 200, SAME: 304, LATER: 304, "malformed": 200}
UNMODIFIED_SINCE = {EARLIER: 412, SAME: 200, LATER: 200, "malformed": 200}


def test_dates_count_where_there_are_no_tags(client: Client, kind: Kind) -> None:
    own, other = kind.tag, OTHER
    for value, status in MODIFIED_SINCE.items():
        lines = (*kind.lines, f"If-Modified-Since: {value}")
        assert client.ask(kind.path, *lines).status == status
        assert client.ask(kind.path, *lines, f"If-None-Match: {own}").status == 304
        assert client.ask(kind.path, *lines, f"If-None-Match: {other}").status == 200
    for value, status in UNMODIFIED_SINCE.items():
        lines = (*kind.lines, f"If-Unmodified-Since: {value}")
        assert client.ask(kind.path, *lines).status == status
        assert client.ask(kind.path, *lines, f"If-Match: {own}").status == 200
        assert client.ask(kind.path, *lines, f"If-Match: {other}").status == 412
        assert client.ask(kind.path, *lines, "If-Match: *").status == 200
        both = client.ask(kind.path, *lines, f"If-Modified-Since: {SAME}").status
        assert both == (412 if status == 412 else 304)


def test_tag_of_one_coding_does_not_stand_for_another(client: Client) -> None:
    plain = fields(client.ask("/page.html"))["ETag"]
    coded = fields(client.ask("/page.html", "Accept-Encoding: gzip"))["ETag"]
    assert plain != coded
    for accept, own, other in (("identity", plain, coded), ("gzip, identity;q=0", coded, plain)):
        lines = (f"Accept-Encoding: {accept}",)
        assert client.ask("/page.html", *lines, f"If-None-Match: {own}").status == 304
        assert client.ask("/page.html", *lines, f"If-None-Match: {other}").status == 200
        both = f"If-None-Match: {other}, {own}"
        assert fields(client.ask("/page.html", *lines, both))["ETag"] == own
        resumed = (*lines, "Range: bytes=1-", f"If-Range: {other}")
        assert client.ask("/page.html", *resumed).status == 200


def test_client_goes_on_with_the_coding_that_it_has_begun_with(client: Client) -> None:
    """Of two that it accepts, what it has a copy or a part of is worth more."""
    plain = fields(client.ask("/page.html"))["ETag"]
    accepts = "Accept-Encoding: gzip"
    coded = fields(client.ask("/page.html", accepts))["ETag"]
    for named, told in ((plain, plain), (coded, coded), (f"{plain}, {coded}", coded)):
        response = client.ask("/page.html", accepts, f"If-None-Match: {named}")
        assert (response.status, fields(response)["ETag"]) == (304, told)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (None, PLAIN[10:20]),
        ("If-Range: {plain}", PLAIN[10:20]),
        ("If-Match: {plain}", PLAIN[10:20]),
        ("If-Match: *", PLAIN[10:20]),
        ("If-Range: {coded}", GZIP[10:20]),
        ("If-Match: {coded}", GZIP[10:20]),
        ('If-Range: "another"', PLAIN),
        (f"If-Range: {SAME}", PLAIN),  # the same for both, so the client may have a part of either
    ],
)
def test_range_is_of_the_octets_that_clients_can_use(
    client: Client, named: str | None, expected: bytes
) -> None:
    """Clients send Accept-Encoding by default, but cannot decode a slice of a coded form."""
    accepts = "Accept-Encoding: gzip"
    tags = {
        "plain": fields(client.ask("/page.html"))["ETag"],
        "coded": fields(client.ask("/page.html", accepts))["ETag"],
    }
    lines = [] if named is None else [named.format(**tags)]
    response = client.ask("/page.html", accepts, "Range: bytes=10-19", *lines)
    assert content(response) == expected
    assert response.status == (200 if expected is PLAIN else 206)
    assert fields(response)["ETag"] in tags.values()
    assert vary(response) == {"accept-encoding"}


def test_large_file_that_was_just_written_has_ranges(tmp_path: Path) -> None:
    """Its tag needs no look at the content, so a client can resume at once."""
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(1 << 31)
    client = Client(tmp_path)
    tag = fields(client.ask("/large.bin", method="HEAD"))["ETag"]
    for lines in ((), (f"If-Range: {tag}",)):
        response = client.ask("/large.bin", "Range: bytes=0-99", *lines)
        assert (response.status, content(response)) == (206, bytes(100))


def test_several_ranges_are_not_of_a_coded_form(client: Client) -> None:
    response = client.ask("/page.html", "Accept-Encoding: gzip", "Range: bytes=0-9,20-29")
    assert [octets for _, octets in parts(response)] == [PLAIN[:10], PLAIN[20:30]]
    assert "Content-Encoding" not in fields(response)


def test_empty_file_has_no_ranges_to_give(client: Client) -> None:
    for value in ("bytes=0-", "bytes=-1", "bytes=0-0,2-3"):
        response = client.ask("/empty.bin", f"Range: {value}")
        assert (response.status, content(response)) == (200, b"")
    tag = fields(client.ask("/empty.bin"))["ETag"]
    assert client.ask("/empty.bin", f"If-None-Match: {tag}").status == 304


@pytest.mark.parametrize(
    ("stamp", "date"),
    [(-1_500_000_000, None), (0, None), (1_999_999_999, None), (2_500_000_000, imf_fixdate(2))],
)
def test_times_of_reproducible_images_are_no_dates(
    client: Client, stamp: int, date: str | None
) -> None:
    """All versions have them, so a client that has only a date would keep the old one."""
    os.utime(client.root / "alone.bin", ns=(stamp, stamp))
    assert fields(client.ask("/alone.bin")).get("Last-Modified") == date
    since = imf_fixdate(stamp // 1_000_000_000)
    expected = 200 if date is None else 304
    assert client.ask("/alone.bin", f"If-Modified-Since: {since}").status == expected
    assert client.ask("/alone.bin", f"If-Unmodified-Since: {since}").status == 200


def test_boundary_is_not_in_what_is_sent_and_is_the_same_again(client: Client) -> None:
    kinds = {
        fields(client.ask("/alone.bin", "Range: bytes=0-9,20-29"))["Content-Type"] for _ in range(3)
    }
    other = fields(client.ask("/alone.bin", "Range: bytes=0-9,20-28"))["Content-Type"]
    assert len(kinds) == 1
    assert other not in kinds
