"""The reply cache against a simple model of it, whatever it is asked, in whatever order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from portico.server.reply_cache import Reply, ReplyCache, _length
from tests.server.test_reply_cache import bare, open_reply, reply

if TYPE_CHECKING:
    from portico.http.h1.head import HeadKey

MEMORY = 1 << 16
OPEN_FILES = 4
HEADS = 9
SHARE = MEMORY // 8
"""Octets that the heads of one reply may take."""

keys = st.integers(0, 7).map(lambda number: (b"GET /%d HTTP/1.1" % number, ("range", "x" * number)))
heads = st.tuples(st.integers(0, HEADS), st.sampled_from([100, 2048, 2049])).map(
    lambda drawn: b"%d " % drawn[0] + b"h" * (drawn[1] - len(b"%d " % drawn[0]))
)
contents = st.sampled_from([0, 100, 2048, 2049, 10_000, MEMORY // 4, MEMORY // 2, MEMORY])


def overhead_of_a_head() -> int:
    """What a head weighs besides its octets."""
    reply_cache, made = ReplyCache(1 << 20), reply()
    reply_cache.keep((b"GET / HTTP/1.1",), made)
    before = reply_cache._weight
    reply_cache.keep_head(b"head", made)
    return reply_cache._weight - before - len(b"head")


OVERHEAD = overhead_of_a_head()


class Kept:
    """What the model knows of a reply that is kept."""

    def __init__(self, made: Reply, weight: int, generation: int) -> None:
        self.reply = made
        self.bare = weight
        self.heads: list[bytes] = []
        self.generation = generation
        self.was_used = False

    @property
    def weight(self) -> int:
        return self.bare + sum(len(head) + OVERHEAD for head in self.heads)


class CacheAndModel(RuleBasedStateMachine):
    """The model keeps replies in a dict, the eldest first, and adds up each time."""

    def __init__(self) -> None:
        super().__init__()
        self.reply_cache = ReplyCache(MEMORY, OPEN_FILES)
        self.kept: dict[HeadKey, Kept] = {}
        self.seen: set[HeadKey] = set()
        self.offered: set[bytes] = set()
        self.generation = 0

    def _is_kept(self, made: Reply) -> bool:
        return made in self.reply_cache._entries

    def _used(self, key: HeadKey) -> None:
        self.kept[key].generation = self.generation
        self.kept[key].was_used = True

    def _shrink(self) -> None:
        while sum(each.weight for each in self.kept.values()) > MEMORY:
            key = next(iter(self.kept))
            eldest = self.kept.pop(key)
            if eldest.was_used:  # a second chance
                eldest.was_used = False
                self.kept[key] = eldest

    def _keep(self, key: HeadKey, made: Reply) -> None:
        before = self.reply_cache._weight
        self.reply_cache.keep(key, made)
        is_known = key in self.seen  # the keys are few, so none of them is forgotten
        self.seen.add(key)
        if not is_known and before >= MEMORY // 5:
            return
        self.kept.pop(key, None)
        weight = made.weight + _length(key)
        if made.holds_file:
            weight = max(weight, MEMORY // OPEN_FILES)
        if weight <= MEMORY // 2:
            self.kept[key] = Kept(made, weight, self.generation)
            self._shrink()

    @rule(key=keys, size=contents)
    def keep(self, key: HeadKey, size: int) -> None:
        self._keep(key, reply(b"c" * size))

    @rule(key=keys)
    def keep_an_open_file(self, key: HeadKey) -> None:
        self._keep(key, open_reply(Path(__file__)))

    @rule(key=keys, head=heads)
    def keep_head(self, key: HeadKey, head: bytes) -> None:
        self._offer(key, head)

    @rule(key=keys, offered=st.lists(heads, max_size=8))
    def keep_heads(self, key: HeadKey, offered: list[bytes]) -> None:
        for head in offered + offered:
            self._offer(key, head)

    def _offer(self, key: HeadKey, head: bytes) -> None:
        made = self.reply_cache.find(key)
        if (
            made is None or head in self.reply_cache.heads
        ):  # as the responder does: those are found by it
            return
        known = self.kept[key]
        is_first = not known.heads
        if len(known.heads) * (len(head) + OVERHEAD) > SHARE and head in self.offered:
            known.heads = known.heads if len(head) > 2048 else []
        self.reply_cache.keep_head(head, made)
        # Whether a further head is noted depends on its hash; but never is one at first sight.
        if self.reply_cache.heads.get(head) is made or not self._is_kept(made):
            assert is_first or head in self.offered
            known.heads.append(head)
        if not is_first:
            self.offered.add(head)
        self._shrink()

    @rule(key=keys)
    def keep_head_of_a_stranger(self, key: HeadKey) -> None:
        stranger = bare(())
        for _ in range(3):
            self.reply_cache.keep_head(key[0] if isinstance(key[0], bytes) else b"", stranger)
        assert stranger not in self.reply_cache.heads.values()

    @rule(key=keys)
    def touch(self, key: HeadKey) -> None:
        if (made := self.reply_cache.find(key)) is not None:
            self.reply_cache.touch(made)
            self._used(key)

    @rule(key=keys)
    def drop(self, key: HeadKey) -> None:
        if (made := self.reply_cache.find(key)) is not None:
            for _ in range(2):
                self.reply_cache.drop(made)
            assert not self._is_kept(made)
            del self.kept[key]

    @rule()
    def expire(self) -> None:
        self.reply_cache.expire()
        for key, known in list(self.kept.items()):
            if known.generation < self.generation:
                del self.kept[key]
        self.generation += 1

    @invariant()
    def replies_are_those_of_the_model(self) -> None:
        assert len(self.reply_cache) == len(self.kept)
        for key, known in self.kept.items():
            assert self.reply_cache.find(key) is known.reply
            entry = self.reply_cache._entries[known.reply]
            assert entry.key == key
            assert entry.heads == known.heads
            assert entry.weight == known.weight > 0
        assert self.reply_cache._weight == sum(each.weight for each in self.kept.values())

    @invariant()
    def heads_lead_to_replies_that_are_kept(self) -> None:
        expected = {head: each.reply for each in self.kept.values() for head in each.heads}
        assert self.reply_cache.heads == expected
        assert len(expected) == sum(len(each.heads) for each in self.kept.values())

    @invariant()
    def bounds_hold(self) -> None:
        assert sum(each.weight for each in self.kept.values()) <= MEMORY
        assert sum(each.reply.holds_file for each in self.kept.values()) <= OPEN_FILES
        for each in self.kept.values():
            assert each.weight - each.bare <= 2 * SHARE + 2048 + OVERHEAD


def test_it_is_as_its_model() -> None:
    run_state_machine_as_test(
        CacheAndModel, settings=settings(max_examples=40, stateful_step_count=50, deadline=None)
    )
