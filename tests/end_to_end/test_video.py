"""Chromium moves about in a film and in a recording: it asks for the parts that it needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from portico.site.origin.etags import tag_of_large
from tests.end_to_end.browsing import Tab
from tests.end_to_end.films import READ_SECOND, film, sound
from tests.end_to_end.serving import Logged, settle
from tests.server.clients import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Response

pytestmark = pytest.mark.browser

FILM_SECONDS = 60
SOUND_SECONDS = 300

PAGE = "<!doctype html><title>Play</title><link rel=icon href=data:,>"

MOVE = """(media, [second, patience]) => new Promise((done, failed) => {
  const fail = () => failed(new Error(media.error?.message ?? 'patience is at its end'));
  setTimeout(fail, patience);
  media.onerror = fail;
  media.onseeked = () => done(media.currentTime);
  media.currentTime = second;
})"""
"""Go to a second of what is played; gives where it then is."""

PLAY = """(media, [seconds, patience]) => new Promise((done, failed) => {
  const fail = () => failed(new Error(media.error?.message ?? 'patience is at its end'));
  setTimeout(fail, patience);
  const start = media.currentTime;
  media.onerror = fail;
  media.ontimeupdate = () => {
    if (media.currentTime < start + seconds) return;
    media.pause();
    done(media.currentTime);
  };
  media.play().catch(failed);
})"""
"""Play so many seconds; gives where it then is."""

PATIENCE_MS = 30_000


@pytest.fixture(scope="module")
def root(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("video")
    root = folder / "site"
    root.mkdir()
    (root / "empty.html").write_text(PAGE)
    (root / "film.html").write_text(PAGE + "<video src=film.webm muted preload=auto>")
    (root / "sound.html").write_text(PAGE + "<audio src=sound.wav muted preload=metadata>")
    with Logged(root, folder) as server, browser.new_context() as context:
        tab = Tab(context.new_page())
        tab.open(f"{server.url}empty.html")
        (root / "film.webm").write_bytes(film(tab.page, FILM_SECONDS))
    (root / "sound.wav").write_bytes(sound(SOUND_SECONDS))
    settle(*root.iterdir())
    return root


@pytest.fixture
def server(root: Path, tmp_path: Path) -> Iterator[Logged]:
    """Has not seen the film yet."""
    with Logged(root, tmp_path) as server:
        yield server


def test_film_is_played_from_wherever_one_goes(server: Logged, tab: Tab, root: Path) -> None:
    """And all parts have one tag, or the browser would begin anew."""
    answers: list[Response] = []
    tab.page.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108 (it is marked)
    assert tab.open(f"{server.url}film.html") == 200
    element = tab.page.locator("video")
    assert element.evaluate(PLAY, [0.5, PATIENCE_MS]) >= 0.5
    content = (root / "film.webm").read_bytes()
    for second in (55, 3, 30, 58, 0):
        assert element.evaluate(MOVE, [second + 0.25, PATIENCE_MS]) == second + 0.25
        assert element.evaluate(READ_SECOND) == second
    assert element.evaluate(MOVE, [40, PATIENCE_MS]) == 40
    assert element.evaluate(PLAY, [1.5, PATIENCE_MS]) >= 41.5
    assert element.evaluate(READ_SECOND) >= 41
    parts = [answer for answer in answers if answer.url.endswith("film.webm")]
    assert max(first_position(part) for part in parts) > len(content) // 2
    assert {part.headers["etag"] for part in parts} == {tag_of_large((root / "film.webm").stat())}
    assert tab.errors == []
    tab.page.close()
    assert_parts_were_sent(server, "/film.webm")


def test_recording_is_played_from_wherever_one_goes(server: Logged, tab: Tab) -> None:
    assert tab.open(f"{server.url}sound.html") == 200
    element = tab.page.locator("audio")
    for second in (SOUND_SECONDS - 10, 5, SOUND_SECONDS // 2):
        assert element.evaluate(MOVE, [second, PATIENCE_MS]) == second
        assert element.evaluate(PLAY, [0.5, PATIENCE_MS]) >= second + 0.5
    assert element.evaluate("media => media.duration") == SOUND_SECONDS
    assert tab.errors == []
    tab.page.close()
    assert_parts_were_sent(server, "/sound.wav")


def first_position(part: Response) -> int:
    """Where in the file an answer begins, by its Content-Range."""
    assert part.status == 206
    return int(part.headers["content-range"].removeprefix("bytes ").partition("-")[0])


def assert_parts_were_sent(server: Logged, target: str) -> None:
    """The browser has asked several times, and never had to take the whole."""

    def statuses() -> list[int]:
        return [line.status for line in server.lines() if line.target == target]

    eventually(lambda: statuses().count(206) >= 3)
    assert set(statuses()) <= {206, 304}
