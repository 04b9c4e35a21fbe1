"""Accidents of the machine under a server that is at work: it goes on, and so do its clients."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from tests.end_to_end.load import Load
from tests.end_to_end.writing import replace
from tests.server.clients import Client, eventually, get
from tests.server.processes.supervised import Supervised, needs_proc
from tests.server.processes.test_systemd import Activated

pytestmark = needs_proc

LARGE = os.urandom(4 << 20)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    site.mkdir()
    (site / "small.txt").write_bytes(b"small")
    (site / "large.bin").write_bytes(LARGE)
    return site


# --- workers


def test_a_worker_that_is_killed_under_load_harms_its_own_clients_alone(
    site: Path, tmp_path: Path
) -> None:
    options = (str(site), "--port", "0", "--workers", "2", "--no-access-log")
    with Supervised(tmp_path, *options) as server:
        victim = max(server.start().workers)
        sockets = Path(f"/proc/{victim}/fd")
        own = len(list(sockets.iterdir()))
        with Load(*[lambda: Client(server.url)] * 20, requests=0) as load:
            load.goes_on()
            os.kill(victim, signal.SIGSTOP)  # so that it accepts nobody while it is looked at
            its = sum(1 for each in sockets.iterdir() if is_tcp(each)) - 1  # that it listens on
            assert its <= len(list(sockets.iterdir())) - own + 1
            os.kill(victim, signal.SIGKILL)
            server.hears(f"(process {victim}) was killed by signal 9")
            load.goes_on(failed=its)
            eventually(lambda: len(server.workers - {victim}) == 2)
        assert len(load.failed) == its
        assert server.end() == 0


def is_tcp(descriptor: Path) -> bool:
    inode = descriptor.stat().st_ino
    return any(
        line.split()[9] == str(inode) for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
    )


def test_no_request_fails_when_the_manager_restarts_the_server(site: Path, tmp_path: Path) -> None:
    """Who comes meanwhile waits at the socket, which is the manager's."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=100))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        options = (str(site), "--no-access-log", "--workers", "2")
        server = stack.enter_context(Activated(tmp_path, [listener], *options)).start()
        with Load(*[lambda: Client(url)] * 6, requests=1) as load:
            for _ in range(4):
                load.goes_on()
                assert server.end() == 0
                server = stack.enter_context(Activated(tmp_path, [listener], *options)).start()
            load.goes_on()
        assert not load.failed
        assert server.end() == 0


# --- memory


def test_a_cache_for_which_there_is_no_memory(site: Path, tmp_path: Path) -> None:
    """What it cannot answer it refuses, and says why once; with memory again, all is well."""
    for number in range(60):
        (site / f"{number}.bin").write_bytes(os.urandom(60_000))
    one_arena = {"MALLOC_ARENA_MAX": "1"}  # else threads have memory in reserve
    with Supervised(tmp_path, str(site), "--port", "0", environ=one_arena) as server:
        assert server.start().content() == b"small"
        pages = int(Path(f"/proc/{server.popen.pid}/statm").read_text().split()[0])
        little = pages * resource.getpagesize() + (1 << 20)
        resource.prlimit(server.popen.pid, resource.RLIMIT_AS, (little, resource.RLIM_INFINITY))
        for number in range(60):
            with suppress(OSError, AssertionError), Client(server.url) as client:
                answer = client.ask(get(f"/{number}.bin"))
                assert answer.status == 503 or len(answer.content) == 60_000
        assert " 503 " in server.logged
        free = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(server.popen.pid, resource.RLIMIT_AS, free)
        for number in range(60):
            assert server.content(f"/{number}.bin") == (site / f"{number}.bin").read_bytes()
        assert server.end() == 0
    assert server.said.count("could not be answered: Cannot allocate memory") == 1


# --- disks


@contextmanager
def mounted(place: Path, size: str) -> Iterator[None]:
    """A file system in memory at this folder."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("this user cannot mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("recovers", [True, False])
def test_a_full_disk_under_both_logs(site: Path, tmp_path: Path, recovers: bool) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    options = (str(site), "--port", "0", "--workers", "2")
    with mounted(disk, "64k"), Supervised(disk, *options) as server:
        url = server.start().url
        with pytest.raises(OSError, match="No space left"):
            (disk / "other").write_bytes(bytes(1 << 20))
        with Client(url) as client:
            for _ in range(200):  # more than what is left of a page
                assert client.ask(get("/small.txt")).content == b"small"
        server.send(signal.SIGHUP)  # it would say something
        assert server.content() == b"small"
        if recovers:
            (disk / "other").unlink()
            assert server.content("/small.txt?later") == b"small"
            eventually(lambda: "/small.txt?later" in server.logged)
            server.hears("lines lost from the access log")
        assert server.end() == 0


def test_a_site_that_is_unmounted_and_mounted_again(site: Path, tmp_path: Path) -> None:
    options = (str(site), "--port", "0", "--no-access-log")
    with ExitStack() as stack:
        stack.enter_context(mounted(site, "1m"))
        (site / "small.txt").write_bytes(b"mounted")
        server = stack.enter_context(Supervised(tmp_path, *options)).start()
        client = stack.enter_context(Client(server.url))
        assert client.ask(get("/small.txt")).content == b"mounted"
        stack.callback(server.end)
        subprocess.run(["umount", "-l", str(site)], check=True)
        assert client.ask(get("/small.txt")).content == b"small"
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(site)], check=True)
        assert client.ask(get("/small.txt")).status == 404
        (site / "small.txt").write_bytes(b"again")
        assert client.ask(get("/small.txt")).content == b"again"


def test_a_folder_that_is_replaced(site: Path, tmp_path: Path) -> None:
    """By another, and by nothing, as while a new release is put in its place."""
    new = tmp_path / "new"
    new.mkdir()
    (new / "small.txt").write_bytes(b"new")
    with (
        Supervised(tmp_path, str(site), "--port", "0") as server,
        Client(server.start().url) as client,
    ):
        assert client.ask(get("/small.txt")).content == b"small"
        site.rename(tmp_path / "old")
        assert client.ask(get("/small.txt")).status in {404, 503}
        new.rename(site)
        assert client.ask(get("/small.txt")).content == b"new"
        assert server.end() == 0


# --- the access log


def test_a_log_that_is_copied_and_truncated_goes_on(site: Path, tmp_path: Path) -> None:
    """As by logrotate, copytruncate, of a file to which the shell appends."""

    class Appending(Supervised):
        command = ("sh", "-c", f'exec "$@" >>{tmp_path}/log', "sh", *Supervised.command)

    log = tmp_path / "log"
    with Appending(tmp_path, str(site), "--port", "0", "--workers", "2") as server:
        server.start().content()
        eventually(lambda: log.read_bytes().count(b"\n") == 1)
        os.truncate(log, 0)
        server.content()
        eventually(lambda: log.read_bytes().count(b"\n") == 1)
        assert log.read_bytes().startswith(b"127.0.0.1 ")
        assert server.end() == 0


# --- the clock

JUMPING = """
import sys, threading, time
offset, real = [0.0], time.time
time.time = lambda: real() + offset[0]
from portico.cli.main import main
threading.Thread(target=lambda: [offset.__setitem__(0, float(line)) for line in sys.stdin],
    daemon=True).start()
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("days", [400, -400])
def test_a_clock_that_jumps(site: Path, days: int) -> None:
    """No connection ends, no change is missed, and dates are those of the new time."""
    command = [sys.executable, "-c", JUMPING, str(site), "--port", "0", "--idle-timeout", "3600"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stderr=pipe, stdout=pipe, text=True) as popen:
        assert popen.stdin is not None
        assert popen.stderr is not None
        url = next(line.strip() for line in popen.stderr if "http://" in line)
        with Client(url) as client, Client(url, receive_buffer=4096) as download:
            download.send(get("/large.bin"))
            first = client.ask(get("/small.txt"))
            popen.stdin.write(f"{days * 86400}\n")
            popen.stdin.flush()

            def is_later() -> bool:
                date = client.ask(get("/small.txt")).fields["date"]
                jumped = parsedate_to_datetime(date).timestamp() - time.time()
                return abs(jumped - days * 86400) < 60

            eventually(is_later)
            assert client.ask(get("/small.txt")).fields["etag"] == first.fields["etag"]
            replace(site / "small.txt", b"other")
            assert client.ask(get("/small.txt")).content == b"other"
            (site / "small.txt").write_bytes(b"again")
            assert client.ask(get("/small.txt")).content == b"again"
            download.hurry()
            assert download.answer().content == LARGE
        popen.send_signal(signal.SIGTERM)
        _, said = popen.communicate(timeout=20)
        assert popen.returncode == 0
        assert "Traceback" not in said


# --- files that change


@pytest.mark.parametrize("change", ["truncated", "grown", "replaced"])
def test_a_file_changes_while_a_hundred_download_it(
    site: Path, tmp_path: Path, change: str
) -> None:
    """Each gets all that was announced, or is cut and knows it; the next one gets the new file."""
    file = site / "large.bin"
    with ExitStack() as stack:
        options = (str(site), "--port", "0", "--no-access-log")
        server = stack.enter_context(Supervised(tmp_path, *options)).start()
        clients = [stack.enter_context(Client(server.url, receive_buffer=4096)) for _ in range(100)]
        for client in clients:
            client.send(get("/large.bin"))
        for client in clients:
            eventually(client.has_news)
        if change == "truncated":
            os.truncate(file, 1000)
        elif change == "grown":
            with file.open("ab") as log:
                log.write(b"more")
        else:
            replace(file, b"new")
        cut = 0
        for client in clients:
            status, fields = client.head()
            assert (status, fields["content-length"]) == (200, str(len(LARGE)))
            client.hurry()
            try:
                content = client.content(fields)
            except (AssertionError, ConnectionResetError):  # less has come than was announced
                cut += 1
            else:
                assert content == LARGE
            client.close()
        assert (cut > 0) == (change == "truncated")
        assert server.content("/large.bin") == file.read_bytes()
        assert server.end() == 0
