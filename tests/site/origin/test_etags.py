"""Entity tags made of content: the same everywhere and always, and how large files get theirs."""

from __future__ import annotations

import errno
import gc
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from portico.http.dates import imf_fixdate
from portico.server.background.jobs import JobThread
from portico.site.origin.etags import AT_ONCE, Digests
from portico.site.origin.folder import SMALL
from portico.site.origin.freshness import Freshness
from portico.site.origin.open_file import FileSlice, open_file
from portico.site.origin.protocol import File
from tests.site.asking import Client, age, content, fields, final, settle_all, tag
from tests.site.compression.copying import ByHand, descriptors, text
from tests.site.on_disk import PATIENCE, settle

LARGE = text(SMALL + 1)
LONG = text(3 << 20)
"""So long that it is hashed in several steps."""


@pytest.fixture
def hand() -> ByHand:
    return ByHand()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    root.mkdir()
    (root / "small.html").write_bytes(b"small")
    (root / "large.bin").write_bytes(LARGE)
    settle_all(root)
    return root


@pytest.fixture
def client(root: Path, hand: ByHand) -> Client:
    return Client(root, submit=hand.submit)


def is_strong(value: str) -> bool:
    return value.startswith('"') and value.endswith('"') and len(value) > 20


# Small files


def test_small_file_has_the_tag_of_its_content_at_once(client: Client, hand: ByHand) -> None:
    assert tag(client, "/small.html") == final(b"small")
    assert is_strong(tag(client, "/small.html"))
    assert hand.taken == 0


def test_small_files_tag_is_right_even_while_it_changes(client: Client) -> None:
    """However young it is: the tag is of the octets that were read."""
    for number in range(50):
        octets = b"%06d" % number
        (client.root / "small.html").write_bytes(octets)
        response = client.ask("/small.html")
        assert content(response) == octets
        assert fields(response)["ETag"] == final(octets)


@pytest.mark.parametrize("name", ["small.html", "large.bin"])
def test_replicas_agree_whatever_their_dates(tmp_path: Path, name: str) -> None:
    tags = []
    for number, stamp in enumerate((0, 315_532_800, 1_000_000_000)):
        root = tmp_path / f"replica {number}"
        root.mkdir()
        (root / name).write_bytes(b"the same" if name == "small.html" else LARGE)
        age(root / name, stamp)
        settle_all(root)
        hand = ByHand()
        client = Client(root, submit=hand.submit)
        tag(client, f"/{name}")
        hand.run()
        tags.append(tag(client, f"/{name}"))
    assert len(set(tags)) == 1


@pytest.mark.parametrize("octets", [b"another", b"Small"])
def test_one_date_and_size_do_not_make_one_tag(client: Client, octets: bytes) -> None:
    small = client.root / "small.html"
    before = tag(client, "/small.html")
    stamp = small.stat().st_mtime_ns
    small.write_bytes(octets)
    os.utime(small, ns=(stamp, stamp))
    assert tag(client, "/small.html") == final(octets) != before


# Large files


def test_large_file_has_a_tag_of_its_state_until_that_of_its_content_is_known(
    client: Client, hand: ByHand
) -> None:
    first = client.ask("/large.bin")
    provisional = fields(first)["ETag"]
    assert is_strong(provisional)
    assert provisional != final(LARGE)
    assert fields(first)["Accept-Ranges"] == "bytes"
    assert client.holds()
    assert client.ask("/large.bin").fields == first.fields
    assert len(hand.jobs) == 1
    hand.run()
    assert not client.holds()
    second = client.ask("/large.bin")
    assert fields(second)["ETag"] == final(LARGE)
    assert content(second) == LARGE
    assert client.holds()
    assert hand.taken == 1


def test_both_tags_stand_for_the_same_octets(client: Client, hand: ByHand) -> None:
    provisional = tag(client, "/large.bin")
    hand.run()
    for known in (provisional, final(LARGE)):
        unchanged = client.ask("/large.bin", f"If-None-Match: {known}")
        assert (unchanged.status, fields(unchanged)["ETag"]) == (304, known)
        assert client.ask("/large.bin", f"If-None-Match: W/{known}").status == 304
        assert client.ask("/large.bin", f"If-Match: {known}").status == 200
        assert client.ask("/large.bin", f"If-Match: W/{known}").status == 412
        part = client.ask("/large.bin", "Range: bytes=9-19", f"If-Range: {known}")
        assert (part.status, content(part)) == (206, LARGE[9:20])
        assert fields(part)["ETag"] == known
    assert tag(client, "/large.bin") == final(LARGE)


def test_tags_are_the_same_after_a_restart(root: Path) -> None:
    seen = []
    for _ in range(2):
        hand = ByHand()
        client = Client(root, submit=hand.submit)
        provisional = tag(client, "/large.bin")
        hand.run()
        seen.append((provisional, tag(client, "/large.bin")))
    assert seen[0] == seen[1]
    assert seen[0][1] == final(LARGE)


def test_a_client_is_answered_under_the_tag_that_it_names(client: Client, hand: ByHand) -> None:
    """Strict caches freshen a copy, and strict clients join parts, only under one tag."""
    provisional = tag(client, "/large.bin")
    hand.run()
    for lines, status, told in (
        ((f"If-None-Match: {provisional}",), 304, provisional),
        ((f'If-None-Match: "x", W/{provisional}',), 304, provisional),
        ((f"If-None-Match: {provisional}, {final(LARGE)}",), 304, final(LARGE)),
        ((f"If-Range: {provisional}", "Range: bytes=0-9"), 206, provisional),
        ((f"If-Match: {provisional}", "Range: bytes=0-9"), 206, provisional),
        (("If-None-Match: *",), 304, final(LARGE)),
        (('If-Range: "x"', "Range: bytes=0-9"), 200, final(LARGE)),
    ):
        response = client.ask("/large.bin", *lines)
        assert (response.status, fields(response)["ETag"]) == (status, told)


def test_in_a_real_pool_it_is_a_matter_of_moments(root: Path) -> None:
    pool = JobThread()
    try:
        client = Client(root, submit=pool.submit)
        end = time.monotonic() + PATIENCE
        while tag(client, "/large.bin") != final(LARGE):
            assert time.monotonic() < end
            time.sleep(0.002)
    finally:
        pool.close()


def test_where_nobody_hashes_the_provisional_tag_stays(root: Path) -> None:
    client = Client(root)
    provisional = tag(client, "/large.bin")
    assert provisional != final(LARGE)
    assert client.holds()
    assert client.ask("/large.bin", "Range: bytes=1-2", f"If-Range: {provisional}").status == 206


def test_unsettled_large_file_has_no_tag_and_no_ranges(
    client: Client, hand: ByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next change might leave no trace; then two parts would not belong together."""
    written = (client.root / "large.bin").stat().st_ctime_ns
    monkeypatch.setattr(time, "time_ns", lambda: written + 1_000_000)
    whole = client.ask("/large.bin")
    assert not {"ETag", "Accept-Ranges", "Last-Modified"} & fields(whole).keys()
    assert content(whole) == LARGE
    assert not client.holds()
    stated = imf_fixdate((client.root / "large.bin").stat().st_mtime)
    for lines in (
        ("Range: bytes=0-9",),
        ("Range: bytes=0-9", f"If-Range: {stated}"),
        ("Range: bytes=0-9", f"If-Range: {final(LARGE)}"),
        ("Range: bytes=999999-",),
        (f"If-None-Match: {final(LARGE)}",),
        (f"If-Modified-Since: {stated}",),
        ("If-Unmodified-Since: Sun, 09 Sep 2001 01:46:40 GMT",),
    ):
        response = client.ask("/large.bin", *lines)
        assert (response.status, content(response)) == (200, LARGE)
    assert client.ask("/large.bin", "If-None-Match: *").status == 304
    assert client.ask("/large.bin", "If-Match: *").status == 200
    assert client.ask("/large.bin", f"If-Match: {final(LARGE)}").status == 412
    assert hand.taken == 0
    monkeypatch.undo()
    assert "ETag" in fields(client.ask("/large.bin"))


# Hashing while files change, when there is too much of it, and when a disk fails


def rewrite(path: Path) -> None:
    with path.open("r+b") as opened:
        opened.write(b"new")


def replace(path: Path) -> None:
    path.with_name(".new").write_bytes(LONG[::-1])
    path.with_name(".new").replace(path)


@pytest.mark.parametrize(
    "change", [rewrite, replace, lambda path: os.truncate(path, SMALL + 5), Path.unlink]
)
def test_file_that_changes_while_it_is_hashed(
    client: Client, hand: ByHand, change: Callable[[Path], None]
) -> None:
    path = client.root / "long.bin"
    path.write_bytes(LONG)
    settle(path)
    provisional = tag(client, "/long.bin")
    next(hand.jobs[0])
    change(path)
    hand.run()
    assert not client.holds()
    if not path.exists():
        assert client.ask("/long.bin").status == 404
        return
    settle(path)
    octets = path.read_bytes()
    assert tag(client, "/long.bin") not in {provisional, final(LONG), final(octets)}
    hand.run()
    response = client.ask("/long.bin", f"If-None-Match: {provisional}, {final(LONG)}")
    assert (response.status, content(response)) == (200, octets)
    assert fields(response)["ETag"] == final(octets)


def test_file_that_was_cut_while_it_is_hashed_leaves_no_digest(
    client: Client, hand: ByHand
) -> None:
    """Also where its date was set back, so that only the end that comes too soon tells."""
    path = client.root / "long.bin"
    path.write_bytes(LONG)
    settle(path)
    tag(client, "/long.bin")
    stamp = path.stat().st_mtime_ns
    next(hand.jobs[0])
    os.truncate(path, 10)
    os.utime(path, ns=(stamp, stamp))
    hand.run()
    assert tag(client, "/long.bin") == final(LONG[:10])


def test_touched_file_is_hashed_again_and_its_old_alias_is_gone(
    client: Client, hand: ByHand
) -> None:
    path = client.root / "large.bin"
    provisional = tag(client, "/large.bin")
    hand.run()
    age(path)
    settle(path)
    assert tag(client, "/large.bin") not in {provisional, final(LARGE)}
    hand.run()
    assert client.ask("/large.bin", f"If-None-Match: {provisional}").status == 200
    assert client.ask("/large.bin", f"If-None-Match: {final(LARGE)}").status == 304


def test_one_file_is_hashed_once_whoever_asks(client: Client, hand: ByHand) -> None:
    os.link(client.root / "large.bin", client.root / "second.bin")
    (client.root / "third.bin").symlink_to("large.bin")
    settle_all(client.root)
    paths = ("/large.bin", "/second.bin", "/third.bin")
    for path in paths * 2:
        client.ask(path)
    assert hand.taken == 1
    hand.run()
    assert {tag(client, path) for path in paths} == {final(LARGE)}
    assert hand.taken == 1


def test_when_too_much_is_to_be_hashed_it_is_tried_again_at_the_next_request(root: Path) -> None:
    hand = ByHand(room=0)
    client = Client(root, submit=hand.submit)
    provisional = tag(client, "/large.bin")
    assert tag(client, "/large.bin") == provisional
    assert client.ask("/large.bin", "Range: bytes=1-2").status == 206
    hand.room = 1
    assert tag(client, "/large.bin") == provisional
    assert hand.run() > 0
    assert tag(client, "/large.bin") == final(LARGE)


def test_file_that_cannot_be_read_any_more_has_no_digest(
    client: Client, hand: ByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing disk is no bug of the program that reads it."""
    provisional = tag(client, "/large.bin")
    real = os.pread

    def fail(*_arguments: int) -> bytes:
        raise OSError(errno.EIO, "the disk fails")

    monkeypatch.setattr(os, "pread", fail)
    hand.run()
    monkeypatch.setattr(os, "pread", real)
    assert not client.holds()
    assert tag(client, "/large.bin") == provisional
    hand.run()
    assert tag(client, "/large.bin") == final(LARGE)


def test_without_a_descriptor_to_load_the_module_it_is_hashed_later(
    client: Client, hand: ByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    provisional = tag(client, "/large.bin")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "hashlib", None)
        hand.run()
    assert tag(client, "/large.bin") == provisional
    hand.run()
    assert tag(client, "/large.bin") == final(LARGE)


def test_job_that_is_given_up_leaves_the_file_to_the_next(client: Client, hand: ByHand) -> None:
    (client.root / "long.bin").write_bytes(LONG)
    settle_all(client.root)
    tag(client, "/long.bin")
    job = hand.jobs.pop()
    next(job)
    close = getattr(job, "close", None)
    assert close is not None
    close()
    assert not client.holds()
    tag(client, "/long.bin")
    hand.run()
    assert tag(client, "/long.bin") == final(LONG)


def test_no_descriptor_stays_open_for_what_was_hashed(root: Path) -> None:
    before = descriptors()
    hand = ByHand()
    client = Client(root, submit=hand.submit)
    client.ask("/large.bin")
    hand.run()
    for _ in range(3):
        client.folder.expire()
    client.ask("/small.html")
    gc.collect()
    assert descriptors() == before


def test_digests_that_are_remembered_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portico.site.origin.etags.KNOWN", 8)
    hand = ByHand()
    digests = Digests(hand.submit)
    monkeypatch.setattr("portico.site.origin.folder.Digests", lambda _submit: digests)
    for number in range(30):
        (tmp_path / f"{number}.bin").write_bytes(LARGE)
    settle_all(tmp_path)
    client = Client(tmp_path, submit=hand.submit)
    for _ in range(3):
        for number in range(30):
            tag(client, f"/{number}.bin")
        hand.run()
    assert hand.taken >= 30
    assert len(digests._known) <= 8
    assert len(digests._pending) == 0


def test_files_that_wait_to_be_hashed_are_bounded_and_none_is_forgotten(tmp_path: Path) -> None:
    paths = [f"/{number}.bin" for number in range(AT_ONCE + 4)]
    for path in paths:
        (tmp_path / path[1:]).write_bytes(LARGE)
    settle_all(tmp_path)
    hand = ByHand()
    client = Client(tmp_path, submit=hand.submit)
    for path in paths:
        assert tag(client, path) != final(LARGE)
        assert client.holds()
    assert len(hand.jobs) == AT_ONCE
    for _ in hand.jobs.pop(0):
        pass
    assert not client.holds()  # there is room for the last one now
    assert tag(client, paths[-1]) != final(LARGE)
    assert len(hand.jobs) == AT_ONCE
    for _ in range(2):
        hand.run()
        tags = {tag(client, path) for path in paths}
    assert tags == {final(LARGE)}


@pytest.mark.parametrize("change", [rewrite, lambda path: os.truncate(path, SMALL + 5)])
def test_digest_of_a_mixture_is_not_remembered(
    tmp_path: Path, hand: ByHand, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "long.bin"
    path.write_bytes(LONG)
    settle(path)
    opened, status = open_file(str(path), os.O_RDONLY, Freshness())
    digests = Digests(hand.submit)

    def identified() -> File:
        content = FileSlice(opened, 0, status.st_size)
        file = File(path.name, status.st_size, status.st_mtime, content, ())
        digests.identify(file, opened, status)
        return file

    identified()
    next(hand.jobs[0])
    change(path)
    hand.run()
    assert identified().digest is None
