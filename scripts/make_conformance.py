"""Writes docs/conformance.md out of the cases: `python3 scripts/make_conformance.py`.

What it says of other servers comes from tests/conformance/others.json. With `--record` the cases
are first run against those that are installed, which takes some minutes, and that file is renewed.
A test fails while the page differs from what this would write.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "conformance.md"
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))

from tests.conformance.case import YES, Case  # noqa: E402 - from the checkout, by its path
from tests.conformance.catalogue import CASES, TITLES  # noqa: E402
from tests.conformance.differences import DIFFERENCES  # noqa: E402
from tests.conformance.others import OTHERS, Recorded, record, recorded  # noqa: E402

HEAD = """\
# Conformance: rule by rule

<!-- Written by scripts/make_conformance.py out of tests/conformance: change it there. -->

What RFC 9110 (HTTP semantics), RFC 9112 (HTTP/1.1) and RFC 9530 (digests) ask of a server that
serves files, rule by rule, and the test that holds it. Each row is a case: octets that are sent on
one connection, and what has to come back. The rules are in our own words; the RFCs' count.

A case's name is its test. To run one, or all of a kind:

<!-- not run: it is a run of these tests -->
```sh
./scripts/test tests/conformance/test_portico.py -k if-none-match
```

**Level** is the RFC's word. *ought* is its advice. *defined*: it says what something means, without
any such word. Where the level is MAY, *no* is no fault.

**Portico** says *yes* where that test passes, as it has to.

The same cases are run against {others}.
There *no* is followed by what came instead, such as a status. A *-* is followed by what the server
lacks for the rule to apply: range requests, entity tags and content codings are optional. nginx
runs with `gzip_static on`, `gzip_vary on`, `autoindex on` and `charset utf-8`; http.server with
`--protocol HTTP/1.1`, since otherwise it closes after each response. Both may have changed since
these versions; `scripts/make_conformance.py --record` takes those that are installed.

| | cases | yes | no: MUST | no: SHOULD | no: other | - |
| --- | --: | --: | --: | --: | --: | --: |
"""

ROW = (
    "| rule | level | test | Portico | nginx | http.server |\n| --- | --- | --- | --- | --- | --- |"
)


def conformance_markdown() -> str:
    """The whole page."""
    known = recorded()
    names = [f"{other.name} {known[other.name].version}" for other in OTHERS]
    portico = Recorded("", {case.name: _of_portico(case) for case in CASES})
    columns = {"Portico": portico, **known}
    lines = [HEAD.format(others=" and ".join(names)).rstrip("\n")]
    lines += [_sum(name, column) for name, column in columns.items()]
    if DIFFERENCES:
        lines += ["", "## Where Portico differs, and why", ""]
        lines += [f"- `{name}`: {each.reason}" for name, each in sorted(DIFFERENCES.items())]
    for number, cases in itertools.groupby(CASES, key=lambda case: case.section.split()[0]):
        lines += ["", f"## RFC {number}"]
        for section, rows in itertools.groupby(cases, key=lambda case: case.section):
            lines += ["", f"### {section.split()[1]} {TITLES[section]}", "", ROW]
            lines += [_row(case, columns) for case in rows]
    return "\n".join(lines) + "\n"


def _of_portico(case: Case) -> str:
    return f"no: {DIFFERENCES[case.name].answer}" if case.name in DIFFERENCES else YES


def _sum(name: str, column: Recorded) -> str:
    """A row of the summary: how many rules are kept, by level."""
    results = [(case.level.split()[0], column.results[case.name]) for case in CASES]
    broken = [level for level, result in results if result.startswith("no")]
    must, should = broken.count("MUST"), broken.count("SHOULD")
    counts = (
        *(len(results), sum(result == YES for _, result in results)),
        *(must, should, len(broken) - must - should),
        sum(result.startswith("-") for _, result in results),
    )
    return f"| {name} | {' | '.join(map(str, counts))} |"


def _row(case: Case, columns: dict[str, Recorded]) -> str:
    results = [_cell(column.results[case.name]) for column in columns.values()]
    return f"| {_cell(case.rule)} | {case.level} | `{case.name}` | {' | '.join(results)} |"


def _cell(text: str) -> str:
    """Text in which nothing means anything to Markdown."""
    for character in "\\|*<>_":
        text = text.replace(character, "\\" + character)
    return text


def main(arguments: list[str]) -> None:
    """Record if asked to; then write the page."""
    if arguments == ["--record"]:
        record()
    elif arguments:
        raise SystemExit("usage: make_conformance.py [--record]")
    PAGE.write_text(conformance_markdown(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
