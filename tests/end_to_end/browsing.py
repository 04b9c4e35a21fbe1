"""A real Chromium for tests, and tabs that remember what goes wrong in them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Locator, Page

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
# Nothing but the pages asked for goes over the network, and nothing needs a display.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the browser while the block runs; skip the test where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if path is None:
        pytest.skip(f"no Chromium on the path: {', '.join(CHROMIUMS)}")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


class Tab:
    """A browser tab that remembers the errors on its console."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.errors.append(f"{message.location['url']}: {message.text}")

    def open(self, url: str) -> int:
        """Load a page with all that belongs to it; the status of the page itself."""
        response = self.page.goto(url)
        assert response is not None
        return response.status

    def style(self, selector: str, name: str) -> str:
        """A computed style of the first element that fits."""
        value = self.page.locator(selector).first.evaluate(
            "(element, name) => getComputedStyle(element).getPropertyValue(name)", name
        )
        assert isinstance(value, str)
        return value

    def follow_by_keyboard(self, link: Locator) -> None:
        """Press Tab until the link has the focus, then Enter; no pointer is used."""
        for _ in range(self.page.locator("a, button, input").count()):
            self.page.keyboard.press("Tab")
            if link.evaluate("element => element === document.activeElement"):
                assert self.style("a:focus", "outline-style") == "solid"
                with self.page.expect_navigation():
                    self.page.keyboard.press("Enter")
                return
        pytest.fail("the Tab key does not reach the link")


def natural_size(picture: Locator) -> tuple[int, int]:
    """Width and height that the browser decoded, once it has; a broken picture raises."""
    width, height = picture.evaluate(
        "async image => (await image.decode(), [image.naturalWidth, image.naturalHeight])"
    )
    return width, height
