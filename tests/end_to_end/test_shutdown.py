"""Ctrl+C and SIGTERM, whatever clients are doing: an end in good order, said in one line."""

from __future__ import annotations

import os
import random
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.server.clients import PATIENCE, Client, eventually, get, request
from tests.server.processes.supervised import Supervised, needs_proc

FAREWELL = re.compile(
    r"Press Ctrl\+C to stop\.\n+"
    r"(?:portico: worker .* has been told to end; .*\n"  # by this test, before the supervisor
    r"|portico: waiting up to .* to finish; Ctrl\+C again stops at once\n)*"
    r"Stopped after ([0-9]+) requests? in [0-9]+ s(?:; [0-9]+ responses? cut off)?\.\n\Z"
)
LARGE = 1 << 23

pytestmark = needs_proc

by_signal = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
by_workers = pytest.mark.parametrize("workers", ["1", "2"])
Run = Callable[..., Supervised]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shutdown")
    (folder / "small.txt").write_bytes(b"small")
    (folder / "large.bin").write_bytes(bytes(LARGE))
    return folder


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def run(site: Path, tmp_path: Path, stack: ExitStack) -> Run:
    """Start the command with these options."""

    def start(*options: str) -> Supervised:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        command = (str(site), "--port", "0", "--color", "never", *options)
        return stack.enter_context(Supervised(folder, *command)).start()

    return start


def ends_in_good_order(portico: Supervised, number: signal.Signals | None = None) -> int:
    """Whether it does, perhaps on a further signal: the number of requests."""
    assert portico.end(number) == 0
    found = FAREWELL.search(portico.said)
    assert found is not None, portico.said
    return int(found[1])


def download(portico: Supervised, stack: ExitStack) -> Client:
    """A client that has received some of a large file and reads no more for now."""
    client = stack.enter_context(Client(portico.url, receive_buffer=4096))
    client.send(get("/large.bin"))
    eventually(client.has_news)
    return client


@by_workers
@by_signal
def test_downloads_are_finished_and_idle_connections_closed(
    run: Run, stack: ExitStack, number: signal.Signals, workers: str
) -> None:
    """The grace time is not waited for."""
    portico = run("--grace", "3600", "--workers", workers)
    downloads = [download(portico, stack) for _ in range(4)]
    idle = [stack.enter_context(Client(portico.url)) for _ in range(4)]
    for client in idle:
        assert client.ask(get("/small.txt")).content == b"small"
    for pid in portico.workers:  # as a service manager does it: every process gets the signal
        os.kill(pid, number)
    portico.send(number)
    for client in idle:
        assert client.at_end()
    eventually(lambda: not portico.accepts())
    assert portico.popen.poll() is None
    for client in downloads:
        client.hurry()
        assert len(client.answer().content) == LARGE
        assert client.at_end()
        client.close()
    assert ends_in_good_order(portico) == 8
    assert portico.logged.count("\n") == 8


@by_workers
def test_a_download_that_hangs_is_cut_after_the_grace_time(
    run: Run, stack: ExitStack, workers: str
) -> None:
    portico = run("--grace", "0.1", "--workers", workers)
    client = download(portico, stack)
    ends_in_good_order(portico, signal.SIGINT)
    client.is_cut()
    assert len(client.received) < LARGE


@by_workers
@by_signal
def test_a_second_signal_ends_it_at_once(
    run: Run, stack: ExitStack, number: signal.Signals, workers: str
) -> None:
    portico = run("--grace", "3600", "--workers", workers)
    client = download(portico, stack)
    portico.send(number)
    eventually(lambda: not portico.accepts())
    assert portico.popen.poll() is None
    ends_in_good_order(portico, number)
    client.is_cut()
    assert len(client.received) < LARGE


def test_a_request_under_way_is_answered(run: Run, stack: ExitStack) -> None:
    portico = run("--grace", "3600")
    client = stack.enter_context(Client(portico.url))
    client.send(get("/small.txt")[:20])
    portico.send(signal.SIGINT)
    eventually(lambda: not portico.accepts())
    answer = client.ask(get("/small.txt")[20:])
    assert answer.content == b"small"
    assert answer.closes
    client.close()
    ends_in_good_order(portico)


@by_signal
def test_a_hundred_connections_in_all_states(
    run: Run, stack: ExitStack, number: signal.Signals
) -> None:
    starts = [
        b"",
        b"GET",
        get("/small.txt"),
        get("/small.txt") * 100,
        get("/large.bin"),
        get("/large.bin") * 20,
        request("POST", "/", "Content-Length: 9") + b"abc",
        request("POST", "/", "Transfer-Encoding: chunked") + b"f\r\nabc",
        request("POST", "/", "Content-Length: 99999999") + b"x" * 100_000,
        b"nonsense\r\n\r\n",
    ]
    dice = random.Random(int(number))
    portico = run("--grace", "0.5", "--no-access-log")
    clients = [stack.enter_context(Client(portico.url, receive_buffer=4096)) for _ in range(100)]
    for client in clients:
        client.send(dice.choice(starts))
    for client in dice.sample(clients, 30):
        dice.choice([client.vanish, client.close, client.half_close])()
    ends_in_good_order(portico, number)


@pytest.mark.parametrize("answered", [0, 1, 8])
def test_a_signal_while_requests_come(run: Run, stack: ExitStack, answered: int) -> None:
    """Whenever it comes, each answer that begins is complete."""
    portico = run("--grace", "3600", "--no-access-log")
    clients = [stack.enter_context(Client(portico.url)) for _ in range(8)]
    for client in clients:
        client.send(get("/small.txt") * 500)
    eventually(lambda: sum(client.has_news() for client in clients) >= answered)
    portico.send(signal.SIGINT)
    for client in clients:
        client.is_cut()
        *answers, rest = client.received.split(b"small")
        assert rest == b""
        assert all(answer.startswith(b"HTTP/1.1 200 OK\r\n") for answer in answers)
        client.close()
    ends_in_good_order(portico)


def test_the_port_is_free_at_once(run: Run, stack: ExitStack) -> None:
    first = run("--grace", "0.1")
    for _ in range(5):
        download(first, stack)
    ends_in_good_order(first, signal.SIGINT)
    second = run("--port", first.url.rstrip("/").rpartition(":")[2])
    assert second.url == first.url
    assert second.content() == b"small"
    ends_in_good_order(second, signal.SIGINT)


@by_signal
def test_a_signal_right_after_the_start(run: Run, number: signal.Signals) -> None:
    for _ in range(3):
        ends_in_good_order(run(), number)


def test_many_signals(run: Run) -> None:
    """The later ones meet a process that is about to end by itself."""
    dice = random.Random(1)
    portico = run()
    for _ in range(20):
        portico.send(dice.choice([signal.SIGINT, signal.SIGTERM]))
        time.sleep(dice.choice([0, 0, 0.002]))
    assert portico.end(None) in {0, -signal.SIGINT, -signal.SIGTERM, 130}


# --- output that nobody reads


@contextmanager
def logging_to(writer: int, site: Path, *options: str) -> Iterator[str]:
    """Run the command, then end it; the URL."""
    command = [sys.executable, "-m", "portico", str(site), "--port", "0", "--grace", "3600"]
    pipe = subprocess.PIPE
    with subprocess.Popen([*command, *options], stdout=writer, stderr=pipe, text=True) as popen:
        assert popen.stderr is not None
        yield next(line.strip() for line in popen.stderr if "http://" in line)
        popen.send_signal(signal.SIGINT)
        _, err = popen.communicate(timeout=PATIENCE)
        assert popen.returncode == 0
        assert "Traceback" not in err


def test_a_log_that_nobody_reads_any_more(site: Path) -> None:
    reader, writer = os.pipe()
    with logging_to(writer, site) as url, Client(url) as client:
        os.close(writer)
        client.ask(get("/small.txt"))
        assert b"small.txt" in os.read(reader, 1000)
        os.close(reader)
        for _ in range(10):
            assert client.ask(get("/small.txt")).content == b"small"


@by_workers
def test_a_log_whose_reader_stands_still_stops_neither_the_server_nor_its_end(
    site: Path, workers: str
) -> None:
    reader, writer = os.pipe()
    with logging_to(writer, site, "--workers", workers) as url, Client(url) as client:
        for _ in range(10):  # some three times what a pipe holds
            client.send(get("/small.txt?" + "x" * 1000) * 20)
            for _ in range(20):
                assert client.answer().content == b"small"
        assert not select.select([], [writer], [], 0)[1]
    os.close(writer)
    with os.fdopen(reader, "rb") as log:
        lines = log.read().splitlines()
    assert len(lines) > 10
    assert all(line.endswith(b" 200 5") for line in lines)


@by_workers
def test_messages_that_nobody_reads_stop_neither_the_server_nor_its_end(
    site: Path, tmp_path: Path, workers: str
) -> None:
    reader, writer = os.pipe()
    options = ("--port", "0", "--workers", workers)
    with Supervised(tmp_path, str(site), *options, stderr=writer) as portico:
        said = b""
        while b"Press Ctrl+C" not in said:
            said += os.read(reader, 4096)
        (url,) = [word for word in said.decode().split() if word.startswith("http:")]
        # Opened anew, so that the server's own end blocks as before.
        with open(f"/proc/self/fd/{writer}", "wb", 0, opener=nonblocking) as full:
            while full.write(bytes(4096)) == 4096:
                pass
        with Client(url) as client:
            for _ in range(3):
                portico.send(signal.SIGHUP)  # it says what comes of it
                assert client.ask(get("/small.txt")).content == b"small"
        assert portico.end() == 0
    os.close(reader)
    os.close(writer)


def nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
