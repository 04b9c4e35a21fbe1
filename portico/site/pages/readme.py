"""The README.md of a folder, rendered as HTML below the listing.

Rule: HTML tags in the Markdown are shown as text, and links lead to http, https, mailto or relative
addresses only. The page's Content-Security-Policy forbids scripts, and images of other sites.
Rendering takes a millisecond per KiB, and a hundred times as long for hostile text. So the loop
never renders: a thread does, once for each content.
Limits: a listing that is a stream has no README. Rendering needs the package `markdown-it-py`
(extra `portico-server[readme]`). Without it, and above RENDERED_UP_TO, the source text is shown;
above `folder.SMALL` bytes, nothing is shown.
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
"""Most bytes of Markdown that are rendered."""
_KEPT = 4 << 20
"""Characters of HTML that are cached."""


class Readmes:
    """Renders READMEs and caches the HTML. Thread-safe."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._kept: BoundedCache[bytes, str] = BoundedCache(_KEPT, lambda _, html: len(html))

    def html(self, found: Found, *, may_wait: bool) -> str:
        """Return the content of the file `found` as HTML.

        Return "" if `found` is not a file, or its content is not in memory. Without `may_wait`,
        raise Waiting if the content has not been rendered yet.
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
        except Exception:  # noqa: BLE001 (a bug of the library, met by unchecked text)
            html = f"<pre>{_text(octets)}</pre>"
        with self._lock:
            self._kept.put(found.digest, html)
        return html


def _text(octets: bytes) -> str:
    """Return UTF-8 text escaped for HTML, with its lines."""
    return "\n".join(map(shown, octets.decode("utf-8", "replace").splitlines()))


@lru_cache(maxsize=1)
def _renderer() -> Callable[[str], str] | None:
    """Return a function that renders Markdown as HTML; None if its package is not installed."""
    try:
        from markdown_it import MarkdownIt
    except ImportError:
        return None
    markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])

    def render(text: str) -> str:
        tokens = markdown.parse(text)
        for token in tokens:
            if token.type in {"heading_open", "heading_close"}:  # h1 is the page's own heading
                token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
        html: str = markdown.renderer.render(tokens, markdown.options, {})
        return html

    return render
