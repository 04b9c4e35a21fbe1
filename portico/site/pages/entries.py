"""A folder's entries: read one by one, and put in order in steps that hold nobody up.

Rule: no step takes much more than a millisecond, so that a folder of a hundred thousand entries
costs everybody else no more than that at a time. So each batch is sorted as soon as it is read, and
the batches are merged while the rows are made.

    Reading     the entries of an open folder; lets go of it at its end, or when it is dropped
    Order       what a listing is sorted by, from the query of the URL and back
    in_order    entries as they come in, entries sorted out

Limits: names that may not be served are passed over within a step, however many there are. To begin
the merge takes one look at each batch, which is 10 ms for a million entries.
"""

from __future__ import annotations

import errno
import os
import re
from heapq import merge
from itertools import islice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from portico.site.origin.protocol import Entry

STEP = 200
"""Entries read, and sorted among themselves, in one step."""

SORTS = ("name", "size", "date")
"""What a listing can be sorted by, the default first."""


class Reading:
    """The entries of an open folder that `judge` lets pass, in the order of the disk.

    It owns the descriptor `fd` and closes it at the end, when it is told to and when nothing refers
    to it any more. Raises OSError, also for a folder that was removed meanwhile.
    """

    __slots__ = ("_fd", "_judge", "_links", "_names")

    def __init__(
        self, fd: int, path: str, judge: Callable[[os.DirEntry[str]], Entry | None]
    ) -> None:
        """`path` is what `fd` was opened by. What raises OSError has not taken `fd` over."""
        self._fd = -1
        self._judge = judge
        self._links = os.fstat(fd).st_nlink
        self._names = os.scandir(fd if os.scandir in os.supports_fd else path)
        self._fd = fd

    def __iter__(self) -> Iterator[Entry]:
        return self

    def __next__(self) -> Entry:
        for name in self._names:
            entry = self._judge(name)
            if entry is not None:
                return entry
        if self._fd >= 0:
            # To the system the names of a removed folder just end, as if there were no more. (That
            # it had links before is asked because some file systems never count any.)
            removed = self._links and os.fstat(self._fd).st_nlink == 0
            self.close()
            if removed:
                raise FileNotFoundError(errno.ENOENT, "the folder was removed")
        raise StopIteration

    def close(self) -> None:
        """Let go of the folder; there are no more entries."""
        if self._fd >= 0:
            self._names.close()
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()


class Order:
    """How a listing is sorted: folders first, then by one of SORTS.

    Descending is the exact reverse of ascending, among the folders and among the files. What is
    equal in size or date is sorted by name; so are folders by size, since they have none.
    """

    __slots__ = ("by", "descending")

    def __init__(self, by: str = SORTS[0], *, descending: bool = False) -> None:
        self.by = by
        self.descending = descending

    @classmethod
    def of(cls, query: str | None) -> Order:
        """The order that a query asks for: `sort=name|size|date` and `order=asc|desc`.

        What is unknown or left out means the default. Of several values the last one counts.
        """
        members = dict(member.partition("=")[::2] for member in (query or "").split("&"))
        by = members.get("sort", "")
        return cls(by if by in SORTS else SORTS[0], descending=members.get("order") == "desc")

    @property
    def query(self) -> str:
        """The query that asks for this order, with its question mark; "" for the default."""
        if self.descending:
            return f"?sort={self.by}&order=desc"
        return "" if self.by == SORTS[0] else f"?sort={self.by}"

    def key(self, entry: Entry) -> tuple[object, ...]:
        """What to sort by, together with `descending` for `reverse`."""
        group = entry.is_folder is self.descending
        if self.by == "name":
            return (group, name_key(entry.name), entry.name)
        number = entry.modified if self.by == "date" else 0 if entry.is_folder else entry.size
        return (group, number, name_key(entry.name), entry.name)


def name_key(name: str) -> str:
    """What to sort names by: without regard to case or accents, digits as numbers.

    So `page 2` comes before `page 10`.
    """
    name = name.casefold()
    if not name.isascii():
        # Imported here because most names never need it.
        from unicodedata import combining, normalize

        name = "".join(char for char in normalize("NFKD", name) if not combining(char))
    return re.sub("[0-9]+", _number_key, name)


def _number_key(digits: re.Match[str]) -> str:
    """Digits such that they sort as numbers: a longer one is greater.

    NUL, which no name holds, puts what ends here before all that goes on otherwise. And no int(),
    which is slow for long runs of digits and refuses very long ones.
    """
    number = digits[0].lstrip("0")
    return f"\0{chr(len(number))}{number}"


def in_order(entries: Iterator[Entry], order: Order) -> Iterator[Entry | None]:
    """Yield the entries in `order`. None comes where a step is done and no entry is ready yet."""
    batches: list[list[Entry]] = []
    while batch := list(islice(entries, STEP)):
        batch.sort(key=order.key, reverse=order.descending)
        batches.append(batch)
        yield None
    yield from merge(*batches, key=order.key, reverse=order.descending)
