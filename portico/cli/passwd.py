"""`portico passwd NAME`: makes a line of the users file, with a hashed password or a new token."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from typing import TYPE_CHECKING

from portico.cli.terminal import STOPPED, Parser, UsageError, add_help, say, show
from portico.config.config import ConfigError
from portico.site.users import hash_password, hash_token, is_name

if TYPE_CHECKING:
    from collections.abc import Sequence

INTRO = """\
Make a line for the file of --users: a name and a hashed password, or a token. The
password is asked for on the terminal, or read from the first line of stdin.
"""

OUTRO = """\
examples:
  portico passwd alice --file users
  portico passwd alice < password.txt >> users
  portico passwd --token backup --file users
"""

SHORTEST = 8
"""Least number of characters of a password."""
TOKEN_OCTETS = 32
"""Random bytes of a token."""


def run(argv: Sequence[str]) -> int:
    """Run the command and return its exit code. Raises ConfigError."""
    given = parser().parse(argv)
    if not is_name(given.name):
        raise UsageError(f"{given.name!r} cannot be the name of a user; use letters and digits")
    if given.token:
        token = secrets.token_urlsafe(TOKEN_OCTETS)
        hashed = hash_token(token)
        say(f"The token of {given.name}, which is shown only now:\n\n    {token}\n\n")
    else:
        hashed = hash_password(_password(given.name))
    line = f"{given.name}:{hashed}"
    if given.file is None:
        show(line)
    else:
        _put(line, given.file, replaces=not given.token)
        say(
            f"{given.name} can sign in with {'the token' if given.token else 'the password'} now.\n"
        )
    return STOPPED


def parser() -> Parser:
    """Return the parser of this command."""
    made = Parser("portico passwd", "NAME [--token] [--file FILE]", INTRO, OUTRO)
    made.add_argument("name", metavar="NAME", help="The name of the user.")
    made.add_argument("--token", action="store_true", help="Make a token, which is shown once.")
    made.add_argument("--file", metavar="FILE", help="Put the line into this file.")
    add_help(made)
    return made


def _password(name: str) -> str:
    """Return the password, asked for on the terminal, or read from stdin. Raises UsageError."""
    if sys.stdin is not None and sys.stdin.isatty():
        from getpass import getpass

        password = getpass(f"Password for {name}: ", sys.stderr)
        if getpass("Again: ", sys.stderr) != password:
            raise UsageError("the two passwords differ; try again")
    else:
        password = (sys.stdin.readline() if sys.stdin is not None else "").removesuffix("\n")
    if len(password) < SHORTEST:
        raise UsageError(f"a password needs at least {SHORTEST} letters")
    return password


def _put(line: str, path: str, *, replaces: bool) -> None:
    """Add `line` to the file at `path`, which is replaced atomically. Raises ConfigError.

    With `replaces`, lines with a password of the same user are removed.
    """
    try:
        try:
            with open(path, encoding="utf-8") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            lines = []
        start = line.partition(":")[0] + ":"
        if replaces:
            lines = [
                each for each in lines
                if not each.startswith(start) or each.startswith(start + "$token$")
            ]  # fmt: skip
        _replace(os.path.realpath(path), "\n".join([*lines, line, ""]))
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8; save it so") from None
    except OSError as problem:
        raise ConfigError(f"{path}: cannot be written: {problem.strerror}") from None


def _replace(path: str, text: str) -> None:
    new = f"{path}.{secrets.token_hex(8)}"
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            _take_access(file.fileno(), path)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise


def _take_access(fd: int, path: str) -> None:
    """Give a new file the owner and group of the one that it replaces, as whom the server may read.

    What the group may do stays, too, unless everybody may: then nobody has chosen that.
    """
    try:
        old = os.stat(path)
    except FileNotFoundError:
        return
    if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
        with contextlib.suppress(PermissionError):
            os.fchown(fd, old.st_uid, old.st_gid)
    if not old.st_mode & 0o007:
        os.fchmod(fd, 0o600 | (old.st_mode & 0o060))
