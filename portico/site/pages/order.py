"""The order of a folder's entries in a listing, sorted in steps that are short.

Rule: no step takes much more than a millisecond, so a folder of a hundred thousand entries delays
other clients no longer than that at a time. Each batch is sorted as soon as it is read, and the
batches are merged while the rows are made.

Limits: names that may not be served are skipped within a step, however many there are. To begin the
merge takes one look at each batch, which is 10 ms for a million entries.
"""

from __future__ import annotations

import re
from functools import lru_cache
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from portico.site.origin.protocol import Entry

STEP = 200
"""Entries read, and sorted among themselves, in one step."""

_NAMES = 2048
"""Names whose sort keys are remembered, some 200 bytes each: a folder is often listed again."""

SORTS = ("name", "size", "date")
"""What a listing can be sorted by, the default first."""


class Order:
    """How a listing is sorted: folders first, then by one of SORTS.

    Descending is the exact reverse of ascending, among the folders and among the files. Entries of
    equal size or date are sorted by name; by size all folders are equal.
    """

    __slots__ = ("by", "descending")

    def __init__(self, by: str = SORTS[0], *, descending: bool = False) -> None:
        self.by = by
        self.descending = descending

    @classmethod
    def of(cls, query: str | None) -> Order:
        """Return the order in a query: `sort=name|size|date`, descending with a minus before it.

        So it is with `order=desc`, too. What is unknown or left out means the default. Of several
        values the last one counts.
        """
        members = dict(member.partition("=")[::2] for member in (query or "").split("&"))
        by = members.get("sort", "")
        descending = by.startswith("-") or members.get("order") == "desc"
        by = by.removeprefix("-")
        return cls(by if by in SORTS else SORTS[0], descending=descending)

    @property
    def query(self) -> str:
        """The query for this order, with its question mark; "" for the default."""
        is_default = self.by == SORTS[0] and not self.descending
        return "" if is_default else f"?sort={self.value}"

    @property
    def value(self) -> str:
        """The value of `sort` for this order."""
        return f"-{self.by}" if self.descending else self.by

    def key(self, entry: Entry) -> tuple[object, ...]:
        """Return the sort key, to be used with `reverse=order.descending`."""
        group = entry.is_folder is self.descending
        if self.by == "name":
            return (group, name_key(entry.name), entry.name)
        number = entry.modified if self.by == "date" else 0 if entry.is_folder else entry.size
        return (group, number, name_key(entry.name), entry.name)


@lru_cache(maxsize=_NAMES)
def name_key(name: str) -> str:
    """Return the sort key of a name: without case or accents, digits as numbers.

    So `page 2` comes before `page 10`.
    """
    name = name.casefold()
    if not name.isascii():
        # Imported here because most names never need it.
        from unicodedata import combining, normalize

        name = "".join(char for char in normalize("NFKD", name) if not combining(char))
    return re.sub("[0-9]+", _number_key, name)


def _number_key(digits: re.Match[str]) -> str:
    """Return digits so that they sort as numbers: a longer number is greater.

    NUL, which no name contains, sorts a name that ends here before longer ones. int() would be
    slow for long runs of digits, and refuses very long ones.
    """
    number = digits[0].lstrip("0")
    return f"\0{chr(len(number))}{number}"


def sort(entries: Iterable[Entry], order: Order) -> list[Entry]:
    """Return the entries in `order`, at once."""
    return sorted(entries, key=order.key, reverse=order.descending)


def in_order(entries: Iterator[Entry], order: Order) -> Iterator[Entry | None]:
    """Yield the entries in `order`, and None after each step that has not yielded any."""
    batches: list[list[Entry]] = []
    while batch := list(islice(entries, STEP)):
        batches.append(sort(batch, order))
        yield None
    yield from merge(*batches, key=order.key, reverse=order.descending)
