"""What _redirects and _headers share: the normal form of paths, patterns, the index, templates."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portico.site.rules.pattern import (
    LINES_LIMIT,
    BadRuleError,
    Index,
    Pattern,
    Problem,
    Template,
    as_written,
    neutral,
    normal_path,
    normal_segment,
    rule_lines,
)
from portico.site.target import encode_path, path_names
from tests.http.h1.effort import EFFORT

NORMAL = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-F]{2})*")

# Sources and paths of few words, so that they meet often.
words = st.sampled_from(["a", "b", "blog", "a.jpg", "b.jpg", "caf%C3%A9", "x%2Fy", ""])
source_words = st.one_of(words, st.sampled_from([":x", ":y", "*", "a:x", "*.jpg", "a*", ":x.jpg"]))
hosts = st.sampled_from(["", "https://h.example", "http://:sub.h.example"])
sources = st.builds(
    lambda host, names: f"{host}/{'/'.join(names)}", hosts, st.lists(source_words, max_size=4)
)
paths = st.lists(words, max_size=4).map(lambda names: f"/{'/'.join(names)}")
asked_hosts = st.sampled_from(["", "h.example", "s.h.example", "t.s.h.example"])


def pattern(text: str) -> Pattern | None:
    try:
        return Pattern(text)
    except BadRuleError:
        return None


# --- lines


def test_lines_are_numbered_and_empty_ones_and_comments_left_out() -> None:
    text = "\ufeff# comment\n\n  /a /b  \r\n\t# another\n/c /d"
    problems: list[Problem] = []
    assert list(rule_lines(text, problems)) == [(3, "/a /b"), (5, "/c /d")]
    assert problems == []
    assert len(list(rule_lines("/a\n" * 50_000, problems))) == LINES_LIMIT
    assert [problem.line for problem in problems] == [LINES_LIMIT + 1]


# --- the normal form


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/plain/path.html", "/plain/path.html"),
        ("/%61%2d%7E", "/a-~"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/café", "/caf%C3%A9"),
        ("/a%2fb", "/a/b"),
        ("//a%2F/b//", "/a/b/"),
        ("/a%20b c", "/a%20b%20c"),
        ("/%0d%0a\r\n", "/%0D%0A%0D%0A"),
        ("/100%", "/100%25"),
        ("/%zz", "/%25zz"),
        ("/%252F", "/%252F"),
        ('/|{}"<>\\^`', "/%7C%7B%7D%22%3C%3E%5C%5E%60"),
        ("/?#", "/%3F%23"),
        ("/\ud800", "/%ED%A0%80"),
    ],
)
def test_normal_form(path: str, expected: str) -> None:
    assert normal_path(path) == expected


@EFFORT
@given(st.text())
def test_the_normal_form_is_visible_ascii_and_stays_itself(text: str) -> None:
    normal = normal_path(text)
    assert NORMAL.fullmatch(normal)
    assert normal_path(normal) == normal


@EFFORT
@given(st.binary(max_size=20), st.data())
def test_each_spelling_of_an_octet_has_the_same_normal_form(
    octets: bytes, data: st.DataObject
) -> None:
    path = "/" + quote(octets, safe="/")
    spelt = "".join(
        f"%{ord(letter):02x}" if letter.isalnum() and data.draw(st.booleans()) else letter
        for letter in re.sub("%..", "", path)
    )
    assert normal_path(spelt) == normal_path(re.sub("%..", "", path))
    assert unquote_to_bytes(normal_path(path)) == b"/" + octets


@EFFORT
@given(st.lists(st.text(min_size=1).filter(lambda name: not re.search(r"[/\\\0]|^\.\.?$", name))))
def test_paths_that_the_site_writes_are_normal_already(names: list[str]) -> None:
    try:
        path = encode_path(tuple(names) or ("",))
    except UnicodeEncodeError:
        return
    assert normal_path(path) == path
    assert path_names(path, windows=False) == (tuple(names) or ("",))


def test_a_segment_has_no_slash() -> None:
    assert normal_segment("../a%2fb?c") == "..%2Fa%2Fb%3Fc"


def test_text_of_a_destination_keeps_what_its_author_encoded() -> None:
    assert as_written("/a%2Fb%c3%a9?x=ä b%") == "/a%2Fb%c3%a9?x=%C3%A4%20b%25"
    assert as_written("/\\evil\r\n") == "/%5Cevil%0D%0A"


@EFFORT
@given(st.text())
def test_neutral_values_hold_no_delimiter(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9\-._~/%]*", neutral(normal_path(text)))


# --- patterns


@pytest.mark.parametrize(
    ("source", "path", "captured"),
    [
        ("/", "/", {}),
        ("/home", "/home", {}),
        ("/home", "/home/", {}),
        ("/home/", "/home", {}),
        ("/home", "/home2", None),
        ("/home", "/Home", None),
        ("/home", "/", None),
        ("/news/*", "/news/2004/01/10/my-story", {"splat": "2004/01/10/my-story"}),
        ("/news/*", "/news/", {"splat": ""}),
        ("/news/*", "/news", {"splat": ""}),
        ("/news/*", "/newspaper", None),
        ("/*", "/", {"splat": ""}),
        ("/*", "/a/b/", {"splat": "a/b/"}),
        ("/*.jpg", "/a/b.jpg", {"splat": "a/b"}),
        ("/*.jpg", "/a/b.jpg/", {"splat": "a/b"}),
        ("/*.jpg", "/a/b.png", None),
        ("/a/*/z", "/a/b/c/z", {"splat": "b/c"}),
        ("/img*", "/img-2/x", {"splat": "-2/x"}),
        ("/movies/:title", "/movies/alien", {"title": "alien"}),
        ("/movies/:title", "/movies/alien/", {"title": "alien"}),
        ("/movies/:title", "/movies/", None),
        ("/movies/:title", "/movies/alien/3", None),
        ("/:year/:month/*", "/2004/02/a/b", {"year": "2004", "month": "02", "splat": "a/b"}),
        ("/p-:id_2.html", "/p-7.html", {"id_2": "7"}),
        ("/p-:id.html", "/p-.html.html", {"id": ".html"}),
        ("/caf%c3%a9/:x", "/caf%C3%A9/%20", {"x": "%20"}),
        ("/café", "/caf%C3%A9", {}),
        ("/a.b", "/axb", None),
        ("/(a|b)+", "/a", None),
        ("/(a|b)+", "/(a%7Cb)+", {}),
        ("/%2A", "/*", {}),
        ("/%2A", "/a", None),
        ("/a%3Ab", "/a:b", {}),
        ("/at/12:30", "/at/12:30", {}),
        ("/a%2Fb", "/a/b", {}),
        ("/a/:x%2Fc", "/a/b/c", {"x": "b"}),
    ],
)
def test_paths_that_match(source: str, path: str, captured: dict[str, str] | None) -> None:
    assert Pattern(source).match(path, "any.example") == captured


@pytest.mark.parametrize(
    ("source", "host", "captured"),
    [
        ("https://example.com/a", "example.com", {}),
        ("HTTP://Example.COM./a", "example.com", {}),
        ("https://example.com/a", "www.example.com", None),
        ("https://example.com/a", "", None),
        ("https://exampleXcom/a", "example.com", None),
        ("https://:project.pages.dev/a", "main.pages.dev", {"project": "main"}),
        ("https://:project.pages.dev/a", "x.main.pages.dev", None),
        ("https://:Project.pages.dev/:x", "main.pages.dev", {"Project": "main", "x": "a"}),
        ("https://[::1]/a", "[::1]", {}),
    ],
)
def test_hosts_that_match(source: str, host: str, captured: dict[str, str] | None) -> None:
    assert Pattern(source).match("/a", host) == captured


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("home", "must begin"),
        ("ftp://h.example/", "must begin"),
        ("", "must begin"),
        ("//h.example/a", "single"),
        ("https://h.example//a", "single"),
        ("/a?b", '"?"'),
        ("/a#b", '"?"'),
        ("https://h.example?b", '"?"'),
        ("/a/../b", '".."'),
        ("/a/%2e%2E", '".."'),
        ("/*/a/*", "more than one splat"),
        ("/:a-:b", "only one placeholder"),
        ("/:a*", "only one placeholder"),
        ("/:a/:a", "same name"),
        ("/:splat/*", "same name"),
        ("https://:a.h.example/:a", "same name"),
        ("https:///a", "does not name a host"),
        ("https://*.h.example/a", "does not name a host"),
        ("https://user@h.example/a", "does not name a host"),
        ("https://münchen.example/a", "does not name a host"),
        ("https://h.example:8000/a", "port"),
        ("https://:a-:b.example/a", "only one placeholder"),
    ],
)
def test_texts_that_are_no_source(source: str, why: str) -> None:
    with pytest.raises(BadRuleError, match=re.escape(why)):
        Pattern(source)


@EFFORT
@given(sources)
def test_a_pattern_matches_its_sample(source: str) -> None:
    found = pattern(source)
    if found is not None:
        host, path = found.sample()
        assert normal_path(path) == path
        assert found.match(path, host) is not None


@EFFORT
@example("/b/*/", "/b/x", "/")
@example("/b*/:x/c", "/bb/x/c", "/")
@example("/*.jpg", "/b/c.jpg", "/")
@given(sources, paths, st.sampled_from(["", "/"]))
def test_splat_within_a_path_matches_what_one_expression_would(
    source: str, path: str, end: str
) -> None:
    """Which needs time for each place in the path."""
    found = pattern(source)
    if found is None or found.host != "" or "*" not in source.removesuffix("*"):
        return
    expression = re.escape(normal_path(source.removesuffix("/")))
    expression = re.sub(r":[xy]", "([^/]+)", expression.replace(r"\*", "(.*)"))
    expected = re.fullmatch(f"{expression}/?", path + end)
    captures = found.match(path + end, "")
    if expected is None:
        assert captures is None
    else:
        assert captures == dict(zip(found.names, expected.groups(), strict=True))


@EFFORT
@given(st.text())
def test_any_text_is_a_source_or_refused(text: str) -> None:
    found = pattern(text)
    assert found is None or found.match(*reversed(found.sample())) is not None


@EFFORT
@given(st.lists(sources, max_size=8), st.lists(paths, min_size=1), asked_hosts)
def test_the_index_leaves_out_nothing_that_matches(
    texts: list[str], asked: list[str], host: str
) -> None:
    patterns = [found for found in map(pattern, texts) if found is not None]
    index = Index(patterns)
    for path in asked:
        numbers = list(index.candidates(path))
        assert numbers == sorted(set(numbers))
        matching = [n for n, each in enumerate(patterns) if each.match(path, host) is not None]
        assert set(matching) <= set(numbers)


def test_the_index_passes_over_what_cannot_match() -> None:
    sources = ["/a/b", "/blog/*", "/shop/:x", "/:y/c", "/a/b/c"]
    index = Index([Pattern(source) for source in sources])
    assert list(index.candidates("/a/b/")) == [0, 3]
    assert list(index.candidates("/blog")) == [1, 3]
    assert list(index.candidates("/blog/x")) == [1, 3]
    assert list(index.candidates("/elsewhere")) == [3]


# --- templates


def test_a_template_replaces_the_names_that_it_knows() -> None:
    template = Template("/:a/:ab:b/:c:a", ["a", "b", "c"])
    assert template.fill({"a": "1", "b": "2", "c": "3"}) == "/1/:ab2/31"
    assert Template("plain", ["a"]).fill({"a": "1"}) == "plain"


def test_a_template_treats_text_and_values_apart() -> None:
    template = Template("x :a y :b", ["a"], str.upper, str.title)
    assert template.fill({"a": "one two"}) == "X One Two Y :B"
