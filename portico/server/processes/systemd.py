"""systemd: report the service's state, send watchdog notifications, inherit listening sockets.

Reports go as datagrams to the socket that NOTIFY_SOCKET names (sd_notify(3)). Inherited sockets are
the LISTEN_FDS descriptors from number 3 on (sd_listen_fds(3)); their names are ignored. Without
these environment variables nothing happens.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

from portico.server.net.listeners import BindError, set_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from portico.server.net.listeners import Listeners

FIRST = 3
"""The first inherited descriptor."""
MOST = 1024
"""The most descriptors; a larger LISTEN_FDS is taken for a mistake."""

VARIABLES = (
    *("NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"),
    *("WATCHDOG_PID", "WATCHDOG_USEC"),
)
"""systemd's environment variables, which are not passed on to worker processes."""


def ready(status: str) -> None:
    """Report that the service is ready, at the start or after a reload."""
    _tell("READY=1", f"STATUS={' '.join(status.split())}")


def reloading() -> None:
    """Report that a reload begins, with the time, which Type=notify-reload requires."""
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    _tell("RELOADING=1", f"MONOTONIC_USEC={now}", "STATUS=Reloading")


def stopping() -> None:
    """Report that the service stops: it accepts no more connections, but finishes responses."""
    _tell("STOPPING=1", "STATUS=Finishing what is being sent")


def watch(later: Callable[[float, Callable[[], None]], None]) -> None:
    """Send watchdog notifications as often as WatchdogSec= demands (sd_watchdog_enabled(3)).

    `later(seconds, what)` has the event loop call `what`, so notifications stop if the loop hangs.
    """
    usec = os.environ.get("WATCHDOG_USEC", "")
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return
    if not (usec.isascii() and usec.isdigit() and len(usec) <= 18 and int(usec)):
        return
    seconds = int(usec) / 2_000_000  # half the permitted time, as systemd advises

    def give() -> None:
        later(seconds, give)
        _tell("WATCHDOG=1")

    give()


def _tell(*lines: str) -> None:
    """Send variable assignments to the service manager, if there is one; ignore errors."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    address = "\0" + path[1:] if path[0] == "@" else path
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        manager.connect(address)
        manager.setblocking(False)
        manager.send("\n".join(lines).encode())


def inherited_sockets() -> Listeners:
    """Return the listening sockets that this process inherits, by the name "descriptor N".

    Usually there are none. Removes the variables from the environment. Raises BindError if a
    descriptor is not a listening stream socket, or LISTEN_FDS is not a number from 1 to MOST.
    """
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()):
        return {}
    if not (count.isascii() and count.isdigit() and len(count) <= 4 and 0 < int(count) <= MOST):
        raise BindError(f"LISTEN_FDS is {count!r}; it must be a number from 1 to {MOST}")
    return {f"descriptor {fd}": _adopt(fd) for fd in range(FIRST, FIRST + int(count))}


def _adopt(fd: int) -> socket.socket:
    try:
        listener = socket.socket(fileno=fd)
    except OSError as error:
        problem = f"descriptor {fd}, handed over by LISTEN_FDS, is no socket: {error.strerror}"
        raise BindError(problem) from None
    listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if listener.type != socket.SOCK_STREAM or not listening:
        listener.close()
        problem = f"descriptor {fd}, handed over by LISTEN_FDS, does not listen for streams"
        raise BindError(f"{problem}; in the .socket unit: ListenStream=, and not Accept=yes")
    listener.set_inheritable(False)
    listener.setblocking(False)
    set_options(listener)
    return listener
