"""The bounded cache, against a model and by example; and its doorkeeper."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from portico.bounded import BoundedCache, Doorkeeper

LIMIT = 12
KEYS = st.integers(0, 20)
WEIGHTS = st.integers(1, 8)


class AgainstADict(RuleBasedStateMachine):
    """A dict that never forgets stands beside it; values are (serial number, weight).

    `age` is the weight of all that was kept or moved since a key was last used: below half the
    limit at most one rotation can have happened, so the key must still be there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cache = BoundedCache[int, tuple[int, int]](LIMIT, lambda _, value: value[1])
        self.model: dict[int, tuple[int, int]] = {}
        self.age: dict[int, int] = {}
        self.serial = 0

    def used(self, key: int, weight: int) -> None:
        for other in self.age:
            self.age[other] += weight
        self.age[key] = 0

    @rule(key=KEYS, weight=WEIGHTS)
    def put(self, key: int, weight: int) -> None:
        self.serial += 1
        self.cache.put(key, (self.serial, weight))
        self.model[key] = (self.serial, weight)
        if weight <= LIMIT // 2:
            self.used(key, weight)
            assert self.cache.young[key] == (self.serial, weight)
        else:
            self.age.pop(key, None)
            assert self.cache.get(key) is None

    @rule(key=KEYS)
    def get(self, key: int) -> None:
        found = self.cache.get(key)
        if found is None:
            assert key not in self.age or self.age[key] > LIMIT // 2
            self.age.pop(key, None)
            return
        assert found == self.model[key]
        assert self.cache.young[key] == found
        self.used(key, found[1])

    @rule(key=KEYS)
    def drop(self, key: int) -> None:
        self.cache.drop(key)
        self.model.pop(key, None)
        self.age.pop(key, None)
        assert self.cache.get(key) is None

    @rule()
    def rotate(self) -> None:
        young = dict(self.cache.young)
        self.cache.rotate()
        self.age.clear()
        assert not self.cache.young
        assert self.cache._old == young

    @invariant()
    def never_beyond_the_limit(self) -> None:
        kept = [*self.cache.young.values(), *self.cache._old.values()]
        assert sum(weight for _, weight in kept) <= LIMIT
        assert len(kept) == len(self.cache)

    @invariant()
    def never_what_was_not_put(self) -> None:
        """Also not an older value of a key that has a newer one, or was dropped."""
        for key, value in self.cache.young.items():
            assert self.model[key] == value
        for key, value in self.cache._old.items():
            assert self.model[key] == value or key in self.cache.young


TestAgainstADict = AgainstADict.TestCase
TestAgainstADict.settings = settings(
    max_examples=100, stateful_step_count=60, derandomize=True, deadline=None
)


def test_what_is_in_use_outlives_a_flood_and_what_is_not_is_forgotten() -> None:
    cache = BoundedCache[int, str](100)
    cache.put(-1, "in use")
    cache.put(-2, "not used")
    for number in range(10_000):
        cache.put(number, "used once")
        if number % 49 == 0:
            assert cache.get(-1) == "in use"
        assert len(cache) <= 100
    assert cache.get(-2) is None


def test_half_the_limit_is_young_before_the_generations_rotate() -> None:
    cache = BoundedCache[int, int](10)
    for number in range(5):
        cache.put(number, number)
    assert list(cache.young) == [0, 1, 2, 3, 4]
    cache.put(5, 5)
    assert list(cache.young) == [5]
    assert len(cache) == 6


@pytest.mark.parametrize(
    ("limit", "weight", "kept"), [(10, 5, True), (10, 6, False), (1, 1, False)]
)
def test_an_entry_heavier_than_half_the_limit_is_not_kept(
    limit: int, weight: int, kept: bool
) -> None:
    cache = BoundedCache[str, str](limit, lambda _key, _value: weight)
    cache.put("a", "heavy")
    assert (cache.get("a") == "heavy") is kept


@pytest.mark.parametrize("value", [(), 0, "", False])
def test_a_value_that_counts_as_false_is_a_value(value: object) -> None:
    cache = BoundedCache[str, object](10)
    cache.put("a", value)
    assert cache.get("a") == value
    cache.rotate()
    assert cache.get("a") == value
    assert "a" in cache.young


class Colliding:
    """A key whose hash is chosen."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return self.number


def test_keys_that_share_a_slot_are_all_admitted_when_they_come_again() -> None:
    """The lines of one head come in turn, again and again; some of them always share a slot."""
    keys = [Colliding((number << 32) + 7) for number in range(100, 120)]
    doorkeeper = Doorkeeper()
    assert not any(doorkeeper.admit(key) for key in keys)
    assert all(doorkeeper.admit(key) for key in keys)


def test_a_doorkeeper_forgets() -> None:
    doorkeeper = Doorkeeper()
    assert not doorkeeper.admit("first")
    for number in range(5000):
        doorkeeper.admit(str(number))
    assert not doorkeeper.admit("first")


def test_a_doorkeeper_remembers_about_half_as_many_keys_as_it_has_slots() -> None:
    doorkeeper = Doorkeeper(1 << 12)
    for number in range(1 << 11):
        doorkeeper.admit(str(number))
    assert sum(doorkeeper.admit(str(number)) for number in range(1 << 11)) > 1 << 10
