"""The site's own response fields: the file _headers, parsed and applied.

A block: a line with a path or URL, then lines "Name: value" and "! Name" for it.

Rule: all blocks that match apply, in their order; in each, removals come first. The first value
that is set replaces the server's own, a further one is joined to it by a comma.
Limits: those of Cloudflare Pages, named below. Fields that frame a message, or state what only the
server knows, are reported and skipped.
Sources: Netlify Docs, "Custom headers"; Cloudflare Pages docs, "Headers".
"""

from __future__ import annotations

import re
from operator import attrgetter
from typing import TYPE_CHECKING

from portico.http.h1.grammar import TOKEN
from portico.site.compression.encoders import SUFFIXES
from portico.site.fields import without
from portico.site.rules.pattern import (
    BadRuleError,
    Index,
    Pattern,
    Problem,
    Template,
    check_length,
    neutral,
    normal_path,
    rule_lines,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portico.http.message import Field

SIZE_LIMIT = 32 << 10
"""Characters that rules may add to one response; what would exceed it is left out. Clients refuse
heads of much more, and captured values multiply the path of a request."""
_LINE_COST = 32
"""Characters that a field counts, besides its name and its value."""

BLOCKS_LIMIT = 100
"""Blocks of a file, as on Cloudflare Pages. Each may have to be tried for a request."""

LINE_LIMIT = 2000
"""Characters of a line, as on Cloudflare Pages."""

# Fields that frame a message or belong to the connection (RFC 9110, 7.6.1), and what the server
# states of itself. A wrong value here breaks the connection, or the response.
_FRAMING = frozenset(
    {
        "accept-ranges",
        "age",
        "allow",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "date",
        "keep-alive",
        "location",
        "proxy-connection",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
    }
)

# Fields computed from the content. They may be removed; another value would be wrong.
_COMPUTED = frozenset({"content-digest", "etag", "last-modified", "repr-digest"})

# On Netlify this asks for a password. As a response field it would reveal the password.
_UNSUPPORTED = frozenset({"basic-auth"})

# Vary may be extended but not removed, or caches would mix up representations.
_NOT_REMOVED = _FRAMING
_NOT_SET = (_FRAMING - {"vary", "content-encoding"}) | _COMPUTED

_NO_PATH = "A path must come first, to say what the field is for."
_TOO_MANY = f"There are already {BLOCKS_LIMIT} blocks; no more are read."

_PATH_LINE = re.compile(r"/|[A-Za-z][A-Za-z0-9+.\-]*://")

# field-value (RFC 9110, 5.5), without obs-text, which no two clients decode alike.
_VALUE = re.compile(r"[\t -~]+")


class Block:
    """The fields for one pattern. Raises BadRuleError for a text that is no pattern."""

    def __init__(self, text: str, line: int) -> None:
        check_length(text, LINE_LIMIT)
        self.text = text
        self.line = line
        self.pattern = Pattern(text)
        self.fields: list[tuple[str, Template]] = []
        self.removed: set[str] = set()
        """Names of fields to remove, in lower case."""

    def add(self, text: str) -> None:
        """Add a line of the block. Raises BadRuleError for one that is skipped."""
        check_length(text, LINE_LIMIT)
        if text.startswith("!"):
            name = _name(text[1:])
            if name.lower() in _NOT_REMOVED:
                raise BadRuleError(f"{name} belongs to the server; it cannot be removed.")
            self.removed.add(name.lower())
            return
        before, colon, after = text.partition(":")
        if not colon:
            raise BadRuleError('A line of a block is "Name: value" or "! Name".')
        name, value = _name(before), after.strip()
        if name.lower() in _UNSUPPORTED:
            raise BadRuleError(f"{name} is not supported: the field would show its password.")
        if name.lower() in _NOT_SET:
            raise BadRuleError(f"{name} belongs to the server; it cannot be set.")
        if name.lower() == "content-encoding" and value.lower() not in SUFFIXES:
            raise BadRuleError(f"{name} is {', '.join(SUFFIXES)}, as the files are coded on disk.")
        if not _VALUE.fullmatch(value):
            raise BadRuleError(
                f"The value of {name} is empty, or has a character that is not visible ASCII."
            )
        self.fields.append((name, Template(value, self.pattern.names, captured=neutral)))


class HeaderRules:
    """The blocks of a _headers file."""

    def __init__(self, blocks: Sequence[Block] = ()) -> None:
        self.blocks = tuple(blocks)
        self._index = Index([block.pattern for block in blocks])

    def apply(self, path: str, host: str, fields: list[Field]) -> tuple[list[Field], list[int]]:
        """Return the fields of a response after all blocks that match, and those blocks' lines.

        `path` is the request's as received, `host` as `fields.host_name` gives it. `fields`, those
        that the server would send, are not changed.
        """
        path = normal_path(path)
        lines = []
        room = SIZE_LIMIT
        joined = {"vary"}  # names whose values are joined: those that a block has set, and Vary
        for number in self._index.candidates(path):
            block = self.blocks[number]
            captures = block.pattern.match(path, host)
            if captures is None:
                continue
            lines.append(block.line)
            fields = without(fields, block.removed)
            for name, template in block.fields:
                room -= len(name) + template.size(captures) + _LINE_COST
                if room < 0:
                    break
                # A splat may capture nothing, but a value is not empty and has no outer space.
                value = template.fill(captures).strip(" \t")
                if value:
                    fields = _with(name, value, fields, joined)
        return fields, lines


def parse_headers(text: str) -> tuple[HeaderRules, list[Problem]]:
    """Return the blocks of a _headers file, and the lines that were skipped. Never raises."""
    blocks: list[Block] = []
    problems: list[Problem] = []
    block: Block | None = None
    skips = False  # after a path that was skipped, so are its lines
    for line, content in rule_lines(text, problems):
        try:
            if _PATH_LINE.match(content):
                block, skips = None, True
                if len(blocks) == BLOCKS_LIMIT:
                    problems.append(Problem(line, content, _TOO_MANY))
                    break
                block = Block(content, line)
                blocks.append(block)
            elif block is not None:
                block.add(content)
            elif not skips:
                problems.append(Problem(line, content, _NO_PATH))
        except BadRuleError as error:
            problems.append(Problem(line, content, str(error)))
    kept: list[Block] = []
    for block in blocks:
        if block.fields or block.removed:
            kept.append(block)
        else:
            problems.append(Problem(block.line, block.text, "No field is left for this path."))
    problems.sort(key=attrgetter("line"))
    return HeaderRules(kept), problems


def _with(name: str, value: str, fields: list[Field], joined: set[str]) -> list[Field]:
    """Return `fields` with one more.

    It replaces the field of the same name, or is joined to it if the name is in `joined`.
    """
    key = name.lower()
    if key not in joined:
        joined.add(key)
        fields = without(fields, {key})
    elif key != "set-cookie":  # The one field that must not be joined (RFC 9110, 5.3).
        for place, (known, old) in enumerate(fields):
            if known.lower() == key:
                return [*fields[:place], (known, f"{old}, {value}"), *fields[place + 1 :]]
    return [*fields, (name, value)]


def _name(text: str) -> str:
    """Return a field's name (RFC 9110, 5.1)."""
    name = text.strip()
    if not TOKEN.fullmatch(name):
        raise BadRuleError(f'"{name}" is not the name of a field.')
    return name
