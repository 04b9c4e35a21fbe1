"""`portico check`: reports what would surprise on a site when Portico serves it.

Rule: what the server would decide is found out by calling the server's own code; nothing is sent
over a network. Exit codes: 0 if nothing is found, 1 if anything is, 2 for an operator's mistake.
Limits: those of the modules that do the checks (names, contents, links, rules).
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from portico.cli.check.contents import check_compressed, check_content, report_type
from portico.cli.check.findings import KINDS, Findings
from portico.cli.check.links import Links
from portico.cli.check.names import check_collisions, check_name, check_secret
from portico.cli.check.rules import check_rules
from portico.cli.terminal import (
    BOLD,
    CYAN,
    FOUND,
    GREEN,
    STDOUT,
    STOPPED,
    YELLOW,
    Parser,
    add_help,
    add_option,
    count,
    paint,
    printable,
    show,
    wants_color,
)
from portico.cli.walk import walk
from portico.config.config import Config, check_root
from portico.config.options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from portico.cli.check.findings import Finding
    from portico.cli.walk import Item

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

_SERVING = {"root", "listing", "clean_urls", "index", "base", "spa", "config", "color"}
"""The options of the server that change the findings, or how they are shown."""

_SHOWN_LOCATIONS = 3
"""Most further locations of a finding that are shown; --json has more (LOCATIONS_LIMIT)."""


def run(argv: Sequence[str]) -> int:
    """Check a site by the arguments of the command, and print the findings. Return the exit code.

    Raises ConfigError for a mistake of the operator.
    """
    given = vars(parser().parse(argv))
    ignored, strict, as_json = given.pop("ignore"), given.pop("strict"), given.pop("json")
    config = Config.load(given, os.environ)
    root = check_root(config)
    found, files = check(root, config, ignored, strict=strict)
    if as_json:
        show(_as_json(root, files, found))
    else:
        show(_as_text(files, found, color=wants_color(config.color, STDOUT)))
    return FOUND if found else STOPPED


def check(
    root: str, config: Config, ignored: Collection[str], *, strict: bool
) -> tuple[dict[str, list[Finding]], int]:
    """Return the findings in the folder `root`, by kind, and the number of files in it."""
    findings = Findings(ignored)
    links = Links(root, config, findings, strict=strict)
    files = 0
    untyped: list[Item] = []
    for folder in walk(root):
        check_collisions(folder.items, findings)
        check_compressed(folder.items, findings)
        for item in folder.items:
            files += item.is_file
            check_name(item, findings)
            is_secret = check_secret(item, findings)
            if item.is_reachable:
                links.know(item)
            is_read = (item.is_served and not is_secret) or item.is_rules_file
            if is_read and check_content(item, links, findings):
                untyped.append(item)
    for item in untyped:  # now that all links that offer to save a file are known
        report_type(item, links, findings)
    check_rules(root, links, findings)
    links.check()
    return findings.by_kind(), files


def parser() -> Parser:
    """Return the parser of this command."""
    kinds = "\n".join(f"  {kind:<12} {meaning}" for kind, meaning in KINDS.items())
    made = Parser("portico check", "[options] [DIR]", INTRO, OUTRO.format(kinds=kinds))
    add = made.add_argument_group("What is reported").add_argument
    ignore = "Leave out findings of this kind; may be repeated."
    add("--ignore", action="append", default=[], choices=KINDS, metavar="KIND", help=ignore)
    add("--strict", action="store_true", help="Report links that are redirected too.")
    add("--json", action="store_true", help="Write the findings as JSON.")
    served = made.add_argument_group("What is checked: the options of portico that matter here")
    for option in OPTIONS:
        if option.name in _SERVING:
            add_option(served, option)
    add_help(served)
    return made


def _as_text(files: int, found: dict[str, list[Finding]], *, color: bool) -> str:
    """Return one line for each finding, grouped by kind, and a summary as the last line."""
    seen = count(files, "file")
    if not found:
        return paint(f"Nothing found in {seen}.", GREEN, color=color)
    lines: list[str] = []
    for kind, findings in found.items():
        lines.append(f"{paint(kind, BOLD, color=color)}: {KINDS[kind]}")
        lines += [*[_line(finding, color=color) for finding in findings], ""]
    total = count(sum(map(len, found.values())), "finding")
    parts = ", ".join([f"{len(findings)} {kind}" for kind, findings in found.items()])
    summary = f"{total} in {seen}: {parts}."
    return "\n".join([*lines, paint(summary, YELLOW, color=color)])


def _line(finding: Finding, *, color: bool) -> str:
    """Return the line of a finding: location, what it is, what to do, further locations."""
    first, *also = [_shown(*location) for location in finding.places.kept]
    where = paint(first, CYAN, color=color)
    line = f"  {where}: {printable(f'{finding.what} {finding.cure}')}"
    if not also:
        return line
    rest = finding.places.count - 1 - _SHOWN_LOCATIONS
    more = f" and {rest} more" if rest > 0 else ""
    return f"{line} Also in {', '.join(also[:_SHOWN_LOCATIONS])}{more}."


def _shown(path: str, line: int) -> str:
    return printable(f"{path}:{line}" if line else path)


def _as_json(root: str, files: int, found: dict[str, list[Finding]]) -> str:
    """Return the findings as JSON; docs/check.md describes its keys."""
    report = {
        "root": root,
        "files": files,
        "counts": {kind: len(findings) for kind, findings in found.items()},
        "findings": [
            {
                "kind": kind,
                **_location(*places.kept[0]),
                "what": what,
                "cure": cure,
                "count": places.count,
                "also": [_location(*location) for location in places.kept[1:]],
            }
            for findings in found.values()
            for kind, what, cure, places in findings
        ],
    }
    return json.dumps(report, indent=2)


def _location(path: str, line: int) -> dict[str, object]:
    return {"path": path, "line": line or None}
