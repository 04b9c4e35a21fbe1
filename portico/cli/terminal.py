"""What every command needs of the terminal: arguments, colour, output, errors, exit codes.

Rule: a mistake of the operator is one line on stderr that says what to do, and exit code 2; never a
traceback. Text that comes from outside is made printable before it reaches a terminal.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys

from portico.config.config import ConfigError, suggestion
from portico.config.options import SWITCH
from portico.server.telemetry.output import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from portico.config.options import Option

STOPPED, FOUND, MISUSED, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: done; done, but something was found or failed; a mistake of the operator; Ctrl+C."""

STDOUT, STDERR = 1, 2

BOLD, GREEN, YELLOW, CYAN = "1", "32", "33", "36"
"""Codes for `paint` (ECMA-48, "Select graphic rendition")."""


class UsageError(ConfigError):
    """A mistake on the command line."""


class SurplusArgumentError(UsageError):
    """An argument, `word`, beyond those that the command takes."""

    def __init__(self, word: str) -> None:
        super().__init__(f"only one folder can be given, so {word!r} is too much")
        self.word = word


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises UsageError instead of ending the process."""

    def __init__(self, command: str, usage: str, description: str, epilog: str) -> None:
        """`command` is `portico`, perhaps with a further word; `usage` is its arguments."""
        super().__init__(
            prog=command,
            usage=f"{command} {usage}",
            description=description,
            epilog=epilog,
            formatter_class=_formatter,
            allow_abbrev=False,
            add_help=False,
        )

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Return all values. Raises UsageError, for an unknown option with a suggestion."""
        given, unknown = self.parse_known_args(argv)
        if unknown:
            word = unknown[0].partition("=")[0]
            if word.startswith("-"):
                flags = [flag for action in self._actions for flag in action.option_strings]
                near = suggestion(word, [flag for flag in flags if flag.startswith("--")])
                raise UsageError(f"there is no option {word}{near}")
            raise SurplusArgumentError(word)
        return given

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(message)

    def _print_message(self, message: str, _file: object = None) -> None:
        """Write a help text. That of Python 3.11.2 fails if the reader has left."""
        show(message.removesuffix("\n"))


def _formatter(prog: str) -> argparse.HelpFormatter:
    """Return what lays out all help texts. A given width also spares the import of shutil."""
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=28, width=79)


def add_option(group: argparse._ArgumentGroup, option: Option) -> None:
    """Let the command line take `option`. If it is not given, there is no value."""
    shown = f" (default: {option.shown_default})" if option.shown_default else ""
    meaning, none = f"{option.meaning}{shown}".replace("%", "%%"), argparse.SUPPRESS
    metavar = option.kind.metavar
    if option.positional:
        group.add_argument(option.name, nargs="?", metavar=metavar, default=none, help=meaning)
    elif option.kind is SWITCH:
        action = argparse.BooleanOptionalAction
        group.add_argument(option.flag, action=action, default=none, help=meaning)
    else:
        many = "append" if option.repeatable else "store"
        group.add_argument(option.flag, action=many, metavar=metavar, default=none, help=meaning)


def add_help(group: argparse._ActionsContainer) -> None:
    """Let the command line take -h and --help."""
    group.add_argument("-h", "--help", action="help", help="Show this text.")


def wants_color(choice: str, descriptor: int) -> bool:
    """Return whether a stream gets colour: `auto` means a terminal, unless NO_COLOR is set."""
    if choice != "auto":
        return choice == "always"
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return not plain and os.isatty(descriptor)


def paint(text: str, code: str, *, color: bool) -> str:
    """Return `text` in a colour or weight, or as it is without `color`."""
    return f"\x1b[{code}m{text}\x1b[0m" if color else text


def printable(text: str) -> str:
    """Return `text` with escapes for control characters and for undecodable bytes of names."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def count(number: int, noun: str) -> str:
    """Return a number and its noun: `1 file`, `2,000 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def refuse(problem: Exception, program: str = "portico") -> int:
    """Report a mistake of the operator, and return the exit code for it."""
    complain(str(problem))
    if isinstance(problem, UsageError):
        say(f"{program} --help shows all options.\n")
    return MISUSED


def complain(text: str) -> None:
    """Report an error on stderr."""
    say(f"portico: error: {printable(text)}\n")


def report(text: str) -> None:
    """Report on stderr what is wrong with the site, or what the server does."""
    say(f"portico: {printable(text)}\n")


def show(text: str) -> None:
    """Write a line of a command's result to stdout, with escapes for what it cannot encode.

    A reader that has left is no error.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    with contextlib.suppress(OSError):
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def say(text: str) -> None:
    """Write to stderr, if it is open and has a reader: the server works without it."""
    tell(text)
