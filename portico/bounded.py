"""A dict that forgets: bounded memory for whatever clients can make grow.

Two generations. New entries go into the young one; when that has reached half the limit it becomes
the old one, and the old one is dropped. An entry found in the old generation moves to the young
one. So a flood of keys that are seen once pushes out nothing that is in use, an operation costs one
or two dict look-ups, there is no list to keep in order, and the limit is never exceeded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_OFFERS = 2048
"""Places for notes of keys that were offered once. Each takes two."""

K = TypeVar("K")
V = TypeVar("V")


class Notes:
    """Remembers of keys only that they were seen, and only the last few thousand.

    For keys most of which never come again: they then cost no more than a note of their hash.
    """

    __slots__ = ("_hashes",)

    def __init__(self) -> None:
        self._hashes = [0] * _OFFERS

    def has(self, key: object) -> bool:
        """Was `key` seen before, not too many others ago? If not, note it."""
        noted = hash(key)
        # Two places: with one, two keys that share it and come by turns would never be known.
        first, second = noted % _OFFERS, (noted >> 32) % _OFFERS
        hashes = self._hashes
        if hashes[first] == noted or hashes[second] == noted:
            return True
        hashes[first] = hashes[second] = noted
        return False


class Bounded(Generic[K, V]):
    """A mapping that holds entries of a total weight of at most `limit`.

    `weigh` tells an entry's weight (entries weigh 1 each without it). An entry heavier than half
    the limit is not kept at all.
    """

    __slots__ = ("_half", "_notes", "_old", "_weigh", "_weight", "young")

    def __init__(self, limit: int, weigh: Callable[[K, V], int] | None = None) -> None:
        self._half = limit // 2
        self._weigh = weigh
        self._weight = 0
        self._old: dict[K, V] = {}
        self._notes = Notes()
        self.young: dict[K, V] = {}
        """The young generation, for hot paths that look there first and call `get` on a miss."""

    def get(self, key: K) -> V | None:
        """The value kept for `key`, or None. What is found is safe from the next turn."""
        value = self.young.get(key)
        if value is None and (value := self._old.pop(key, None)) is not None:
            self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Keep `value` for `key`, dropping the old generation when the young one is full."""
        self.drop(key)
        weight = self._weight_of(key, value)
        if weight > self._half:
            return
        if self._weight + weight > self._half:
            self.turn()
        self._weight += weight
        self.young[key] = value

    def offer(self, key: K, value: V) -> None:
        """Keep `value` for `key` if the key has been offered before, not too many others ago."""
        if self._notes.has(key):
            self.put(key, value)

    def drop(self, key: K) -> None:
        """Forget `key`."""
        value = self.young.pop(key, None)
        if value is not None:
            self._weight -= self._weight_of(key, value)
        self._old.pop(key, None)

    def _weight_of(self, key: K, value: V) -> int:
        return 1 if self._weigh is None else self._weigh(key, value)

    def turn(self) -> None:
        """Begin a new generation: what was not used since the last call is forgotten."""
        self._old = self.young
        self.young = {}
        self._weight = 0

    def __len__(self) -> int:
        return len(self.young) + len(self._old)
