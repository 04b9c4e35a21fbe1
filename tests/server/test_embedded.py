"""Server within a program: several at once, from any thread, and nothing left behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import portico
from portico import BindError, ConfigError, Server
from portico.server.states import SEND
from tests.server.clients import Client, descriptors, eventually, get
from tests.server.conftest import Connect, Serve
from tests.server.inside import states, worker_of


def test_several_in_one_process(tmp_path: Path) -> None:
    servers = []
    for number in range(5):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "index.html").write_text(str(number))
        servers.append(Server(folder))
    for server in servers:
        server.start()
    assert len({server.url for server in servers}) == 5
    for number, server in enumerate(servers):
        with Client(server.url) as client:
            assert client.ask(get("/")).content == str(number).encode()
    for server in servers:
        wait_for_requests(server, 1)
    servers[0].stop()
    with Client(servers[1].url) as client:
        assert client.ask(get("/")).content == b"1"
    for server in servers:
        server.stop()


def wait_for_requests(server: Server, count: int) -> None:
    """An answer is counted just after it was sent."""
    eventually(lambda: server.requests == count)


def test_nothing_global_is_touched(site: Path) -> None:
    def state() -> list[object]:
        handlers = [signal.getsignal(number) for number in signal.valid_signals()]
        return [handlers, Path.cwd(), os.umask(os.umask(0)), sys.stdout, sys.stderr]

    before = state()
    with Server(site) as server, Client(server.url) as client:
        client.ask(get("/small.txt"))
        assert state() == before
    assert state() == before


def test_starting_and_stopping_leaves_nothing(site: Path) -> None:
    """No descriptor and no thread, not even until the next garbage collection."""
    gc.disable()
    try:
        files, threads = descriptors(with_garbage=True), set(threading.enumerate())
        for number in range(10):
            server = Server(site)
            server.start()
            with Client(server.url) as client:
                assert len(client.ask(get("/large.bin")).content) == 1 << 22
                assert client.ask(get(f"/n/{number}.txt")).content == b"%d" % number
                server.stop()
            assert descriptors(with_garbage=True) <= files
            assert threads.issuperset(threading.enumerate())
    finally:
        gc.enable()


def test_after_a_stop_nobody_answers(site: Path) -> None:
    with Server(site) as server, Client(server.url) as client:
        client.ask(get("/small.txt"))
        server.stop()
        assert client.at_end()
        with pytest.raises(ConnectionRefusedError):
            Client(server.url)
        server.stop()


@pytest.mark.parametrize(("more", "stops"), [(b"", 1), (get("/small.txt"), 1), (b"", 4)])
def test_stop_finishes_a_download(
    site: Path, connect: Connect, serve: Serve, more: bytes, stops: int
) -> None:
    """From several threads, too. A request behind it must not make the server send a reset."""
    server = serve(grace=60)
    worker = worker_of(server)
    client = connect(server, receive_buffer=4096)
    client.send(get("/large.bin"))
    eventually(client.has_news)
    client.send(more)
    threads = [threading.Thread(target=server.stop) for _ in range(stops)]
    for thread in threads:
        thread.start()
    eventually(lambda: worker._responder.draining)
    assert client.answer().content == (site / "large.bin").read_bytes()
    assert client.at_end()
    client.close()
    for thread in threads:
        thread.join()


def test_stop_does_not_wait_longer_than_the_grace_time(connect: Connect, serve: Serve) -> None:
    server = serve(grace=0.1)
    client = connect(server, receive_buffer=4096)
    client.send(get("/large.bin"))
    eventually(client.has_news)
    server.stop()
    client.is_cut()
    assert len(client.received) < 1 << 22


def test_stop_answers_those_who_wait_to_be_accepted(site: Path) -> None:
    """More of them than are accepted at once, at the very moment of the stop."""
    server = Server(site, max_connections=1000)
    server.start()
    worker = worker_of(server)
    held = threading.Event()
    go_on = threading.Event()

    def hold() -> None:
        held.set()
        go_on.wait()

    worker._loop.soon(-1, hold)
    worker._loop.wake()
    held.wait()
    clients = [Client(server.url) for _ in range(200)]
    for client in clients:
        client.send(get("/small.txt"))
    worker.stop()
    go_on.set()
    for client in clients:
        assert client.answer().content == b"small"
        assert client.at_end()
        client.close()
    server.stop()


def test_stop_at_once_after_the_start(site: Path) -> None:
    for _ in range(10):
        server = Server(site)
        server.start()
        server.stop()


def test_stop_before_the_start_is_nothing(site: Path) -> None:
    server = Server(site)
    server.stop()
    with server:
        assert server.url


def test_a_server_starts_once(site: Path) -> None:
    with Server(site) as server, pytest.raises(RuntimeError, match="started before"):
        server.start()
    with pytest.raises(RuntimeError, match="started before"):
        server.start()


def test_an_error_in_the_block_stops_it_too(site: Path) -> None:
    with pytest.raises(LookupError), Server(site) as server:
        raise LookupError
    with pytest.raises(ConnectionRefusedError):
        Client(server.url)


def test_mistakes_are_raised_where_they_are_made(site: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or folder"):
        Server(tmp_path / "none")
    with pytest.raises(ConfigError, match="no such option; did you mean max_connections"):
        Server(site, max_connection=1)
    with pytest.raises(ConfigError, match="head_timeout"):
        Server(site, head_timeout=-1)
    with Server(site) as server:
        port = int(server.url.rstrip("/").rpartition(":")[2])
        other = Server(site, port=port)
        with pytest.raises(BindError, match=f"port {port} on 127.0.0.1 is in use"):
            other.start()
        other.stop()
        with Client(server.url) as client:
            assert client.ask(get("/small.txt")).content == b"small"


def test_it_can_be_started_in_one_thread_and_stopped_in_another(site: Path) -> None:
    server = Server(site)
    for call in (server.start, server.stop):
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
    with pytest.raises(ConnectionRefusedError):
        Client(server.url)


def test_a_client_in_every_state_does_not_hold_up_the_stop(connect: Connect, serve: Serve) -> None:
    server = serve(grace=0.2)
    starts = [
        b"",
        b"GET",
        get("/small.txt"),
        get("/large.bin"),
        b"POST / HTTP/1.1\r\n",
        b"x\r\n\r\n",
    ]
    for start in starts:
        connect(server, receive_buffer=4096).send(start)
    eventually(lambda: SEND in states(server))
    server.stop()


def test_the_public_names_are_there() -> None:
    assert set(portico.__all__) == {"BindError", "ConfigError", "Server", "__version__"}
    assert portico.Server is Server
    with pytest.raises(AttributeError, match="Sever"):
        _ = portico.Sever


FORKING = """
import os, sys, time
import portico
from tests.server.clients import Client, get
with portico.Server(sys.argv[1]) as server:
    client = Client(server.url)
    assert client.ask(get("/small.txt")).content == b"small"
    child = os.fork()  # which holds a copy of the server's side of this connection
    if child == 0:
        client.close()
        os.read(0, 1)
        os._exit(0)
    client.close()
    while server._worker.connections:
        time.sleep(0.01)
    before = time.process_time()
    time.sleep(0.5)
    print(time.process_time() - before < 0.1, flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_process_does_not_keep_the_loop_busy(site: Path) -> None:
    """A descriptor that is closed here, but not there, would be ready for ever."""
    command = [sys.executable, "-W", "ignore", "-c", FORKING, str(site)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        process.communicate("\n")
    assert process.returncode == 0


def test_the_program_may_change_its_current_folder(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread looks for large files, the loop for others: in the same folder."""
    monkeypatch.chdir(site.parent)
    with Server(site.name) as server:
        monkeypatch.chdir(tmp_path)
        with Client(server.url) as client:
            assert client.ask(get("/small.txt")).content == b"small"
            assert len(client.ask(get("/large.bin")).content) == 1 << 22


def test_it_has_no_metrics(site: Path, tmp_path: Path) -> None:
    file = tmp_path / "portico.toml"
    file.write_text("metrics = '127.0.0.1:0'")
    for options in ({"metrics": "127.0.0.1:0"}, {"config": file}):
        with pytest.raises(ConfigError, match="a Server has no metrics"):
            Server(site, **options)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("workers", "one worker"),
        ("sandbox", "the rights of the program"),
        ("user", "the rights of the program"),
        ("listen", "one address"),
        ("listens", "one address"),
        ("access_log", "no access log"),
        ("log_format", "no access log"),
        ("color", "no access log"),
    ],
)
def test_options_that_would_have_no_effect_are_refused(
    tmp_path: Path, name: str, instead: str
) -> None:
    with pytest.raises(ConfigError, match=f"argument {name}: a Server has {instead}"):
        Server(tmp_path, **{name: True})  # type: ignore[arg-type]
