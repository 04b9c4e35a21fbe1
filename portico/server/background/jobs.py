"""Work that nobody waits for, done beside the loop: hashes of large files, compression.

Rule: a job is a generator, and each of its steps a bounded piece of work of some milliseconds.
Between two steps the pool can stop. One thread does one job after the other, so that no more than
one holds its working memory; it comes with the first job and goes when there has been none for a
while. On Linux it runs at a lower priority than the loop.
Limits: QUEUE_LIMIT jobs may wait. A long job keeps those behind it waiting.

Thread-safe. What a job has found it publishes itself, by plain assignments.
"""

from __future__ import annotations

import contextlib
import os
import sys
from _thread import allocate_lock  # threading costs a start a millisecond
from collections import deque
from typing import TYPE_CHECKING

from portico.server.net.loop import report_bug

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Condition, Thread

QUEUE_LIMIT = 256
"""Jobs that may wait. Each may hold some ten KiB, or a descriptor."""
IDLE_SECONDS = 5.0
"""How long the thread stays when there is nothing to do."""
CLOSE_SECONDS = 1.0
"""How long `close` waits for the step that is under way."""

_NICENESS = 10
"""About a tenth of the processor where others want it, all of it where they do not (sched(7))."""


class JobThread:
    """Does jobs in a thread of its own, in the order in which they came."""

    def __init__(self, idle_seconds: float = IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._lock = allocate_lock()
        self._changed: Condition | None = None
        self._jobs: deque[Iterator[None]] = deque()
        self._thread: Thread | None = None
        self._running = False
        self._closed = False

    @property
    def waiting(self) -> int:
        """The jobs that wait."""
        return len(self._jobs)

    def submit(self, steps: Iterator[None]) -> bool:
        """Queue a job; False when too many wait or the pool is closed. Then it is never started."""
        from threading import Condition, Thread

        with self._lock:
            if self._closed or len(self._jobs) >= QUEUE_LIMIT:
                return False
            if self._changed is None:
                self._changed = Condition(self._lock)
            if not self._running:
                self._thread = Thread(target=self._run, args=(self._changed,), daemon=True)
                self._thread.name = "portico-pool"
                try:
                    self._thread.start()
                except RuntimeError:  # the system grants no more threads
                    self._thread = None
                    return False
                self._running = True
            self._jobs.append(steps)
            self._changed.notify()
            return True

    def close(self) -> None:
        """Do no more: close the job under way at its next step, drop those that wait.

        Returns when the thread has ended, after CLOSE_SECONDS at the latest.
        """
        with self._lock:
            self._closed = True
            self._jobs.clear()
            thread = self._thread
            if self._changed is not None:
                self._changed.notify()
        if thread is not None:
            thread.join(CLOSE_SECONDS)

    def _run(self, changed: Condition) -> None:
        _be_modest()
        while self._do_one(changed):
            pass

    def _do_one(self, changed: Condition) -> bool:
        """Wait for a job and do it; False when the thread is to end."""
        with changed:
            if not self._jobs and not self._closed:
                changed.wait(self._idle_seconds)
            if not self._jobs:
                self._running = False  # from here on `submit` starts another thread
                return False
            steps = self._jobs.popleft()
        try:
            self._do(steps)
        except Exception:  # noqa: BLE001
            report_bug()
        return True

    def _do(self, steps: Iterator[None]) -> None:
        """Take the steps of a job, as long as the pool is open."""
        try:
            for _ in steps:
                if self._closed:
                    break
        finally:
            close = getattr(steps, "close", None)  # any iterator may be a job
            if close is not None:
                close()


def _be_modest() -> None:
    """Let other threads go first. Only on Linux does a thread have a priority of its own."""
    if sys.platform == "linux":
        from threading import get_native_id

        own = get_native_id()
        with contextlib.suppress(OSError):
            niceness = max(os.getpriority(os.PRIO_PROCESS, own), _NICENESS)
            os.setpriority(os.PRIO_PROCESS, own, niceness)
