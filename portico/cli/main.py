"""The command line: which command runs, and what its outcome means for the process.

Exit codes: 0 after a stop that was asked for, 1 if something was found or failed, 2 for a mistake
of the operator (one clear line, no traceback), 130 for Ctrl+C. What belongs to the whole process
(signals, the limit on descriptors, standard streams) is touched only by this package.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from portico.cli.terminal import (
    INTERRUPTED,
    STDERR,
    STDOUT,
    STOPPED,
    SurplusArgumentError,
    UsageError,
    refuse,
)
from portico.config.config import ConfigError, suggestion
from portico.server.processes.signals import Signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "check": "portico.cli.check.command",
    "compress": "portico.cli.compress.command",
    "explain": "portico.cli.explain",
    "passwd": "portico.cli.passwd",
}
"""The commands besides serving, each a module with `run(argv)`, which returns an exit code.

Any other first word is the folder to serve. `./check` is the folder of that name.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, by default that of the process, and return the exit code."""
    _open_standard_streams()
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except SystemExit:  # how argparse ends after --help and --version
        return STOPPED
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        if argv is None:  # the process ends, so one more Ctrl+C is no error
            import signal

            signal.signal(signal.SIGINT, signal.SIG_IGN)
        _flush()


def _run(argv: Sequence[str]) -> int:
    first = argv[0] if argv else ""
    command = COMMANDS.get(first)
    try:
        if command is not None:
            return int(import_module(command).run(argv[1:]))
        with Signals() as signals:
            return int(import_module("portico.cli.serve").run(argv, signals))
    except SurplusArgumentError as problem:
        near = "" if command is not None else suggestion(first, COMMANDS)
        return refuse(UsageError(f"{problem}{near}"))
    except UsageError as problem:
        return refuse(problem, "portico" if command is None else f"portico {first}")
    except ConfigError as problem:
        is_a_word = len(argv) == 1 and not os.path.exists(first)
        near = suggestion(first, COMMANDS) if is_a_word and command is None else ""
        return refuse(ConfigError(f"{problem}{near}"))


def _open_standard_streams() -> None:
    """Open /dev/null in place of closed standard streams, before a socket gets their numbers.

    The access log would otherwise be written to the connection that has the number 1. Workers
    inherit them.
    """
    for descriptor in (0, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(_open_nothing(), True)


def _open_nothing() -> int:
    """Return a new descriptor to which nothing is written."""
    try:
        return os.open(os.devnull, os.O_RDWR)
    except OSError:  # a broken container may have none
        return os.open(os.sep, os.O_RDONLY)


def _flush() -> None:
    """Flush stdout and stderr, so that the interpreter does not complain if a reader has left."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            null = _open_nothing()
            os.dup2(null, stream.fileno())
            os.close(null)
        except (AttributeError, ValueError):
            continue
