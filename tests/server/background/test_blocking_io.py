"""What lies on a slow disk holds up only those who ask for it.

Files are made cold by asking the system to forget them; a disk that hangs is one whose reads wait
for the test.
"""

from __future__ import annotations

import _thread
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from portico import Server
from portico.config.config import Config
from portico.http.h1.head import HeadParser
from portico.http.message import Response
from portico.server.background import blocking_io
from portico.server.background.blocking_io import BlockingIO
from portico.site.origin import open_file as open_file_module
from portico.site.origin.fingerprint import is_settled
from portico.site.origin.folder import SMALL, Folder
from portico.site.origin.freshness import Freshness
from portico.site.origin.open_file import Waiting, open_file
from portico.site.origin.protocol import File
from portico.site.site import Site
from portico.site.uploads.sink import QUICK
from tests.server.clients import PATIENCE, Client, eventually, get

pytestmark = pytest.mark.skipif(
    not hasattr(os, "RWF_NOWAIT"), reason="this system cannot say what is in memory"
)


class SlowDisk:
    """A disk on which what `holds` names is never in memory, and is read only when it may be."""

    def __init__(self) -> None:
        self.cold: set[int] = set()
        self.may_read = threading.Event()
        self.reads = 0
        self.loop_thread = 0

    def hold(self, path: Path) -> None:
        self.cold.add(path.stat().st_ino)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    slow = SlowDisk()
    threads = _thread._count()
    ask, read = os.preadv, os.pread

    def preadv(fd: int, buffers: list[bytearray], offset: int, flags: int = 0) -> int:
        if flags and os.fstat(fd).st_ino in slow.cold and not slow.may_read.is_set():
            raise BlockingIOError
        return ask(fd, buffers, offset, 0)

    def pread(fd: int, count: int, offset: int) -> bytes:
        if os.fstat(fd).st_ino in slow.cold and not slow.may_read.is_set():
            assert threading.current_thread().name != "portico", "the loop waits for the disk"
            slow.reads += 1
            slow.may_read.wait(PATIENCE)
        return read(fd, count, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    monkeypatch.setattr(os, "pread", pread)
    yield slow
    slow.may_read.set()
    eventually(lambda: _thread._count() <= threads)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    root.mkdir()
    for name, size in (("tiny", 100), ("small", SMALL), ("large", 3 << 20), ("fast", 5000)):
        (root / name).write_bytes(os.urandom(size))
    eventually(lambda: all(is_settled(each.stat()) for each in root.iterdir()))
    return root


Connect = Callable[..., tuple[Server, list[Client]]]


@pytest.fixture
def connect(root: Path) -> Iterator[Connect]:
    """Start a server with these options, and connect so many clients."""
    with ExitStack() as stack:

        def start(count: int, **options: object) -> tuple[Server, list[Client]]:
            made = Server(root, compress=False, **options)  # type: ignore[arg-type]
            server = stack.enter_context(made)
            return server, [stack.enter_context(Client(server.url)) for _ in range(count)]

        yield start


@pytest.mark.parametrize("name", ["tiny", "small", "large"])
def test_a_slow_file_delays_only_its_own_client(
    root: Path, disk: SlowDisk, connect: Connect, name: str
) -> None:
    disk.hold(root / name)
    _, (slow, fast) = connect(2)
    slow.send(get(f"/{name}") + get("/fast"))
    eventually(lambda: disk.reads > 0)
    for _ in range(3):
        assert fast.ask(get("/fast")).content == (root / "fast").read_bytes()
    disk.may_read.set()
    assert slow.answer().content == (root / name).read_bytes()
    assert slow.answer().content == (root / "fast").read_bytes()


def test_many_wait_for_one_slow_file(root: Path, disk: SlowDisk, connect: Connect) -> None:
    disk.hold(root / "small")
    _, clients = connect(40)
    for client in clients:
        client.send(get("/small"))
    eventually(lambda: disk.reads == blocking_io.THREADS)
    disk.may_read.set()
    for client in clients:
        assert client.answer().content == (root / "small").read_bytes()


def test_a_client_that_leaves_while_it_waits_is_let_go(
    root: Path, disk: SlowDisk, connect: Connect
) -> None:
    disk.hold(root / "small")
    server, (gone, patient) = connect(2)
    for client in (gone, patient):
        client.send(get("/small"))
    eventually(lambda: disk.reads == 2)
    gone.vanish()
    eventually(lambda: server._worker is not None and server._worker.connections == 1)
    disk.may_read.set()
    assert patient.answer().content == (root / "small").read_bytes()


def test_what_takes_too_long_is_503(root: Path, disk: SlowDisk, connect: Connect) -> None:
    disk.hold(root / "small")
    _, (client,) = connect(1, send_timeout=0.2)
    assert client.ask(get("/small")).status == 503


def test_the_server_stops_while_a_read_hangs(root: Path, disk: SlowDisk, connect: Connect) -> None:
    disk.hold(root / "small")
    server, (client,) = connect(1, grace=0.1)
    client.send(get("/small"))
    eventually(lambda: disk.reads == 1)
    server.stop()


def test_a_cold_file_is_not_read_by_the_loop(tmp_path: Path) -> None:
    """With the system's own word for it: on a disk, not in memory."""
    waited = 0
    for number in range(20):
        path = tmp_path / f"cold-{number}"
        path.write_bytes(os.urandom(8192))
        opened, _ = open_file(str(path), os.O_RDONLY, Freshness(), may_wait=False)
        try:
            os.preadv(opened.fd, (bytearray(1),), 0, os.RWF_NOWAIT)
        except OSError:
            pytest.skip("this file system cannot say what is in memory")
        os.fsync(opened.fd)
        os.posix_fadvise(opened.fd, 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            octets = opened.read_now(8192, 0)
        except Waiting:
            waited += 1
            octets = opened.read(8192, 0)
        assert octets == path.read_bytes()
    assert waited


def test_what_was_in_memory_is_not_asked_for_again_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(8192))
    opened, _ = open_file(str(path), os.O_RDONLY, Freshness(), may_wait=False)
    asked = []
    ask = os.preadv

    def preadv(*given: object) -> int:
        asked.append(given)
        return ask(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "preadv", preadv)
    monkeypatch.setattr(open_file_module, "_WARM_SECONDS", -1.0)
    for count in (1, 2):
        assert opened.sendable_to(0, 8192) == 8192
        assert len(asked) == 2 * count  # its first byte and its last
    monkeypatch.setattr(open_file_module, "_WARM_SECONDS", 10.0)
    for _ in range(3):
        assert opened.sendable_to(0, 8192) == 8192
        assert opened.sendable_to(100, 100) == 200
    assert len(asked) == 6


def test_a_look_up_that_may_wait_does(root: Path, disk: SlowDisk) -> None:
    disk.hold(root / "small")
    with pytest.raises(Waiting):
        Folder(Config.of(root=str(root)), 1 << 20, may_wait=False).look_up(("small",))
    disk.may_read.set()
    assert isinstance(Folder(Config.of(root=str(root)), 1 << 20).look_up(("small",)), File)


def test_rules_that_are_cold_are_read_when_they_are_there(root: Path, disk: SlowDisk) -> None:
    (root / "_redirects").write_text("/old /fast 302\n")
    (root / "_headers").write_text("/*\n  X-Rule: yes\n")
    disk.hold(root / "_headers")
    site = Site(Folder(Config.of(root=str(root)), 1 << 20, may_wait=False))
    request = HeadParser().parse(get("/fast"))
    for _ in range(2):
        with pytest.raises(Waiting):
            site.answer(request)
    disk.may_read.set()
    response, _ = site.answer(request)
    assert isinstance(response, Response)
    assert ("X-Rule", "yes") in response.fields


def test_one_place_does_not_hold_up_another() -> None:
    done: list[str] = []
    hangs = threading.Event()
    pool = BlockingIO(lambda call: call())
    for _ in range(2 * blocking_io.THREADS):
        assert pool.submit("slow", lambda: hangs.wait(PATIENCE), lambda: done.append("slow"))
    assert pool.submit("fast", lambda: None, lambda: done.append("fast"))
    eventually(lambda: done == ["fast"])
    hangs.set()
    eventually(lambda: len(done) == 2 * blocking_io.THREADS + 1)


def test_writes_that_hardly_wait_run_one_at_a_time() -> None:
    pool = BlockingIO(lambda call: call())
    busy, alone = threading.Lock(), list[bool]()

    def write() -> None:
        alone.append(busy.acquire(blocking=False))
        time.sleep(0)  # whoever else has a job goes on
        if alone[-1]:
            busy.release()

    for _ in range(200):
        assert pool.submit(QUICK, write, lambda: None)
    eventually(lambda: len(alone) == 200)
    assert all(alone)


def test_a_write_that_hangs_does_not_hold_up_others() -> None:
    pool = BlockingIO(lambda call: call())
    done: list[int] = []
    hangs = threading.Event()
    for number in range(3):
        assert pool.submit(QUICK, lambda: hangs.wait(PATIENCE), lambda: None)
        for _ in range(5):
            assert pool.submit(QUICK, lambda: None, lambda: done.append(0))
        eventually(lambda number=number: len(done) == 5 * (number + 1))  # type: ignore[misc]
    hangs.set()


def test_too_many_for_one_place_are_refused() -> None:
    hangs = threading.Event()
    pool = BlockingIO(lambda call: call())
    taken = 0
    while pool.submit("slow", lambda: hangs.wait(PATIENCE), lambda: None):
        taken += 1
        assert taken <= blocking_io.THREADS + blocking_io.QUEUE_LIMIT
    assert pool.submit("other", lambda: None, lambda: None)
    hangs.set()


def test_work_that_fails_is_done(capfd: pytest.CaptureFixture[str]) -> None:
    done: list[int] = []
    pool = BlockingIO(lambda call: call())

    def fail() -> None:
        raise OSError

    def break_down() -> None:
        raise LookupError("in a thread")

    assert pool.submit(1, fail, lambda: done.append(1))
    eventually(lambda: done == [1])
    assert pool.submit(1, break_down, lambda: done.append(2))
    eventually(lambda: done == [1, 2])
    assert "in a thread" in capfd.readouterr().err
    pool.close()
    assert not pool.submit(1, fail, lambda: None)
