"""Chains of redirects that never arrive."""

from __future__ import annotations

import pytest
from hypothesis import given

from portico.site.rules.redirects import HOPS_LIMIT, find_cycles, parse_redirects
from tests.http.h1.effort import EFFORT
from tests.site.rules.test_redirects import files, rules


def found(text: str) -> list[tuple[str, tuple[int, ...]]]:
    return [(cycle.start, cycle.lines) for cycle in find_cycles(rules(text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a /b\n/b /a", [("/a", (1, 2))]),
        ("/a /b\n/b /c\n/c /b", [("/a", (2, 3))]),
        ("/a /b/\n/b /a/", [("/a", (2, 1))]),
        ("/a/* /b/:splat\n/b/* /a/:splat", [("/a/any~0", (1, 2))]),
        ("/a/* /a/b/:splat", [("/a/any~0", (1,))]),
        ("/a /b?x=1\n/b x=:x /a", [("/a", (1, 2))]),
        ("/a https://h.example/b\nhttp://h.example/b /a", [("/a", (2, 1))]),
        (
            "http://a.example/* http://b.example/:splat\nhttp://b.example/* http://a.example/:splat",
            [("/any~0", (1, 2))],
        ),
        # What ends is no cycle.
        ("/a /b\n/b /c", []),
        ("/* /index.html", []),
        ("/trailing /trailing/", []),
        ("/a /b\n/b /a 200", []),
        ("/a https://elsewhere.example/b\n/b /a", []),
        ("/* https://www.h.example/:splat 301!", []),
        ("/s id=:id /s/:id\n/s/:id /p/:id", []),
    ],
)
def test_cycles(text: str, expected: list[tuple[str, tuple[int, ...]]]) -> None:
    assert found(text) == expected


def test_a_chain_longer_than_browsers_follow_is_one() -> None:
    steps = [f"/{number} /{number + 1}" for number in range(HOPS_LIMIT)]
    assert found("\n".join(steps)) == []
    steps.append(f"/{HOPS_LIMIT} /end")
    assert found("\n".join(steps)) == [("/0", tuple(range(1, HOPS_LIMIT + 2)))]


def test_a_file_ends_a_chain_unless_the_rule_is_forced() -> None:
    redirects = rules("/a /b\n/b /a")
    assert find_cycles(redirects, lambda path: path == "/b") == []
    assert len(find_cycles(redirects, lambda path: path == "/c")) == 1
    forced = rules("/a /b 301!\n/b /a 301!")
    assert len(find_cycles(forced, lambda _: True)) == 1


@EFFORT
@given(files)
def test_any_file_is_followed_to_an_end(text: str) -> None:
    redirects, _ = parse_redirects(text)
    lines = {rule.line for rule in redirects.rules}
    for cycle in find_cycles(redirects):
        assert cycle.lines
        assert set(cycle.lines) <= lines
