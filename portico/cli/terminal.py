"""What every command needs of the terminal: arguments, colour, clear errors, exit codes.

Rule: a mistake of the operator is one line on stderr that says what to do, and exit code 2; never a
traceback. What comes from outside is made printable before a terminal sees it.
"""

from __future__ import annotations

import argparse
import os
import sys

from portico.config.config import ConfigError
from portico.config.options import SWITCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from portico.config.options import Option

STOPPED, FOUND, MISUSED, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: done; done, but something was found or failed; a mistake of the operator; Ctrl+C."""

STDOUT, STDERR = 1, 2


class UsageError(ConfigError):
    """A command line that makes no sense."""


class Parser(argparse.ArgumentParser):
    """argparse, except that a mistake is an exception instead of the end of the process."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(message)


def formatter(prog: str) -> argparse.HelpFormatter:
    """The form of all help texts. A given width also spares the import of shutil."""
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=28, width=79)


def add_option(group: argparse._ArgumentGroup, option: Option) -> None:
    """Let the command line take `option`."""
    default = f" (default: {option.shown_default})" if option.shown_default else ""
    meaning = f"{option.meaning}{default}".replace("%", "%%")
    if option.positional:
        group.add_argument(option.name, nargs="?", metavar=option.flag, help=meaning)
    elif option.kind is SWITCH:
        group.add_argument(option.flag, action=argparse.BooleanOptionalAction, help=meaning)
    else:
        action = "append" if option.repeatable else "store"
        group.add_argument(option.flag, action=action, metavar=option.kind.metavar, help=meaning)


def wants_color(choice: str, descriptor: int) -> bool:
    """Resolve --color for a stream: auto means a terminal that has not asked for none."""
    if choice != "auto":
        return choice == "always"
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return not plain and os.isatty(descriptor)


def printable(text: str) -> str:
    """Control characters and undecodable bytes of file names must not reach a terminal."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def refuse(problem: Exception, program: str = "portico") -> int:
    """Tell the operator what is wrong, and return the exit code for it."""
    hint = f"{program} --help shows all options.\n" if isinstance(problem, UsageError) else ""
    say(f"portico: error: {printable(str(problem))}\n{hint}")
    return MISUSED


def show(text: str) -> None:
    """Write a line to stdout: what a command was asked for."""
    sys.stdout.write(f"{text}\n")


def say(text: str) -> None:
    """Write to stderr, if somebody is there to read it; serving does not depend on that."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        return
