"""What happens to servers in the field: each goes on, or ends and says why; none hangs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.server.clients import PATIENCE, eventually
from tests.server.processes.supervised import (
    Supervised,
    children,
    is_gone,
    needs_proc,
    package_copy,
)

pytestmark = needs_proc


def test_workers_start_where_stdout_is_closed(site: Path, tmp_path: Path) -> None:
    class Closed(Supervised):
        command = ("sh", "-c", 'exec "$@" >&-', "sh", *Supervised.command)

    with Closed(tmp_path, str(site), "--port", "0", "--workers", "2") as portico:
        assert portico.start().content() == b"small"
        assert portico.end() == 0


def test_workers_that_the_system_refuses_end_the_server_at_once(site: Path, tmp_path: Path) -> None:
    """Nine descriptors are enough for the supervisor, and not for what starts a process."""

    class Poor(Supervised):
        command = ("sh", "-c", 'ulimit -n 9; exec "$@"', "sh", *Supervised.command)

    options = (str(site), "--port", "0", "--workers", "2", "--grace", "3600")
    with Poor(tmp_path, *options) as portico:
        assert portico.popen.wait(PATIENCE) == 1
    assert portico.said.startswith("portico: error: worker 1 cannot be started: [Errno 24]")


def test_a_release_that_is_replaced_and_deleted(tmp_path: Path) -> None:
    """The current folder is known by its name, and nothing depends on what it was."""
    for number in "12":
        site = tmp_path / "releases" / number / "site"
        site.mkdir(parents=True)
        (site / "small.txt").write_text(f"release {number}")
        (site.parent / "portico.toml").write_text(f"cors = {'true' if number == '2' else 'false'}")
    current = tmp_path / "current"
    current.symlink_to("releases/1")
    options = ("site", "--config", "portico.toml", "--port", "0", "--workers", "2")
    with Supervised(tmp_path, *options, cwd=current, environ={"PWD": str(current)}) as portico:
        assert portico.start().content() == b"release 1"
        (tmp_path / "next").symlink_to("releases/2")
        (tmp_path / "next").rename(current)
        shutil.rmtree(tmp_path / "releases" / "1")
        assert portico.content() == b"release 2"
        before = portico.workers
        os.kill(min(before), signal.SIGKILL)
        portico.hears(f"(process {min(before)}) was killed by signal 9; another takes its place")
        eventually(lambda: len(portico.workers) == 2)
        portico.reload()
        eventually(lambda: not portico.workers & before)
        assert portico.content() == b"release 2"
        assert portico.end() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_current_folder_that_is_gone(site: Path, tmp_path: Path, workers: str) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()

    class Homeless(Supervised):
        command = ("sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", *Supervised.command)

    options = (str(site), "--port", "0", "--workers", workers)
    with Homeless(tmp_path, *options, cwd=gone) as portico:
        assert portico.start().content() == b"small"
        assert portico.end() == 0


def test_a_worker_that_does_not_react_is_replaced(site: Path, tmp_path: Path) -> None:
    supervisor = package_copy(tmp_path) / "server" / "processes" / "supervisor.py"
    code = supervisor.read_text()
    assert "PING_SECONDS = 10.0\n" in code
    supervisor.write_text(code.replace("PING_SECONDS = 10.0\n", "PING_SECONDS = 0.2\n"))
    options = (str(site), "--port", "0", "--workers", "2")
    with Supervised(tmp_path, *options, environ={"PYTHONPATH": str(tmp_path)}) as portico:
        victim = max(portico.start().workers)
        os.kill(victim, signal.SIGSTOP)
        portico.hears(f"(process {victim}) has not reacted for a long time, so it is killed")
        portico.hears(f"(process {victim}) was killed by signal 9; another takes its place")
        eventually(lambda: len(portico.workers - {victim}) == 2)
        assert portico.content() == b"small"
        assert portico.end() == 0


def test_a_disk_that_fails_is_told_to_the_operator_once(tmp_path: Path) -> None:
    """No process has anything at the begin of its memory, so the system cannot read it there."""
    with Supervised(tmp_path, "/proc/self", "--port", "0") as portico:
        portico.start()
        for _ in range(3):
            portico.content("/mem")
        assert portico.end() == 0
    assert portico.logged.count(" 500 ") == 3
    told = "portico: 'GET /mem HTTP/1.1' could not be answered: Input/output error\n"
    assert portico.said.count("error") == portico.said.count(told) == 1


# --- signals while it starts: it waits for its configuration in a FIFO


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_before_it_serves(site: Path, tmp_path: Path, number: signal.Signals) -> None:
    fifo = tmp_path / "portico.toml"
    os.mkfifo(fifo)
    with Supervised(tmp_path, str(site), "--config", str(fifo)) as portico:
        with fifo.open("w") as file:  # returns when the other side has opened it
            portico.send(number)
            if number == signal.SIGTERM:
                assert portico.popen.wait(PATIENCE) == 0
                assert portico.said == ""
                return
            file.write("port = 0\n")
        portico.start().hears("portico: not reloaded: that needs --workers 2 or more")
        assert portico.content() == b"small"
        assert portico.end() == 0


# --- process 1 of a container


class Container(Supervised):
    """Process 1 of a PID namespace of its own."""

    command = ("unshare", "--pid", "--fork", "--kill-child", *Supervised.command)

    @property
    def init(self) -> int:
        """Its pid outside."""
        (pid,) = children(self.popen.pid)
        return pid


@pytest.mark.parametrize("workers", ["1", "2"])
def test_process_1_ends_when_told_and_reaps_orphans(
    site: Path, tmp_path: Path, workers: str
) -> None:
    probe = ["unshare", "--pid", "--fork", "true"]
    if shutil.which("nsenter") is None or subprocess.run(probe, check=False).returncode:
        pytest.skip("this user cannot make a PID namespace")
    with Container(tmp_path, str(site), "--port", "0", "--workers", workers) as portico:
        portico.start()
        init = portico.init
        own = children(init)
        assert len(own) == (2 if workers == "2" else 0)
        reader, writer = os.pipe()
        script = "exec 3<&0; cat <&3 &"  # an orphan, when its parent has ended
        command = ["nsenter", "--target", str(init), "--pid", "sh", "-c", script]
        subprocess.run(command, check=True, stdin=reader)
        eventually(lambda: len(children(init) - own) == 1)
        os.close(writer)
        os.close(reader)
        eventually(lambda: children(init) == own)
        os.kill(init, signal.SIGTERM)
        assert portico.popen.wait(PATIENCE) == 0
        assert all(map(is_gone, own))
