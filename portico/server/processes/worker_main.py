"""The main program of a worker process.

The supervisor starts a fresh interpreter with BOOT. The worker gets its arguments as JSON in the
environment, the listening sockets and the control socket as open descriptors. It sends READY, waits
for GO, and serves. UNSANDBOXED, before READY, means that the system refused the sandbox. RETIRE,
DRAIN and END tell it how to stop; its loop answers PING with PONG, as a sign of life. It sends
LEAVING when it accepts no more connections, and at its end SERVED, with the number of requests and
the number of responses that it cut off. WARNING carries a text for the operator. When the control
socket reaches its end, the supervisor is gone, and the worker drains.

SIGTERM makes the worker drain, too. SIGINT and SIGHUP, which a terminal sends to all its processes,
are ignored: the supervisor acts on them. A service manager may send SIGTERM in addition to the
supervisor's command, so a second request to drain has no effect.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from functools import partial
from typing import TYPE_CHECKING, TypedDict

from portico.config.config import Config, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from portico.server.processes.sandbox import Sandbox
    from portico.server.worker import Worker

VARIABLE = "PORTICO_WORKER"
"""The environment variable that holds the arguments, as JSON."""

BOOT = (
    "import json, os, sys; "
    f"arguments = json.loads(os.environ.pop({VARIABLE!r})); "
    "sys.path[:] = arguments['path']; "
    "from portico.server.processes.worker_main import main; "
    "sys.exit(main(arguments))"
)
"""The program that the interpreter runs; it uses the supervisor's sys.path to find Portico."""

GO, RETIRE, DRAIN, END, PING = b"g", b"r", b"d", b"e", b"p"
"""Commands: serve; stop without a deadline; stop within the grace time; stop now; send PONG."""
READY, UNSANDBOXED, LEAVING, PONG = b"ready", b"unsandboxed", b"leaving", b"pong"
SERVED, WARNING = b"served ", b"warning "
"""Messages, each a line. SERVED is followed by two numbers, WARNING by a text."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that the supervisor blocks in a new process until their handlers are set."""

STDOUT = 1
CANNOT_START = 2
"""The exit code when the worker cannot be made, for example from a wrong configuration."""


class Arguments(TypedDict):
    """The arguments of a worker process."""

    path: list[str]
    """sys.path"""
    number: int
    """The worker's number, from 0. Only number 0 reports mistakes in the site's rules."""
    control: int
    """The descriptor of the control socket."""
    listeners: list[int]
    """The descriptors of the listening sockets."""
    schemes: list[str]
    """How each listener is served (see `listeners.schemes`)."""
    config: dict[str, object]
    counters: int | None
    """The descriptor of shared memory; None when metrics are off."""


def main(arguments: Arguments) -> int:
    """Serve until told to stop, and return the exit code."""
    control = Control(arguments["control"])
    try:
        worker, sandbox = _new_worker(arguments, control)
    except (ConfigError, OSError) as problem:
        control.warn(str(problem))
        return CANNOT_START
    commands = _Commands(worker, control)
    _handle_signals(commands.drain)
    control.send(READY)
    if control.receive() == GO:
        worker.watch(control.fd, commands.obey)
        sandbox.run(worker.run)
        control.send(SERVED + b"%d %d" % (worker.requests, worker.cut))
    return 0


class Control:
    """The worker's end of the control socket, which stays open until the process exits."""

    def __init__(self, fd: int) -> None:
        os.set_inheritable(fd, False)
        self.fd = fd

    def send(self, message: bytes) -> None:
        """Send a message; do nothing if the supervisor is gone."""
        with contextlib.suppress(OSError):
            os.write(self.fd, message + b"\n")

    def warn(self, text: str) -> None:
        """Have the supervisor show `text`, on one line, to the operator."""
        self.send(WARNING + " ".join(text.splitlines()).encode("utf-8", "backslashreplace"))

    def receive(self) -> bytes:
        """Wait for the next command and return it; empty when the supervisor is gone."""
        try:
            return os.read(self.fd, 1)
        except OSError:
            return b""


class _Commands:
    """Applies the supervisor's commands, and SIGTERM, to a worker."""

    def __init__(self, worker: Worker, control: Control) -> None:
        self._worker = worker
        self._control = control
        self._draining = False

    def drain(self) -> None:
        """Stop the worker within the grace time. Further calls have no effect."""
        if not self._draining:
            self._draining = True
            self._worker.stop()

    def obey(self, _events: int) -> None:
        """Receive a command, and act on it."""
        command = self._control.receive()
        if command == PING:
            self._control.send(PONG)
            return
        if command == RETIRE:
            self._worker.retire()
            return
        self.drain()
        if command == END:
            self._worker.stop()
        if not command:
            self._worker.forget(self._control.fd)


def _new_worker(arguments: Arguments, control: Control) -> tuple[Worker, Sandbox]:
    # Imported here, because the supervisor imports this module and needs none of these.
    from portico.server.processes import privileges
    from portico.server.processes.sandbox import Sandbox
    from portico.server.telemetry.access_log import AccessLog
    from portico.server.telemetry.telemetry import Telemetry
    from portico.server.worker import Worker
    from portico.site.representation.select import silent

    config = Config.of(**arguments["config"])
    user = privileges.account(config.user) if config.user else None
    listeners = [socket.socket(fileno=fd) for fd in arguments["listeners"]]
    for listener in listeners:
        listener.set_inheritable(False)
    log = AccessLog(STDOUT, config, control.warn) if config.access_log else None
    counters = None
    if arguments["counters"] is not None:
        from portico.server.telemetry.counters import adopt

        counters = adopt(arguments["counters"])
        if counters is None:
            control.warn("metrics are not counted: this version has others; restart the server")
    is_first = arguments["number"] == 0
    worker = Worker(
        config,
        listeners,
        Telemetry(log, counters, control.warn, control.warn if is_first else silent),
        schemes=arguments["schemes"],
        on_drain=partial(control.send, LEAVING),
        on_wait=control.warn,
    )
    sandbox = Sandbox(config, control.warn, is_alone=False)
    if sandbox.is_refused:
        control.send(UNSANDBOXED)
    if user is not None:
        report = control.warn if is_first else None
        privileges.become(user, config, report, is_alone=False)
    return worker, sandbox


def _handle_signals(drain: Callable[[], None]) -> None:
    """Set the handlers of SIGNALS, then unblock these signals, which the supervisor has blocked."""
    signal.signal(signal.SIGTERM, lambda *_: drain())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
