"""Each file whole and as it is now: replaced, rewritten, removed, at any moment of a look-up."""

from __future__ import annotations

import gc
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from portico.site.origin.fingerprint import (
    PathDependency,
    fingerprint,
    is_settled,
)
from portico.site.origin.folder import SMALL
from portico.site.origin.freshness import Freshness
from portico.site.origin.open_file import FileSlice, open_file
from portico.site.origin.protocol import Failed, File
from tests.site.on_disk import LARGE, Interruption, Site, content_of, settle


@pytest.mark.usefixtures("_any_real_path")
@pytest.mark.parametrize("size", [1, LARGE])
def test_file_replaced_while_it_is_opened_is_never_missing(
    site: Site, around_open: Interruption, size: int
) -> None:
    def replace() -> None:
        (site.root / ".new").write_bytes(b"n" * size)
        (site.root / ".new").replace(site.root / "a.txt")

    around_open.after = replace
    (site.root / "a.txt").write_bytes(b"o" * size)
    assert site.read("/a.txt") == b"n" * size


@pytest.mark.usefixtures("_any_real_path")
def test_file_removed_while_it_is_opened_is_missing(site: Site, around_open: Interruption) -> None:
    around_open.after = (site.root / "a.txt").unlink
    assert site.is_missing("/a.txt")


def test_file_replaced_at_every_look_is_given_up(site: Site, around_open: Interruption) -> None:
    def replace() -> None:
        around_open.always = False
        (site.root / ".new").write_bytes(b"n")
        (site.root / ".new").replace(site.root / "a.txt")
        around_open.always = True

    around_open.always = True
    around_open.after = replace
    found = site.look("/a.txt")
    assert isinstance(found, Failed)
    assert found.status == 503


@pytest.mark.parametrize("size", [1, 1024, SMALL, LARGE])
@pytest.mark.parametrize("old_size", [1024, SMALL])
def test_file_rewritten_while_it_is_read_is_read_again(
    site: Site, around_read: Interruption, old_size: int, size: int
) -> None:
    file = site.root / "a.txt"
    file.write_bytes(b"o" * old_size)
    settle(file)

    def rewrite() -> None:
        file.write_bytes(b"n" * size)

    around_read.after = rewrite
    assert site.read("/a.txt") == b"n" * size


def test_write_that_was_under_way_before_is_not_cut_in_two(
    site: Site, around_read: Interruption
) -> None:
    """What is written into memory that is mapped leaves its stamp only once, at the first write."""
    file = site.root / "a.txt"
    file.write_bytes(b"o" * 8192)
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapped:
        mapped[0:4096] = b"n" * 4096
        os.utime(file)  # as young as a file can be

        def finish() -> None:
            mapped[4096:8192] = b"n" * 4096

        around_read.after = finish
        assert site.read("/a.txt") == b"n" * 8192


def test_file_that_never_stands_still_is_given_up(site: Site, around_read: Interruption) -> None:
    file = site.root / "a.txt"
    around_read.always = True
    around_read.after = lambda: file.write_bytes(file.read_bytes() + b"+")
    found = site.look("/a.txt")
    assert isinstance(found, Failed)
    assert found.status == 503


def test_settled_file_is_kept_in_memory(site: Site) -> None:
    (site.root / "large").write_bytes(b"l" * LARGE)
    settle(site.root)
    for path in ("/a.txt", "/large"):
        settle(site.root / path[1:])
        assert site.look(path) is site.look(path)


def test_without_memory_nothing_is_kept(site: Site) -> None:
    (site.root / "large").write_bytes(b"l" * LARGE)
    forgetful = Site(site.root, memory=0)
    for path in ("/a.txt", "/large"):
        settle(site.root / path[1:])
        assert forgetful.look(path) is not forgetful.look(path)


def test_young_file_is_not_kept(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    now = (site.root / "a.txt").stat().st_ctime_ns + 1_000_000
    monkeypatch.setattr(time, "time_ns", lambda: now)
    assert site.look("/a.txt") is not site.look("/a.txt")


def test_within_a_request_memory_is_enough(site: Site) -> None:
    settle(site.root / "a.txt")
    assert site.read("/a.txt") == b"a"
    (site.root / "a.txt").write_bytes(b"b")
    assert content_of(site.folder.look_up(("a.txt",))) == b"a"
    assert site.read("/a.txt") == b"b"


def test_large_file_out_of_use_is_closed(site: Site) -> None:
    (site.root / "large").write_bytes(b"l" * LARGE)
    settle(site.root / "large")
    found = site.look("/large")
    assert isinstance(found, File)
    assert isinstance(found.content, FileSlice)
    fd = found.content.file.fd
    del found
    site.folder.expire()
    os.fstat(fd)
    site.folder.expire()
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


SECOND = 1_000_000_000
NOW = 1_800_000_000 * SECOND + 123_456_789
FLOOR = NOW - NOW % SECOND


@pytest.mark.parametrize(
    ("modified", "changed", "settled"),
    [
        (NOW - 60 * SECOND, NOW - 60 * SECOND, True),
        (NOW - SECOND // 10, NOW - SECOND // 10, True),
        (NOW - SECOND // 100, NOW - SECOND // 100, False),
        (NOW - 60 * SECOND, NOW - SECOND // 100, False),  # its time was set back
        (NOW + 60 * SECOND, NOW - SECOND // 100, False),  # its time was set ahead
        (NOW + 60 * SECOND, NOW - SECOND, True),
        (NOW + SECOND // 100, NOW + SECOND // 100, False),  # another machine's clock
        (FLOOR - SECOND, FLOOR - SECOND, False),  # a clock of whole seconds, or of two
        (FLOOR - 2 * SECOND, FLOOR - 2 * SECOND, True),
        (FLOOR, NOW - 60 * SECOND, False),
    ],
)
def test_file_is_settled_once_a_change_would_show(
    modified: int, changed: int, settled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: NOW)
    status = os.stat_result((0,) * 10, {"st_mtime_ns": modified, "st_ctime_ns": changed})
    assert is_settled(status) is settled


@pytest.mark.parametrize("field", ["st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns"])
def test_fingerprint_tells_two_states_apart_by_each_of_its_fields(field: str) -> None:
    """Two files of one size that were written in the same moment differ in their inode alone."""
    places = {"st_ino": 1, "st_dev": 2, "st_size": 6}
    one, other = [0] * 10, [0] * 10
    if field in places:
        other[places[field]] = 1
        states = os.stat_result(one), os.stat_result(other)
    else:
        times = {"st_mtime_ns": 0, "st_ctime_ns": 0}
        states = os.stat_result(one, times), os.stat_result(one, {**times, field: 1})
    assert fingerprint(states[0]) != fingerprint(states[1])


def become_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def become_link(file: Path) -> None:
    file.unlink()
    file.symlink_to("folder/b.txt")


CHANGES: dict[str, Callable[[Path], object]] = {
    "same size": lambda file: file.write_bytes(b"b"),
    "other size": lambda file: file.write_bytes(b"bb"),
    "replaced": lambda file: (file.parent / "folder" / "b.txt").replace(file),
    "deleted": Path.unlink,
    "touched": os.utime,
    "rights": lambda file: file.chmod(0o604),
    "time set back": lambda file: os.utime(file, ns=(0, 0)),
    "now a folder": become_folder,
    "now a link": become_link,
    "parent gone": lambda file: file.parent.rename(file.parent.parent / "elsewhere"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_dependency_sees_every_change(site: Site, change: Callable[[Path], object]) -> None:
    file = site.root / "a.txt"
    settle(file)
    freshness = Freshness()
    dependency = PathDependency(str(file), file.stat(), freshness)
    assert dependency.holds()
    freshness.begin_round()
    assert dependency.holds()
    change(file)
    assert dependency.holds(), "the same request: it is not checked twice"
    freshness.begin_round()
    assert not dependency.holds()


def test_dependency_of_a_missing_path_sees_it_come(site: Site) -> None:
    freshness = Freshness()
    dependency = PathDependency(str(site.root / "new" / "file"), None, freshness)
    freshness.begin_round()
    assert dependency.holds()
    (site.root / "new").mkdir()
    freshness.begin_round()
    assert dependency.holds()
    (site.root / "new" / "file").touch()
    freshness.begin_round()
    assert not dependency.holds()


def test_open_file_changes_with_its_content_not_with_its_name(site: Site) -> None:
    file = site.root / "a.txt"
    opened, _ = open_file(str(file), os.O_RDONLY, Freshness())
    settle(file)
    file.chmod(0o604)
    os.link(file, site.root / "link")
    file.rename(site.root / "renamed")
    (site.root / "renamed").unlink()
    assert not opened.changed()
    (site.root / "link").write_bytes(b"b")
    assert opened.changed()


def test_open_file_changes_when_it_is_cut(site: Site) -> None:
    opened, _ = open_file(str(site.root / "a.txt"), os.O_RDONLY, Freshness())
    os.truncate(site.root / "a.txt", 0)
    assert opened.changed()
