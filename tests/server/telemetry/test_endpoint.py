"""The address of the metrics: what is shown there, and that no scraper does any harm."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from portico import BindError
from portico.config.config import Config
from portico.server.net.listeners import bind
from portico.server.states import SEND
from portico.server.telemetry import counters
from portico.server.telemetry.counters import BUCKETS
from portico.server.telemetry.endpoint import SCRAPERS, MetricsEndpoint
from tests.server.clients import Client, descriptors, eventually, get, request
from tests.server.telemetry.scraping import scrape, scrape_text


def start(**options: object) -> MetricsEndpoint:
    endpoint = MetricsEndpoint(Config.of(**{"metrics": "127.0.0.1:0", **options}))
    endpoint.start()
    return endpoint


@pytest.fixture
def endpoint() -> Iterator[MetricsEndpoint]:
    with closing(start(head_timeout=0.3)) as endpoint:
        yield endpoint


def test_it_can_be_parsed_in_every_form(endpoint: MetricsEndpoint) -> None:
    endpoint.counters.add().answered(304, 0, 0.0)
    text, kind = scrape_text(endpoint.url)
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    plain = {family.name: family.type for family in plain_text(text)}
    assert plain["portico_request_duration_seconds"] == "histogram"
    assert plain.pop("portico_build_info") == "gauge"
    accept = "Accept: application/openmetrics-text; version=1.0.0"
    text, kind = scrape_text(endpoint.url, accept)
    assert kind.startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert text.endswith("# EOF\n")
    parsed = {family.name: family.type for family in open_metrics(text)}  # type: ignore[no-untyped-call]
    assert parsed.pop("portico_build") == "info"
    assert parsed == plain


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text;version=abc",
        "application/openmetrics-text;version=",
        "text/plain;version=1.x",
        'text/plain;version="1.0.0"',
        "\x80, text/plain;version=1..0;escaping=",
    ],
)
def test_a_form_that_makes_no_sense_is_as_good_as_none(
    endpoint: MetricsEndpoint, accept: str
) -> None:
    assert scrape_text(endpoint.url, f"Accept: {accept}")[1].startswith("text/plain; version=0.0.4")


def test_names_and_values(endpoint: MetricsEndpoint) -> None:
    worker = endpoint.counters.add()
    worker.serves()
    worker.accepted(2)
    worker.answered(200, 7, 0.0)
    worker.cut_short(206, 3)
    worker.observe([SEND], 3, streams=4, jobs=5, draining=False)
    samples = scrape(endpoint.url)
    for name, value in {
        "portico_responses_incomplete_total": 1,
        "portico_response_content_bytes_total": 10,
        "portico_connections_accepted_total": 2,
        "portico_request_duration_seconds_count": 1,
        "portico_worker_restarts_total": 0,
        "portico_streams": 4,
        "portico_jobs_waiting": 5,
        "portico_build_info": 1,
    }.items():
        assert samples[name] == value, name
    assert samples.by("portico_responses_total", "status") == {"200": 1, "206": 1}
    assert samples.by("portico_connections", "state")["sending"] == 1
    assert samples.by("portico_workers", "state") == {"serving": 1, "draining": 0}
    assert samples.by("portico_reloads_total", "result") == {"ok": 0, "failed": 0}
    assert samples.by("portico_memo_lookups_total", "outcome") == {"head": 3, "key": 0, "miss": 0}
    assert samples["process_cpu_seconds_total"] > 0
    assert samples["process_start_time_seconds"] > 1e9
    buckets = samples.by("portico_request_duration_seconds_bucket", "le")
    assert list(map(float, buckets)) == [*BUCKETS, float("inf")]
    assert list(buckets.values()) == sorted(buckets.values())
    worker.answered(200, 1, 0.0)
    scrape(endpoint.url).grown_since(samples)


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_processes_are_summed(endpoint: MetricsEndpoint) -> None:
    """Once each: a worker may run in this one."""
    resident = [scrape(endpoint.url)["process_resident_memory_bytes"]]
    assert scrape(endpoint.url)["process_open_fds"] > 5
    worker = endpoint.counters.add()
    for pid in (os.getpid(), os.getppid(), 1 << 30):  # the last has just ended
        worker.cells[counters.PID] = pid
        resident.append(scrape(endpoint.url)["process_resident_memory_bytes"])
    alone, same, two, after = resident
    assert alone > 1 << 20
    assert two > max(alone, same, after)


def test_there_is_nothing_else(endpoint: MetricsEndpoint) -> None:
    with Client(endpoint.url) as client:
        for path in ("/", "/metrics/", "/metrics/../x", "/favicon.ico"):
            assert client.ask(get(path)).status == 404
        assert client.ask(get("/metrics?name=x")).status == 200
        answer = client.ask(request("HEAD", "/metrics"), method="HEAD")
        assert (answer.status, int(answer.fields["content-length"]) > 1000) == (200, True)
        answer = client.ask(request("POST", "/metrics", "Content-Length: 0"))
        assert answer.status == 405
        assert client.ask(request("OPTIONS", "/metrics"), method="HEAD").status == 204
    with Client(endpoint.url) as client:
        assert client.ask(b"GET /metrics HTTP/1.1\nHost: a\n\n").status == 400


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


def status_for(client: Client, host: str) -> int:
    return client.ask(f"GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).status


def test_a_page_of_the_web_cannot_read_them(endpoint: MetricsEndpoint) -> None:
    """By a name of its own that it lets stand for this machine."""
    with Client(endpoint.url) as client:
        assert {host: status_for(client, host) for host in HOSTS} == HOSTS
        assert client.ask(b"GET /metrics HTTP/1.0\r\n\r\n").status == 200


@pytest.mark.parametrize("allowed", ["watch.test", "*.test", "*"])
def test_allowed_hosts_are_answered(allowed: str) -> None:
    with closing(start(allow_hosts=[allowed])) as endpoint, Client(endpoint.url) as client:
        assert status_for(client, "watch.test") == 200


def test_many_scrapes_leave_nothing(endpoint: MetricsEndpoint) -> None:
    endpoint.counters.add()
    gc.disable()
    try:
        scrape(endpoint.url)
        before, threads = descriptors(with_garbage=True), set(threading.enumerate())
        for _ in range(30):
            with Client(endpoint.url) as client:
                for _ in range(3):
                    assert client.ask(get("/metrics")).status == 200
        eventually(lambda: descriptors(with_garbage=True) <= before)
        assert threads.issuperset(threading.enumerate())
    finally:
        gc.enable()


def test_scrapers_that_stall_keep_nobody_out(endpoint: MetricsEndpoint) -> None:
    with ExitStack() as stack:
        stalled = [stack.enter_context(Client(endpoint.url)) for _ in range(SCRAPERS)]
        for number, client in enumerate(stalled):
            client.send_as_far_as_possible([b"GET /metrics"] if number % 2 else [])
        for _ in range(3):
            scrape(endpoint.url)
        for number, client in enumerate(stalled):
            ends = client.until_end()  # by its deadline, or because others came
            assert not ends or (number % 2 and b"408" in ends)


def test_the_end_does_not_wait_for_scrapers() -> None:
    endpoint = start(head_timeout=3600)
    with Client(endpoint.url) as idle, Client(endpoint.url) as slow:
        idle.ask(get("/metrics"))
        slow.send(b"GET /metrics HTTP/1.1\r\n")
        scrape(endpoint.url)
        endpoint.close()
        assert idle.at_end()
        assert slow.at_end()
        with pytest.raises(ConnectionRefusedError):
            Client(endpoint.url)


def another_descriptor() -> int | None:
    try:
        return os.dup(0)
    except OSError:
        return None


def test_out_of_descriptors_it_waits_until_there_are_some(endpoint: MetricsEndpoint) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def waits() -> bool:
        taken: list[int] = []
        with Client(endpoint.url) as client:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 20, limits[1]))
                while (fd := another_descriptor()) is not None:
                    taken.append(fd)
                client.send(get("/metrics"))
                threading.Event().wait(0.1)
                has_waited = not client.has_news()
            finally:
                for fd in taken:
                    os.close(fd)
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            assert client.answer().status == 200
        return has_waited

    # A thread that an earlier test has left may close a descriptor in the meantime, but not always.
    assert any(waits() for _ in range(5))


def test_it_may_be_closed_before_it_was_started() -> None:
    MetricsEndpoint(Config.of(metrics="127.0.0.1:0")).close()


# --- where


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_an_address_in_use_is_refused(host: str) -> None:
    """By the site itself, or by another program."""
    (listener,) = bind(Config.of(host="127.0.0.1", port=0))
    port = listener.getsockname()[1]
    with listener, pytest.raises(BindError) as caught:
        MetricsEndpoint(Config.of(metrics=f"{host}:{port}"))
    assert str(caught.value) == (
        f"port {port} on {host} is in use; choose another: --metrics {host}:0 takes any free one"
    )


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no unix sockets")
def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    with closing(start(metrics=f"unix:{path}")) as endpoint:
        with pytest.raises(BindError, match="is in use by another server"):
            start(metrics=f"unix:{path}")
        assert endpoint.url == f"unix:{path}"
        assert endpoint.is_local
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: any.test\r\nConnection: close\r\n\r\n")
            with client.makefile("rb") as file:
                assert b"portico_build_info" in file.read()
    assert not path.exists()


# --- the command


def test_without_the_package_it_is_said_how_to_get_it(site: Path) -> None:
    code = (
        "import sys; sys.modules['prometheus_client'] = None; from portico.cli.main import main; "
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, str(site), "--port", "0", "--metrics", "127.0.0.1:0"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    cure = "pip install 'portico-server[metrics]'"
    said = f"portico: error: --metrics needs a library: {cure}\n"
    assert (result.returncode, result.stderr) == (2, said)


def test_without_metrics_nothing_is_imported_for_them(site: Path) -> None:
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
