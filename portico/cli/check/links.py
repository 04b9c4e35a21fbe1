"""The links that stand in HTML, CSS and web manifests, each with its line.

Rule: what a browser would fetch or go to is a link, in the way in which it reads it; where a form
is sent to is none. Links with a scheme of their own (https:, data:, mailto:) are left out here.
Limit: what scripts make of a page is not known. Source: HTML Living Standard, "URL attributes",
"srcset", "The base element"; CSS Syntax Level 3.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    Attributes = dict[str, str]

MANIFEST_LIMIT = 65536
"""Characters of a web manifest up to which its links' lines are looked for, each from the top."""

_OUTER_SPACE = "".join(map(chr, range(0x21)))
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:|[/\\]{2}")

# For each element the attributes that hold a URL, and whether that opens a page or may be one.
_PART, _PAGE = False, True
_URLS: dict[str, dict[str, bool]] = {
    "a": {"href": _PAGE, "xlink:href": _PAGE},
    "area": {"href": _PAGE},
    "audio": {"src": _PART},
    "embed": {"src": _PAGE},
    "feimage": {"href": _PART, "xlink:href": _PART},
    "frame": {"src": _PAGE},
    "iframe": {"src": _PAGE},
    "image": {"href": _PART, "xlink:href": _PART},
    "img": {"src": _PART},
    "input": {"src": _PART},
    "object": {"data": _PAGE},
    "script": {"src": _PART},
    "source": {"src": _PART},
    "track": {"src": _PART},
    "use": {"href": _PART, "xlink:href": _PART},
    "video": {"src": _PART, "poster": _PART},
}
_SETS = {"img": "srcset", "source": "srcset", "link": "imagesrcset"}
_PLACES = {"a": ("id", "name")}
"""The attributes that make an element a place, where that is not the id alone."""

# Of the types of <link>: those that fetch a part of the page, and those that name only a host.
_PARTS = frozenset(
    {
        "apple-touch-icon",
        "apple-touch-icon-precomposed",
        "icon",
        "manifest",
        "mask-icon",
        "modulepreload",
        "preload",
        "stylesheet",
    }
)
_HOSTS = frozenset({"dns-prefetch", "preconnect"})

_REFRESH = re.compile(
    r"[\s\d.]*[;,\s]\s*(?:url\s*=\s*)?(?:\"([^\"]*)|'([^']*)|(.*))", re.IGNORECASE | re.DOTALL
)

_CSS = re.compile(
    r"""
    /\* .*? (?: \*/ | \Z )                                                      # a comment
    | (?P<before> @import \s* | (?<![\w-]) url\( \s* )?
      (?: "(?P<double> [^"\\\n]*+ (?: \\. [^"\\\n]*+ )*+ ) "?
        | '(?P<single> [^'\\\n]*+ (?: \\. [^'\\\n]*+ )*+ ) '? )
    | (?<![\w-]) url\( \s* (?P<bare> [^()"'\s\\]*+ (?: \\. [^()"'\s\\]*+ )*+ )
    """,
    re.DOTALL | re.IGNORECASE | re.VERBOSE,
)
_CSS_ESCAPE = re.compile(r"\\(?:([0-9a-fA-F]{1,6})\s?|(.))", re.DOTALL)


class Link:
    """A reference as it stands in a file."""

    __slots__ = ("line", "navigates", "url")

    def __init__(self, url: str, line: int | None, *, navigates: bool = False) -> None:
        self.url = url
        self.line = line
        self.navigates = navigates
        """It opens a page, as the links do that one clicks on; else it fetches a part of one."""


def is_own(url: str) -> bool:
    """Can `url` lead to somewhere in this site: has it neither a scheme nor a host?"""
    return _SCHEME.match(url.strip(_OUTER_SPACE)) is None


class Page(HTMLParser):
    """A page as it is read: its links, its base, and the fragments that lead to a place in it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[Link] = []
        self.base: str | None = None
        self.fragments: set[str] = set()
        self._in_style = False
        # A tag that does not end is none, and to find that out takes quadratic time.
        self.feed(text[: text.rfind(">") + 1])
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of the links in a start tag."""
        self._in_style = tag == "style"
        if not attrs:
            return
        given: Attributes = {}
        for name, value in attrs:
            given.setdefault(name, value or "")
        self.fragments.update([given[name] for name in _PLACES.get(tag, ("id",)) if name in given])
        if tag == "base" and self.base is None:
            self.base = given.get("href")
        line = self.getpos()[0]
        for url, navigates in _references(tag, given):
            if is_own(url):
                self.links.append(Link(url, line, navigates=navigates))
        if "style" in given:
            self.links.extend(css_links(given["style"], line))

    def handle_endtag(self, tag: str) -> None:
        """Leave a style element."""
        if tag == "style":
            self._in_style = False

    def handle_data(self, data: str) -> None:
        """Take note of the links in a style element."""
        if self._in_style:
            self.links.extend(css_links(data, self.getpos()[0]))

    # The base class waits for what never comes, or gives up, where browsers read on: a comment
    # without an end goes on to the end of the page, and "<![" opens one.

    def parse_comment(self, i: int, report: bool = True) -> int:  # noqa: FBT001, FBT002
        """Where a comment ends."""
        end = super().parse_comment(i, report)
        return len(self.rawdata) if end < 0 else end

    def parse_bogus_comment(self, i: int, report: bool = True) -> int:  # noqa: FBT001, FBT002
        """Where something ends that is read as a comment."""
        end = super().parse_bogus_comment(i, report)
        return len(self.rawdata) if end < 0 else end

    def parse_marked_section(self, i: int, report: bool = True) -> int:  # noqa: FBT001, FBT002
        """Where a marked section ends, which is nothing of HTML."""
        return self.parse_bogus_comment(i, report)


def _references(tag: str, given: Attributes) -> Iterator[tuple[str, bool]]:
    """The URLs in a start tag, and for each whether it opens a page."""
    for name, is_page in _URLS.get(tag, {}).items():
        if name in given:
            yield given[name], is_page
    for url in _candidates(given.get(_SETS.get(tag, ""), "")):
        yield url, _PART
    if tag == "link" and "href" in given:
        types = frozenset(given.get("rel", "").lower().split())
        if not types & _HOSTS:
            yield given["href"], not types & _PARTS
    if tag == "meta" and given.get("http-equiv", "").lower() == "refresh":
        found = _REFRESH.match(given.get("content", ""))
        if found is not None:
            yield found[1] or found[2] or found[3] or "", _PAGE


def _candidates(srcset: str) -> Iterator[str]:
    """The URLs of a srcset: each ends at white space, or at a comma that stands before it."""
    place, end = 0, len(srcset)
    while place < end:
        while place < end and (srcset[place].isspace() or srcset[place] == ","):
            place += 1
        begin = place
        while place < end and not srcset[place].isspace():
            place += 1
        url = srcset[begin:place]
        if url:
            yield url.rstrip(",")
        if not url.endswith(","):
            depth = 0
            while place < end and (srcset[place] != "," or depth):
                depth += (srcset[place] == "(") - (srcset[place] == ")")
                place += 1


def css_links(text: str, line: int = 1) -> Iterator[Link]:
    """The links in CSS that begins on `line`."""
    counted = 0
    for found in _CSS.finditer(text):
        url = found["bare"]
        if url is None and found["before"]:
            url = found["double"] if found["double"] is not None else found["single"]
        if url and is_own(url):
            line += text.count("\n", counted, found.start())
            counted = found.start()
            yield Link(_CSS_ESCAPE.sub(_unescaped, url), line)


def _unescaped(found: re.Match[str]) -> str:
    """What an escape in CSS stands for."""
    if found[1] is None:
        return "" if found[2] == "\n" else found[2]
    number = int(found[1], 16)
    valid = 0 < number < 0x110000 and not 0xD800 <= number < 0xE000
    return chr(number) if valid else "\ufffd"


def manifest_links(text: str) -> Iterator[Link]:
    """The links in a web app manifest; none in what is no JSON object (W3C, Web App Manifest)."""
    import json

    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError):
        return
    for owner in (manifest, *_objects(manifest, "shortcuts")):
        for key in ("icons", "screenshots"):
            for image in _objects(owner, key):
                yield from _text_at(image, "src", text)
    yield from _text_at(manifest, "start_url", text)
    for shortcut in _objects(manifest, "shortcuts"):
        yield from _text_at(shortcut, "url", text)


def _objects(owner: object, key: str) -> list[dict[str, object]]:
    """The objects in the list that stands under `key`."""
    listed = owner.get(key) if isinstance(owner, dict) else None
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def _text_at(owner: object, key: str, source: str) -> Iterator[Link]:
    url = owner.get(key) if isinstance(owner, dict) else None
    if isinstance(url, str) and is_own(url):
        at = source.find(f'"{url}"') if len(source) <= MANIFEST_LIMIT else -1
        line = source.count("\n", 0, at) + 1 if at >= 0 else None
        yield Link(url, line, navigates=key != "src")
