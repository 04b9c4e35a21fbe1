"""The site's own redirects and rewrites: the file _redirects, read and applied.

A line: source [name=value ...] destination [status[!]] [# comment].

Rule: the first rule that matches decides. Without "!" it stands back where the site has a file
(Netlify's shadowing): the caller obeys it only when its look-up has found nothing. A rule that
leads to where the request already is does not match, so no single rule can go round in a circle.
Limits: those of Cloudflare Pages, named below. What depends on the client (Country, Language, Role,
Cookie) and what would fetch from another host is reported and skipped.
Sources: Netlify Docs, "Redirects and rewrites", "Redirect options", "Rewrites and proxies";
Cloudflare Pages docs, "Redirects".
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from portico.http.fields import host_name
from portico.http.h1.grammar import HOST
from portico.site.rules.pattern import (
    ABSOLUTE,
    DOT_SEGMENT,
    BadRuleError,
    Captures,
    Index,
    Pattern,
    Problem,
    Template,
    as_received,
    as_written,
    names_in,
    neutral,
    normal_path,
    normal_segment,
    rule_lines,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

STATIC_LIMIT = 2000
"""Rules without a placeholder or splat in their source, as on Cloudflare Pages."""

DYNAMIC_LIMIT = 100
"""Rules with one, as on Cloudflare Pages. They are what a look-up has to try one by one."""

LINE_LIMIT = 1000
"""Characters of a line, as on Cloudflare Pages."""

DEFAULT_STATUS = "301"
"""The status of a rule that names none, as on Netlify; Cloudflare Pages has 302."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})
REWRITES = frozenset({200, 404})

_STATUS = re.compile(r"([0-9]{3})(!?)")
_CONDITION = re.compile(r"(country|language|role|cookie|sign(ed)?)=", re.IGNORECASE)
_SLASHES = re.compile(r"//+")


class Match:
    """What a rule says of a request."""

    __slots__ = ("forced", "line", "location", "status")

    def __init__(self, status: int, location: str, line: int, *, forced: bool) -> None:
        self.status = status
        self.location = location
        """For a redirect the value of Location; for 200 and 404 the path of the content, still
        percent-encoded, to be looked up as if it had been asked for, without asking rules again."""
        self.line = line
        """The rule's line in the file, from 1."""
        self.forced = forced


class _Parameter:
    """What a rule wants of one parameter of the query: a value, or any that is not empty."""

    __slots__ = ("placeholder", "value")

    def __init__(self, text: str) -> None:
        found = names_in(text)
        whole = bool(found) and text == f":{found[0]}"
        self.placeholder = found[0] if whole else None
        self.value = None if whole else _parameter_value(text)


class _Destination:
    """Where a rule leads. Raises BadRuleError for a text that is no destination."""

    __slots__ = ("_fragment", "_path", "_query", "host", "origin")

    def __init__(self, text: str, names: Sequence[str]) -> None:
        found = ABSOLUTE.fullmatch(text)
        self.origin, rest = _split_origin(text, found) if found else ("", text)
        self.host = known_host(found[1]) if found else ""
        """The host that it names, "" for the site's own, None where it also names a port."""
        if "splat" in names_in(rest) and "splat" not in names:
            raise BadRuleError('The destination has ":splat", but the source has no "*".')
        rest, hash_, fragment = rest.partition("#")
        path, mark, query = rest.partition("?")
        if path.startswith("//"):
            raise BadRuleError('A destination on another host must begin with "https://".')
        if DOT_SEGMENT.search(normal_path(path)):
            raise BadRuleError('The destination has a "." or ".." between slashes.')
        self._path = Template(path, names, as_written)
        self._query = Template(query, names, as_written, neutral) if mark else None
        self._fragment = Template(fragment, names, as_written, neutral) if hash_ else None

    def path_and_query(self, captures: Captures, query: str | None) -> tuple[str, str | None]:
        """The path and the query for what was captured; `query` where the rule has none."""
        path = self._path.fill(captures)
        if not self.origin:
            # An empty capture, or one that begins with a slash, must not make "//host".
            path = _SLASHES.sub("/", path)
        if self._query is not None:
            return path, self._query.fill(captures)
        return path, query and as_received(query)

    def location(self, path: str, query: str | None, captures: Captures) -> str:
        """The value of Location."""
        after = "" if query is None else f"?{query}"
        if self._fragment is not None:
            after = f"{after}#{self._fragment.fill(captures)}"
        return f"{self.origin}{path}{after}"


class Rule:
    """One line of the file. Raises BadRuleError for a line that is no rule."""

    __slots__ = ("destination", "forced", "line", "parameters", "pattern", "status")

    def __init__(self, text: str, line: int) -> None:
        if len(text) > LINE_LIMIT:
            raise BadRuleError(f"The line has more than {LINE_LIMIT} characters.")
        source, wanted, destination, options = _split_line(text)
        self.line = line
        self.pattern = Pattern(source)
        self.parameters = _parameters_wanted(wanted)
        self.status, self.forced = _status(options)
        named = [wish.placeholder for wish in self.parameters.values() if wish.placeholder]
        names = [*self.pattern.names, *named]
        if len(set(names)) < len(names):
            raise BadRuleError("Two placeholders have the same name.")
        self.destination = _Destination(destination, names)
        if self.status in REWRITES and self.destination.origin:
            raise BadRuleError(
                f"Content of another host cannot be served from here ({self.status})."
            )
        if self._leads_to_itself():
            raise BadRuleError("The rule leads to itself. (Schemes are not told apart here.)")

    def match(self, path: str, query: str | None, host: str) -> Match | None:
        """What the rule says of a path in normal form; None when it does not match."""
        captures = self.pattern.match(path, host)
        if captures is None or (self.parameters and not self._capture(query, captures)):
            return None
        new_path, new_query = self.destination.path_and_query(
            captures, None if self.parameters else query
        )
        found = normal_path(new_path)
        if DOT_SEGMENT.search(found):
            return None
        if self.status in REWRITES:
            stays = found == path and self.status == 200
            location = new_path
        else:
            stays = found == path and (new_query or "") == (query or "") and self._is_host(host)
            location = self.destination.location(new_path, new_query, captures)
        return None if stays else Match(self.status, location, self.line, forced=self.forced)

    def sample(self) -> tuple[str, str, str | None]:
        """A host, a path and a query that the rule matches."""
        host, path = self.pattern.sample()
        pairs = [f"{name}={wish.value or 'any~'}" for name, wish in self.parameters.items()]
        return host, path, "&".join(pairs) or None

    def identity(self) -> object:
        """What is the same in two rules for the same requests."""
        wishes = {(name, wish.value) for name, wish in self.parameters.items()}
        return self.pattern.identity, frozenset(wishes)

    def _is_host(self, host: str) -> bool:
        """Does the rule stay on `host`? One that names a port is taken to leave it."""
        return self.destination.host in {"", host}

    def _capture(self, query: str | None, captures: Captures) -> bool:
        """Does `query` have exactly the wanted parameters? Their values are added to `captures`."""
        given = _parameters_given(query or "")
        if given is None or given.keys() != self.parameters.keys():
            return False
        for name, wish in self.parameters.items():
            if wish.placeholder is None:
                if given[name] != wish.value:
                    return False
            elif given[name]:
                captures[wish.placeholder] = given[name]
            else:
                return False
        return True

    def _leads_to_itself(self) -> bool:
        """Whether each request that the rule is for is already where it leads."""
        if self.parameters or self.status == 404:
            return False
        host, path = self.pattern.sample()
        path = normal_path(path)
        return self.match(path, None, host) is None and self.match(path, "any~", host) is None


class Redirects:
    """The rules of a _redirects file."""

    __slots__ = ("_index", "rules")

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self.rules = tuple(rules)
        self._index = Index([rule.pattern for rule in rules])

    def __len__(self) -> int:
        return len(self.rules)

    def match(self, path: str, query: str | None, host: str) -> Match | None:
        """What the first rule that matches says; None when none does.

        `path` and `query` are as they came, `host` as `fields.host_name` gives it. What is not
        `forced` gives way to an existing file.
        """
        path = normal_path(path)
        for number in self._index.candidates(path):
            found = self.rules[number].match(path, query, host)
            if found is not None:
                return found
        return None


def parse_redirects(text: str) -> tuple[Redirects, list[Problem]]:
    """The rules of a _redirects file, and the lines that were skipped. Never raises."""
    rules = _Rules()
    problems = []
    for line, content in rule_lines(text):
        try:
            rules.add(Rule(content, line))
        except BadRuleError as error:
            problems.append(Problem(line, content, str(error)))
    return Redirects(rules.kept), problems


class _Rules:
    """The rules of one file, as they are read."""

    __slots__ = ("_dynamic", "_lines", "kept")

    def __init__(self) -> None:
        self.kept: list[Rule] = []
        self._dynamic = 0
        self._lines: dict[object, int] = {}

    def add(self, rule: Rule) -> None:
        """Keep `rule`. Raises BadRuleError where it can never match, and when there is no room."""
        identity = rule.identity()
        if identity in self._lines:
            raise BadRuleError(f"Line {self._lines[identity]} already decides the same requests.")
        if rule.pattern.literal is None:
            if self._dynamic == DYNAMIC_LIMIT:
                raise BadRuleError(f"There are already {DYNAMIC_LIMIT} rules with placeholders.")
            self._dynamic += 1
        elif len(self.kept) - self._dynamic == STATIC_LIMIT:
            raise BadRuleError(f"There are already {STATIC_LIMIT} rules without placeholders.")
        self._lines[identity] = rule.line
        self.kept.append(rule)


def _split_line(text: str) -> tuple[str, list[str], str, list[str]]:
    """The source, the parameters, the destination, and what follows."""
    source, *others = text.split()
    comment = next((at for at, word in enumerate(others) if word.startswith("#")), None)
    others = others[:comment]
    place = next(
        (at for at, word in enumerate(others) if word[0] == "/" or ABSOLUTE.match(word)), None
    )
    if place is None:
        raise BadRuleError('A destination is missing; it begins with "/" or "https://".')
    return source, others[:place], others[place], others[place + 1 :]


def _status(options: list[str]) -> tuple[int, bool]:
    """The status, and whether it is forced, from what follows the destination."""
    for option in options:
        if _CONDITION.match(option):
            raise BadRuleError(
                f'Conditions such as "{option.partition("=")[0]}" are not supported.'
            )
    if len(options) > 1:
        raise BadRuleError(f'"{options[1]}" after the status means nothing here.')
    found = _STATUS.fullmatch(options[0] if options else DEFAULT_STATUS)
    status = int(found[1]) if found else 0
    if found is None or status not in REDIRECTS | REWRITES:
        raise BadRuleError("The status must be 200, 301, 302, 303, 307, 308 or 404.")
    return status, bool(found[2])


def _parameters_wanted(words: list[str]) -> dict[str, _Parameter]:
    wanted: dict[str, _Parameter] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise BadRuleError(f'"{word}" is neither a query parameter "name=value" nor a path.')
        name = _parameter_value(name)
        if name in wanted:
            raise BadRuleError(f'The query parameter "{name}" is named twice.')
        wanted[name] = _Parameter(value)
    return wanted


@lru_cache(maxsize=8)
def _parameters_given(query: str) -> dict[str, str] | None:
    """The parameters of a query; None when there are too many for any rule, or one twice.

    Remembered, because all rules for one path ask for the same query.
    """
    if query.count("&") >= LINE_LIMIT // len("a=b "):
        return None
    pairs = [pair.partition("=") for pair in query.split("&")]
    given = {_parameter_value(name): _parameter_value(value) for name, _, value in pairs}
    return given if len(given) == len(pairs) else None


def _parameter_value(text: str) -> str:
    """A parameter's name or value in normal form; there "+" is a space."""
    return normal_segment(text.replace("+", "%20"))


def _split_origin(text: str, found: re.Match[str]) -> tuple[str, str]:
    """A destination's scheme and authority, and what follows them."""
    authority = found[1]
    if not HOST.fullmatch(authority):
        raise BadRuleError("The destination must name its host in full, without placeholders.")
    return text[: found.end(1)], found[2] if found[2].startswith("/") else f"/{found[2]}"


def known_host(authority: str) -> str | None:
    """The host of an authority, "" for none; None when it has a port: ours is not known here."""
    found = HOST.fullmatch(authority)
    return host_name(authority) if found and not found[2] else None
