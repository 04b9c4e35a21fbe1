"""Checks the links of a site, by calling the code that answers requests, without a network.

1. Each reference is resolved as browsers do, against the URL of the file that contains it.
   References to the same target are collected.
2. When all files have been read, a request for each target is answered by a `Site` in this process,
   and redirects within the site are followed.
3. The fragment of a target is looked for in the page that is served.

Limits: other hosts are not visited; elements that scripts add to a page are not known; a fragment
that looks like a route of a script ("#/", "#!") is not looked for.
"""

from __future__ import annotations

import contextlib
import re
from copy import copy
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit

from portico.cli.check.extraction import SPACES, Link, Page, css_links, manifest_links
from portico.cli.check.findings import Places
from portico.cli.check.names import fold
from portico.config.config import Config
from portico.http.h1.head import HeadParser
from portico.http.message import ProtocolError, Response
from portico.site.dotfiles import is_hidden
from portico.site.origin.folder import Folder, index_names
from portico.site.origin.protocol import File, Precompressed
from portico.site.representation.select import silent
from portico.site.resolver import Resolver
from portico.site.resources import Resources
from portico.site.rules.redirects import HOPS_LIMIT
from portico.site.site import FIELDS_READ, Site
from portico.site.target import encode_path, path_names

if TYPE_CHECKING:
    from portico.cli.check.findings import Findings
    from portico.cli.walk import Item

OWN = "http://site.invalid"
"""The origin under which the site is checked; no real link has it (RFC 6761, 6.4)."""

PARSE_LIMIT = 8 << 20
"""Bytes; larger files are not searched for links and fragments."""

_REMEMBERED = 64
"""Most outcomes and pages kept: few are enough, because targets are checked in order of path."""

_MEMORY = 1 << 20
"""Bytes of files that are kept in memory while links are followed."""

_NAVIGATION = "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n"
_PART = "Accept: */*\r\n"

_DROPPED = re.compile(r"[\t\n\r]")
_DOT = re.compile(r"%2e", re.IGNORECASE)
_PATH_SAFE = "/%:@!$&'()*+,;=~"
_QUERY_SAFE = _PATH_SAFE + "?"


class Target(NamedTuple):
    """Where a reference leads within the site."""

    path: str
    """Path and query, percent-encoded: a request target."""
    fragment: str


class Outcome(NamedTuple):
    """The outcome of a request, after following its redirects within the site."""

    path: str
    """The request target of the last request."""
    status: int = 0
    """The status of the last response; 0 if there were more than HOPS_LIMIT redirects."""
    moved: bool = True
    """Whether a redirect was followed, or led to another host."""
    fragment: str = ""
    """The fragment in the Location of a redirect, or ""."""
    is_page: bool = False
    """Whether the content is HTML."""


class Links:
    """The links of the site in the folder `root`.

    With `strict`, redirected links are reported as well as broken ones.
    """

    def __init__(self, root: str, config: Config, findings: Findings, *, strict: bool) -> None:
        # No users or rights, so all is readable. Mistakes in rules are reported by check_rules.
        options = ("listing", "clean_urls", "index", "base", "spa")
        served = Config.of(root=root, **{name: getattr(config, name) for name in options})
        folder = Folder(served, _MEMORY)
        self._site = Site(folder, Resources(served, report=silent))
        self._base = path_names(config.base)[:-1]
        self._indexes = index_names(config.index)
        self._resolver = Resolver(folder, silent, self._base, clean_urls=config.clean_urls)
        self._findings = findings
        self._strict = strict
        self._is_spa = config.spa
        self._parser = HeadParser(FIELDS_READ)
        self._targets: dict[tuple[Target, bool], Places] = {}
        """The places of links, by target and whether the links navigate (`Link.navigates`)."""
        self._downloads: set[str] = set()
        """The paths of links that offer to save the target (`Link.downloads`)."""
        self._folded: dict[str, str] = {}
        """The path of each file and folder, by its folded form (see `names.fold`)."""
        self.follow = lru_cache(_REMEMBERED)(self._follow)
        self._fragments = lru_cache(_REMEMBERED)(self._read_fragments)

    # 1. Collecting links

    def know(self, item: Item) -> None:
        """Remember a file or folder, to be suggested for broken links with a similar path."""
        self._folded[fold(item.shown)] = item.shown

    def read(self, item: Item, essence: str, text: str) -> None:
        """Collect the links in the text of a file; `essence` is its media type."""
        names = (*item.names[:-1], "") if item.name in self._indexes else item.names
        url = OWN + encode_path((*self._base, *names))
        if essence in {"text/html", "application/xhtml+xml"}:
            self._read_page(item, url, Page(text))
            return
        is_manifest = item.name.lower().endswith((".webmanifest", "manifest.json"))
        read = css_links if essence == "text/css" else manifest_links if is_manifest else None
        for link in read(text) if read is not None else ():
            self.add(item.shown, url, link)

    def _read_page(self, item: Item, url: str, page: Page) -> None:
        base = url
        with contextlib.suppress(ValueError):
            base = urljoin(url, (page.base or "").strip(SPACES))
        is_shown_anywhere = page.base is None and (
            item.name == "404.html" or (self._is_spa and item.shown in self._indexes)
        )
        for link in page.links:
            text, places = link.url.strip(SPACES), Places(item.shown, link.line)
            if text.startswith("#") and base == url:
                self._check_fragment(text[1:], page.fragments, url.removeprefix(OWN), places)
            elif self.add(item.shown, base, link) and is_shown_anywhere and text[0] not in "/\\":
                what = (
                    f'The link "{text[:200]}" is relative to wherever this page is shown, which '
                    "is any path of the site."
                )
                self._findings.add("link", places, what, 'Begin it with "/".')

    def add(self, shown: str, base: str, link: Link) -> bool:
        """Collect a link in the file `shown`, relative to the URL `base`.

        Return whether the link leads into the site. Report the link if it is no valid URL.
        """
        if not link.url.strip(SPACES):
            return False
        places = Places(shown, link.line)
        try:
            target = resolve(base, link.url)
        except ValueError:
            self._findings.add("link", places, f"{link.url[:200]!r} is not a URL.", "Correct it.")
            return False
        if target is None:
            return False
        if link.downloads:
            with contextlib.suppress(ProtocolError):
                self._downloads.add(encode_path(path_names(target.path.partition("?")[0])))
        known = self._targets.setdefault((target, link.navigates), places)
        if known is not places:
            known.add(places)
        return True

    # 2. Requesting the targets

    def check(self) -> None:
        """Report the collected links that are broken, or lead to content of the wrong kind."""
        for (target, navigates), places in sorted(self._targets.items(), key=lambda each: each[0]):
            self._check(target, places, navigates=navigates)

    def _check(self, target: Target, places: Places, *, navigates: bool) -> None:
        outcome = self.follow(target.path, navigates=navigates)
        shown, end = shown_path(target.path), shown_path(outcome.path)
        what = ""
        if outcome.status == 0:
            what = f"The link to {shown} goes round in redirects and never arrives."
        elif outcome.status >= 400:
            through = f" by a redirect to {end}" if outcome.moved else ""
            what = f"The link to {shown} leads to nothing{through} ({outcome.status})."
        elif outcome.is_page and not navigates:
            what = f"The link to {shown} wants a part of a page, but a page is what it gets."
        if what:
            self._findings.add("link", places, what, self._cure(outcome))
            return
        if outcome.moved and self._strict:
            what = f"The link to {shown} leads through a redirect."
            where = f" to {end}" if outcome.status < 300 else ""
            self._findings.add("redirected", copy(places), what, f"Link straight{where}.")
        fragment = outcome.fragment or target.fragment
        if fragment and outcome.is_page:
            self._check_fragment(fragment, self._fragments(outcome.path), outcome.path, places)

    def content_type(self, names: tuple[str, ...]) -> str | None:
        """Return the Content-Type of the file called `names`; None if it is not served."""
        response = self._ask("HEAD", encode_path((*self._base, *names)), navigates=False)
        return _fields(response).get("content-type") if response.status == 200 else None

    def offers_to_save(self, names: tuple[str, ...]) -> bool:
        """Return whether a collected link offers to save the file called `names`."""
        return encode_path((*self._base, *names)) in self._downloads

    def has_file(self, path: str) -> bool:
        """Return whether there is a file for `path`, regardless of the site's rules."""
        try:
            names = path_names(path.partition("?")[0])
        except ProtocolError:
            return False
        found = self._resolver.content(names, self._resolver.find(names))
        return isinstance(found, File | Precompressed)

    def _follow(self, path: str, *, navigates: bool) -> Outcome:
        """Return the outcome of a request for `path`, a request target."""
        moved, fragment = False, ""
        for _ in range(HOPS_LIMIT + 1):
            response = self._ask("HEAD", path, navigates=navigates)
            status, fields = response.status, _fields(response)
            if not 300 <= status < 400 or "location" not in fields:
                kind = fields.get("content-type", "").partition(";")[0].strip().lower()
                is_page = kind == "text/html" and "content-encoding" not in fields
                return Outcome(path, status, moved, fragment, is_page)
            moved = True
            try:
                target = resolve(OWN + path, fields["location"])
            except ValueError:
                target = None
            if target is None:  # it leads to another host
                return Outcome(path, status)
            path, fragment = target.path, target.fragment or fragment
        return Outcome(path)

    def _ask(self, method: str, path: str, *, navigates: bool) -> Response:
        """Return the response of the site to a request."""
        fields = _NAVIGATION if navigates else _PART
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"
        try:
            response, _ = self._site.answer(self._parser.parse(head.encode("ascii")))
        except ProtocolError as error:
            return self._site.refuse(error)
        assert isinstance(response, Response)  # noqa: S101 (it is a GET)
        return response

    def _cure(self, outcome: Outcome) -> str:
        """Return the text that says how to correct a broken link."""
        if outcome.status == 0:
            return "Correct the redirects."
        try:
            names = path_names(outcome.path.partition("?")[0])
        except ProtocolError:
            return "Correct the link: no file can have this address."
        if is_hidden(names):
            return "Rename the file: names that begin with a dot are not served."
        is_below = names[: len(self._base)] == self._base
        wanted = "/".join(names[len(self._base) :] if is_below else names).rstrip("/")
        for suffix in ("", ".html"):  # a link to a page may leave out .html
            known = self._folded.get(fold(wanted + suffix), "")
            similar = known[: len(known) - len(suffix)]
            if similar not in {"", wanted}:
                path = encode_path((*self._base, *similar.split("/"), *[""] * (not names[-1])))
                if self.follow(path, navigates=False).status == 200:
                    return f"Write {shown_path(path)}: letters' case and Unicode form count."
        return "Correct the link, or add what it leads to."

    # 3. Looking for fragments

    def _read_fragments(self, path: str) -> set[str] | None:
        """Return the fragments of the page served at `path`; None if the page is too large."""
        response = self._ask("GET", path, navigates=True)
        if sum(map(len, response.content)) > PARSE_LIMIT:
            return None
        octets = [octets for piece in response.content for octets in piece.pieces(PARSE_LIMIT)]
        return Page(b"".join(octets).decode("utf-8", "replace")).fragments

    def _check_fragment(
        self, fragment: str, known: set[str] | None, path: str, places: Places
    ) -> None:
        """Report the links to `fragment` of the page at `path`, unless it is in `known`.

        `known` are the fragments of the page, None if they are not known.
        """
        fragment = fragment.partition(":~:")[0]  # drop the fragment directive
        name = unquote(fragment)
        leads_anywhere = not fragment or fragment[0] in "/!" or fragment.lower() == "top"
        if known is None or self._is_spa or leads_anywhere or {fragment, name} & known:
            return  # in a single-page application, scripts make the elements
        what = f'The link to "#{name}" finds nothing in {shown_path(path)} that has this id.'
        cure = "Correct the link, or give the element this id."
        self._findings.add("link", places, what, cure)


def _fields(response: Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.fields}


def resolve(base: str, reference: str) -> Target | None:
    """Resolve `reference` against the URL `base`; return None if it leads out of the site.

    Raises ValueError if it is no valid URL. Source: WHATWG URL, "URL parsing".
    """
    before, _, fragment = _DROPPED.sub("", reference.strip(SPACES)).partition("#")
    path, mark, query = before.partition("?")
    path = _DOT.sub(".", path.replace("\\", "/"))
    parts = urlsplit(urljoin(base, f"{path}{mark}{query}"))
    if f"{parts.scheme}://{parts.netloc}" != OWN:
        return None
    path = quote(parts.path, safe=_PATH_SAFE, errors="replace") or "/"
    if parts.query:
        path = f"{path}?{quote(parts.query, safe=_QUERY_SAFE, errors='replace')}"
    return Target(path, fragment)


def shown_path(path: str) -> str:
    """Return a request target percent-decoded, if the result is printable; else unchanged."""
    try:
        text = unquote(path, errors="strict")
    except UnicodeDecodeError:
        return path
    return text if text.isprintable() else path
