"""The signals of a serving process: SIGINT and SIGTERM stop it, SIGHUP reloads it.

Handlers only queue; the loop acts. SIGHUP has two senders: an operator or service manager who wants
a reload, and a terminal that is closed, when the server should not go on unseen. So SIGHUP stops a
server whose terminal is gone, unless SIGHUP was ignored at the start (nohup).
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from portico.server.processes.supervisor import Supervisor
    from portico.server.worker import Worker


def handle_signals(server: Worker | Supervisor, reload: Callable[[], None]) -> Callable[[], None]:
    """Handle signals for `server`, whose loop calls `reload`.

    Return a function that restores the former handlers.
    """
    outlives_terminal = _is_ignored("SIGHUP") or not _has_terminal()

    def on_hangup() -> None:
        if outlives_terminal or _has_terminal():
            reload()
        else:
            server.stop()

    calls = {"SIGINT": server.stop, "SIGTERM": server.stop}
    calls["SIGHUP"] = lambda: server.call(on_hangup)
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
    """Whether this process has a controlling terminal that still exists."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except (OSError, AttributeError):  # there is no O_NOCTTY where there are no such terminals
        return False
    return True
