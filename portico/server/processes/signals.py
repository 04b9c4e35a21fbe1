"""The signals of a serving process: SIGINT and SIGTERM stop it, SIGHUP reloads it.

Handlers only queue; the loop acts. While the server starts there is no loop yet: SIGTERM then ends
the start, as SIGINT does by itself, and SIGHUP is kept for the loop. Without that, SIGHUP would
kill the process, and process 1 of a container would never see a SIGTERM of that time.

SIGHUP has two senders: an operator or service manager who wants a reload, and a terminal that is
closed, when the server should not go on unseen. So SIGHUP stops a server whose terminal is gone,
unless SIGHUP was ignored at the start (nohup).

Process 1 also inherits the orphans of its container, and reaps them when they end (SIGCHLD).
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import FrameType
    from typing import Self

INIT = 1
"""The process that inherits orphans."""


class Serving(Protocol):
    """A worker or a supervisor."""

    def stop(self) -> None:
        """Drain; called again, end at once."""
        ...

    def call(self, what: Callable[[], None], /) -> None:
        """Have the loop call `what`."""
        ...


class Signals:
    """Handles signals while the `with` block runs, then restores the former handlers."""

    def __init__(self) -> None:
        self._outlives_terminal = _is_ignored("SIGHUP") or not _has_terminal()
        self._came: set[int] = set()
        self._calls: dict[int, Callable[[], None]] = {}
        self._before = {}
        for name in ("SIGTERM", "SIGHUP"):
            if hasattr(signal, name) and not _is_ignored(name):
                number = getattr(signal, name)
                self._before[number] = signal.signal(number, self._on_early_signal)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def serve(self, server: Serving, reload: Callable[[], None], reap: Callable[[], None]) -> None:
        """From now on have `server` act on signals, also on those that came before.

        Its loop calls `reload`, and as process 1 `reap` when a child has ended.
        """

        def on_hangup() -> None:
            if self._outlives_terminal or _has_terminal():
                reload()
            else:
                server.stop()

        calls = {"SIGINT": server.stop, "SIGTERM": server.stop}
        calls["SIGHUP"] = lambda: server.call(on_hangup)
        if os.getpid() == INIT:
            calls["SIGCHLD"] = lambda: server.call(reap)
        for name, call in calls.items():
            if hasattr(signal, name):
                number = getattr(signal, name)
                self._calls[number] = call
                before = signal.signal(number, self._on_signal)
                self._before.setdefault(number, before)
        for number in self._came:
            self._calls[number]()

    def _on_early_signal(self, number: int, _frame: FrameType | None) -> None:
        self._came.add(number)
        if number == signal.SIGTERM:
            raise SystemExit(0)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._calls[number]()


def reap(own: Collection[int] = ()) -> None:
    """As process 1, reap the children that have ended, except those with the pids `own`."""
    with contextlib.suppress(ChildProcessError):
        while os.getpid() == INIT:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or ended.si_pid in own:
                return
            os.waitpid(ended.si_pid, 0)


def _is_ignored(name: str) -> bool:
    return hasattr(signal, name) and signal.getsignal(getattr(signal, name)) == signal.SIG_IGN


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal that still exists."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except (OSError, AttributeError):  # there is no O_NOCTTY where there are no such terminals
        return False
    return True
