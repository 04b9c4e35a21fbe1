"""The counters of one worker, and their sums over all workers."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from portico.config.config import Config
from portico.server.net.listeners import bind, url_of
from portico.server.states import SEND
from portico.server.telemetry import counters
from portico.server.telemetry.counters import BUCKETS, ServerCounters, adopt
from portico.server.telemetry.telemetry import Telemetry
from portico.server.worker import Worker
from portico.site.origin.fingerprint import is_settled
from tests.server.clients import Client, eventually, get, request


def test_workers_are_summed_and_those_that_have_ended_keep_their_counters() -> None:
    server = ServerCounters()
    first, second = server.add(shared=True), server.add()
    for worker, times in ((first, 3), (second, 2)):
        worker.serves()
        worker.accepted(times)
        for _ in range(times):
            worker.answered(200, 10, 0.0)
        worker.observe([0, SEND, SEND], times, streams=1, jobs=5, draining=False)
    cells = {
        200: (5, 5),
        counters.CONTENT_OCTETS: (50, 50),
        counters.ACCEPTED: (5, 5),
        counters.SERVING: (2, 1),
        counters.STREAMS: (2, 1),
        counters.JOBS: (10, 5),
        counters.FIRST_STATE + SEND: (4, 2),
    }
    sums, pids = server.sums()
    assert {cell: sums[cell] for cell in cells} == {cell: both[0] for cell, both in cells.items()}
    assert len(pids) == 2
    server.remove(first)
    sums, pids = server.sums()
    assert {cell: sums[cell] for cell in cells} == {cell: both[1] for cell, both in cells.items()}
    assert pids == [os.getpid()]


def test_each_duration_is_in_the_bucket_that_bounds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = ServerCounters().add()
    for number, bound in enumerate(BUCKETS):
        for seconds in (bound, bound * 1.0001):
            monkeypatch.setattr("time.monotonic", lambda now=seconds: now)
            worker.answered(200, 0, 0.0)
        assert worker.cells[counters.DURATIONS + number] == (1 if number == 0 else 2)
    assert worker.cells[counters.DURATIONS + len(BUCKETS)] == 1
    total = sum(int(bound * 1e9) + int(bound * 1.0001 * 1e9) for bound in BUCKETS)
    assert worker.cells[counters.DURATION_NANOSECONDS] == total


def test_what_was_found_in_no_other_way_was_found_by_its_head() -> None:
    worker = ServerCounters().add()
    worker.missed()
    worker.knew_key()
    worker.refused()
    worker.observe([], 11, streams=0, jobs=0, draining=False)
    cells = worker.cells
    lookups = [cells[counters.KNOWN_HEADS], cells[counters.KNOWN_KEYS], cells[counters.MISSES]]
    assert lookups == [8, 1, 1]
    worker.observe([], 5, streams=0, jobs=0, draining=True)
    assert cells[counters.KNOWN_HEADS] == 8, "a counter never decreases"
    assert (cells[counters.SERVING], cells[counters.DRAINING]) == (0, 1)


@pytest.mark.parametrize("has_memfd", [True, False])
def test_another_process_counts_in_the_same_memory(
    has_memfd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_memfd:
        monkeypatch.delattr("os.memfd_create", raising=False)
    server = ServerCounters()
    shared = server.add(shared=True)
    imports = "import sys; from portico.server.telemetry.counters import adopt"
    code = f"{imports}; adopt(int(sys.argv[1])).missed()"
    command = [sys.executable, "-c", code, str(shared.fd)]
    subprocess.run(command, pass_fds=[shared.fd], check=True)
    assert server.sums()[0][counters.MISSES] == 1
    server.remove(shared)


def test_memory_with_another_layout_has_stopped_alone() -> None:
    server = ServerCounters()
    shared = server.add(shared=True)
    shared.cells[counters.THE_LAYOUT] += 1
    assert adopt(os.dup(shared.fd)) is None
    server.remove(shared)


# --- what a worker counts

Counted = tuple[str, memoryview]


@pytest.fixture
def counted(site: Path) -> Iterator[Counted]:
    """The URL of a worker, and its cells."""
    config = Config.of(root=str(site), port=0)
    listeners = bind(config)
    own = ServerCounters().add()
    url, worker = url_of(listeners[0]), Worker(config, listeners, Telemetry(counters=own))
    thread = threading.Thread(target=worker.run)
    thread.start()
    yield url, own.cells
    worker.stop()
    thread.join()
    states = slice(counters.FIRST_STATE, counters.FIRST_STATE + counters.STATES)
    assert sum(own.cells[states]) == 0
    assert (own.cells[counters.SERVING], own.cells[counters.DRAINING]) == (0, 1)


def test_the_ways_to_a_reply(site: Path, counted: Counted) -> None:
    """A reply is kept the second time: its key is known from the third, a head from the fourth."""
    url, cells = counted
    eventually(lambda: is_settled((site / "small.txt").stat()))  # or it is looked at anew each time
    with Client(url) as client:
        for number in range(10):
            client.ask(get("/small.txt"))
            client.ask(get("/small.txt", f"Cookie: {number}"))
        client.ask(get("/small.txt") * 2)
        client.answer()
        client.ask(request("POST", "/small.txt", "Content-Length: 1") + b"x")
        client.ask(b"nonsense\r\n\r\n")
        eventually(lambda: cells[400] == 1)
    eventually(lambda: cells[counters.KNOWN_HEADS])
    total = sum(
        cells[cell] for cell in (counters.KNOWN_HEADS, counters.KNOWN_KEYS, counters.MISSES)
    )
    assert total == sum(cells[100:]) - 1  # what is no request was not looked up
    assert cells[counters.MISSES] <= 5
    assert cells[counters.KNOWN_KEYS] >= 9
    assert cells[counters.KNOWN_HEADS] >= 7


def test_a_download_that_is_cut_short(counted: Counted) -> None:
    url, cells = counted
    with Client(url, receive_buffer=4096) as client:
        client.send(get("/large.bin"))
        eventually(lambda: cells[counters.FIRST_STATE + SEND])
        client.vanish()
    eventually(lambda: cells[counters.INCOMPLETE])
    assert cells[200] == 1
    assert 0 < cells[counters.CONTENT_OCTETS] < 1 << 22
    assert cells[counters.DURATION_NANOSECONDS] == 0


def test_a_slow_download_is_timed_from_its_beginning(counted: Counted) -> None:
    url, cells = counted
    with Client(url, receive_buffer=4096) as client:
        client.send(get("/large.bin"))
        eventually(lambda: cells[counters.FIRST_STATE + SEND])  # it was seen by a sweep
        client.hurry()
        assert len(client.answer().content) == 1 << 22
    eventually(lambda: cells[200])
    assert cells[counters.CONTENT_OCTETS] == 1 << 22
    assert cells[counters.DURATION_NANOSECONDS] > 1_000_000
