"""A cache folder that cannot be used: read-only, full, occupied, littered. No client notices."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from portico.site.compression.cache import COPY_UP_TO, CompressionCache
from tests.site.compression.copying import (
    DECODE,
    MEMORY,
    ByHand,
    copy_of,
    in_memory,
    made,
    names,
    noise,
    pending,
    text,
)
from tests.site.on_disk import Interruption, content_of
from tests.unprivileged import public_folder, unprivileged


@pytest.fixture
def hand() -> ByHand:
    return ByHand()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_read_only_folder_leaves_copies_to_memory_and_is_reported_once() -> None:
    reports: list[str] = []
    with public_folder() as public:
        folder = public / "cache"
        folder.mkdir(mode=0o555)
        hand = ByHand()
        copies = CompressionCache(MEMORY, hand.submit, str(folder), reports.append)
        with unprivileged():
            for seed in range(3):
                pending(copies.get(in_memory(text(1000, seed)), "gzip"))
                hand.run()
                copy = copy_of(copies.get(in_memory(text(1000, seed)), "gzip"))
                assert DECODE["gzip"](content_of(copy)) == text(1000, seed)
        assert names(folder) == []
    assert len(reports) == 1
    assert str(folder) in reports[0]
    assert "ermission denied" in reports[0]


def test_folder_below_a_file_leaves_copies_to_memory(tmp_path: Path, hand: ByHand) -> None:
    (tmp_path / "file").touch()
    copies = CompressionCache(MEMORY, hand.submit, str(tmp_path / "file" / "cache"))
    pending(copies.get(in_memory(text(1000)), "gzip"))
    hand.run()
    copy_of(copies.get(in_memory(text(1000)), "gzip"))


@contextlib.contextmanager
def files_of_at_most(octets: int) -> Iterator[None]:
    """The system lets no file grow beyond that, as when the disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_copy_that_cannot_be_written_to_its_end_leaves_nothing_on_disk(
    cache: Path, hand: ByHand
) -> None:
    reports: list[str] = []
    content = noise(200_000).hex().encode()
    copies = CompressionCache(MEMORY, hand.submit, str(cache), reports.append)
    pending(copies.get(in_memory(content), "gzip"))
    with files_of_at_most(100_000):
        hand.run()
    assert names(cache) == []
    assert DECODE["gzip"](content_of(copy_of(copies.get(in_memory(content), "gzip")))) == content
    assert len(reports) == 1


def test_folder_that_could_not_be_written_is_tried_again_later(
    cache: Path, hand: ByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    disturbed = Interruption(monkeypatch, "fsync")

    def full() -> None:
        raise OSError(28, "No space left on device")

    disturbed.before = full
    reports: list[str] = []
    copies = CompressionCache(MEMORY, hand.submit, str(cache), reports.append)
    pending(copies.get(in_memory(text(1000, 1)), "gzip"))
    hand.run()
    pending(copies.get(in_memory(text(1000, 2)), "gzip"))
    assert copies.get(in_memory(text(COPY_UP_TO + 1)), "gzip") is None
    hand.run()
    assert names(cache) == []
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for seed, before in ((3, full), (4, None)):
        now += 61
        disturbed.before = before
        pending(copies.get(in_memory(text(1000, seed)), "gzip"))
        hand.run()
    assert len(names(cache)) == 1
    for seed in (1, 2, 3, 4):
        copy = copy_of(copies.get(in_memory(text(1000, seed)), "gzip"))
        assert DECODE["gzip"](content_of(copy)) == text(1000, seed)
    assert len(reports) == 1


def test_full_folder_without_memory_gives_no_copy_and_no_endless_work(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disturbed = Interruption(monkeypatch, "fsync")
    disturbed.always = True

    def full() -> None:
        raise OSError(28, "No space left on device")

    disturbed.before = full
    hand = ByHand()
    copies = CompressionCache(0, hand.submit, str(cache))
    for _ in range(10):
        found = copies.get(in_memory(text(1000)), "gzip")
        hand.run()
    assert found is None
    assert disturbed.calls == 1


HUNGRY = """
import os, resource, sys
from portico.http.content import Octets
from portico.site.compression.cache import CompressionCache
from portico.site.origin.protocol import File

jobs = []
copies = CompressionCache(1 << 20, lambda job: jobs.append(job) or True, sys.argv[1])
copies.codings
file = File("page.html", 2000, 0.0, Octets(b"x" * 2000), ())
file.digest = bytes.fromhex(sys.argv[2])
before = resource.getrlimit(resource.RLIMIT_NOFILE)
copies.get(file, "gzip")
assert "hashlib" not in sys.modules
resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
while jobs:
    for _ in jobs.pop(): pass
resource.setrlimit(resource.RLIMIT_NOFILE, before)
copies.get(file, "gzip")
while jobs:
    for _ in jobs.pop(): pass
print(type(copies.get(file, "gzip")).__name__)
"""


@pytest.mark.parametrize("with_folder", [False, True])
def test_without_a_descriptor_to_be_had_it_is_tried_again(cache: Path, with_folder: bool) -> None:
    """Not even a module can be imported then."""
    digest = sha256(b"x" * 2000).hexdigest()
    command = [sys.executable, "-c", HUNGRY, str(cache) if with_folder else "", digest]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("File\n", "")


def folder_in_its_place(path: Path) -> None:
    path.mkdir()


def link_out_of_the_folder(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def link_to_nowhere(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize(
    "occupy", [folder_in_its_place, link_out_of_the_folder, link_to_nowhere, os.mkfifo]
)
def test_something_else_in_the_place_of_a_copy_does_no_harm(
    cache: Path, hand: ByHand, occupy: Callable[[Path], object]
) -> None:
    file = in_memory(text(1000))
    assert file.digest is not None
    cache.mkdir()
    occupy(cache / f"{file.digest.hex()}.gz")
    copies = CompressionCache(MEMORY, hand.submit, str(cache))
    pending(copies.get(file, "gzip"))
    hand.run()
    copy = copy_of(copies.get(file, "gzip"))
    assert DECODE["gzip"](content_of(copy)) == text(1000)


def test_copy_that_cannot_be_read_is_replaced_by_one_in_memory() -> None:
    file = in_memory(text(1000))
    with public_folder() as public:
        folder = public / "cache"
        made(folder, file, "gzip")
        folder.chmod(0o755)  # the copy itself stays its owner's
        hand = ByHand()
        with unprivileged():
            if os.geteuid() == folder.stat().st_uid:
                (folder / names(folder)[0]).chmod(0)
            copies = CompressionCache(MEMORY, hand.submit, str(folder))
            pending(copies.get(file, "gzip"))
            hand.run()
            copy = copy_of(copies.get(file, "gzip"))
            assert copy.dependencies == ()
            assert DECODE["gzip"](content_of(copy)) == text(1000)


def test_what_killed_processes_left_half_written_is_swept(cache: Path, hand: ByHand) -> None:
    cache.mkdir()
    name = "." + "0a" * 32 + ".gz." + "1b" * 8 + ".tmp"
    young = "." + "0a" * 32 + ".br." + "1b" * 8 + ".tmp"
    foreign = [".profile", "notes.tmp", f"{name}~", name.upper(), "0a" * 32 + ".gz"]
    for each in (name, young, *foreign):
        (cache / each).touch()
        os.utime(cache / each, (1e9, 1e9))
    os.utime(cache / young)
    copies = CompressionCache(MEMORY, hand.submit, str(cache))
    copies.get(in_memory(text(1000)), "gzip")
    hand.run()
    left = set(names(cache))
    assert name not in left
    assert left > {young, *foreign}
    taken = hand.taken
    copies.get(in_memory(text(1000)), "gzip")
    assert hand.taken == taken
