"""The counters as Prometheus metrics, formatted by the optional package `prometheus_client`."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
import time
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily as Counter
from prometheus_client.metrics_core import GaugeMetricFamily as Gauge
from prometheus_client.metrics_core import (
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector

from portico import __version__
from portico.server.states import CONTENT, HEAD, IDLE, LINGER, QUEUED, SEND, WAIT
from portico.server.telemetry import counters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from portico.server.telemetry.counters import ServerCounters

STATES = {
    IDLE: "idle",
    HEAD: "head",
    QUEUED: "turn",
    CONTENT: "content",
    WAIT: "waiting",
    SEND: "sending",
    LINGER: "lingering",
}
"""The names of a connection's states in the metrics."""


# Members of Accept that `prometheus_client` can parse; some other version parameters make it raise.
_MEMBER = re.compile(
    r"\s*[\w*]+/[\w*.+-]+\s*(?:;\s*(?:version=\d{1,3}(?:\.\d{1,3})+|(?!version)\w+=[\w.+-]+)\s*)*",
    re.ASCII,
)


class ServerCollector(Collector):
    """The metrics of a server."""

    def __init__(self, server: ServerCounters) -> None:
        self._server = server
        self._started = time.time()

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the present metrics as text in the format that `accept` prefers; and its type."""
        known = [member for member in accept.split(",") if _MEMBER.fullmatch(member)]
        encode, media_type = choose_encoder(",".join(known))
        return encode(self), media_type

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, from one reading of the counters."""
        sums, pids = self._server.sums()
        yield from _responses(sums)
        yield _durations(sums)
        yield from _connections(sums)
        yield from _workers(sums, self._server)
        yield from _processes(sums, pids)
        text = "When the server started, in Unix time."
        yield Gauge("process_start_time_seconds", text, self._started)
        about = {"version": __version__, "python": platform.python_version()}
        yield InfoMetricFamily("portico_build", "What serves.", value=about)


def _responses(sums: list[int]) -> Iterator[Metric]:
    by_status = {str(status): sums[status] for status in range(100, counters.CELLS) if sums[status]}
    text = "Responses by status; 499 is a client that left before it had one."
    yield _filled(Counter("portico_responses", text, labels=["status"]), by_status)
    text = "Responses that ended before they were complete; the others count them, too."
    yield Counter("portico_responses_incomplete", text, sums[counters.INCOMPLETE])
    text = "Octets of content that were sent."
    yield Counter("portico_response_content_bytes", text, sums[counters.CONTENT_OCTETS])
    ways = {"head": counters.KNOWN_HEADS, "key": counters.KNOWN_KEYS, "miss": counters.MISSES}
    lookups = {way: sums[cell] for way, cell in ways.items()}
    text = "Requests by how a ready reply was found: by the whole head, by its key, or not."
    yield _filled(Counter("portico_memo_lookups", text, labels=["outcome"]), lookups)


def _durations(sums: list[int]) -> Metric:
    first, last = counters.DURATIONS, counters.DURATIONS + len(counters.BUCKETS)
    bounds = [*map(str, counters.BUCKETS), "+Inf"]
    return HistogramMetricFamily(
        "portico_request_duration_seconds",
        "From a request's turn until the kernel has the last octet of its complete response.",
        buckets=list(zip(bounds, accumulate(sums[first : last + 1]), strict=True)),
        sum_value=sums[counters.DURATION_NANOSECONDS] / 1e9,
    )


def _connections(sums: list[int]) -> Iterator[Metric]:
    text = "Connections that were accepted."
    yield Counter("portico_connections_accepted", text, sums[counters.ACCEPTED])
    text = "TLS handshakes that failed."
    yield Counter("portico_tls_handshakes_failed", text, sums[counters.HANDSHAKES_FAILED])
    text = "Connections closed because they did not begin with the PROXY header of a trusted proxy."
    yield Counter("portico_proxy_headers_refused", text, sums[counters.NOT_ANNOUNCED])
    by_state = {name: sums[counters.FIRST_STATE + state] for state, name in STATES.items()}
    text = "Connections open now, by state."
    yield _filled(Gauge("portico_connections", text, labels=["state"]), by_state)
    yield Gauge("portico_streams", "Streamed listings under way.", sums[counters.STREAMS])


def _workers(sums: list[int], server: ServerCounters) -> Iterator[Metric]:
    by_state = {"serving": sums[counters.SERVING], "draining": sums[counters.DRAINING]}
    yield _filled(Gauge("portico_workers", "Workers by state.", labels=["state"]), by_state)
    text = "Workers started in the place of one that the supervisor had not told to end."
    yield Counter("portico_worker_restarts", text, server.restarts)
    by_result = {"ok": server.reloads, "failed": server.failed_reloads}
    yield _filled(Counter("portico_reloads", "Reloads by result.", labels=["result"]), by_result)
    text = "Jobs that wait for their thread: to compress, to hash a large file."
    yield Gauge("portico_jobs_waiting", text, sums[counters.JOBS])


def _processes(sums: list[int], pids: list[int]) -> Iterator[Metric]:
    """Yield the standard process metrics of Prometheus, summed over all processes."""
    text = "Processor time of all processes, also of those that have ended."
    yield Counter("process_cpu_seconds", text, sums[counters.CPU_NANOSECONDS] / 1e9)
    if sys.platform != "linux":
        return
    resident = descriptors = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # the process has just ended
            descriptors += len(os.listdir(f"/proc/{pid}/fd"))
            with open(f"/proc/{pid}/statm", "rb") as file:
                resident += int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    text = "Resident memory of all processes; what they share counts for each."
    yield Gauge("process_resident_memory_bytes", text, resident)
    yield Gauge("process_open_fds", "Open descriptors of all processes.", descriptors)


def _filled(family: Counter | Gauge, values: Mapping[str, float]) -> Metric:
    """Return `family` with one sample per entry of `values`, which maps label to value."""
    for label, value in values.items():
        family.add_metric([label], value)
    return family
