"""The slow file system itself: it shows a folder, counts questions, waits, hangs and dies."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.end_to_end.slow_mount import SlowMount, UnusableError
from tests.server.clients import eventually


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """To be named before the mount, so that it ends after it: then nothing hangs any more."""
    with ThreadPoolExecutor(50) as pool:
        yield pool


def test_a_folder_is_seen_as_it_is(slow_mount: SlowMount) -> None:
    (slow_mount.source / "folder").mkdir()
    large = os.urandom(300_000)
    (slow_mount.source / "folder" / "file").write_bytes(large)
    (slow_mount.source / "link").symlink_to("folder/file")
    assert names(slow_mount.path) == ["folder", "link"]
    assert (slow_mount.path / "link").read_bytes() == large
    seen, real = ((one / "link").stat() for one in (slow_mount.path, slow_mount.source))
    assert seen.st_dev != real.st_dev
    same = ("st_mode", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns", "st_uid", "st_nlink")
    assert [getattr(seen, name) for name in same] == [getattr(real, name) for name in same]


def test_what_is_written_reaches_the_folder(slow_mount: SlowMount) -> None:
    place = slow_mount.path / "folder"
    place.mkdir()
    with (place / "new").open("xb") as file:
        file.write(b"written")
        os.fsync(file.fileno())
    (place / "new").chmod(0o640)
    os.link(place / "new", place / "linked")
    (place / "new").rename(place / "old")
    os.truncate(place / "linked", 5)
    os.utime(place / "linked", ns=(1, 2))
    found = slow_mount.source / "folder" / "old"
    assert found.read_bytes() == b"writt"
    assert (found.stat().st_mode & 0o777, found.stat().st_mtime_ns) == (0o640, 2)
    (place / "old").unlink()
    (place / "linked").unlink()
    place.rmdir()
    assert names(slow_mount.source) == []


def test_each_question_is_asked_again_each_time(slow_mount: SlowMount) -> None:
    (slow_mount.source / "file").write_bytes(b"content")
    slow_mount.asked()
    counts = []
    for _ in range(2):
        assert (slow_mount.path / "file").read_bytes() == b"content"
        assert names(slow_mount.path) == ["file"]
        counts.append(slow_mount.asked())
    assert counts[0] == counts[1]
    assert counts[0].keys() == {"getattr", "open", "read", "opendir", "readdir"}
    with (slow_mount.path / "file").open("rb") as file:
        slow_mount.asked()
        for _ in range(3):
            assert os.pread(file.fileno(), 7, 0) == b"content"
    assert slow_mount.asked()["read"] == 3


def test_an_answer_comes_after_the_delay(slow_mount: SlowMount) -> None:
    (slow_mount.source / "file").touch()

    def took() -> float:
        before = time.monotonic()
        assert (slow_mount.path / "file").exists()
        return time.monotonic() - before

    slow_mount.asked()
    slow_mount.delay(0.05, "getattr")
    assert took() >= 0.05 * slow_mount.asked()["getattr"] > 0
    slow_mount.delay(60, "read")
    took()
    slow_mount.asked()
    slow_mount.delay(0.05)
    assert took() >= 0.05 * slow_mount.asked().total() > 0


def test_questions_hang_until_they_are_released(
    threads: ThreadPoolExecutor, slow_mount: SlowMount
) -> None:
    (slow_mount.source / "file").write_bytes(b"content")
    slow_mount.hang("read")
    assert (slow_mount.path / "file").exists()
    reading = threads.submit((slow_mount.path / "file").read_bytes)
    eventually(slow_mount.hanging)
    slow_mount.hang()
    looking = threads.submit((slow_mount.path / "file").exists)
    eventually(lambda: slow_mount.hanging() == 2)
    assert not reading.done()
    slow_mount.release()
    assert reading.result() == b"content"
    assert looking.result()
    assert slow_mount.hanging() == 0


def test_many_questions_hang_at_once(threads: ThreadPoolExecutor, slow_mount: SlowMount) -> None:
    count = 50
    slow_mount.hang("read")
    for number in range(count):
        (slow_mount.source / f"{number}").write_bytes(b"content")
    found = [threads.submit((slow_mount.path / f"{n}").read_bytes) for n in range(count)]
    eventually(lambda: slow_mount.hanging() == count)
    assert (slow_mount.path / "0").exists()
    slow_mount.release()
    assert {one.result() for one in found} == {b"content"}


def test_what_hangs_or_comes_later_fails_when_the_daemon_dies(
    threads: ThreadPoolExecutor, slow_mount: SlowMount
) -> None:
    file = slow_mount.path / "file"
    file.write_bytes(b"content")
    slow_mount.hang("read")
    reading = threads.submit(file.read_bytes)
    eventually(slow_mount.hanging)
    slow_mount.kill()
    with pytest.raises(OSError, match=r"not connected|connection abort"):
        reading.result()
    with pytest.raises(OSError, match=r"not connected") as caught:
        file.stat()
    assert caught.value.errno == errno.ENOTCONN


@pytest.mark.parametrize("dead", [False, True])
def test_it_is_unmounted_whatever_still_uses_it(slow_mount: SlowMount, dead: bool) -> None:
    with SlowMount(slow_mount.source, slow_mount.path) as above:
        (above.source / "file").touch()
        descriptor = os.open(above.path / "file", os.O_RDONLY)
        assert mounts(above.path) == 2
        if dead:
            above.kill()
    with pytest.raises(OSError, match=r"not connected"):
        os.close(descriptor)
    assert mounts(slow_mount.path) == 1


def test_it_is_unmounted_when_the_tests_are_killed(slow_mount: SlowMount) -> None:
    stdin = slow_mount._daemon.stdin
    assert stdin is not None
    stdin.close()
    eventually(lambda: mounts(slow_mount.path) == 0)


def test_where_there_is_no_fuse_this_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUSE_LIBRARY_PATH", str(tmp_path / "libfuse.so"))
    with pytest.raises(UnusableError, match=r"FUSE cannot be used: .*libfuse\.so"):
        SlowMount(tmp_path, tmp_path)


def names(path: Path) -> list[str]:
    return sorted(one.name for one in path.iterdir())


def mounts(path: Path) -> int:
    """How many file systems are mounted there."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return sum(line.split()[1] == str(path) for line in lines)
