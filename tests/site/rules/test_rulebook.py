"""The rules files as they are now: read again when they change, and each mistake said once."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from portico.config.config import Config
from portico.site.origin.folder import SMALL, Folder
from portico.site.origin.open_file import Waiting
from portico.site.rules.rulebook import (
    PARSED_AT_ONCE,
    REPORTS,
    RULES_LIMIT,
    Rulebook,
    RulesParser,
    warn,
)
from tests.site.asking import Client, age, settle_all
from tests.site.on_disk import no_waiting, settle
from tests.unprivileged import public_folder, unprivileged

RULE = b"/old /new 302\n"
BLOCK = b"/*\n  X-A: 1\n"
BAD = b"/bad\n"


class Reader:
    """Reads the rules of a folder, each time for a new request."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.reports: list[str] = []
        folder = Folder(Config.of(root=str(root)), 1 << 20)
        self.book = Rulebook(folder, self.reports.append)
        self._freshness = folder.freshness

    def read(self) -> tuple[int | None, int | None]:
        """How many rules and blocks there are."""
        self._freshness.begin_round()
        self.book.bring_up_to_date()
        redirects, headers = self.book.redirects, self.book.headers
        return (
            None if redirects is None else len(redirects.rules),
            None if headers is None else len(headers.blocks),
        )

    def reported(self) -> list[str]:
        """What was reported since the last call."""
        reports = self.reports.copy()
        self.reports.clear()
        return reports

    def holds(self) -> bool:
        self._freshness.begin_round()
        return self._freshness.holds(self.book.dependencies)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    root.mkdir()
    return root


@pytest.fixture
def reader(root: Path) -> Reader:
    return Reader(root)


def test_without_files_there_are_no_rules(reader: Reader) -> None:
    settle_all(reader.root)
    assert reader.read() == (None, None)
    assert reader.reported() == []
    assert reader.holds()


def test_rules_are_read_once_and_again_after_each_change(reader: Reader) -> None:
    redirects, headers = reader.root / "_redirects", reader.root / "_headers"
    redirects.write_bytes(RULE)
    headers.write_bytes(BLOCK)
    settle_all(reader.root)
    assert reader.read() == (1, 1)
    assert reader.holds()
    before = reader.book.redirects, reader.book.headers
    reader.read()
    assert (reader.book.redirects, reader.book.headers) == before
    redirects.write_bytes(RULE + b"/b /c\n")
    assert not reader.holds()
    assert reader.read() == (2, 1)
    assert reader.book.headers is before[1]  # its text is the same
    redirects.write_bytes(b"")
    assert reader.read() == (0, 1)
    redirects.unlink()
    assert reader.read() == (None, 1)
    headers.write_bytes(b"")
    assert reader.read() == (None, 0)
    headers.rename(redirects)
    assert reader.read() == (0, None)


def test_touched_file_is_not_parsed_again(reader: Reader) -> None:
    (reader.root / "_redirects").write_bytes(RULE + BAD)
    reader.read()
    known = reader.book.redirects
    assert len(reader.reported()) == 1
    age(reader.root / "_redirects")
    assert not reader.holds()
    reader.read()
    assert reader.book.redirects is known
    assert reader.reported() == []


def test_bad_lines_are_said_once_for_each_state_of_the_file(reader: Reader) -> None:
    redirects = reader.root / "_redirects"
    redirects.write_bytes(RULE + BAD)
    assert reader.read() == (1, None)
    (report,) = reader.reported()
    assert report.startswith("_redirects, line 2: ")
    for _ in range(3):
        reader.read()
    (reader.root / "other").write_bytes(b"")  # a reason to look, but nothing new
    reader.read()
    assert reader.reported() == []
    redirects.write_bytes(BAD + RULE + BAD + BAD)
    reader.read()
    assert [report[:18] for report in reader.reported()] == [
        "_redirects, line 1",
        "_redirects, line 3",
        "_redirects, line 4",
    ]
    redirects.write_bytes(RULE)
    reader.read()
    assert reader.reported() == []
    redirects.write_bytes(RULE + BAD)
    reader.read()
    assert len(reader.reported()) == 1


def test_bad_lines_of_headers_are_said_with_their_numbers(reader: Reader) -> None:
    (reader.root / "_headers").write_bytes(b"/*\n  Content-Length: 3\n  X-A: 1\n  ! Vary\n")
    assert reader.read() == (None, 1)
    assert [report[:16] for report in reader.reported()] == [
        "_headers, line 2",
        "_headers, line 4",
    ]


def as_folder(path: Path) -> None:
    path.mkdir()


def as_fifo(path: Path) -> None:
    os.mkfifo(path)


def as_link_out(path: Path) -> None:
    (path.parent.parent / "outside").write_bytes(RULE)
    path.symlink_to("../outside")


def as_link_to_nowhere(path: Path) -> None:
    path.symlink_to("nowhere")


def as_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    "make", [as_folder, as_fifo, as_link_out, as_link_to_nowhere, as_link_to_itself]
)
def test_what_is_no_file_of_the_site_has_no_rules(
    reader: Reader, make: Callable[[Path], None]
) -> None:
    path = reader.root / "_redirects"
    make(path)
    with no_waiting():
        assert reader.read() == (None, None)
        assert reader.read() == (None, None)
    path.rename(reader.root / ".elsewhere")
    path.write_bytes(RULE)
    assert reader.read() == (1, None)


def test_folder_in_the_place_of_rules_costs_nothing(reader: Reader) -> None:
    (reader.root / "_redirects").mkdir()
    settle_all(reader.root)
    reader.read()
    assert reader.holds()


def test_link_within_the_root_is_followed_and_watched(reader: Reader) -> None:
    (reader.root / "rules").mkdir()
    (reader.root / "rules" / "today").write_bytes(RULE)
    (reader.root / "_redirects").symlink_to("rules/today")
    settle_all(reader.root)
    assert reader.read() == (1, None)
    assert reader.holds()
    (reader.root / "rules" / "today").write_bytes(RULE + b"/a /b\n")
    assert not reader.holds()
    assert reader.read() == (2, None)


def test_link_to_nowhere_is_watched(reader: Reader) -> None:
    (reader.root / "rules").mkdir()
    (reader.root / "_redirects").symlink_to("rules/today")
    settle_all(reader.root)
    assert reader.read() == (None, None)
    assert reader.holds()
    (reader.root / "rules" / "today").write_bytes(RULE)
    assert not reader.holds()
    assert reader.read() == (1, None)


def test_coded_rules_are_none(reader: Reader) -> None:
    (reader.root / "_redirects.gz").write_bytes(RULE)
    assert reader.read() == (None, None)
    (reader.root / "_redirects").write_bytes(RULE)
    assert reader.read() == (1, None)


def test_unreadable_file_is_said_once_and_read_when_it_can_be() -> None:
    with public_folder() as root:
        path = root / "_redirects"
        path.write_bytes(RULE)
        path.chmod(0o644)
        reader = Reader(root)
        unreadable = ["_redirects cannot be read, so its rules do not apply"]
        with unprivileged():
            assert reader.read() == (1, None)
        path.chmod(0)
        with unprivileged():
            for reported in (unreadable, [], []):
                assert reader.read() == (None, None)
                assert reader.reported() == reported
        path.chmod(0o644)
        with unprivileged():
            assert reader.read() == (1, None)
            assert reader.reported() == []
        path.chmod(0)
        with unprivileged():
            reader.read()
            reader.read()
        assert reader.reported() == unreadable


def test_shortage_of_descriptors_leaves_the_rules_as_they_were(reader: Reader) -> None:
    (reader.root / "_redirects").write_bytes(RULE)
    assert reader.read() == (1, None)
    (reader.root / "_redirects").write_bytes(RULE + b"/b /c\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        found = reader.read()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found == (1, None)
    assert reader.reported() == []
    assert not reader.holds()
    assert reader.read() == (2, None)


def large_rules(size: int) -> bytes:
    """A rule, and comments up to a size in octets."""
    comment = b"# " + b"x" * 97 + b"\n"
    return (RULE + comment * (size // len(comment) + 1))[: size - 1] + b"\n"


def test_rules_that_are_not_kept_in_memory_are_read(root: Path) -> None:
    reader = Reader(root)
    (root / "_redirects").write_bytes(large_rules(SMALL + 1))
    assert reader.read() == (1, None)
    settle_all(root)
    reader.read()
    assert reader.holds()
    known = reader.book.redirects
    age(root / "_redirects")
    assert not reader.holds()
    settle_all(root)
    assert reader.read() == (1, None)
    assert reader.book.redirects is known
    assert reader.holds()
    (root / "_redirects").write_bytes(b"/x /y\n" + large_rules(SMALL + 1))
    assert reader.read() == (2, None)


def test_rules_up_to_the_limit_count_and_beyond_do_not(reader: Reader) -> None:
    path = reader.root / "_redirects"
    path.write_bytes(large_rules(RULES_LIMIT))
    assert reader.read() == (1, None)
    assert reader.reported() == []
    path.write_bytes(large_rules(RULES_LIMIT + 1))
    too_long = ["_redirects is longer than 4 MiB, so it does not apply"]
    assert reader.read() == (None, None)
    assert reader.reported() == too_long
    settle(path)
    for _ in range(3):
        age(path)  # a reason to look again
        assert reader.read() == (None, None)
    assert reader.reported() == []
    path.write_bytes(RULE)
    assert reader.read() == (1, None)
    path.write_bytes(large_rules(RULES_LIMIT + 1))
    reader.read()
    assert reader.reported() == too_long


def test_octets_that_are_no_text_spoil_their_line_only(reader: Reader) -> None:
    (reader.root / "_redirects").write_bytes(b"/caf\xe9 /x\n/a /b\n\xff\xfe\n/c /d\r\n\0\n")
    (reader.root / "_headers").write_bytes(b"/*\n  X-Bad: \xe9\n  X-A: 1\n")
    redirects, headers = reader.read()
    assert (redirects, headers) == (3, 1)
    assert [report.partition(":")[0] for report in reader.reported()] == [
        "_redirects, line 3",
        "_redirects, line 5",
        "_headers, line 2",
    ]


def test_byte_order_mark_is_no_part_of_the_first_line(reader: Reader) -> None:
    (reader.root / "_redirects").write_bytes(b"\xef\xbb\xbf/a /b\n")
    assert reader.read() == (1, None)
    assert reader.reported() == []


def test_rules_that_change_while_they_are_read_are_read_again(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = reader.root / "_redirects"
    path.write_bytes(large_rules(SMALL + 1))
    settle_all(reader.root)
    real = os.pread
    writes = [b"/x /y\n/z /w\n" + large_rules(SMALL + 1)]

    def pread(fd: int, count: int, offset: int) -> bytes:
        octets = real(fd, count, offset)
        if writes:
            path.write_bytes(writes.pop())
        return octets

    monkeypatch.setattr(os, "pread", pread)
    reader.read()
    assert not reader.holds()
    assert reader.read() == (3, None)


def test_site_reads_its_rules_at_the_start(root: Path) -> None:
    (root / "_redirects").write_bytes(BAD)
    client = Client(root)
    assert client.reports == []
    client.site.read_rules()
    assert len(client.reports) == 1
    client.ask("/")
    assert len(client.reports) == 1


def test_warning_goes_to_the_log_of_the_program(caplog: pytest.LogCaptureFixture) -> None:
    warn("_redirects, line 1: what is wrong")
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("portico", "WARNING")
    assert record.getMessage() == "_redirects, line 1: what is wrong"


def test_rules_of_a_root_that_leads_elsewhere_by_now(tmp_path: Path) -> None:
    """A release is switched by a symlink; its rules come with it."""
    for name, octets in {"one": RULE, "two": RULE + b"/b /c\n"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "_redirects").write_bytes(octets)
    (tmp_path / "current").symlink_to("one")
    settle_all(tmp_path)
    reader = Reader(tmp_path / "current")
    assert reader.read() == (1, None)
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(tmp_path / "current")
    assert reader.read() == (2, None)


@pytest.mark.parametrize("name", ["_redirects", "_headers"])
def test_junk_is_reported_in_few_and_short_lines(root: Path, name: str) -> None:
    (root / name).write_text(f"/{'x' * 900}: junk\n" * 4000)
    reader = Reader(root)
    reader.read()
    reports = reader.reported()
    assert len(reports) <= REPORTS + 1
    assert sum(map(len, reports)) < 8000
    assert "portico check" in reports[-1]


def test_long_file_is_parsed_once_by_a_thread_that_may_wait(root: Path) -> None:
    lines = [f"/{number} /new" for number in range(1000)]
    (root / "_redirects").write_text("\n".join(lines))
    settle_all(root)
    assert (root / "_redirects").stat().st_size > PARSED_AT_ONCE
    parser, reports = RulesParser(), list[str]()
    folders = [Folder(Config.of(root=str(root)), 1 << 20) for _ in range(2)]
    loop = Rulebook(folders[0], reports.append, parser, may_wait=False)
    thread = Rulebook(folders[1], reports.append, parser)
    for _ in range(2):
        with pytest.raises(Waiting):
            loop.bring_up_to_date()
    thread.bring_up_to_date()
    loop.bring_up_to_date()
    assert loop.redirects is not None
    assert loop.redirects is thread.redirects
    assert len(loop.redirects.rules) == len(lines)
    (root / "_redirects").write_text("\n".join(lines[1:]))
    folders[0].freshness.begin_round()
    with pytest.raises(Waiting):
        loop.bring_up_to_date()
    loop.bring_up_to_date(may_parse=True)
    assert len(loop.redirects.rules) == len(lines) - 1
