"""Compressed copies: made once, kept, and never of anything but the octets they stand for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.config.config import Config
from portico.server.background.jobs import JobThread
from portico.site.compression import cache as cache_module
from portico.site.compression.cache import ORIGINAL_LIMIT, CompressionCache
from portico.site.origin.etags import tag_of_copy
from portico.site.origin.folder import SMALL, Folder
from portico.site.origin.freshness import Dependency
from portico.site.origin.protocol import File
from tests.server.clients import descriptors
from tests.site.compression.copying import (
    CODINGS,
    DECODE,
    MEMORY,
    ByHand,
    copy_of,
    eventually,
    in_memory,
    noise,
    on_disk,
    pending,
    text,
)
from tests.site.on_disk import content_of, settle


@pytest.fixture
def hand() -> ByHand:
    return ByHand()


@pytest.fixture
def pool() -> Iterator[JobThread]:
    pool = JobThread()
    yield pool
    pool.close()


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("size", [256, 1000, SMALL, SMALL + 1, 1_000_000])
def test_copy_of_a_served_file_is_its_content_coded(
    tmp_path: Path, pool: JobThread, coding: str, size: int
) -> None:
    (tmp_path / "site").mkdir()
    path = tmp_path / "site" / "app.js"
    path.write_bytes(text(size))
    settle(path)
    folder = Folder(Config.of(root=str(tmp_path / "site")), MEMORY)
    copies = CompressionCache(MEMORY, pool.submit)

    def get() -> File | Dependency | None:
        folder.freshness.begin_round()
        found = folder.look_up(("app.js",))
        assert isinstance(found, File)
        return copies.get(found, coding)

    copy = eventually(get)
    octets = content_of(copy)
    assert DECODE[coding](octets) == text(size)
    assert copy.name == "app.js"
    assert copy.size == len(octets) < size
    assert copy.modified == path.stat().st_mtime
    assert copy.digest == sha256(octets).digest()
    assert copy.etag == tag_of_copy(sha256(text(size)).digest(), copy.digest)
    assert copy.dependencies == ()


def test_all_codings_are_offered_in_the_order_of_preference(hand: ByHand) -> None:
    assert CompressionCache(MEMORY, hand.submit).codings == CODINGS


def test_those_who_ask_meanwhile_share_one_job(hand: ByHand) -> None:
    copies = CompressionCache(MEMORY, hand.submit)
    dependency = pending(copies.get(in_memory(text(1000)), "gzip"))
    assert copies.get(in_memory(text(1000)), "gzip") is dependency
    assert copies.get(in_memory(text(1000), "other.html", 2e9), "gzip") is dependency
    assert dependency.holds()
    assert len(hand.jobs) == 1
    hand.run()
    assert not dependency.holds()
    assert not dependency.holds()
    copy_of(copies.get(in_memory(text(1000)), "gzip"))


def test_codings_are_jobs_of_their_own(hand: ByHand) -> None:
    copies = CompressionCache(MEMORY, hand.submit)
    dependencies = [pending(copies.get(in_memory(text(1000)), coding)) for coding in CODINGS]
    assert len(hand.jobs) == 3
    hand.run()
    assert not any(dependency.holds() for dependency in dependencies)
    tags = {copy_of(copies.get(in_memory(text(1000)), each)).etag for each in CODINGS}
    assert len(tags) == 3


def test_same_content_is_not_compressed_again_under_another_name_or_date(hand: ByHand) -> None:
    copies = CompressionCache(MEMORY, hand.submit)
    copies.get(in_memory(text(1000), "a.html", 1e9), "gzip")
    hand.run()
    copy = copy_of(copies.get(in_memory(text(1000), "b.css", 2e9), "gzip"))
    assert (copy.name, copy.modified) == ("b.css", 2e9)
    assert hand.taken == 1


def test_two_servers_make_the_same_copies() -> None:
    for coding in CODINGS:
        tags = set()
        for _ in range(2):
            hand = ByHand()
            copies = CompressionCache(MEMORY, hand.submit)
            copies.get(in_memory(text(600_000)), coding)
            hand.run()
            tags.add(copy_of(copies.get(in_memory(text(600_000)), coding)).etag)
        assert len(tags) == 1


def test_when_too_much_is_to_be_done_the_dependency_never_holds_and_it_is_asked_again() -> None:
    hand = ByHand(room=1)
    copies = CompressionCache(MEMORY, hand.submit)
    pending(copies.get(in_memory(text(1000, 1)), "gzip"))
    refused = pending(copies.get(in_memory(text(1000, 2)), "gzip"))
    assert not refused.holds()
    assert not refused.holds()
    hand.run()
    accepted = pending(copies.get(in_memory(text(1000, 2)), "gzip"))
    assert accepted.holds()
    hand.run()
    copy_of(copies.get(in_memory(text(1000, 2)), "gzip"))


@pytest.mark.parametrize(
    ("content", "name", "coding"),
    [
        (text(255), "page.html", "gzip"),
        (b"", "page.html", "gzip"),
        (text(1000), "photo.jpeg", "gzip"),
        (text(1000), "unknown", "gzip"),
        (text(ORIGINAL_LIMIT + 1), "page.html", "gzip"),
        (text(1000), "page.html", "compress"),
    ],
)
def test_where_nothing_is_gained_there_is_no_job(
    hand: ByHand, content: bytes, name: str, coding: str
) -> None:
    assert CompressionCache(MEMORY, hand.submit).get(in_memory(content, name), coding) is None
    assert hand.jobs == []


def test_content_that_is_not_hashed_has_no_copy(hand: ByHand) -> None:
    file = in_memory(text(1000))
    file.digest = None
    assert CompressionCache(MEMORY, hand.submit).get(file, "gzip") is None
    assert hand.jobs == []


def test_without_memory_there_are_no_copies(hand: ByHand) -> None:
    copies = CompressionCache(0, hand.submit)
    assert copies.codings == ()
    assert copies.get(in_memory(text(1000)), "gzip") is None
    assert hand.jobs == []


@pytest.mark.parametrize("coding", CODINGS)
def test_what_does_not_shrink_is_tried_once(hand: ByHand, coding: str) -> None:
    copies = CompressionCache(MEMORY, hand.submit)
    dependency = pending(copies.get(in_memory(noise(5000)), coding))
    hand.run()
    assert not dependency.holds()
    assert copies.get(in_memory(noise(5000)), coding) is None
    assert hand.taken == 1


def test_what_does_not_fit_is_not_tried_for_ever(hand: ByHand) -> None:
    copies = CompressionCache(4096, hand.submit)
    for _ in range(10):
        found = copies.get(in_memory(noise(8000).hex().encode()), "gzip")
        hand.run()
    assert found is None
    assert 0 < hand.taken <= 3


def rewrite(path: Path) -> None:
    with path.open("r+b") as opened:
        opened.seek(100)
        opened.write(b"!")


CHANGES: dict[str, Callable[[Path], object]] = {
    "rewritten": rewrite,
    "cut": lambda path: os.truncate(path, 1000),
    "emptied": lambda path: os.truncate(path, 0),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("coding", CODINGS)
def test_an_original_that_changed_in_place_leaves_no_copy(
    tmp_path: Path, hand: ByHand, change: Callable[[Path], object], coding: str
) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(text(600_000))
    copies = CompressionCache(MEMORY, hand.submit)
    file = on_disk(path)
    dependency = pending(copies.get(file, coding))
    change(path)
    hand.run()
    assert not dependency.holds()
    for _ in range(10):
        assert not isinstance(copies.get(file, coding), File)
        hand.run()
    assert copies.get(file, coding) is None
    path.write_bytes(text(600_000, 1))
    copies.get(on_disk(path), coding)
    hand.run()
    copy = copy_of(copies.get(on_disk(path), coding))
    assert DECODE[coding](content_of(copy)) == text(600_000, 1)


def test_original_that_changes_between_two_steps_leaves_no_copy(
    tmp_path: Path, hand: ByHand
) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(text(600_000))
    copies = CompressionCache(MEMORY, hand.submit)
    file = on_disk(path)
    copies.get(file, "gzip")
    job = hand.jobs.pop()
    next(job)
    with path.open("r+b") as opened:
        opened.seek(599_999)
        opened.write(b"!")
    assert list(job) != []
    assert not isinstance(copies.get(file, "gzip"), File)


def test_bounded_memory_under_a_flood_of_distinct_files(hand: ByHand) -> None:
    limit = 100_000
    copies = CompressionCache(limit, hand.submit)
    for number in range(1000):
        copies.get(in_memory(text(4000, number)), "gzip")
        hand.run()
        kept = (*copies._copies.young.values(), *copies._copies._old.values())
        assert sum(len(content) + 512 for content, _ in kept) <= limit
    assert len(copies._copies) > 5
    assert copies._pending == {}
    copy_of(copies.get(in_memory(text(4000, 999)), "gzip"))


def test_bounded_notes_under_a_flood_of_what_does_not_shrink(
    hand: ByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "_FAILURES", 100)
    copies = CompressionCache(MEMORY, hand.submit)
    for number in range(1000):
        copies.get(in_memory(noise(300) + b"%d" % number), "gzip")
        hand.run()
    assert 0 < len(copies._failures) <= 100
    assert len(copies._copies) == 0


def test_bounded_number_of_originals_held_open(tmp_path: Path, hand: ByHand) -> None:
    copies = CompressionCache(MEMORY, hand.submit)
    before = descriptors()
    for number in range(40):
        path = tmp_path / f"{number}.txt"
        path.write_bytes(text(SMALL + 1, number))
        dependency = pending(copies.get(on_disk(path), "gzip"))
        assert dependency.holds() == (number < 16)
    assert len(hand.jobs) == 16
    assert descriptors() <= before + 16
    hand.run()
    assert descriptors() <= before
    assert pending(copies.get(on_disk(tmp_path / "39.txt"), "gzip")).holds()


def test_job_that_is_closed_leaves_nothing_behind(tmp_path: Path, hand: ByHand) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(text(2_000_000))
    before = descriptors()
    copies = CompressionCache(MEMORY, hand.submit)
    dependency = pending(copies.get(on_disk(path), "gzip"))
    job = hand.jobs.pop()
    next(job)
    close = getattr(job, "close")  # noqa: B009 (an iterator has none by its type)
    close()
    assert not dependency.holds()
    assert copies._pending == {}
    del job, close, copies
    assert descriptors() <= before


def test_many_files_in_a_running_pool(pool: JobThread) -> None:
    copies = CompressionCache(MEMORY, pool.submit)

    def get(number: int, coding: str) -> Callable[[], File | Dependency | None]:
        return lambda: copies.get(in_memory(text(3000, number)), coding)

    gets = {(number, coding): get(number, coding) for number in range(60) for coding in CODINGS}
    for one in gets.values():
        one()
    for (number, coding), one in gets.items():
        assert DECODE[coding](content_of(eventually(one))) == text(3000, number)


@given(
    unit=st.binary(min_size=1, max_size=400), times=st.integers(1, 400), tail=st.binary(max_size=9)
)
@settings(deadline=None, max_examples=60)
def test_any_content_is_what_its_copy_decodes_to(unit: bytes, times: int, tail: bytes) -> None:
    hand = ByHand()
    copies = CompressionCache(MEMORY, hand.submit)
    content = unit * times + tail
    for coding in CODINGS:
        first = copies.get(in_memory(content), coding)
        hand.run()
        second = copies.get(in_memory(content), coding)
        if isinstance(second, File):
            assert not isinstance(first, File)
            assert DECODE[coding](content_of(second)) == content
            assert second.size <= 0.95 * len(content)
        else:
            assert second is None


def test_work_is_done_in_steps(hand: ByHand) -> None:
    copies = CompressionCache(MEMORY, hand.submit)
    copies.get(in_memory(text(4 << 20)), "gzip")
    assert hand.run() >= 16


WITHOUT_DESCRIPTORS = """
import resource, sys
from hashlib import sha256
digest = sha256(b"x" * 2000).digest()
del sys.modules["hashlib"]
from portico.http.content import Octets
from portico.site.compression.cache import CompressionCache
from portico.site.origin.protocol import File

jobs = []
copies = CompressionCache(1 << 20, lambda job: jobs.append(job) or True)
copies.codings
file = File("page.html", 2000, 0.0, Octets(b"x" * 2000), ())
file.digest = digest
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
for limit in (3, soft):
    copies.get(file, "gzip")
    assert "hashlib" not in sys.modules
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    while jobs:
        for _ in jobs.pop(): pass
print(type(copies.get(file, "gzip")).__name__)
"""


def test_without_a_descriptor_to_be_had_it_is_tried_again() -> None:
    """Not even a module can be imported then."""
    command = [sys.executable, "-c", WITHOUT_DESCRIPTORS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("File\n", "")
