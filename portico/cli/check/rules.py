"""Checks a site's rules, _redirects and _headers: skipped lines, loops, missing destinations.

Rule: the files are parsed by the server's own code.
Limit: a destination with placeholders is not checked, because its path depends on the request.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from portico.cli.check.extraction import Link
from portico.cli.check.findings import Places
from portico.cli.check.links import OWN, PARSE_LIMIT, resolve, shown_path
from portico.site.rules.headers import parse_headers
from portico.site.rules.pattern import normal_path
from portico.site.rules.redirects import HOPS_LIMIT, REWRITES, find_cycles, parse_redirects
from portico.site.rules.rulebook import HEADERS, REDIRECTS

if TYPE_CHECKING:
    from portico.cli.check.findings import Findings
    from portico.cli.check.links import Links
    from portico.site.rules.redirects import Rule

_CAPTURED = "any~"
"""Occurs in each word that a sample of a pattern captures (see `pattern.Pattern.sample`)."""


def check_rules(root: str, links: Links, findings: Findings) -> None:
    """Report what is wrong with the rules in the folder `root`."""
    redirects, problems = parse_redirects(_text(root, REDIRECTS))
    header_problems = parse_headers(_text(root, HEADERS))[1]
    for name, found in ((REDIRECTS, problems), (HEADERS, header_problems)):
        for problem in found:
            what = f"This line is skipped. {problem.why}"
            findings.add("rule", Places(name, problem.line), what, "Correct or delete it.")
    for cycle in find_cycles(redirects, links.has_file):
        others = ", ".join(map(str, cycle.lines[1:]))
        through = f" with line {others}" if others else ""
        what = (
            f"A request for {shown_path(cycle.start)} goes round here{through}, or on for more "
            f"than {HOPS_LIMIT} redirects, and never arrives."
        )
        cure = "Have one of these rules lead to where no other one matches."
        findings.add("loop", Places(REDIRECTS, cycle.lines[0]), what, cure)
    for rule in redirects.rules:
        _check_destination(rule, links, findings)


def _check_destination(rule: Rule, links: Links, findings: Findings) -> None:
    """Report a rule whose destination is in this site, but does not exist there."""
    host, path, query = rule.sample()
    found = rule.match(normal_path(path), query, host)
    if found is None or _CAPTURED in found.location:
        return
    target = resolve(OWN + "/", found.location)
    if target is None:
        return
    if found.status not in REWRITES:
        if links.follow(target.path, navigates=True).status:  # status 0: a loop, reported above
            links.add(REDIRECTS, OWN + "/", Link(found.location, rule.line, navigates=True))
    elif not links.has_file(target.path):
        what = f"The rule answers with the content of {shown_path(target.path)}, but there is none."
        cure = "Correct the destination, or add what it names."
        findings.add("link", Places(REDIRECTS, rule.line), what, cure)


def _text(root: str, name: str) -> str:
    try:
        with open(os.path.join(root, name), "rb") as file:
            return file.read(PARSE_LIMIT).decode("utf-8", "replace")
    except OSError:
        return ""
