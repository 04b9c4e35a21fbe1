"""Extracts the links from HTML, CSS and web app manifests, each with its line.

Rule: every URL that a browser would fetch or navigate to is a link, except the target of a form.
Links to other hosts, and with schemes such as mailto, are included.
Limit: links that scripts add to a page are not known. Sources: HTML Living Standard, "URL
attributes", "srcset", "The base element"; CSS Syntax Level 3; W3C, Web App Manifest.
"""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

SPACES = "".join(map(chr, range(0x21)))
"""Characters stripped from both ends of a reference: C0 controls and the space (WHATWG URL)."""

# The attributes of each element that contain a URL; the elements whose URL opens a page, or may
# open one; and the attributes that contain a set of images.
_URLS = {
    "a": ("href", "xlink:href"),
    "area": ("href",),
    "object": ("data",),
    "video": ("src", "poster"),
    **dict.fromkeys(
        ("audio", "embed", "frame", "iframe", "img", "input", "script", "source", "track"), ("src",)
    ),
    **dict.fromkeys(("feimage", "image", "use"), ("href", "xlink:href")),
}
_OPENING = frozenset({"a", "area", "embed", "frame", "iframe", "object"})
_SETS = {"img": "srcset", "source": "srcset", "link": "imagesrcset"}

# The types of <link> whose target is a part of the page, and those that only name a host.
_LINKED_PARTS = frozenset(
    {
        *("apple-touch-icon", "apple-touch-icon-precomposed", "icon", "mask-icon"),
        *("manifest", "modulepreload", "preload", "stylesheet"),
    }
)
_LINKED_HOSTS = frozenset({"dns-prefetch", "preconnect"})

# A URL in a srcset ends at white space, or at a comma before that. Unless it ends with a comma,
# descriptors follow, up to a comma outside of parentheses.
_SRCSET = re.compile(r"[\s,]*+(\S++)(?:(?<!,)(?:\([^)]*\)?|[^,(])*)?")
_REFRESH = re.compile(
    r"[\s\d.]*[;,\s]\s*(?:url\s*=\s*)?(?:\"([^\"]*)|'([^']*)|(.*))", re.IGNORECASE | re.DOTALL
)

_CSS = re.compile(
    r"""
    /\* .*? (?: \*/ | \Z )                                                      # a comment
    | (?P<before> @import \s* | (?<![\w-]) url\( \s* )?
      (?: "(?P<double> [^"\\\n]*+ (?: \\. [^"\\\n]*+ )* ) "?
        | '(?P<single> [^'\\\n]*+ (?: \\. [^'\\\n]*+ )* ) '? )
    | (?<![\w-]) url\( \s* (?P<bare> [^()"'\s\\]*+ (?: \\. [^()"'\s\\]*+ )* )
    """,
    re.DOTALL | re.IGNORECASE | re.VERBOSE,
)
_CSS_ESCAPE = re.compile(r"\\(?:([0-9a-fA-F]{1,6})\s?|(.))", re.DOTALL)


_MANIFEST = frozenset({"icons", "screenshots", "shortcuts", "start_url"})
"""A JSON object is taken for a web app manifest if it has one of these members."""
_MANIFEST_URL = re.compile(r'"(start_url|url|src)"\s*:\s*("(?:[^"\\]|\\.)*+")')


class Link(NamedTuple):
    """A reference in a file, not resolved."""

    url: str
    line: int
    navigates: bool = False
    """Whether the link opens a page, such as a link to click on; else it fetches part of a page."""
    downloads: bool = False
    """Whether browsers save the target instead of showing it (the attribute `download`)."""


class Page(HTMLParser):
    """An HTML page: its links, its base URL, and the fragments that lead to an element in it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[Link] = []
        self.base: str | None = None
        self.fragments: set[str] = set()
        self._in_style = False
        # An unterminated tag is no tag, but HTMLParser takes quadratic time to find that out, so it
        # is cut off. An unterminated comment extends to the end of the page, so it is ended there.
        self.feed(text[: text.rfind(">") + 1] + "-->")
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the links and fragments in a start tag."""
        self._in_style = tag == "style"
        given = {name: value or "" for name, value in reversed(attrs)}  # the first of a name counts
        for name in ("id", "name") if tag == "a" else ("id",):
            if name in given:
                self.fragments.add(given[name])
        if tag == "base" and self.base is None:
            self.base = given.get("href")
        line = self.getpos()[0]
        downloads = tag in {"a", "area"} and "download" in given
        for url, navigates in _references(tag, given):
            self.links.append(Link(url, line, navigates, downloads))
        if "style" in given:
            self.links.extend(css_links(given["style"], line))

    def handle_endtag(self, _tag: str) -> None:
        """Record that a style element has ended."""
        self._in_style = False

    def handle_data(self, data: str) -> None:
        """Collect the links in a style element."""
        if self._in_style:
            self.links.extend(css_links(data, self.getpos()[0]))

    def parse_marked_section(self, i: int, report: bool = True) -> int:  # noqa: FBT001, FBT002
        """Return where "<![" ends; HTML has no marked sections, so it is read as a comment."""
        return self.parse_bogus_comment(i, report)


def _references(tag: str, given: dict[str, str]) -> Iterator[tuple[str, bool]]:
    """Yield the URLs in a start tag, each with True if it opens a page."""
    for name in _URLS.get(tag, ()):
        if name in given:
            yield given[name], tag in _OPENING
    for url in _SRCSET.findall(given.get(_SETS.get(tag, ""), "")):
        yield url.rstrip(","), False
    if tag == "link" and "href" in given:
        types = frozenset(given.get("rel", "").lower().split())
        if not types & _LINKED_HOSTS:
            yield given["href"], not types & _LINKED_PARTS
    if tag == "meta" and given.get("http-equiv", "").lower() == "refresh":
        found = _REFRESH.match(given.get("content", ""))
        if found is not None:
            yield found[1] or found[2] or found[3] or "", True


def css_links(text: str, line: int = 1) -> Iterator[Link]:
    """Yield the links in CSS that begins on `line`."""
    for found, at in _with_lines(_CSS, text, line):
        url = found["bare"]
        if url is None and found["before"]:
            url = found["double"] if found["double"] is not None else found["single"]
        if url:
            yield Link(_CSS_ESCAPE.sub(_unescaped, url), at)


def _with_lines(
    pattern: re.Pattern[str], text: str, line: int = 1
) -> Iterator[tuple[re.Match[str], int]]:
    """Yield each match in a text that begins on `line`, with the line on which it begins."""
    counted = 0
    for found in pattern.finditer(text):
        line += text.count("\n", counted, found.start())
        counted = found.start()
        yield found, line


def _unescaped(found: re.Match[str]) -> str:
    """Return the character that an escape in CSS stands for."""
    if found[1] is None:
        return found[2].removesuffix("\n")
    number = int(found[1], 16)
    valid = 0 < number < 0x110000 and not 0xD800 <= number < 0xE000
    return chr(number) if valid else "\ufffd"


def manifest_links(text: str) -> Iterator[Link]:
    """Yield the links in a web app manifest; none in other JSON."""
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError):
        return
    if isinstance(manifest, dict) and not _MANIFEST.isdisjoint(manifest):
        for found, line in _with_lines(_MANIFEST_URL, text):
            yield Link(json.loads(found[2]), line, navigates=found[1] != "src")
