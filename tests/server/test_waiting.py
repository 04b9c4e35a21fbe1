"""Requests that a thread has to decide, and files that it has to read, by connections by hand."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from portico.config.config import Config
from portico.http.content import Octets
from portico.http.message import RequestHead, Response
from portico.server.connection import Connection
from portico.server.net.listeners import url_of
from portico.server.net.transport import Plain
from portico.server.states import CLOSED, IDLE, LINGER, WAIT
from portico.site.origin import open_file as open_file_module
from portico.site.origin.folder import Folder
from portico.site.origin.open_file import READ_AHEAD, OpenFile, Waiting
from portico.site.site import Site
from tests.server.clients import Client, descriptors, get, request
from tests.server.inside import Answers, Desk, Threads, statuses

if TYPE_CHECKING:
    from portico.server.responder import Answer

COLD = get("/cold")


class Decisions:
    """What threads decide: 200 for all, unless `problem` is raised instead. The loop cannot."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.problem: Exception | None = None
        self.by_the_loop: Response | None = None

    def in_thread(self, head: RequestHead) -> Answer:
        self.made.append(head.target)
        if self.problem is not None:
            raise self.problem
        return Response(200, [("Content-Length", "6")], (Octets(b"thread"),)), None

    def in_loop(self, head: RequestHead) -> Response:
        if head.path != "/cold":
            return Response(204, [])
        if self.by_the_loop is None:
            raise Waiting("disk")
        return self.by_the_loop


@pytest.fixture
def threads() -> Threads:
    return Threads()


@pytest.fixture
def decisions() -> Decisions:
    return Decisions()


@pytest.fixture
def desk(threads: Threads, decisions: Decisions) -> Iterator[Desk]:
    handler = Answers(decisions.in_loop)
    desk = Desk(Config.of(send_timeout=10), handler, threads.submit, decisions.in_thread)
    yield desk
    desk.close()


def test_the_reply_comes_when_a_thread_has_decided(desk: Desk, threads: Threads) -> None:
    """Those behind it are answered in order, whenever they came."""
    client, connection = desk.connect(COLD + get("/"))
    assert connection.state == WAIT
    client.send(COLD + get("/"))
    desk.turn()
    assert statuses(client) == []
    threads.run()
    assert statuses(client) == [200, 204]
    desk.turn()
    assert connection.state == WAIT
    threads.run()
    assert statuses(client) == [200, 204]
    assert connection.state == IDLE


def test_what_comes_meanwhile_is_left_alone(desk: Desk, threads: Threads) -> None:
    """The loop is told of it once, then waits for nothing but an end of the connection."""
    client, connection = desk.connect(COLD)
    client.send(get("/"))
    desk.turn()
    assert desk.loop._poller.poll(0, 1) == []
    threads.run()
    desk.turn()
    assert statuses(client) == [200, 204]
    assert connection.state == IDLE


@pytest.mark.parametrize(("by_the_loop", "expected"), [(204, 204), (404, 404), (503, 200)])
def test_the_loop_answers_itself_if_it_can_by_then(
    desk: Desk, threads: Threads, decisions: Decisions, by_the_loop: int, expected: int
) -> None:
    client, _ = desk.connect(COLD)
    decisions.by_the_loop = Response(by_the_loop, [("Content-Length", "0")])
    threads.run()
    assert statuses(client) == [expected]


@pytest.mark.parametrize("head", [get("/cold", "Connection: close"), get("/cold", version="1.0")])
def test_what_comes_while_the_last_reply_waits_resets_nothing(
    desk: Desk, threads: Threads, head: bytes
) -> None:
    client, connection = desk.connect(head)
    client.send(b"more")
    threads.run()
    assert connection.state == LINGER
    assert statuses(client) == [200, 0]


def leaves(client: socket.socket, _connection: Connection) -> None:
    client.close()


def is_closed(_client: socket.socket, connection: Connection) -> None:
    connection.close()


def is_late(_client: socket.socket, connection: Connection) -> None:
    connection.expire()


@pytest.mark.parametrize("happens", [leaves, is_closed, is_late])
def test_work_that_is_not_wanted_any_more_is_not_begun(
    desk: Desk,
    threads: Threads,
    decisions: Decisions,
    happens: Callable[[socket.socket, Connection], None],
) -> None:
    client, connection = desk.connect(COLD)
    happens(client, connection)
    desk.turn()
    threads.run()
    assert decisions.made == []


@pytest.mark.parametrize(("resets", "made"), [(True, []), (False, ["/cold"])])
def test_a_reset_drops_the_work_and_a_half_closed_client_is_answered(
    desk: Desk, threads: Threads, decisions: Decisions, resets: bool, made: list[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, Client(url_of(listener)) as client:
        ours, _ = listener.accept()
        way = Plain(ours.family, ours.type, ours.proto, ours.detach())
        way.setblocking(False)
        client.send(COLD)
        connection = desk.serve(client.socket, way)
        while connection.state != WAIT:
            desk.turn()
        (client.vanish if resets else client.half_close)()
        desk.turn()
        assert connection.state == (CLOSED if resets else WAIT)
        threads.run()
        assert decisions.made == made
        assert resets or client.answer().content == b"thread"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_takes_too_long_is_503_once(desk: Desk, threads: Threads, method: str) -> None:
    """The result that comes too late is ignored."""
    client, connection = desk.connect(request(method, "/cold") + get("/"))
    assert connection.deadline == desk.responder.now + 10
    (work, done), *_ = threads.waiting
    work()
    connection.expire()
    done()
    said = client.recv(1 << 16)
    assert said.startswith(b"HTTP/1.1 503 ")
    assert said.count(b"HTTP/1.1 ") == 1
    assert said.endswith(b"\r\n\r\n") == (method == "HEAD")
    assert connection.state == LINGER
    assert statuses(client) == [0]


def test_where_too_many_wait_it_is_503(desk: Desk, threads: Threads) -> None:
    threads.has_room = False
    client, connection = desk.connect(COLD + get("/"))
    assert statuses(client) == [503, 0]
    assert connection.state == LINGER
    threads.run()
    assert statuses(client) == [0]


def test_a_bug_in_a_thread_is_500(
    desk: Desk, threads: Threads, decisions: Decisions, capfd: pytest.CaptureFixture[str]
) -> None:
    decisions.problem = LookupError("in a thread")
    client, _ = desk.connect(COLD)
    threads.run()
    assert statuses(client)[0] == 500
    assert "LookupError: in a thread" in capfd.readouterr().err


# --- files

SIZE = 9 << 20  # more than is hashed


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is in memory."""
    monkeypatch.setattr(OpenFile, "_read_from_memory", lambda *_: None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(os.urandom(1 << 20) * (SIZE >> 20))
    return path


@pytest.fixture
def files(file: Path, threads: Threads) -> Iterator[Desk]:
    """Serves the folder of `file`."""
    config = Config.of(root=str(file.parent), send_timeout=10)
    folder = Folder(config, 1 << 20, may_wait=False)
    slow = Site(Folder(config, 0, like=folder))
    desk = Desk(config, Site(folder), threads.submit, slow.answer)
    yield desk
    desk.close()
    threads.waiting.clear()
    for _ in range(2):
        folder.expire()


def receive(client: socket.socket) -> bytes:
    """What has come."""
    pieces = []
    with suppress(BlockingIOError):
        while piece := client.recv(1 << 20):
            pieces.append(piece)
    return b"".join(pieces)


def download(desk: Desk, threads: Threads, client: socket.socket, size: int) -> bytes:
    """Receive until `size` octets came, or the connection was closed."""
    said = b""
    while len(said) < size and desk.connections:
        threads.run()
        desk.turn()
        said += receive(client)
    return said + receive(client)


@pytest.mark.usefixtures("cold")
@pytest.mark.parametrize(("first", "last"), [(0, SIZE - 1), (SIZE - 1, SIZE - 1), (5, READ_AHEAD)])
def test_a_cold_file_is_sent_whole(
    files: Desk, threads: Threads, file: Path, first: int, last: int
) -> None:
    count = last + 1 - first
    client, connection = files.connect(get("/file.bin", f"Range: bytes={first}-{last}"))
    assert connection.state == WAIT
    said = download(files, threads, client, count)
    head, _, begin = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 206 ")
    content = begin + download(files, threads, client, count - len(begin))
    assert content == file.read_bytes()[first : last + 1]
    assert connection.state == IDLE


@pytest.mark.usefixtures("cold")
def test_each_piece_has_its_own_deadline(files: Desk, threads: Threads) -> None:
    """A client that takes all at once, and a disk that needs nearly all the time for each piece."""
    client, connection = files.connect(get("/file.bin"))
    for _ in range(5):
        assert connection.state == WAIT
        files.responder.now = connection.deadline - 1
        waiting, threads.waiting = threads.waiting, []
        for work, done in waiting:
            work()
            done()
        while connection.state != WAIT:
            receive(client)
            files.turn()
        assert connection.deadline >= files.responder.now + 10


@pytest.mark.usefixtures("cold")
@pytest.mark.parametrize("happens", [leaves, is_closed, is_late])
def test_a_download_that_waits_may_end(
    files: Desk,
    threads: Threads,
    monkeypatch: pytest.MonkeyPatch,
    happens: Callable[[socket.socket, Connection], None],
) -> None:
    client, connection = files.connect(get("/file.bin"))
    assert connection.state == WAIT
    reads: list[int] = []
    monkeypatch.setattr(open_file_module, "read_at", lambda *given: reads.append(len(given)))
    happens(client, connection)
    files.turn()
    threads.run()
    assert not files.connections
    assert not reads


@pytest.mark.usefixtures("cold")
@pytest.mark.parametrize("size", [0, SIZE // 2, SIZE])
def test_a_cold_file_that_changes_meanwhile_is_cut(
    files: Desk, threads: Threads, file: Path, size: int
) -> None:
    client, _ = files.connect(get("/file.bin"))
    os.truncate(file, size)
    os.utime(file, (1, 1))
    said = download(files, threads, client, SIZE)
    assert said.startswith(b"HTTP/1.1 200 ")
    assert len(said.partition(b"\r\n\r\n")[2]) < SIZE
    assert not files.connections


def test_clients_share_an_open_file_and_hold_none_while_they_wait(
    files: Desk, threads: Threads, file: Path
) -> None:
    os.truncate(file, 1 << 20)  # so that a thread hashes it
    before = descriptors()
    waiting = [files.connect(get("/file.bin")) for _ in range(8)]
    assert all(connection.state == WAIT for _, connection in waiting)
    assert descriptors() == before + 2 * len(waiting)  # the sockets
    threads.run()
    assert descriptors() == before + 2 * len(waiting) + 1
