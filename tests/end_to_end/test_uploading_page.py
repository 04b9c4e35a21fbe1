"""The page of a folder that may be written to, in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from portico import Server
from tests.end_to_end.browsing import Tab
from tests.server.clients import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser
FILES = "#upload input[type=file]:not([webkitdirectory])"
DROP = """names => {
  const transfer = new DataTransfer();
  for (const name of names) transfer.items.add(new File([`content of ${name}`], name));
  document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true}));
}"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "shared"
    root.mkdir()
    (root / "old.txt").write_text("old")
    return root


@pytest.fixture
def tab(tab: Tab) -> Iterator[Tab]:
    """Says yes to each question, and calls new folders "new". Chromium notes each 412."""
    tab.page.on("dialog", lambda dialog: dialog.accept("new"))
    yield tab
    known = ("favicon", "net::ERR", "412")
    assert [each for each in tab.errors if not any(part in each for part in known)] == []


def test_files_are_chosen_dropped_replaced_and_deleted(tab: Tab, root: Path) -> None:
    chosen = root.parent / "chosen.txt"
    chosen.write_text("chosen")
    with Server(root, allow="write") as server:
        tab.open(server.url)
        with tab.page.expect_navigation():
            tab.page.set_input_files(FILES, [chosen])
        assert (root / "chosen.txt").read_text() == "chosen"
        with tab.page.expect_navigation():
            tab.page.evaluate(DROP, ["\u00fc & 1.txt", "old.txt"])
        assert (root / "\u00fc & 1.txt").read_text() == "content of \u00fc & 1.txt"
        assert (root / "old.txt").read_text() == "content of old.txt"
        with tab.page.expect_navigation():
            tab.page.get_by_role("button", name="New folder").click()
        assert (root / "new").is_dir()
        for name in ("old.txt", "new/"):
            tab.page.get_by_role("button", name=f"Delete {name}").click()
            tab.page.get_by_role("link", name=name).wait_for(state="detached")
        assert not (root / "old.txt").exists()


def test_an_upload_that_is_cut_goes_on_by_itself(tab: Tab, root: Path) -> None:
    large = root.parent / "large.bin"
    large.write_bytes(bytes(range(256)) * 80_000)
    session = tab.page.context.new_cdp_session(tab.page)
    session.send("Network.enable")
    conditions = {"offline": False, "latency": 0, "downloadThroughput": -1}
    with Server(root, allow="create", grace=0.1) as server:
        port = urlsplit(server.url).port or 0
        tab.open(server.url)
        slow = {**conditions, "uploadThroughput": 4_000_000}
        session.send("Network.emulateNetworkConditions", slow)
        tab.page.set_input_files(FILES, [large])
        stored = root / ".portico" / "uploads"
        eventually(lambda: any(path.stat().st_size > 2_000_000 for path in stored.glob("?" * 32)))
    session.send("Network.emulateNetworkConditions", {**conditions, "uploadThroughput": -1})
    with Server(root, port=port, allow="create"), tab.page.expect_navigation():
        pass
    assert (root / "large.bin").read_bytes() == large.read_bytes()


def test_what_is_refused_is_said(tab: Tab, root: Path) -> None:
    (root.parent / "old.txt").write_text("new")
    with Server(root, allow="create") as server:
        tab.open(server.url)
        assert tab.page.get_by_role("button", name="Delete").count() == 0
        tab.page.set_input_files(FILES, [root.parent / "old.txt"])
        tab.page.get_by_text("There is a file of that name already.").wait_for()
    assert (root / "old.txt").read_text() == "old"


def test_without_scripts_there_is_a_form(browser: Browser, root: Path) -> None:
    pytest.importorskip("multipart")
    (root.parent / "sent.txt").write_text("sent")
    with (
        Server(root, allow="create") as server,
        browser.new_context(java_script_enabled=False) as context,
    ):
        page = context.new_page()
        page.goto(server.url)
        page.set_input_files("input[type=file]", [root.parent / "sent.txt"])
        page.get_by_role("button", name="Upload", exact=True).click()
        assert page.get_by_role("link", name="sent.txt").count() == 1
    assert (root / "sent.txt").read_text() == "sent"


def test_who_may_not_write_sees_no_form(tab: Tab, root: Path) -> None:
    with Server(root) as server:
        tab.open(server.url)
        assert tab.page.locator("#upload").count() == 0
