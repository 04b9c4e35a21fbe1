"""Portico beside h11 and httptools: whatever they read differently is explained, or it fails."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.http.h1 import field_cases, framing_cases, start_line_cases, wire
from tests.http.h1.differences import DIFFERENCES, Difference
from tests.http.h1.effort import EFFORT
from tests.http.h1.parsers import PEERS, by_portico

CASES = (*start_line_cases.CASES, *field_cases.CASES, *framing_cases.CASES)


def complete(data: bytes) -> bytes:
    """`data` up to its first empty line; with one more if it has none."""
    at = data.find(b"\r\n\r\n", data.startswith(b"\r\n") * 2)
    return data + b"\r\n\r\n" if at < 0 else data[: at + 4]


def differences(head: bytes) -> set[tuple[str, str]]:
    """In what each peer differs from Portico on `head`: (peer, kind)."""
    ours = by_portico(head)
    found = set()
    for peer, read in PEERS.items():
        theirs = read(head)
        if ours is None or theirs is None:
            if ours is not theirs:
                found.add((peer, "refuses" if ours else "accepts"))
            continue
        found |= {
            (peer, name) for name in ours._fields if getattr(ours, name) != getattr(theirs, name)
        }
    return found


def explained(head: bytes) -> set[tuple[str, str]]:
    """What the table expects at most."""
    found: set[tuple[str, str]] = set()
    for row in DIFFERENCES:
        if row.pattern.search(head):
            found |= row.peers.items()
    return found


@pytest.mark.parametrize("row", DIFFERENCES, ids=lambda row: row.name)
def test_each_difference_is_real(row: Difference) -> None:
    assert row.pattern.search(row.example)
    assert differences(row.example) == row.peers.items()


def test_every_case_is_read_alike_or_the_difference_is_explained() -> None:
    for head in [complete(case.head) for case in CASES]:
        assert differences(head) <= explained(head), head


@EFFORT
@given(wire.valid_head())
def test_valid_heads_are_read_alike(head: bytes) -> None:
    differ = differences(head)
    assert differ <= explained(head)
    assert not {kind for _, kind in differ} & {"accepts", "refuses", "content", "method", "target"}


@EFFORT
@given(wire.mutated())
def test_nearly_valid_heads_are_read_alike_or_the_difference_is_explained(data: bytes) -> None:
    head = complete(data)
    assert differences(head) <= explained(head), by_portico(head)
