"""Bad neighbours take what they can get, the load keeps its pace, and both are told in rows."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import portico
from bench import check, machine, neighbour, neighbours, record, report, rows, steady
from bench.neighbours import Beside, Got
from bench.record import Record
from bench.running import Running
from bench.servers import by_names
from bench.setup import ROOT, Launch, Pythons, Setup
from bench.steady import Pace, Seen, Steady, Target
from tests.server.clients import eventually

CANNED = Path(__file__).with_name("record.json")
PAGE = b"x" * 1000
needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="uses what Linux offers")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A page, a file of some size, a folder to be listed."""
    folder = tmp_path / "site"
    (folder / "wide").mkdir(parents=True)
    (folder / "page.html").write_bytes(PAGE)
    neighbours.make_hole(folder / "1g.bin", 50_000_000)
    for n in range(1000):
        (folder / "wide" / f"{n}.txt").touch()
    return folder


@contextmanager
def live(site: Path) -> Iterator[Running]:
    """Portico in this process, as the bench knows a server that runs."""
    with portico.Server(site, grace=0.1) as server:
        yield known(server, site)


def known(server: portico.Server, site: Path) -> Running:
    """The server as the bench knows one that runs."""
    port = int(server.url.rstrip("/").rpartition(":")[2])
    setup = Setup(site, site.parent, port, Pythons("", ""), site / "page.html")
    return Running(by_names(["portico"])[0], setup, Launch([]), os.getpid())


def seen(p99: int, lag: int = 1, **failures: int) -> Seen:
    return Seen(5000, 6_000_000, 1.0, 0.25, 100, p99, 2 * p99, lag, failures)


@needs_cc
@needs_linux
def test_at_a_fixed_rate_just_so_many_requests_are_sent(site: Path, tmp_path: Path) -> None:
    with live(site) as server:
        page = steady.target(server, "/page.html")
        got = Steady(tmp_path).run(page, Pace(8, 0.5, rate=1000, warm=0.1))
    assert 0 < got.requests <= 501
    assert not got.failures
    assert 0 < got.p50 <= got.p99 <= got.p999
    assert got.bytes % page.wire_size == 0
    assert got.cpu > 0


@needs_cc
@needs_linux
def test_without_a_rate_each_connection_asks_again_at_once(site: Path, tmp_path: Path) -> None:
    with live(site) as server:
        page = steady.target(server, "/page.html")
        got = Steady(tmp_path).run(page, Pace(100, 0.2, warm=0.1))
        large = steady.target(server, "/1g.bin")
        parts = Steady(tmp_path).run(large, Pace(2, 0.2, warm=0))
    assert got.requests > 100
    assert not got.failures
    assert got.cost(page.wire_size) == pytest.approx(got.cpu * 1e6 / got.requests, rel=0.2)
    assert parts.bytes > 0
    assert parts.cost(large.wire_size) is not None


@needs_cc
@needs_linux
def test_an_answer_that_is_not_the_right_one_is_a_failure(site: Path, tmp_path: Path) -> None:
    with live(site) as server:
        page = steady.target(server, "/page.html")
        missing = Target(server, page.head.replace("page", "none"), page.wire_size)
        assert Steady(tmp_path).run(missing, Pace(2, 0.1, warm=0)).failures["status"] > 0
        longer = Target(server, page.head, page.wire_size - 1)
        assert Steady(tmp_path).run(longer, Pace(2, 0.1, warm=0)).failures


@needs_cc
@needs_linux
def test_a_server_that_stands_still_pays_for_all_that_had_to_wait(
    site: Path, tmp_path: Path
) -> None:
    """It answers each connection once and then no more; the schedule goes on."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:

        def answer_once() -> None:
            for _ in range(4):
                connection = listener.accept()[0]
                kept.append(connection)
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=answer_once)
        thread.start()
        setup = Setup(site, tmp_path, listener.getsockname()[1], Pythons("", ""), site)
        server = Running(by_names(["portico"])[0], setup, Launch([]), os.getpid())
        target = Target(server, "GET / HTTP/1.1\r\n\r\n", len(answer))
        got = Steady(tmp_path).run(target, Pace(4, 0.4, rate=100, warm=0))
        thread.join()
        for connection in kept:
            connection.close()
    assert got.requests == 0
    assert got.p50 >= 100_000, "forty were due, the one in the middle 0.2 s before the end"


def test_a_load_that_says_nothing_is_an_error_with_its_words() -> None:
    with pytest.raises(ValueError, match="takes no connections"):
        steady.parse("the server takes no connections any more\n")


@pytest.mark.parametrize("path", ["/none.html", "/wide/0.txt"])
def test_a_wrong_answer_is_refused_before_it_is_measured(site: Path, path: str) -> None:
    with live(site) as server:
        wrong = site / "page.html"
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        with pytest.raises(check.AnswerError):
            steady.probe(server.setup.port, head, wrong)


@needs_linux
@pytest.mark.parametrize("kind", neighbours.NEIGHBOURS, ids=lambda kind: kind.name)
def test_each_neighbour_gets_something_until_it_is_told_to_stop(
    site: Path, kind: neighbours.Neighbour
) -> None:
    with portico.Server(site, grace=0.1) as server:
        running = known(server, site)
        size = neighbours.wire_size(running, kind.path)
        with neighbours.calling(running, (kind, size)) as call:
            eventually(lambda: server._worker is not None and server._worker.connections)
            time.sleep(0.3)
    assert call.got is not None
    assert call.got.problem == ""
    assert call.got.requests > 0 or call.got.bytes > 0
    assert call.got.seconds > 0


@needs_linux
def test_a_neighbour_that_is_turned_away_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    words = [sys.executable, "-m", "bench.neighbour", "download", str(port), "/", "1"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT, timeout=30)
    ready, said = done.stdout.splitlines()
    assert ready == "ready"
    assert json.loads(said)["problem"].startswith("ConnectionRefusedError")


def test_every_kind_in_the_table_is_one_that_the_program_knows() -> None:
    assert [one.name for one in neighbours.NEIGHBOURS] == list(neighbour.KINDS)


def test_other_servers_are_told_to_list_folders_and_we_to_take_crowds(site: Path) -> None:
    setup = Setup(site, site.parent, 80, Pythons("python3", ""), site / "page.html")
    for name, words in (
        ("nginx", "autoindex on;"),
        ("lighttpd", 'dir-listing.activate = "enable"'),
        ("h2o", "file.dirlisting: ON"),
    ):
        text = "".join(neighbours.for_crowds(by_names([name])[0]).launch(setup).files.values())
        assert text.count(words) == 1
    ours = neighbours.for_crowds(by_names(["portico"])[0]).launch(setup)
    assert ours.words[-4:] == ["--max-connections", "12000", "--idle-timeout", "600"]


def test_the_ratio_is_that_of_each_pair() -> None:
    one = Beside("portico", "download", [seen(100), seen(200)], [seen(150), seen(400)])
    assert one.ratio() == pytest.approx((1.75, 1.5, 2.0, 2))


def test_what_a_neighbour_got_is_counted_in_its_own_unit() -> None:
    got = Got(10, 4 << 20, 2.0)
    units = ("MiB/s", "requests/s", "connections")
    assert [got.figure(unit) for unit in units] == [2.0, 5.0, 10]


@pytest.fixture
def told() -> Record:
    """A record with neighbours."""
    canned = record.load(CANNED)
    canned.neighbours = [
        Beside("portico", "crowd", [seen(200)], [seen(300, 50)], [Got(5000, 1, 1.0)]),
        Beside("portico", "download", [seen(100)], [seen(150)], [Got(3, 3 << 30, 1.0)]),
        Beside("nginx", "crowd", [seen(100)], [seen(400, read=7)], [Got(5000, 1, 1.0)], "", 1),
        Beside("nginx", "download", problem="did not\nlisten"),
    ]
    return canned


def test_neighbours_survive_json(told: Record, tmp_path: Path) -> None:
    record.save(told, tmp_path / "record.json")
    assert record.load(tmp_path / "record.json").neighbours == told.neighbours


def test_the_rows_stand_neighbour_by_neighbour(told: Record) -> None:
    heading, found = rows.neighbour_rows(told)
    assert [row[:2] for row in found] == [
        ["download", "Portico"],
        ["download", "nginx"],
        ["crowd", "Portico"],
        ["crowd", "nginx"],
    ]
    assert {len(row) for row in found} == {len(heading)}
    assert found[0][2:] == [
        *("0.10 ms", "0.10 ms", "0.10 ms", "0.15 ms", "1.50", "0.20 ms", "0.30 ms"),
        *("0.00 ms", "3,072 MiB/s", ""),
    ]
    assert found[1][-1] == "left out: did not listen"
    assert found[3][-1] == "failures: 7 read; 1 of 2 slices disturbed"
    page = report.render(told)
    assert "\n## Bad neighbours\n" in page
    assert "| crowd | nginx |" in page


@needs_linux
def test_who_waits_for_a_core_is_seen_to() -> None:
    """Two that never rest, on one core: each waits for the other."""
    core = min(os.sched_getaffinity(0))
    words = [sys.executable, "-c", "while True: pass"]
    with machine.on_core(core):
        pair = [subprocess.Popen(words) for _ in range(2)]
    try:
        before = machine.waited_seconds(pair[0].pid)
        while machine.waited_seconds(pair[0].pid) - before < 0.05:
            assert pair[0].poll() is None
    finally:
        for process in pair:
            process.kill()
            process.wait()
