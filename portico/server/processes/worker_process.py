"""A worker process as the supervisor sees it: how it is started, and its control socket.

A worker is a fresh interpreter, so it runs the code that is now on disk, even if the supervisor's
is older. It gets the supervisor's module path, the listening sockets, and one end of the control
socket, whose messages are described in `worker_main`. The worker keeps its end open until it exits,
so when the supervisor reads the end of the stream, the process has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from portico.server.net.listeners import schemes
from portico.server.processes.systemd import VARIABLES
from portico.server.processes.worker_main import BOOT, GO, PING, SIGNALS, VARIABLE

if TYPE_CHECKING:
    from portico.config.config import Config
    from portico.server.net.listeners import Listeners
    from portico.server.processes.worker_main import Arguments
    from portico.server.telemetry.counters import Counters


class WorkerProcess:
    """Worker `number` of a generation, counted from 0. The constructor starts the process."""

    def __init__(
        self, number: int, config: Config, listeners: Listeners, counters: Counters | None
    ) -> None:
        """`counters` is None when metrics are off. Raises OSError if no process can be started."""
        self.number = number
        self.counters = counters
        self.started = time.monotonic()
        self.ready = False
        """Whether the worker has sent READY."""
        self.is_sandboxed = True
        """False if the system refused the worker its sandbox."""
        self.accepts = True
        """False once the worker accepts no more connections."""
        self.serves = False
        """Whether GO was sent to the worker."""
        self.pings = 0
        """Pings that the worker has not answered."""
        self.control, theirs = socket.socketpair()
        self.control.setblocking(False)
        self.fd = self.control.fileno()
        self._incomplete = b""
        try:
            with theirs:
                self.process = _spawn(number, config, listeners, theirs.fileno(), counters)
        except OSError:
            self.control.close()
            raise

    def __str__(self) -> str:
        return f"worker {self.number + 1} (process {self.process.pid})"

    def send(self, command: bytes) -> None:
        """Send one of the commands of `worker_main`, if the process still lives."""
        with contextlib.suppress(OSError):
            self.control.send(command)

    def go(self) -> None:
        """Let the worker serve."""
        self.serves = True
        self.send(GO)

    def ping(self) -> None:
        """Ask the worker for a sign of life."""
        self.pings += 1
        self.send(PING)

    def receive(self) -> list[bytes] | None:
        """Return the messages that have arrived; None when the process has ended."""
        try:
            data = self.control.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        *messages, self._incomplete = (self._incomplete + data).split(b"\n")
        return messages if data else None

    def wait(self) -> str:
        """Wait until the process has ended; return how it ended, as text for the operator."""
        code = self.process.wait()
        if code < 0:
            return f"was killed by signal {-code}"
        return f"has ended with exit code {code}" if code else "has ended"


def _spawn(
    number: int, config: Config, listeners: Listeners, control: int, counters: Counters | None
) -> subprocess.Popen[bytes]:
    """Start this interpreter, with this one's flags, to run `worker_main.main`. Raises OSError."""
    arguments: Arguments = {
        "path": sys.path,
        "number": number,
        "control": control,
        "listeners": [listener.fileno() for listener in listeners.values()],
        "schemes": schemes(config, listeners),
        "config": config.settings(),
        "counters": None if counters is None else counters.fd,
    }
    shared = [] if counters is None else [counters.fd]
    environ = {name: os.environ[name] for name in os.environ if name not in VARIABLES}
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined] # noqa: SLF001
    # -P: import no modules from the folder in which the server was started.
    command = [sys.executable, *flags, "-P", "-c", BOOT, f"portico: worker {number + 1}"]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # the worker unblocks them
    try:
        return subprocess.Popen(  # noqa: S603 (nothing in it comes from outside)
            command,
            stdin=subprocess.DEVNULL,
            env={**environ, VARIABLE: json.dumps(arguments, default=sorted)},
            pass_fds=[control, *arguments["listeners"], *shared],
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
