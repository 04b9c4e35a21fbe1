"""`portico compress` where something goes wrong: no part of a sibling, no file left behind."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest

from portico.cli.compress import writing
from portico.cli.compress.writing import PREFIX, Task, Writer
from portico.site.compression.encoders import SUFFIXES
from tests.cli.compress.compressing import (
    ENDS,
    compress,
    decoded,
    is_complete,
    names,
    put,
    sibling,
    temporaries,
    text,
)
from tests.site.on_disk import PATIENCE, Interruption
from tests.unprivileged import NOBODY, public_folder, unprivileged

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


# --- what cannot be read or written


def test_folder_that_was_replaced_by_a_link_is_left_alone(tmp_path: Path) -> None:
    """Its owner, perhaps not the one who compresses, could have foreign files changed so."""
    foreign = put(tmp_path, "foreign/app.js")
    kept = put(tmp_path, "foreign/app.js.br", b"kept")
    link = tmp_path / "site" / "folder"
    link.parent.mkdir()
    link.symlink_to(foreign.parent)
    task = Task("br", "folder/app.js", str(link / "app.js"), foreign.stat().st_size)
    for root in (tmp_path, link.parent):
        writer = Writer(str(root), [task])
        writer.run(ThreadPoolExecutor(1), 1, lambda: None)
        assert "a folder was replaced by a link" in str(writer.errors)
    writing.remove(str(link), "app.js.br")
    assert kept.read_bytes() == b"kept"
    assert names(foreign.parent) == {"app.js", "app.js.br"}


def test_what_cannot_be_read_or_written_is_named_and_the_rest_is_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with public_folder() as root:
        root.chmod(0o777)
        good = put(root, "good.js")
        put(root, os.fsdecode(b"new\nline\x1b[31m-\xff.js")).chmod(0)
        put(root, "closed/inside.js")
        put(root, "fixed/app.js")
        put(root, "listed/app.js")
        for name, mode in (("closed", 0), ("fixed", 0o555), ("listed", 0o644)):
            (root / name).chmod(mode)
        try:
            with unprivileged():
                assert compress(root) == 1
        finally:
            for name in ("closed", "fixed", "listed"):
                (root / name).chmod(0o755)
        assert is_complete(good)
        assert len(names(root)) == 8
    out, err = capsys.readouterr()
    denied = ["read closed", "read listed/app.js", r"read new\nline\x1b[31m-\udcff.js"]
    denied += [f"write fixed/app.js{end}" for end in ENDS]
    assert sorted(err.splitlines()) == sorted(
        f"portico: error: cannot {what}: Permission denied" for what in denied
    )
    assert "3 files considered: 3 compressed files written" in out


def test_a_folder_in_the_place_of_a_sibling(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path, "app.js")
    put(tmp_path, "app.js.br/kept.png")
    assert compress(tmp_path) == 1
    assert decoded(path, "gzip") == path.read_bytes()
    assert temporaries(tmp_path) == []
    assert names(tmp_path) == {"app.js", "app.js.br/kept.png", "app.js.gz", "app.js.zst"}
    assert "portico: error: cannot write app.js.br: Is a directory" in capsys.readouterr().err


def test_a_link_in_the_place_of_a_sibling_is_replaced_not_followed(tmp_path: Path) -> None:
    path = put(tmp_path, "site/app.js")
    outside = put(tmp_path, "outside.txt", b"kept", at=0)
    sibling(path, "br").symlink_to(outside)
    assert compress(tmp_path / "site") == 0
    assert is_complete(path)
    assert not sibling(path, "br").is_symlink()
    assert outside.read_bytes() == b"kept"


# --- rights


@ROOT_ONLY
def test_a_sibling_belongs_to_the_owner_of_its_original(tmp_path: Path) -> None:
    path = put(tmp_path, "app.js")
    os.chown(path, NOBODY, 12345)
    path.chmod(0o640)
    assert compress(tmp_path) == 0
    for coding in SUFFIXES:
        status = sibling(path, coding).stat()
        assert (status.st_uid, status.st_gid) == (NOBODY, 12345)
        assert stat.S_IMODE(status.st_mode) == 0o640


@ROOT_ONLY
def test_another_group_gets_no_more_rights_than_all() -> None:
    with public_folder() as root:
        root.chmod(0o777)
        path = put(root, "app.js")
        os.chown(path, NOBODY, 12345)
        path.chmod(0o674)
        with unprivileged():
            assert compress(root) == 0
        status = sibling(path, "br").stat()
        assert (status.st_uid, status.st_gid) == (NOBODY, os.getegid())
        assert stat.S_IMODE(status.st_mode) == 0o644


# --- what changes meanwhile


@pytest.mark.parametrize("is_replaced", [False, True])
def test_an_original_that_changes_meanwhile_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_replaced: bool
) -> None:
    path = put(tmp_path, "app.js")

    def change() -> None:
        if is_replaced:  # same size, same time: nothing but the inode tells
            put(tmp_path, "new", text(seed=2)).rename(path)
        else:
            path.write_bytes(text(seed=2))

    Interruption(monkeypatch, "read").after = change
    assert compress(tmp_path, "--jobs", "1") == 0
    assert path.read_bytes() == text(seed=2)
    assert is_complete(path)


@pytest.mark.parametrize("size", [100, 5000, 9000])
def test_an_original_that_goes_on_changing_is_skipped(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    size: int,
) -> None:
    path = put(tmp_path, "app.js")
    good = put(tmp_path, "small.js", text(300))
    around_read = Interruption(monkeypatch, "read")
    around_read.always = True
    around_read.before = lambda: path.write_bytes(text(size))
    around_read.after = lambda: path.write_bytes(text(size, seed=2))
    assert compress(tmp_path, "--jobs", "1") == 1
    assert not any(sibling(path, coding).exists() for coding in SUFFIXES)
    assert is_complete(good)
    assert temporaries(tmp_path) == []
    told = "portico: error: app.js changes while it is read; run portico compress again\n"
    assert capsys.readouterr().err == told


def test_an_original_that_vanishes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path, "app.js")
    Interruption(monkeypatch, "read").after = path.unlink
    assert compress(tmp_path, "--jobs", "1") == 1
    assert names(tmp_path) == set()
    told = "portico: error: cannot read app.js: No such file or directory\n"
    assert capsys.readouterr().err == told


def test_a_folder_that_is_swapped_for_a_link_meanwhile_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "site/folder/app.js")
    put(tmp_path, "secret/app.js")

    def swap() -> None:
        (tmp_path / "site" / "folder").rename(tmp_path / "site" / ".away")
        (tmp_path / "site" / "folder").symlink_to(tmp_path / "secret")

    Interruption(monkeypatch, "open").before = swap
    assert compress(tmp_path / "site", "--jobs", "1", "--coding", "gzip") == 1
    assert names(tmp_path / "secret") == {"app.js"}
    told = "portico: error: cannot write folder/app.js.gz: a folder was replaced by a link\n"
    assert capsys.readouterr().err == told


def fail(problem: BaseException) -> None:
    raise problem


def test_too_little_memory_for_one_file_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "large.js", text(9000))
    small = put(tmp_path, "small.js", text(3000))
    Interruption(monkeypatch, "read").before = lambda: fail(MemoryError())
    assert compress(tmp_path, "--jobs", "1", "--coding", "gzip") == 1
    assert decoded(small, "gzip") == small.read_bytes()
    assert names(tmp_path) == {"large.js", "small.js", "small.js.gz"}
    told = "portico: error: there is not enough memory to compress large.js\n"
    assert capsys.readouterr().err == told


def test_without_semaphores_for_processes_there_are_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a container without /dev/shm."""

    def refused(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.ENOSYS, "no semaphores")

    monkeypatch.setattr(writing, "ProcessPoolExecutor", refused)
    with writing.child_processes(2) as threads:
        assert isinstance(threads, ThreadPoolExecutor)
        assert list(threads.map(abs, [-1, -2])) == [1, 2]


def test_a_bug_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "app.js")
    Interruption(monkeypatch, "read").before = lambda: fail(ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        compress(tmp_path)
    assert temporaries(tmp_path) == []


# --- signals


class Run:
    """The command on a site that takes it many seconds, in a process group of its own."""

    def __init__(self, root: Path) -> None:
        command = [sys.executable, "-m", "portico", "compress", "--jobs", "2", str(root)]
        pipe = subprocess.PIPE
        self.root = root
        self.popen = subprocess.Popen(
            command, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )

    def wait_for(self, pattern: str) -> None:
        end = time.monotonic() + PATIENCE
        while not list(self.root.glob(pattern)):
            assert self.popen.poll() is None
            assert time.monotonic() < end
            time.sleep(0.005)

    def children(self) -> list[int]:
        """The processes that compress, and one that multiprocessing starts for itself."""
        listed = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children").read_text()
        return [
            int(pid)
            for pid in listed.split()
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]

    def end(self) -> tuple[int, str, str]:
        """Wait until all its processes have ended: then nobody can write to its streams."""
        out, err = self.popen.communicate(timeout=PATIENCE)
        return self.popen.returncode, out, err


@pytest.fixture
def large(tmp_path: Path) -> Path:
    content = text(150_000)
    for number in range(40):
        put(tmp_path, f"{number}.js", content)
    return tmp_path


@pytest.fixture
def run(large: Path) -> Iterator[Run]:
    run = Run(large)
    try:
        yield run
    finally:
        if run.popen.poll() is None:
            os.killpg(run.popen.pid, signal.SIGKILL)
        run.popen.communicate()


def count_of_whole_files(root: Path) -> int:
    """How many compressed files there are, all of which must be whole."""
    written = 0
    for path in root.glob("*.js"):
        for coding in SUFFIXES:
            if sibling(path, coding).exists():
                assert decoded(path, coding) == path.read_bytes()
                assert sibling(path, coding).stat().st_mtime_ns == path.stat().st_mtime_ns
                written += 1
    return written


@pytest.mark.parametrize(("moment", "times"), [(f"{PREFIX}*", 1), (f"{PREFIX}*", 3), ("*.br", 1)])
def test_an_interruption_leaves_nothing_but_whole_files(run: Run, moment: str, times: int) -> None:
    """As a terminal sends it: to all processes."""
    run.wait_for(moment)
    for _ in range(times):
        os.killpg(run.popen.pid, signal.SIGINT)
    code, out, err = run.end()
    assert (code, out) == (130, "")
    assert temporaries(run.root) == []
    written = count_of_whole_files(run.root)
    assert written < 120
    told = f"Stopped: {written} of 120 compressed files written, each of them whole."
    assert err == f"{told} The next run does the rest.\n"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_child_is_a_clear_error(run: Run) -> None:
    run.wait_for("*.br")
    os.kill(run.children()[0], signal.SIGKILL)
    code, out, err = run.end()
    assert code == 1
    assert temporaries(run.root) == []
    assert f" {count_of_whole_files(run.root)} compressed file" in out
    assert err == (
        "portico: error: a process that compresses was killed, perhaps for want of memory; "
        "run it again, with fewer --jobs\n"
    )


def test_children_end_with_a_killed_parent(run: Run) -> None:
    run.wait_for("*.br")
    run.popen.kill()
    assert run.end()[0] == -signal.SIGKILL


def test_the_bar_shows_progress_and_goes_away(tmp_path: Path) -> None:
    for number in range(4):
        put(tmp_path, f"{number}.js", text(30_000, seed=number))
    reader, terminal = os.openpty()
    command = [sys.executable, "-m", "portico", "compress", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=terminal, text=True) as popen:
        os.close(terminal)
        shown = b""
        try:
            while piece := os.read(reader, 4096):
                shown += piece
        except OSError:  # how Linux tells that the other end is closed
            pass
        finally:
            os.close(reader)
        assert popen.stdout is not None
        assert "12 compressed files written" in popen.stdout.read()
    assert popen.returncode == 0
    *frames, blank, after = shown.decode().split("\r")[1:]
    assert len(frames) > 1
    shares = [int(frame.partition("]")[2].split()[0]) for frame in frames]
    assert shares == sorted(shares)
    assert shares[0] < 100
    assert "of 12 files" in frames[-1]
    assert blank.isspace()
    assert len(blank) >= max(map(len, frames))
    assert after == ""
