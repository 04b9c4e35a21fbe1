"""Dependencies of responses: they hold until something changes, and not after that."""

from __future__ import annotations

import gzip
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from portico.http.message import Response
from portico.site.origin import known_names
from portico.site.origin.folder import SMALL
from tests.site.asking import Client, age, content, fields, settle_all

PAGE = b"<p>page"
LARGE = b"l" * (SMALL + 1)

BR = ("Accept-Encoding: br",)
GZIP = ("Accept-Encoding: gzip, identity;q=0.1",)
NAVIGATION = ("Sec-Fetch-Mode: navigate",)


class Change(NamedTuple):
    """A request, and what happens to the site before it is asked again."""

    path: str
    happen: Callable[[Path], object]
    lines: tuple[str, ...] = ()
    spa: bool = False


def write(name: str, octets: bytes = b"new") -> Callable[[Path], object]:
    return lambda root: (root / name).write_bytes(octets)


def remove(name: str) -> Callable[[Path], object]:
    return lambda root: (root / name).unlink()


def move(name: str, to: str) -> Callable[[Path], object]:
    return lambda root: (root / name).rename(root / to)


def touch(name: str, seconds: int) -> Callable[[Path], object]:
    return lambda root: age(root / name, seconds)


def make(name: str) -> Callable[[Path], object]:
    return lambda root: (root / name).mkdir()


def link(name: str, to: str) -> Callable[[Path], object]:
    return lambda root: (root / name).symlink_to(to)


def swap_out(name: str) -> Callable[[Path], object]:
    """A folder leaves the root, and a symlink in its place leads to it."""

    def happen(root: Path) -> None:
        (root / name).rename(root.parent / "moved out")
        (root / name).symlink_to(root.parent / "moved out")

    return happen


def relink(name: str, to: str) -> Callable[[Path], object]:
    def happen(root: Path) -> None:
        (root / ".new").symlink_to(to)
        (root / ".new").replace(root / name)

    return happen


CHANGES = {
    "file": Change("/page.html", write("page.html", b"<p>good")),
    "file, its date kept": Change(
        "/page.html",
        lambda root: (write("page.html", b"<p>good")(root), touch("page.html", 10**9)(root)),
    ),
    "file touched": Change("/page.html", touch("page.html", 1_100_000_000)),
    "file removed": Change("/page.html", remove("page.html")),
    "file moved out with its folder": Change("/folder/file.txt", swap_out("folder")),
    "deep file moved out": Change("/deep/er/file.txt", swap_out("deep")),
    "large file": Change("/large.bin", write("large.bin", b"n" * (SMALL + 1))),
    "large file, as a part": Change(
        "/large.bin", write("large.bin", b"n" * (SMALL + 1)), ("Range: bytes=1-2",)
    ),
    "unmodified until then": Change(
        "/page.html",
        touch("page.html", 1_100_000_000),
        ("If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT",),
    ),
    "link to another": Change("/link", relink("link", "folder/file.txt")),
    "link's target": Change("/link", write("page.html")),
    "link to nowhere gets its target": Change("/nowhere", write("folder/nowhere")),
    # Siblings
    "sibling created": Change("/page.html", write("page.html.br"), BR),
    "sibling created, best of two": Change(
        "/coded.html", write("coded.html.br"), ("Accept-Encoding: br, gzip",)
    ),
    "sibling created, for identity only the field": Change("/page.html", write("page.html.br")),
    "sibling removed": Change("/coded.html", remove("coded.html.gz"), GZIP),
    "sibling rewritten": Change(
        "/coded.html", write("coded.html.gz", gzip.compress(PAGE, 1)), GZIP
    ),
    "sibling grows old": Change("/coded.html", touch("coded.html.gz", 900_000_000), GZIP),
    "original grows young": Change("/coded.html", touch("coded.html", 1_100_000_000), GZIP),
    "stale sibling touched": Change("/stale.html", touch("stale.html.gz", 1_100_000_000), GZIP),
    "original grows old": Change("/stale.html", touch("stale.html", 800_000_000), GZIP),
    "sibling in the place of a folder": Change(
        "/page.html", move("sibling to be", "page.html.br"), BR
    ),
    "link of a sibling gets its target": Change(
        "/lazy.html", write("folder/lazy.gz", gzip.compress(PAGE)), GZIP
    ),
    "original comes to a sibling": Change("/only.html", write("only.html")),
    "only sibling removed": Change("/only.html", remove("only.html.gz"), GZIP),
    "only sibling created": Change(
        "/folder/none.css", write("folder/none.css.gz", gzip.compress(b"new")), GZIP
    ),
    "sibling of an index removed": Change("/coded/", remove("coded/index.html.gz"), GZIP),
    "406 no more": Change("/page.html", write("page.html.br"), ("Accept-Encoding: br, *;q=0",)),
    "406 no more, coded only": Change("/only.html", write("only.html.br"), BR),
    # What is missing
    "file created": Change("/none", write("none")),
    "clean URL created": Change("/none", write("none.html")),
    "clean URL created, coded": Change("/none", write("none.html.gz", gzip.compress(b"new")), GZIP),
    "clean URL's page removed": Change("/page", remove("page.html")),
    "clean URL's page rewritten": Change("/page", write("page.html")),
    "clean URL gives way to a file": Change("/page", write("page")),
    "clean URL before a folder": Change("/folder", write("folder.html")),
    "clean URL's folder comes without it": Change("/none", make("none")),
    "slash of a clean URL": Change("/none/", write("none.html")),
    "slash of a clean URL no more": Change("/page/", remove("page.html")),
    "folder removed": Change("/folder", move("folder", "elsewhere")),
    "index created": Change("/page/", lambda root: index_in(root / "page")),
    "index coded, created": Change("/coded/", write("coded/index.html")),
    # Pages for what is missing
    "404.html created": Change("/none", write("404.html")),
    "404.html created in a folder": Change("/folder/none", write("folder/404.html")),
    "404.html created in a deeper folder": Change("/deep/er/none", write("deep/er/404.html")),
    "404.html created between": Change("/deep/er/none", write("deep/404.html")),
    "404.html created in the folder that comes": Change(
        "/new/none",
        lambda root: ((root / "new").mkdir(), write("new/404.html")(root)),  # type: ignore[func-returns-value]
    ),
    "404.html rewritten": Change("/own/none", write("own/404.html")),
    "404.html removed": Change("/own/none", remove("own/404.html")),
    "404.html coded": Change("/own/none", write("own/404.html.br"), BR),
    # Rules
    "_redirects created": Change("/none", write("_redirects", b"/none /page.html\n")),
    "_redirects created, forced": Change(
        "/page.html", write("_redirects", b"/page.html /x 302!\n")
    ),
    "_headers created": Change("/page.html", write("_headers", b"/*\n  X-A: 1\n")),
    "_headers created, for 404": Change("/none", write("_headers", b"/*\n  X-A: 1\n")),
    # A single-page application
    "application's page created": Change("/none", write("index.html"), NAVIGATION, spa=True),
    "file in the application's place": Change("/app/none", write("index.html"), NAVIGATION, True),
}


def index_in(folder: Path) -> None:
    folder.mkdir()
    (folder / "index.html").write_bytes(b"index")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    for folder in ("folder", "deep/er", "coded", "own", "app"):
        (root / folder).mkdir(parents=True)
    for name, octets in {
        "page.html": PAGE,
        "large.bin": LARGE,
        "coded.html": PAGE,
        "coded.html.gz": gzip.compress(PAGE),
        "stale.html": PAGE,
        "stale.html.gz": gzip.compress(PAGE),
        "lazy.html": PAGE,
        "only.html.gz": gzip.compress(b"only"),
        "sibling to be": b"sibling",
        "folder/file.txt": b"text",
        "deep/er/file.txt": b"text",
        "coded/index.html.gz": gzip.compress(b"index"),
        "own/404.html": b"own",
    }.items():
        (root / name).write_bytes(octets)
        age(root / name)
    age(root / "stale.html.gz", 900_000_000)
    (root / "link").symlink_to("page.html")
    (root / "nowhere").symlink_to("folder/nowhere")
    (root / "lazy.html.gz").symlink_to("folder/lazy.gz")
    settle_all(root)
    return root


def shown(response: Response) -> tuple[int, dict[str, str], bytes]:
    return response.status, fields(response), content(response)


@pytest.mark.parametrize(
    ("memory", "looks"),
    [(1 << 20, known_names._LOOKS), (0, known_names._LOOKS), (1 << 20, 0)],
    ids=["", "without memory", "names of folders read at once"],
)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_answer_holds_until_what_would_change_it(
    root: Path, change: Change, memory: int, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_names, "_LOOKS", looks)
    client = Client(root, memory=memory, listing=False, spa=change.spa)
    for _ in range(3):
        client.ask(change.path, *change.lines)
    before = shown(client.ask(change.path, *change.lines))
    assert client.holds()
    assert client.holds()
    assert shown(client.ask(change.path, *change.lines)) == before
    change.happen(root)
    assert not client.holds()
    after = shown(client.ask(change.path, *change.lines))
    assert after != before
    fresh = Client(root, listing=False, spa=change.spa)
    fresh.ask(change.path, *change.lines)
    settle_all(root)
    fresh.ask(change.path, *change.lines)
    client.ask(change.path, *change.lines)
    assert shown(client.ask(change.path, *change.lines)) == shown(
        fresh.ask(change.path, *change.lines)
    )


RULES = {
    "_redirects": b"/old /page.html 302\n/gone /none 301\n/rewrite /folder/file.txt 200\n",
    "_headers": b"/*\n  X-A: 1\n",
}

RULE_CHANGES = {
    "rule changed": Change("/old", write("_redirects", b"/old /other 302\n")),
    "rule removed": Change("/old", write("_redirects", b"# none\n")),
    "rules emptied": Change("/old", write("_redirects", b"")),
    "rules removed": Change("/old", remove("_redirects")),
    "rules become a folder": Change(
        "/old",
        lambda root: ((root / "_redirects").unlink(), (root / "_redirects").mkdir()),  # type: ignore[func-returns-value]
    ),
    "rules replaced": Change(
        "/old",
        lambda root: (
            (root / ".new").write_bytes(b"/old /new\n"),
            (root / ".new").replace(root / "_redirects"),
        ),
    ),
    "rules moved out": Change("/old", lambda root: (root / "_redirects").rename(root.parent / "x")),
    "file comes before its rule": Change("/old", write("old")),
    "page comes before its rule": Change("/old", write("old.html")),
    "index comes before its rule": Change("/old/", lambda root: index_in(root / "old")),
    "rewritten content": Change("/rewrite", write("folder/file.txt", b"other")),
    "rewritten content removed": Change("/rewrite", remove("folder/file.txt")),
    "field changed": Change("/page.html", write("_headers", b"/*\n  X-A: 2\n")),
    "field changed, for 404": Change("/none", write("_headers", b"/*\n  X-A: 2\n")),
    "fields removed": Change("/page.html", remove("_headers")),
    "fields emptied": Change("/page.html", write("_headers", b"")),
}


@pytest.mark.parametrize("change", RULE_CHANGES.values(), ids=RULE_CHANGES.keys())
def test_answer_by_the_sites_rules_holds_until_they_change(root: Path, change: Change) -> None:
    for name, octets in RULES.items():
        (root / name).write_bytes(octets)
    settle_all(root)
    client = Client(root, listing=False)
    before = shown(client.ask(change.path))
    assert client.holds()
    change.happen(root)
    assert not client.holds()
    after = shown(client.ask(change.path))
    assert after != before
    assert (
        shown(client.ask(change.path))
        == after
        == shown(Client(root, listing=False).ask(change.path))
    )


def test_folder_whose_index_is_a_link_that_comes_to_life(root: Path) -> None:
    """The response depends on the look-up of the index, which would come before the rule."""
    (root / "_redirects").write_bytes(b"/app /elsewhere 302\n")
    (root / "app" / "index.html").symlink_to("../folder/index to be.html")
    settle_all(root)
    client = Client(root, listing=False)
    assert client.ask("/app").status == 302
    (root / "folder" / "index to be.html").write_bytes(b"index")
    assert not client.holds()
    assert fields(client.ask("/app"))["Location"] == "app/"


def test_rewrite_through_a_link_sees_the_page_beside_it(root: Path) -> None:
    """It depends also on the first look-up, which found a folder and no page of its name."""
    (root / "_redirects").write_bytes(b"/x /deep/linked 200\n")
    index_in(root / "real")
    (root / "deep" / "linked").symlink_to("../real")
    settle_all(root)
    client = Client(root, listing=False)
    assert content(client.ask("/x/")) == b"index"
    assert client.holds()
    (root / "deep" / "linked.html").write_bytes(b"page")
    assert not client.holds()
    assert content(client.ask("/x/")) == b"page"


def test_redirect_to_a_folder_that_is_moved_out_holds_no_longer(root: Path) -> None:
    settle_all(root)
    client = Client(root, clean_urls=False, listing=False)
    assert client.ask("/deep/er").status == 301
    assert client.holds()
    swap_out("deep")(root)
    assert not client.holds()
    assert client.ask("/deep/er").status == 404


def test_second_index_gives_way_to_the_first(root: Path) -> None:
    (root / "folder" / "index.htm").write_bytes(b"second")
    (root / "folder" / "index.html").symlink_to("../later.html")
    settle_all(root)
    client = Client(root, listing=False)
    assert content(client.ask("/folder/")) == b"second"
    assert client.holds()
    (root / "later.html").write_bytes(b"first")
    assert not client.holds()
    assert content(client.ask("/folder/")) == b"first"


LISTING_CHANGES: dict[str, Callable[[Path], object]] = {
    "a name comes": lambda folder: (folder / "new.txt").touch(),
    "a name goes": lambda folder: (folder / "file.txt").unlink(),
    "a name changes": lambda folder: (folder / "file.txt").rename(folder / "other.txt"),
    "a size changes": lambda folder: (folder / "file.txt").write_bytes(b"longer than it was"),
    "a date changes": lambda folder: os.utime(folder / "file.txt", (1e9, 1e9)),
    "a folder inside changes": lambda folder: os.utime(folder / "inside", (1e9, 1e9)),
    "what a link leads to changes": lambda folder: (
        folder.parent / "other" / "far.txt"
    ).write_bytes(b"far"),
    "what a link leads to comes": lambda folder: (folder.parent / "other" / "none.txt").touch(),
    "a link leads out": lambda folder: swap(folder.parent / "other" / "by", "/"),
    "an index comes": lambda folder: (folder / "index.html").write_bytes(b"index"),
    "it goes": shutil.rmtree,
    "it leads elsewhere": lambda folder: swap(folder, "other"),
}


def swap(path: Path, target: str) -> None:
    """Put a symlink in the place of what is at `path`."""
    path.rename(path.with_name("was"))
    path.symlink_to(target)


@pytest.mark.parametrize("change", LISTING_CHANGES)
def test_listing_holds_until_what_it_shows_changes(tmp_path: Path, change: str) -> None:
    root = tmp_path / "root"
    folder = root / "folder"
    (folder / "inside").mkdir(parents=True)
    (root / "other" / "by" / "etc").mkdir(parents=True)
    (root / "other" / "far.txt").touch()
    (folder / "file.txt").write_bytes(b"content")
    for name, target in (("link", "far.txt"), ("none", "none.txt"), ("by", "by/etc")):
        (folder / name).symlink_to(f"../other/{target}")
    time.sleep(0.06)  # until they are old enough for their fingerprints to be relied on
    client = Client(root, listing=True)
    before = content(client.ask("/folder/"))
    assert client.holds()
    assert content(client.ask("/folder/")) == before
    LISTING_CHANGES[change](folder)
    assert not client.holds()
    assert client.ask("/folder/").status == 404 or content(client.ask("/folder/")) != before


def test_answers_without_a_look_at_the_disk_hold_for_ever(root: Path) -> None:
    client = Client(root, ("localhost",), listing=True)
    for method, host in (("POST", "localhost"), ("GET", "x.example")):
        client.ask("/page.html", f"Host: {host}", method=method)
        assert client.dependencies == ()


def test_no_dependency_is_asked_twice(root: Path) -> None:
    client = Client(root, listing=False)
    for path in ("/page.html", "/none", "/deep/er/none", "/page", "/deep/er/file.txt"):
        client.ask(path)
        assert client.dependencies is not None
        assert len(set(client.dependencies)) == len(client.dependencies)


def test_date_alone_does_not_hide_a_young_change(root: Path) -> None:
    """What was written a moment ago is looked at again, for the next change could look the same."""
    for number in range(30):
        (root / "page.html").write_bytes(b"%02d" % number)
        client = Client(root, listing=False)
        assert content(client.ask("/page.html")) == b"%02d" % number
        (root / "page.html").write_bytes(b"%02d" % (number + 1))
        os.utime(root / "page.html", ns=(0, 10**18))
        assert not client.holds() or content(client.ask("/page.html")) == b"%02d" % (number + 1)
