"""A cache with a limit, for data whose amount clients determine.

`BoundedCache` has two generations. New entries go into the young generation. When it has reached
half the limit, it becomes the old generation, and the previous old generation is dropped. A hit in
the old generation moves the entry to the young one. So keys that are used once do not displace keys
in use, an operation costs one or two dict lookups, and no list has to be kept in order.

`Doorkeeper` tells which keys came before, so that a cache can leave out keys that come only once.
The name is that of the TinyLFU admission policy.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_SLOTS = 2048
"""Default number of hashes that a doorkeeper holds. Each key takes two slots."""

K = TypeVar("K")
V = TypeVar("V")


class Doorkeeper:
    """Keeps the hashes of recent keys: about half as many keys as it has slots, of 4 bytes each."""

    __slots__ = ("_hashes", "_slots")

    def __init__(self, slots: int = _SLOTS) -> None:
        self._slots = slots
        self._hashes = array("I", bytes(4 * slots))

    def admit(self, key: object) -> bool:
        """Return True if `key` came recently; otherwise record it and return False."""
        hashed = hash(key)
        # With one slot per key, two keys with the same slot that alternate were never admitted.
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
        """The young generation. Hot paths look here first, and call `get` on a miss."""

    def get(self, key: K) -> V | None:
        """Return the value for `key`, or None. Moves the entry to the young generation."""
        value = self.young.get(key)
        if value is None and self._old and (value := self._old.pop(key, None)) is not None:
            self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Set the value for `key`; call `rotate` before if the young generation has no room."""
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
        """Remove `key`, if it is present."""
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
