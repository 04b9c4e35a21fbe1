"""Jobs that run in the background: hashes of large files, compression. No request waits for them.

A job is an iterator, and each of its steps a piece of work of some milliseconds; between two steps
it can be stopped. One thread runs the jobs in order, so that only one at a time holds its working
memory. The thread starts with the first job and ends when none is left. On Linux it has a lower
priority than the loop. A job publishes its result itself, by plain assignments.

Limits: QUEUE_LIMIT jobs may wait. A long job delays those behind it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from _thread import allocate_lock, start_new_thread  # importing threading takes a millisecond
from collections import deque
from typing import TYPE_CHECKING

from portico.server.net.loop import report_bug

if TYPE_CHECKING:
    from collections.abc import Iterator

QUEUE_LIMIT = 256
"""Jobs that may wait. Each may hold some ten KiB, or a descriptor."""
CLOSE_SECONDS = 1.0
"""How long `close` waits for the step that is running."""

_NICENESS = 10
"""About a tenth of a processor that others want, all of one that is idle (sched(7))."""


class JobThread:
    """Runs jobs one after the other in a thread of its own. Thread-safe."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._jobs: deque[Iterator[None]] = deque()
        self._running = allocate_lock()
        """Held while there is a thread."""
        self._closed = False

    @property
    def waiting(self) -> int:
        """The number of jobs that wait."""
        return len(self._jobs)

    def submit(self, steps: Iterator[None]) -> bool:
        """Queue a job. Return False, and never start it, if too many wait or this is closed."""
        with self._lock:
            if self._closed or len(self._jobs) >= QUEUE_LIMIT:
                return False
            if not self._running.locked():
                try:
                    start_new_thread(self._run, ())
                except RuntimeError:  # the system grants no more threads
                    return False
                self._running.acquire()
            self._jobs.append(steps)
            return True

    def close(self) -> None:
        """Stop the running job at its next step, and drop those that wait.

        Return when the thread has ended, after CLOSE_SECONDS at the latest.
        """
        with self._lock:
            self._closed = True
            self._jobs.clear()
        if self._running.acquire(timeout=CLOSE_SECONDS):
            self._running.release()

    def _run(self) -> None:
        _lower_priority()
        while (steps := self._next_job()) is not None:
            try:
                self._take_steps(steps)
            except Exception:  # noqa: BLE001
                report_bug()
            del steps  # with what it holds

    def _next_job(self) -> Iterator[None] | None:
        """Return the next job; None when the thread has to end."""
        with self._lock:
            if self._jobs:
                return self._jobs.popleft()
            self._running.release()  # from here on `submit` starts another thread
            return None

    def _take_steps(self, steps: Iterator[None]) -> None:
        try:
            for _ in steps:
                if self._closed:
                    break
        finally:
            close = getattr(steps, "close", None)  # only generators have it
            if close is not None:
                close()


def _lower_priority() -> None:
    """Let other threads go first. Only on Linux does a thread have a priority of its own."""
    if sys.platform == "linux":
        from _thread import get_native_id

        thread = get_native_id()
        with contextlib.suppress(OSError):
            niceness = max(os.getpriority(os.PRIO_PROCESS, thread), _NICENESS)
            os.setpriority(os.PRIO_PROCESS, thread, niceness)
