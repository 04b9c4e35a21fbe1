"""What a worker counts for `--metrics`, and how the counts of several workers come together.

Rule: a count is a cell in memory that its worker alone writes. With several workers that memory is
shared with the supervisor, so a scrape costs the workers nothing, and what one that died has
counted is not lost. Counters are written as things happen; what is only a present state (how many
connections are open) is looked at twice a second, with the deadlines, and costs no request a thing.

Limit: a cell is read and written whole on 64-bit systems. On others a sum may be off for the moment
in which a cell passes 2**32.
"""

from __future__ import annotations

import os
import time
from _thread import allocate_lock
from bisect import bisect_left
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portico.server.limits import Streams

LAYOUT = 2
"""Which cells mean what. To be raised with any change below: after an update, new workers may run
under an old supervisor, and then must not count for it."""

CELLS = 1000
"""Each of 8 octets. Those from 100 on count the responses of that status."""

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
) = range(9)
"""Counters, but for the first. KNOWN_HEADS, KNOWN_KEYS and MISSES are the ways to a reply."""

DURATIONS = 20
"""The first of the cells that count durations up to each of BUCKETS, and not up to the one before.
One more counts those that were longer."""

BUCKETS = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
"""Upper bounds of durations, in seconds."""

PID, SERVING, DRAINING, STREAMS, JOBS, FIRST_STATE = 60, 61, 62, 63, 64, 70
"""Present states, forgotten when the worker has ended; the last and those behind it: connections,
by state."""

STATES = 10
"""More than connections have."""

_COUNTERS = (*range(1, PID), *range(100, CELLS))


class Observed(Protocol):
    """What is read of a `responder.Responder`."""

    requests: int
    streams: Streams
    draining: bool


class Counts:
    """The cells of one worker. `fd` is open for those that another process is to share."""

    __slots__ = ("_apart", "cells", "fd")

    def __init__(self, memory: memoryview, fd: int = -1) -> None:
        self.cells = memory.cast("Q")
        self.fd = fd
        self._apart = 0

    def close_descriptor(self) -> None:
        """The other process has it now."""
        os.close(self.fd)
        self.fd = -1

    def answered(self, status: int, length: int, began: float) -> None:
        """A response is out, with `length` octets of content; `began` in monotonic seconds."""
        seconds = time.monotonic() - began
        cells = self.cells
        cells[status] += 1
        cells[CONTENT_OCTETS] += length
        cells[DURATIONS + bisect_left(BUCKETS, seconds)] += 1
        cells[DURATION_NANOSECONDS] += int(seconds * 1e9)

    def cut_short(self, status: int, length: int) -> None:
        """A response ended before it was complete, after `length` octets of content."""
        self.cells[status] += 1
        self.cells[CONTENT_OCTETS] += length
        self.cells[INCOMPLETE] += 1

    def accepted(self, number: int) -> None:
        """So many connections have been accepted."""
        self.cells[ACCEPTED] += number

    def knew_key(self) -> None:
        """A reply was found by its key."""
        self.cells[KNOWN_KEYS] += 1
        self._apart += 1

    def missed(self) -> None:
        """A reply was found nowhere."""
        self.cells[MISSES] += 1
        self._apart += 1

    def refused(self) -> None:
        """A reply was made for what is no request, so it was looked up nowhere."""
        self._apart += 1

    def serves(self) -> None:
        """The worker begins to accept."""
        self.cells[PID] = os.getpid()
        self.cells[SERVING] = 1

    def observe(self, responder: Observed, states: Sequence[int], sending: int, jobs: int) -> None:
        """Take note of how things stand.

        `states` are those of the connections, in `sending` of which a response is under way; `jobs`
        is the number of those that wait.
        """
        cells = self.cells
        for state in range(STATES):
            cells[FIRST_STATE + state] = states.count(state)
        cells[SERVING], cells[DRAINING] = not responder.draining, responder.draining
        cells[STREAMS] = responder.streams.under_way
        cells[JOBS] = jobs
        cells[CPU_NANOSECONDS] = time.process_time_ns()
        # Found by the head is what was found in no other way: so the fastest way counts nothing.
        by_head = responder.requests + sending - self._apart
        cells[KNOWN_HEADS] = max(
            cells[KNOWN_HEADS], by_head
        )  # whatever happens, none is taken back


def _shared() -> Counts:
    import mmap
    import tempfile

    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("portico-counts")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    try:
        os.ftruncate(fd, 8 * CELLS)
        counts = Counts(memoryview(mmap.mmap(fd, 8 * CELLS)), fd)
    except OSError:
        os.close(fd)
        raise
    counts.cells[THE_LAYOUT] = LAYOUT
    return counts


def adopt(fd: int) -> Counts | None:
    """The cells that were handed over as a descriptor, which is closed.

    None if the supervisor understands them differently.
    """
    import mmap

    try:
        counts = Counts(memoryview(mmap.mmap(fd, 8 * CELLS)))
    finally:
        os.close(fd)
    return counts if counts.cells[THE_LAYOUT] == LAYOUT else None


class Ledger:
    """The counts of all workers. For the thread that scrapes, and the one that has the workers."""

    def __init__(self, *, has_workers: bool) -> None:
        """Without workers, the process itself is the only one."""
        self.has_workers = has_workers
        self.restarts = 0
        """Workers started in the place of one that had not been told to end."""
        self.reloads = 0
        self.failed_reloads = 0
        self._lock = allocate_lock()
        self._past = [0] * CELLS
        self._present: list[Counts] = []

    def open(self) -> Counts:
        """Cells for a worker in this process."""
        return self._with(Counts(memoryview(bytearray(8 * CELLS))))

    def open_shared(self) -> Counts:
        """Cells to be shared with a worker that is about to be started. Raises OSError."""
        return self._with(_shared())

    def _with(self, counts: Counts) -> Counts:
        with self._lock:
            self._present.append(counts)
        return counts

    def close(self, counts: Counts) -> None:
        """A worker has ended; what it has counted stays."""
        with self._lock:
            self._present.remove(counts)
            for cell in _COUNTERS:
                self._past[cell] += counts.cells[cell]

    def sums(self) -> tuple[list[int], list[int]]:
        """The sum of each cell over all workers, and the processes that there are."""
        with self._lock:
            sums = list(self._past)
            for counts in self._present:
                for cell, value in enumerate(counts.cells):
                    sums[cell] += value
            pids = [counts.cells[PID] for counts in self._present]
        if self.has_workers:
            sums[CPU_NANOSECONDS] += time.process_time_ns()
            pids.append(os.getpid())
        return sums, [pid for pid in pids if pid]
