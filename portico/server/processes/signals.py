"""The signals of a serving process: SIGINT and SIGTERM stop it, SIGHUP reloads it.

Handlers only queue an action; the event loop performs it. During the start there is no loop yet:
SIGTERM then aborts the start, as SIGINT does in Python anyway, and SIGHUP is kept for the loop.
Without these early handlers, SIGHUP would kill the process, and as process 1 of a container the
server would never receive a SIGTERM sent during the start.

SIGHUP has two senders: an operator or service manager that wants a reload, and the kernel when the
terminal is closed, after which the server should not run on unnoticed. So SIGHUP stops a server
whose terminal is gone, unless SIGHUP was ignored at the start (nohup).

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
"""The pid of the process that inherits orphans."""


class Serving(Protocol):
    """A worker or a supervisor, as the target of signals."""

    def stop(self) -> None:
        """Stop accepting and let connections finish; end at once when called again."""
        ...

    def call(self, what: Callable[[], None], /) -> None:
        """Have the event loop call `what`. May be called by a signal handler."""
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
        """Have `server` act on signals from now on, and on those that arrived during the start.

        The server's loop calls `reload` for a reload and, if this is process 1, `reap` when a child
        has ended.
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
    except (OSError, AttributeError):  # systems without controlling terminals have no O_NOCTTY
        return False
    return True
