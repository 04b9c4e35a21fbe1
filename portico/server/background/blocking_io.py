"""Work that somebody waits for and that may take long: what must be read from a disk or a network.

Rule: each place (a disk, a mounted file system) has threads of its own, so what hangs in one holds
up nobody who wants something of another, and several of one place go on beside one that is slow. A
thread comes with its work and goes when there is none left.
Limits: THREADS of a place at once, the others wait; QUEUE_LIMIT of a place may wait.
"""

from __future__ import annotations

import time
from _thread import allocate_lock, start_new_thread
from collections import deque
from typing import TYPE_CHECKING

from portico.server.net.loop import report_bug

if TYPE_CHECKING:
    from collections.abc import Callable

    Job = tuple[Callable[[], object], Callable[[], None]]

THREADS = 8
"""Of one place: about what one disk does at once."""
CLOSE_SECONDS = 0.2
"""How long `close` waits for the work that is under way."""
QUEUE_LIMIT = 512
"""Jobs that wait for a thread; each holds up a connection, and others need some, too."""


class BlockingIO:
    """Does work in threads. `call` has the loop call something, from any thread."""

    def __init__(self, call: Callable[[Callable[[], None]], None]) -> None:
        self._call = call
        self._lock = allocate_lock()
        self._jobs: dict[object, deque[Job]] = {}
        self._threads: dict[object, int] = {}
        self._closed = False

    def submit(self, place: object, work: Callable[[], object], done: Callable[[], None]) -> bool:
        """Have a thread of `place` do `work`, then the loop call `done`, whatever came of it.

        False if too many wait, or the system grants no thread.
        """
        with self._lock:
            jobs = self._jobs.setdefault(place, deque())
            if self._closed or len(jobs) >= QUEUE_LIMIT:
                return False
            threads = self._threads.get(place, 0)
            if threads < THREADS:
                try:
                    start_new_thread(self._run, (place,))
                    self._threads[place] = threads + 1
                except RuntimeError:
                    if not threads:
                        return False
            jobs.append((work, done))
        return True

    def close(self) -> None:
        """Begin no more. What still hangs after CLOSE_SECONDS ends with the process."""
        with self._lock:
            self._closed = True
            self._jobs.clear()
        end = time.monotonic() + CLOSE_SECONDS
        while self._threads and time.monotonic() < end:
            time.sleep(0.002)

    def _run(self, place: object) -> None:
        """In a thread: do what waits for `place`, until nothing does."""
        while True:
            with self._lock:
                jobs = self._jobs.get(place)
                if not jobs:
                    self._jobs.pop(place, None)
                    self._threads[place] -= 1
                    if not self._threads[place]:
                        del self._threads[place]
                    return
                work, done = jobs.popleft()
            try:
                work()
            except OSError:  # whoever asks again will see it
                pass
            except Exception:  # noqa: BLE001
                report_bug()
            self._call(done)
