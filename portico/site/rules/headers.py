"""The site's own response header fields: the file _headers, parsed and applied.

A block is a line with a path or URL, followed by lines "Name: value" and "! Name" (remove).

Rule: all blocks that match apply, in the order of the file; within a block, removals come first.
The first value that is set for a name replaces the server's own; further ones are appended to it
after a comma.
Limits: those of Cloudflare Pages, named below. Fields that frame a message, or that only the server
can know, are reported and skipped.
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
"""Characters that rules may add to one response; further fields are left out. Clients refuse much
larger heads, and captured values multiply the path of a request."""
_LINE_COST = 32
"""Characters that count for a field in addition to its name and value."""

BLOCKS_LIMIT = 100
"""Most blocks of a file, as on Cloudflare Pages. A request may have to try each."""

LINE_LIMIT = 2000
"""Most characters of a line, as on Cloudflare Pages."""

# Fields that frame a message or belong to the connection (RFC 9110, 7.6.1), and fields in which the
# server describes itself. A wrong value breaks the connection or the response.
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

# Fields computed from the content. Rules may remove them, but not set them to another value.
_COMPUTED = frozenset({"content-digest", "etag", "last-modified", "repr-digest"})

# On Netlify this field asks for a password. As a response field it would reveal the password.
_UNSUPPORTED = frozenset({"basic-auth"})

# Vary may be extended but not removed, or caches would mix up representations. Content-Encoding
# may be set, for files that are compressed on disk.
_NOT_REMOVED = _FRAMING
_NOT_SET = (_FRAMING - {"vary", "content-encoding"}) | _COMPUTED

_NO_PATH = "A path must come first, to say what the field is for."
_TOO_MANY = f"There are already {BLOCKS_LIMIT} blocks; no more are read."

_PATH_LINE = re.compile(r"/|[A-Za-z][A-Za-z0-9+.\-]*://")

# field-value (RFC 9110, 5.5), without obs-text, which clients decode differently.
_VALUE = re.compile(r"[\t -~]+")


class Block:
    """The fields for one pattern. Raises BadRuleError for a text that is not a valid pattern."""

    def __init__(self, text: str, line: int) -> None:
        check_length(text, LINE_LIMIT)
        self.text = text
        self.line = line
        self.pattern = Pattern(text)
        self.fields: list[tuple[str, Template]] = []
        self.removed: set[str] = set()
        """Names of fields to remove, in lower case."""

    def add(self, text: str) -> None:
        """Add a line of the block. Raises BadRuleError for a line to be skipped."""
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
        """Return the fields of a response with all matching blocks applied, and the blocks' lines.

        `path` is the request's path as received, `host` is as `http.fields.host_name` returns it.
        `fields` are the server's own; the list is not changed.
        """
        path = normal_path(path)
        lines = []
        room = SIZE_LIMIT
        joined = {"vary"}  # fields to which a value is appended: Vary, and those set by a block
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
                # A splat may capture nothing; a field value must not begin or end with whitespace.
                value = template.fill(captures).strip(" \t")
                if value:
                    fields = _with(name, value, fields, joined)
        return fields, lines


def parse_headers(text: str) -> tuple[HeaderRules, list[Problem]]:
    """Return the blocks of a _headers file, and its skipped lines. Never raises."""
    blocks: list[Block] = []
    problems: list[Problem] = []
    block: Block | None = None
    skips = False  # whether the lines of a block are skipped because its path was
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
    """Return `fields` with the field `name: value`.

    It replaces the field of the same name, or is appended to its value if the name is in `joined`.
    Adds the name to `joined`.
    """
    key = name.lower()
    if key not in joined:
        joined.add(key)
        fields = without(fields, {key})
    elif key != "set-cookie":  # the only field whose values must not be joined (RFC 9110, 5.3)
        for place, (known, old) in enumerate(fields):
            if known.lower() == key:
                return [*fields[:place], (known, f"{old}, {value}"), *fields[place + 1 :]]
    return [*fields, (name, value)]


def _name(text: str) -> str:
    """Return a field's name without spaces around it (RFC 9110, 5.1). Raises BadRuleError."""
    name = text.strip()
    if not TOKEN.fullmatch(name):
        raise BadRuleError(f'"{name}" is not the name of a field.')
    return name
