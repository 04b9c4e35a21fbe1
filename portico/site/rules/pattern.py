"""What the files _redirects and _headers have in common: lines, source patterns, templates.

Rule: paths are compared in one normal form, in which every byte has exactly one spelling, so that
percent-encoding cannot evade a rule. What a pattern captures is a piece of that form: visible ASCII
that can neither end a field nor begin a query, so it is safe wherever it is written. A slash at the
end of a path makes no difference.
Limits: one splat in a source, and one placeholder or splat between two slashes; so matching takes
time proportional to the path. Patterns are case-sensitive. What a file may hold is named below: a
site may be somebody else's.
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
"""Lines of a file that are read, comments aside: more than twice as many as there can be rules."""
PLACEHOLDERS_LIMIT = 16
"""Placeholders and splats in a source, and in a destination or a value. Sites use three."""

Captures = dict[str, str]
"""The text captured by each placeholder, and by "splat", in normal form."""

# Characters that need no encoding in a path: unreserved ones, and those sub-delims and others that
# have no meaning there (RFC 3986, 3.3).
_PLAIN = r"A-Za-z0-9\-._~!$&'()*+,;=:@"
_NORMAL = re.compile(f"[{_PLAIN}/]*")
_NOT_NORMAL = re.compile(f"%([0-9A-Fa-f]{{2}})|[^{_PLAIN}/]", re.DOTALL)
_SLASHES = re.compile("(?:/|%2F)+")
_PLAIN_CHARACTER = re.compile(f"[{_PLAIN}]")
_NOT_WRITTEN = re.compile(f"%(?![0-9A-Fa-f]{{2}})|[^{_PLAIN}/?%]", re.DOTALL)
_NOT_VISIBLE = re.compile(r"[^!-~]|#")
_NOT_NEUTRAL = re.compile(r"[^A-Za-z0-9\-._~/%]")

DOT_SEGMENT = re.compile(r"/\.\.?(?:/|$)")
"""A "." or ".." between slashes of a path in normal form. Clients resolve it, so it is no name."""

ABSOLUTE = re.compile(r"https?://([^/?#]*)(.*)", re.ASCII | re.IGNORECASE | re.DOTALL)
"""An http or https URL: its authority, and what follows."""

# Each has one group, so that `split` alternates literal text and captures, literal text first.
_CAPTURE = re.compile(r"(\*|:[A-Za-z][A-Za-z0-9_]*)")
_NAME = re.compile(r":([A-Za-z][A-Za-z0-9_]*)")


class Problem(NamedTuple):
    """A line that was skipped: its number from 1, its text, and the reason."""

    line: int
    text: str
    why: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.why}"


class BadRuleError(ValueError):
    """A line that is skipped; the message says why, in a sentence."""


def rule_lines(text: str, problems: list[Problem]) -> Iterator[tuple[int, str]]:
    """Yield the lines of a rules file with their numbers, without blank lines and comments.

    Where there are more than LINES_LIMIT, the first one beyond is added to `problems`.
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
    """Return `path` in the form in which paths are compared: that of `target.encode_path`.

    Bytes are percent-encoded, in capitals, only where they must be. An encoded slash separates
    segments as a slash does, and several are one.
    """
    path = _normal_octets(path)
    return _SLASHES.sub("/", path) if "//" in path or "%2F" in path else path


def normal_segment(text: str) -> str:
    """Return `text`, possibly percent-encoded, as a piece of a path without a slash."""
    return _normal_octets(text).replace("/", "%2F")


def as_written(text: str) -> str:
    """Return `text` of a destination, with those characters encoded that no URL may contain."""
    return _NOT_WRITTEN.sub(_encoded, text)


def as_received(query: str) -> str:
    """Return a request's query for a Location. That of a parsed request needs no change."""
    return _NOT_VISIBLE.sub(_encoded, query)


def neutral(captured: str) -> str:
    """Return a captured value with those characters encoded that delimit queries or values."""
    return _NOT_NEUTRAL.sub(_encoded, captured)


def _normal_octets(text: str) -> str:
    return text if _NORMAL.fullmatch(text) else _NOT_NORMAL.sub(_normal_character, text)


def _normal_character(found: re.Match[str]) -> str:
    if found[1] is None:
        return _encoded(found)
    character = chr(int(found[1], 16))
    return character if _PLAIN_CHARACTER.fullmatch(character) else found[0].upper()


def _encoded(found: re.Match[str]) -> str:
    # Lone surrogates are no text; they are allowed here only so that no input raises.
    return "".join([f"%{octet:02X}" for octet in found[0].encode("utf-8", "surrogatepass")])


def captures_path(source: str) -> bool:
    """Return whether the path of a source has a placeholder or a splat, if it is a source."""
    found = ABSOLUTE.fullmatch(source)
    return _CAPTURE.search(found[2] if found else source) is not None


class Pattern:
    """The source of a rule: a path, or a URL whose scheme is ignored.

    Raises BadRuleError for a text that is no source.
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
        """The host of the source, "" for any; None if it has placeholders."""
        self.literal = _bare(paths[0]) if len(paths) == 1 else None
        """The path without its final slash; None if it has placeholders or a splat."""
        first, slash, _ = paths[0][1:].partition("/")
        self.first = first if slash else None
        """The path's first segment; None if it is also the last, or has a placeholder."""
        self._host = re.compile(_expression(hosts, "[^/.]+")) if authority else None
        self._path = _PathPattern(paths) if len(paths) > 1 else None

    def match(self, path: str, host: str) -> Captures | None:
        """Return what is captured of a path in normal form; None if it does not match.

        `host` is lower case and has no port, as `fields.host_name` gives it.
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
        """Return a host and a path that match, with a made-up word for each placeholder."""
        hosts, paths = map(list, self.identity)
        words = [f"any~{number}" for number in range(len(self.names))]
        hosts[1::2] = words[: len(hosts) // 2]
        paths[1::2] = words[len(hosts) // 2 :]
        return "".join(hosts), "".join(paths)


class _PathPattern:
    """A path with captures, as pieces: literal text and captures, alternating.

    What follows a splat has a fixed number of slashes, so it can begin at one place only: there is
    nothing to be tried out. An expression for all of it would try each place in the path.
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
        """Return what is captured of a path in normal form; None if it does not match."""
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
    """Finds the few patterns that can match a path, in their order in the file."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._exact: dict[str, list[int]] = {}
        self._below: dict[str, list[int]] = {}
        """Patterns with placeholders, by the first segment that they match."""
        self._anywhere: list[int] = []
        """Patterns that match any first segment."""
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
    """A text in which captured values replace the placeholders called `names`.

    `literal` is applied to the text between them, `captured` to each value. Placeholders with
    other names are ordinary text. Raises BadRuleError for too many placeholders.
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
        """Literal text and names, alternating."""
        if len(pieces) // 2 > PLACEHOLDERS_LIMIT:
            raise BadRuleError(f"There are more than {PLACEHOLDERS_LIMIT} placeholders.")
        self._length = sum(map(len, pieces[::2]))

    def size(self, captures: Captures) -> int:
        """Return about how many characters `fill` returns, without making them."""
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
    """Return literal text and captures, alternating, with `literal` applied to the former."""
    pieces = _CAPTURE.split(text)
    pieces[::2] = map(literal, pieces[::2])
    return tuple(pieces)


def _split_source(text: str) -> tuple[str, str]:
    """Return the host of a source, or "", and its path."""
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
    """Return the host that a source names."""
    found = HOST.fullmatch(_NAME.sub("x", authority))
    if found is None or "*" in authority:
        raise BadRuleError("The source does not name a host. (Placeholders may stand in it.)")
    if found[2] is not None:
        raise BadRuleError("The source names a port, but ports are not compared.")
    if any(len(names_in(label)) > 1 for label in authority.split(".")):
        raise BadRuleError("Between two dots there may be only one placeholder.")
    return authority.removesuffix(".")


def _expression(pieces: Sequence[str], placeholder: str) -> str:
    """Return the regular expression for pieces, with a group for each capture."""
    expressions = [re.escape(piece) for piece in pieces]
    expressions[1::2] = ["(.*)" if piece == "*" else f"({placeholder})" for piece in pieces[1::2]]
    return "".join(expressions)


def _path_expression(pieces: Sequence[str]) -> str:
    """The same for a path. A splat that is the last segment also matches the folder."""
    if pieces[-2:] == ("*", "") and pieces[-3].endswith("/"):
        return _expression((*pieces[:-3], pieces[-3][:-1]), "[^/]+") + "(?:/(.*))?"
    return _expression((*pieces[:-1], _bare(pieces[-1])), "[^/]+") + "/?"


def _bare(path: str) -> str:
    """Return a path without its final slash."""
    return path[:-1] if path[-1:] == "/" else path
