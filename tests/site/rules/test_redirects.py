"""The file _redirects: which rule decides, what it says, and which lines are refused."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.site.rules.pattern import normal_path
from portico.site.rules.redirects import (
    DYNAMIC_LIMIT,
    LINE_LIMIT,
    LOCATION_LIMIT,
    STATIC_LIMIT,
    Match,
    Redirects,
    parse_redirects,
)
from tests.http.h1.effort import EFFORT

MANUAL = Path(__file__).parents[3] / "docs" / "rules.md"

Said = tuple[int, str] | None


def ask(redirects: Redirects, target: str, host: str = "", *, forced_only: bool = False) -> Said:
    """What is said of a request target: status and location."""
    path, mark, query = target.partition("?")
    match = redirects.match(path, query if mark else None, host)
    return said(match if match is None or match.forced or not forced_only else None)


def said(match: Match | None) -> Said:
    return None if match is None else (match.status, match.location)


def rules(text: str) -> Redirects:
    redirects, problems = parse_redirects(text)
    assert [str(problem) for problem in problems] == []
    return redirects


# --- what one rule says


@pytest.mark.parametrize(
    ("line", "target", "expected"),
    [
        # The documented examples of both hosts.
        ("/home /", "/home", (301, "/")),
        ("/home301 / 301", "/home301", (301, "/")),
        ("/my-redirect / 302", "/my-redirect", (302, "/")),
        ("/ecommerce /store-closed 404", "/ecommerce", (404, "/store-closed")),
        ("/pass-through /index.html 200", "/pass-through", (200, "/index.html")),
        ("/querystrings /?query=string 301", "/querystrings", (301, "/?query=string")),
        ("/twitch https://twitch.tv", "/twitch", (301, "https://twitch.tv/")),
        ("/trailing /trailing/ 301", "/trailing", (301, "/trailing/")),
        ("/notrailing/ /notrailing 301", "/notrailing/", (301, "/notrailing")),
        ("/page/ /page2/#fragment 301", "/page/", (301, "/page2/#fragment")),
        ("/blog/* https://b.example/:splat", "/blog/a/b", (301, "https://b.example/a/b")),
        ("/news/* /blog/:splat", "/news/2004/01/10/story", (301, "/blog/2004/01/10/story")),
        (
            "/products/:code/:name /products?code=:code&name=:name",
            "/products/7/lamp",
            (301, "/products?code=7&name=lamp"),
        ),
        (
            "/news/:month/:date/:year/:slug /blog/:year/:month/:date/:slug",
            "/news/02/12/2004/my-story",
            (301, "/blog/2004/02/12/my-story"),
        ),
        ("/store id=:id /blog/:id 301", "/store?id=my-blog-post", (301, "/blog/my-blog-post")),
        (
            "/articles id=:id tag=:tag /posts/:tag/:id 301",
            "/articles?tag=x&id=7",
            (301, "/posts/x/7"),
        ),
        ("/* /index.html 200", "/any/thing", (200, "/index.html")),
        # Every status.
        ("/a /b 303", "/a", (303, "/b")),
        ("/a /b 307!", "/a", (307, "/b")),
        ("/a /b 308", "/a", (308, "/b")),
        # Comments at the end; a fragment is none.
        ("/a /b # why", "/a", (301, "/b")),
        ("/a /b 302 #why", "/a", (302, "/b")),
        ("/a /b#c", "/a", (301, "/b#c")),
        # The request's query is passed on, unless the destination has one.
        ("/a /b", "/a?x=1&y", (301, "/b?x=1&y")),
        ("/a /b", "/a?", (301, "/b?")),
        ("/a /b#c", "/a?x=1", (301, "/b?x=1#c")),
        ("/a /b?y=2", "/a?x=1", (301, "/b?y=2")),
        ("/a https://b.example", "/a?x=1", (301, "https://b.example/?x=1")),
        ("/a /b 200", "/a?x=1", (200, "/b")),
        ("/a /b?y=2#z 200", "/a?x=1", (200, "/b")),
        # Query parameters: exactly these, in any order; what they hold is not passed on.
        ("/s id=:id /p/:id", "/s", None),
        ("/s id=:id /p/:id", "/s?", None),
        ("/s id=:id /p/:id", "/s?id=", None),
        ("/s id=:id /p/:id", "/s?id", None),
        ("/s id=:id /p/:id", "/s?id=1&x=2", None),
        ("/s id=:id /p/:id", "/s?id=1&id=2", None),
        ("/s id=:id /p/:id", "/s?%69d=1", (301, "/p/1")),
        ("/s id=:id /p/:id", "/s?id=a+b%2fc", (301, "/p/a%20b%2Fc")),
        ("/s id=:id /p/:id", "/s?id=..", None),
        ("/s id=:id /p/x.:id", "/s?id=..", (301, "/p/x...")),
        ("/s page=news /news", "/s?page=news", (301, "/news")),
        ("/s page=news /news", "/s?page=%6eews", (301, "/news")),
        ("/s page=news /news", "/s?page=other", None),
        ("/s _f_=/about /about", "/s?_f_=/about", (301, "/about")),
        ("/s flag= /p", "/s?flag", (301, "/p")),
        ("/s q=:q /find?for=:q", "/s?q=a%26b%3Dc%23", (301, "/find?for=a%26b%3Dc%23")),
        ("/s q=:q /s", "/s?q=1", (301, "/s")),
        # Placeholders that nothing captures are text.
        ("/a /urn:isbn:1", "/a", (301, "/urn:isbn:1")),
    ],
)
def test_what_a_rule_says(line: str, target: str, expected: Said) -> None:
    assert ask(rules(line), target) == expected


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("/trailing /trailing/", "/trailing/"),
        ("/notrailing/ /notrailing", "/notrailing"),
        ("/* /index.html", "/index.html"),
        ("/* /index.html 200", "/index.html"),
        ("/* /index.html 200", "/%69ndex.html"),
        ("/old/* /old", "/old"),
        ("/a /a?x=1", "/a?x=1"),
        ("/a/* /a/:splat/", "/a/x/"),
        ("/a/:x /a/1#c", "/a/1"),
    ],
)
def test_a_rule_that_leads_where_the_request_is_does_not_match(line: str, target: str) -> None:
    redirects = rules(line)
    assert ask(redirects, target) is None
    assert ask(redirects, target + "x") != (301, target + "x")


def test_a_page_for_missing_things_may_be_asked_for_itself() -> None:
    assert ask(rules("/* /lost.html 404"), "/lost.html") == (404, "/lost.html")


def test_the_examples_of_the_manual_are_read() -> None:
    examples = re.findall(r"```\n(.*?)```", MANUAL.read_text(encoding="utf-8"), re.DOTALL)
    assert ask(rules(examples[0]), "/store?id=7") == (301, "/items/7")
    assert ask(rules(examples[1]), "/articles?tag=x&id=7") == (301, "/posts/x/7")


# --- which rule decides


def test_the_first_rule_that_matches_decides() -> None:
    redirects = rules("/a/b /1\n/a/* /2\n/:x/b /3\n/a/c /4\n/* /5")
    assert ask(redirects, "/a/b") == (301, "/1")
    assert ask(redirects, "/a/c") == (301, "/2")
    assert ask(redirects, "/x/b") == (301, "/3")
    assert ask(redirects, "/x/y") == (301, "/5")
    assert ask(redirects, "/a/b/") == (301, "/1")


def test_a_dynamic_rule_above_a_static_one_comes_first() -> None:
    assert ask(rules("/a/* /1\n/a/b /2"), "/a/b") == (301, "/1")


def test_the_next_rule_is_asked_where_the_query_or_the_host_differs() -> None:
    redirects = rules("/a id=:id /1/:id\nhttps://h.example/a /2\n/a /3")
    assert ask(redirects, "/a?id=7", "h.example") == (301, "/1/7")
    assert ask(redirects, "/a", "h.example") == (301, "/2")
    assert ask(redirects, "/a", "other.example") == (301, "/3")
    assert ask(redirects, "/a") == (301, "/3")


def test_the_match_names_its_line() -> None:
    redirects = rules("# first\n\n/a /b 302!\n")
    match = redirects.match("/a", None, "")
    assert match is not None
    assert (match.line, match.forced) == (3, True)


def test_only_a_forced_rule_comes_before_a_file() -> None:
    redirects = rules("/a /1\n/b /2 301!\n/* /3 200\n")
    assert ask(redirects, "/a", forced_only=True) is None
    assert ask(redirects, "/b", forced_only=True) == (301, "/2")
    assert ask(redirects, "/c", forced_only=True) is None
    assert ask(rules("/a /1"), "/a", forced_only=True) is None


def test_a_forced_rule_does_not_overtake_the_one_above_it() -> None:
    redirects = rules("/a/* /1\n/a/b /2 301!")
    assert ask(redirects, "/a/b", forced_only=True) is None
    assert ask(redirects, "/a/b") == (301, "/1")


# --- what nobody can reach by a clever request


@pytest.mark.parametrize(
    ("line", "target", "expected"),
    [
        ("/old/* /:splat", "/old//evil.example", (301, "/evil.example")),
        ("/old/* /:splat", "/old/%2F%2Fevil.example", (301, "/evil.example")),
        ("/old/* /:splat", "/old/%5Cevil.example", (301, "/%5Cevil.example")),
        ("/old/* /:splat", "/old/\\evil.example", (301, "/%5Cevil.example")),
        ("/old/* /:splat/x", "/old/", (301, "/x")),
        ("/old/* /:splat/evil.example", "/old", (301, "/evil.example")),
        ("/old/* /new/:splat", "/old/%0d%0aSet-Cookie:x", (301, "/new/%0D%0ASet-Cookie:x")),
        ("/old/* /new/:splat", "/old/\r\nX", (301, "/new/%0D%0AX")),
        ("/old/* /new/:splat", "/old/a%3Fb%23c", (301, "/new/a%3Fb%23c")),
        ("/old/* /new/:splat", "/old/../../x", None),
        ("/old/* https://h.example/:splat", "/old/@evil", (301, "https://h.example/@evil")),
        ("/old/:x /new?x=:x", "/old/1&admin=1", (301, "/new?x=1%26admin%3D1")),
        ("/old/:x /new#:x", "/old/a%23b", (301, "/new#a%23b")),
        ("/a /b", "/a?x\r\nSet-Cookie: y#z", (301, "/b?x%0D%0ASet-Cookie:%20y%23z")),
        ("/%61dmin /login", "/%61d%6Din", (301, "/login")),
        ("/a%2Fb /c", "/a/b", (301, "/c")),
        ("/x id=:id /:id", "/x?id=..%2F..", None),
    ],
)
def test_a_captured_value_stays_a_value(line: str, target: str, expected: Said) -> None:
    assert ask(rules(line), target) == expected


# --- hosts


def test_a_source_with_a_host_is_for_that_host() -> None:
    redirects = rules("http://blog.h.example/* https://www.h.example/blog/:splat 301!")
    assert ask(redirects, "/x", "blog.h.example") == (301, "https://www.h.example/blog/x")
    assert ask(redirects, "/x", "www.h.example") is None


def test_a_canonical_host_does_not_redirect_to_itself() -> None:
    redirects = rules("/* https://www.h.example/:splat 301!")
    assert ask(redirects, "/x", "h.example") == (301, "https://www.h.example/x")
    assert ask(redirects, "/x", "www.h.example") is None


def test_a_destination_with_a_port_is_another_place() -> None:
    redirects = rules("http://localhost/* https://localhost:8443/:splat")
    assert ask(redirects, "/x", "localhost") == (301, "https://localhost:8443/x")


# --- lines that are refused


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("/a", "destination is missing"),
        ("/a 301", "destination is missing"),
        ("/a # /b", "destination is missing"),
        ("/a b", "destination is missing"),
        ("/a javascript:alert(1)", "destination is missing"),
        ("X-Frame-Options: DENY", "destination is missing"),
        ("a /b", "must begin"),
        ("/a /b 200 Country=us", 'Conditions such as "Country"'),
        ("/a /b 302 Language=en", 'Conditions such as "Language"'),
        ("/a /b 302 Cookie=x", 'Conditions such as "Cookie"'),
        ("/a /b 200! role=admin", 'Conditions such as "role"'),
        ("/a /b 200 Signed=KEY", 'Conditions such as "Signed"'),
        ("/a /b 302 /c", '"/c" after the status'),
        ("/a /b 410", "status must be"),
        ("/a /b 3O1", "status must be"),
        ("/a /b !", "status must be"),
        ("/a /b 301!!", "status must be"),
        ("/a /b ٣٠١", "status must be"),
        ("/api/* https://api.example/:splat 200", "another host"),
        ("/a https://h.example/lost 404", "another host"),
        ("/a //evil.example", "another host"),
        ("/a https:///b", "host in full"),
        ("/a https://user@h.example/", "host in full"),
        ("/a/:x https://:x.h.example/", "host in full"),
        ("/a/* https://h.example:splat", "host in full"),
        ("/a/* https://h.example:splat/", "host in full"),
        ("/a /b/:splat", '":splat"'),
        ("/a /b/../c", '".."'),
        ("/a x /b", "neither a query parameter"),
        ("/a =x /b", "neither a query parameter"),
        ("/a x=1 x=2 /b", "named twice"),
        ("/a x=:v y=:v /b", "same name"),
        ("/a/:x x=:x /b", "same name"),
        ("/a /a", "leads to itself"),
        ("/a /a 200", "leads to itself"),
        ("/a /a#b 301", "leads to itself"),
        ("/a/%62 /a/b", "leads to itself"),
        ("/* /:splat", "leads to itself"),
        ("/a/:x/* /a/:x/:splat", "leads to itself"),
        ("http://h.example/* https://h.example/:splat 301!", "leads to itself"),
        ("/a " + "/b" * (LINE_LIMIT // 2), "more than 1000 characters"),
    ],
)
def test_lines_that_are_refused(line: str, why: str) -> None:
    redirects, problems = parse_redirects(f"/before /x\n{line}\n/after /y")
    assert [problem.line for problem in problems] == [2]
    assert problems[0].text == line
    assert why in problems[0].why
    assert ask(redirects, "/before") == (301, "/x")
    assert ask(redirects, "/after") == (301, "/y")
    assert len(redirects.rules) == 2


def test_a_problem_reads_as_a_sentence_with_its_line() -> None:
    (problem,) = parse_redirects("\n/a /b 299")[1]
    assert str(problem) == "line 2: The status must be 200, 301, 302, 303, 307, 308 or 404."


def test_a_line_of_just_the_limit_is_read() -> None:
    line = "/a /" + "b" * (LINE_LIMIT - 4)
    assert len(line) == LINE_LIMIT
    assert ask(rules(line), "/a") == (301, line[3:])


def test_a_second_rule_for_the_same_requests_is_reported() -> None:
    redirects, problems = parse_redirects("/a /1\n/a x=:x /2\n/%61 /3\n/a x=:y /4\n/a x=1 /5")
    assert [(problem.line, problem.why) for problem in problems] == [
        (3, "Line 1 already decides the same requests."),
        (4, "Line 2 already decides the same requests."),
    ]
    assert len(redirects.rules) == 3


def test_the_limits_are_those_of_the_two_kinds() -> None:
    static = [f"/s{number} /x" for number in range(STATIC_LIMIT + 2)]
    dynamic = [f"/d{number}/* /x" for number in range(DYNAMIC_LIMIT + 1)]
    redirects, problems = parse_redirects("\n".join([*dynamic, *static]))
    assert len(redirects.rules) == STATIC_LIMIT + DYNAMIC_LIMIT
    last = len(dynamic) + len(static)
    assert [problem.line for problem in problems] == [DYNAMIC_LIMIT + 1, last - 1]
    assert ask(redirects, f"/s{STATIC_LIMIT - 1}") == (301, "/x")
    assert ask(redirects, f"/s{STATIC_LIMIT}") is None
    assert ask(redirects, f"/d{DYNAMIC_LIMIT}/y") is None


@pytest.mark.parametrize(
    "line",
    [
        "/*/x" + "".join(f"/:a{number}" for number in range(16)) + " /y",
        "/* /" + ":splat/" * 17,
        "/* /y?" + ":splat" * 17,
        "/a http\u017f://example.org/",
        "http\u017f://example.org/a /b",
    ],
)
def test_lines_that_would_cost_too_much_or_only_look_like_https(line: str) -> None:
    redirects, problems = parse_redirects(line)
    assert redirects.rules == ()
    assert len(problems) == 1


def test_a_destination_that_would_become_too_long_does_not_match() -> None:
    redirects = rules("/* https://example.org/:splat:splat:splat 302\n/:x /short")
    long = "x" * (LOCATION_LIMIT // 3 + 1)
    assert ask(redirects, f"/{long[:-100]}") == (302, f"https://example.org/{long[:-100] * 3}")
    assert ask(redirects, f"/{long}") == (301, "/short")


def test_an_empty_file_has_no_rules() -> None:
    redirects, problems = parse_redirects("# nothing\n\n")
    assert (len(redirects.rules), problems) == (0, [])
    assert ask(redirects, "/") is None


# --- for any text and any request

letters = st.sampled_from("/abé*?#=&%@:.\\\r\0")
marks = st.sampled_from(["//", ":x", ":y", ":splat", "..", "%2F", "%0D%0A", "[::1]", "id=:id"])
addresses = st.sampled_from(["https://h.example", "evil.example"])
pieces = st.one_of(letters, marks, addresses)
words = st.lists(pieces, min_size=1, max_size=6).map("".join)
destinations = words.flatmap(
    lambda word: st.sampled_from([f"/{word}", f"https://h.example/{word}", word])
)
lines = st.builds(
    "/{} {} {}".format, words, destinations, st.sampled_from(["", "301!", "302", "200", "404!"])
)
files = st.one_of(
    st.text(), st.lists(st.one_of(lines, words, st.text()), max_size=6).map("\n".join)
)
paths = words.map("/{}".format)
queries = st.one_of(st.none(), words, st.sampled_from(["id=1", "id=..", "id=%2F%2Fevil"]))
asked_hosts = st.sampled_from(["", "h.example", "other.example"])


@EFFORT
@given(files)
def test_any_text_client_still_reads(text: str) -> None:
    redirects, problems = parse_redirects(text)
    numbers = [rule.line for rule in redirects.rules] + [problem.line for problem in problems]
    said_something = [
        number
        for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1)
        if line.strip() and not line.strip().startswith("#")
    ]
    assert sorted(numbers) == said_something
    assert all(problem.why.endswith((".", ")")) for problem in problems)


@EFFORT
@given(files, paths, queries, asked_hosts)
def test_a_location_leads_nowhere_but_where_its_rule_says(
    text: str, path: str, query: str | None, host: str
) -> None:
    redirects, _ = parse_redirects(text)
    match = redirects.match(path, query, host)
    if match is None:
        return
    assert re.fullmatch(r"[!-~]+", match.location)
    written = text.removeprefix("\ufeff").split("\n")[match.line - 1]
    split = urlsplit(match.location)
    if match.location.startswith("/"):
        assert match.location[1:2] not in {"/", "\\"}
    else:
        assert match.status in {301, 302, 303, 307, 308}
        assert f"{split.scheme}://{split.netloc}".lower() in written.lower()
    assert not re.search(r"/\.\.?(/|$)", normal_path(split.path))


@EFFORT
@given(files, paths, queries, asked_hosts)
def test_no_rule_leads_back_to_the_same_request(
    text: str, path: str, query: str | None, host: str
) -> None:
    match = parse_redirects(text)[0].match(path, query, host)
    if match is None or match.status == 404:
        return
    to, mark, new_query = match.location.partition("#")[0].partition("?")
    same = normal_path(to) == normal_path(path)
    if match.status != 200:
        same = same and (new_query if mark else "") == (query or "")
    assert not same


@EFFORT
@given(files, paths, queries, asked_hosts)
def test_the_first_of_all_rules_decides_as_if_each_were_tried(
    text: str, path: str, query: str | None, host: str
) -> None:
    redirects, _ = parse_redirects(text)
    tried = (rule.match(normal_path(path), query, host) for rule in redirects.rules)
    expected = next((match for match in tried if match is not None), None)
    match = redirects.match(path, query, host)
    assert said(match) == said(expected)
    assert (match and match.forced) == (expected and expected.forced)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("/a /b\n/c/* /d/:splat 200\n/e /f#g 302!\n/h /404.html 404", False),
        ("/a /b\n/a p=1 /c", True),
        ("/a p=:p /c/:p", True),
        ("/a /a?x=1 302", True),  # those who come with it are not redirected
        ("/a /b?x=1 302", True),
    ],
)
def test_whether_queries_are_read(text: str, expected: bool) -> None:
    assert rules(text).read_query is expected


visible = st.none() | st.text('abx=1&?/%"|', max_size=8)


@EFFORT
@given(files, paths, visible, visible, asked_hosts)
def test_where_queries_are_not_read_they_decide_nothing_but_where_a_redirect_leads(
    text: str, path: str, one: str | None, other: str | None, host: str
) -> None:
    redirects, _ = parse_redirects(text)
    if redirects.read_query:
        return
    first, second = (redirects.match(path, query, host) for query in (one, other))
    if first is None or second is None:
        assert first is second
    else:
        assert (first.line, first.status, first.forced) == (
            second.line,
            second.status,
            second.forced,
        )
        assert first.status not in {200, 404} or first.location == second.location


@EFFORT
@given(files, st.text("abx.jpg/", max_size=8), st.data())
def test_no_encoding_of_a_path_dodges_a_rule(text: str, path: str, data: st.DataObject) -> None:
    encoded = "".join(
        f"%{ord(letter):02x}" if letter != "/" and data.draw(st.booleans()) else letter
        for letter in path
    )
    redirects, _ = parse_redirects(text)
    plainly = redirects.match(f"/{path}", None, "")
    assert said(redirects.match(f"/{encoded}", None, "")) == said(plainly)
