"""Several workers: they share the work, are replaced, and end in good order, whatever happens."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from portico.cli.main import main
from portico.config.kinds import cores
from portico.server.processes.sandbox import landlock_abi
from tests.server.clients import Client, eventually, get
from tests.server.processes.supervised import (
    Supervised,
    children,
    is_gone,
    needs_proc,
    package_copy,
)

pytestmark = needs_proc

LARGE = 1 << 22
HAS_LANDLOCK = landlock_abi() > 0
"""Then a worker holds one descriptor more."""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def two(site: Path, tmp_path: Path) -> Iterator[Supervised]:
    """Two workers with much patience."""
    options = (str(site), "--port", "0", "--workers", "2", "--grace", "3600")
    with Supervised(tmp_path, *options) as portico:
        yield portico.start()


def test_each_worker_serves_when_the_other_cannot(two: Supervised) -> None:
    assert "with 2 workers\n" in two.said
    first, second = two.workers
    for idle in (first, second):
        os.kill(idle, signal.SIGSTOP)
        assert [two.content() for _ in range(5)] == [b"small"] * 5
        os.kill(idle, signal.SIGCONT)
    assert two.end() == 0
    assert re.search(r"\nStopped after 10 requests in [0-9]+ s\.\n", two.said)
    assert two.logged.count('"GET /small.txt HTTP/1.1" 200 5\n') == 10


def test_each_worker_limits_addresses_by_itself(
    site: Path, tmp_path: Path, stack: ExitStack
) -> None:
    """So a client gets up to as many connections from each."""
    options = (str(site), "--port", "0", "--workers", "2", "--client-connections", "2")
    with Supervised(tmp_path, *options) as portico:
        for idle in sorted(portico.start().workers):
            os.kill(idle, signal.SIGSTOP)
            clients = [stack.enter_context(Client(portico.url)) for _ in range(3)]
            found = sorted(client.ask(get("/small.txt")).status for client in clients)
            assert found == [200, 200, 429]
            os.kill(idle, signal.SIGCONT)
        assert portico.end() == 0


def test_auto_is_a_worker_for_each_core(site: Path, tmp_path: Path) -> None:
    with Supervised(tmp_path, str(site), "--port", "0", "--workers", "auto") as portico:
        assert len(portico.start().workers) == cores()
        assert portico.end(signal.SIGINT) == 0


def test_a_killed_worker_is_replaced_and_others_are_not_harmed(
    two: Supervised, stack: ExitStack
) -> None:
    clients = [stack.enter_context(Client(two.url)) for _ in range(20)]
    for client in clients:
        assert client.ask(get("/small.txt")).content == b"small"
    victim, other = sorted(two.workers)
    unharmed = (
        len(list(Path(f"/proc/{other}/fd").iterdir())) - 10 - HAS_LANDLOCK
    )  # its own, see below
    os.kill(victim, signal.SIGKILL)
    two.hears(f"(process {victim}) was killed by signal 9; another takes its place in 0.1 s")
    assert two.content() == b"small"
    alive = [client for client in clients if not client.has_news()]
    assert len(alive) == unharmed
    for client in alive:
        assert client.ask(get("/small.txt")).content == b"small"
    eventually(lambda: len(two.workers) == 2)
    assert other in two.workers
    assert victim not in two.workers
    assert two.end() == 0


def test_the_younger_they_die_the_longer_is_the_pause(two: Supervised) -> None:
    steady = max(two.workers)
    for pause in ("0.1", "0.2", "0.4"):
        eventually(lambda: len(two.workers) == 2)
        (victim,) = two.workers - {steady}
        os.kill(victim, signal.SIGKILL)
        two.hears(f"(process {victim}) was killed by signal 9; another takes its place in {pause}")
    assert two.content() == b"small"
    assert two.end() == 0


def test_a_worker_that_the_operator_ends_is_replaced(two: Supervised, stack: ExitStack) -> None:
    client = stack.enter_context(Client(two.url, receive_buffer=4096))
    client.send(get("/large.bin"))
    eventually(client.has_news)
    before = two.workers
    for pid in before:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGTERM)  # it may come by two ways, and means the same
        two.hears(f"(process {pid}) has been told to end; another takes its place")
    eventually(lambda: len(two.workers - before) == 2)
    assert two.content() == b"small"
    client.hurry()
    assert len(client.answer().content) == LARGE
    client.close()
    eventually(lambda: not two.workers & before)
    assert two.end() == 0


@pytest.mark.parametrize("started", [1, 2])
def test_a_signal_while_they_start(site: Path, tmp_path: Path, started: int) -> None:
    with Supervised(tmp_path, str(site), "--port", "0", "--workers", "2") as portico:
        eventually(lambda: len(portico.workers) >= started)
        assert portico.end(signal.SIGINT) == 0


def test_workers_notice_that_nobody_supervises_them(two: Supervised, stack: ExitStack) -> None:
    """They finish what they are at, and no process is left."""
    client = stack.enter_context(Client(two.url, receive_buffer=4096))
    client.send(get("/large.bin"))
    eventually(client.has_news)
    workers = two.workers
    two.send(signal.SIGKILL)
    two.popen.wait()
    eventually(lambda: not two.accepts())
    client.hurry()
    assert len(client.answer().content) == LARGE
    client.close()
    eventually(lambda: all(map(is_gone, workers)))


# --- what they are given


def test_workers_hold_what_they_need_and_nothing_else(site: Path, tmp_path: Path) -> None:
    """Streams, two listening sockets, the line to the supervisor, and what their loop needs."""
    expected = ["/dev/null", f"{tmp_path}/stdout", f"{tmp_path}/stderr"]
    expected += ["anon_inode"] * 2 + ["socket"] * 5
    expected = sorted([*expected, *["/proc/PID/mountinfo"] * HAS_LANDLOCK])

    def held(pid: int) -> list[str]:
        found = []
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # while it starts, files come and go
                place = str(each.readlink()).partition(":")[0]
                found.append(place.replace(f"/{pid}/", "/PID/"))
        return sorted(found)

    reader, writer = os.pipe()
    options = (str(site), "--listen", "127.0.0.1:0", "--listen", f"unix:{tmp_path}/www")
    try:
        with Supervised(tmp_path, *options, "--workers", "2", pass_fds=[writer]) as portico:
            portico.start()
            first = portico.workers
            eventually(lambda: all(held(pid) == expected for pid in first))
            os.kill(min(first), signal.SIGKILL)
            eventually(lambda: len(portico.workers - first) == 1)
            (later,) = portico.workers - first
            eventually(lambda: held(later) == expected)
            assert portico.end() == 0
    finally:
        os.close(reader)
        os.close(writer)


def test_the_site_is_no_place_for_modules_and_its_mistakes_are_told_once(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    (tmp_path / "small.txt").write_bytes(b"small")
    (tmp_path / "_redirects").write_text("what is this\n")
    with Supervised(
        tmp_path, ".", "--port", "0", "--workers", "2", environ={"PYTHONSAFEPATH": "1"}
    ) as portico:
        assert portico.start().content() == b"small"
        assert portico.end() == 0
    assert portico.said.count("_redirects") == 1


def test_workers_that_cannot_start_stop_the_server(site: Path, tmp_path: Path) -> None:
    copy = package_copy(tmp_path)
    with (copy / "server" / "worker.py").open("a") as file:
        file.write("\nraise SystemExit(9)\n")
    options = (str(site), "--port", "0", "--workers", "2")
    with Supervised(tmp_path, *options, environ={"PYTHONPATH": str(tmp_path)}) as portico:
        assert portico.popen.wait(20) == 1
    line = r"portico: error: worker [12] \(process [0-9]+\) has ended with exit code 9\n"
    assert re.fullmatch(line, portico.said)


def test_main_supervises_and_puts_all_back(
    site: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """In this very process: `main` serves, another thread acts as client and as operator."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
    before = [signal.getsignal(number) for number in numbers]
    path = tmp_path / "www"
    own = os.getpid()
    others = children(own)
    failures: list[BaseException] = []

    def workers() -> set[int]:
        return children(own) - others

    def served() -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(path))
            client.sendall(get("/small.txt", "Connection: close"))
            with client.makefile("rb") as answer:
                return answer.read().endswith(b"small")

    def listens() -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(path)) == 0

    def act() -> None:
        try:
            eventually(listens)
            assert served()
            first = workers()
            os.kill(min(first), signal.SIGKILL)
            eventually(lambda: len(workers() - {min(first)}) == 2)
            second = workers()
            os.kill(own, signal.SIGHUP)
            eventually(lambda: len(workers() - second) == 2 and not workers() & second)
            assert served()
        except BaseException as problem:  # noqa: BLE001 (the test is to fail, not the thread)
            failures.append(problem)
        finally:
            if signal.getsignal(signal.SIGTERM) != before[1]:
                os.kill(own, signal.SIGTERM)

    operator = threading.Thread(target=act)
    operator.start()
    try:
        code = main([str(site), "--listen", f"unix:{path}", "--workers", "2", "--grace", "0.1"])
    finally:
        operator.join()
    assert failures == []
    assert code == 0
    assert [signal.getsignal(number) for number in numbers] == before
    said = capfd.readouterr().err
    assert "was killed by signal 9; another takes its place" in said
    assert "portico: reloaded: 2 workers\n" in said
    assert "Stopped after " in said
    assert not path.exists()
