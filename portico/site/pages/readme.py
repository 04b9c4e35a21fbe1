"""The README.md of a folder, as it is shown below the listing.

Rule: Markdown becomes HTML without any markup of its own: tags in it are shown as text, and links
lead to http, https, mailto or relative addresses only. The policy of the page forbids scripts, and
images from elsewhere. The loop never renders, because that takes a millisecond a KiB and, of
hostile text, a hundred times as long: a thread does, once for each content.
Limits: below a listing that is a stream there is none. It needs the package `markdown-it-py` (extra
`portico[readme]`). Without it, and above RENDERED_UP_TO, the text is shown as it is; above
`folder.SMALL` nothing is.
"""

from __future__ import annotations

from _thread import allocate_lock
from functools import lru_cache
from typing import TYPE_CHECKING

from portico.bounded import BoundedCache
from portico.site.origin.open_file import Waiting
from portico.site.origin.protocol import File
from portico.site.pages.errors import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from portico.site.origin.protocol import Found

README = "README.md"
RENDERED_UP_TO = 32 << 10
"""Bytes of Markdown that are rendered."""
_KEPT = 4 << 20
"""Characters of what was rendered that are kept."""


class Readmes:
    """Renders READMEs and keeps what came of it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._kept: BoundedCache[bytes, str] = BoundedCache(_KEPT, lambda _, html: len(html))

    def html(self, found: Found, *, may_wait: bool) -> str:
        """Return the content of a file as HTML; "" if there is none in memory, or no file.

        Without `may_wait` Waiting is raised for what was not rendered yet.
        """
        octets = found.content.in_memory if isinstance(found, File) else None
        if not isinstance(found, File) or not octets or found.digest is None:
            return ""
        if len(octets) > RENDERED_UP_TO or _renderer() is None:
            return f"<pre>{_text(octets)}</pre>"
        with self._lock:
            html = self._kept.get(found.digest)
        if html is not None:
            return html
        if not may_wait:
            raise Waiting(self)
        render = _renderer()
        try:
            html = "" if render is None else render(octets.decode("utf-8", "replace"))
        except Exception:  # noqa: BLE001 (of a library, on text that nobody has checked)
            html = f"<pre>{_text(octets)}</pre>"
        with self._lock:
            self._kept.put(found.digest, html)
        return html


def _text(octets: bytes) -> str:
    """Return text as HTML, line by line."""
    return "\n".join(map(shown, octets.decode("utf-8", "replace").splitlines()))


@lru_cache(maxsize=1)
def _renderer() -> Callable[[str], str] | None:
    """Return what renders Markdown; None if it is not installed."""
    try:
        from markdown_it import MarkdownIt
    except ImportError:
        return None
    markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])

    def render(text: str) -> str:
        tokens = markdown.parse(text)
        for token in tokens:
            if token.type in {"heading_open", "heading_close"}:  # below the heading of the page
                token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
        html: str = markdown.renderer.render(tokens, markdown.options, {})
        return html

    return render
