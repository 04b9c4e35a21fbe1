"""The access log: one line for each response, which nothing that a client sends can forge."""

from __future__ import annotations

import json
import os
import re
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from portico.config.config import Config
from portico.server.telemetry.access_log import AccessLog, escape
from portico.server.worker import Worker
from tests.server import inside
from tests.server.clients import PATIENCE, Client, eventually, get, request
from tests.server.processes.supervised import Supervised, needs_proc

COMMON = re.compile(
    r'(?P<client>\S+) - - \[(?P<time>[^\]]+)\] "(?P<request>(?:[^"\\]|\\.)*)" '
    r"(?P<status>[0-9]{3}) (?P<length>[0-9]+)"
)
COMBINED = re.compile(
    COMMON.pattern + r' "(?P<referer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)"'
)


class Logged:
    """A worker in a thread, and the file that its log is written to."""

    def __init__(self, worker: Worker, url: str, path: Path) -> None:
        self.worker = worker
        self.url = url
        self._path = path

    def lines(self, count: int) -> list[str]:
        """The log, as soon as it has so many lines."""
        eventually(lambda: self._path.read_bytes().count(b"\n") >= count)
        text = self._path.read_text("ascii")
        assert text.endswith("\n")
        lines = text[:-1].split("\n")
        assert len(lines) == count
        return lines

    def statuses(self, count: int) -> list[tuple[str, int, int]]:
        """Request line, status and length of each line, from the common form."""
        found = [COMMON.fullmatch(line) for line in self.lines(count)]
        return [(m["request"], int(m["status"]), int(m["length"])) for m in found if m is not None]


@contextmanager
def running(
    site: Path, fd: int, log_format: str, *, color: bool = False
) -> Iterator[tuple[Worker, str]]:
    """A worker that logs to `fd`, and its URL."""
    config = Config.of(root=str(site), port=0, head_timeout=0.2, grace=0.2)
    with inside.running(
        config,
        log=AccessLog(fd, Config.of(log_format=log_format, color="always" if color else "never")),
    ) as worker_and_url:
        yield worker_and_url


Start = Callable[..., Logged]


@pytest.fixture
def log(site: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a worker whose log has this form."""
    path = tmp_path / "access.log"
    with path.open("wb") as file, ExitStack() as stack:

        def start(log_format: str = "common", *, color: bool = False) -> Logged:
            running_one = running(site, file.fileno(), log_format, color=color)
            return Logged(*stack.enter_context(running_one), path)

        yield start


def test_the_common_form(log: Start) -> None:
    logged = log()
    with Client(logged.url) as client:
        client.ask(get("/small.txt?a=b"))
        found = COMMON.fullmatch(logged.lines(1)[0])
    assert found is not None
    assert found["client"] == "127.0.0.1"
    assert found["request"] == "GET /small.txt?a=b HTTP/1.1"
    assert (found["status"], found["length"]) == ("200", "5")
    moment = datetime.strptime(found["time"], "%d/%b/%Y:%H:%M:%S %z")
    assert abs(datetime.now(moment.tzinfo) - moment).days == 0


def test_the_combined_form(log: Start) -> None:
    logged = log("combined")
    with Client(logged.url) as client:
        client.ask(get("/small.txt", "Referer: http://a.test/", "User-Agent: Test/1 (x)"))
        client.ask(get("/small.txt", "User-Agent: Test/2"))
        client.ask(get("/small.txt"))
        found = [COMBINED.fullmatch(line) for line in logged.lines(3)]
    said = [(match["referer"], match["agent"]) for match in found if match is not None]
    assert said == [("http://a.test/", "Test/1 (x)"), ("-", "Test/2"), ("-", "-")]


def test_the_json_form(log: Start) -> None:
    logged = log("json")
    with Client(logged.url) as client:
        client.ask(get("/small.txt", 'User-Agent: "Te\\st"', "Referer: http://ä.test/"))
        client.ask(get("/none", "Accept: application/json"))
        client.ask(b"\x00nonsense \xff\r\n\r\n")
        first, second, third = map(json.loads, logged.lines(3))
    moment = datetime.fromisoformat(first.pop("time"))
    assert abs(datetime.now(moment.tzinfo) - moment).days == 0
    assert 0 < first.pop("duration") < PATIENCE
    assert first == {
        "client": "127.0.0.1",
        "method": "GET",
        "target": "/small.txt",
        "status": 200,
        "bytes": 5,
        "end": "complete",
        "referer": "http://ä.test/",
        "user_agent": '"Te\\st"',
        "user": None,
    }
    assert (second["status"], second["referer"], second["user_agent"]) == (404, None, None)
    assert third["status"] == 400
    assert third["method"] == "\0nonsense"
    assert third["target"] == "ÿ"


HOSTILE = [
    b'GET /"HTTP/1.1" HTTP/1.1',
    b"GET /\\x22 HTTP/1.1",
    b"GET /\x1b[2J HTTP/1.1",
    b"GET /\r127.0.0.1 HTTP/1.1",
    b"GET /\n127.0.0.1 - - [] HTTP/1.1",
    b"GET /\0 HTTP/1.1",
    b"GET /\xff\x80\x85 HTTP/1.1",
    b"GET /\x7f HTTP/1.1",
    b"GET /" + b"a" * 9000 + b" HTTP/1.1",
    b"",
]


@pytest.mark.parametrize("log_format", ["common", "combined", "json"])
def test_what_a_client_sends_cannot_forge_a_line(log: Start, log_format: str) -> None:
    logged = log(log_format)
    for request_line in HOSTILE:
        with Client(logged.url) as client:
            client.send(request_line + b'\r\nHost: localhost\r\nReferer: "\\\x80\r\n\r\n')
            client.answer()
    for line in logged.lines(len(HOSTILE)):
        assert line.isprintable()
        assert len(line) < 3000
        if log_format == "json":
            assert json.loads(line)["status"] in {400, 404, 414}
        else:
            assert (COMMON if log_format == "common" else COMBINED).fullmatch(line)


def test_escape() -> None:
    assert escape('a"b\\c\r\n\x1b\x7fé') == r"a\x22b\x5cc\x0d\x0a\x1b\x7f\xe9"
    assert escape("plain /~path?a=b") == "plain /~path?a=b"


def test_one_line_for_each_response_in_order(log: Start) -> None:
    logged = log()
    with Client(logged.url) as client:
        client.send(b"".join([get(f"/n/{number}.txt") for number in range(100)]))
        for _ in range(100):
            client.answer()
        client.ask(request("HEAD", "/large.bin"), method="HEAD")
        client.ask(b"\r\n" + get("/none"))
        client.ask(get("/none"))
        client.ask(request("POST", "/", "Content-Length: 3") + b"abc")
        missing = client.ask(get("/none", "Connection: close"))
        lines = logged.statuses(105)
    assert [line for line, _, _ in lines[:100]] == [
        f"GET /n/{number}.txt HTTP/1.1" for number in range(100)
    ]
    assert lines[100] == ("HEAD /large.bin HTTP/1.1", 200, 0)
    assert lines[101] == lines[102] == ("GET /none HTTP/1.1", 404, len(missing.content))
    assert lines[103][:2] == ("POST / HTTP/1.1", 405)


@pytest.mark.parametrize("by_stop", [False, True])
def test_a_whole_download_and_one_that_was_cut(log: Start, by_stop: bool) -> None:
    logged = log()
    with Client(logged.url) as client:
        client.ask(get("/large.bin"))
    with Client(logged.url, receive_buffer=4096) as client:
        client.send(get("/large.bin"))
        client.socket.recv(1000)
        if by_stop:
            logged.worker.stop()
        else:
            client.vanish()
        lines = logged.statuses(2)
    assert lines[0] == ("GET /large.bin HTTP/1.1", 200, 1 << 22)
    assert lines[1][:2] == ("GET /large.bin HTTP/1.1", 599 if by_stop else 499)
    assert 1000 < lines[1][2] < 1 << 22


def test_a_slow_head_is_logged(log: Start) -> None:
    logged = log()
    with Client(logged.url) as client:
        client.send(b"GET /half")
        assert client.answer().status == 408
        assert logged.statuses(1)[0][:2] == ("GET /half", 408)


def test_colours_are_for_eyes(log: Start) -> None:
    logged = log("combined", color=True)
    with Client(logged.url) as client:
        client.ask(get("/small.txt"))
        client.ask(get("/none"))
        lines = logged.lines(2)
    assert "\x1b[32m200\x1b[0m" in lines[0]
    assert "\x1b[33m404\x1b[0m" in lines[1]
    plain = [re.sub(r"\x1b\[[0-9]*m", "", line) for line in lines]
    assert all(COMBINED.fullmatch(line) for line in plain)


def test_serving_goes_on_when_the_reader_of_the_log_has_gone(site: Path) -> None:
    reader, writer = os.pipe()
    try:
        with (
            running(site, writer, "common") as (_, url),
            Client(url) as client,
        ):
            assert client.ask(get("/small.txt")).content == b"small"
            assert b"small.txt" in os.read(reader, 1000)
            os.close(reader)
            for number in range(50):
                assert client.ask(get(f"/n/{number}.txt")).content == b"%d" % number
    finally:
        os.close(writer)


def test_a_pipe_that_does_not_block_gets_every_line(site: Path) -> None:
    """Whoever shares it may have made it so; it is full again and again."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    got = b""

    def read() -> None:
        nonlocal got
        while piece := os.read(reader, 4096):
            got += piece

    thread = threading.Thread(target=read)
    with running(site, writer, "common") as (_, url), Client(url) as client:
        for _ in range(20):
            client.send(get("/small.txt?" + "x" * 1000) * 15)
        thread.start()
        for _ in range(300):
            assert client.answer().status == 200
    os.close(writer)
    thread.join()
    os.close(reader)
    assert got.count(b"\n") == 300


def test_lines_that_there_was_no_room_for_are_told_and_the_log_goes_on() -> None:
    """Also in the middle of a long line, which is then completed first."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    told: list[str] = []
    log = AccessLog(writer, Config.of(log_format="common", color="never"), told.append)

    def write(lines: int, name: bytes) -> None:
        for _ in range(lines):
            log.add("127.0.0.1", log.describe(b"GET /" + name, None, 200), 3, 0.0)
        log.flush()

    write(40, b"\0" * 2000)  # each some 8 KiB, once it is escaped
    got = os.read(reader, 1 << 20)
    write(1, b"later")
    got += os.read(reader, 1 << 20)
    os.close(reader)
    os.close(writer)
    lines = got.decode().split("\n")
    assert all(COMMON.fullmatch(line) for line in lines[:-1])
    assert "later" in lines[-2]
    lost = 41 - (len(lines) - 1)
    why = "its reader stands still, or the disk is full"
    assert told == [f"lines lost from the access log: {lost} ({why})"]


@needs_proc
def test_the_log_goes_on_when_the_disk_has_room_again(site: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk."""
    with Supervised(tmp_path, str(site), "--port", "0") as portico:
        portico.start()
        for _ in range(10):  # so that the log is longer than what is said
            portico.content()
        eventually(lambda: portico.logged.count("\n") == 10)
        full = len(portico.logged) + 20
        resource.prlimit(portico.popen.pid, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
        for _ in range(3):
            assert portico.content() == b"small"
        portico.hears("portico: lines lost from the access log: ")
        free = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(portico.popen.pid, resource.RLIMIT_FSIZE, free)
        assert portico.content("/empty.txt") == b""
        assert portico.end() == 0
    lines = portico.logged.splitlines()
    assert len(lines) in {12, 13}  # of the three one was completed, and one perhaps came later
    assert all(COMMON.fullmatch(line) for line in lines)
    assert "/empty.txt" in lines[-1]


def test_the_descriptor_stays_open(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        log = AccessLog(file.fileno(), Config.of(log_format="common", color="never"))
        log.flush()
        log.add("127.0.0.1", log.describe(b"GET / HTTP/1.1", None, 200), 3, 0.0)
        log.flush()
        log.flush()
        assert os.fstat(file.fileno()).st_size > 0
    assert COMMON.fullmatch((tmp_path / "log").read_text().rstrip("\n"))
