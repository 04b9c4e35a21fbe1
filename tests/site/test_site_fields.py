"""The fields that the site sets for its paths, in the answers."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.site.asking import Client, content, fields, parts, vary
from tests.site.rules.with_rules import HTML, Build, build_in, make_site


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_site(tmp_path / "site")


@pytest.fixture
def build(root: Path) -> Build:
    return build_in(root)


SET = """\
/*
  X-All: everywhere
/page.html
  X-Page: yes
  Cache-Control: public, max-age=60
"""


def test_fields_are_set_by_the_path_that_was_asked_for(build: Build) -> None:
    client = build("/alias /page.html 200", headers=SET)
    page = fields(client.ask("/page.html"))
    assert (page["X-All"], page["X-Page"]) == ("everywhere", "yes")
    assert page["Cache-Control"] == "public, max-age=60"
    for path in ("/page", "/alias"):
        other = fields(client.ask(path))
        assert other["X-All"] == "everywhere"
        assert "X-Page" not in other
        assert other["Cache-Control"] == "no-cache"


def test_fields_go_with_every_answer_but_redirects(build: Build) -> None:
    client = build("/moved /x 302", headers=SET)
    tag = fields(client.ask("/page.html"))["ETag"]
    for status, path, lines in (
        (200, "/page.html", ()),
        (206, "/page.html", ("Range: bytes=0-1",)),
        (206, "/page.html", ("Range: bytes=0-1", f"If-Range: {tag}")),
        (304, "/page.html", (f"If-None-Match: {tag}",)),
        (412, "/page.html", ('If-Match: "x"',)),
        (416, "/page.html", ("Range: bytes=99-",)),
        (406, "/page.html", ("Accept-Encoding: identity;q=0",)),
        (404, "/none", ()),
        (404, "/en/none", ()),
        (404, "/none", ("Accept: application/json",)),
        (200, "/bare/", ()),
        (200, "/bare/", ("Accept: application/json",)),
    ):
        response = client.ask(path, *lines)
        assert response.status == status
        assert fields(response)["X-All"] == "everywhere"
        assert client.ask(path, *lines, method="HEAD").status in {status, 200}
    for path in ("/moved", "/full"):
        assert "X-All" not in fields(client.ask(path))


def test_several_ranges_name_the_type_that_the_site_has_set(build: Build) -> None:
    client = build(headers="/page.html\n  Content-Type: text/x-page\n")
    response = client.ask("/page.html", "Range: bytes=0-1,4-5")
    assert [head["Content-Type"] for head, _ in parts(response)] == ["text/x-page"] * 2
    assert fields(client.ask("/page.html"))["Content-Type"] == "text/x-page"


def test_304_has_no_field_that_describes_content(build: Build) -> None:
    client = build(
        headers="/page.html\n  Content-Type: text/x-page\n  Content-Language: en\n"
        "  Content-Disposition: attachment\n  Link: </a.css>; rel=preload\n"
    )
    tag = fields(client.ask("/page.html"))["ETag"]
    response = client.ask("/page.html", f"If-None-Match: {tag}")
    assert fields(response).keys() == {"ETag", "Cache-Control", "Link"}


def test_what_is_said_of_a_file_is_not_said_of_a_page_in_its_place(build: Build) -> None:
    """In its place comes HTML to be read, or problem details, whatever the path."""
    client = build(
        headers="/*\n  content-type: application/wasm\n"
        "  Content-Disposition: attachment\n  X-A: 1\n"
    )
    for path, line, kind in (
        ("/none", "Accept: */*", HTML),
        ("/none", "Accept: application/json", "application/problem+json"),
        ("/bare/", "Accept: */*", HTML),
        ("/bare/", "Accept: application/json", "application/json"),
        ("/page.html", "Range: bytes=99-", HTML),
        ("/page.html", 'If-Match: "x"', HTML),
    ):
        found = fields(client.ask(path, line))
        assert (found["Content-Type"], found["X-A"]) == (kind, "1")
        assert not {"content-type", "Content-Disposition"} & found.keys()
    own = fields(client.ask("/en/none"))  # the site's own page
    assert (own["Content-Type"], own["X-A"]) == (HTML, "1")
    assert not {"content-type", "Content-Disposition"} & own.keys()
    found = fields(client.ask("/page.html"))
    assert found["content-type"] == "application/wasm"
    assert found["Content-Disposition"] == "attachment"


def test_an_error_is_not_kept_as_what_is_there_would_be(build: Build) -> None:
    client = build(headers="/*\n  Cache-Control: max-age=31536000, immutable\n  Expires: never\n")
    for path, line in (
        ("/none", "Accept: */*"),
        ("/none", "Accept: application/json"),
        ("/en/none", "Accept: */*"),
        ("/page.html", "Range: bytes=99-"),
        ("/page.html", 'If-Match: "x"'),
    ):
        found = fields(client.ask(path, line))
        assert found["Cache-Control"] == "no-cache"
        assert "Expires" not in found
    assert "immutable" in fields(client.ask("/page.html"))["Cache-Control"]


def test_fields_may_be_removed(build: Build) -> None:
    client = build(headers="/*\n  ! ETag\n  ! last-modified\n  ! Cache-Control\n")
    response = client.ask("/page.html")
    assert not {"ETag", "Last-Modified", "Cache-Control"} & fields(response).keys()
    assert content(response) == b"<p>page"
    assert client.ask("/page.html", "If-None-Match: *").status == 304
    assert client.ask("/page.html", "Range: bytes=0-1").status == 206


def test_validator_that_is_removed_still_works_where_it_is_known(build: Build) -> None:
    tag = fields(build().ask("/page.html"))["ETag"]
    client = build(headers="/*\n  ! ETag\n")
    response = client.ask("/page.html", f"If-None-Match: {tag}")
    assert response.status == 304
    assert "ETag" not in fields(response)


def test_vary_is_added_to(build: Build) -> None:
    client = build(headers="/*\n  Vary: Origin\n  ! Vary\n")
    assert len(client.reports) == 0
    (client.root / "page.html.gz").write_bytes(gzip.compress(b"<p>page"))
    response = client.ask("/page.html", "Accept-Encoding: gzip")
    assert vary(response) == {"accept-encoding", "origin"}
    assert vary(client.ask("/old.html")) == {"origin"}
    assert vary(client.ask("/none")) == {"accept", "origin"}
    tag = fields(response)["ETag"]
    unchanged = client.ask("/page.html", "Accept-Encoding: gzip", f"If-None-Match: {tag}")
    assert (unchanged.status, vary(unchanged)) == (304, {"accept-encoding", "origin"})
    assert len(client.reports) == 1


def test_blocks_join_and_a_narrow_one_replaces(build: Build) -> None:
    client = build(
        headers="/*\n  X-A: 1\n  X-B: 1\n  Set-Cookie: a=1\n"
        "/page.html\n  ! X-B\n  X-A: 2\n  X-B: 2\n  Set-Cookie: b=2\n"
    )
    response = client.ask("/page.html")
    values = [value for name, value in response.fields if name == "Set-Cookie"]
    assert values == ["a=1", "b=2"]
    found = dict(response.fields)
    assert (found["X-A"], found["X-B"]) == ("1, 2", "2")


def test_fields_by_host(build: Build) -> None:
    client = build(headers="https://:team.example.org/*\n  X-Team: :team\n")
    assert fields(client.ask("/page.html", "Host: red.example.org"))["X-Team"] == "red"
    assert "X-Team" not in fields(client.ask("/page.html"))


@pytest.mark.parametrize(
    "path",
    [
        *("/a/%0d%0aX-Evil:%201", "/a/%0aX-Evil:%201", "/a/%0d", "/a/%7f", "/a/x%22;%20y=1"),
        *("/a/%E2%80%A8", "/a/;%20script-src%20*", "/a/,", "/a/%2c", "/a/", "/a"),
    ],
)
def test_nothing_captured_gets_out_of_its_field(build: Build, path: str) -> None:
    client = build(headers="/a/*\n  X-Path: at=:splat\n  X-Only: :splat\n")
    response = client.ask(path)
    found = fields(response)
    assert "X-Evil" not in found
    assert not set(found["X-Path"]) & set('\r\n\0 ",;')
    assert found.get("X-Only", "x")


def test_framing_stays_the_servers_own(build: Build) -> None:
    client = build(
        headers="/*\n  Content-Length: 1\n  Transfer-Encoding: chunked\n  ! Content-Length\n"
        '  Connection: close\n  Content-Range: x\n  Location: /x\n  ETag: "x"\n  X-A: 1\n'
    )
    response = client.ask("/page.html")
    assert len(client.reports) == 7
    assert fields(response)["Content-Length"] == "7"
    assert fields(response).keys() - {"X-A"} == fields(Client(client.root / "full").ask("/")).keys()
