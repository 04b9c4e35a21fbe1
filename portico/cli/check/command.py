"""`portico check`: what would surprise on a site when Portico serves it.

Rule: wherever the server decides something, the code that decides it is asked; nothing goes over a
network. Exit codes: 0 when nothing is found, 1 when anything is, 2 for a mistake of the operator.
Limits: those of the modules that look (names, leaks, compressed, contents, link_checker, rules).
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from portico.cli.check.compressed import check_compressed
from portico.cli.check.contents import Contents
from portico.cli.check.findings import FINDINGS_LIMIT, KINDS, Findings
from portico.cli.check.leaks import check_leak
from portico.cli.check.link_checker import LinkChecker
from portico.cli.check.names import check_collisions, check_name
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
from portico.site.origin.folder import Folder
from portico.site.origin.protocol import Missing
from portico.site.rules.rulebook import is_rules_file
from portico.site.site import Site

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from portico.cli.check.findings import Finding, Location
    from portico.site.origin.protocol import Found

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

_MEMORY = 1 << 20
"""Octets of files that are kept while links are followed."""

_SERVING = {"root", "listing", "clean_urls", "spa", "config", "color"}
"""The options of the server that change what is found, or how it is shown."""

_SHOWN_LOCATIONS = 3
"""Further locations of a finding that are shown; --json has more of them."""


def run(argv: Sequence[str]) -> int:
    """Check a site as these arguments say. Return the exit code.

    Raises ConfigError for a mistake of the operator.
    """
    given = vars(_parser().parse(argv))
    ignored, strict, as_json = given.pop("ignore"), given.pop("strict"), given.pop("json")
    config = Config.load(given, os.environ)
    root = check_root(config)
    findings, files = check(root, config, ignored, strict=strict)
    if as_json:
        show(_as_json(root, files, findings))
    else:
        show(_as_text(files, findings, color=wants_color(config.color, STDOUT)))
    return FOUND if findings.total else STOPPED


def check(
    root: str, config: Config, ignored: Collection[str], *, strict: bool
) -> tuple[Findings, int]:
    """Return what is found in the folder `root`, and how many files lie in it."""
    findings = Findings(ignored if strict else [*ignored, "redirected"])
    site = _site(Folder(root, _MEMORY), config)
    fragments = not config.spa  # there, scripts make the elements
    checker = LinkChecker(site, root, findings, strict=strict, fragments=fragments)
    fallback = "index.html" if config.spa else None
    links = not {"link", "redirected"} <= findings.ignored
    contents = Contents(checker, findings, fallback=fallback, links=links)
    files = 0
    for folder in walk(root):
        check_collisions(folder.items, findings)
        check_compressed(folder.items, findings)
        for item in folder.items:
            files += item.is_file
            check_name(item, findings)
            is_leak = check_leak(item, findings)
            if (item.is_served and not is_leak) or item.is_rules_file:
                contents.check(item)
    without_rules = LinkChecker(_site(_WithoutRules(root, _MEMORY), config), root, findings)
    check_rules(root, findings, checker, without_rules)
    checker.check_fragments()
    return findings, files


def _site(folder: Folder, config: Config) -> Site:
    """Return the site as the server would have it. What is wrong with its rules is found here."""
    return Site(folder, config, report=lambda _text: None)


class _WithoutRules(Folder):
    """A folder as if it held no rules of its own."""

    def look_up(self, names: tuple[str, ...]) -> Found:
        """Return what `names` stand for, unless it is a rules file."""
        return Missing(()) if is_rules_file(names) else super().look_up(names)


def _parser() -> Parser:
    kinds = "\n".join(f"  {kind:<12} {meaning}" for kind, meaning in KINDS.items())
    parser = Parser("portico check", "[options] [DIR]", INTRO, OUTRO.format(kinds=kinds))
    add = parser.add_argument_group("What is reported").add_argument
    ignore = "Leave out findings of this kind; may be repeated."
    add("--ignore", action="append", default=[], choices=KINDS, metavar="KIND", help=ignore)
    add("--strict", action="store_true", help="Report links that are redirected too.")
    add("--json", action="store_true", help="Write the findings as JSON.")
    served = parser.add_argument_group("What is checked: the options of portico that matter here")
    for option in OPTIONS:
        if option.name in _SERVING:
            add_option(served, option)
    add_help(served)
    return parser


def _as_text(files: int, findings: Findings, *, color: bool) -> str:
    """Return one line for each finding, grouped by kind, and a last one that sums up."""
    lines: list[str] = []
    for kind in KINDS:
        found = [finding for finding in findings.sorted() if finding.kind == kind]
        if not found:
            continue
        lines += [""] * bool(lines) + [f"{paint(kind, BOLD, color=color)}: {KINDS[kind]}"]
        for finding in found:
            where = paint(_shown(finding.location), CYAN, color=color)
            lines.append(f"  {where}: {printable(_sentences(finding))}")
        rest = findings.counts[kind] - FINDINGS_LIMIT
        lines += [f"  ... and {rest} more."] if rest > 0 else []
    seen = count(files, "file")
    if not findings.total:
        return paint(f"Nothing found in {seen}.", GREEN, color=color)
    parts = [f"{findings.counts[kind]} {kind}" for kind in KINDS if kind in findings.counts]
    total = count(findings.total, "finding")
    summary = f"{total} in {seen}: {', '.join(parts)}."
    return "\n".join([*lines, "", paint(summary, YELLOW, color=color)])


def _sentences(finding: Finding) -> str:
    """Return what a finding is, what to do, and where else it is."""
    text = f"{finding.what} {finding.cure}"
    if finding.count == 1:
        return text
    shown = finding.also[:_SHOWN_LOCATIONS]
    rest = finding.count - 1 - len(shown)
    return f"{text} Also in {', '.join(map(_shown, shown))}" + (
        f" and {rest} more." if rest else "."
    )


def _shown(location: Location) -> str:
    path, line = location
    return printable(path if line is None else f"{path}:{line}")


def _as_json(root: str, files: int, findings: Findings) -> str:
    """Return all findings for programs; docs/check.md tells what each key means."""
    found = [
        {
            "kind": finding.kind,
            "path": finding.location[0],
            "line": finding.location[1],
            "what": finding.what,
            "cure": finding.cure,
            "count": finding.count,
            "also": [{"path": path, "line": line} for path, line in finding.also],
        }
        for finding in findings.sorted()
    ]
    report = {"root": root, "files": files, "counts": findings.counts, "findings": found}
    return json.dumps(report, indent=2)
