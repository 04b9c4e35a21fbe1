"""Writes share/ out of the parsers of all commands: shell completion and the man page.

    python3 scripts/make_share.py

A test fails while a file differs from what this would write.
"""

from __future__ import annotations

import sys
from argparse import BooleanOptionalAction
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = REPOSITORY / "share"
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))

from portico import __version__  # noqa: E402 - from the checkout, by its path
from portico.cli import explain, passwd, serve  # noqa: E402
from portico.cli.check import command as check  # noqa: E402
from portico.cli.compress import command as compress  # noqa: E402
from portico.cli.terminal import Parser  # noqa: E402
from portico.config.options import OPTIONS  # noqa: E402

COMMANDS = {
    "check": "find broken links, secrets, bad rules, ...",
    "compress": "write compressed files beside the originals",
    "explain": "show how a request is answered, and why",
    "passwd": "make a password or a token for --users",
}
PARSERS = {
    "": serve.parser(),
    "check": check.parser(),
    "compress": compress.parser(),
    "explain": explain.parser(),
    "passwd": passwd.parser(),
}
CHOICES = {flag: option.kind.choices for option in OPTIONS for flag in option.flags}
WRITTEN = "written by scripts/make_share.py"


class Flag:
    """An option of a command line: all its names, what it takes and what it means."""

    def __init__(self, names: list[str], metavar: str, meaning: str) -> None:
        self.names = names
        self.metavar = metavar
        """Empty if it takes nothing."""
        self.meaning = meaning
        self.choices = CHOICES.get(names[-1], ())


def flags(parser: Parser) -> Iterator[Flag]:
    """Yield the options of a command; of a switch, what sets it and what unsets it."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other list of them
        names, meaning = list(action.option_strings), (action.help or "").replace("%%", "%")
        if isinstance(action, BooleanOptionalAction):
            no = [name for name in names if name.startswith("--no-")]
            yield Flag([name for name in names if name not in no], "", meaning)
            yield Flag(no, "", f"Do not: {meaning}")
        elif names:
            metavar = action.metavar if isinstance(action.metavar, str) else ""
            yield Flag(names, "" if action.nargs == 0 else metavar, meaning)


def bash() -> str:
    """Return the completion for bash."""
    values = {name: flag for parser in PARSERS.values() for flag in flags(parser) if flag.metavar
              for name in flag.names}  # fmt: skip
    chosen = [
        f'    {name}) COMPREPLY=($(compgen -W "{" ".join(flag.choices)}" -- "$word")); return ;;'
        for name, flag in values.items()
        if flag.choices
    ]
    named = "|".join(name for name, flag in values.items() if not flag.choices)
    words = [
        f'      "{command}") words="{" ".join(n for f in flags(parser) for n in f.names)}" ;;'
        for command, parser in PARSERS.items()
    ]
    return f"""\
# bash completion for portico, {WRITTEN}
_portico() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} command="" words=""
  case ${{COMP_WORDS[1]}} in {"|".join(COMMANDS)}) command=${{COMP_WORDS[1]}} ;; esac
  case $before in
{chr(10).join(chosen)}
    {named}) return ;;
  esac
  if [[ $word == -* ]]; then
    case $command in
{chr(10).join(words)}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
  elif [[ $COMP_CWORD == 1 ]]; then
    COMPREPLY=($(compgen -W "{" ".join(COMMANDS)}" -- "$word"; compgen -f -- "$word"))
  fi
}}
complete -o default -o filenames -F _portico portico portico-server
"""


def zsh() -> str:
    """Return the completion for zsh."""
    lines = []
    for command, parser in PARSERS.items():
        specs = []
        for flag in flags(parser):
            meaning = flag.meaning.translate(
                {ord(letter): f"\\{letter}" for letter in "[]:"} | {ord("'"): "'\\''"}
            )
            action = f"({' '.join(flag.choices)})" if flag.choices else "_files"
            value = f":{flag.metavar}:{action}" if flag.metavar else ""
            specs += [f"      '*{name}[{meaning}]{value}'" for name in flag.names]
        pattern = command or "*"
        lines.append(f"    {pattern})\n      _arguments \\\n{_joined(specs)} \\\n      $rest ;;")
    main = lines.pop(0)
    described = " ".join(f"'{name}:{meaning}'" for name, meaning in COMMANDS.items())
    return f"""\
#compdef portico portico-server
# zsh completion for portico, {WRITTEN}
_portico() {{
  local -a commands rest
  commands=({described})
  rest=('*:file:_files')
  if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then
    _describe command commands
  fi
  case $words[2] in
{chr(10).join(lines)}
{main}
  esac
}}
_portico "$@"
"""


def _joined(specs: list[str]) -> str:
    return " \\\n".join(f"  {spec}" for spec in specs)


def fish() -> str:
    """Return the completion for fish."""
    names = " ".join(COMMANDS)
    lines = [f"# fish completion for portico, {WRITTEN}"]
    for command, meaning in COMMANDS.items():
        lines.append(f"complete -c portico -n __fish_use_subcommand -a {command} -d '{meaning}'")
    for command, parser in PARSERS.items():
        seen = f"__fish_seen_subcommand_from {command or names}"
        condition = seen if command else f"not {seen}"
        for flag in flags(parser):
            shown = " ".join(
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                for name in flag.names
            )
            meaning = flag.meaning.replace("'", "\\'")
            value = " -r" if flag.metavar else ""
            value += f" -f -a '{' '.join(flag.choices)}'" if flag.choices else ""
            lines.append(f"complete -c portico -n '{condition}' {shown}{value} -d '{meaning}'")
    return "\n".join(lines) + "\n"


def man() -> str:
    """Return the manual page, in the usual macros."""
    text = [
        f'.\\" {WRITTEN}',
        f'.TH PORTICO 1 "" "portico {__version__}" "User Commands"',
        ".SH NAME",
        "portico \\- a static web server",
        ".SH SYNOPSIS",
        ".B portico",
        "[options] [DIR]",
    ]
    for command in COMMANDS:
        text += [".br", f".B portico {command}", "[options] ..."]
    folder = "DIR is the folder to serve, or a single file."
    text += [".SH DESCRIPTION", _roff(serve.INTRO), folder, _roff(serve.OUTRO.split("\n\n")[-1])]
    for command, parser in PARSERS.items():
        text.append(f".SH {'OPTIONS' if not command else f'PORTICO {command.upper()}'}")
        if command:
            text.append(_roff(parser.description or ""))
        for flag in flags(parser):
            if flag.names[0].startswith("--no-"):
                continue
            both = any(f"--no-{flag.names[-1][2:]}" in f.names for f in flags(parser))
            shown = ", ".join(flag.names).replace("--", "--[no-]" if both else "--")
            text += [".TP", f".B {_roff(f'{shown} {flag.metavar}'.strip())}", _roff(flag.meaning)]
    text += [
        ".SH FILES",
        ".TP",
        ".I portico.toml",
        "Options, read from the current folder unless \\-\\-config names another file.",
        ".SH EXIT STATUS",
        "0 after Ctrl+C or SIGTERM; 1 if something was found or failed;",
        "2 for a mistake in options, folder or address;",
        "130 for Ctrl+C before the server was ready.",
        ".SH SIGNALS",
        "SIGINT and SIGTERM let responses finish, for at most \\-\\-grace seconds; a second one",
        "stops at once. SIGHUP reloads a server of several workers.",
    ]
    return "\n".join(text) + "\n"


def _roff(text: str) -> str:
    """Return a text with escapes, and no line that looks like a request."""
    escaped = text.strip().replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(
        f"\\&{line}" if line[:1] in {".", "'"} else line for line in escaped.split("\n")
    )


FILES = {"portico.bash": bash, "_portico": zsh, "portico.fish": fish, "portico.1": man}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, make in FILES.items():
        (FOLDER / name).write_text(make(), encoding="utf-8")
