"""Compressed copies in a cache folder: found again, noticed when gone, kept from others."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from portico.server.background.jobs import JobThread
from portico.site.compression.cache import COPY_UP_TO, COPY_UP_TO_ON_DISK, CompressionCache
from portico.site.origin.freshness import Dependency
from portico.site.origin.open_file import FileSlice
from portico.site.origin.protocol import File, tag_of
from tests.site.compression.copying import (
    CODINGS,
    DECODE,
    MEMORY,
    SUFFIXES,
    ByHand,
    copy_of,
    descriptors,
    eventually,
    in_memory,
    made,
    names,
    noise,
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


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def refuse(_steps: Iterator[None]) -> bool:
    return False


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_copy_in_a_folder_survives_a_restart(cache: Path, coding: str, size: int) -> None:
    file = in_memory(text(size))
    first = made(cache, file, coding)
    assert file.digest is not None
    assert names(cache) == [file.digest.hex() + SUFFIXES[coding]]
    settle(cache / names(cache)[0])
    again = copy_of(CompressionCache(MEMORY, refuse, str(cache)).get(file, coding))
    assert content_of(again) == content_of(first)
    assert DECODE[coding](content_of(again)) == text(size)
    assert (again.name, again.modified) == (file.name, file.modified)
    assert again.etag is not None


def test_copy_in_a_folder_is_the_one_that_memory_would_hold(cache: Path, hand: ByHand) -> None:
    for coding in CODINGS:
        file = in_memory(text(2000))
        stored = made(cache, file, coding)
        copies = CompressionCache(MEMORY, hand.submit)
        copies.get(file, coding)
        hand.run()
        kept = copy_of(copies.get(file, coding))
        assert (stored.digest, stored.etag) == (kept.digest, kept.etag)
        assert content_of(stored) == content_of(kept)


def test_large_copy_in_a_folder_is_sent_from_its_file_and_tagged_by_its_content(
    cache: Path, pool: JobThread
) -> None:
    file = in_memory(noise(200_000).hex().encode())
    copies = CompressionCache(MEMORY, pool.submit, str(cache))

    def get() -> File | Dependency | None:
        copies.freshness.begin_request()
        found = copies.get(file, "gzip")
        if isinstance(found, File) and found.digest is None:
            assert found.etag is not None
            assert found.dependencies
            return found.dependencies[-1]
        return found

    copy = eventually(get)
    assert isinstance(copy.content, FileSlice)
    digest = sha256(content_of(copy)).digest()
    assert (copy.digest, copy.etag) == (digest, tag_of(digest))
    assert len(copy.aliases) == 1


def test_folder_may_hold_copies_of_larger_files_than_memory(cache: Path) -> None:
    content = text(COPY_UP_TO + 1)
    copy = made(cache, in_memory(content), "gzip")
    assert DECODE["gzip"](content_of(copy)) == content
    file = in_memory(text(1000))
    file.size = COPY_UP_TO_ON_DISK + 1
    assert CompressionCache(MEMORY, refuse, str(cache)).get(file, "gzip") is None


def test_folder_alone_is_enough(cache: Path) -> None:
    copy = made(cache, in_memory(text(1000)), "gzip", memory=0)
    assert DECODE["gzip"](content_of(copy)) == text(1000)


def test_folder_and_copies_are_for_their_owner_alone(cache: Path) -> None:
    file = in_memory(text(1000))
    made(cache, file, "gzip")
    assert cache.stat().st_mode & 0o777 == 0o700
    (path,) = cache.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600


def test_copy_that_another_process_has_made_meanwhile_is_taken(cache: Path) -> None:
    file = in_memory(text(1000))
    hand = ByHand()
    copies = CompressionCache(MEMORY, hand.submit, str(cache))
    pending(copies.get(file, "gzip"))
    made(cache, file, "gzip")
    (path,) = cache.iterdir()
    before = path.stat()
    hand.run()
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_ino == before.st_ino
    copy_of(copies.get(file, "gzip"))


def test_copy_stays_good_while_others_are_written_beside_it(cache: Path) -> None:
    hand = ByHand()
    copies = CompressionCache(MEMORY, hand.submit, str(cache))
    pending(copies.get(in_memory(text(1000)), "gzip"))
    hand.run()
    settle(cache / names(cache)[0])
    copy = copy_of(copies.get(in_memory(text(1000)), "gzip"))
    made(cache, in_memory(text(1000, 1)), "gzip")
    assert copy.dependencies
    copies.freshness.begin_request()
    assert copies.freshness.holds(copy.dependencies)


def test_copy_that_was_deleted_or_replaced_is_noticed_and_made_again(cache: Path) -> None:
    file = in_memory(text(1000))
    hand = ByHand()
    copies = CompressionCache(MEMORY, hand.submit, str(cache))
    for _ in range(10):
        copies.freshness.begin_request()
        pending(copies.get(file, "gzip"))
        hand.run()
        copies.freshness.begin_request()
        copy = copy_of(copies.get(file, "gzip"))
        assert DECODE["gzip"](content_of(copy)) == text(1000)
        (cache / names(cache)[0]).unlink()
        assert copy.dependencies
        copies.freshness.begin_request()
        assert not copies.freshness.holds(copy.dependencies)


def test_descriptors_of_copies_out_of_use_are_let_go(cache: Path) -> None:
    before = descriptors()
    hand = ByHand()
    copies = CompressionCache(MEMORY, hand.submit, str(cache))
    file = in_memory(noise(200_000).hex().encode())
    copies.get(file, "gzip")
    hand.run()
    settle(cache / names(cache)[0])
    copy = copy_of(copies.get(file, "gzip"))
    assert isinstance(copy.content, FileSlice)
    del copy
    hand.run()
    assert descriptors() == before + 1
    copies.expire()
    copies.expire()
    assert descriptors() == before
