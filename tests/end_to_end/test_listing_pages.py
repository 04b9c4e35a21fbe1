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
ROOT = "photos"


@pytest.fixture
def tab(tab: Tab) -> Iterator[Tab]:
    """A tab in which nothing must go wrong."""
    yield tab
    assert complaints(tab) == []


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A site with the same files in its root and in two folders, one in the other."""
    root = tmp_path_factory.mktemp("listed") / ROOT
    for folder in (root, root / "in", root / "in" / "inner"):
        folder.mkdir()
        for name, (size, days) in FILES.items():
            (folder / name).write_bytes(b"x" * size)
            os.utime(folder / name, (1e9 - days * DAY, 1e9 - days * DAY))
    with portico.Server(root) as server:
        yield server.url


def complaints(tab: Tab) -> list[str]:
    """What Chromium says on the console, but that there is no favicon."""
    return [error for error in tab.errors if "/favicon.ico" not in error]


def names(tab: Tab) -> list[str]:
    """The names of the rows that are shown."""
    return tab.page.locator("tbody tr:visible a").all_inner_texts()


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
    down, up = "descending", "ascending"
    for heading, first, order, other in (
        ("Size", BY_SIZE[::-1], down, up),
        ("Modified", BY_DATE[::-1], down, up),
        ("Name", BY_NAME, up, down),
    ):
        button = tab.page.get_by_role("columnheader").get_by_role("button", name=heading)
        button.click()
        assert (names(tab), sorted_by(tab)) == (["in/", *first], [(heading, order)])
        button.click()
        assert (names(tab), sorted_by(tab)) == (["in/", *first[::-1]], [(heading, other)])


def test_the_order_stays_on_the_way_down_and_up(tab: Tab, url: str) -> None:
    tab.open(f"{url}?sort=-size")
    page = tab.page
    for link, path in (
        ("in/", "in/"),
        ("inner/", "in/inner/"),
        ("in", "in/"),
        ("inner/", "in/inner/"),
        (ROOT, ""),
    ):
        page.get_by_role("link", name=link, exact=True).click()
        assert page.url == f"{url}{path}?sort=-size"
        assert names(tab)[-3:] == BY_SIZE[::-1]
    tab.follow_by_keyboard(page.get_by_role("link", name="c.txt"))
    assert page.url == f"{url}c.txt"


def test_the_headings_work_by_keyboard_between_the_path_and_the_rows(tab: Tab, url: str) -> None:
    tab.open(f"{url}in/")
    seen = []
    for _ in range(8):
        tab.page.keyboard.press("Tab")
        focus = tab.page.locator(":focus")
        assert tab.style(":focus", "outline-style") == "solid"
        seen.append(focus.inner_text())
    assert seen == [
        ROOT,
        "Name",
        "Size",
        "Modified",
        "inner/",
        *BY_NAME,
    ]
    tab.page.get_by_role("button", name="Size").focus()
    with tab.page.expect_navigation():
        tab.page.keyboard.press("Enter")
    assert names(tab) == ["inner/", *BY_SIZE[::-1]]


def test_what_a_screen_reader_is_told(tab: Tab, url: str) -> None:
    tab.open(f"{url}in/?sort=date")
    page = tab.page
    assert page.get_by_role("table").count() == 1
    caption = page.get_by_role("table", name="Contents of /in/, folders first")
    assert caption.count() == 1
    size = page.get_by_role("columnheader").get_by_role("button", name="Size", exact=True)
    assert size.get_attribute("title") == "Sort by size, largest first"
    # The arrow is for eyes only: the name of the heading stays as it is.
    assert page.get_by_role("columnheader", name="Modified", exact=True).count() == 1
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

    for query, arrow in (("", "\u2191"), ("?sort=-name", "\u2193")):
        tab.open(f"{url}in/{query}")
        assert arrow in before("th:first-child button", "::after", "content")
        assert before("th:nth-child(2) button", "::before", "content") == "none"
        folder, file = 'a[href^="./inner/"]', 'a[href^="./c.txt"]'
        assert before(folder, "::before", "clip-path") != "none"
        assert before(file, "::before", "clip-path") == "none"
        assert "\u00b6" in before(file, "::before", "content")
    for query, arrow in (("?sort=size", "\u2191"), ("?sort=-size", "\u2193")):
        tab.open(f"{url}in/{query}")
        assert arrow in before("th:nth-child(2) button", "::before", "content")
        assert before("th:nth-child(2) button", "::after", "content") == "none"
        assert before("th:first-child button", "::after", "content") == "none"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("query", ["", "?sort=size", "?sort=-date"])
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
        for link in tab.page.get_by_role("columnheader").get_by_role("button").all():
            box = link.bounding_box()
            assert box is not None
            assert box["height"] >= 24  # WCAG 2.2, 2.5.8
            assert box["width"] >= 24
            assert 0 <= box["x"] <= 375 - box["width"]
        assert complaints(tab) == []


def test_dates_are_those_of_the_readers_clock(browser: Browser, url: str) -> None:
    for zone, scripts, shown in (
        ("Asia/Tokyo", True, "2001-09-06 10:46"),
        ("Asia/Tokyo", False, "2001-09-06 01:46"),
    ):
        with browser.new_context(timezone_id=zone, java_script_enabled=scripts) as context:
            page = context.new_page()
            page.goto(url)
            row = page.get_by_role("row", name="b 2.txt")
            assert row.get_by_role("time").inner_text() == shown
            assert ("(UTC)" in page.locator("thead").inner_text()) == (not scripts)
            assert page.get_by_role("searchbox").count() == 0


def test_a_readme_runs_and_loads_nothing(browser: Browser, tmp_path: Path) -> None:
    pytest.importorskip("markdown_it")
    (tmp_path / "README.md").write_text(
        "# Title\n\n<script>document.title = 'run'</script>\n\n"
        "![x](http://127.0.0.1:9/x.png) [link](javascript:document.title='run')\n"
    )
    with portico.Server(tmp_path) as server, browser.new_context() as context:
        tab = Tab(context.new_page())
        tab.open(server.url)
        assert tab.page.get_by_role("article").get_by_role("heading", name="Title").is_visible()
        assert tab.page.title() == tmp_path.name
        assert "Content Security Policy" in "".join(complaints(tab))


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
    texts = tab.page.locator("h1, nav a, button, tbody a, td, footer").all()
    assert len(texts) > 10
    assert min(text.evaluate(CONTRAST) for text in texts) >= 4.5


def test_a_streamed_listing_is_displayed_whole(tab: Tab, tmp_path: Path) -> None:
    for number in range(3 * WHOLE):
        (tmp_path / f"{number}.txt").touch()
    with portico.Server(tmp_path) as server:
        assert tab.open(server.url) == 200
        assert names(tab) == [f"{number}.txt" for number in range(3 * WHOLE)]
        box = tab.page.get_by_role("searchbox", name="Filter by name")
        tab.page.keyboard.press("/")
        tab.page.keyboard.type("49 .TXT")
        assert box.input_value() == "49 .TXT"
        assert names(tab) == [f"{n}.txt" for n in range(3 * WHOLE) if "49" in str(n)]
        assert tab.page.get_by_text(f"{len(names(tab))} of {3 * WHOLE:,}").is_visible()
        box.fill("")
        assert tab.page.get_by_text(f"{3 * WHOLE:,} files").is_visible()
