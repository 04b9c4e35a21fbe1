"""A thread pool: threads start on demand, and end when idle for IDLE_SECONDS."""

from __future__ import annotations

import time

# Not from threading: its import takes a millisecond.
from _thread import LockType, allocate_lock, start_new_thread
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from portico.server.net.loop import report_bug

if TYPE_CHECKING:
    from collections.abc import Callable

Job = TypeVar("Job")

IDLE_SECONDS = 0.1
"""How long an idle thread waits for a job: starting a thread costs more than some jobs do."""
LATE_SECONDS = 0.1
"""How long a job may take before another one runs beside it, where few run at once."""


class Threads(Generic[Job]):
    """A pool of up to `most` threads, each of which calls `run` with one job after the other.

    Thread-safe.
    """

    def __init__(
        self,
        run: Callable[[Job], None],
        most: int,
        queue_limit: int,
        close_seconds: float,
        *,
        at_once: int | None = None,
    ) -> None:
        """Up to `queue_limit` jobs may wait for a thread; `close` waits up to `close_seconds`.

        `at_once` jobs run at once, if that is less; those that take longer than LATE_SECONDS do not
        count.
        """
        self.closed = False
        self._run = run
        self._most = most
        self._at_once = most if at_once is None else at_once
        self._began: list[float] = []
        """When the jobs that run were taken up, in seconds of time.monotonic()."""
        self._queue_limit = queue_limit
        self._close_seconds = close_seconds
        self._lock = allocate_lock()
        self._jobs: deque[Job] = deque()
        self._idle: list[LockType] = []
        """A held lock for each idle thread; releasing the lock wakes the thread."""
        self._count = 0
        self._running = allocate_lock()
        """Held while there are threads, so that `close` can wait for the last one to end."""

    @property
    def waiting(self) -> int:
        """The number of jobs that wait for a thread."""
        return len(self._jobs)

    def submit(self, job: Job) -> bool:
        """Queue a job and return True.

        Return False, and never run the job, if too many jobs wait, the pool is closed, or it has no
        thread and the system starts none.
        """
        with self._lock:
            if self.closed or len(self._jobs) >= self._queue_limit:
                return False
            if not self._idle:
                if not self._start():
                    return False
            elif self._at_work() < self._at_once:
                self._idle.pop().release()
            self._jobs.append(job)
            return True

    def close(self) -> None:
        """Drop the waiting jobs, and wait up to `close_seconds` for the running ones."""
        with self._lock:
            self.closed = True
            self._jobs.clear()
            while self._idle:
                self._idle.pop().release()
        if self._running.acquire(timeout=self._close_seconds):
            self._running.release()

    def _start(self) -> bool:
        """Start one more thread, unless there are enough; False if there is none at all."""
        if self._count < self._most:
            try:
                start_new_thread(self._work, ())
            except (RuntimeError, MemoryError):
                return self._count > 0
            self._running.acquire(blocking=False)
            self._count += 1
        return True

    def _at_work(self) -> int:
        """Return how many threads are not idle, but for those whose job is late."""
        late = time.monotonic() - LATE_SECONDS
        return self._count - len(self._idle) - sum([began < late for began in self._began])

    def _work(self) -> None:
        while (job := self._next_job()) is not None:
            began = time.monotonic()
            self._began.append(began)
            try:
                self._run(job)
            except Exception:  # noqa: BLE001
                report_bug()
            self._began.remove(began)
            del job  # else its objects stay in memory while this thread is idle

    def _next_job(self) -> Job | None:
        """Wait for the next job and return it; None when the thread has to end."""
        waits = True
        while True:
            with self._lock:
                if self._jobs and self._at_work() <= self._at_once:
                    job = self._jobs.popleft()
                    if self._jobs and not self._idle:
                        self._start()  # it takes over should this job be late
                    return job
                if self.closed or not (waits or self._jobs):
                    self._count -= 1
                    if not self._count:
                        self._running.release()
                    return None
                try:
                    woken = allocate_lock()
                    woken.acquire()
                    self._idle.append(woken)
                except (RuntimeError, MemoryError):
                    waits = False
                    continue
            if not woken.acquire(timeout=IDLE_SECONDS):
                with self._lock:
                    waits = woken not in self._idle  # True if `submit` woke this thread just now
                    if not waits:
                        self._idle.remove(woken)
