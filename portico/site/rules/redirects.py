"""The site's own redirects and rewrites: the file _redirects, parsed and applied.

A line: source [name=value ...] destination [status[!]] [# comment].

Rule: the first rule that matches decides. Without "!", a file of the site takes precedence (Netlify
calls this shadowing): the caller applies the rule only if there is no file. A rule whose
destination is the request itself does not match, so no rule can redirect to itself.
Limits: those of Cloudflare Pages, named below. Rules that depend on the client (Country, Language,
Role, Cookie), or that would fetch content from another host, are reported and skipped.
Sources: Netlify Docs, "Redirects and rewrites", "Redirect options", "Rewrites and proxies";
Cloudflare Pages docs, "Redirects".
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from portico.http.fields import host_name
from portico.http.h1.grammar import HOST
from portico.http.status import REDIRECTS
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
    captures_path,
    check_length,
    names_in,
    neutral,
    normal_path,
    normal_segment,
    rule_lines,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    _Request = tuple[str, str, str | None]
    """Host, path in normal form, query (None if there is none)."""

STATIC_LIMIT = 2000
"""Most rules without a placeholder or splat in their source's path, as on Cloudflare Pages."""

DYNAMIC_LIMIT = 100
"""Most rules with a placeholder or splat there, as on Cloudflare Pages. A look-up may try each."""

LINE_LIMIT = 1000
"""Most characters of a line, as on Cloudflare Pages."""

LOCATION_LIMIT = 16 << 10
"""Most characters of a destination with its captures. A rule does not match if it would have more:
no client accepts such a field, and several splats multiply the path of a request."""

DEFAULT_STATUS = "301"
"""The status of a rule without a status, as on Netlify; Cloudflare Pages has 302."""

HOPS_LIMIT = 20
"""Successive redirects after which browsers give up (WHATWG Fetch, "HTTP-redirect fetch")."""

REWRITES = frozenset({200, 404})
"""Statuses whose rules serve other content at the requested URL, instead of redirecting."""

_STATUS = re.compile(r"([0-9]{3})(!?)")
_CONDITION = re.compile(r"(country|language|role|cookie|sign(ed)?)=", re.ASCII | re.IGNORECASE)
_SLASHES = re.compile(r"//+")


class Match(NamedTuple):
    """The decision of a rule for a request."""

    status: int
    location: str
    """For a redirect, the value of Location. For 200 and 404, the path of the content, still
    percent-encoded: look it up like a requested path, without applying rules."""
    line: int
    """The rule's line in the file, from 1."""
    forced: bool
    """Whether the rule takes precedence over a file ("!")."""


class _Parameter:
    """A rule's requirement of one query parameter: a certain value, or a placeholder.

    A placeholder stands for any value that is not empty.
    """

    def __init__(self, text: str) -> None:
        found = names_in(text)
        whole = bool(found) and text == f":{found[0]}"
        self.placeholder = found[0] if whole else None
        self.value = None if whole else _parameter_value(text)


class _Destination:
    """The destination of a rule. Raises BadRuleError for a text that is not a valid one."""

    def __init__(self, text: str, names: Sequence[str]) -> None:
        found = ABSOLUTE.fullmatch(text)
        self.origin, rest = _split_origin(text, found) if found else ("", text)
        self.host = _host_of(found[1]) if found else ""
        """The destination's host; "" for the site's own, None if the destination has a port."""
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
        self.has_query = bool(mark)
        self._fragment = Template(fragment, names, as_written, neutral) if hash_ else None

    def size(self, captures: Captures) -> int:
        """Return the approximate length of the destination with `captures`."""
        templates = (self._path, self._query, self._fragment)
        return sum([template.size(captures) for template in templates if template is not None])

    def path_and_query(self, captures: Captures, query: str | None) -> tuple[str, str | None]:
        """Return path and query with `captures`; the request's `query` if the rule has none."""
        path = self._path.fill(captures)
        if not self.origin:
            # An empty capture, or one that begins with a slash, must not make "//host".
            path = _SLASHES.sub("/", path)
        if self._query is not None:
            return path, self._query.fill(captures)
        return path, query and as_received(query)

    def location(self, path: str, query: str | None, captures: Captures) -> str:
        """Return the value of Location for this path and query."""
        after = "" if query is None else f"?{query}"
        if self._fragment is not None:
            after = f"{after}#{self._fragment.fill(captures)}"
        return f"{self.origin}{path}{after}"


class Rule:
    """The rule in one line of the file. Raises BadRuleError for a line that is not a valid rule."""

    def __init__(self, text: str, line: int) -> None:
        check_length(text, LINE_LIMIT)
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
        """Return the rule's decision for a path in normal form; None if it does not match."""
        captures = self.pattern.match(path, host)
        if captures is None or (self.parameters and not self._capture(query, captures)):
            return None
        if captures and self.destination.size(captures) > LOCATION_LIMIT:
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
            is_same_host = self.destination.host in {"", host}
            stays = is_same_host and found == path and (new_query or "") == (query or "")
            location = self.destination.location(new_path, new_query, captures)
        return None if stays else Match(self.status, location, self.line, self.forced)

    def sample(self) -> tuple[str, str, str | None]:
        """Return a host, a path and a query that the rule matches."""
        host, path = self.pattern.sample()
        pairs = [f"{name}={wish.value or 'any~'}" for name, wish in self.parameters.items()]
        return host, path, "&".join(pairs) or None

    def identity(self) -> object:
        """Return a value that is equal for two rules that match the same requests."""
        wishes = {(name, wish.value) for name, wish in self.parameters.items()}
        return self.pattern.identity, frozenset(wishes)

    def _capture(self, query: str | None, captures: Captures) -> bool:
        """Whether `query` has exactly the required parameters; if so, add them to `captures`."""
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
        """Whether the destination of every request that the rule matches is the request itself."""
        if self.parameters or self.status == 404:
            return False
        host, path = self.pattern.sample()
        path = normal_path(path)
        return self.match(path, None, host) is None and self.match(path, "any~", host) is None


class Redirects:
    """The rules of a _redirects file."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self.rules = tuple(rules)
        self.read_query = any(rule.parameters or rule.destination.has_query for rule in rules)
        """Whether a decision may depend on the query of a request."""
        self._index = Index([rule.pattern for rule in rules])

    def match(self, path: str, query: str | None, host: str) -> Match | None:
        """Return the decision of the first rule that matches; None if there is none.

        `path` and `query` are as received, `host` is as `http.fields.host_name` returns it. A match
        that is not `forced` applies only if there is no file at `path`.
        """
        path = normal_path(path)
        for number in self._index.candidates(path):
            found = self.rules[number].match(path, query, host)
            if found is not None:
                return found
        return None


def parse_redirects(text: str) -> tuple[Redirects, list[Problem]]:
    """Return the rules of a _redirects file, and its skipped lines. Never raises."""
    rules: list[Rule] = []
    problems: list[Problem] = []
    lines: dict[object, int] = {}
    room = {"with": DYNAMIC_LIMIT, "without": STATIC_LIMIT}
    full: set[str] = set()
    for line, content in rule_lines(text, problems):
        if "with" in full and captures_path(content.split(None, 1)[0]):
            continue  # compiling a regular expression for each would take long
        try:
            rule = Rule(content, line)
        except BadRuleError as error:
            problems.append(Problem(line, content, str(error)))
            continue
        kind = "with" if rule.pattern.literal is None else "without"
        known = lines.get(rule.identity())
        if known is not None:
            problems.append(
                Problem(line, content, f"Line {known} already decides the same requests.")
            )
        elif not room[kind]:
            if kind not in full:
                full.add(kind)
                limit = DYNAMIC_LIMIT if kind == "with" else STATIC_LIMIT
                why = f"There are already {limit} rules {kind} placeholders; no more are read."
                problems.append(Problem(line, content, why))
        else:
            room[kind] -= 1
            lines[rule.identity()] = line
            rules.append(rule)
    return Redirects(rules), problems


class Cycle(NamedTuple):
    """A chain of redirects that never ends."""

    start: str
    """The path of a request that starts the chain."""
    lines: tuple[int, ...]
    """The lines of _redirects that apply, in this order."""


def find_cycles(redirects: Redirects, exists: Callable[[str], bool] | None = None) -> list[Cycle]:
    """Return the chains that return to an earlier request, or have more than HOPS_LIMIT redirects.

    Each redirect is followed from a request that it matches, with invented words for its
    placeholders, by the same code that answers requests. `exists` tells whether the site has a file
    for a path, which takes precedence over a rule that is not forced; without `exists`, there are
    no files. A chain ends at a host that no rule names. A cycle that exists only for certain
    captured words is not found.
    """
    hosts = {rule.pattern.host for rule in redirects.rules if rule.pattern.host}
    found: dict[frozenset[int], Cycle] = {}
    for rule in redirects.rules:
        if rule.status in REDIRECTS:
            request = rule.sample()
            lines = _endless(redirects, request, hosts, exists)
            if lines:
                found.setdefault(frozenset(lines), Cycle(request[1], lines))
    return list(found.values())


def _endless(
    redirects: Redirects,
    request: _Request,
    hosts: set[str],
    exists: Callable[[str], bool] | None,
) -> tuple[int, ...]:
    """Return the lines of the endless chain of redirects that `request` starts.

    Return none if the chain ends: at content, or at a new host that is not in `hosts`.
    """
    lines: list[int] = []
    seen: dict[_Request, int] = {}
    while request not in seen and len(lines) <= HOPS_LIMIT:
        seen[request] = len(lines)
        host, path, query = request
        found = redirects.match(path, query, host)
        if found is None or found.status not in REDIRECTS:
            return ()
        if exists is not None and exists(path) and not found.forced:
            return ()
        lines.append(found.line)
        request = _next_request(found.location, host)
        if request[0] != host and request[0] not in hosts:
            return ()
    return tuple(dict.fromkeys(lines[seen.get(request, 0) :]))


def _next_request(location: str, host: str) -> _Request:
    """Return the request that a client makes for a Location from `host`."""
    absolute = ABSOLUTE.fullmatch(location)
    if absolute:
        host, location = _host_of(absolute[1]) or "", absolute[2]
    path, mark, query = location.partition("#")[0].partition("?")
    return host, normal_path(path), query if mark else None


def _split_line(text: str) -> tuple[str, list[str], str, list[str]]:
    """Return the source, the parameters, the destination, and the words after the destination.

    Raises BadRuleError if there is no destination.
    """
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
    """Return the status, and whether it has "!", from the words after the destination.

    Raises BadRuleError.
    """
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
    """Return the parameters of a query; None if one is repeated, or there are too many for a rule.

    Cached, because all rules tried for one request parse the same query.
    """
    if query.count("&") >= LINE_LIMIT // len("a=b "):
        return None
    pairs = [pair.partition("=") for pair in query.split("&")]
    given = {_parameter_value(name): _parameter_value(value) for name, _, value in pairs}
    return given if len(given) == len(pairs) else None


def _parameter_value(text: str) -> str:
    """Return a parameter's name or value in normal form; "+" stands for a space."""
    return normal_segment(text.replace("+", "%20"))


def _split_origin(text: str, found: re.Match[str]) -> tuple[str, str]:
    """Return a destination's scheme and authority, and the rest. Raises BadRuleError."""
    authority = found[1]
    if not HOST.fullmatch(authority):
        raise BadRuleError("The destination must name its host in full, without placeholders.")
    return text[: found.end(1)], found[2] if found[2].startswith("/") else f"/{found[2]}"


def _host_of(authority: str) -> str | None:
    """Return the host of an authority; "" if empty, None if it has a port or is not valid.

    Ports are not compared, since the port at which clients reach the site is not known here.
    """
    found = HOST.fullmatch(authority)
    return host_name(authority) if found and not found[2] else None
