"""The site's own response fields: the file _headers, read and applied.

A block: a line with a path or URL, then lines "Name: value" and "! Name" for it.

Rule: all blocks that match apply, in their order; in each, removals come first. The first value
that is set takes the place of the server's own, a further one is joined to it by a comma.
Limits: those of Cloudflare Pages, named below. What frames a message, or states facts that only the
server knows, is reported and skipped.
Sources: Netlify Docs, "Custom headers"; Cloudflare Pages docs, "Headers".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from portico.http.h1.grammar import TOKEN
from portico.site.rules.pattern import (
    BadRuleError,
    Captures,
    Index,
    Pattern,
    Problem,
    Template,
    neutral,
    normal_path,
    rule_lines,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portico.http.message import Field

BLOCKS_LIMIT = 100
"""Blocks of a file, as on Cloudflare Pages. Each may have to be tried for a request."""

LINE_LIMIT = 2000
"""Characters of a line, as on Cloudflare Pages."""

# What frames a message or belongs to the connection (RFC 9110, 7.6.1), and what the server states
# of itself. A wrong word here breaks the connection, or the answer.
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

# What is made from the content. It may be removed; another value would be wrong.
_COMPUTED = frozenset({"content-digest", "etag", "last-modified", "repr-digest"})

# On Netlify this asks for a password. As a mere field it would hand the password out.
_UNSUPPORTED = frozenset({"basic-auth"})

# Vary may be added to, never taken from: caches would mix up representations.
_NOT_REMOVED = _FRAMING
_NOT_SET = (_FRAMING - {"vary"}) | _COMPUTED

_PATH_LINE = re.compile(r"/|[A-Za-z][A-Za-z0-9+.\-]*://")

# field-value (RFC 9110, 5.5), without obs-text, which no two clients decode alike.
_VALUE = re.compile(r"[\t -~]+")


class Block:
    """The fields for one pattern. Raises BadRuleError for a text that is no pattern."""

    __slots__ = ("fields", "line", "pattern", "removed")

    def __init__(self, text: str, line: int) -> None:
        self.line = line
        self.pattern = Pattern(text)
        self.fields: list[tuple[str, Template]] = []
        self.removed: set[str] = set()
        """Names of fields that are taken away, in lower case."""

    def add(self, text: str) -> None:
        """Take in a line of the block. Raises BadRuleError for one that says nothing."""
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
        if not _VALUE.fullmatch(value):
            raise BadRuleError(
                f"The value of {name} is empty, or has a character that is not visible ASCII."
            )
        self.fields.append((name, Template(value, self.pattern.names, captured=neutral)))


class HeaderRules:
    """The blocks of a _headers file."""

    __slots__ = ("_index", "blocks")

    def __init__(self, blocks: Sequence[Block] = ()) -> None:
        self.blocks = tuple(blocks)
        self._index = Index([block.pattern for block in blocks])

    def __len__(self) -> int:
        return len(self.blocks)

    def apply(self, path: str, host: str, fields: list[Field]) -> tuple[list[Field], list[int]]:
        """The fields of an answer after all blocks that match, and the lines of those blocks.

        `path` is the request's as it came, `host` as `fields.host_name` gives it. `fields`, those
        that the server would send, are not changed.
        """
        path = normal_path(path)
        lines = []
        changed = _Fields(fields)
        for number in self._index.candidates(path):
            block = self.blocks[number]
            captures = block.pattern.match(path, host)
            if captures is not None:
                lines.append(block.line)
                changed.apply(block, captures)
        return (changed.fields, lines) if lines else (fields, lines)


class _Fields:
    """The fields of an answer while blocks are applied to them."""

    __slots__ = ("_set", "fields")

    def __init__(self, fields: list[Field]) -> None:
        self.fields = fields
        self._set = {"vary"}
        """Names whose values are joined to what is there: those that a block has set, and Vary."""

    def apply(self, block: Block, captures: Captures) -> None:
        self._remove(block.removed)
        for name, template in block.fields:
            # A splat may have captured nothing; a value neither ends with a space nor is empty.
            value = template.fill(captures).strip(" \t")
            if value:
                self._add(name, value)

    def _remove(self, names: set[str]) -> None:
        self.fields = [field for field in self.fields if field[0].lower() not in names]

    def _add(self, name: str, value: str) -> None:
        key = name.lower()
        if key not in self._set:
            self._remove({key})
            self._set.add(key)
        elif key != "set-cookie":  # The one field that must not be joined (RFC 9110, 5.3).
            for place, (known, old) in enumerate(self.fields):
                if known.lower() == key:
                    self.fields[place] = (known, f"{old}, {value}")
                    return
        self.fields.append((name, value))


def parse_headers(text: str) -> tuple[HeaderRules, list[Problem]]:
    """The blocks of a _headers file, and the lines that were skipped. Never raises."""
    reader = _Reader()
    for line, content in rule_lines(text):
        try:
            reader.read(content, line)
        except BadRuleError as error:
            reader.problems.append(Problem(line, content, str(error)))
    return reader.finish()


class _Reader:
    """A file as it is read, line by line."""

    __slots__ = ("_block", "_blocks", "_skips", "_text", "problems")

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._blocks: list[Block] = []
        self._block: Block | None = None
        self._text = ""
        self._skips = False
        """The block's first line was a problem already; what follows belongs to it."""

    def read(self, text: str, line: int) -> None:
        """Take in a line. Raises BadRuleError for one that is skipped."""
        is_path = _PATH_LINE.match(text) is not None
        if is_path:
            self._end_block()
            self._skips = True
        if len(text) > LINE_LIMIT:
            raise BadRuleError(f"The line has more than {LINE_LIMIT} characters.")
        if is_path:
            if len(self._blocks) == BLOCKS_LIMIT:
                raise BadRuleError(f"There are already {BLOCKS_LIMIT} blocks.")
            self._block = Block(text, line)
            self._text = text
            self._skips = False
        elif self._block is not None:
            self._block.add(text)
        elif not self._skips:
            raise BadRuleError("A path must come first, to say what the field is for.")

    def finish(self) -> tuple[HeaderRules, list[Problem]]:
        """All that was read."""
        self._end_block()
        self.problems.sort(key=_line_of)
        return HeaderRules(self._blocks), self.problems

    def _end_block(self) -> None:
        block, self._block = self._block, None
        if block is None:
            return
        if block.fields or block.removed:
            self._blocks.append(block)
        else:
            self.problems.append(Problem(block.line, self._text, "No field is left for this path."))


def _line_of(problem: Problem) -> int:
    return problem.line


def _name(text: str) -> str:
    """A field's name (RFC 9110, 5.1)."""
    name = text.strip()
    if not TOKEN.fullmatch(name):
        raise BadRuleError(f'"{name}" is not the name of a field.')
    return name
