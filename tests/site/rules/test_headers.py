"""The file _headers: which blocks apply, what they change, and which lines are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.http.h1.grammar import TOKEN
from portico.http.message import Field
from portico.site.rules.headers import (
    BLOCKS_LIMIT,
    LINE_LIMIT,
    SIZE_LIMIT,
    HeaderRules,
    parse_headers,
)
from tests.http.h1.effort import EFFORT

OWN: list[Field] = [
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Length", "7"),
    ("Cache-Control", "no-cache"),
    ("Vary", "Accept-Encoding"),
    ("ETag", '"x"'),
]


def rules(text: str) -> HeaderRules:
    headers, problems = parse_headers(text)
    assert [str(problem) for problem in problems] == []
    return headers


def apply(text: str, path: str, host: str = "", own: list[Field] | None = None) -> list[Field]:
    return rules(text).apply(path, host, own or [])[0]


# --- what blocks say

DOCUMENTED = """
# This is a comment
/secure/page
  X-Frame-Options: DENY
  X-Content-Type-Options: nosniff
  Referrer-Policy: no-referrer

/static/*
  Access-Control-Allow-Origin: *
  X-Robots-Tag: nosnippet

https://myproject.pages.dev/*
  X-Robots-Tag: noindex
"""
SECURE = [
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
]


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        ("custom.domain", "/secure/page", SECURE),
        (
            "custom.domain",
            "/static/image.jpg",
            [("Access-Control-Allow-Origin", "*"), ("X-Robots-Tag", "nosnippet")],
        ),
        ("myproject.pages.dev", "/home", [("X-Robots-Tag", "noindex")]),
        ("myproject.pages.dev", "/secure/page", [*SECURE, ("X-Robots-Tag", "noindex")]),
        (
            "myproject.pages.dev",
            "/static/styles.css",
            [("Access-Control-Allow-Origin", "*"), ("X-Robots-Tag", "nosnippet, noindex")],
        ),
        ("custom.domain", "/elsewhere", []),
    ],
)
def test_the_documented_example(host: str, path: str, expected: list[Field]) -> None:
    assert apply(DOCUMENTED, path, host) == expected


def test_the_example_of_the_manual_is_read() -> None:
    manual = Path(__file__).parents[3] / "docs" / "rules.md"
    example = re.findall(r"```\n(.*?)```", manual.read_text(encoding="utf-8"), re.DOTALL)[-1]
    assert apply(example, "/assets/a.js", own=OWN[2:3]) == [
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "public, max-age=31536000, immutable"),
    ]


def test_the_lines_of_the_blocks_that_applied_are_told() -> None:
    headers = rules(DOCUMENTED)
    assert headers.apply("/static/a", "myproject.pages.dev", [])[1] == [8, 12]
    assert headers.apply("/elsewhere", "", OWN) == (OWN, [])


def test_a_value_takes_the_place_of_the_servers_own() -> None:
    changed = apply("/*\n  cache-control: max-age=60\n", "/a", own=OWN)
    assert [field for field in changed if field[0].lower() == "cache-control"] == [
        ("cache-control", "max-age=60")
    ]
    assert len(changed) == len(OWN)


def test_the_servers_own_list_is_not_changed() -> None:
    before = list(OWN)
    apply("/*\n  Vary: Cookie\n  Cache-Control: a\n  ! ETag\n", "/a", own=OWN)
    assert before == OWN


def test_values_of_one_name_are_joined() -> None:
    text = "/*\n  Cache-Control: public\n  cache-control: max-age=60\n/a\n  Cache-Control: x\n"
    assert apply(text, "/a", own=OWN[2:3]) == [("Cache-Control", "public, max-age=60, x")]
    assert apply(text, "/b", own=OWN[2:3]) == [("Cache-Control", "public, max-age=60")]


def test_a_field_is_detached() -> None:
    text = (
        "/*\n  Content-Security-Policy: default-src 'self';\n/*.jpg\n  ! Content-Security-Policy\n"
    )
    assert apply(text, "/a.html") == [("Content-Security-Policy", "default-src 'self';")]
    assert apply(text, "/a/b.jpg") == []


def test_removal_comes_first_in_its_block() -> None:
    text = "/*\n  Cache-Control: public\n/a\n  Cache-Control: no-store\n  !cache-control\n"
    assert apply(text, "/a", own=OWN[2:3]) == [("Cache-Control", "no-store")]


def test_the_servers_own_field_is_removed() -> None:
    assert apply("/*\n  ! ETag\n  ! Cache-Control\n", "/a", own=OWN) == [OWN[0], OWN[1], OWN[3]]


def test_vary_is_only_added_to() -> None:
    assert apply("/*\n  vary: Cookie\n", "/a", own=OWN[3:4]) == [
        ("Vary", "Accept-Encoding, Cookie")
    ]
    assert apply("/*\n  Vary: Cookie\n", "/a") == [("Vary", "Cookie")]


def test_cookies_are_not_joined() -> None:
    text = "/*\n  Set-Cookie: a=1\n  Set-Cookie: b=2\n/a\n  Set-Cookie: c=3\n  X: y\n"
    cookies = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Set-Cookie", "c=3")]
    assert apply(text, "/a") == [*cookies, ("X", "y")]


@pytest.mark.parametrize(
    ("source", "value", "host", "path", "expected"),
    [
        (
            "/movies/:title",
            'You are watching ":title"',
            "",
            "/movies/alien",
            'You are watching "alien"',
        ),
        ("/a/*", "</b/:splat>; rel=canonical", "", "/a/x/y", "</b/x/y>; rel=canonical"),
        (
            "https://:project.pages.dev/*",
            "https://staging.:project.pages.dev/",
            "shop.pages.dev",
            "/",
            "https://staging.shop.pages.dev/",
        ),
        # What is captured is a value and nothing else.
        ("/a/:x", "script-src :x", "", "/a/*;object-src,*", "script-src %2A%3Bobject-src%2C%2A"),
        ("/a/:x", "v :x", "", "/a/%0d%0aX:y\r\n", "v %0D%0AX%3Ay%0D%0A"),
        ("/a/:x", 'v ":x"', "", '/a/"', 'v "%22"'),
        ("/a/*", "(:splat) :splat", "", "/a", "()"),
        # Other colons are text.
        ("/a/:x", "connect-src wss://h.example:443 data: :y", "", "/a/1", None),
    ],
)
def test_captured_values(
    source: str, value: str, host: str, path: str, expected: str | None
) -> None:
    assert apply(f"{source}\n  X-Y: {value}", path, host) == [("X-Y", expected or value)]


def test_a_field_whose_value_turns_out_empty_is_not_set() -> None:
    assert apply("/a/*\n  Cache-Control: :splat\n", "/a", own=OWN[2:3]) == OWN[2:3]
    assert apply("/a/*\n  Cache-Control: :splat\n", "/a/x", own=OWN[2:3]) == [
        ("Cache-Control", "x")
    ]


@pytest.mark.parametrize("path", ["/%61dmin/x", "/admin/%78", "/admin/x/", "/ad%6Din", "/admin/"])
def test_no_spelling_dodges_a_block(path: str) -> None:
    assert apply("/admin/*\n  X: y\n", path) == [("X", "y")]


def test_indentation_does_not_matter() -> None:
    assert apply("   /a\nX: y\r\n\t\tZ:w", "/a") == [("X", "y"), ("Z", "w")]


# --- lines that are refused


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("X", 'is "Name: value"'),
        ("X:", "empty"),
        ("X: \t", "empty"),
        (": y", "not the name"),
        ("X Y: z", "not the name"),
        ("Überschrift: z", "not the name"),
        ("X: ä", "visible ASCII"),
        ("X: a\rY: b", "visible ASCII"),
        ("X: a\0", "visible ASCII"),
        ("X: \ud800", "visible ASCII"),
        ("! X: y", "not the name"),
        ("!", "not the name"),
        ("Content-Length: 3", "cannot be set"),
        ("transfer-encoding: chunked", "cannot be set"),
        ("Connection: close", "cannot be set"),
        ("Keep-Alive: timeout=5", "cannot be set"),
        ("Upgrade: h2c", "cannot be set"),
        ("Trailer: X", "cannot be set"),
        ("Date: now", "cannot be set"),
        ("Content-Range: bytes 0-1/2", "cannot be set"),
        ("Content-Encoding: deflate", "br, zstd, gzip"),
        ("! Content-Encoding", "cannot be removed"),
        ("Location: /evil", "cannot be set"),
        ("Server: other", "cannot be set"),
        ('ETag: "y"', "cannot be set"),
        ("Last-Modified: now", "cannot be set"),
        ("! Content-Length", "cannot be removed"),
        ("! Date", "cannot be removed"),
        ("! Vary", "cannot be removed"),
        ("Basic-Auth: user:password", "would show its password"),
        ("X: " + "y" * LINE_LIMIT, "more than 2000 characters"),
    ],
)
def test_lines_that_are_refused(line: str, why: str) -> None:
    headers, problems = parse_headers(f"/a\n  Before: 1\n  {line}\n  After: 2\n")
    assert [problem.line for problem in problems] == [3]
    assert problems[0].text == line.strip()
    assert why in problems[0].why
    assert headers.apply("/a", "", OWN)[0] == [*OWN, ("Before", "1"), ("After", "2")]


@pytest.mark.parametrize("path", ["/a/../b", "https://h.example:8000/a", "ftp://h.example/", "//a"])
def test_the_fields_of_a_refused_path_are_refused_with_it(path: str) -> None:
    headers, problems = parse_headers(f"/*\n  X: 1\n{path}\n  Y: 2\n  ! X\n/b\n  Z: 3\n")
    assert [problem.line for problem in problems] == [3]
    assert headers.apply("/a", "", [])[0] == [("X", "1")]
    assert headers.apply("/b", "", [])[0] == [("X", "1"), ("Z", "3")]


def test_a_field_without_a_path_and_a_path_without_a_field_are_reported() -> None:
    headers, problems = parse_headers("X: 1\n/a\n/b\n  Y: 2\n/c\n  Date: 3\n")
    assert [(problem.line, problem.why) for problem in problems] == [
        (1, "A path must come first, to say what the field is for."),
        (2, "No field is left for this path."),
        (5, "No field is left for this path."),
        (6, "Date belongs to the server; it cannot be set."),
    ]
    assert len(headers.blocks) == 1


def test_the_limit_of_blocks() -> None:
    text = "".join(f"/{number}\n  X: {number}\n" for number in range(BLOCKS_LIMIT + 2))
    headers, problems = parse_headers(text)
    assert len(headers.blocks) == BLOCKS_LIMIT
    assert [problem.line for problem in problems] == [2 * BLOCKS_LIMIT + 1]
    assert headers.apply(f"/{BLOCKS_LIMIT - 1}", "", [])[0] == [("X", str(BLOCKS_LIMIT - 1))]
    assert headers.apply(f"/{BLOCKS_LIMIT}", "", [])[0] == []


def test_the_limit_of_what_is_added_to_a_response() -> None:
    headers, problems = parse_headers("/*\n" + "  X: :splat:splat\n" * 4000)
    assert problems == []
    found = headers.apply("/" + "y" * 1000, "", [])[0]
    assert SIZE_LIMIT // 2 < sum(len(name) + len(value) for name, value in found) <= SIZE_LIMIT


# --- for any text and any request

names = st.sampled_from(["X", "x", "Vary", "Set-Cookie", "Cache-Control", "Date", "ETag", "é", ""])
values = st.one_of(st.sampled_from(["1", ":x", ":splat", "a, b", "a;b:c"]), st.text())
lines = st.one_of(
    st.sampled_from(["/", "/*", "/a/*", "/:x", "/a/:x", "/b", "https://:h.example/*", "# no"]),
    st.builds("  {}: {}".format, names, values),
    st.builds("  ! {}".format, names),
    st.text(),
)
files = st.one_of(st.text(), st.lists(lines, max_size=12).map("\n".join))
paths = st.one_of(st.text().map("/{}".format), st.sampled_from(["/", "/a", "/a/b,c;d", "/%0D%0A"]))


@EFFORT
@given(files, paths, st.sampled_from(["", "h.example", "x.example"]))
def test_no_file_makes_an_invalid_field(text: str, path: str, host: str) -> None:
    headers, _ = parse_headers(text)
    fields, applied = headers.apply(path, host, list(OWN))
    for name, value in fields:
        assert TOKEN.fullmatch(name)
        assert re.fullmatch(r"[!-~](?:[\t -~]*[!-~])?", value)
    # What frames the message is as it was, and no name but Set-Cookie stands twice.
    assert [field for field in fields if field[0] == "Content-Length"] == [OWN[1]]
    assert "Accept-Encoding" in dict(fields)["Vary"]
    kept = [name.lower() for name, _ in fields if name.lower() != "set-cookie"]
    assert len(kept) == len(set(kept))
    assert "date" not in kept
    assert applied == sorted(set(applied))


@EFFORT
@given(files)
def test_each_line_is_told_at_most_once(text: str) -> None:
    headers, problems = parse_headers(text)
    count = len(text.split("\n"))
    told = [problem.line for problem in problems]
    assert told == sorted(set(told))
    assert all(1 <= line <= count for line in told)
    assert not set(told) & {block.line for block in headers.blocks}
