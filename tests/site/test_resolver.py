"""The nearest error page, what is hidden, and how little a long path costs."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from portico.site.origin.protocol import (
    Directory,
    File,
    Found,
    Missing,
    Precompressed,
    SlashRedirect,
)
from portico.site.resolver import Resolver
from portico.site.target import path_names
from tests.site.asking import Client, content, fields, settle_all, vary
from tests.unprivileged import public_folder, unprivileged

ROOT, INNER, DEEP = b"<p>page of the root", b"<p>page of the folder", b"<p>page of the deepest"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    (root / "en" / "docs" / "old").mkdir(parents=True)
    (root / ".hidden").mkdir()
    (root / ".well-known").mkdir()
    (root / "plain").mkdir()
    (root / "404.html").write_bytes(ROOT)
    (root / "en" / "404.html").write_bytes(INNER)
    (root / "en" / "docs" / "old" / "404.html").write_bytes(DEEP)
    (root / ".hidden" / "404.html").write_bytes(b"secret")
    (root / "file.txt").write_bytes(b"file")
    return root


@pytest.fixture
def client(root: Path) -> Client:
    return Client(root, listing=False)


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("/none", ROOT),
        ("/none/none", ROOT),
        ("/plain/none", ROOT),
        ("/plain/", ROOT),
        ("/file.txt/none", ROOT),
        ("/file.txt/", ROOT),
        ("/en/none", INNER),
        ("/en/", INNER),
        ("/en/none/none/none", INNER),
        ("/en/docs/none", INNER),
        ("/en/docs/", INNER),
        ("/en/docs/old/none", DEEP),
        ("/en/docs/old/", DEEP),
        ("/en/docs/old/none/none", DEEP),
        ("/%65n/none", INNER),
        ("//en/none", INNER),
        ("/en//none", INNER),
        ("/.hidden/none", ROOT),
        ("/.hidden/", ROOT),
        ("/.hidden/404.html", ROOT),
        ("/en/.hidden/none", ROOT),
        ("/en/.none", ROOT),
        ("/.well-known/none", ROOT),
    ],
)
def test_nearest_page_upward_says_it(client: Client, path: str, page: bytes) -> None:
    response = client.ask(path)
    assert (response.status, content(response)) == (404, page)
    found = fields(response)
    assert found["Content-Type"] == "text/html; charset=utf-8"
    assert found["Content-Length"] == str(len(page))
    assert found["Cache-Control"] == "no-cache"
    assert not {"ETag", "Last-Modified", "Accept-Ranges"} & found.keys()
    assert client.ask(path, method="HEAD").fields == response.fields


def test_page_itself_is_a_page_like_any_other(client: Client) -> None:
    for path in ("/en/404.html", "/en/404"):
        response = client.ask(path)
        assert (response.status, content(response)) == (200, INNER)
        assert "ETag" in fields(response)


def test_conditions_and_ranges_mean_nothing_to_a_page_that_says_404(client: Client) -> None:
    tag = fields(client.ask("/en/404.html"))["ETag"]
    for line in (
        f"If-None-Match: {tag}",
        "If-None-Match: *",
        'If-Match: "other"',
        "If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT",
        "Range: bytes=0-1",
        "Range: bytes=999-",
    ):
        response = client.ask("/en/none", line)
        assert (response.status, content(response)) == (404, INNER)


def test_page_comes_in_the_coding_that_the_client_takes(client: Client) -> None:
    (client.root / "en" / "404.html.br").write_bytes(b"coded")
    (client.root / "plain" / "404.html.gz").write_bytes(gzip.compress(b"only", mtime=0))
    response = client.ask("/en/none", "Accept-Encoding: br")
    assert (response.status, content(response)) == (404, b"coded")
    assert fields(response)["Content-Encoding"] == "br"
    assert vary(response) == {"accept", "accept-encoding"}
    assert content(client.ask("/en/none")) == INNER
    assert vary(client.ask("/en/none")) == {"accept", "accept-encoding"}
    only = client.ask("/plain/none", "Accept-Encoding: gzip")
    assert (only.status, content(only)) == (404, gzip.compress(b"only", mtime=0))
    refused = client.ask("/plain/none", "Accept-Encoding: br, identity")
    assert refused.status == 404
    assert "Content-Encoding" not in fields(refused)


def test_programs_get_problem_details(client: Client) -> None:
    response = client.ask("/en/none", "Accept: application/json")
    assert fields(response)["Content-Type"] == "application/problem+json"
    assert vary(response) == {"accept"}


def test_page_that_is_no_file_or_leads_out_is_passed_over(client: Client, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (client.root / "en" / "404.html").unlink()
    (client.root / "en" / "404.html").symlink_to(tmp_path / "secret")
    assert content(client.ask("/en/none")) == ROOT
    (client.root / "en" / "404.html").unlink()
    (client.root / "en" / "404.html").mkdir()
    assert content(client.ask("/en/none")) == ROOT


def test_page_of_a_folder_outside_is_not_taken(client: Client, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "404.html").write_bytes(b"secret")
    (client.root / "out").symlink_to(tmp_path / "outside")
    assert content(client.ask("/out/none")) == ROOT


def test_page_that_may_not_be_read_is_passed_over() -> None:
    with public_folder() as root:
        (root / "en").mkdir()
        (root / "404.html").write_bytes(ROOT)
        (root / "en" / "404.html").write_bytes(INNER)
        (root / "en" / "404.html").chmod(0)
        with unprivileged():
            client = Client(root)
            assert content(client.ask("/en/none")) == ROOT
            assert client.ask("/en/404.html").status == 403


def test_empty_page_is_a_page(client: Client) -> None:
    (client.root / "en" / "404.html").write_bytes(b"")
    response = client.ask("/en/none")
    assert (response.status, content(response)) == (404, b"")
    assert fields(response)["Content-Length"] == "0"


# What a long path costs


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls of the system that take a path, as they come."""
    made: list[str] = []

    def count(name: str) -> None:
        real = getattr(os, name)

        def call(*arguments: object, **named: object) -> object:
            made.append(name)
            return real(*arguments, **named)

        monkeypatch.setattr(os, name, call)

    for name in ("stat", "lstat", "open", "readlink", "scandir"):
        count(name)
    return made


SEGMENTS = 2000


@pytest.mark.parametrize(
    ("path", "bound"),
    [
        ("/a" * SEGMENTS, 60),
        ("/.a" * SEGMENTS, 60),
        ("/" * SEGMENTS, 100),
        ("/en" + "/a" * SEGMENTS, 100),
        ("/en/docs/old" + "/a" * SEGMENTS, 160),
        ("/file.txt" + "/a" * SEGMENTS, 100),
        ("/out" + "/a" * SEGMENTS, 100),
        ("/.well-known" + "/a" * SEGMENTS, 100),
        ("/loop" * 1000, 2500),  # 40 links, then the system says that it is enough
    ],
    ids=lambda value: str(value)[:14],
)
def test_path_of_many_segments_costs_no_more_than_the_folders_that_exist(
    client: Client, calls: list[str], path: str, bound: int
) -> None:
    (client.root / "loop").symlink_to(".")
    (client.root / "out").symlink_to(client.root.parent)
    for end in ("", "/", "/none"):
        calls.clear()
        assert client.ask(path + end).status == 404
        assert len(calls) < bound


def test_pages_that_are_known_are_not_opened_again(client: Client, calls: list[str]) -> None:
    settle_all(client.root)
    client.ask("/en/docs/none")
    assert "open" in calls
    calls.clear()
    client.ask("/en/docs/none")
    assert "open" not in calls


def test_real_folders_cost_each_a_look(client: Client, calls: list[str]) -> None:
    deep = client.root
    for _ in range(300):
        deep /= "d"
        deep.mkdir()
    calls.clear()
    response = client.ask("/d" * 300 + "/none")
    assert (response.status, content(response)) == (404, ROOT)
    assert len(calls) < 300 * 15


# The resolver itself


def find(client: Client, path: str, *, clean_urls: bool = True) -> tuple[Found, list[str]]:
    steps: list[str] = []

    def note(text: str, *values: object) -> None:
        steps.append(text % values)

    resolver = Resolver(client.folder, note, clean_urls=clean_urls)
    client.folder.freshness.begin_round()
    return resolver.find(path_names(path)), steps


def test_resolver_notes_what_it_found(client: Client) -> None:
    (client.root / "about.html").write_bytes(b"about")
    (client.root / "coded.html.br").write_bytes(b"coded")
    kinds: dict[str, type[Found]] = {
        "/file.txt": File,
        "/about": File,
        "/coded.html": Precompressed,
        "/coded": Precompressed,
        "/plain": SlashRedirect,
        "/about/": SlashRedirect,
        "/plain/": Directory,
        "/none": Missing,
        "/.hidden/404.html": Missing,
        "/_headers": Missing,
    }
    for path, kind in kinds.items():
        found, steps = find(client, path)
        assert isinstance(found, kind), path
        assert steps
        assert all(step.startswith("File: ") for step in steps)
    assert find(client, "/about")[1][-1] == "File: /about.html is used."
    assert isinstance(find(client, "/about", clean_urls=False)[0], Missing)


def test_missing_tells_whether_its_folder_is_there(client: Client) -> None:
    for path, there in {
        "/none": True,
        "/en/none": True,
        "/none/none": False,
        "/a/b/c": False,
    }.items():
        found, _ = find(client, path)
        assert isinstance(found, Missing)
        assert found.in_folder is there, path
