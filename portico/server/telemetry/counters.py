"""What workers count for `--metrics`, and the sums over all workers.

A counter is a cell of 8 octets that only its own worker writes. Worker processes share this memory
with the supervisor, so a scrape costs them nothing, and what a worker that died has counted is not
lost. Counters are written as things happen. Gauges, such as the number of open connections, are
written twice a second, when deadlines are checked, and cost no request anything.

Limit: on 32-bit systems a sum may be wrong for the moment in which a cell passes 2**32.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from _thread import allocate_lock
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


LAYOUT = 3
"""The version of the cells' meaning; to be raised with any change below. After an update, workers
with new code may run under a supervisor with old code, and must not write into its cells."""

CELLS = 1000
"""The number of cells. Those from 100 on count the responses of that status."""

(
    THE_LAYOUT,
    ACCEPTED,
    CONTENT_OCTETS,
    INCOMPLETE,
    KNOWN_HEADS,
    KNOWN_KEYS,
    MISSES,
    CPU_NANOSECONDS,
    DURATION_NANOSECONDS,
    HANDSHAKES_FAILED,
) = range(10)
"""Counters, but for the first. KNOWN_HEADS, KNOWN_KEYS and MISSES count look-ups of replies."""

DURATIONS = 20
"""The first of the cells that count durations: one for each of BUCKETS, and one for longer ones."""

BUCKETS = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
"""Upper bounds of durations, in seconds."""

PID, SERVING, DRAINING, STREAMS, JOBS, FIRST_STATE = 60, 61, 62, 63, 64, 70
"""Gauges, which end with the worker. From FIRST_STATE on: the number of connections, by state."""

STATES = 10
"""Cells for states of connections; more than there are."""

_COUNTERS = (*range(1, PID), *range(100, CELLS))


class Counters:
    """The counters of one worker."""

    __slots__ = ("_not_by_head", "cells", "fd")

    def __init__(self, memory: memoryview, fd: int = -1) -> None:
        self.cells = memory.cast("Q")
        self.fd = fd
        """The descriptor of the memory, for the worker process to map; -1 if it is not shared."""
        self._not_by_head = 0

    def answered(self, status: int, length: int, began: float) -> None:
        """Count a complete response with `length` octets of content, begun at monotonic `began`."""
        seconds = time.monotonic() - began
        cells = self.cells
        cells[status] += 1
        cells[CONTENT_OCTETS] += length
        cells[DURATIONS + bisect_left(BUCKETS, seconds)] += 1
        cells[DURATION_NANOSECONDS] += int(seconds * 1e9)

    def cut_short(self, status: int, length: int) -> None:
        """Count a response that ended early, after `length` octets of content."""
        self.cells[status] += 1
        self.cells[CONTENT_OCTETS] += length
        self.cells[INCOMPLETE] += 1

    def accepted(self, number: int) -> None:
        """Count accepted connections."""
        self.cells[ACCEPTED] += number

    def handshake_failed(self) -> None:
        """Count a TLS handshake that failed."""
        self.cells[HANDSHAKES_FAILED] += 1

    def knew_key(self) -> None:
        """Count a reply that was found by its key."""
        self.cells[KNOWN_KEYS] += 1
        self._not_by_head += 1

    def missed(self) -> None:
        """Count a reply that was not found and had to be made."""
        self.cells[MISSES] += 1
        self._not_by_head += 1

    def refused(self) -> None:
        """Note a reply to a malformed request, which was not looked up."""
        self._not_by_head += 1

    def serves(self) -> None:
        """Note that this process begins to accept connections."""
        self.cells[PID] = os.getpid()
        self.cells[SERVING] = 1

    def observe(
        self, states: Sequence[int], taken_up: int, streams: int, jobs: int, *, draining: bool
    ) -> None:
        """Write the gauges.

        `states` are those of all connections, `taken_up` counts the requests that were answered or
        whose response is being sent, `streams` those under way, `jobs` those that wait.
        """
        cells = self.cells
        for state in range(STATES):
            cells[FIRST_STATE + state] = states.count(state)
        cells[SERVING], cells[DRAINING] = not draining, draining
        cells[STREAMS] = streams
        cells[JOBS] = jobs
        cells[CPU_NANOSECONDS] = time.process_time_ns()
        # All others were found by their head: so this, the fastest way, needs no counting.
        by_head = taken_up - self._not_by_head
        cells[KNOWN_HEADS] = max(cells[KNOWN_HEADS], by_head)  # a counter never decreases


def _new_shared() -> Counters:
    fd = os.memfd_create("portico-counters") if hasattr(os, "memfd_create") else _temporary_file()
    try:
        os.ftruncate(fd, 8 * CELLS)
        counters = Counters(memoryview(mmap.mmap(fd, 8 * CELLS)), fd)
    except OSError:
        os.close(fd)
        raise
    counters.cells[THE_LAYOUT] = LAYOUT
    return counters


def _temporary_file() -> int:
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def adopt(fd: int) -> Counters | None:
    """Return the counters in the memory that the supervisor shares, and close its descriptor.

    None if the supervisor's code has another layout.
    """
    try:
        counters = Counters(memoryview(mmap.mmap(fd, 8 * CELLS)))
    finally:
        os.close(fd)
    return counters if counters.cells[THE_LAYOUT] == LAYOUT else None


class ServerCounters:
    """The counters of all workers, and those of the supervisor. Thread-safe."""

    def __init__(self) -> None:
        self.restarts = 0
        """Workers started in the place of one that had not been told to end."""
        self.reloads = 0
        self.failed_reloads = 0
        self._lock = allocate_lock()
        self._ended = [0] * CELLS
        """The sums over workers that have ended."""
        self._workers: list[Counters] = []

    def add(self, *, shared: bool = False) -> Counters:
        """Return counters for a new worker; `shared` if it is a process. Raises OSError."""
        counters = _new_shared() if shared else Counters(memoryview(bytearray(8 * CELLS)))
        with self._lock:
            self._workers.append(counters)
        return counters

    def remove(self, counters: Counters) -> None:
        """Keep what a worker process that has ended has counted; forget its gauges."""
        with self._lock:
            self._workers.remove(counters)
            for cell in _COUNTERS:
                self._ended[cell] += counters.cells[cell]
        counters.cells.release()
        os.close(counters.fd)

    def sums(self) -> tuple[list[int], list[int]]:
        """Return the sum of each cell over all workers, and the ids of all processes."""
        with self._lock:
            sums = list(self._ended)
            for counters in self._workers:
                for cell, value in enumerate(counters.cells):
                    sums[cell] += value
            pids = [counters.cells[PID] for counters in self._workers if counters.cells[PID]]
        if os.getpid() not in pids:  # workers are processes of their own
            sums[CPU_NANOSECONDS] += time.process_time_ns()
            pids.append(os.getpid())
        return sums, pids
