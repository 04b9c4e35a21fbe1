"""A README below a listing: rendered off the loop, and harmless whatever it says."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from pathlib import Path

import pytest

from portico.config.config import Config
from portico.site.origin.folder import Folder
from portico.site.origin.open_file import Waiting
from portico.site.origin.protocol import Found
from portico.site.pages import readme
from portico.site.pages.readme import README, RENDERED_UP_TO, Readmes
from tests.site.asking import Client, content

HOSTILE = """# A *title*

<script>alert(1)</script><img src=x onerror=alert(1)>

[a](javascript:alert(1)) [b](JaVaScRiPt:x) [c](data:text/html,x) [d](vbscript:x) [e](a.txt "\\">")

[f]: javascript:alert(1)
[f]

<javascript:alert(1)> <https://example.com>
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / README).write_text(HOSTILE)
    return tmp_path


def look(root: Path) -> Found:
    return Folder(Config.of(root=str(root)), 1 << 20).look_up((README,))


@pytest.fixture
def no_markdown(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if the package were not installed."""
    real = builtins.__import__

    def refusing(name: str, *rest: object) -> object:
        if name == "markdown_it":
            raise ImportError(name)
        return real(name, *rest)  # type: ignore[arg-type]

    readme._renderer.cache_clear()
    monkeypatch.setattr(builtins, "__import__", refusing)
    yield
    monkeypatch.undo()
    readme._renderer.cache_clear()


def test_it_is_rendered_without_markup_of_its_own(root: Path) -> None:
    pytest.importorskip("markdown_it")
    html = Readmes().html(look(root), may_wait=True)
    assert "<h2>A <em>title</em></h2>" in html
    assert "&lt;script&gt;" in html
    assert '<a href="a.txt" title="&quot;&gt;">e</a>' in html
    assert '<a href="https://example.com">' in html
    assert html.count("<a ") == 2
    assert not {"<script", "<img"} & {part.lower() for part in html.split()}


def test_the_loop_does_not_render_but_knows_what_a_thread_has_rendered(root: Path) -> None:
    pytest.importorskip("markdown_it")
    readmes, found = Readmes(), look(root)
    with pytest.raises(Waiting):
        readmes.html(found, may_wait=False)
    html = readmes.html(found, may_wait=True)
    assert readmes.html(found, may_wait=False) == html


@pytest.mark.usefixtures("no_markdown")
def test_without_the_package_it_is_shown_as_text(root: Path) -> None:
    html = Readmes().html(look(root), may_wait=False)
    assert html.startswith("<pre># A *title*\n\n&lt;script&gt;")


def test_a_long_one_is_shown_as_text_and_nothing_else_at_all(root: Path) -> None:
    (root / README).write_text("[" * (RENDERED_UP_TO + 1))
    assert Readmes().html(look(root), may_wait=False).startswith("<pre>[[[")
    (root / README).write_bytes(b"")
    assert Readmes().html(look(root), may_wait=False) == ""
    (root / README).unlink()
    assert Readmes().html(look(root), may_wait=False) == ""
    (root / README).mkdir()
    assert Readmes().html(look(root), may_wait=False) == ""


def test_it_stands_below_the_listing_as_it_is_now(root: Path) -> None:
    client = Client(root, listing=True)
    page = content(client.ask("/"))
    assert page.index(b"</table>") < page.index(b"<article>") < page.index(b"<script>")
    assert b"A <em>title</em>" in page or b"# A *title*" in page
    (root / README).write_text("changed")
    assert b"changed" in content(client.ask("/"))
    assert b"changed" not in content(client.ask("/", "Accept: application/json"))
    (root / README).unlink()
    assert b"<article>" not in content(client.ask("/"))
