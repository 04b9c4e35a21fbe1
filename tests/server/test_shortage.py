"""Fewer descriptors than clients: who is served already goes on, the others wait, nothing spins."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from portico.config.config import Config
from portico.server.net.descriptors import FILES_SHARE, share_out
from tests.server.clients import Client, eventually, get, request
from tests.server.uploading import FORM, part, put

GRANTED = 48
TAKEN = 20
CLIENTS = 64
PLACES = GRANTED - GRANTED // FILES_SHARE

# Serves with few descriptors, of which the program takes some for itself, and all that there are
# when it reads "all". For each other line that it reads it tells what it did in half a second.
PROGRAM = """
import contextlib, json, os, resource, sys, time
import portico
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]),) * 2)
with portico.Server(sys.argv[1], allow=sys.argv[4]) as server:
    taken = [os.dup(0) for _ in range(int(sys.argv[3]))]
    print(server.url, flush=True)
    for line in sys.stdin:
        if line == "all\\n":
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            print(len(taken), flush=True)
            continue
        before, turn = time.process_time(), server._worker._responder.freshness.round
        time.sleep(0.5)
        print(json.dumps({
            "seconds": time.process_time() - before,
            "turns": server._worker._responder.freshness.round - turn,
            "connections": server._worker.connections,
        }), flush=True)
"""


class Process:
    """A server in a process of its own, which must end without a traceback on stderr."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self.popen = popen
        self.url = self._line()

    def _line(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().strip()

    def _tell(self, line: str) -> str:
        assert self.popen.stdin is not None
        self.popen.stdin.write(line)
        self.popen.stdin.flush()
        return self._line()

    def spent(self) -> dict[str, float]:
        """What it does while half a second goes by."""
        spent: dict[str, float] = json.loads(self._tell("\n"))
        return spent

    def take_all(self) -> None:
        """Leave it no descriptor."""
        assert int(self._tell("all\n"))


@contextmanager
def serving(site: Path, taken: int, granted: int = GRANTED, allow: str = "") -> Iterator[Process]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", PROGRAM, str(site), str(granted), str(taken), allow]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as popen:
        yield Process(popen)
        rest, said = popen.communicate()
        assert rest == ""
        assert "Traceback" not in said
    assert popen.returncode == 0


def test_more_clients_than_descriptors(site: Path) -> None:
    """All that there are hang on downloads; the other clients wait, and cost nothing meanwhile.

    `accept` fails, since others have taken descriptors that the server counted on. Then there may
    be none for the file either, but whoever is connected gets an answer.
    """
    with serving(site, TAKEN) as process, ExitStack() as stack:
        clients: list[Client] = []
        for number in range(CLIENTS):
            clients.append(stack.enter_context(Client(process.url, receive_buffer=4096)))
            clients[-1].send(get("/large.bin"))
            if number == 0:
                eventually(clients[0].has_news)  # the file is open before descriptors run out
                process.popen.send_signal(signal.SIGSTOP)  # until all have asked
        process.popen.send_signal(signal.SIGCONT)
        eventually(lambda: process.spent()["connections"] > 5)
        spent = process.spent()
        assert 5 < spent["connections"] < GRANTED - TAKEN
        assert spent["seconds"] < 0.3
        assert spent["turns"] < 500
        for client in clients:
            client.hurry()
            answer = client.answer()
            assert answer.status == 503 or len(answer.content) == 1 << 22
            client.close()
        with Client(process.url) as client:
            assert client.ask(get("/n/3.txt")).content == b"3"
        while process.spent()["connections"]:
            pass


def test_who_is_connected_can_still_be_shown_files(site: Path) -> None:
    """Connections do not use up the descriptors that their own requests need."""
    with serving(site, 0) as process, ExitStack() as stack:
        with Client(process.url) as client:  # to be hashed, a file is opened once more
            assert client.ask(request("HEAD", "/large.bin"), method="HEAD").status == 200
        clients = [
            stack.enter_context(Client(process.url, receive_buffer=4096)) for _ in range(PLACES)
        ]
        for number, client in enumerate(clients):
            client.send(get("/large.bin") + get(f"/n/{number}.txt"))
        assert process.spent()["connections"] > GRANTED // 2
        for number, client in enumerate(clients):
            client.hurry()
            assert len(client.answer().content) == 1 << 22
            assert client.answer().content == b"%d" % number


def test_who_is_served_goes_on_without_any_descriptor_left(tmp_path: Path) -> None:
    """Also one that does not take a reply at once; nothing that it needs is opened only then."""
    size = 1 << 24
    (tmp_path / "huge.bin").write_bytes(bytes(size))
    with serving(tmp_path, 0) as process, Client(process.url, receive_buffer=4096) as client:
        assert client.ask(request("HEAD", "/huge.bin"), method="HEAD").status == 200
        process.take_all()
        for _ in range(2):
            client.send(get("/huge.bin"))
            process.spent()
            client.hurry()
            assert len(client.answer().content) == size


@pytest.mark.parametrize("taken", [0, 12])
def test_files_that_are_kept_open_use_up_no_descriptors(tmp_path: Path, taken: int) -> None:
    """More of them than there are descriptors, each of which would gladly be kept open."""
    for number in range(2 * GRANTED):
        (tmp_path / f"{number}.bin").write_bytes(b"%d" % number * 4096)
    with serving(tmp_path, taken) as process, ExitStack() as stack:
        first, *others = [stack.enter_context(Client(process.url)) for _ in range(GRANTED // 8)]
        for number in range(2 * GRANTED):
            answer = first.ask(get(f"/{number}.bin"))
            assert (answer.status, answer.content) == (200, b"%d" % number * 4096)
        for client in others:
            assert client.ask(get("/0.bin")).status == 200


def test_forms_leave_descriptors_for_others(tmp_path: Path) -> None:
    """These forms never end, and together have more files than there are descriptors."""
    pytest.importorskip("multipart")
    (tmp_path / "file.txt").write_bytes(b"old")
    with serving(tmp_path, 0, 128, "create") as process, ExitStack() as stack:
        clients = []
        for number in range(18):
            names = [f"{number}-{n}.txt" for n in range(10)]
            content = b"".join(part(name, b"x") for name in names).ljust(300_000)
            clients.append(stack.enter_context(Client(process.url)))
            clients[-1].send(request("POST", "/", FORM, f"Content-Length: {1 << 20}") + content)
        eventually(lambda: any(client.has_news() for client in clients))
        assert {each.answer().status for each in clients if each.has_news()} == {503}
        opened = Path(f"/proc/{process.popen.pid}/fd")
        assert not opened.exists() or len(list(opened.iterdir())) < 96 + 18
        other = stack.enter_context(Client(process.url))
        assert other.ask(get("/file.txt")).content == b"old"
        assert put(other, "/new.txt", b"new").status == 201


def test_the_bound_on_connections_leaves_room_for_files() -> None:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert share_out(Config.of(max_connections=1)).connections == 1
    most = share_out(Config.of(max_connections=1_000_000)).connections
    assert (
        most == 1_000_000 if soft == resource.RLIM_INFINITY else most <= soft - soft // FILES_SHARE
    )
