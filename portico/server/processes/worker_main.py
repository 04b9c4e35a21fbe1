"""A worker process, from within: what it is given, whom it obeys, what it says.

The supervisor starts it with `BOOT`, as a fresh interpreter, so that the code is that on disk. What
it is given comes as JSON in the environment; the listening sockets and `control`, the line to the
supervisor, as open descriptors. It says READY, waits for GO, and then serves. RETIRE, DRAIN and END
tell it how to end. It says when it accepts no more (LEAVING), and at its end how many requests it
has answered (SERVED); a COMPLAINT is for the operator. When the supervisor is gone, so is the other
end of `control`: then it drains.

SIGTERM drains as well. SIGINT and SIGHUP, which a terminal sends to all its processes, are the
supervisor's affair. Nothing here counts signals: one may come by both ways.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from functools import partial
from typing import TYPE_CHECKING, NotRequired, TypedDict

from portico.config.config import Config, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from portico.server.telemetry.counters import Counts
    from portico.server.worker import Worker

VARIABLE = "PORTICO_WORKER"
"""The environment variable that holds what the process is given."""

BOOT = (
    "import json, os, sys; "
    f"given = json.loads(os.environ.pop({VARIABLE!r})); "
    "sys.path[:] = given['path']; "
    "from portico.server.processes.worker_main import main; "
    "sys.exit(main(given))"
)
"""The program that the interpreter is started with; it finds Portico where the supervisor did."""

GO, RETIRE, DRAIN, END = b"g", b"r", b"d", b"e"
"""What the supervisor says: accept; end without haste; end within the grace time; end now."""
READY, LEAVING, SERVED, COMPLAINT = b"ready", b"leaving", b"served ", b"complaint "
"""What the worker says, each on a line of its own; the last two go on with a number or a text."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Those that wait until the process can handle them."""

STDOUT = 1
CANNOT_START = 2
"""The exit code of a worker whose configuration is wrong."""


class Given(TypedDict):
    """What a worker process is given."""

    path: list[str]
    """Where modules are looked for."""
    number: int
    """Which of the workers it is: the first one also reports what is wrong with the site."""
    control: int
    listeners: list[int]
    config: dict[str, object]
    counts: NotRequired[list[int]]
    """The descriptor of memory to count in, if somebody wants to know."""


def main(given: Given) -> int:
    """Serve until told otherwise, and return the exit code."""
    with _adopt(given["control"]) as control:
        return _serve(given, Line(control))


def _serve(given: Given, line: Line) -> int:
    try:
        worker = _worker(given, line)
    except (ConfigError, OSError) as problem:
        line.complain(str(problem))
        return CANNOT_START
    steering = _Steering(worker, line)
    _handle_signals(steering.drain)
    line.say(READY)
    if line.hear() == GO:
        steering.begin()
        worker.run()
        line.say(SERVED + b"%d" % worker.requests)
    return 0


class Line:
    """The line to the supervisor."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self.fd = control.fileno()

    def say(self, words: bytes) -> None:
        """Tell the supervisor something, if it is still there."""
        with contextlib.suppress(OSError):
            self._control.sendall(words + b"\n")

    def complain(self, text: str) -> None:
        """Have the supervisor tell the operator."""
        self.say(COMPLAINT + " ".join(text.splitlines()).encode("utf-8", "backslashreplace"))

    def hear(self) -> bytes:
        """The next word; empty when the supervisor is gone."""
        try:
            return self._control.recv(1)
        except OSError:
            return b""


class _Steering:
    """Has a worker do what the supervisor says."""

    def __init__(self, worker: Worker, line: Line) -> None:
        self._worker = worker
        self._line = line
        self._drains = False

    def begin(self) -> None:
        """Listen to the supervisor while the worker serves."""
        self._worker.watch(self._line.fd, self._on_word)

    def drain(self) -> None:
        """End within the grace time. To say it again changes nothing."""
        if not self._drains:
            self._drains = True
            self._worker.stop()

    def _on_word(self, _events: int) -> None:
        word = self._line.hear()
        if word == RETIRE:
            self._worker.retire()
            return
        self.drain()
        if word == END:
            self._worker.stop()
        if not word:
            self._worker.forget(self._line.fd)


def _worker(given: Given, line: Line) -> Worker:
    # Imported here, because the supervisor needs neither.
    from portico.server.telemetry.access_log import AccessLog
    from portico.server.worker import Worker

    config = Config.of(**given["config"])
    listeners = [_adopt(fd) for fd in given["listeners"]]
    log = None
    if config.access_log:
        log = AccessLog(STDOUT, config.log_format, color=config.color == "always")
    report = line.complain if given["number"] == 0 else _keep_quiet
    counts = None
    for fd in given.get("counts", []):
        counts = _counts(fd, line)
    on_drain = partial(line.say, LEAVING)
    return Worker(config, listeners, log=log, counts=counts, report=report, on_drain=on_drain)


def _counts(fd: int, line: Line) -> Counts | None:
    """Return where to count for the supervisor, if they still understand each other."""
    from portico.server.telemetry.counters import adopt

    counts = adopt(fd)
    if counts is None:
        line.complain("the metrics stand still: this version has others; restart the server")
    return counts


def _adopt(fd: int) -> socket.socket:
    """The socket whose descriptor was handed over. Nobody else is to inherit it."""
    adopted = socket.socket(fileno=fd)
    adopted.set_inheritable(False)
    return adopted


def _keep_quiet(_text: str) -> None:
    """Leave it to the first worker: the others would say the same."""


def _handle_signals(drain: Callable[[], None]) -> None:
    """The supervisor has blocked them until now, when there is somebody to handle them."""

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        drain()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
