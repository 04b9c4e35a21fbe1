"""Blocking I/O that a request waits for, such as a read from a disk or a network file system.

Each place (a disk, a mounted file system) has its own threads, so a place that hangs delays only
requests for the files on it.

Limits: THREADS jobs of a place run at once, and QUEUE_LIMIT more may wait. At QUICK one runs at a
time as long as none is late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.server.background.threads import Threads
from portico.server.net.loop import report_bug
from portico.site.uploads.sink import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable

    Job = tuple[Callable[[], object], Callable[[], None]]

THREADS = 8
"""Threads per place: about as many requests as one disk works on at once."""
CLOSE_SECONDS = 0.2
"""How long `close` waits for the running jobs of a place."""
QUEUE_LIMIT = 512
"""Jobs of a place that may wait for a thread. A connection waits for each of them."""


class BlockingIO:
    """Runs jobs in threads. `call` schedules a function on the event loop; it is thread-safe."""

    def __init__(self, call: Callable[[Callable[[], None]], None]) -> None:
        self._call = call
        self._places: dict[object, Threads[Job]] = {}
        self._closed = False

    def submit(self, place: object, work: Callable[[], object], done: Callable[[], None]) -> bool:
        """Run `work` in a thread of `place`, then have the loop call `done`, even if `work` failed.

        Return False, and call neither, if too many jobs wait or the system starts no thread.
        """
        if self._closed:
            return False
        if place not in self._places:
            at_once = 1 if place == QUICK else THREADS
            self._places[place] = Threads(
                self._run, THREADS, QUEUE_LIMIT, CLOSE_SECONDS, at_once=at_once
            )
        return self._places[place].submit((work, done))

    def renew(self) -> None:
        """Run later jobs in new threads, which inherit the sandbox of whichever thread submits."""
        self._places = {}

    def close(self) -> None:
        """Start no more jobs. A job that outlasts CLOSE_SECONDS ends with the process."""
        self._closed = True
        for threads in self._places.values():
            threads.close()

    def _run(self, job: Job) -> None:
        work, done = job
        try:
            work()
        except OSError:
            pass  # the request does the same again when it continues, and gets the same error
        except Exception:  # noqa: BLE001
            report_bug()
        self._call(done)
