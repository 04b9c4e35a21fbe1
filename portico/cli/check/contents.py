"""What lies in a site's files: text that is no UTF-8, unknown types, links.

Rule: a file is judged by the Content-Type with which it is served. Text is read once.
Limit: files above 8 MiB are not searched for links.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from portico.cli.check.links import Page, css_links, is_own, manifest_links
from portico.cli.check.references import url_of
from portico.cli.check.visits import PARSE_LIMIT
from portico.site.representation.media import UNKNOWN, media_type
from portico.site.rules.rulebook import is_rules_file
from portico.site.target import encode_path

if TYPE_CHECKING:
    from portico.cli.check.findings import Findings
    from portico.cli.check.visits import Visits
    from portico.cli.check.walk import Item

_PIECE = 1 << 18
_PAGES = frozenset({"text/html", "application/xhtml+xml"})
_UTF8_BY_DEFINITION = frozenset(
    {"application/json", "application/x-ndjson", "application/yaml", "application/toml", "text/vtt"}
)
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MANIFESTS = (".webmanifest", "manifest.json")
_OPAQUE = (".bin",)
"""Suffixes of files that are bytes of which nothing is claimed, and mean to be."""


class Contents:
    """Looks into the files of a site.

    `fallback` is the page that is answered for every page that is missing, by the names of its
    path; None where there is none. Without `links`, nobody asks for links.
    """

    def __init__(self, visits: Visits, findings: Findings) -> None:
        self.fallback: tuple[str, ...] | None = None
        self.links = True
        self._visits = visits
        self._findings = findings

    def check(self, item: Item) -> None:
        """Report what would surprise in a file that is served, or in one of the site's rules."""
        kind = media_type(item.name)
        is_rules = is_rules_file(item.names)
        if kind == UNKNOWN and not is_rules:
            self._check_type(item)
            return
        essence = kind.partition(";")[0]
        if not (is_rules or "charset=utf-8" in kind or _is_utf8(essence)):
            return
        octets = self._read(item)
        if octets is None or not self.links or is_rules:
            return
        if essence in _PAGES:
            page = Page(octets.decode("utf-8", "replace"))
            if item.name == "404.html" or item.names == self.fallback:
                self._check_anywhere(item, page)
            self._visits.page(item.shown, url_of(item.names), page)
        elif essence == "text/css":
            found = css_links(octets.decode("utf-8", "replace"))
            self._visits.links(item.shown, url_of(item.names), found)
        elif item.name.lower().endswith(_MANIFESTS):
            found = manifest_links(octets.decode("utf-8", "replace"))
            self._visits.links(item.shown, url_of(item.names), found)

    def _check_type(self, item: Item) -> None:
        """Report a file of which neither the table nor a rule of the site knows the type."""
        suffix = item.name.rpartition(".")[2].lower() if "." in item.name[1:] else ""
        if f".{suffix}" in _OPAQUE or self._served_type(item) not in {None, UNKNOWN}:
            return
        which = f'Files that end in ".{suffix}"' if suffix else "Files without a suffix"
        self._findings.add(
            "type",
            (item.shown, None),
            f"{which} are of no known media type; browsers save them ({UNKNOWN}).",
            "Give them another suffix, or set their Content-Type in _headers.",
        )

    def _served_type(self, item: Item) -> str | None:
        """The Content-Type with which the file goes out; None where something else is answered."""
        return self._visits.content_type(encode_path(item.names))

    def _read(self, item: Item) -> bytes | None:
        """The content of a file of text, None when it is too large or cannot be read.

        Reports what is no UTF-8.
        """
        decoder = codecs.getincrementaldecoder("utf-8")()
        octets, line = b"", 1
        size = item.status.st_size if item.status is not None else 0
        try:
            with open(item.path, "rb") as file:
                beginning = file.read(2)
                file.seek(0)
                piece = b"-"
                while piece:
                    piece = file.read(_PIECE)
                    if size <= PARSE_LIMIT:
                        octets += piece
                    line += decoder.decode(piece, final=not piece).count("\n")
        except UnicodeDecodeError as error:
            line += error.object.count(b"\n", 0, error.start)
            self._report_charset(item, line, beginning)
            return None
        except OSError:
            return None
        return octets if size <= PARSE_LIMIT else None

    def _report_charset(self, item: Item, line: int, beginning: bytes) -> None:
        served = None if is_rules_file(item.names) else self._served_type(item)
        if served is not None and served.lower() != media_type(item.name):
            return  # the site's own rules say something else, and so they know
        which = "UTF-16" if beginning in _UTF16 else "not UTF-8"
        self._findings.add(
            "charset",
            (item.shown, line),
            f"This is {which}, but it is served as UTF-8, whatever it says of itself.",
            "Save it as UTF-8.",
        )

    def _check_anywhere(self, item: Item, page: Page) -> None:
        """Report relative links of a page that is answered at any path."""
        for link in page.links if page.base is None else ():
            text = link.url.strip()
            if is_own(text) and text and text[0] not in "/\\#":
                self._findings.add(
                    "link",
                    (item.shown, link.line),
                    f'The link "{text[:200]}" counts from wherever this page is shown, which is '
                    "any path of the site.",
                    'Begin it with "/".',
                )


def _is_utf8(essence: str) -> bool:
    return essence in _UTF8_BY_DEFINITION or essence.endswith("+json") or essence in _PAGES
