"""Repr-Digest and Content-Digest in the answers (RFC 9530)."""

from __future__ import annotations

import base64
from hashlib import sha256
from pathlib import Path

import pytest

from tests.site.asking import Client, content, fields, parts
from tests.site.kinds import BIG, KINDS, Kind, make_client


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return make_client(tmp_path / "site")


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def digest_of(octets: bytes) -> str:
    return f"sha-256=:{base64.b64encode(sha256(octets).digest()).decode()}:"


WANTED = ("Want-Repr-Digest: sha-256=1", "Want-Content-Digest: sha-256=1")


def test_digests_are_of_what_was_chosen_and_of_what_is_sent(client: Client, kind: Kind) -> None:
    lines = (*kind.lines, *WANTED)
    whole = fields(client.ask(kind.path, *lines))
    assert whole["Repr-Digest"] == whole["Content-Digest"] == digest_of(kind.octets)
    assert client.ask(kind.path, *lines, method="HEAD").fields == list(whole.items())
    assert not {"Repr-Digest", "Content-Digest"} & fields(client.ask(kind.path)).keys()
    part = fields(client.ask(kind.path, *lines, "Range: bytes=3-20"))
    assert part["Repr-Digest"] == digest_of(kind.octets)
    assert part["Content-Digest"] == digest_of(kind.octets[3:21])
    several = client.ask(kind.path, *lines, "Range: bytes=3-20,30-40")
    assert fields(several)["Repr-Digest"] == digest_of(kind.octets)
    assert fields(several)["Content-Digest"] == digest_of(content(several))
    assert len(parts(several)) == 2


def test_digest_of_a_large_part_is_not_worth_reading_it(client: Client) -> None:
    part = client.ask("/large.bin", *WANTED, "Range: bytes=1-")
    assert part.status == 206
    assert "Content-Digest" not in fields(part)
    assert fields(part)["Repr-Digest"] == digest_of(BIG)


def test_no_digest_where_nothing_is_sent_or_a_page_in_its_place(client: Client) -> None:
    tag = fields(client.ask("/alone.bin"))["ETag"]
    for lines in (
        (f"If-None-Match: {tag}",),
        ('If-Match: "other"',),
        ("Range: bytes=999999-",),
    ):
        response = client.ask("/alone.bin", *WANTED, *lines)
        assert response.status in {304, 412, 416}
        assert not {"Repr-Digest", "Content-Digest"} & fields(response).keys()
    assert "Repr-Digest" not in fields(client.ask("/none", *WANTED))
