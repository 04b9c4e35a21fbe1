"""A generation of workers, and how one of them is started.

A worker is a fresh interpreter: so its code is that on disk, whatever the supervisor's was. It gets
the supervisor's path to modules, the listening sockets, and one end of a line to the supervisor;
`process` says what is said on it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from portico.server.processes.systemd import VARIABLES
from portico.server.processes.worker_main import BOOT, SIGNALS, VARIABLE

if TYPE_CHECKING:
    from portico.config.config import Config
    from portico.server.net.listeners import Listeners
    from portico.server.telemetry.counters import Counts, Ledger


class Child:
    """A worker process, as the supervisor sees it."""

    __slots__ = ("accepts", "born", "control", "counts", "heard", "number", "process", "ready")

    def __init__(
        self, number: int, process: subprocess.Popen[bytes], control: socket.socket
    ) -> None:
        self.number = number
        self.process = process
        self.control = control
        self.counts: Counts | None = None
        self.heard = b""
        self.born = time.monotonic()
        self.ready = False
        self.accepts = True
        """It accepts connections, or will when it may."""

    @property
    def ending(self) -> str:
        """How a worker that is no more has ended, for the operator."""
        code = self.process.returncode
        if code < 0:
            return f"was killed by signal {-code}"
        return f"has ended with exit code {code}" if code else "has ended"

    def tell(self, word: bytes) -> None:
        """Say one of the words that `process` knows; whoever is dead need not hear it."""
        try:
            self.control.send(word)
        except OSError:
            return


class Place:
    """Where one worker of a generation stands: who it is, and when the next one may come."""

    __slots__ = ("child", "due", "pause")

    def __init__(self) -> None:
        self.child: Child | None = None
        self.pause = 0.0
        self.due = 0.0


class Generation:
    """Workers that share a configuration and the code of one time."""

    def __init__(self, config: Config, listeners: Listeners) -> None:
        self.config = config
        self.listeners = listeners
        self.places = [Place() for _ in range(config.workers)]
        self.failure = ""
        """Why it cannot take over."""

    @property
    def is_ready(self) -> bool:
        """Whether all of it is."""
        return all(place.child is not None and place.child.ready for place in self.places)

    @property
    def status(self) -> str:
        """What serves, for the operator."""
        return "1 worker" if len(self.places) == 1 else f"{len(self.places)} workers"

    def place_of(self, child: Child) -> Place | None:
        """Where `child` stands; None if it is none of these."""
        return next((place for place in self.places if place.child is child), None)


def start(number: int, generation: Generation, ledger: Ledger | None = None) -> Child:
    """Start a worker; raises OSError. A thread could take the place of the process here.

    What it counts is for `ledger`.
    """
    ours, theirs = socket.socketpair()
    counts: Counts | None = None
    with theirs:
        try:
            counts = None if ledger is None else ledger.open_shared()
            process = _spawn(number, generation, theirs.fileno(), counts)
        except OSError:
            ours.close()
            if ledger is not None and counts is not None:
                ledger.close(counts)
            raise
        finally:
            if counts is not None:
                counts.close_descriptor()
    ours.setblocking(False)
    child = Child(number, process, ours)
    child.counts = counts
    return child


def _spawn(
    number: int, generation: Generation, control: int, counts: Counts | None
) -> subprocess.Popen[bytes]:
    """A fresh interpreter like this one, which is to run `process.main`."""
    fds = [] if counts is None else [counts.fd]
    listeners = [listener.fileno() for listener in generation.listeners.values()]
    given = {
        "path": sys.path,
        "number": number,
        "control": control,
        "listeners": listeners,
        "config": generation.config.settings(),
        "counts": fds,
    }
    environ = {name: os.environ[name] for name in os.environ if name not in VARIABLES}
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined] # noqa: SLF001
    # -P: the folder from which the server was started is no place to look for modules.
    command = [sys.executable, *flags, "-P", "-c", BOOT, f"portico: worker {number + 1}"]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # the worker unblocks them
    try:
        return subprocess.Popen(  # noqa: S603 (nothing in it comes from outside)
            command,
            stdin=subprocess.DEVNULL,
            env={**environ, VARIABLE: json.dumps(given)},
            pass_fds=[control, *listeners, *fds],
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
