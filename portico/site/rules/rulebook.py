"""The site's own rules as they are now: `_redirects` and `_headers` in its root.

Rule: a change of one of the files is in the next answer. So what they hold is part of what every
answer rests on; while there are none, that is only the look at the root that every answer has taken
anyway. A bad line is reported with its number, and the others apply.
Limit: a rules file beyond RULES_LIMIT is reported and ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.site.compression.encoders import SUFFIXES
from portico.site.origin.freshness import merge
from portico.site.origin.open_file import FileSlice, Waiting
from portico.site.origin.protocol import Failed, File

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from portico.site.origin.freshness import Dependencies
    from portico.site.origin.protocol import Origin
    from portico.site.rules.headers import HeaderRules
    from portico.site.rules.pattern import Problem
    from portico.site.rules.redirects import Redirects

    Report = Callable[[str], None]

REDIRECTS, HEADERS = "_redirects", "_headers"
_HIDDEN = frozenset(
    [name + suffix for name in (REDIRECTS, HEADERS) for suffix in ("", *SUFFIXES.values())]
)

RULES_LIMIT = 4 << 20
"""Octets of a rules file. All the lines that may count are shorter."""


def is_rules_file(names: tuple[str, ...]) -> bool:
    """Is it one of them, or a coded form of it? On some disks letters' case does not count."""
    return len(names) == 1 and names[0].lower() in _HIDDEN


def warn(text: str) -> None:
    """Report to the log of the program that Portico is a part of."""
    import logging

    logging.getLogger("portico").warning(text)


class Rulebook:
    """The rules of the site that `origin` holds; `report` is told what is wrong with them."""

    def __init__(self, origin: Origin, report: Report = warn) -> None:
        self.redirects: Redirects | None = None
        self.headers: HeaderRules | None = None
        self.dependencies: Dependencies = None
        """What the rules rest on."""
        self._origin = origin
        self._report = report
        self._texts: dict[str, bytes] = {}
        self._problems: dict[str, list[str]] = {}

    def bring_up_to_date(self) -> None:
        """Read the files again if they may have changed."""
        if not self._origin.freshness.holds(self.dependencies):
            self._read()

    def _read(self) -> None:
        self.dependencies = ()
        for name in (REDIRECTS, HEADERS):
            try:
                octets, why = self._octets(name)
            except Waiting:
                self.dependencies = None  # not all is read
                raise
            if octets is None:
                self._texts.pop(name, None)
                self._parse(name, None)
                self._complain(name, why)
            elif octets != self._texts.get(name):
                self._texts[name] = octets
                self._complain(name, self._parse(name, octets.decode("utf-8", "replace")))

    def _octets(self, name: str) -> tuple[bytes | None, list[str]]:
        """The file called `name`, None if there is none to be read, and why there is none.

        Its dependencies become the rules' own.
        """
        found = self._origin.look_up((name,))
        self.dependencies = merge(self.dependencies, found.dependencies)
        if isinstance(found, Failed) and found.status == 503:
            return self._texts.get(name), []  # a shortage passes; until then the rules stay
        if isinstance(found, Failed):
            return None, ["cannot be read, so its rules do not apply"]
        if not isinstance(found, File):
            return None, []
        if found.size > RULES_LIMIT:
            return None, [f"is longer than {RULES_LIMIT >> 20} MiB, so it does not apply"]
        content = found.content
        if not isinstance(content, FileSlice):
            return content if isinstance(content, bytes) else None, []
        octets = content.file.read_now(found.size, 0)
        if content.file.changed():
            self.dependencies = None
        return octets, []

    def _parse(self, name: str, text: str | None) -> list[str]:
        """Take in the text of the file called `name`; what is wrong with it."""
        problems: Sequence[Problem] = ()
        if name == REDIRECTS:
            self.redirects = None
            if text is not None:
                from portico.site.rules.redirects import parse_redirects

                self.redirects, problems = parse_redirects(text)
        else:
            self.headers = None
            if text is not None:
                from portico.site.rules.headers import parse_headers

                self.headers, problems = parse_headers(text)
        return [f"{problem}" for problem in problems]

    def _complain(self, name: str, problems: list[str]) -> None:
        """Report what is wrong, once for each state of the file."""
        if problems != self._problems.get(name, []):
            for problem in problems:
                self._report(f"{name}, {problem}" if problem[:4] == "line" else f"{name} {problem}")
        self._problems[name] = problems
