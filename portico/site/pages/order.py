"""The order of a folder's entries in a listing, sorted in short steps.

Rule: no step takes much more than a millisecond, so even a folder of a hundred thousand entries
delays other clients by no more than that at a time. Each batch of entries is sorted as soon as it
is read, and the batches are merged while the rows are made.

Limits: a step skips names that are not served, however many there are. The first step of the merge
reads one entry of each batch, which takes 10 ms for a million entries.
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
"""Names whose sort keys are cached, some 200 bytes each, because folders are listed repeatedly."""

SORTS = ("name", "size", "date")
"""The columns by which a listing can be sorted, the default first."""


class Order:
    """The order of a listing: folders first, then by one of SORTS.

    Descending is the exact reverse of ascending, for the folders and for the files separately.
    Entries of equal size or date are sorted by name; all folders have equal size.
    """

    __slots__ = ("by", "descending")

    def __init__(self, by: str = SORTS[0], *, descending: bool = False) -> None:
        self.by = by
        self.descending = descending

    @classmethod
    def of(cls, query: str | None) -> Order:
        """Return the order that a query names: `sort=name|size|date`; `sort=-size` is descending.

        `order=desc` also makes the order descending. An unknown or missing value means the default.
        If a parameter is repeated, the last value counts.
        """
        members = dict(member.partition("=")[::2] for member in (query or "").split("&"))
        by = members.get("sort", "")
        descending = by.startswith("-") or members.get("order") == "desc"
        by = by.removeprefix("-")
        return cls(by if by in SORTS else SORTS[0], descending=descending)

    @property
    def query(self) -> str:
        """The query for this order, with a question mark; "" for the default."""
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
    """Return the sort key of a name: without case and accents, and with digits as numbers.

    So `page 2` comes before `page 10`.
    """
    name = name.casefold()
    if not name.isascii():
        # Imported here because most names never need it.
        from unicodedata import combining, normalize

        name = "".join(char for char in normalize("NFKD", name) if not combining(char))
    return re.sub("[0-9]+", _number_key, name)


def _number_key(digits: re.Match[str]) -> str:
    """Return text that sorts as the number in `digits`: its length, then its digits.

    The text begins with NUL, which no name contains, so numbers sort before all other characters.
    int() would be slow for long runs of digits, and refuses very long ones.
    """
    number = digits[0].lstrip("0")
    return f"\0{chr(len(number))}{number}"


def sort(entries: Iterable[Entry], order: Order) -> list[Entry]:
    """Return the entries sorted by `order`, in one step."""
    return sorted(entries, key=order.key, reverse=order.descending)


def in_order(entries: Iterator[Entry], order: Order) -> Iterator[Entry | None]:
    """Yield the entries sorted by `order`, and None after each step that has yielded no entry."""
    batches: list[list[Entry]] = []
    while batch := list(islice(entries, STEP)):
        batches.append(sort(batch, order))
        yield None
    yield from merge(*batches, key=order.key, reverse=order.descending)
