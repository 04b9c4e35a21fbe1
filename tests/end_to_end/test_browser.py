"""What a person sees: the example site in a real Chromium."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import portico
from tests.end_to_end.browsing import Tab, natural_size

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

EXAMPLE = Path(__file__).parents[2] / "examples" / "site"


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of the example site, with its last slash."""
    with portico.Server(EXAMPLE, port=0) as server:
        yield server.url


def size_in_file(path: Path) -> tuple[int, int]:
    """Width and height as the file's own header states them."""
    content = path.read_bytes()
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack(">II", content[16:24])
    elif content.startswith((b"GIF87a", b"GIF89a")):
        width, height = struct.unpack("<HH", content[6:10])
    else:
        height, width = struct.unpack(">HH", jpeg_frame_header(content)[1:5])
    return width, height


def jpeg_frame_header(content: bytes) -> bytes:
    """What follows the length in a JPEG's frame header: precision, lines, samples per line."""
    assert content.startswith(b"\xff\xd8")
    position = 2
    while True:
        marker, length = struct.unpack(">HH", content[position : position + 4])
        # SOF0 to SOF15, among which three numbers are other markers (ITU-T T.81, table B.1).
        if 0xFFC0 <= marker <= 0xFFCF and marker not in {0xFFC4, 0xFFC8, 0xFFCC}:
            return content[position + 4 : position + 2 + length]
        position += 2 + length


def test_hello_world_is_displayed_with_its_pictures_and_style(tab: Tab, site: str) -> None:
    assert tab.open(f"{site}HelloWorld.html") == 200
    assert tab.page.title() == "Hello, World!"
    assert tab.page.get_by_role("heading", name="Hello, World!").is_visible()
    assert tab.page.get_by_text("You are reading this page").is_visible()
    for name in ("test_image.jpeg", "portico-mark.png", "sailing.gif"):
        picture = tab.page.locator(f'img[src="{name}"]')
        assert picture.is_visible()
        assert natural_size(picture) == size_in_file(EXAMPLE / name)
    assert tab.style("figure img", "border-radius") == "8px"
    assert tab.errors == []


def test_image_is_displayed_by_itself(tab: Tab, site: str) -> None:
    assert tab.open(f"{site}test_image.jpeg") == 200
    assert tab.page.evaluate("document.contentType") == "image/jpeg"
    width, height = natural_size(tab.page.locator("img"))
    assert (width, height) == size_in_file(EXAMPLE / "test_image.jpeg")
    assert width >= 640
    assert height >= 420
    assert tab.errors == []


def test_missing_file_shows_the_error_page(tab: Tab, site: str) -> None:
    tab.open(f"{site}HelloWorld.html")
    with tab.page.expect_navigation() as navigation:
        tab.page.get_by_role("link", name="This page").click()
    assert navigation.value is not None
    assert navigation.value.status == 404
    assert tab.page.get_by_role("heading", name="Not Found").is_visible()
    assert tab.page.get_by_text("There is nothing at this address.").is_visible()
    # Chromium reports the page's own status; nothing else may be amiss.
    assert [error for error in tab.errors if "nobody-is-here.html" not in error] == []
    assert "404 (Not Found)" in "".join(tab.errors)


def test_folder_with_an_index_shows_it(tab: Tab, site: str) -> None:
    assert tab.open(f"{site}colonnade") == 200
    assert tab.page.url == f"{site}colonnade/"
    assert tab.page.get_by_role("heading", name="The colonnade").is_visible()
    assert tab.errors == []


def test_listing_is_displayed_and_works_by_keyboard(tab: Tab, site: str) -> None:
    assert tab.open(site) == 200
    page = tab.page
    tab.follow_by_keyboard(page.get_by_role("link", name="A folder without a page"))
    assert page.get_by_role("heading", name="notes").is_visible()
    assert page.get_by_role("columnheader").all_inner_texts() == [
        "Name",
        "Size",
        "Modified",
    ]
    tab.follow_by_keyboard(page.get_by_role("link", name="letters/"))
    tab.follow_by_keyboard(page.get_by_role("link", name="notes", exact=True))
    tab.follow_by_keyboard(page.get_by_role("link", name="Zürich & friends.txt"))
    assert page.get_by_text("Grüezi!").is_visible()
    assert page.evaluate("[document.contentType, document.characterSet]") == [
        "text/plain",
        "UTF-8",
    ]
    assert tab.errors == []


def test_every_link_of_a_listing_leads_to_its_file(tab: Tab, site: str) -> None:
    tab.open(f"{site}notes/")
    links = tab.page.locator('tbody a[href^="./"]')
    urls = links.evaluate_all("links => links.map(link => link.href)")
    contents = []
    for url in urls:
        response = tab.page.request.get(url)
        assert response.status == 200
        if not url.endswith("/"):
            contents.append(response.body())
    paths = list((EXAMPLE / "notes").iterdir())
    assert len(urls) == len(paths)
    assert sorted(contents) == sorted(path.read_bytes() for path in paths if path.is_file())


@pytest.mark.parametrize(
    ("scheme", "ground"), [("light", "rgb(252, 251, 248)"), ("dark", "rgb(25, 26, 29)")]
)
@pytest.mark.parametrize("path", ["notes/", "nobody-is-here.html"])
def test_policy_lets_the_style_of_each_page_in(
    browser: Browser, site: str, path: str, scheme: str, ground: str
) -> None:
    with browser.new_context() as context:
        tab = Tab(context.new_page())
        tab.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        tab.open(site + path)
        assert tab.style("body", "background-color") == ground
        assert tab.style("body", "margin-top") == "0px"
        assert [error for error in tab.errors if "404 (Not Found)" not in error] == []


def test_listing_fits_a_phone(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / ("long" * 50 + ".txt")).touch()
    (tmp_path / "two words  and more.txt").touch()
    with (
        portico.Server(tmp_path, port=0) as server,
        browser.new_context(viewport={"width": 360, "height": 640}) as context,
    ):
        tab = Tab(context.new_page())
        assert tab.open(server.url) == 200
        assert tab.page.evaluate("document.documentElement.scrollWidth") == 360
        assert tab.page.get_by_role("row").last.is_visible()


def test_headings_of_a_long_listing_stay_in_sight(tab: Tab, tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"{number}.txt").touch()
    with portico.Server(tmp_path, port=0) as server:
        tab.open(server.url)
        tab.page.get_by_role("link", name="99.txt").scroll_into_view_if_needed()
        assert tab.page.evaluate("scrollY") > 0
        heading = tab.page.get_by_role("columnheader", name="Name")
        assert heading.evaluate(
            """element => {
                const box = element.getBoundingClientRect();
                const seen = [box.left, (box.left + box.right) / 2].map(
                    x => document.elementFromPoint(x + 12, (box.top + box.bottom) / 2));
                return seen.every(top => element.contains(top));
            }"""
        )


def test_hostile_names_are_text_and_nothing_more(browser: Browser, tmp_path: Path) -> None:
    names = [
        b"javascript:document.title='broken'.txt",
        b"<img src=x onerror=document.title='broken'>.txt",
        b"\"onfocus=document.title='broken' autofocus x=\".txt",
        b"caf\xe9.txt",
        "\u202egnp.html".encode(),
        b"100%25 #1?;.txt",
        b"line\nbreak.txt",
    ]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_text("safe", encoding="utf-8")
    with portico.Server(tmp_path, port=0) as server, browser.new_context() as context:
        tab = Tab(context.new_page())
        tab.open(server.url)
        assert tab.page.title() == tmp_path.name
        links = tab.page.locator("tbody a")
        assert links.count() == len(names)
        assert tab.page.locator("img").count() == 0
        for index in range(len(names)):
            with tab.page.expect_navigation() as navigation:
                links.nth(index).press("Enter")
            assert navigation.value is not None
            assert navigation.value.status == 200
            assert tab.page.url.startswith(server.url)
            assert tab.page.get_by_text("safe").is_visible()
            tab.page.go_back()
