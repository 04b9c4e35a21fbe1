"""Compressed copies in the answers: after identity, with tags and ranges of their own."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from portico.site.compression.cache import CompressionCache
from portico.site.origin.etags import tag_of
from tests.site.asking import Client, age, content, fields, settle_all, vary
from tests.site.compression.copying import DECODE, MEMORY, ByHand, text

COPIED = text(20_000, seed=3)


@pytest.fixture
def hand() -> ByHand:
    return ByHand()


@pytest.fixture
def copying(tmp_path: Path, hand: ByHand) -> Client:
    """A site whose text is compressed when `hand` does its jobs."""
    root = tmp_path / "copied"
    root.mkdir()
    (root / "page.html").write_bytes(COPIED)
    (root / "photo.jpeg").write_bytes(COPIED)
    (root / "tiny.html").write_bytes(b"tiny")
    for path in root.iterdir():
        age(path)
    settle_all(root)
    return Client(root, copies=CompressionCache(MEMORY, hand.submit))


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_copy_follows_identity_with_a_tag_and_ranges_of_its_own(
    copying: Client, hand: ByHand, coding: str
) -> None:
    lines = (f"Accept-Encoding: {coding}",)
    first = copying.ask("/page.html", *lines)
    assert content(first) == COPIED
    assert "Content-Encoding" not in fields(first)
    assert vary(first) == {"accept-encoding"}
    assert copying.holds()
    hand.run()
    assert not copying.holds()
    second = copying.ask("/page.html", *lines)
    octets = content(second)
    assert DECODE[coding](octets) == COPIED
    found = fields(second)
    assert found["Content-Encoding"] == coding
    assert found["Content-Length"] == str(len(octets)) != str(len(COPIED))
    own, copied = fields(first)["ETag"], found["ETag"]
    assert copied.startswith(own[:-1])  # so a condition on a change can name either
    assert copied not in {own, tag_of(sha256(octets).digest())}
    assert found["Last-Modified"] == "Sun, 09 Sep 2001 01:46:40 GMT"
    assert vary(second) == {"accept-encoding"}
    assert copying.holds()
    assert copying.ask("/page.html", *lines, f"If-None-Match: {found['ETag']}").status == 304
    known = copying.ask("/page.html", *lines, f"If-None-Match: {fields(first)['ETag']}")
    assert (known.status, fields(known)["ETag"]) == (304, fields(first)["ETag"])
    resumed = copying.ask(
        "/page.html", *lines, f"If-Range: {fields(first)['ETag']}", "Range: bytes=9-"
    )
    assert (resumed.status, content(resumed)) == (206, COPIED[9:])
    part = copying.ask("/page.html", *lines, "Range: bytes=5-104", f"If-Range: {found['ETag']}")
    assert (part.status, content(part)) == (206, octets[5:105])
    assert fields(part)["Content-Range"] == f"bytes 5-104/{len(octets)}"


def test_identity_stays_what_it_was_for_those_who_want_no_coding(
    copying: Client, hand: ByHand
) -> None:
    before = copying.ask("/page.html")
    copying.ask("/page.html", "Accept-Encoding: br")
    hand.run()
    after = copying.ask("/page.html")
    assert after.fields == before.fields
    assert vary(after) == {"accept-encoding"}
    assert content(after) == COPIED
    tag = fields(after)["ETag"]
    assert copying.ask("/page.html", "Range: bytes=9-", f"If-Range: {tag}").status == 206


def test_a_client_that_takes_several_codings_gets_one_job(copying: Client, hand: ByHand) -> None:
    copying.ask("/page.html", "Accept-Encoding: gzip, br, zstd")
    copying.ask("/page.html", "Accept-Encoding: gzip, br, zstd")
    assert hand.taken == 1


def test_what_does_not_shrink_or_is_small_has_no_copy_and_no_vary(
    copying: Client, hand: ByHand
) -> None:
    for path in ("/photo.jpeg", "/tiny.html"):
        response = copying.ask(path, "Accept-Encoding: gzip, br")
        assert "Vary" not in fields(response)
        assert "Content-Encoding" not in fields(response)
    assert hand.taken == 0


def test_copy_of_an_old_content_is_not_sent_for_the_new(copying: Client, hand: ByHand) -> None:
    copying.ask("/page.html", "Accept-Encoding: gzip")
    new = text(20_000, seed=4)
    (copying.root / "page.html").write_bytes(new)
    hand.run()
    first = copying.ask("/page.html", "Accept-Encoding: gzip")
    assert content(first) == new
    hand.run()
    second = copying.ask("/page.html", "Accept-Encoding: gzip")
    assert DECODE["gzip"](content(second)) == new


def test_where_identity_is_refused_a_copy_to_come_is_promised(
    copying: Client, hand: ByHand
) -> None:
    lines = ("Accept-Encoding: gzip, identity;q=0",)
    promise = copying.ask("/page.html", *lines)
    assert (promise.status, fields(promise)["Retry-After"]) == (503, "1")
    assert vary(promise) == {"accept-encoding", "accept"}
    assert not copying.holds()
    hand.run()
    assert fields(copying.ask("/page.html", *lines))["Content-Encoding"] == "gzip"
