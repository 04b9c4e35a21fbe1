"""A site's own rules, _redirects and _headers: lines that are skipped, and redirects astray.

Rule: the files are read by the code that the server reads them with.
Limit: where a destination has placeholders, what it leads to is not known and not looked for.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from portico.cli.check.links import Link
from portico.cli.check.references import OWN, resolve, shown_path
from portico.cli.check.visits import PARSE_LIMIT
from portico.site.rules.headers import parse_headers
from portico.site.rules.pattern import normal_path
from portico.site.rules.redirects import HOPS_LIMIT, REWRITES, find_cycles, parse_redirects
from portico.site.rules.rulebook import HEADERS, REDIRECTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from portico.cli.check.findings import Findings
    from portico.cli.check.visits import Visits
    from portico.site.rules.pattern import Problem
    from portico.site.rules.redirects import Redirects

_CAPTURED = "any~"
"""Stands in what a sample of a pattern captures (see `rules.Pattern.sample`)."""


def check_rules(root: str, findings: Findings, visits: Visits, unruled: Visits) -> None:
    """Report what is wrong with the rules in the folder `root`.

    `visits` asks the site, `unruled` the same site without any rules.
    """
    redirects, problems = parse_redirects(_text(root, REDIRECTS))
    _report(REDIRECTS, problems, findings)
    _report(HEADERS, parse_headers(_text(root, HEADERS))[1], findings)

    def exists(path: str) -> bool:
        return 0 < unruled.verdict(path, navigates=False).status < 400

    for loop in find_cycles(redirects, exists):
        others = ", ".join(map(str, loop.lines[1:]))
        through = f" with line {others}" if others else ""
        findings.add(
            "loop",
            (REDIRECTS, loop.lines[0]),
            f"A request for {shown_path(loop.start)} goes round here{through}, or on for more "
            f"than {HOPS_LIMIT} redirects, and never arrives.",
            "Have one of these rules lead to where no other one matches.",
        )
    _check_destinations(redirects, findings, visits, unruled)


def _check_destinations(
    redirects: Redirects, findings: Findings, visits: Visits, unruled: Visits
) -> None:
    """Report rules that lead to nothing in this site."""
    for rule in redirects.rules:
        host, path, query = rule.sample()
        found = rule.match(normal_path(path), query, host)
        if found is None or _CAPTURED in found.location:
            continue
        target = resolve(OWN + "/", found.location)
        if target is None:
            continue
        if found.status not in REWRITES:
            if visits.verdict(target.path, navigates=True).status:  # else it is part of a loop
                link = Link(found.location, rule.line, navigates=True)
                visits.links(REDIRECTS, OWN + "/", [link])
        elif unruled.verdict(target.path, navigates=False).status != 200:
            findings.add(
                "link",
                (REDIRECTS, rule.line),
                f"The rule answers with the content of {shown_path(target.path)}, but there is "
                "none.",
                "Correct the destination, or add what it names.",
            )


def _report(name: str, problems: Iterable[Problem], findings: Findings) -> None:
    for problem in problems:
        what = f"This line is skipped. {problem.why}"
        findings.add("rule", (name, problem.line), what, "Correct or delete it.")


def _text(root: str, name: str) -> str:
    try:
        with open(os.path.join(root, name), "rb") as file:
            return file.read(PARSE_LIMIT).decode("utf-8", "replace")
    except OSError:
        return ""
