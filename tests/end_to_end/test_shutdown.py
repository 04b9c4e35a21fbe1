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
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest

from tests.server.clients import PATIENCE, Client, eventually, get, request

FAREWELL = re.compile(r"Stopped after [0-9]+ requests? in [0-9]+ s; every connection closed\.\n")
LARGE = 1 << 23


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shutdown")
    (folder / "small.txt").write_bytes(b"small")
    (folder / "large.bin").write_bytes(bytes(LARGE))
    return folder


class Portico:
    """The command, running."""

    def __init__(self, site: Path, *options: str) -> None:
        command = [sys.executable, "-m", "portico", str(site), "--port", "0", *options]
        pipe = subprocess.PIPE
        self.popen = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
        assert self.popen.stderr is not None
        self.url = ""
        for line in self.popen.stderr:
            if line.strip().startswith("http://"):
                self.url = line.strip()
            if "Press Ctrl+C" in line:
                break

    def signal(self, number: signal.Signals = signal.SIGINT) -> None:
        self.popen.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Wait for the end: the exit code, and what was said on stderr."""
        _, err = self.popen.communicate(timeout=PATIENCE)
        return self.popen.returncode, err

    def accepts(self) -> bool:
        try:
            Client(self.url).close()
        except (ConnectionRefusedError, ConnectionResetError):
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.communicate()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def in_good_order(ended: tuple[int, str]) -> bool:
    code, err = ended
    assert FAREWELL.fullmatch(err), err
    return code == 0


SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", SIGNALS)
def test_idle_connections_are_closed(site: Path, stack: ExitStack, number: signal.Signals) -> None:
    """The grace time is not waited for."""
    with Portico(site, "--grace", "3600") as portico:
        clients = [stack.enter_context(Client(portico.url)) for _ in range(10)]
        for client in clients:
            assert client.ask(get("/small.txt")).content == b"small"
        portico.signal(number)
        for client in clients:
            assert client.at_end()
        assert in_good_order(portico.end())


@pytest.mark.parametrize("number", SIGNALS)
def test_a_download_is_finished(site: Path, stack: ExitStack, number: signal.Signals) -> None:
    with Portico(site, "--grace", "3600") as portico:
        client = stack.enter_context(Client(portico.url, receive_buffer=4096))
        client.send(get("/large.bin"))
        eventually(client.has_news)
        portico.signal(number)
        eventually(lambda: not portico.accepts())
        assert portico.popen.poll() is None
        client.hurry()
        assert len(client.answer().content) == LARGE
        assert client.at_end()
        client.close()
        assert in_good_order(portico.end())


def test_a_download_that_hangs_is_cut_after_the_grace_time(site: Path, stack: ExitStack) -> None:
    with Portico(site, "--grace", "0.2") as portico:
        client = stack.enter_context(Client(portico.url, receive_buffer=4096))
        client.send(get("/large.bin"))
        eventually(client.has_news)
        portico.signal()
        assert in_good_order(portico.end())
        client.is_cut()
        assert len(client.received) < LARGE


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_ends_it_at_once(
    site: Path, stack: ExitStack, number: signal.Signals
) -> None:
    with Portico(site, "--grace", "3600") as portico:
        client = stack.enter_context(Client(portico.url, receive_buffer=4096))
        client.send(get("/large.bin"))
        eventually(client.has_news)
        portico.signal(number)
        eventually(lambda: not portico.accepts())
        portico.signal(number)
        assert in_good_order(portico.end())


def test_a_request_under_way_is_answered(site: Path, stack: ExitStack) -> None:
    with Portico(site, "--grace", "3600") as portico:
        client = stack.enter_context(Client(portico.url))
        client.send(get("/small.txt")[:20])
        time.sleep(0.2)  # its beginning is to be there first
        portico.signal()
        eventually(lambda: not portico.accepts())
        answer = client.ask(get("/small.txt")[20:])
        assert answer.content == b"small"
        assert answer.closes
        client.close()
        assert in_good_order(portico.end())


@pytest.mark.parametrize("number", SIGNALS)
def test_a_hundred_connections_in_all_states(
    site: Path, stack: ExitStack, number: signal.Signals
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
    with Portico(site, "--grace", "0.5", "--no-access-log") as portico:
        clients = [
            stack.enter_context(Client(portico.url, receive_buffer=4096)) for _ in range(100)
        ]
        for client in clients:
            client.send(dice.choice(starts))
        for client in dice.sample(clients, 30):
            dice.choice([client.vanish, client.close, client.half_close])()
        portico.signal(number)
        assert in_good_order(portico.end())


@pytest.mark.parametrize("delay", [0.0, 0.003, 0.01, 0.03])
def test_signals_while_requests_come(site: Path, stack: ExitStack, delay: float) -> None:
    """Whenever it comes, each answer that begins is complete."""
    with Portico(site, "--grace", "3600", "--no-access-log") as portico:
        clients = [stack.enter_context(Client(portico.url)) for _ in range(8)]
        for client in clients:
            client.send(get("/small.txt") * 500)
        time.sleep(delay)
        portico.signal()
        for client in clients:
            client.is_cut()
            *answers, rest = client.received.split(b"small")
            assert rest == b""
            assert all(answer.startswith(b"HTTP/1.1 200 OK\r\n") for answer in answers)
            client.close()
        assert in_good_order(portico.end())


def test_the_port_is_free_at_once(site: Path, stack: ExitStack) -> None:
    with Portico(site, "--grace", "0.1") as first:
        clients = [stack.enter_context(Client(first.url, receive_buffer=4096)) for _ in range(5)]
        for client in clients:
            client.send(get("/large.bin"))
            eventually(client.has_news)
        first.signal()
        assert in_good_order(first.end())
        port = first.url.rstrip("/").rpartition(":")[2]
        with Portico(site, "--port", port) as second:
            assert second.url == first.url
            with Client(second.url) as client:
                assert client.ask(get("/small.txt")).content == b"small"
            second.signal()
            assert in_good_order(second.end())


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_right_after_the_start(site: Path, number: signal.Signals) -> None:
    for _ in range(3):
        with Portico(site) as portico:
            portico.signal(number)
            assert in_good_order(portico.end())


@pytest.mark.parametrize("seed", range(3))
def test_many_signals(site: Path, seed: int) -> None:
    """The later ones meet a process that is about to end by itself."""
    dice = random.Random(seed)
    with Portico(site) as portico:
        for _ in range(20):
            portico.signal(dice.choice(SIGNALS))
            time.sleep(dice.choice([0, 0, 0.002]))
        code, err = portico.end()
        assert code in {0, -signal.SIGINT, -signal.SIGTERM, 130}
        assert "Traceback" not in err


def test_the_log_is_complete_after_a_signal(site: Path, stack: ExitStack) -> None:
    with Portico(site) as portico:
        client = stack.enter_context(Client(portico.url))
        for _ in range(100):
            assert client.ask(get("/small.txt")).content == b"small"
        portico.signal()
        out, _ = portico.popen.communicate(timeout=PATIENCE)
        assert out.count('"GET /small.txt HTTP/1.1" 200 5\n') == 100


def test_a_log_that_nobody_reads_any_more(site: Path) -> None:
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "portico", str(site), "--port", "0"]
    with subprocess.Popen(command, stdout=writer, stderr=subprocess.PIPE, text=True) as popen:
        os.close(writer)
        assert popen.stderr is not None
        url = next(line.strip() for line in popen.stderr if line.strip().startswith("http://"))
        with Client(url) as client:
            client.ask(get("/small.txt"))
            assert b"small.txt" in os.read(reader, 1000)
            os.close(reader)
            for _ in range(10):
                assert client.ask(get("/small.txt")).content == b"small"
        popen.send_signal(signal.SIGINT)
        _, err = popen.communicate(timeout=PATIENCE)
        assert popen.returncode == 0
        assert "Traceback" not in err


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
