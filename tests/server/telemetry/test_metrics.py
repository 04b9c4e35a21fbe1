"""Counts and how they come together; the address on which they are shown, whoever comes there."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from portico import BindError, ConfigError
from portico.config.config import Config
from portico.server.limits import Streams
from portico.server.net.listeners import bind
from portico.server.states import SEND
from portico.server.telemetry import counters
from portico.server.telemetry.counters import BUCKETS, Counts, Ledger, adopt
from portico.server.telemetry.endpoint import SCRAPERS, Monitor
from portico.site.origin.stat import (
    is_settled,
)
from tests.server.clients import Client, descriptors, eventually, get, request
from tests.server.inside import running
from tests.server.telemetry.scraping import Samples, samples_of


def seen(ledger: Ledger, cell: int) -> int:
    return ledger.sums()[0][cell]


class Standing:
    """A responder, as far as it is looked at."""

    def __init__(self, requests: int, *, draining: bool = False) -> None:
        self.requests = requests
        self.streams = Streams()
        self.streams.begin()
        self.draining = draining


# --- counts


def test_workers_are_summed_and_the_dead_keep_what_they_have_counted() -> None:
    ledger = Ledger(has_workers=False)
    first, second = ledger.open_shared(), ledger.open()
    for worker, times in ((first, 3), (second, 2)):
        worker.serves()
        worker.accepted(times)
        for _ in range(times):
            worker.answered(200, 10, 0.0)
        worker.observe(Standing(times), [0, SEND, SEND], 0, 5)
    assert [seen(ledger, cell) for cell in (200, counters.CONTENT_OCTETS)] == [5, 50]
    present = [
        counters.ACCEPTED,
        counters.SERVING,
        counters.STREAMS,
        counters.JOBS,
        counters.FIRST_STATE + SEND,
    ]
    assert [seen(ledger, cell) for cell in present] == [5, 2, 2, 10, 4]
    assert len(ledger.sums()[1]) == 2
    first.close_descriptor()
    ledger.close(first)
    assert [seen(ledger, cell) for cell in (200, counters.CONTENT_OCTETS)] == [5, 50]
    assert [seen(ledger, cell) for cell in present] == [5, 1, 1, 5, 2]
    assert len(ledger.sums()[1]) == 1


def test_each_duration_is_in_the_bucket_that_bounds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Ledger(has_workers=False).open()
    for number, bound in enumerate(BUCKETS):
        for seconds in (bound, bound * 1.0001):
            monkeypatch.setattr("time.monotonic", lambda now=seconds: now)
            worker.answered(200, 0, 0.0)
        assert worker.cells[counters.DURATIONS + number] == (1 if number == 0 else 2)
    assert worker.cells[counters.DURATIONS + len(BUCKETS)] == 1
    total = sum(int(bound * 1e9) + int(bound * 1.0001 * 1e9) for bound in BUCKETS)
    assert worker.cells[counters.DURATION_NANOSECONDS] == total


def test_what_is_found_in_no_other_way_was_found_by_its_head() -> None:
    worker = Ledger(has_workers=False).open()
    worker.missed()
    worker.knew_key()
    worker.refused()
    worker.observe(Standing(9), [], 2, 0)
    cells = worker.cells
    assert [cells[counters.KNOWN_HEADS], cells[counters.KNOWN_KEYS], cells[counters.MISSES]] == [
        8,
        1,
        1,
    ]
    worker.observe(Standing(5, draining=True), [], 0, 0)
    assert cells[counters.KNOWN_HEADS] == 8, "a counter never goes back"
    assert (cells[counters.SERVING], cells[counters.DRAINING]) == (0, 1)


def test_another_process_counts_in_the_same_memory() -> None:
    ledger = Ledger(has_workers=True)
    shared = ledger.open_shared()
    imports = "import sys; from portico.server.telemetry.counters import adopt"
    code = f"{imports}; adopt(int(sys.argv[1])).missed()"
    command = [sys.executable, "-c", code, str(shared.fd)]
    subprocess.run(command, pass_fds=[shared.fd], check=True)
    shared.close_descriptor()
    assert seen(ledger, counters.MISSES) == 1
    ledger.close(shared)


def test_without_memfd_create_a_file_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.memfd_create", raising=False)
    ledger = Ledger(has_workers=True)
    shared = ledger.open_shared()
    theirs = adopt(os.dup(shared.fd))
    assert theirs is not None
    theirs.accepted(7)
    assert seen(ledger, counters.ACCEPTED) == 7
    shared.close_descriptor()


def test_who_understands_the_cells_differently_leaves_them_alone() -> None:
    shared = Ledger(has_workers=True).open_shared()
    shared.cells[counters.THE_LAYOUT] += 1
    assert adopt(os.dup(shared.fd)) is None
    shared.close_descriptor()


# --- the address


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    monitor = Monitor(Config.of(metrics="127.0.0.1:0", head_timeout=0.3), [])
    monitor.start()
    yield monitor
    monitor.close()


def scrape(monitor: Monitor, *lines: str) -> tuple[str, str]:
    """The text, and its media type."""
    with Client(monitor.url) as client:
        answer = client.ask(get("/metrics", *lines))
    assert answer.status == 200
    assert answer.fields["cache-control"] == "no-store"
    return answer.content.decode(), answer.fields["content-type"]


def test_it_can_be_parsed_in_every_form(monitor: Monitor) -> None:
    worker = monitor.ledger.open()
    worker.answered(304, 0, 0.0)
    text, kind = scrape(monitor)
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    plain = {family.name: family.type for family in plain_text(text)}
    assert plain["portico_request_duration_seconds"] == "histogram"
    assert plain.pop("portico_build_info") == "gauge"
    text, kind = scrape(monitor, "Accept: application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert text.endswith("# EOF\n")
    parsed = {family.name: family.type for family in open_metrics(text)}  # type: ignore[no-untyped-call]
    assert parsed.pop("portico_build") == "info"
    assert parsed == plain


def test_names_and_values(monitor: Monitor) -> None:
    worker = monitor.ledger.open()
    worker.serves()
    worker.accepted(2)
    worker.answered(200, 7, 0.0)
    worker.cut_short(206, 3)
    worker.observe(Standing(2), [SEND], 1, 0)
    samples = samples_of(scrape(monitor)[0])
    assert samples.by("portico_responses_total", "status") == {"200": 1, "206": 1}
    assert samples["portico_responses_incomplete_total"] == 1
    assert samples["portico_response_content_bytes_total"] == 10
    assert samples["portico_connections_accepted_total"] == 2
    assert samples["portico_request_duration_seconds_count"] == 1
    assert samples.by("portico_connections", "state")["sending"] == 1
    assert samples.by("portico_workers", "state") == {"serving": 1, "draining": 0}
    assert samples.by("portico_reloads_total", "result") == {"ok": 0, "failed": 0}
    assert samples.by("portico_memo_lookups_total", "outcome") == {"head": 3, "key": 0, "miss": 0}
    for name in ("portico_worker_restarts_total", "portico_streams", "portico_jobs_waiting"):
        assert name in samples
    assert samples["portico_build_info"] == 1
    assert samples["process_cpu_seconds_total"] > 0
    assert samples["process_start_time_seconds"] > 1e9
    buckets = samples.by("portico_request_duration_seconds_bucket", "le")
    assert list(map(float, buckets)) == [*BUCKETS, float("inf")]
    assert list(buckets.values()) == sorted(buckets.values())


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_processes_are_summed(monitor: Monitor) -> None:
    worker = monitor.ledger.open()
    alone = samples_of(scrape(monitor)[0])
    assert alone["process_resident_memory_bytes"] == 0
    worker.serves()
    one = samples_of(scrape(monitor)[0])
    assert one["process_resident_memory_bytes"] > 1 << 20
    assert one["process_open_fds"] > 5
    worker.cells[counters.PID] = 1 << 30  # it has just ended
    assert samples_of(scrape(monitor)[0])["process_open_fds"] == 0


def test_there_is_nothing_else(monitor: Monitor) -> None:
    with Client(monitor.url) as client:
        for path in ("/", "/metrics/", "/metrics/../x", "/favicon.ico"):
            assert client.ask(get(path)).status == 404
        assert client.ask(get("/metrics?name=x")).status == 200
        answer = client.ask(request("HEAD", "/metrics"), method="HEAD")
        assert (answer.status, int(answer.fields["content-length"]) > 1000) == (200, True)
        answer = client.ask(request("POST", "/metrics", "Content-Length: 0"))
        assert answer.status == 405
        assert client.ask(request("OPTIONS", "/metrics"), method="HEAD").status == 204
    with Client(monitor.url) as client:
        assert client.ask(b"GET /metrics HTTP/1.1\nHost: a\n\n").status == 400


def test_a_page_of_the_web_cannot_read_them(monitor: Monitor) -> None:
    """By a name of its own that it lets stand for this machine."""
    heads = {host: f"GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n" for host in HOSTS}
    with Client(monitor.url) as client:
        for host, head in heads.items():
            assert client.ask(head.encode()).status == HOSTS[host], host
        assert client.ask(b"GET /metrics HTTP/1.0\r\n\r\n").status == 200


HOSTS = {
    "evil.test": 421,
    "127.0.0.1.evil.test": 421,
    "localhost.evil.test": 421,
    "evillocalhost": 421,
    "127.0.0.1:9100": 200,
    "10.0.0.7": 200,
    "[::1]:9100": 200,
    "LOCALHOST:1": 200,
    "portico.localhost": 200,
}


def test_allowed_hosts_are_answered() -> None:
    for allowed in ("watch.test", "*"):
        monitor = Monitor(Config.of(metrics="127.0.0.1:0", allow_hosts=[allowed]), [])
        monitor.start()
        with Client(monitor.url) as client:
            assert client.ask(b"GET /metrics HTTP/1.1\r\nHost: watch.test\r\n\r\n").status == 200
        monitor.close()


def test_a_thousand_scrapes_leave_nothing(monitor: Monitor) -> None:
    monitor.ledger.open()
    gc.disable()
    try:
        scrape(monitor)
        before, threads = descriptors(), threading.active_count()
        for _ in range(200):
            with Client(monitor.url) as client:
                for _ in range(5):
                    assert client.ask(get("/metrics")).status == 200
        eventually(lambda: descriptors() <= before)
        assert threading.active_count() == threads
    finally:
        gc.enable()


def test_scrapers_that_stall_keep_nobody_out(monitor: Monitor) -> None:
    with ExitStack() as stack:
        stalled = [stack.enter_context(Client(monitor.url)) for _ in range(SCRAPERS)]
        for number, client in enumerate(stalled):
            client.send_as_far_as_possible([b"GET /metrics"] if number % 2 else [])
        for _ in range(3):
            assert "portico_build_info" in scrape(monitor)[0]
        for number, client in enumerate(stalled):
            ends = client.until_end()  # by its deadline, or because others came
            assert not ends or (number % 2 and b"408" in ends)


def test_the_end_does_not_wait_for_scrapers() -> None:
    monitor = Monitor(Config.of(metrics="127.0.0.1:0", head_timeout=3600), [])
    monitor.start()
    with Client(monitor.url) as idle, Client(monitor.url) as slow:
        idle.ask(get("/metrics"))
        slow.send(b"GET /metrics HTTP/1.1\r\n")
        scrape(monitor)
        monitor.close()
        assert idle.at_end()
        assert slow.at_end()
        with pytest.raises(ConnectionRefusedError):
            Client(monitor.url)


def another_descriptor() -> int | None:
    try:
        return os.dup(0)
    except OSError:
        return None


def test_out_of_descriptors_it_waits_until_there_are_some(monitor: Monitor) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    with Client(monitor.url) as client:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 20, limits[1]))
            while (fd := another_descriptor()) is not None:
                taken.append(fd)
            client.send(get("/metrics"))
            threading.Event().wait(0.1)
            assert not client.has_news()
        finally:
            for fd in taken:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert client.answer().status == 200


def test_it_may_be_closed_before_it_was_started() -> None:
    Monitor(Config.of(metrics="127.0.0.1:0"), []).close()


# --- where


def test_an_address_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BindError) as caught:
            Monitor(Config.of(metrics=f"127.0.0.1:{port}"), [])
    assert str(caught.value) == (
        f"port {port} on 127.0.0.1 is in use by another program; choose another with --metrics, "
        "or let the system choose with --metrics 127.0.0.1:0"
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "*", "0.0.0.0", "[::]"])
def test_the_address_of_the_site_is_refused(host: str) -> None:
    (listener,) = bind(Config.of(port=0))
    with listener, pytest.raises(ConfigError) as caught:
        Monitor(Config.of(metrics=f"{host}:{listener.getsockname()[1]}"), [listener])
    assert "--metrics: the site is served at " in str(caught.value)
    assert "metrics need an address of their own, such as 127.0.0.1:9100" in str(caught.value)


def test_an_address_of_all_the_machine_is_that_of_the_site_as_well() -> None:
    listener = bind(Config.of(listens=["0.0.0.0:0"]))[0]
    with listener, pytest.raises(ConfigError, match="the site is served at"):
        Monitor(Config.of(metrics=f"127.0.0.1:{listener.getsockname()[1]}"), [listener])


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no unix sockets")
def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    monitor = Monitor(Config.of(metrics=f"unix:{path}"), [])
    with pytest.raises(ConfigError, match="the site is served at"):
        Monitor(Config.of(metrics=f"unix:{path}"), monitor._listeners.values())
    assert monitor.url == f"unix:{path}"
    assert monitor.is_local
    monitor.start()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: any.test\r\nConnection: close\r\n\r\n")
        with client.makefile("rb") as file:
            assert b"portico_build_info" in file.read()
    monitor.close()
    assert not path.exists()


# --- a worker that is counted, in this process


@pytest.fixture
def counted(site: Path) -> Iterator[tuple[str, Counts]]:
    """The URL of a worker, and what it counts."""
    config = Config.of(root=str(site), port=0)
    ledger = Ledger(has_workers=False)
    cells = ledger.open()
    with running(config, counts=cells) as (_, url):
        yield url, cells
    states = range(counters.FIRST_STATE, counters.FIRST_STATE + counters.STATES)
    assert sum(cells.cells[state] for state in states) == 0
    assert (cells.cells[counters.SERVING], cells.cells[counters.DRAINING]) == (0, 1)


def test_the_ways_to_a_reply(site: Path, counted: tuple[str, Counts]) -> None:
    """A head is looked up by itself from the third time on, its key from the second."""
    url, worker = counted
    cells = worker.cells
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
    assert cells[counters.MISSES] <= 4
    assert cells[counters.KNOWN_KEYS] >= 9
    assert cells[counters.KNOWN_HEADS] >= 8


def test_a_download_that_is_cut_short(counted: tuple[str, Counts]) -> None:
    url, worker = counted
    cells = worker.cells
    with Client(url, receive_buffer=4096) as client:
        client.send(get("/large.bin"))
        eventually(lambda: cells[counters.FIRST_STATE + SEND])
        client.vanish()
    eventually(lambda: cells[counters.INCOMPLETE])
    assert cells[200] == 1
    assert 0 < cells[counters.CONTENT_OCTETS] < 1 << 22
    assert cells[counters.DURATION_NANOSECONDS] == 0


def test_a_slow_download_is_timed_from_its_beginning(counted: tuple[str, Counts]) -> None:
    url, worker = counted
    cells = worker.cells
    with Client(url, receive_buffer=4096) as client:
        client.send(get("/large.bin"))
        eventually(lambda: cells[counters.FIRST_STATE + SEND])  # it was seen by a sweep
        client.hurry()
        assert len(client.answer().content) == 1 << 22
    eventually(lambda: cells[200])
    assert cells[counters.CONTENT_OCTETS] == 1 << 22
    assert cells[counters.DURATION_NANOSECONDS] > 1_000_000


# --- the command


def test_without_the_package_it_is_said_how_to_get_it(site: Path) -> None:
    code = (
        "import sys; sys.modules['prometheus_client'] = None; from portico.cli.main import main; "
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, str(site), "--port", "0", "--metrics", "127.0.0.1:0"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    cure = "pip install prometheus_client"
    said = f"portico: error: --metrics needs the package prometheus_client: {cure}\n"
    assert (result.returncode, result.stderr) == (2, said)


def test_who_asks_for_no_metrics_pays_nothing(site: Path) -> None:
    code = (
        "import sys; from portico.server.worker import Worker; import portico.cli.main; "
        "from portico.config.config import Config; from portico.server.net.listeners import bind; "
        "config = Config.of(port=0, root=sys.argv[1]); Worker(config, bind(config)); "
        "print(*{'portico.server.telemetry.counters', 'prometheus_client', 'mmap', 'threading'}"
        " & set(sys.modules))"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(site)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_samples_of_two_scrapes_only_grow(monitor: Monitor) -> None:
    worker = monitor.ledger.open()
    before: Samples = samples_of(scrape(monitor)[0])
    worker.answered(200, 1, 0.0)
    samples_of(scrape(monitor)[0]).grown_since(before)
