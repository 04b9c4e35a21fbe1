"""The signals of a serving process: SIGINT and SIGTERM stop it, SIGHUP reloads it.

Rule: handlers only queue, the loop acts. SIGHUP has two meanings. An operator or a service manager
sends it to have the configuration read again; but it is also what comes when the terminal of a
preview is closed, and then the server should not live on unseen. So whether the terminal is still
there decides. Whoever had SIGHUP ignored from the start (nohup) wants to outlive the terminal.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


class Stoppable(Protocol):
    """A worker or a supervisor."""

    def stop(self) -> None:
        """Ask for an end, from a signal handler as well."""
        ...

    def call(self, what: Callable[[], None]) -> None:
        """Have the loop call `what`, from a signal handler as well."""
        ...


def handle_signals(
    server: Stoppable, reload: Callable[[], None], look: Callable[[], None] | None = None
) -> Callable[[], None]:
    """Have signals steer `server`; the function returned puts the old handlers back.

    The loop calls `reload`. The handler of SIGCHLD calls `look`, where there are processes.
    """
    lives_on = _is_ignored("SIGHUP") or not _has_terminal()

    def on_hangup() -> None:
        if lives_on or _has_terminal():
            reload()
        else:
            server.stop()

    calls = {"SIGINT": server.stop, "SIGTERM": server.stop}
    calls["SIGHUP"] = lambda: server.call(on_hangup)
    if look is not None:
        calls["SIGCHLD"] = look
    by_number = {
        int(getattr(signal, name)): call for name, call in calls.items() if hasattr(signal, name)
    }

    def on_signal(number: int, _frame: FrameType | None) -> None:
        by_number[number]()

    before = {number: signal.signal(number, on_signal) for number in by_number}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return restore


def _is_ignored(name: str) -> bool:
    return hasattr(signal, name) and signal.getsignal(getattr(signal, name)) == signal.SIG_IGN


def _has_terminal() -> bool:
    """Does a terminal control this process, and is it still there?"""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except (OSError, AttributeError):  # there is no O_NOCTTY where there are no such terminals
        return False
    return True
