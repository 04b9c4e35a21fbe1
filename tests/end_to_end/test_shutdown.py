"""SIGINT and SIGTERM, whatever clients are doing: an end in good order, said in one line."""

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
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.server.clients import PATIENCE, Client, eventually, get, request
from tests.server.processes.supervised import Supervised

FAREWELL = re.compile(r"Stopped after [0-9]+ requests? in [0-9]+ s; every connection closed\.\n")
LARGE = 1 << 23
SIGNALS = [signal.SIGINT, signal.SIGTERM]
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
        portico = Supervised(tmp_path, str(site), "--port", "0", *options)
        return stack.enter_context(portico).start()

    return start


def ends_in_good_order(portico: Supervised, number: signal.Signals | None = None) -> bool:
    """Send a signal, if one is given, and wait for the end, which is told in one line."""
    code = portico.end(number)
    told = portico.said.partition("Press Ctrl+C")[2].partition("\n")[2]
    assert FAREWELL.fullmatch(told), told
    return code == 0


def downloading(portico: Supervised, stack: ExitStack) -> Client:
    """A client that does not read on what it has begun to download."""
    client = stack.enter_context(Client(portico.url, receive_buffer=4096))
    client.send(get("/large.bin"))
    eventually(client.has_news)
    return client


@pytest.mark.parametrize("number", SIGNALS)
def test_idle_connections_are_closed(run: Run, stack: ExitStack, number: signal.Signals) -> None:
    """The grace time is not waited for."""
    portico = run("--grace", "3600")
    clients = [stack.enter_context(Client(portico.url)) for _ in range(10)]
    for client in clients:
        assert client.ask(get("/small.txt")).content == b"small"
    portico.send(number)
    for client in clients:
        assert client.at_end()
    assert ends_in_good_order(portico)


def test_a_download_is_finished(run: Run, stack: ExitStack) -> None:
    portico = run("--grace", "3600")
    client = downloading(portico, stack)
    portico.send(signal.SIGTERM)
    eventually(lambda: not portico.accepts())
    assert portico.popen.poll() is None
    client.hurry()
    assert len(client.answer().content) == LARGE
    assert client.at_end()
    client.close()
    assert ends_in_good_order(portico)


def test_a_download_that_hangs_is_cut_after_the_grace_time(run: Run, stack: ExitStack) -> None:
    portico = run("--grace", "0.2")
    client = downloading(portico, stack)
    assert ends_in_good_order(portico, signal.SIGINT)
    client.is_cut()
    assert len(client.received) < LARGE


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_ends_it_at_once(
    run: Run, stack: ExitStack, number: signal.Signals
) -> None:
    portico = run("--grace", "3600")
    downloading(portico, stack)
    portico.send(number)
    eventually(lambda: not portico.accepts())
    assert ends_in_good_order(portico, number)


def test_a_request_under_way_is_answered(run: Run, stack: ExitStack) -> None:
    portico = run("--grace", "3600")
    client = stack.enter_context(Client(portico.url))
    client.send(get("/small.txt")[:20])
    portico.content()  # the server has read what was sent before
    portico.send(signal.SIGINT)
    eventually(lambda: not portico.accepts())
    answer = client.ask(get("/small.txt")[20:])
    assert answer.content == b"small"
    assert answer.closes
    client.close()
    assert ends_in_good_order(portico)


@pytest.mark.parametrize("number", SIGNALS)
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
    assert ends_in_good_order(portico, number)


@pytest.mark.parametrize("delay", [0.0, 0.01])
def test_signals_while_requests_come(run: Run, stack: ExitStack, delay: float) -> None:
    """Whenever it comes, each answer that begins is complete."""
    portico = run("--grace", "3600", "--no-access-log")
    clients = [stack.enter_context(Client(portico.url)) for _ in range(8)]
    for client in clients:
        client.send(get("/small.txt") * 500)
    time.sleep(delay)
    portico.send(signal.SIGINT)
    for client in clients:
        client.is_cut()
        *answers, rest = client.received.split(b"small")
        assert rest == b""
        assert all(answer.startswith(b"HTTP/1.1 200 OK\r\n") for answer in answers)
        client.close()
    assert ends_in_good_order(portico)


def test_the_port_is_free_at_once(site: Path, run: Run, stack: ExitStack, tmp_path: Path) -> None:
    first = run("--grace", "0.1")
    for _ in range(5):
        downloading(first, stack)
    assert ends_in_good_order(first, signal.SIGINT)
    port = first.url.rstrip("/").rpartition(":")[2]
    with Supervised(tmp_path, str(site), "--port", port) as second:
        assert second.start().content() == b"small"
        assert ends_in_good_order(second, signal.SIGINT)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_right_after_the_start(run: Run, number: signal.Signals) -> None:
    assert ends_in_good_order(run(), number)


@pytest.mark.parametrize("seed", range(3))
def test_many_signals(run: Run, seed: int) -> None:
    """The later ones meet a process that is about to end by itself."""
    dice = random.Random(seed)
    portico = run()
    for _ in range(20):
        portico.send(dice.choice(SIGNALS))
        time.sleep(dice.choice([0, 0, 0.002]))
    assert portico.end(None) in {0, -signal.SIGINT, -signal.SIGTERM, 130}


def test_the_log_is_complete_after_a_signal(run: Run, stack: ExitStack) -> None:
    portico = run()
    client = stack.enter_context(Client(portico.url))
    for _ in range(100):
        assert client.ask(get("/small.txt")).content == b"small"
    assert ends_in_good_order(portico, signal.SIGINT)
    assert portico.logged.count('"GET /small.txt HTTP/1.1" 200 5\n') == 100


@pytest.mark.parametrize("blocking", [True, False])
def test_a_log_whose_reader_stands_still_does_not_hold_up_the_end(
    site: Path, blocking: bool
) -> None:
    """Serving waits for the reader, as all do that write to a pipe; but Ctrl+C works."""
    reader, writer = os.pipe()
    os.set_blocking(writer, blocking)
    command = [sys.executable, "-m", "portico", str(site), "--port", "0", "--grace", "0.3"]
    with subprocess.Popen(command, stdout=writer, stderr=subprocess.PIPE, text=True) as popen:
        assert popen.stderr is not None
        url = next(line.strip() for line in popen.stderr if line.strip().startswith("http://"))
        with Client(url) as client:
            client.send(get("/small.txt?" + "x" * 1000) * 200)
            eventually(lambda: not select.select([], [writer], [], 0)[1])
            popen.send_signal(signal.SIGINT)
            _, err = popen.communicate(timeout=PATIENCE)
    os.close(writer)
    assert popen.returncode == 0
    assert "Traceback" not in err
    with os.fdopen(reader, "rb") as log:
        *lines, _ = log.read().split(b"\n")
    assert len(lines) > 10
    assert all(line.endswith(b" 200 5") for line in lines)
