"""Streams: a listing of a great many entries, and what clients can do while it is sent."""

from __future__ import annotations

import http.client
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from portico.config.config import Config
from portico.http.h1.serialize import LAST_CHUNK
from portico.server import fairness
from portico.server.embedded import Server
from portico.server.fairness import STREAMS_AT_ONCE
from portico.server.net.send_queue import SendQueue
from portico.server.responder import Responder
from portico.server.telemetry.access_log import AccessLog
from portico.site.origin.entries import WHOLE
from tests.server.clients import Client, descriptors, eventually, get, request
from tests.server.conftest import Connect, Serve
from tests.server.inside import running

MANY = 12_500
SOME = 3 * WHOLE
JSON = "Accept: application/json"
END = b"</html>\n"
ROW = b'<tr><th scope="row">'
PATIENCE = 60


def fill(folder: Path, count: int) -> None:
    """Make a folder with so many files, most of them further names of a few."""
    folder.mkdir(parents=True)
    source = ""
    for number in range(count):
        name = str(folder / f"{number}.txt")
        if number % 10_000 and hasattr(os, "link"):
            os.link(source, name)
        else:
            Path(name).write_bytes(b"x" * (number // 10_000))
            source = name


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A site with a folder of many files, one of some, and a page."""
    root = tmp_path_factory.mktemp("crowd")
    fill(root / "many", MANY)
    fill(root / "some", SOME)
    (root / "small.txt").write_bytes(b"small")
    yield root
    shutil.rmtree(root)


@pytest.fixture
def server(crowd: Path, serve: Serve) -> Server:
    return serve(crowd)


def fetch(server: Server, path: str, accept: str = "*/*") -> tuple[http.client.HTTPMessage, bytes]:
    """What an independent client gets."""
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"Accept": accept})
        response = connection.getresponse()
        return response.headers, response.read()
    finally:
        connection.close()


def test_a_great_many_entries_arrive_in_order(server: Server) -> None:
    fields, content = fetch(server, "/many/", "application/json")
    assert fields["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in fields
    entries = json.loads(content)["entries"]
    assert [entry["name"] for entry in entries] == [f"{number}.txt" for number in range(MANY)]
    fields, content = fetch(server, "/many/?sort=size&order=desc")
    assert fields["Vary"] == "Accept, Accept-Encoding"
    assert content.endswith(END)
    assert content.count(ROW) == MANY
    sizes = [int(part[: part.index(b'"')]) for part in content.split(b'<data value="')[1:-1]]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == MANY


@pytest.mark.usefixtures("any_poller")
def test_others_are_answered_while_a_long_listing_is_read(
    crowd: Path, serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row can come before all entries are read, so what others get until then comes between."""
    monkeypatch.setattr(fairness, "STREAM_SECONDS", 1e-9)  # so one step is the last of a turn
    server = serve(crowd)
    client, other = connect(server), connect(server)
    client.socket.settimeout(PATIENCE)
    client.send(get("/many/"))
    fields = client.head()[1]
    assert "content-length" not in fields
    answers = 0
    while ROW not in client.received:
        assert other.ask(get("/small.txt")).content == b"small"
        answers += 1
        if client.has_news():
            client._more()
    assert answers > 20
    assert client.content(fields).endswith(END)


def test_many_listings_at_once_are_all_completed(server: Server, connect: Connect) -> None:
    clients = [connect(server) for _ in range(STREAMS_AT_ONCE)]
    for client in clients:
        client.send(get("/some/"))
    contents = [client.answer().content for client in clients]
    assert len(set(contents)) == 1
    assert contents[0].count(ROW) == SOME


def test_there_is_a_bound_on_listings_at_once(server: Server, connect: Connect) -> None:
    """Each takes memory for all of its entries; who comes too many is told so, and later served."""

    def status(path: str) -> bytes:
        client = connect(server)
        client.send(get(path))
        while b"\r\n" not in client.received:
            assert client._more()
        return client.received[9:12]

    readers = [connect(server, receive_buffer=4096) for _ in range(STREAMS_AT_ONCE)]
    for reader in readers:
        reader.send(get("/many/"))
        assert reader.head()[0] == 200
    assert status("/some/") == b"503"
    assert status("/small.txt") == b"200"
    for reader in readers:
        reader.close()
    eventually(lambda: status("/some/") == b"200")


def test_however_many_there_are_a_turn_stays_short(
    crowd: Path, serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = [0]
    begin_turn, step = Responder.begin_turn, SendQueue.step

    def counting_turns(responder: Responder, now: float) -> None:
        turns.append(0)
        begin_turn(responder, now)

    def counting_steps(send_queue: SendQueue) -> None:
        turns[-1] += 1
        step(send_queue)

    monkeypatch.setattr(Responder, "begin_turn", counting_turns)
    monkeypatch.setattr(SendQueue, "step", counting_steps)
    monkeypatch.setattr(fairness, "STREAM_SECONDS", 1e-9)  # so one step is the last of a turn
    server = serve(crowd)
    clients = [connect(server) for _ in range(5)]
    for client in clients:
        client.send(get("/many/"))
    for client in clients:
        assert client.head()[0] == 200
    eventually(lambda: 1 in turns)
    for client in clients:
        client.close()
    eventually(lambda: server.requests == len(clients))
    assert max(turns) == 1


def test_the_time_that_we_take_is_not_the_clients(
    crowd: Path, serve: Serve, connect: Connect
) -> None:
    """Until the first row there is nothing that a client could read, or fail to."""
    server = serve(crowd, send_timeout=0.3)
    clients = [connect(server) for _ in range(5)]
    for client in clients:
        client.send(get("/many/"))
    for client in clients:
        client.socket.settimeout(PATIENCE)
        while ROW not in client.received:
            assert client._more(), "it was given up"


def test_http_1_0_ends_with_the_connection(client: Client, server: Server) -> None:
    client.send(get("/some/", "Connection: keep-alive", version="1.0"))
    _, fields, content = client.answer()
    assert "transfer-encoding" not in fields
    assert "content-length" not in fields
    assert fields["connection"] == "close"
    assert content == fetch(server, "/some/")[1]
    assert content.endswith(END)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_head_has_the_fields_of_get(server: Server, connect: Connect, version: str) -> None:
    client, other = connect(server), connect(server)
    client.send(request("HEAD", "/many/", version=version))
    status, bare, _ = client.answer("HEAD")
    assert status == 200
    if version == "1.1":
        assert client.ask(get("/small.txt")).content == b"small"
    else:
        assert client.at_end()
    other.send(get("/some/", version=version))
    _, whole, content = other.answer()
    assert content
    for fields in (bare, whole):
        del fields["date"]
    assert bare == whole
    assert bare.get("transfer-encoding") == ("chunked" if version == "1.1" else None)


def test_what_was_pipelined_behind_it_is_answered(client: Client) -> None:
    client.send(get("/some/") + get("/small.txt") + get("/some/", JSON) + get("/small.txt"))
    assert client.answer().content.count(ROW) == SOME
    assert client.answer().content == b"small"
    assert len(json.loads(client.answer().content)["entries"]) == SOME
    assert client.answer().content == b"small"


@pytest.mark.parametrize("how", ["vanish", "close"])
@pytest.mark.parametrize("when", ["at once", "while it is read", "while it is sent"])
def test_a_client_that_leaves_leaves_nothing_open(
    server: Server, connect: Connect, how: str, when: str
) -> None:
    steady = connect(server)
    assert steady.ask(get("/small.txt")).content == b"small"
    before = descriptors()
    client = connect(server)
    client.send(get("/many/"))
    if when != "at once":
        assert client.head()[0] == 200
    if when == "while it is sent":
        while ROW not in client.received:
            client._more()
    Client.vanish(client) if how == "vanish" else client.close()
    eventually(lambda: server.requests == 2)
    eventually(lambda: descriptors() <= before)
    assert steady.ask(get("/small.txt")).content == b"small"


def test_a_half_closed_client_gets_it_whole(client: Client) -> None:
    client.send(get("/some/"))
    client.half_close()
    assert client.answer().content.count(ROW) == SOME
    assert client.at_end()


def test_a_client_that_does_not_read_is_waited_for_and_no_further_step_done(
    server: Server, connect: Connect
) -> None:
    client, other = connect(server, receive_buffer=4096), connect(server)
    client.send(get("/many/"))
    _, fields = client.head()
    while ROW not in client.received:
        client._more()
    for _ in range(200):
        assert other.ask(get("/small.txt")).content == b"small"
    eventually(lambda: server.requests == 200)
    client.hurry()
    content = client.received
    assert b"0\r\n\r\n" not in content[-5:]
    assert client.content(fields).count(ROW) == MANY


def test_a_client_that_never_reads_is_given_up(crowd: Path, serve: Serve, connect: Connect) -> None:
    server = serve(crowd, send_timeout=0.3)
    client = connect(server, receive_buffer=4096)
    client.send(get("/many/"))
    eventually(lambda: server.requests == 1)
    assert client.is_cut()
    assert END not in client.received


def removing_on_the_way(
    names: Iterator[os.DirEntry[str]], folder: Path
) -> Iterator[os.DirEntry[str]]:
    """What os.scandir gives, but that the folder is removed once so many names were read."""
    for number, name in enumerate(names):
        if number == WHOLE + 100:
            shutil.rmtree(folder)
        yield name


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_folder_that_is_removed_in_the_middle_is_cut_off(
    tmp_path: Path,
    serve: Serve,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
) -> None:
    folder = tmp_path / "folder"
    fill(folder, SOME)
    (tmp_path / "small.txt").write_bytes(b"small")
    scandir = os.scandir

    def vanishing(path: int) -> Iterator[os.DirEntry[str]]:
        monkeypatch.setattr(os, "scandir", scandir)
        return removing_on_the_way(scandir(path), folder)

    server = serve(tmp_path)
    client, other = connect(server), connect(server)
    monkeypatch.setattr(os, "scandir", vanishing)
    monkeypatch.setattr(os, "supports_fd", {*os.supports_fd, vanishing})
    client.send(get("/folder/", version=version))
    # In HTTP/1.0 only a reset tells that something is missing.
    assert client.is_cut() == (version == "1.0")
    said = client.received
    assert said.startswith(b"HTTP/1.1 200 ")
    assert b"<tbody>" in said
    assert END not in said
    assert not said.endswith(LAST_CHUNK)
    assert other.ask(get("/small.txt")).content == b"small"
    assert other.ask(get("/folder/")).status == 404


def test_a_listing_is_made_anew_each_time(tmp_path: Path, serve: Serve, connect: Connect) -> None:
    fill(tmp_path / "folder", SOME)
    client = connect(serve(tmp_path))
    for number in range(4):
        answer = client.ask(get("/folder/", JSON))
        assert len(json.loads(answer.content)["entries"]) == SOME + number
        (tmp_path / "folder" / f"new {number}").touch()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_the_log_counts_the_content(crowd: Path, tmp_path: Path, version: str) -> None:
    config = Config.of(root=str(crowd), port=0)
    with (tmp_path / "log").open("wb") as log:
        access_log = AccessLog(log.fileno(), Config.of(log_format="common", color="never"))
        with running(config, log=access_log) as (worker, url), Client(url) as client:
            content = client.ask(get("/some/", version=version)).content
            eventually(lambda: worker.requests == 1)
    line = (tmp_path / "log").read_text("ascii")
    assert line.endswith(f" 200 {len(content)}\n")
