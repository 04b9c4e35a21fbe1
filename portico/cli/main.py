"""The command line: selects the command, and turns its outcome into an exit code.

Exit codes: 0 for success and after a requested stop, 1 if something was found or failed, 2 for a
mistake of the operator (one clear line, no traceback), 130 for Ctrl+C. Only this package changes
the state of the whole process: signals, the limit on descriptors, standard streams.
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
"""The commands except serving, each a module with `run(argv)`, which returns an exit code.

Any other first argument is the folder to serve. `./check` names a folder called "check".
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, by default sys.argv, and return the exit code."""
    _open_standard_streams()
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except SystemExit:  # raised by argparse after --help and --version
        return STOPPED
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        if argv is None:  # the process ends: one more Ctrl+C must not interrupt that
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
    """Open /dev/null in place of closed standard streams, and make it inheritable for workers.

    Otherwise a connection could get descriptor 1, and the access log would be written to it.
    """
    for descriptor in (0, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(_open_nothing(), True)


def _open_nothing() -> int:
    """Return a new descriptor that stands for nothing: /dev/null."""
    try:
        return os.open(os.devnull, os.O_RDWR)
    except OSError:  # a broken container may have no /dev/null
        return os.open(os.sep, os.O_RDONLY)


def _flush() -> None:
    """Flush stdout and stderr, so that the interpreter does not complain if a pipe is closed."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            null = _open_nothing()
            os.dup2(null, stream.fileno())
            os.close(null)
        except (AttributeError, ValueError):
            continue
