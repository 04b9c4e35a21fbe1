"""The site's own rules as they are now: `_redirects` and `_headers` in its root.

Rule: a change of one of the files shows in the next response, so every response depends on them.
While there are none, that is only the dependency on the root that every response has anyway. A line
with a mistake is reported with its number, and the others apply. A long file is parsed in a thread,
once for all threads of a worker.
Limits: a rules file larger than RULES_LIMIT is reported and ignored. Of one file, REPORTS mistakes
are reported.
"""

from __future__ import annotations

from _thread import allocate_lock
from typing import TYPE_CHECKING, cast

from portico.config.config import DEFAULT_FILE
from portico.site.compression.encoders import SUFFIXES
from portico.site.origin.freshness import merge
from portico.site.origin.open_file import Waiting
from portico.site.origin.protocol import Failed, File

if TYPE_CHECKING:
    from collections.abc import Callable

    from portico.site.origin.freshness import Dependencies
    from portico.site.origin.protocol import Origin
    from portico.site.rules.headers import HeaderRules
    from portico.site.rules.pattern import Problem
    from portico.site.rules.redirects import Redirects

    Parsed = tuple[Redirects | HeaderRules, list[Problem]]
    """The rules in a file, and the lines that were skipped."""
    Report = Callable[[str], None]

REDIRECTS, HEADERS = "_redirects", "_headers"
_HIDDEN = frozenset(
    [
        name + suffix
        for name in (REDIRECTS, HEADERS, DEFAULT_FILE)
        for suffix in ("", *SUFFIXES.values())
    ]
)

RULES_LIMIT = 4 << 20
"""Bytes of a rules file. All the lines that can apply are shorter together."""
PARSED_AT_ONCE = 8 << 10
"""Bytes of a rules file that the loop parses itself, in some milliseconds."""
REPORTS = 20
"""Mistakes of a file that are reported one by one."""
_REPORT_LENGTH = 300
"""Characters of a report; it may quote a line."""


def is_rules_file(names: tuple[str, ...]) -> bool:
    """Whether a path is one of them, or portico.toml, which is none for clients either.

    Their coded forms count, and case does not: some disks ignore it.
    """
    return len(names) == 1 and names[0].lower() in _HIDDEN


def warn(text: str) -> None:
    """Report through `logging`, for programs that Portico is a part of."""
    import logging

    logging.getLogger("portico").warning(text)


class RulesParser:
    """Parses rules files, and keeps of each what came of it last. Thread-safe."""

    def __init__(self) -> None:
        self._lock = allocate_lock()  # so that several threads do not do the same work
        self._known: dict[str, tuple[bytes, Parsed]] = {}

    def recall(self, name: str, text: bytes) -> Parsed | None:
        """Return what came of this text of the file `name`, if it was parsed last."""
        known = self._known.get(name)
        return known[1] if known is not None and known[0] == text else None

    def parse(self, name: str, text: bytes) -> Parsed:
        """Return the rules in the text of the file `name`, however long that takes."""
        with self._lock:
            parsed = self.recall(name, text)
            if parsed is None:
                parsed = _parse(name, text.decode("utf-8", "replace"))
                self._known[name] = (text, parsed)
            return parsed


def _parse(name: str, text: str) -> Parsed:
    # Imported when there are such files, because most sites have none.
    if name == REDIRECTS:
        from portico.site.rules.redirects import parse_redirects

        return parse_redirects(text)
    from portico.site.rules.headers import parse_headers

    return parse_headers(text)


class Rulebook:
    """The rules of the site in `origin`; `report` receives what is wrong with them.

    `parser` can be shared by threads. With `may_wait` long files are parsed; without it Waiting is
    raised where another thread has to do that first.
    """

    def __init__(
        self,
        origin: Origin,
        report: Report = warn,
        parser: RulesParser | None = None,
        *,
        may_wait: bool = True,
    ) -> None:
        self.redirects: Redirects | None = None
        self.headers: HeaderRules | None = None
        self.dependencies: Dependencies = None
        """What the rules depend on."""
        self._origin = origin
        self._report = report
        self._parser = parser or RulesParser()
        self._may_wait = may_wait
        self._texts: dict[str, bytes | None] = {}
        self._problems: dict[str, list[str]] = {}

    def bring_up_to_date(self, *, may_parse: bool = False) -> None:
        """Read the files again if they may have changed. Raises Waiting.

        With `may_parse` long ones are parsed now.
        """
        if self._origin.freshness.holds(self.dependencies):
            return
        self.dependencies = ()
        try:
            for name in (REDIRECTS, HEADERS):
                self._read(name, may_parse=may_parse or self._may_wait)
        except Waiting:
            self.dependencies = None  # not all has been read
            raise

    def _read(self, name: str, *, may_parse: bool) -> None:
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
            skipped = self._apply(name, text, may_parse=may_parse)
            self._texts[name] = text
            self._complain(name, problems + skipped)

    def _content(self, found: File) -> bytes:
        """Return the content of a rules file."""
        octets = found.content.read()
        if found.content.has_changed():
            self.dependencies = None
        return octets

    def _apply(self, name: str, text: bytes | None, *, may_parse: bool) -> list[str]:
        """Replace the rules by those in the text of the file `name`; return its mistakes.

        Raises Waiting.
        """
        parsed = None
        if text is not None:
            parsed = self._parser.recall(name, text)
            if parsed is None:
                if not may_parse and len(text) > PARSED_AT_ONCE:
                    raise Waiting(REDIRECTS)
                parsed = self._parser.parse(name, text)
        rules, problems = (None, []) if parsed is None else parsed
        if name == REDIRECTS:
            self.redirects = cast("Redirects | None", rules)
        else:
            self.headers = cast("HeaderRules | None", rules)
        return [f"{name}, {problem}" for problem in problems]

    def _complain(self, name: str, problems: list[str]) -> None:
        """Report mistakes, once for each state of the file."""
        if problems != self._problems.get(name, []):
            for problem in problems[:REPORTS]:
                self._report(problem[:_REPORT_LENGTH])
            if len(problems) > REPORTS:
                more = f"{len(problems) - REPORTS:,} more lines are skipped"
                self._report(f"{name}: {more}; portico check tells them all")
        self._problems[name] = problems
