"""Follows the links of a site without a network: the code that answers requests is asked.

1. A reference is resolved as a browser does it, against the URL of the file in which it stands.
2. The site is asked for it, and redirects within the site are followed.
3. The fragments that links name are looked for at the end, in the pages that are served.

Limits: other hosts are not visited; what scripts add to a page is not known; a fragment that looks
like a route of a script ("#/", "#!") is not looked for.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit

from portico.cli.check.link_extraction import SPACES, Link, Page
from portico.cli.check.names import fold
from portico.http.h1.head import HeadParser
from portico.http.message import ProtocolError, Response
from portico.site.rules.redirects import HOPS_LIMIT
from portico.site.site import FIELDS_READ
from portico.site.target import encode_path, is_hidden, path_names

if TYPE_CHECKING:
    from portico.cli.check.findings import Findings, Location
    from portico.site.site import Site

OWN = "http://site.invalid"
"""The origin that this site is taken to have; no link names it (RFC 6761, 6.4)."""

PARSE_LIMIT = 8 << 20
"""Octets of a file up to which it is searched for links and fragments."""

FOLLOWED_LIMIT = 65_536
"""References whose targets, and targets whose outcomes, are remembered: templates repeat them."""

WANTED_LIMIT = 100_000
"""Fragments that may wait for their pages to be read. Beyond, those pages are read at once."""

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


@dataclass(slots=True)
class Outcome:
    """What becomes of a request, when its redirects are followed within the site."""

    path: str
    """The request target of the last request."""
    status: int = 0
    """Of the last response; 0 for redirects that go on for ever."""
    moved: bool = False
    """Whether a redirect was followed, or leads out of the site."""
    fragment: str = ""
    """The fragment that a redirect has added."""
    is_page: bool = False
    """Whether the content is HTML."""


class LinkChecker:
    """Asks a site whether its links lead somewhere, and reports those that do not.

    `root` is the folder, for suggestions. With `strict`, redirected links are reported as well.
    Without `fragments`, the fragments of links are not looked for.
    """

    def __init__(
        self,
        site: Site,
        root: str,
        findings: Findings,
        *,
        strict: bool = False,
        fragments: bool = True,
    ) -> None:
        self._site = site
        self._root = root
        self._findings = findings
        self._strict = strict
        self._fragments = fragments
        self._parser = HeadParser(FIELDS_READ)
        self._wanted: dict[str, dict[str, list[Location]]] = {}
        """The fragments to look for, by path: where the links to them are."""
        self._wanted_count = 0
        self.follow = lru_cache(FOLLOWED_LIMIT)(self._follow)
        self._cure = lru_cache(FOLLOWED_LIMIT)(self._find_cure)

    def check_page(self, shown: str, url: str, page: Page) -> None:
        """Check the links of `page`, which is the file `shown` and is served at `url`."""
        try:
            base = url if page.base is None else urljoin(url, page.base.strip(SPACES))
        except ValueError:
            base = url
        for link in page.links:
            text = link.url.strip(SPACES)
            if text.startswith("#") and base == url:
                if self._fragments:
                    self._check_fragment(text[1:], page, url, [(shown, link.line)])
            else:
                self.check_link(shown, base, link)

    def check_link(self, shown: str, base: str, link: Link) -> None:
        """Check a link in the file `shown`, relative to the URL `base`."""
        location = shown, link.line
        if not link.url.strip(SPACES):
            return
        try:
            target = resolve(base, link.url)
        except ValueError:
            self._findings.add("link", location, f"{link.url[:200]!r} is not a URL.", "Correct it.")
            return
        if target is None:
            return
        outcome = self.follow(target.path, navigates=link.navigates)
        what = _problem(target, outcome, link)
        if what is not None:
            self._findings.add("link", location, what, self._cure(outcome.path, outcome.status))
            return
        if outcome.moved and self._strict:
            what = f"The link to {shown_path(target.path)} leads through a redirect."
            where = f" to {shown_path(outcome.path)}" if outcome.status < 300 else ""
            self._findings.add("redirected", location, what, f"Link straight{where}.")
        fragment = outcome.fragment or target.fragment
        if fragment and outcome.is_page and self._fragments:
            wanted = self._wanted.setdefault(outcome.path, {})
            wanted.setdefault(fragment, []).append(location)
            self._wanted_count += 1
            if self._wanted_count >= WANTED_LIMIT:
                self.check_fragments()

    def check_fragments(self) -> None:
        """Look for all fragments that links have named so far."""
        for path, wanted in self._wanted.items():
            page = self._read(path)
            if page is not None:
                for fragment, locations in wanted.items():
                    self._check_fragment(fragment, page, path, locations)
        self._wanted.clear()
        self._wanted_count = 0

    def content_type(self, path: str) -> str | None:
        """Return the Content-Type of the file at `path`; None where no file is served."""
        response = self._ask("HEAD", path, navigates=False)
        return _fields(response).get("content-type") if response.status == 200 else None

    def _check_fragment(
        self, fragment: str, page: Page, path: str, locations: list[Location]
    ) -> None:
        """Report links to a fragment that `page` does not have."""
        fragment = fragment.partition(":~:")[0]  # a directive follows, which is for the browser
        leads_anywhere = not fragment or fragment[0] in "/!" or fragment.lower() == "top"
        if not leads_anywhere and not {fragment, unquote(fragment)} & page.fragments:
            shown = shown_path(path.removeprefix(OWN))
            what = f'The link to "#{unquote(fragment)}" finds nothing in {shown} that has this id.'
            for location in locations:
                cure = "Correct the link, or give the element this id."
                self._findings.add("link", location, what, cure)

    def _follow(self, path: str, *, navigates: bool) -> Outcome:
        """Return what becomes of a request for `path`, a request target."""
        outcome = Outcome(path)
        for _ in range(HOPS_LIMIT + 1):
            response = self._ask("HEAD", outcome.path, navigates=navigates)
            fields = _fields(response)
            if not 300 <= response.status < 400 or "location" not in fields:
                kind = fields.get("content-type", "").partition(";")[0].strip().lower()
                outcome.is_page = kind == "text/html" and "content-encoding" not in fields
                outcome.status = response.status
                return outcome
            outcome.moved = True
            try:
                target = resolve(OWN + outcome.path, fields["location"])
            except ValueError:
                target = None
            if target is None:  # it leads to another host
                outcome.status = response.status
                return outcome
            outcome.path = target.path
            outcome.fragment = target.fragment or outcome.fragment
        return outcome

    def _ask(self, method: str, path: str, *, navigates: bool) -> Response:
        """Return the response to a request, from the code that answers all."""
        fields = _NAVIGATION if navigates else _PART
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"
        try:
            request = self._parser.parse(head.encode("ascii"))
            response, _ = self._site.answer(request)
        except ProtocolError as error:
            return self._site.refuse(error)
        assert isinstance(response, Response)  # noqa: S101 (it is a GET)
        return response

    def _read(self, path: str) -> Page | None:
        """Return the page that is served at `path`; None if it is too large."""
        response = self._ask("GET", path, navigates=True)
        if sum(map(len, response.content)) > PARSE_LIMIT:
            return None
        octets = [octets for piece in response.content for octets in piece.pieces(PARSE_LIMIT)]
        return Page(b"".join(octets).decode("utf-8", "replace"))

    def _find_cure(self, path: str, status: int) -> str:
        """Return what to do about a link that leads to `path`, and to nothing."""
        if status == 0:
            return "Correct the redirects."
        try:
            names = path_names(path.partition("?")[0])
        except ProtocolError:
            return "Correct the link: no file can have this address."
        if is_hidden(names):
            return "Rename the file: names that begin with a dot are not served."
        with contextlib.suppress(OSError):
            similar = self._similar(names)
            if similar is not None:
                return f"Write {shown_path(similar)}: letters' case and Unicode form count."
        return "Correct the link, or add what it leads to."

    def _similar(self, names: tuple[str, ...]) -> str | None:
        """Return the path of a file that differs from `names` only in case or Unicode form.

        Raises OSError.
        """
        folder, found = self._root, []
        for name in names if names[0] else ():
            known = {fold(each): each for each in os.listdir(folder)}
            similar = known.get(fold(name)) if name else ""
            if similar is None:  # perhaps the name of a page without its .html
                similar = known.get(fold(f"{name}.html"), "").rpartition(".")[0]
                if not similar:
                    return None
            found.append(similar)
            folder = os.path.join(folder, similar)
        if not found or tuple(found) == names:
            return None
        path = encode_path(tuple(found))
        return path if self.follow(path, navigates=False).status == 200 else None


def _fields(response: Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.fields}


def _problem(target: Target, outcome: Outcome, link: Link) -> str | None:
    """Return what is wrong with a link; None if nothing is."""
    shown = shown_path(target.path)
    if outcome.status == 0:
        return f"The link to {shown} goes round in redirects and never arrives."
    if outcome.status >= 400:
        through = f" by a redirect to {shown_path(outcome.path)}" if outcome.moved else ""
        return f"The link to {shown} leads to nothing{through} ({outcome.status})."
    if outcome.is_page and not link.navigates:
        return f"The link to {shown} wants a part of a page, but a page is what it gets."
    return None


def url_of(names: tuple[str, ...]) -> str:
    """Return the usual URL of the file of these names; an index file's is that of its folder."""
    if names[-1] == "index.html":
        names = (*names[:-1], "")
    return OWN + encode_path(names)


def resolve(base: str, reference: str) -> Target | None:
    """Return where `reference` leads from the URL `base`; None for somewhere outside of the site.

    Raises ValueError for what is no URL. Source: WHATWG URL, "URL parsing".
    """
    reference = _DROPPED.sub("", reference.strip(SPACES))
    before, _, fragment = reference.partition("#")
    if before and before[0] != "?":  # then only the folder of the base counts
        base = base.partition("#")[0].partition("?")[0]
        base = base[: base.rfind("/") + 1]
    path = _resolve(base, before)
    return None if path is None else Target(path, fragment)


@lru_cache(FOLLOWED_LIMIT)
def _resolve(base: str, reference: str) -> str | None:
    """Return the request target that a reference without a fragment leads to."""
    reference, mark, query = reference.partition("?")
    reference = _DOT.sub(".", reference.replace("\\", "/"))
    parts = urlsplit(urljoin(base, f"{reference}{mark}{query}"))
    if f"{parts.scheme}://{parts.netloc}" != OWN:
        return None
    path = quote(parts.path, safe=_PATH_SAFE, errors="replace") or "/"
    if parts.query:
        path = f"{path}?{quote(parts.query, safe=_QUERY_SAFE, errors='replace')}"
    return path


def shown_path(path: str) -> str:
    """Return a request target decoded, if that is readable."""
    try:
        text = unquote(path, errors="strict")
    except UnicodeDecodeError:
        return path
    return text if text.isprintable() else path
