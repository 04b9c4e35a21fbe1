"""Background jobs that no request waits for: compression, and the removal of abandoned uploads.

A job is an iterator. Each of its steps does some milliseconds of work, and the job can be stopped
between two steps. One thread runs the jobs in order, so that only one job at a time holds its
working memory. On Linux the thread has a lower priority than the loop. A job publishes its result
itself, by plain assignments.

Limits: QUEUE_LIMIT jobs may wait. A long job delays those behind it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from portico.server.background.threads import Threads

QUEUE_LIMIT = 256
"""Jobs that may wait. Each may hold some ten KiB, or a descriptor."""
CLOSE_SECONDS = 1.0
"""How long `close` waits for the step that is running."""

_NICENESS = 10
"""About a tenth of a busy processor, all of an idle one (sched(7))."""


class JobThread(Threads[Iterator[None]]):
    """Runs jobs one after the other in one thread; `close` stops the running job after a step."""

    def __init__(self) -> None:
        super().__init__(self._take_steps, 1, QUEUE_LIMIT, CLOSE_SECONDS)

    def _take_steps(self, steps: Iterator[None]) -> None:
        _lower_priority()
        try:
            for _ in steps:
                if self.closed:
                    break
        finally:
            close = getattr(steps, "close", None)  # only generators have it
            if close is not None:
                close()


def _lower_priority() -> None:
    """Lower the priority of this thread. Only Linux has a priority per thread."""
    if sys.platform == "linux":
        from _thread import get_native_id

        thread = get_native_id()
        with contextlib.suppress(OSError):
            niceness = max(os.getpriority(os.PRIO_PROCESS, thread), _NICENESS)
            os.setpriority(os.PRIO_PROCESS, thread, niceness)
