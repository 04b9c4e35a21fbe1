"""Shared parts of the parsers of _redirects and _headers: lines, source patterns, templates.

A placeholder (":name") matches one segment of a path, or a part of it. A splat ("*") matches any
text. The matched text is captured, and replaces ":name" or ":splat" in a template.

Rule: paths are compared in one normal form, in which every byte has exactly one spelling, so that
percent-encoding cannot evade a rule. A captured value is a piece of that form: visible ASCII that
can neither end a header field nor begin a query, so it is safe wherever a template puts it. A slash
at the end of a path makes no difference.
Limits: one splat in a source, and one placeholder or splat between two slashes, so the time of
matching is proportional to the path's length. Patterns are case-sensitive. The limits of a file's
content have names below; they exist because the operator may not be the author of the site.
Sources: Netlify Docs, "Redirects and rewrites", "Redirect options", "Custom headers"; Cloudflare
Pages docs, "Redirects", "Headers".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from portico.http.h1.grammar import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LINES_LIMIT = 5000
"""Lines of a file that are read, without comments: more than twice the highest number of rules."""
PLACEHOLDERS_LIMIT = 16
"""Most placeholders and splats in a source, and in a destination or a value. Sites use three."""

Captures = dict[str, str]
"""The text captured by each placeholder, and by "splat", in normal form."""

# Characters that need no encoding in a path segment: pchar without pct-encoded (RFC 3986, 3.3).
_PLAIN = r"A-Za-z0-9\-._~!$&'()*+,;=:@"
_NORMAL = re.compile(f"[{_PLAIN}/]*")
_NOT_NORMAL = re.compile(f"%([0-9A-Fa-f]{{2}})|[^{_PLAIN}/]", re.DOTALL)
_SLASHES = re.compile("(?:/|%2F)+")
_PLAIN_CHARACTER = re.compile(f"[{_PLAIN}]")
_NOT_WRITTEN = re.compile(f"%(?![0-9A-Fa-f]{{2}})|[^{_PLAIN}/?%]", re.DOTALL)
_NOT_VISIBLE = re.compile(r"[^!-~]|#")
_NOT_NEUTRAL = re.compile(r"[^A-Za-z0-9\-._~/%]")

DOT_SEGMENT = re.compile(r"/\.\.?(?:/|$)")
"""A "." or ".." segment of a path in normal form. Clients resolve it before they send a path."""

ABSOLUTE = re.compile(r"https?://([^/?#]*)(.*)", re.ASCII | re.IGNORECASE | re.DOTALL)
"""An http or https URL. Groups: the authority, and the rest."""

# Each has one group, so `split` returns literal text and captures in turn, literal text first.
_CAPTURE = re.compile(r"(\*|:[A-Za-z][A-Za-z0-9_]*)")
_NAME = re.compile(r":([A-Za-z][A-Za-z0-9_]*)")


class Problem(NamedTuple):
    """A skipped line: its number from 1, its text, and the reason."""

    line: int
    text: str
    why: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.why}"


class BadRuleError(ValueError):
    """A line cannot be parsed and is skipped; the message is a sentence that says why."""


def rule_lines(text: str, problems: list[Problem]) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines of a rules file, without blank lines and comments.

    Stop after LINES_LIMIT lines, and add the next one to `problems`.
    """
    count = 0
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            if count == LINES_LIMIT:
                why = f"There are already {LINES_LIMIT} lines; this one and all below are skipped."
                problems.append(Problem(number, stripped, why))
                return
            count += 1
            yield number, stripped


def check_length(line: str, limit: int) -> None:
    """Raise BadRuleError for a line of more than `limit` characters."""
    if len(line) > limit:
        raise BadRuleError(f"The line has more than {limit} characters.")


def normal_path(path: str) -> str:
    """Return `path` in the normal form for comparison, which is that of `target.encode_path`.

    Only bytes that need it are percent-encoded, with capital hex digits. An encoded slash is the
    same as a slash, and several slashes in a row are one.
    """
    path = _normal_octets(path)
    return _SLASHES.sub("/", path) if "//" in path or "%2F" in path else path


def normal_segment(text: str) -> str:
    """Return `text`, possibly percent-encoded, in normal form, with slashes encoded."""
    return _normal_octets(text).replace("/", "%2F")


def as_written(text: str) -> str:
    """Percent-encode the characters in `text` of a destination that no URL may contain."""
    return _NOT_WRITTEN.sub(_encoded, text)


def as_received(query: str) -> str:
    """Percent-encode the characters in a request's query that no Location may contain.

    The query of a parsed request has none of them.
    """
    return _NOT_VISIBLE.sub(_encoded, query)


def neutral(captured: str) -> str:
    """Percent-encode the characters in a captured value that delimit queries or field values."""
    return _NOT_NEUTRAL.sub(_encoded, captured)


def _normal_octets(text: str) -> str:
    return text if _NORMAL.fullmatch(text) else _NOT_NORMAL.sub(_normal_character, text)


def _normal_character(found: re.Match[str]) -> str:
    if found[1] is None:
        return _encoded(found)
    character = chr(int(found[1], 16))
    return character if _PLAIN_CHARACTER.fullmatch(character) else found[0].upper()


def _encoded(found: re.Match[str]) -> str:
    # "surrogatepass" because a lone surrogate would raise, and this must not raise for any input.
    return "".join([f"%{octet:02X}" for octet in found[0].encode("utf-8", "surrogatepass")])


def captures_path(source: str) -> bool:
    """Return whether the path of `source` has a placeholder or splat, without checking `source`."""
    found = ABSOLUTE.fullmatch(source)
    return _CAPTURE.search(found[2] if found else source) is not None


class Pattern:
    """The source of a rule: a path, or a URL whose scheme is ignored.

    Raises BadRuleError for a text that is not a valid source.
    """

    def __init__(self, text: str) -> None:
        authority, path = _split_source(text)
        hosts = _pieces(authority, str.lower)
        paths = _pieces(path, normal_path)
        self.identity = (hosts, paths)
        """Equal for patterns that match the same requests."""
        self.names = tuple([name[1:] or "splat" for name in (*hosts[1::2], *paths[1::2])])
        if len(self.names) > PLACEHOLDERS_LIMIT:
            raise BadRuleError(f"The source has more than {PLACEHOLDERS_LIMIT} placeholders.")
        if len(set(self.names)) < len(self.names):
            raise BadRuleError("The source has two placeholders of the same name.")
        self.host = hosts[0] if len(hosts) == 1 else None
        """The host of the source, "" for any host; None if the host has placeholders."""
        self.literal = _bare(paths[0]) if len(paths) == 1 else None
        """The path without its final slash; None if it has placeholders or a splat."""
        first, slash, _ = paths[0][1:].partition("/")
        self.first = first if slash else None
        """The path's first segment; None if it has a capture, or is the only segment."""
        self._host = re.compile(_expression(hosts, "[^/.]+")) if authority else None
        self._path = _PathPattern(paths) if len(paths) > 1 else None

    def match(self, path: str, host: str) -> Captures | None:
        """Return the captures of a path in normal form; None if it does not match.

        `host` is in lower case and without port, as `http.fields.host_name` returns it.
        """
        values: tuple[str, ...] = ()
        if self._host is not None:
            found = self._host.fullmatch(host)
            if found is None:
                return None
            values = found.groups()
        if self._path is None:
            if _bare(path) != self.literal:
                return None
        else:
            captured = self._path.match(path)
            if captured is None:
                return None
            values += captured
        return dict(zip(self.names, values, strict=True))

    def sample(self) -> tuple[str, str]:
        """Return a host and a path that match, with an invented word for each placeholder."""
        hosts, paths = map(list, self.identity)
        words = [f"any~{number}" for number in range(len(self.names))]
        hosts[1::2] = words[: len(hosts) // 2]
        paths[1::2] = words[len(hosts) // 2 :]
        return "".join(hosts), "".join(paths)


class _PathPattern:
    """Matches a path pattern with captures, given as literal text and captures in turn.

    The part after a splat contains a fixed number of slashes, so counting slashes from the end of
    the path finds the one place where it can begin. A single regular expression for the whole path
    would try every place instead (backtracking).
    """

    def __init__(self, pieces: tuple[str, ...]) -> None:
        self._after: re.Pattern[str] | None = None
        splat = pieces.index("*") if "*" in pieces else len(pieces)
        after = (*pieces[splat + 1 : -1], _bare(pieces[-1]))
        if splat < len(pieces) and any(after):
            self._before = re.compile(_expression(pieces[:splat], "[^/]+"))
            self._after = re.compile(_expression(after, "[^/]+") + "/?")
            self._slashes = "".join(after[::2]).count("/")
            self._lead = len(after[0].partition("/")[0])
        else:
            self._before = re.compile(_path_expression(pieces))

    def match(self, path: str) -> tuple[str, ...] | None:
        """Return the captured values of a path in normal form; None if it does not match."""
        if self._after is None:
            found = self._before.fullmatch(path)
            return None if found is None else found.groups("")
        found = self._before.match(path)
        if found is None:
            return None
        start = len(_bare(path))
        for _ in range(self._slashes):
            start = path.rfind("/", 0, start)
        start -= self._lead
        if start < found.end():
            return None
        rest = self._after.fullmatch(path, start)
        if rest is None:
            return None
        return *found.groups(), path[found.end() : start], *rest.groups()


class Index:
    """Finds the few patterns that can match a path, in the order of the file."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._exact: dict[str, list[int]] = {}
        self._below: dict[str, list[int]] = {}
        """Patterns with captures, by their first segment; each list includes `_anywhere`."""
        self._anywhere: list[int] = []
        """Patterns with captures whose first segment is not fixed."""
        for number, pattern in enumerate(patterns):
            if pattern.literal is not None:
                self._exact.setdefault(pattern.literal, []).append(number)
            elif pattern.first is not None:
                self._below.setdefault(pattern.first, []).append(number)
            else:
                self._anywhere.append(number)
        for numbers in self._below.values():
            numbers.extend(self._anywhere)
            numbers.sort()

    def candidates(self, path: str) -> Sequence[int]:
        """Return the numbers of the patterns that may match a path in normal form, ascending."""
        dynamic = self._anywhere
        if self._below:
            dynamic = self._below.get(path[1:].partition("/")[0], dynamic)
        exact = self._exact.get(_bare(path)) if self._exact else None
        if exact is None:
            return dynamic
        return sorted((*exact, *dynamic)) if dynamic else exact


class Template:
    """A text in which captured values replace the placeholders named in `names`.

    `literal` is applied to the text between placeholders, `captured` to each value. Placeholders
    with other names are ordinary text. Raises BadRuleError for more than PLACEHOLDERS_LIMIT.
    """

    def __init__(
        self,
        text: str,
        names: Sequence[str],
        literal: Callable[[str], str] = str,
        captured: Callable[[str], str] = str,
    ) -> None:
        self._captured = captured
        first, *others = _NAME.split(text)
        pieces = [first]
        for name, following in zip(others[::2], others[1::2], strict=True):
            if name in names:
                pieces += [name, following]
            else:
                pieces[-1] += f":{name}{following}"
        pieces[::2] = map(literal, pieces[::2])
        self._pieces = pieces
        """Literal text and names in turn, literal text first."""
        if len(pieces) // 2 > PLACEHOLDERS_LIMIT:
            raise BadRuleError(f"There are more than {PLACEHOLDERS_LIMIT} placeholders.")
        self._length = sum(map(len, pieces[::2]))

    def size(self, captures: Captures) -> int:
        """Return the approximate length of the result of `fill`, without making it.

        `literal` is counted, but not what `captured` adds to a value.
        """
        return self._length + sum([len(captures[name]) for name in self._pieces[1::2]])

    def fill(self, captures: Captures) -> str:
        """Return the text with its placeholders replaced."""
        if len(self._pieces) == 1:
            return self._pieces[0]
        pieces = self._pieces.copy()
        pieces[1::2] = [self._captured(captures[name]) for name in pieces[1::2]]
        return "".join(pieces)


def names_in(text: str) -> list[str]:
    """Return the names of all placeholders in a text."""
    return _NAME.findall(text)


def _pieces(text: str, literal: Callable[[str], str]) -> tuple[str, ...]:
    """Split `text` into literal text and captures in turn; apply `literal` to the literal text."""
    pieces = _CAPTURE.split(text)
    pieces[::2] = map(literal, pieces[::2])
    return tuple(pieces)


def _split_source(text: str) -> tuple[str, str]:
    """Return the host of a source, or "", and its path. Raises BadRuleError."""
    found = ABSOLUTE.fullmatch(text)
    host, path = (_source_host(found[1]), found[2] or "/") if found else ("", text)
    if "?" in path or "#" in path:
        raise BadRuleError('The source may have no "?" and no "#": only the path is compared.')
    if not path.startswith("/"):
        raise BadRuleError('The source must begin with "/", "http://" or "https://".')
    if path.startswith("//"):
        raise BadRuleError('The path of the source must begin with a single "/".')
    if DOT_SEGMENT.search(normal_path(path)):
        raise BadRuleError('The source has a "." or ".." between slashes, which no request has.')
    if path.count("*") > 1:
        raise BadRuleError("The source has more than one splat.")
    if any(len(_CAPTURE.findall(segment)) > 1 for segment in path.split("/")):
        raise BadRuleError("Between two slashes there may be only one placeholder or splat.")
    return host, path


def _source_host(authority: str) -> str:
    """Return the host in a source's authority, which may have placeholders. Raises BadRuleError."""
    found = HOST.fullmatch(_NAME.sub("x", authority))
    if found is None or "*" in authority:
        raise BadRuleError("The source does not name a host. (Placeholders may stand in it.)")
    if found[2] is not None:
        raise BadRuleError("The source names a port, but ports are not compared.")
    if any(len(names_in(label)) > 1 for label in authority.split(".")):
        raise BadRuleError("Between two dots there may be only one placeholder.")
    return authority.removesuffix(".")


def _expression(pieces: Sequence[str], placeholder: str) -> str:
    """Return a regular expression for `pieces`, with a group for each capture."""
    expressions = [re.escape(piece) for piece in pieces]
    expressions[1::2] = ["(.*)" if piece == "*" else f"({placeholder})" for piece in pieces[1::2]]
    return "".join(expressions)


def _path_expression(pieces: Sequence[str]) -> str:
    """Return a regular expression for the pieces of a path.

    A splat that is the whole last segment also matches the path of the folder: "/a/*" matches "/a".
    """
    if pieces[-2:] == ("*", "") and pieces[-3].endswith("/"):
        return _expression((*pieces[:-3], pieces[-3][:-1]), "[^/]+") + "(?:/(.*))?"
    return _expression((*pieces[:-1], _bare(pieces[-1])), "[^/]+") + "/?"


def _bare(path: str) -> str:
    """Return `path` without a final slash."""
    return path[:-1] if path[-1:] == "/" else path
