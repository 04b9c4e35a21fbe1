"""The bounded mapping, by example and against a model."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from portico.bounded import Bounded

LIMIT = 12
KEYS = st.integers(0, 20)
WEIGHTS = st.integers(1, 8)


class AgainstADict(RuleBasedStateMachine):
    """A dict that never forgets stands beside it; values are (serial number, weight).

    `age` is the weight of all that was kept or moved since a key was last used: below half the
    limit at most one turn can have happened, so the key must still be there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bounded: Bounded[int, tuple[int, int]] = Bounded(LIMIT, lambda _, value: value[1])
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
        self.bounded.put(key, (self.serial, weight))
        self.model[key] = (self.serial, weight)
        if weight <= LIMIT // 2:
            self.used(key, weight)
            assert self.bounded.young[key] == (self.serial, weight)
        else:
            self.age.pop(key, None)
            assert self.bounded.get(key) is None

    @rule(key=KEYS)
    def get(self, key: int) -> None:
        found = self.bounded.get(key)
        if found is None:
            assert key not in self.age or self.age[key] > LIMIT // 2
            self.age.pop(key, None)
            return
        assert found == self.model[key]
        assert self.bounded.young[key] == found
        self.used(key, found[1])

    @rule(key=KEYS)
    def drop(self, key: int) -> None:
        self.bounded.drop(key)
        self.model.pop(key, None)
        self.age.pop(key, None)
        assert self.bounded.get(key) is None

    @rule()
    def turn(self) -> None:
        young = dict(self.bounded.young)
        self.bounded.turn()
        self.age.clear()
        assert not self.bounded.young
        assert self.bounded._old == young

    @invariant()
    def never_beyond_the_limit(self) -> None:
        kept = [*self.bounded.young.values(), *self.bounded._old.values()]
        assert sum(weight for _, weight in kept) <= LIMIT
        assert len(kept) == len(self.bounded)

    @invariant()
    def never_what_was_not_put(self) -> None:
        """Also not an older value of a key that has a newer one, or was dropped."""
        for key, value in self.bounded.young.items():
            assert self.model[key] == value
        for key, value in self.bounded._old.items():
            assert self.model[key] == value or key in self.bounded.young


TestAgainstADict = AgainstADict.TestCase
TestAgainstADict.settings = settings(
    max_examples=200, stateful_step_count=60, derandomize=True, deadline=None
)


def test_what_is_in_use_outlives_a_flood() -> None:
    bounded: Bounded[int, str] = Bounded(100)
    bounded.put(-1, "in use")
    for number in range(10_000):
        bounded.put(number, "seen once")
        if number % 49 == 0:
            assert bounded.get(-1) == "in use"
        assert len(bounded) <= 100


def test_what_is_not_used_is_forgotten() -> None:
    bounded: Bounded[int, str] = Bounded(100)
    bounded.put(-1, "not used")
    for number in range(100):
        bounded.put(number, "seen once")
    assert bounded.get(-1) is None


def test_half_the_limit_is_young_before_the_generations_turn() -> None:
    bounded: Bounded[int, int] = Bounded(10)
    for number in range(5):
        bounded.put(number, number)
    assert list(bounded.young) == [0, 1, 2, 3, 4]
    bounded.put(5, 5)
    assert list(bounded.young) == [5]
    assert len(bounded) == 6


def test_what_moves_to_the_young_leaves_the_old() -> None:
    bounded: Bounded[str, int] = Bounded(10)
    bounded.put("a", 1)
    bounded.turn()
    assert bounded.get("a") == 1
    assert len(bounded) == 1


def test_two_turns_forget_everything() -> None:
    bounded: Bounded[str, int] = Bounded(10)
    bounded.put("a", 1)
    bounded.turn()
    assert bounded.get("a") == 1
    bounded.turn()
    bounded.turn()
    assert bounded.get("a") is None
    assert len(bounded) == 0


@pytest.mark.parametrize(
    ("limit", "weight", "kept"), [(10, 5, True), (10, 6, False), (1, 1, False)]
)
def test_an_entry_heavier_than_half_the_limit_is_not_kept(
    limit: int, weight: int, *, kept: bool
) -> None:
    bounded: Bounded[str, str] = Bounded(limit, lambda _key, _value: weight)
    bounded.put("a", "heavy")
    assert (bounded.get("a") == "heavy") is kept


def test_a_value_that_has_become_too_heavy_takes_the_old_one_with_it() -> None:
    bounded: Bounded[str, bytes] = Bounded(10, lambda _key, value: len(value))
    bounded.put("a", b"old")
    bounded.turn()
    bounded.put("a", b"old")
    bounded.put("a", b"much too heavy")
    assert bounded.get("a") is None


@pytest.mark.parametrize("value", [(), 0, "", False])
def test_a_value_that_counts_as_false_is_a_value(value: object) -> None:
    bounded: Bounded[str, object] = Bounded(10)
    bounded.put("a", value)
    assert bounded.get("a") == value
    bounded.turn()
    assert bounded.get("a") == value
    assert "a" in bounded.young


class Colliding:
    """A key whose hash is chosen."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return self.number


def test_keys_that_share_a_place_are_kept_all_the_same() -> None:
    """The lines of one head come by turns, for ever; some of them always share a place."""
    keys = [Colliding((number << 32) + 7) for number in range(100, 120)]
    memory: Bounded[Colliding, int] = Bounded(1000)
    for _ in range(2):
        for key in keys:
            memory.offer(key, key.number)
    assert [memory.get(key) for key in keys] == [key.number for key in keys]
