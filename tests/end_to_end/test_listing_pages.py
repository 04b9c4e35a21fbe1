"""Listings in a real Chromium: sorted by pointer and keyboard, on a phone, by day and by night."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import portico
from portico.site.origin.entries import WHOLE
from tests.end_to_end.browsing import Tab

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

FILES = {"b 2.txt": (10, 3), "b 10.txt": (3000, 1), "c.txt": (0, 2)}
"""Names by their sizes and ages in days."""
DAY = 86400


@pytest.fixture
def tab(tab: Tab) -> Iterator[Tab]:
    """A tab in which nothing must go wrong."""
    yield tab
    assert complaints(tab) == []


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A site with the same files in its root and in two folders, one in the other."""
    root = tmp_path_factory.mktemp("listed")
    for folder in (root, root / "in", root / "in" / "inner"):
        folder.mkdir(exist_ok=True)
        for name, (size, days) in FILES.items():
            (folder / name).write_bytes(b"x" * size)
            os.utime(folder / name, (1e9 - days * DAY, 1e9 - days * DAY))
    with portico.Server(root) as server:
        yield server.url


def complaints(tab: Tab) -> list[str]:
    """What Chromium says on the console, but that there is no favicon."""
    return [error for error in tab.errors if "/favicon.ico" not in error]


def names(tab: Tab) -> list[str]:
    """The names of the rows, but for the parent folder."""
    return tab.page.locator('tbody a[href^="./"]').all_inner_texts()


def sorted_by(tab: Tab) -> list[tuple[str, str]]:
    """The headings that claim to be sorted, and how."""
    headings = tab.page.locator("th[aria-sort]")
    return [
        (heading.inner_text(), str(heading.get_attribute("aria-sort")))
        for heading in headings.all()
    ]


BY_NAME = ["b 2.txt", "b 10.txt", "c.txt"]
BY_SIZE = ["c.txt", "b 2.txt", "b 10.txt"]
BY_DATE = ["b 2.txt", "c.txt", "b 10.txt"]


def test_each_heading_sorts_and_the_second_click_reverses(tab: Tab, url: str) -> None:
    tab.open(url)
    assert (names(tab), sorted_by(tab)) == (["in/", *BY_NAME], [("Name", "ascending")])
    for heading, ascending in (
        ("Size", BY_SIZE),
        ("Modified (UTC)", BY_DATE),
        ("Name", BY_NAME),
    ):
        link = tab.page.get_by_role("columnheader").get_by_role("link", name=heading)
        link.click()
        assert (names(tab), sorted_by(tab)) == (["in/", *ascending], [(heading, "ascending")])
        link.click()
        assert names(tab) == ["in/", *reversed(ascending)]
        assert sorted_by(tab) == [(heading, "descending")]
    tab.page.get_by_role("columnheader").get_by_role("link", name="Name").click()
    assert tab.page.url == url


def test_the_order_stays_on_the_way_down_and_up(tab: Tab, url: str) -> None:
    tab.open(f"{url}?sort=size&order=desc")
    page = tab.page
    for link, path in (
        ("in/", "in/"),
        ("inner/", "in/inner/"),
        ("Parent folder", "in/"),
        ("inner/", "in/inner/"),
        ("Index", ""),
    ):
        page.get_by_role("link", name=link, exact=True).click()
        assert page.url == f"{url}{path}?sort=size&order=desc"
        assert names(tab)[-3:] == BY_SIZE[::-1]
    tab.follow_by_keyboard(page.get_by_role("link", name="c.txt"))
    assert page.url == f"{url}c.txt"


def test_the_headings_work_by_keyboard_between_the_path_and_the_rows(tab: Tab, url: str) -> None:
    tab.open(f"{url}in/")
    seen = []
    for _ in range(8):
        tab.page.keyboard.press("Tab")
        focus = tab.page.locator("a:focus")
        assert tab.style("a:focus", "outline-style") == "solid"
        seen.append(focus.inner_text())
    assert seen == [
        "Index",
        "Name",
        "Size",
        "Modified (UTC)",
        "Parent folder",
        "inner/",
        *BY_NAME[:2],
    ]
    tab.follow_by_keyboard(tab.page.get_by_role("link", name="Size"))
    assert names(tab) == ["inner/", *BY_SIZE]


def test_what_a_screen_reader_is_told(tab: Tab, url: str) -> None:
    tab.open(f"{url}in/?sort=date")
    page = tab.page
    assert page.get_by_role("table").count() == 1
    caption = page.get_by_role("table", name="Contents of /in/, folders first")
    assert caption.count() == 1
    size = page.get_by_role("columnheader").get_by_role("link", name="Size", exact=True)
    assert size.get_attribute("title") == "Sort by size, smallest first"
    # The arrow is for eyes only: the name of the heading stays as it is.
    assert page.get_by_role("columnheader", name="Modified (UTC)", exact=True).count() == 1
    assert page.get_by_role("rowheader", name="b 2.txt", exact=True).count() == 1
    assert page.get_by_role("navigation", name="Folders above").count() == 1


def test_arrow_and_icons_are_drawn_in_any_order(tab: Tab, url: str) -> None:
    def before(selector: str, part: str, name: str) -> str:
        value = tab.page.locator(selector).first.evaluate(
            "(element, [part, name]) => getComputedStyle(element, part).getPropertyValue(name)",
            [part, name],
        )
        assert isinstance(value, str)
        return value

    for query, arrow in (("", "\u2191"), ("?sort=name&order=desc", "\u2193")):
        tab.open(f"{url}in/{query}")
        assert arrow in before("th:first-child a", "::after", "content")
        assert before("th:nth-child(2) a", "::before", "content") == "none"
        folder, file = 'a[href^="./inner/"]', 'a[href^="./c.txt"]'
        assert before(folder, "::before", "clip-path") != "none"
        assert before(file, "::before", "clip-path") == "none"
        assert before('tbody a[href^="../"]', "::before", "clip-path") != before(
            folder, "::before", "clip-path"
        )
    for query, arrow in (("?sort=size", "\u2191"), ("?sort=size&order=desc", "\u2193")):
        tab.open(f"{url}in/{query}")
        assert arrow in before("th:nth-child(2) a", "::before", "content")
        assert before("th:nth-child(2) a", "::after", "content") == "none"
        assert before("th:first-child a", "::after", "content") == "none"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("query", ["", "?sort=size", "?sort=date&order=desc"])
def test_any_name_fits_a_phone(browser: Browser, tmp_path: Path, scheme: str, query: str) -> None:
    for name in ("x" * 200, "many words in a name " * 9, "שלום עולם.txt", "مرحبا 2.pdf"):
        (tmp_path / name).write_bytes(bytes(123456))
    (tmp_path / "ארכיון").mkdir()
    context = browser.new_context(viewport={"width": 375, "height": 800})
    with portico.Server(tmp_path) as server, context:
        tab = Tab(context.new_page())
        tab.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        tab.open(server.url + query)
        assert tab.page.evaluate("document.documentElement.scrollWidth") == 375
        for link in tab.page.get_by_role("columnheader").get_by_role("link").all():
            box = link.bounding_box()
            assert box is not None
            assert box["height"] >= 24  # WCAG 2.2, 2.5.8
            assert box["width"] >= 24
            assert 0 <= box["x"] <= 375 - box["width"]
        assert complaints(tab) == []


CONTRAST = """element => {
    const channels = color => color.match(/[0-9.]+/g).slice(0, 3).map(part => {
        const value = part / 255;
        return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    const light = color => {
        const [red, green, blue] = channels(color);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const text = light(getComputedStyle(element).color);
    const ground = light(getComputedStyle(document.body).backgroundColor);
    return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read_by_day_and_by_night(tab: Tab, url: str, scheme: str) -> None:
    tab.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    tab.open(f"{url}in/?sort=size")
    texts = tab.page.locator("h1, nav a, thead a, tbody a, td, footer").all()
    assert len(texts) > 10
    assert min(text.evaluate(CONTRAST) for text in texts) >= 4.5


def test_a_streamed_listing_is_displayed_whole(tab: Tab, tmp_path: Path) -> None:
    for number in range(3 * WHOLE):
        (tmp_path / f"{number}.txt").touch()
    with portico.Server(tmp_path) as server:
        assert tab.open(server.url) == 200
        assert names(tab) == [f"{number}.txt" for number in range(3 * WHOLE)]
        assert tab.page.get_by_text(f"{3 * WHOLE:,} files").is_visible()
