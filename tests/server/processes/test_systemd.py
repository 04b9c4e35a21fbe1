"""The service manager: what it is told, and the sockets that it hands over."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
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
        self._socket.settimeout(PATIENCE)
        self._socket.bind(address.replace("@", "\0"))

    def hears(self) -> dict[str, str]:
        """The next message."""
        lines = self._socket.recv(4096).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    abstract = f"@portico-test-{os.getpid()}-{time.monotonic_ns()}"
    manager = Manager(str(tmp_path / "notify") if request.param == "path" else abstract)
    yield manager
    manager.close()


def test_states(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.variable)
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
        portico.hears("portico: nothing is reloaded: that takes --workers 2 or more, or auto\n")
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


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@needs_proc
@pytest.mark.parametrize("workers", ["1", "2"])
def test_sockets_of_the_manager_are_used_and_left_to_it(
    site: Path, tmp_path: Path, listeners: list[socket.socket], workers: str, stack: ExitStack
) -> None:
    port = listeners[0].getsockname()[1]
    early = stack.enter_context(Client(f"http://127.0.0.1:{port}/"))  # before there is a server
    early.send(get("/small.txt"))
    options = (str(site), "--port", "1", "--workers", workers)
    with Activated(tmp_path, listeners, *options) as portico:
        portico.start()
        assert portico.urls == [f"http://127.0.0.1:{port}/", f"unix:{tmp_path}/www"]
        assert "Warning: the service manager chose where to listen" in portico.said
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
    Client(f"http://127.0.0.1:{port}/").close()  # who comes now waits for the next server


@pytest.mark.parametrize("kind", ["no socket", "not listening", "datagrams"])
def test_what_is_no_listening_socket_is_refused(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if kind == "no socket":
        fd = os.open(tmp_path, os.O_RDONLY)
    else:
        with socket.socket(
            type=socket.SOCK_DGRAM if kind == "datagrams" else socket.SOCK_STREAM
        ) as made:
            fd = os.dup(made.fileno())
    monkeypatch.setattr(systemd, "FIRST", fd)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    with pytest.raises(BindError, match=f"descriptor {fd}, handed over by LISTEN_FDS, "):
        systemd.inherited_sockets()
    if kind == "no socket":
        os.close(fd)


def test_sockets_are_taken_over_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(systemd, "FIRST", os.dup(server.fileno()))
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        found = systemd.inherited_sockets()
        (taken,) = found.values()
        assert not taken.getblocking()
        assert not taken.get_inheritable()
        assert taken.getsockname() == server.getsockname()
        assert systemd.inherited_sockets() == {}
        discard(found)


def test_what_is_meant_for_another_process_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getppid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert systemd.inherited_sockets() == {}


@pytest.mark.parametrize("count", ["", "0", "-1", "x", "99999", "1025"])
def test_a_count_that_is_none(count: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", count)
    with pytest.raises(BindError, match=re.escape(f"LISTEN_FDS is {count!r}")):
        systemd.inherited_sockets()


def test_the_variables_are_gone_whatever_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        monkeypatch.setenv(name, "7")
    systemd.inherited_sockets()
    assert not {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} & os.environ.keys()
