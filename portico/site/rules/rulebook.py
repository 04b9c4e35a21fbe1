"""The site's own rules as they are now: `_redirects` and `_headers` in its root.

Rule: a change of one of the files shows in the next response, so every response depends on them.
While there are none, that is only the dependency on the root that every response has anyway. A line
with a mistake is reported with its number, and the others apply.
Limit: a rules file larger than RULES_LIMIT is reported and ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.site.compression.encoders import SUFFIXES
from portico.site.origin.freshness import merge
from portico.site.origin.open_file import Waiting
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
"""Bytes of a rules file. All the lines that can apply are shorter together."""


def is_rules_file(names: tuple[str, ...]) -> bool:
    """Whether a path is one of them or its coded form, in any case: some disks ignore case."""
    return len(names) == 1 and names[0].lower() in _HIDDEN


def warn(text: str) -> None:
    """Report through `logging`, for programs that Portico is a part of."""
    import logging

    logging.getLogger("portico").warning(text)


class Rulebook:
    """The rules of the site in `origin`; `report` receives what is wrong with them."""

    def __init__(self, origin: Origin, report: Report = warn) -> None:
        self.redirects: Redirects | None = None
        self.headers: HeaderRules | None = None
        self.dependencies: Dependencies = None
        """What the rules depend on."""
        self._origin = origin
        self._report = report
        self._texts: dict[str, bytes | None] = {}
        self._problems: dict[str, list[str]] = {}

    def bring_up_to_date(self) -> None:
        """Read the files again if they may have changed. Raises Waiting."""
        if self._origin.freshness.holds(self.dependencies):
            return
        self.dependencies = ()
        try:
            for name in (REDIRECTS, HEADERS):
                self._read(name)
        except Waiting:
            self.dependencies = None  # not all has been read
            raise

    def _read(self, name: str) -> None:
        """Read a rules file; parse it if it has changed."""
        found = self._origin.look_up((name,))
        self.dependencies = merge(self.dependencies, found.dependencies)
        text: bytes | None = None
        problems: list[str] = []
        if isinstance(found, Failed) and found.status == 503:
            if self._texts.get(name) is not None:
                return  # a shortage passes; until then the rules stay
        elif isinstance(found, Failed):
            problems = [f"{name} cannot be read, so its rules do not apply"]
        elif isinstance(found, File) and found.size > RULES_LIMIT:
            problems = [f"{name} is longer than {RULES_LIMIT >> 20} MiB, so it does not apply"]
        elif isinstance(found, File):
            text = self._content(found)
        if text is None or text != self._texts.get(name):
            self._texts[name] = text
            problems += self._parse(name, text)
            self._complain(name, problems)

    def _content(self, found: File) -> bytes:
        """Return the content of a rules file."""
        octets = found.content.read()
        if found.content.has_changed():
            self.dependencies = None
        return octets

    def _parse(self, name: str, text: bytes | None) -> list[str]:
        """Replace the rules by those in the text of the file `name`; return its mistakes."""
        problems: Sequence[Problem] = ()
        decoded = None if text is None else text.decode("utf-8", "replace")
        if name == REDIRECTS:
            self.redirects = None
            if decoded is not None:
                from portico.site.rules.redirects import parse_redirects

                self.redirects, problems = parse_redirects(decoded)
        else:
            self.headers = None
            if decoded is not None:
                from portico.site.rules.headers import parse_headers

                self.headers, problems = parse_headers(decoded)
        return [f"{name}, {problem}" for problem in problems]

    def _complain(self, name: str, problems: list[str]) -> None:
        """Report mistakes, once for each state of the file."""
        if problems != self._problems.get(name, []):
            for problem in problems:
                self._report(problem)
        self._problems[name] = problems
