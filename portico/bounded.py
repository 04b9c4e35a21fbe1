"""A cache with a limit, for what clients could otherwise make grow.

`BoundedCache` has two generations. New entries go into the young one; when it has reached half the
limit it becomes the old one, and the previous old one is dropped. A hit in the old generation moves
the entry to the young one. So keys that are used once do not displace those in use, an operation
costs one or two dict lookups, and no list has to be kept in order.

`Doorkeeper` tells which keys came before, so that a cache can leave out those that come only once.
The name is that of the TinyLFU admission policy.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_SLOTS = 2048
"""Hashes that a doorkeeper holds, unless it is told otherwise. Each key takes two slots."""

K = TypeVar("K")
V = TypeVar("V")


class Doorkeeper:
    """Remembers the hashes of the last keys, about half as many as it has slots of 4 bytes."""

    __slots__ = ("_hashes", "_slots")

    def __init__(self, slots: int = _SLOTS) -> None:
        self._slots = slots
        self._hashes = array("I", bytes(4 * slots))

    def admit(self, key: object) -> bool:
        """Return True if `key` came recently; otherwise record it and return False."""
        hashed = hash(key)
        # With a single slot, two keys that share it and alternate would never be admitted.
        first, second = hashed % self._slots, (hashed >> 32) % self._slots
        hashed = (hashed >> 16) & 0xFFFFFFFF
        hashes = self._hashes
        if hashes[first] == hashed or hashes[second] == hashed:
            return True
        hashes[first] = hashes[second] = hashed
        return False


class BoundedCache(Generic[K, V]):
    """A mapping of entries whose total weight is at most `limit`.

    `weigh` returns an entry's weight; without it each entry weighs 1. An entry heavier than half
    the limit is not kept. Values must not be None.
    """

    __slots__ = ("_half", "_old", "_weigh", "_weight", "young")

    def __init__(self, limit: int, weigh: Callable[[K, V], int] | None = None) -> None:
        self._half = limit // 2
        self._weigh = weigh
        self._weight = 0
        """The weight of the young generation."""
        self._old: dict[K, V] = {}
        self.young: dict[K, V] = {}
        """The young generation, for hot paths that look here first and call `get` on a miss."""

    def get(self, key: K) -> V | None:
        """Return the value for `key`, or None. An entry found becomes young."""
        value = self.young.get(key)
        if value is None and self._old and (value := self._old.pop(key, None)) is not None:
            self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Set the value for `key`, and rotate first if the young generation has no room for it."""
        if key in self.young or key in self._old:
            self.drop(key)
        weight = 1 if self._weigh is None else self._weigh(key, value)
        if weight > self._half:
            return
        if self._weight + weight > self._half:
            self.rotate()
        self._weight += weight
        self.young[key] = value

    def drop(self, key: K) -> None:
        """Remove `key`, if it is there."""
        value = self.young.pop(key, None)
        if value is not None:
            self._weight -= 1 if self._weigh is None else self._weigh(key, value)
        self._old.pop(key, None)

    def rotate(self) -> None:
        """Start a new generation: drop the entries that were not used since the last call."""
        self._old = self.young
        self.young = {}
        self._weight = 0

    def __len__(self) -> int:
        return len(self.young) + len(self._old)
