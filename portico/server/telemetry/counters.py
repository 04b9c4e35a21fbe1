"""Counters and gauges of the workers for `--metrics`, and their sums over all workers.

Each is a cell of 8 bytes that only its own worker writes. Worker processes share the cells with the
supervisor, so a scrape costs a worker nothing, and the counts of a worker that died are not lost.
Counters are incremented when an event happens. Gauges, such as the number of open connections, are
written twice a second, when deadlines are checked, so they add no work per request.

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


LAYOUT = 4
"""The version of the cells' meaning; increment it with any change below. After an update, workers
with new code may run under a supervisor with old code, and must not write into its cells."""

CELLS = 1000
"""The number of cells. Cell N, from 100 on, counts the responses with status N."""

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
    NOT_ANNOUNCED,
) = range(11)
"""Counters, except THE_LAYOUT, which holds LAYOUT.

KNOWN_HEADS, KNOWN_KEYS and MISSES count look-ups in the reply cache, by their result.
"""

DURATIONS = 20
"""The first cell that counts durations: one cell per bound in BUCKETS, and one for longer ones."""

BUCKETS = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
"""Upper bounds of the histogram of durations, in seconds."""

PID, SERVING, DRAINING, STREAMS, JOBS, FIRST_STATE = 60, 61, 62, 63, 64, 70
"""Gauges, dropped when the worker ends. From FIRST_STATE on: the number of connections by state."""

STATES = 10
"""Cells reserved for the states of connections; there are fewer states."""

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
        """Count a complete response with `length` bytes of content, begun at monotonic `began`."""
        seconds = time.monotonic() - began
        cells = self.cells
        cells[status] += 1
        cells[CONTENT_OCTETS] += length
        cells[DURATIONS + bisect_left(BUCKETS, seconds)] += 1
        cells[DURATION_NANOSECONDS] += int(seconds * 1e9)

    def cut_short(self, status: int, length: int) -> None:
        """Count a response that ended early, after `length` bytes of content."""
        self.cells[status] += 1
        self.cells[CONTENT_OCTETS] += length
        self.cells[INCOMPLETE] += 1

    def accepted(self, number: int) -> None:
        """Count `number` accepted connections."""
        self.cells[ACCEPTED] += number

    def handshake_failed(self) -> None:
        """Count a TLS handshake that failed."""
        self.cells[HANDSHAKES_FAILED] += 1

    def not_announced(self) -> None:
        """Count a connection closed because no trusted proxy sent a valid PROXY header."""
        self.cells[NOT_ANNOUNCED] += 1

    def knew_key(self) -> None:
        """Count a request whose reply was cached under the request's key."""
        self.cells[KNOWN_KEYS] += 1
        self._not_by_head += 1

    def missed(self) -> None:
        """Count a request whose reply was not cached and had to be made."""
        self.cells[MISSES] += 1
        self._not_by_head += 1

    def refused(self) -> None:
        """Note a reply to a malformed request, for which the cache was not searched."""
        self._not_by_head += 1

    def serves(self) -> None:
        """Set the gauges of a worker that begins to accept connections."""
        self.cells[PID] = os.getpid()
        self.cells[SERVING] = 1

    def observe(
        self, states: Sequence[int], taken_up: int, streams: int, jobs: int, *, draining: bool
    ) -> None:
        """Write the gauges.

        `states` has the state of each connection. `taken_up` is the number of requests since the
        start whose response was sent or is being sent, `streams` the number of streams under way,
        `jobs` the number of background jobs that wait.
        """
        cells = self.cells
        for state in range(STATES):
            cells[FIRST_STATE + state] = states.count(state)
        cells[SERVING], cells[DRAINING] = not draining, draining
        cells[STREAMS] = streams
        cells[JOBS] = jobs
        cells[CPU_NANOSECONDS] = time.process_time_ns()
        # All other requests had a reply cached under their head. Counting them by subtraction keeps
        # this fastest path free of counting.
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
    """Map the counters in the supervisor's shared memory `fd`, and close `fd`.

    Return None if the supervisor's code has another LAYOUT.
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
        """Workers started to replace one that ended without being told to."""
        self.reloads = 0
        self.failed_reloads = 0
        self._lock = allocate_lock()
        self._ended = [0] * CELLS
        """The sums over workers that have ended."""
        self._workers: list[Counters] = []

    def add(self, *, shared: bool = False) -> Counters:
        """Return counters for a new worker; `shared` if the worker is a process. Raises OSError."""
        counters = _new_shared() if shared else Counters(memoryview(bytearray(8 * CELLS)))
        with self._lock:
            self._workers.append(counters)
        return counters

    def remove(self, counters: Counters) -> None:
        """Add the counters of a worker process that has ended to the sums; drop its gauges."""
        with self._lock:
            self._workers.remove(counters)
            for cell in _COUNTERS:
                self._ended[cell] += counters.cells[cell]
        counters.cells.release()
        os.close(counters.fd)

    def sums(self) -> tuple[list[int], list[int]]:
        """Return the sum of each cell over all workers, and the pids of all processes."""
        with self._lock:
            sums = list(self._ended)
            for counters in self._workers:
                for cell, value in enumerate(counters.cells):
                    sums[cell] += value
            pids = [counters.cells[PID] for counters in self._workers if counters.cells[PID]]
        if os.getpid() not in pids:  # the workers are processes, and this is the supervisor
            sums[CPU_NANOSECONDS] += time.process_time_ns()
            pids.append(os.getpid())
        return sums, pids
