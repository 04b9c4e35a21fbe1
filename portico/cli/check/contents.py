"""What lies in a site's files: text that is not UTF-8, unknown types, links.

Rule: a file is judged by the Content-Type with which it is served. Text is read once.
Limit: files above PARSE_LIMIT are not searched for links.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from portico.cli.check.link_checker import PARSE_LIMIT, url_of
from portico.cli.check.link_extraction import Page, css_links, is_own, manifest_links
from portico.site.representation.media import UNKNOWN, media_type
from portico.site.target import encode_path

if TYPE_CHECKING:
    from portico.cli.check.findings import Findings
    from portico.cli.check.link_checker import LinkChecker
    from portico.cli.walk import Item

_PIECE = 1 << 18
_PAGES = frozenset({"text/html", "application/xhtml+xml"})
_UTF8_BY_DEFINITION = frozenset(
    {"application/json", "application/x-ndjson", "application/yaml", "application/toml", "text/vtt"}
)
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MANIFESTS = (".webmanifest", "manifest.json")


class Contents:
    """Looks into the files of a site.

    `fallback` is the name of the page that is answered for everything that is missing. Without
    `links`, links are not checked.
    """

    def __init__(
        self, checker: LinkChecker, findings: Findings, *, fallback: str | None, links: bool
    ) -> None:
        self._checker = checker
        self._findings = findings
        self._fallback = fallback
        self._links = links

    def check(self, item: Item) -> None:
        """Report what would surprise in a file that is served, or in one of the site's rules."""
        kind = media_type(item.name)
        if kind == UNKNOWN and not item.is_rules_file:
            self._check_type(item)
            return
        essence = kind.partition(";")[0]
        if not (item.is_rules_file or "charset=utf-8" in kind or _is_utf8(essence)):
            return
        octets = self._read(item)
        if octets is None or not self._links or item.is_rules_file:
            return
        text, url = octets.decode("utf-8", "replace"), url_of(item.names)
        if essence in _PAGES:
            page = Page(text)
            if item.name == "404.html" or item.shown == self._fallback:
                self._check_relative_links(item, page)
            self._checker.check_page(item.shown, url, page)
        elif essence == "text/css":
            for link in css_links(text):
                self._checker.check_link(item.shown, url, link)
        elif item.name.lower().endswith(_MANIFESTS):
            for link in manifest_links(text):
                self._checker.check_link(item.shown, url, link)

    def _check_type(self, item: Item) -> None:
        """Report a file whose type neither the table nor a rule of the site knows."""
        suffix = item.name.rpartition(".")[2].lower() if "." in item.name[1:] else ""
        # .bin means octets of any kind.
        if suffix != "bin" and self._served_type(item) in {None, UNKNOWN}:
            which = f'Files that end in ".{suffix}"' if suffix else "Files without a suffix"
            what = f"{which} are of no known media type; browsers save them ({UNKNOWN})."
            cure = "Give them another suffix, or set their Content-Type in _headers."
            self._findings.add("type", (item.shown, None), what, cure)

    def _served_type(self, item: Item) -> str | None:
        """Return the Content-Type that the file is served with; None if it is not served."""
        return self._checker.content_type(encode_path(item.names))

    def _read(self, item: Item) -> bytes | None:
        """Return the content of a text file; None if it is too large or cannot be read.

        Reports text that is not UTF-8.
        """
        decoder = codecs.getincrementaldecoder("utf-8")()
        octets, line = b"", 1
        is_small = item.status is not None and item.status.st_size <= PARSE_LIMIT
        try:
            with open(item.path, "rb") as file:
                beginning = file.read(2)
                file.seek(0)
                piece = beginning
                while piece:
                    piece = file.read(_PIECE)
                    octets += piece if is_small else b""
                    line += decoder.decode(piece, final=not piece).count("\n")
        except UnicodeDecodeError as error:
            line += error.object.count(b"\n", 0, error.start)
            self._report_charset(item, line, beginning)
            return None
        except OSError:
            return None
        return octets if is_small else None

    def _report_charset(self, item: Item, line: int, beginning: bytes) -> None:
        served = None if item.is_rules_file else self._served_type(item)
        if served is not None and served.lower() != media_type(item.name):
            return  # a rule of the site sets another type, perhaps with the right charset
        which = "UTF-16" if beginning in _UTF16 else "not UTF-8"
        what = f"This is {which}, but it is served as UTF-8, whatever it says of itself."
        self._findings.add("charset", (item.shown, line), what, "Save it as UTF-8.")

    def _check_relative_links(self, item: Item, page: Page) -> None:
        """Report the relative links of a page that is answered at any path."""
        for link in page.links if page.base is None else ():
            text = link.url.strip()
            if is_own(text) and text and text[0] not in "/\\#":
                what = (
                    f'The link "{text[:200]}" is relative to wherever this page is shown, which '
                    "is any path of the site."
                )
                self._findings.add("link", (item.shown, link.line), what, 'Begin it with "/".')


def _is_utf8(essence: str) -> bool:
    return essence in _UTF8_BY_DEFINITION or essence.endswith("+json") or essence in _PAGES
