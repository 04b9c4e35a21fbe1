"""Chromium's cache: it asks whether what it has is still good, and never shows what is not."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from portico.site.origin.folder import SMALL
from tests.end_to_end.browsing import Tab, natural_size
from tests.end_to_end.serving import Logged, settle
from tests.end_to_end.writing import replace, replace_and_keep_time, rewrite_and_keep_time
from tests.server.clients import eventually

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.browser

Write = Callable[[Path, bytes], None]
TURNS = 4


def page(number: int) -> bytes:
    return f"""<!doctype html><title>Turn {number}</title>
<link rel=icon href=data:,>
<link rel=stylesheet href=style.css>
<link rel=stylesheet href=assets/fixed.css>
<p>This is turn {number:03}.</p>
{"<!-- long enough to be compressed -->" * 10}
<img src=small.png alt=small><img src=large.png alt=large>
""".encode()


def style(number: int) -> bytes:
    return b"p { margin-left: %03dpx }" % number


def picture(number: int, octets: int = 0) -> bytes:
    """A PNG that is `number` pixels wide, and about `octets` long."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", number, 1, 8, 0, 0, 0, 0)),
        (b"prIv", os.urandom(octets)),  # private and ancillary: decoders skip it
        (b"IDAT", zlib.compress(b"\0" + b"x" * number)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


def contents(number: int) -> dict[str, bytes]:
    """The site at one turn; each name's content is always of the same length."""
    return {
        "page.html": page(number),
        "style.css": style(number),
        "small.png": picture(number),
        "large.png": picture(number, 2 * SMALL),
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    (root / "assets").mkdir(parents=True)
    (root / "assets" / "fixed.css").write_text("p { padding-top: 7px }")
    (root / "empty.html").write_text(
        "<!doctype html><title>Empty</title><link rel=icon href=data:,>"
    )
    for name, content in contents(1).items():
        (root / name).write_bytes(content)
    settle(*root.iterdir())
    return root


@pytest.fixture
def server(root: Path, tmp_path: Path) -> Iterator[Logged]:
    with Logged(root, tmp_path, "--immutable", "/assets/*") as server:
        yield server


@pytest.fixture
def plain(root: Path, tmp_path: Path) -> Iterator[Logged]:
    """Makes no compressed copies, of which each would be sent once in the place of a 304."""
    options = ("--immutable", "/assets/*", "--no-compress")
    with Logged(root, tmp_path, *options) as server:
        yield server


def seen(tab: Tab) -> tuple[str, str, int, int]:
    """What of the page, its style and its pictures tells the turn."""
    small, large = (tab.page.locator(f"[alt={name}]") for name in ("small", "large"))
    text = tab.page.locator("p").inner_text()
    margin = tab.style("p", "margin-left")
    return text, margin, natural_size(small)[0], natural_size(large)[0]


def expected(number: int) -> tuple[str, str, int, int]:
    return f"This is turn {number:03}.", f"{number}px", number, number


def asked(server: Logged) -> dict[str, list[int]]:
    """The statuses of the news by name."""
    answered: dict[str, list[int]] = {}
    for line in server.news():
        answered.setdefault(line.target[1:], []).append(line.status)
    return answered


def reload(tab: Tab, _server: Logged) -> None:
    tab.page.reload()


def return_to_it(tab: Tab, server: Logged) -> None:
    """Go elsewhere, then follow the address again."""
    tab.open(f"{server.url}empty.html")
    tab.open(f"{server.url}page.html")


Again = Callable[[Tab, Logged], None]


@pytest.mark.parametrize("again", [reload, return_to_it])
def test_what_is_unchanged_is_not_sent_again(plain: Logged, tab: Tab, again: Again) -> None:
    tab.open(f"{plain.url}page.html")
    assert seen(tab) == expected(1)
    names = list(contents(1))
    assert asked(plain) == {name: [200] for name in (*names, "assets/fixed.css")}
    for _ in range(2):
        again(tab, plain)
        assert seen(tab) == expected(1)
        news = asked(plain)
        news.pop("empty.html", None)
        assert news == {name: [304] for name in names}
    assert tab.style("p", "padding-top") == "7px"
    assert tab.errors == []


@pytest.mark.parametrize(
    ("write", "again"), [(rewrite_and_keep_time, reload), (replace_and_keep_time, return_to_it)]
)
def test_what_has_changed_is_shown(
    root: Path, server: Logged, tab: Tab, write: Write, again: Again
) -> None:
    """At once, and all of it: the page, its style and its pictures."""
    tab.open(f"{server.url}page.html")
    for number in range(2, TURNS + 2):
        for name, content in contents(number).items():
            write(root / name, content)
        again(tab, server)
        assert seen(tab) == expected(number)
    settle(*root.iterdir())
    # Once more it may be sent because a compressed copy is there now.
    eventually(lambda: is_revalidated(server, tab, again))
    assert seen(tab) == expected(TURNS + 1)
    assert tab.errors == []


def is_revalidated(server: Logged, tab: Tab, again: Again) -> bool:
    server.news()
    again(tab, server)
    news = asked(server)
    return all(news[name] == [304] for name in contents(1))


@pytest.mark.parametrize("name", ["page.html", "large.png"])
def test_only_what_has_changed_is_sent(root: Path, plain: Logged, tab: Tab, name: str) -> None:
    tab.open(f"{plain.url}page.html")
    assert seen(tab) == expected(1)
    plain.news()
    replace(root / name, contents(2)[name])
    settle(root / name)
    tab.page.reload()
    place = list(contents(2)).index(name)
    assert seen(tab) == (*expected(1)[:place], expected(2)[place], *expected(1)[place + 1 :])
    wanted = {each: [200 if each == name else 304] for each in contents(1)}
    assert asked(plain) == wanted
