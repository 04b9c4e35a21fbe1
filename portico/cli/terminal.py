"""Shared parts of all commands: arguments, color, output, error messages, exit codes.

Rule: a mistake of the operator gives one line on stderr that says what to do, and exit code 2;
never a traceback. Text from outside is made printable before it is written to a terminal.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys

from portico.config.config import ConfigError, suggestion
from portico.config.kinds import SWITCH
from portico.server.telemetry.output import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

    from portico.config.options import Option

STOPPED, FOUND, MISUSED, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: success; something was found or failed; a mistake of the operator; Ctrl+C."""

STDOUT, STDERR = 1, 2

BOLD, GREEN, YELLOW, CYAN = "1", "32", "33", "36"
"""Codes for `paint` (ECMA-48, "Select graphic rendition")."""


class UsageError(ConfigError):
    """A mistake on the command line."""


class SurplusArgumentError(UsageError):
    """There is an argument, `word`, more than the command takes."""

    def __init__(self, word: str) -> None:
        super().__init__(f"unexpected argument: {word!r}")
        self.word = word


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises UsageError instead of ending the process."""

    def __init__(self, command: str, usage: str, description: str, epilog: str) -> None:
        """`command` is "portico", or such as "portico check"; `usage` describes its arguments."""
        super().__init__(
            prog=command,
            usage=f"{command} {usage}",
            description=description,
            epilog=epilog,
            formatter_class=_Formatter,
            allow_abbrev=False,
            add_help=False,
        )

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Return the values of all arguments. Raises UsageError, which may suggest an option."""
        given, unknown = self.parse_known_args(argv)
        if unknown:
            word = unknown[0].partition("=")[0]
            if word.startswith("-"):
                flags = [flag for action in self._actions for flag in action.option_strings]
                near = suggestion(word, [flag for flag in flags if flag.startswith("--")])
                raise UsageError(f"no such option: {word}{near}")
            raise SurplusArgumentError(word)
        return given

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with argparse's message in plainer words."""
        plain = message.removeprefix("argument ").replace(
            ": expected one argument", " needs a value"
        )
        raise UsageError(plain.replace(": ignored explicit argument", " takes no value, but has"))

    def _print_message(self, message: str, _file: object = None) -> None:
        """Write a help text. argparse of Python 3.11.2 fails if the reader has closed the pipe."""
        show(message.removesuffix("\n"))


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Lays out help texts. With a fixed width, argparse does not import shutil."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=79)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """Return all flags, then their argument once: `-p, --port PORT`, `--[no-]spa`."""
        flags = action.option_strings
        if isinstance(action, argparse.BooleanOptionalAction):
            yes = [flag for flag in flags if not flag.startswith("--no-")]
            return ", ".join(yes).replace("--", "--[no-]")
        if not flags or action.nargs == 0:
            return super()._format_action_invocation(action)
        return f"{', '.join(flags)} {action.metavar}"


def add_option(group: argparse._ActionsContainer, option: Option, *, in_help: bool = True) -> None:
    """Add `option` to a parser, whose result has no value for an option that is not given."""
    default = "" if option.default is False else option.shown_default
    shown = f" (default: {default})" if default else ""
    none = argparse.SUPPRESS
    meaning = f"{option.meaning}{shown}".replace("%", "%%") if in_help else none
    metavar = option.kind.metavar
    if option.positional:
        group.add_argument(option.name, nargs="?", metavar=metavar, default=none, help=meaning)
        return
    about: dict[str, Any] = {"dest": option.name, "default": none, "help": meaning}
    if option.kind is SWITCH:
        about["action"] = argparse.BooleanOptionalAction
    else:
        about |= {"action": "append" if option.repeatable else "store", "metavar": metavar}
    group.add_argument(*option.flags, **about)


def add_help(group: argparse._ActionsContainer) -> None:
    """Add -h and --help to a parser."""
    group.add_argument("-h", "--help", action="help", help="Show this text.")


def wants_color(choice: str, descriptor: int) -> bool:
    """Return whether to color a stream: `auto` means only a terminal, and not with NO_COLOR set."""
    if choice != "auto":
        return choice == "always"
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return not plain and os.isatty(descriptor)


def paint(text: str, code: str, *, color: bool) -> str:
    """Return `text` with the color or weight `code`, or unchanged without `color`."""
    return f"\x1b[{code}m{text}\x1b[0m" if color else text


def printable(text: str) -> str:
    """Return `text` with escapes for unprintable characters and undecodable bytes of file names."""
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
        say(f"{program} --help shows the options.\n")
    return MISUSED


def complain(text: str) -> None:
    """Report an error on stderr."""
    say(f"portico: error: {printable(text)}\n")


def report(text: str) -> None:
    """Write a message to stderr: about a fault of the site, or an event of the server."""
    say(f"{line_start()}portico: {printable(text)}\n")


def line_start() -> str:
    """Return a CR on a terminal, to overwrite the ^C that it shows; else nothing."""
    return "\r" if os.isatty(STDERR) else ""


def show(text: str) -> None:
    """Write a line of a command's result to stdout, with escapes for characters not encodable.

    A reader that has closed the pipe is no error.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    with contextlib.suppress(OSError):
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def say(text: str) -> None:
    """Write to stderr. Errors are ignored: the server works without stderr, or a reader of it."""
    tell(text)
