"""Metrics of the command, as a scraper sees them, while workers come and go."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.server.clients import Client, eventually, get
from tests.server.processes.supervised import Supervised, needs_proc
from tests.server.telemetry.scraping import Samples, scrape

pytestmark = needs_proc

Run = Callable[..., Supervised]
STATUS = "portico_responses_total"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    site.mkdir()
    (site / "small.txt").write_bytes(b"small")
    (site / "large.bin").write_bytes(bytes(1 << 22))
    return tmp_path


@pytest.fixture
def run(root: Path) -> Iterator[Run]:
    """Start the command with these options."""
    with ExitStack() as stack:

        def start(*options: str) -> Supervised:
            options = ("site", "--port", "0", "--metrics", "127.0.0.1:0", *options)
            return stack.enter_context(Supervised(root, *options)).start()

        yield start


def metrics_of(portico: Supervised) -> str:
    """The address of the metrics, as the banner has it."""
    found = re.search(r"^Metrics: (\S+/metrics)$", portico.said, re.MULTILINE)
    assert found is not None, portico.said
    return found[1]


def answered(samples: Samples) -> float:
    return sum(samples.by(STATUS, "status").values())


def test_one_process(run: Run) -> None:
    portico = run()
    url = metrics_of(portico)
    before = scrape(url)
    assert before.by("portico_workers", "state") == {"serving": 1, "draining": 0}
    with Client(portico.url) as client:
        for path, status in {"/small.txt": 200, "/none": 404, "/metrics": 404}.items():
            assert client.ask(get(path)).status == status
        eventually(lambda: answered(scrape(url)) == 3)
        eventually(lambda: scrape(url).by("portico_connections", "state")["idle"] == 1)
    samples = scrape(url)
    samples.grown_since(before)
    assert samples.by(STATUS, "status") == {"200": 1, "404": 2}
    assert samples["portico_connections_accepted_total"] == 1
    assert samples["portico_request_duration_seconds_count"] == 3
    eventually(lambda: scrape(url).by("portico_connections", "state")["idle"] == 0)
    assert portico.end(signal.SIGINT) == 0
    assert "Stopped after 3 requests" in portico.said, "scrapes are not counted"
    assert portico.logged.count("\n") == 3


def test_workers_are_summed(run: Run) -> None:
    portico = run("--workers", "2")
    url = metrics_of(portico)
    first, second = portico.workers
    for idle in (first, second):  # so that each of them has something to count
        os.kill(idle, signal.SIGSTOP)
        for _ in range(5):
            portico.content()
        os.kill(idle, signal.SIGCONT)
    eventually(lambda: answered(scrape(url)) == 10)
    samples = scrape(url)
    assert samples.by("portico_workers", "state") == {"serving": 2, "draining": 0}
    assert samples["portico_response_content_bytes_total"] == 50
    assert samples["portico_connections_accepted_total"] == 10
    three = 3 * 5 * 1024 * 1024  # each process has more than that
    assert samples["process_resident_memory_bytes"] > three
    assert portico.end() == 0


def test_a_worker_that_is_killed_leaves_its_counts(run: Run) -> None:
    portico = run("--workers", "2")
    url = metrics_of(portico)
    for times in (1, 2):
        for _ in range(10):
            portico.content()
        eventually(lambda: answered(scrape(url)) == 10 * times)  # noqa: B023 (called at once)
        before = scrape(url)
        os.kill(min(portico.workers), signal.SIGKILL)
        eventually(lambda: scrape(url)["portico_worker_restarts_total"] == times)  # noqa: B023
        eventually(lambda: scrape(url).by("portico_workers", "state")["serving"] == 2)
        after = scrape(url)
        after.grown_since(before)
        assert answered(after) == 10 * times
        assert sum(after.by("portico_connections", "state").values()) == 0
    assert portico.end() == 0


def test_reloads(run: Run, root: Path) -> None:
    portico = run("--workers", "2")
    url = metrics_of(portico)
    before = scrape(url)
    held = descriptors_of(portico)
    for times in (1, 2):
        portico.content()
        portico.reload(times)
        eventually(lambda: len(portico.workers) == 2)
        eventually(lambda: scrape(url).by("portico_workers", "state")["draining"] == 0)
        eventually(lambda: scrape(url).by("portico_workers", "state")["serving"] == 2)
        samples = scrape(url)
        samples.grown_since(before)
        assert answered(samples) == times
        assert samples.by("portico_reloads_total", "result") == {"ok": times, "failed": 0}
        before = samples
    (root / "site").rename(root / "elsewhere")
    portico.send(signal.SIGHUP)
    portico.hears("not reloaded")
    eventually(lambda: scrape(url).by("portico_reloads_total", "result")["failed"] == 1)
    assert scrape(url)["portico_worker_restarts_total"] == 0
    eventually(lambda: descriptors_of(portico) <= held)
    assert portico.end() == 0


def descriptors_of(portico: Supervised) -> int:
    return len(list(Path(f"/proc/{portico.popen.pid}/fd").iterdir()))


def test_another_address_takes_a_restart(root: Path) -> None:
    file = root / "portico.toml"
    file.write_text("root = 'site'\nmetrics = 'unix:m.sock'\nworkers = 2\n")
    with Supervised(root, "--config", "portico.toml", "--port", "0") as portico:
        portico.start()
        assert f"\nMetrics: unix:{root / 'm.sock'}\n" in portico.said.replace(
            "unix:m.sock", f"unix:{root / 'm.sock'}"
        )
        for line in ("metrics = '127.0.0.1:0'", ""):
            file.write_text(f"root = 'site'\nworkers = 2\n{line}\n")
            portico.send(signal.SIGHUP)
            portico.hears("as before: another address for metrics takes a restart\n")
        assert portico.content() == b"small"
        assert portico.end() == 0
    assert not (root / "m.sock").exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_end_does_not_wait_for_a_scraper(run: Run, workers: str) -> None:
    portico = run("--workers", workers, "--grace", "3600", "--head-timeout", "3600")
    with Client(metrics_of(portico)) as stalled, Client(metrics_of(portico)) as idle:
        stalled.send(get("/metrics")[:30])
        idle.ask(get("/metrics"))
        assert portico.end(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("workers", "address"), [("1", "unix:www.sock"), ("2", "unix:none/m.sock")]
)
def test_an_address_that_cannot_be_had_ends_the_start(
    root: Path, workers: str, address: str
) -> None:
    """With one line, exit code 2, and nothing left of the site's own address."""
    options = ("site", "--workers", workers, "--listen", "unix:www.sock", "--metrics", address)
    with Supervised(root, *options) as portico:
        assert portico.popen.wait() == 2
    assert portico.said.startswith("portico: error: ")
    assert portico.said.count("\n") == 1
    assert not (root / "www.sock").exists()


def test_beyond_this_machine_it_warns(root: Path) -> None:
    with Supervised(root, "site", "--port", "0", "--metrics", ":0") as portico:
        portico.start()
        assert "Warning: everyone on your network can read the metrics." in (portico.said)
        assert portico.end() == 0
