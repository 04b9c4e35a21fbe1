"""Blocking I/O that a request waits for: what must be read from a disk or a network.

Each place (a disk, a mounted file system) has its own threads, so a place that hangs delays only
requests for what lies on it. A thread starts with the first job and ends when none is left.

Limits: THREADS jobs of a place run at once, and QUEUE_LIMIT more may wait.
"""

from __future__ import annotations

from _thread import allocate_lock, start_new_thread
from collections import deque
from typing import TYPE_CHECKING

from portico.server.net.loop import report_bug

if TYPE_CHECKING:
    from collections.abc import Callable

    Job = tuple[Callable[[], object], Callable[[], None]]

THREADS = 8
"""Threads per place: about what one disk does at once."""
CLOSE_SECONDS = 0.2
"""How long `close` waits for jobs that are running."""
QUEUE_LIMIT = 512
"""Jobs of a place that may wait for a thread. Each holds up a connection."""


class BlockingIO:
    """Runs jobs in threads. `call`, which is thread-safe, has the loop call a function."""

    def __init__(self, call: Callable[[Callable[[], None]], None]) -> None:
        self._call = call
        self._lock = allocate_lock()
        self._jobs: dict[object, deque[Job]] = {}
        self._threads: dict[object, int] = {}
        """Threads by place; a place without threads is not in it."""
        self._running = allocate_lock()
        """Held while there are threads."""
        self._closed = False

    def submit(self, place: object, work: Callable[[], object], done: Callable[[], None]) -> bool:
        """Run `work` in a thread of `place`, then have the loop call `done`, even if `work` failed.

        Return False if too many jobs wait, or the system grants no thread.
        """
        with self._lock:
            jobs = self._jobs.setdefault(place, deque())
            if self._closed or len(jobs) >= QUEUE_LIMIT:
                return False
            threads = self._threads.get(place, 0)
            if threads < THREADS:
                try:
                    start_new_thread(self._run, (place,))
                except RuntimeError:
                    if not threads:
                        return False
                else:
                    self._running.acquire(blocking=False)
                    self._threads[place] = threads + 1
            jobs.append((work, done))
        return True

    def close(self) -> None:
        """Start no more jobs. A job that outlasts CLOSE_SECONDS ends with the process."""
        with self._lock:
            self._closed = True
            self._jobs.clear()
        if self._running.acquire(timeout=CLOSE_SECONDS):
            self._running.release()

    def _run(self, place: object) -> None:
        while (job := self._next_job(place)) is not None:
            work, done = job
            try:
                work()
            except OSError:  # the request meets the same error when it goes on
                pass
            except Exception:  # noqa: BLE001
                report_bug()
            self._call(done)

    def _next_job(self, place: object) -> Job | None:
        """Return the next job of `place`; None when its thread has to end."""
        with self._lock:
            if jobs := self._jobs.get(place):
                return jobs.popleft()
            self._jobs.pop(place, None)
            self._threads[place] -= 1
            if not self._threads[place]:
                del self._threads[place]
            if not self._threads:
                self._running.release()
            return None
