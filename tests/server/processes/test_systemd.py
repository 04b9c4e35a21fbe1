"""The service manager: what it is told, and the sockets that it hands over."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from portico.server.net.listeners import BindError, discard
from portico.server.processes import systemd
from tests.server.clients import PATIENCE, Client, eventually, get
from tests.server.processes.supervised import Supervised, needs_proc

needs_unix = pytest.mark.skipif(sys.platform != "linux", reason="there is no such manager")
pytestmark = needs_unix


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.variable = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0"))

    def hears(self, patience: float = PATIENCE) -> dict[str, str]:
        """The next message."""
        self._socket.settimeout(patience)
        lines = self._socket.recv(4096).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with closing(Manager(str(tmp_path / "notify"))) as manager:
        yield manager


@pytest.mark.parametrize("name", ["@portico-test-{pid}", "{tmp_path}/notify"])
def test_states(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At an abstract address, and at a path."""
    address = name.format(pid=os.getpid(), tmp_path=tmp_path)
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with closing(Manager(address)) as manager:
        systemd.ready("all\nis well")
        assert manager.hears() == {"READY": "1", "STATUS": "all is well"}
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        systemd.reloading()
        told = manager.hears()
        assert told["RELOADING"] == "1"
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert before <= int(told["MONOTONIC_USEC"]) <= after
        systemd.stopping()
        assert manager.hears()["STOPPING"] == "1"


@pytest.mark.parametrize("address", ["", "/none/there", "vsock:2:1234", "@nobody-listens-here"])
def test_without_a_manager_nothing_happens(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.ready("well")


def test_one_process_tells_when_it_serves_and_when_it_ends(
    site: Path, tmp_path: Path, manager: Manager
) -> None:
    options = (str(site), "--port", "0")
    with Supervised(tmp_path, *options, environ={"NOTIFY_SOCKET": manager.variable}) as portico:
        assert manager.hears() == {"READY": "1", "STATUS": "1 worker"}
        assert portico.start().content() == b"small"
        portico.send(signal.SIGHUP)
        assert "RELOADING" in manager.hears()
        assert manager.hears()["READY"] == "1"
        portico.hears("portico: not reloaded: that needs --workers 2 or more, or auto\n")
        assert portico.content() == b"small"
        assert portico.end() == 0
    assert manager.hears()["STOPPING"] == "1"


@needs_proc
def test_several_tell_of_reloads_too(site: Path, tmp_path: Path, manager: Manager) -> None:
    file = tmp_path / "portico.toml"
    file.write_text("")
    options = (str(site), "--port", "0", "--workers", "2", "--config", str(file))
    with Supervised(tmp_path, *options, environ={"NOTIFY_SOCKET": manager.variable}) as portico:
        assert manager.hears() == {"READY": "1", "STATUS": "2 workers"}
        portico.start().send(signal.SIGHUP)
        assert "MONOTONIC_USEC" in manager.hears()
        assert manager.hears() == {"READY": "1", "STATUS": "2 workers"}
        file.write_text("ports = 1")
        portico.send(signal.SIGHUP)
        assert "RELOADING" in manager.hears()
        told = manager.hears()
        assert told["READY"] == "1"
        assert told["STATUS"].startswith(f"Not reloaded: {file}, line 1, key ports: ")
        eventually(lambda: len(portico.workers) == 2)  # the old ones have gone
        for pid in portico.workers:
            assert b"NOTIFY_SOCKET" not in Path(f"/proc/{pid}/environ").read_bytes()
        assert portico.end() == 0
    assert manager.hears()["STOPPING"] == "1"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_signs_of_life_are_given_as_often_as_they_are_wanted(
    workers: str, site: Path, tmp_path: Path, manager: Manager
) -> None:
    environ = {"NOTIFY_SOCKET": manager.variable, "WATCHDOG_USEC": "200000"}
    options = (str(site), "--port", "0", "--workers", workers)
    with Supervised(tmp_path, *options, environ=environ) as portico:
        while "READY" not in manager.hears():
            pass
        assert [manager.hears() for _ in range(3)] == [{"WATCHDOG": "1"}] * 3
        portico.start().send(signal.SIGSTOP)
        with suppress(TimeoutError):
            while manager.hears(patience=1):
                pass
        portico.send(signal.SIGCONT)
        assert manager.hears() == {"WATCHDOG": "1"}
        assert portico.end() == 0


def test_signs_of_life_for_another_process_are_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for variables in ({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "no"}, {}):
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            systemd.watch(lambda _seconds, _what: pytest.fail("nothing is to be done"))


# --- sockets that are handed over

ACTIVATE = """
import os, sys
descriptors, command = sys.argv[1].split(","), sys.argv[2:]
for number, fd in enumerate(map(int, descriptors)):
    os.dup2(fd, 3 + number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(descriptors)))
os.execv(sys.executable, [sys.executable, "-m", "portico", *command])
"""


class Activated(Supervised):
    """The command, started as a service manager does it that listens already."""

    def __init__(self, folder: Path, listeners: list[socket.socket], *options: str) -> None:
        high = [os.dup(each.fileno()) for each in listeners]
        numbers = ",".join(map(str, high))
        self.command = (sys.executable, "-c", ACTIVATE, numbers)
        try:
            super().__init__(folder, *options, pass_fds=high)
        finally:
            for fd in high:
                os.close(fd)


@pytest.fixture
def listeners(tmp_path: Path) -> Iterator[list[socket.socket]]:
    """A TCP and a unix socket that listen."""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "www"))
        unix.listen()
        yield [tcp, unix]


@needs_proc
@pytest.mark.parametrize("workers", ["1", "2"])
def test_sockets_of_the_manager_are_used_and_left_to_it(
    site: Path, tmp_path: Path, listeners: list[socket.socket], workers: str
) -> None:
    url = f"http://127.0.0.1:{listeners[0].getsockname()[1]}/"
    options = (str(site), "--port", "1", "--workers", workers)
    with Client(url) as early, Activated(tmp_path, listeners, *options) as portico:
        early.send(get("/small.txt"))  # perhaps before the server has started
        portico.start()
        assert portico.urls == [url, f"unix:{tmp_path}/www"]
        assert "Warning: the service manager chose the address" in portico.said
        assert early.answer().content == b"small"
        if workers == "2":
            portico.reload()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(tmp_path / "www"))
            client.sendall(get("/small.txt", "Connection: close"))
            with client.makefile("rb") as answer:
                assert answer.read().endswith(b"small")
        assert portico.end() == 0
    assert (tmp_path / "www").is_socket()
    Client(url).close()  # a client that comes now waits for the next server


def offer(monkeypatch: pytest.MonkeyPatch, fd: int, **variables: str) -> None:
    """Set the variables as the service manager does that hands over one socket, `fd`."""
    monkeypatch.setattr(systemd, "FIRST", fd)
    for name, value in {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", **variables}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("kind", ["no socket", "not listening", "datagrams"])
def test_what_is_no_listening_socket_is_refused(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if kind == "no socket":
        fd = os.open(tmp_path, os.O_RDONLY)
    else:
        kinds = {"datagrams": socket.SOCK_DGRAM, "not listening": socket.SOCK_STREAM}
        fd = socket.socket(type=kinds[kind]).detach()
    offer(monkeypatch, fd)
    with pytest.raises(BindError, match=f"descriptor {fd}, handed over by LISTEN_FDS, "):
        systemd.inherited_sockets()
    if kind == "no socket":
        os.close(fd)


def test_sockets_are_taken_over_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        offer(monkeypatch, os.dup(server.fileno()))
        found = systemd.inherited_sockets()
        (taken,) = found.values()
        assert not taken.getblocking()
        assert not taken.get_inheritable()
        assert taken.getsockname() == server.getsockname()
        assert systemd.inherited_sockets() == {}
        discard(found)


def test_what_is_meant_for_another_process_has_stopped_but_not_the_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(monkeypatch, 3, LISTEN_PID=str(os.getppid()), LISTEN_FDNAMES="x")
    assert systemd.inherited_sockets() == {}
    assert not {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} & os.environ.keys()


@pytest.mark.parametrize("count", ["", "0", "-1", "x", "99999", "1025"])
def test_a_count_that_is_none(count: str, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, 3, LISTEN_FDS=count)
    with pytest.raises(BindError, match=re.escape(f"LISTEN_FDS is {count!r}")):
        systemd.inherited_sockets()
