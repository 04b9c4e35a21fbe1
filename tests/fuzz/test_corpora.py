"""Each input in the corpora, and with that each find of the fuzzer, is tried again."""

from __future__ import annotations

import pytest

from tests.fuzz import corpora
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_breaks_no_rule(name: str) -> None:
    inputs = corpora.read(name)
    assert inputs
    for octets in inputs:
        try:
            TARGETS[name].check(octets)
        except Exception as problem:
            problem.add_note(f"the input: {corpora.escaped(octets)}")
            raise


def test_an_input_is_read_as_it_was_written() -> None:
    octets = bytes(range(256)) + b"\\x41\\\\"
    assert corpora.unescaped(corpora.escaped(octets)) == octets
