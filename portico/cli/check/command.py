"""`portico check`: what would surprise on a site when Portico serves it.

Rule: wherever the server decides something, the very code that decides it is asked; nothing goes
over a network. Exit codes: 0 when nothing is found, 1 when anything is, 2 for a misuse.
Limits: those of the modules that look (walk, names, leaks, siblings, contents, visits, own_rules).
"""

from __future__ import annotations

import os
import sys
from argparse import BooleanOptionalAction
from typing import TYPE_CHECKING

from portico.cli.check.contents import Contents
from portico.cli.check.findings import FINDINGS_LIMIT, KINDS, Findings
from portico.cli.check.leaks import check_leak
from portico.cli.check.names import check_folder, check_item
from portico.cli.check.own_rules import check_rules
from portico.cli.check.siblings import check_siblings
from portico.cli.check.visits import Visits
from portico.cli.check.walk import walk
from portico.cli.terminal import FOUND, STDOUT, STOPPED, Parser, formatter, printable, wants_color
from portico.config.config import Config, check_root
from portico.config.options import OPTIONS, SWITCH
from portico.site.origin.folder import Folder
from portico.site.origin.protocol import Missing
from portico.site.rules.rulebook import is_rules_file
from portico.site.site import Site

if TYPE_CHECKING:
    from argparse import Namespace, _ArgumentGroup
    from collections.abc import Sequence

    from portico.cli.check.findings import Finding, Place
    from portico.config.options import Option
    from portico.site.origin.protocol import Found, Origin

INTRO = """\
Tell what would surprise on a site when Portico serves it. With no options at
all: the current folder, one line for each finding.
"""

OUTRO = """\
The exit code is 0 when nothing is found, 1 when anything is, and 2 for a
mistake on the command line. Other hosts are not visited.

kinds:
{kinds}

examples:
  portico check public                       before it is published
  portico check public --ignore type         but for unknown media types
  portico check public --json > found.json   for programs
"""

MEMORY = 1 << 20
"""Octets of files that are kept while links are followed."""

_SERVING = ("root", "listing", "clean_urls", "spa", "config", "color")
"""The options of the server that change what is found, or how it is shown."""

_SHOWN_PLACES = 3
"""Further places of a finding that are shown; --json has more of them."""

_BOLD, _YELLOW, _CYAN, _GREEN = "1", "33", "36", "32"


def run(argv: Sequence[str]) -> int:
    """Check a site as the arguments behind `check` say; return the exit code.

    Raises ConfigError for a mistake of the operator.
    """
    given = _parser().parse_args(argv)
    values = {name: getattr(given, name) for name in _SERVING}
    options = {name: value for name, value in values.items() if value is not None}
    config = Config.load(options, os.environ)
    root = check_root(config)
    findings, files = check(root, config, given)
    if given.json:
        _write(_as_json(root, files, findings))
    else:
        _write(_as_text(files, findings, lit=wants_color(config.color, STDOUT)))
    return FOUND if findings.total else STOPPED


def check(root: str, config: Config, given: Namespace) -> tuple[Findings, int]:
    """What is found in the folder `root`, and how many files lie in it."""
    findings = Findings(given.ignore if given.strict else [*given.ignore, "redirected"])
    visits = Visits(_site(Folder(root, MEMORY), config), root, findings)
    visits.strict = given.strict
    visits.fragments = not config.spa  # there, scripts make the places
    contents = Contents(visits, findings)
    contents.fallback = ("index.html",) if config.spa else None
    contents.links = not {"link", "redirected"} <= findings.ignored
    files = 0
    for items in walk(root):
        check_folder(items, findings)
        check_siblings(items, findings)
        for item in items:
            files += item.is_file
            check_item(item, findings)
            leaks = check_leak(item, findings)
            if (item.is_served and not leaks) or is_rules_file(item.names):
                contents.check(item)
    unruled = Visits(_site(_Unruled(Folder(root, MEMORY)), config), root, findings)
    check_rules(root, findings, visits, unruled)
    visits.finish()
    return findings, files


def _site(origin: Origin, config: Config) -> Site:
    """The site as the server would have it. Its rules are looked at elsewhere."""
    return Site(origin, config, report=_say_nothing)


def _say_nothing(_text: str) -> None:
    pass


class _Unruled:
    """An origin as if it held no rules of its own; fulfils `origin.Origin`."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self.freshness = origin.freshness

    def look_up(self, names: tuple[str, ...]) -> Found:
        """What `names` stand for, if not for rules."""
        return Missing(()) if is_rules_file(names) else self._origin.look_up(names)


def _parser() -> Parser:
    kinds = "\n".join(f"  {kind:<12} {meaning}" for kind, meaning in KINDS.items())
    parser = Parser(
        prog="portico check",
        usage="portico check [options] [DIR]",
        description=INTRO,
        epilog=OUTRO.format(kinds=kinds),
        formatter_class=formatter,
        allow_abbrev=False,
        add_help=False,
    )
    own = parser.add_argument_group("What is reported")
    own.add_argument(
        "--ignore",
        action="append",
        default=[],
        choices=KINDS,
        metavar="KIND",
        help="Leave out findings of this kind; may be repeated.",
    )
    own.add_argument("--strict", action="store_true", help="Report links that are redirected too.")
    own.add_argument("--json", action="store_true", help="Write the findings as JSON.")
    served = parser.add_argument_group("What is checked: the options of portico that matter here")
    for option in OPTIONS:
        if option.name in _SERVING:
            _add(served, option)
    served.add_argument("-h", "--help", action="help", help="Show this text.")
    return parser


def _add(group: _ArgumentGroup, option: Option) -> None:
    """One of the server's own options; left out, it is None."""
    if option.positional:
        group.add_argument(
            option.name, nargs="?", metavar=option.flag, help="The folder to check (default: .)"
        )
    elif option.kind is SWITCH:
        group.add_argument(option.flag, action=BooleanOptionalAction, help=option.meaning)
    else:
        group.add_argument(option.flag, metavar=option.kind.metavar, help=option.meaning)


def _as_text(files: int, findings: Findings, *, lit: bool) -> str:
    """One line for each finding, grouped by kind, and a last one that sums up."""

    def paint(code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if lit else text

    lines: list[str] = []
    kind = ""
    for finding in findings.sorted():
        if finding.kind != kind:
            lines += _unkept(kind, findings)
            kind = finding.kind
            lines += [""] * bool(lines) + [f"{paint(_BOLD, kind)}: {KINDS[kind]}"]
        where = paint(_CYAN, _place(finding.place))
        lines.append(f"  {where}: {printable(_sentences(finding))}")
    lines += _unkept(kind, findings)
    seen = "1 file" if files == 1 else f"{files} files"
    if findings.total:
        parts = ", ".join(
            f"{findings.counts[kind]} {kind}" for kind in KINDS if kind in findings.counts
        )
        things = "1 finding" if findings.total == 1 else f"{findings.total} findings"
        lines += ["", paint(_YELLOW, f"{things} in {seen}: {parts}.")]
    else:
        lines.append(paint(_GREEN, f"Nothing found in {seen}."))
    return "\n".join([*lines, ""])


def _sentences(finding: Finding) -> str:
    """What a finding is, what to do, and where else it stands."""
    text = f"{finding.what} {finding.cure}"
    others = finding.count - 1
    if not others:
        return text
    shown = ", ".join(map(_place, finding.also[:_SHOWN_PLACES]))
    rest = others - len(finding.also[:_SHOWN_PLACES])
    return f"{text} Also in {shown}" + (f" and {rest} more." if rest else ".")


def _unkept(kind: str, findings: Findings) -> list[str]:
    rest = findings.counts.get(kind, 0) - FINDINGS_LIMIT
    return [f"  ... and {rest} more."] if rest > 0 else []


def _place(place: Place) -> str:
    path, line = place
    return printable(path if line is None else f"{path}:{line}")


def _as_json(root: str, files: int, findings: Findings) -> str:
    """All findings for programs; docs/check.md tells what each key means."""
    import json

    found = [
        {
            "kind": finding.kind,
            "path": finding.path,
            "line": finding.line,
            "what": finding.what,
            "cure": finding.cure,
            "count": finding.count,
            "also": [{"path": path, "line": line} for path, line in finding.also],
        }
        for finding in findings.sorted()
    ]
    report = {"root": root, "files": files, "counts": findings.counts, "findings": found}
    return json.dumps(report, indent=2) + "\n"


def _write(text: str) -> None:
    """Write to stdout, whatever characters it can take, for as long as somebody reads."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        return
