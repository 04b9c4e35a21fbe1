"""The service manager (systemd): telling it the state of the service, taking sockets over from it.

Rule: the two protocols are a datagram of lines to the socket that NOTIFY_SOCKET names, and open
descriptors from number 3 on that LISTEN_FDS counts (sd_notify(3), sd_listen_fds(3)). Without the
variables nothing happens. The names of the descriptors are ignored.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

from portico.server.net.listeners import BindError, set_options

if TYPE_CHECKING:
    from portico.server.net.listeners import Listeners

FIRST = 3
"""The number of the first descriptor that is handed over."""
MOST = 1024
"""More descriptors are no service manager's."""

VARIABLES = ("NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
"""Meant for the main process: no other may heed them."""


def ready(status: str) -> None:
    """Serving, and `status` says what; also after a reload."""
    _tell("READY=1", f"STATUS={' '.join(status.split())}")


def reloading() -> None:
    """Begin to reload. The time tells this reload from others (Type=notify-reload)."""
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    _tell("RELOADING=1", f"MONOTONIC_USEC={now}", "STATUS=Reloading")


def stopping() -> None:
    """Accept no more, and finish what is under way."""
    _tell("STOPPING=1", "STATUS=Finishing what is being sent")


def _tell(*lines: str) -> None:
    """Send assignments to the service manager, if there is one; serving does not depend on it."""
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
    """The listening sockets that were handed over to this process, by descriptor; mostly none.

    They are this process's own from then on: the variables are gone. Raises BindError when what was
    handed over is no listening stream socket.
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
