"""The site's own rules: the present content of `_redirects` and `_headers` in its root.

Rule: a change of one of the files applies from the next response on, so every response depends on
both. A site without them adds only a dependency on the root folder, which every response has
anyway. A line with a mistake is reported with its number, and the other lines apply. A long file is
parsed in a thread, once for all threads of a worker.
Limits: a rules file larger than RULES_LIMIT is reported and ignored. At most REPORTS mistakes of a
file are reported.
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
    """The rules of a file, and its skipped lines."""
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
"""Most bytes of a rules file: about twice as many as the most and longest redirects need."""
PARSED_AT_ONCE = 8 << 10
"""Most bytes of a rules file that the loop parses itself, in some milliseconds."""
REPORTS = 20
"""Mistakes of a file that are reported one by one; the rest is counted."""
_REPORT_LENGTH = 300
"""Most characters of a report, which may quote a line of the file."""


def is_rules_file(names: tuple[str, ...]) -> bool:
    """Whether a path is `_redirects`, `_headers` or `portico.toml` in the root: not for clients.

    Their compressed siblings count, too. Case is ignored, as some file systems ignore it.
    """
    return len(names) == 1 and names[0].lower() in _HIDDEN


def warn(text: str) -> None:
    """Report `text` through `logging`, for programs that embed Portico."""
    import logging

    logging.getLogger("portico").warning(text)


class RulesParser:
    """Parses rules files, and keeps the last result for each file name. Thread-safe."""

    def __init__(self) -> None:
        self._lock = allocate_lock()  # so that several threads do not parse the same text
        self._known: dict[str, tuple[bytes, Parsed]] = {}

    def recall(self, name: str, text: bytes) -> Parsed | None:
        """Return the last result for the file `name` if it was for this `text`, else None."""
        known = self._known.get(name)
        return known[1] if known is not None and known[0] == text else None

    def parse(self, name: str, text: bytes) -> Parsed:
        """Return the rules in `text`, the content of the file `name`, however long that takes."""
        with self._lock:
            parsed = self.recall(name, text)
            if parsed is None:
                parsed = _parse(name, text.decode("utf-8", "replace"))
                self._known[name] = (text, parsed)
            return parsed


def _parse(name: str, text: str) -> Parsed:
    # Imported only for a site with such files, because most sites have none.
    if name == REDIRECTS:
        from portico.site.rules.redirects import parse_redirects

        return parse_redirects(text)
    from portico.site.rules.headers import parse_headers

    return parse_headers(text)


class Rulebook:
    """The rules of the site in `origin`; `report` is called with each mistake in them.

    `parser` can be shared by threads. With `may_wait`, long files are parsed in this thread;
    without it, Waiting is raised for a file that another thread has to parse first.
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
        """The dependencies of the rules: both files, whether they exist or not."""
        self._origin = origin
        self._report = report
        self._parser = parser or RulesParser()
        self._may_wait = may_wait
        self._texts: dict[str, bytes | None] = {}
        self._problems: dict[str, list[str]] = {}

    def bring_up_to_date(self, *, may_parse: bool = False) -> None:
        """Read the files again if they may have changed. Raises Waiting.

        With `may_parse`, long files are parsed in this call, even without `may_wait`.
        """
        if self._origin.freshness.holds(self.dependencies):
            return
        self.dependencies = ()
        try:
            for name in (REDIRECTS, HEADERS):
                self._read(name, may_parse=may_parse or self._may_wait)
            if self.dependencies is not None:  # that of the root twice, where there are none
                self.dependencies = tuple(dict.fromkeys(self.dependencies))
        except Waiting:
            self.dependencies = None  # a file has not been read: the next call starts again
            raise

    def _read(self, name: str, *, may_parse: bool) -> None:
        """Read the rules file `name`, and parse it if its content has changed."""
        found = self._origin.look_up((name,))
        self.dependencies = merge(self.dependencies, found.dependencies)
        text: bytes | None = None
        problems: list[str] = []
        if isinstance(found, Failed) and found.status == 503:
            if self._texts.get(name) is not None:
                return  # a shortage, such as of descriptors, passes; the old rules stay until then
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
        """Return the content of a rules file; forget the dependencies if it changed meanwhile."""
        octets = found.content.read()
        if found.content.has_changed():
            self.dependencies = None
        return octets

    def _apply(self, name: str, text: bytes | None, *, may_parse: bool) -> list[str]:
        """Replace the rules of the file `name` by those in `text`; return its mistakes.

        Raises Waiting if a thread has to parse the text.
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
        """Report the mistakes of the file `name`, unless they were the same the last time."""
        if problems != self._problems.get(name, []):
            for problem in problems[:REPORTS]:
                self._report(problem[:_REPORT_LENGTH])
            if len(problems) > REPORTS:
                more = f"{len(problems) - REPORTS:,} more lines are skipped"
                self._report(f"{name}: {more}; portico check tells them all")
        self._problems[name] = problems
