"""Follows the links of a site without a network: the code that answers requests is asked.

1. A reference is resolved as a browser does it, against the URL of the file in which it stands.
2. The site is asked for it, and redirects within the site are followed.
3. A fragment is looked for in the page that comes back, once that has been read: of each page only
   the hashes of its places are kept, by its entity tag, since the same octets have the same places.

Limits: other hosts are not visited; what a script makes is not known; a fragment that looks like a
script's own route ("#/", "#!") is not looked for.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin

from portico.bounded import BoundedCache
from portico.cli.check.findings import Finding
from portico.cli.check.links import Link, Page
from portico.cli.check.names import fold
from portico.cli.check.references import OWN, SPACES, Target, resolve, shown_path
from portico.http.h1.head import HeadParser
from portico.http.message import ProtocolError, Response
from portico.site.origin.open_file import FileSlice
from portico.site.rules.cycles import HOPS_LIMIT
from portico.site.site import FIELDS_READ
from portico.site.target import encode_path, is_hidden, path_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from portico.cli.check.findings import Findings, Place
    from portico.site.site import Site

PARSE_LIMIT = 8 << 20
"""Octets of a file up to which it is searched for links and fragments."""

VERDICTS_LIMIT = 65_536
"""Addresses whose answers are remembered."""

WANTED_LIMIT = 100_000
"""Fragments that may wait for their pages to be read. Beyond, those pages are read at once."""

PLACES_LIMIT = 4_000_000
"""Places in pages that are kept, 8 octets each. Pages beyond are read again when needed."""

FOLDERS_LIMIT = 64
"""Folders whose names are remembered to suggest the right spelling."""

_ROUTES = ("/", "!")
_DIRECTIVE = ":~:"

_NAVIGATION = "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n"
_PART = "Accept: */*\r\n"


class Verdict:
    """What became of a request: its redirects followed as far as they stay in the site."""

    __slots__ = ("cure", "etag", "fragment", "is_page", "moved", "path", "status")

    def __init__(self, path: str) -> None:
        self.status = 0
        """Of the last answer; 0 for redirects that go on for ever."""
        self.path = path
        """The request target that it came from."""
        self.moved = False
        """A redirect was followed, or leads out of the site."""
        self.fragment = ""
        """The fragment that a redirect has added."""
        self.is_page = False
        """The content is HTML."""
        self.etag = ""
        """The entity tag, "" for none."""
        self.cure = ""
        """What to do about a link that leads here in vain, once that has been asked."""


class Visits:
    """Asks a site whether its links lead somewhere, and reports those that do not.

    `root` is the folder, for suggestions only. `strict` reports redirects as well. Without
    `fragments`, what stands behind a "#" is not looked for.
    """

    def __init__(self, site: Site, root: str, findings: Findings) -> None:
        self.strict = False
        self.fragments = True
        self._site = site
        self._root = root
        self._findings = findings
        self._parser = HeadParser(FIELDS_READ)
        self._verdicts: BoundedCache[tuple[str, bool], Verdict] = BoundedCache(VERDICTS_LIMIT)
        self._folders: BoundedCache[str, dict[str, str]] = BoundedCache(FOLDERS_LIMIT)
        self._known: dict[str, array[int]] = {}
        """The hashes of the places in pages that have been read, sorted, by entity tag."""
        self._known_count = 0
        self._wanted: dict[str, tuple[Verdict, dict[str, list[Place]]]] = {}
        """By path what became of a request for it, and where its fragments are linked from."""
        self._wanted_count = 0

    def page(self, shown: str, url: str, page: Page) -> None:
        """Check the links of `page`, which stands in the file `shown` and is served at `url`."""
        try:
            base = url if page.base is None else urljoin(url, page.base.strip(SPACES))
        except ValueError:
            base = url
        places = _hashes(page.fragments)
        if self.fragments:
            self._keep_places(url.removeprefix(OWN), places)
        for link in page.links:
            text = link.url.strip(SPACES)
            if text.startswith("#") and base == url:
                fragment = _fragment(text[1:])
                if self.fragments and fragment and not _is_among(fragment, places):
                    self._findings.put(_no_place((shown, link.line), url, fragment))
            else:
                self.links(shown, base, [link])

    def links(self, shown: str, base: str, links: Iterable[Link]) -> None:
        """Check links that stand in the file `shown` and count from the URL `base`."""
        for link in links:
            place = shown, link.line
            if not link.url.strip(SPACES):
                continue
            try:
                target = resolve(base, link.url)
            except ValueError:
                what = f"{link.url[:200]!r} is not a URL."
                self._findings.add("link", place, what, "Correct it.")
                continue
            if target is not None:
                verdict = self.verdict(target.path, navigates=link.navigates)
                self._judge(place, target, verdict, is_part=not link.navigates)

    def finish(self) -> None:
        """Look for all fragments that are still wanted."""
        for verdict, wanted in self._wanted.values():
            known = self._known.get(verdict.etag)
            if known is None:
                page = self._read(verdict.path)
                if page is None:
                    continue
                known = _hashes(page.fragments)
            for fragment, places in wanted.items():
                if not _is_among(fragment, known):
                    for place in places:
                        self._findings.put(_no_place(place, verdict.path, fragment))
        self._wanted = {}
        self._wanted_count = 0

    def verdict(self, path: str, *, navigates: bool) -> Verdict:
        """What becomes of a request for `path`, a request target."""
        known = self._verdicts.get((path, navigates))
        if known is None:
            known = self._follow(path, navigates=navigates)
            self._verdicts.put((path, navigates), known)
        return known

    def content_type(self, path: str) -> str | None:
        """The Content-Type of what is answered for `path`; None where that is not a file."""
        response = self._ask("HEAD", path, navigates=False)
        fields = {name.lower(): value for name, value in response.fields}
        return fields.get("content-type") if response.status == 200 else None

    def _judge(self, place: Place, target: Target, verdict: Verdict, *, is_part: bool) -> None:
        trouble = _trouble(target, verdict, is_part=is_part)
        if trouble is not None:
            if not verdict.cure:
                verdict.cure = self._cure(verdict)
            self._findings.add("link", place, trouble, verdict.cure)
            return
        if verdict.moved and self.strict:
            what = f"The link to {shown_path(target.path)} leads through a redirect."
            where = f" to {shown_path(verdict.path)}" if verdict.status < 300 else ""
            self._findings.add("redirected", place, what, f"Link straight{where}.")
        fragment = _fragment(verdict.fragment or target.fragment)
        if fragment and verdict.is_page and self.fragments:
            self._want(place, verdict, fragment)

    def _want(self, place: Place, verdict: Verdict, fragment: str) -> None:
        """Look for a fragment in a page, now if that is known, or else later."""
        known = self._known.get(verdict.etag)
        if known is None:
            wanted = self._wanted.setdefault(verdict.path, (verdict, {}))[1]
            wanted.setdefault(fragment, []).append(place)
            self._wanted_count += 1
            if self._wanted_count >= WANTED_LIMIT:
                self.finish()
        elif not _is_among(fragment, known):
            self._findings.put(_no_place(place, verdict.path, fragment))

    def _keep_places(self, path: str, places: array[int]) -> None:
        """Keep the places of the page that is served at `path`."""
        verdict = self.verdict(path, navigates=True)
        if verdict.etag and verdict.is_page and self._known_count < PLACES_LIMIT:
            self._known[verdict.etag] = places
            self._known_count += len(places)

    def _follow(self, path: str, *, navigates: bool) -> Verdict:
        verdict = Verdict(path)
        for _ in range(HOPS_LIMIT + 1):
            response = self._ask("HEAD", verdict.path, navigates=navigates)
            fields = {name.lower(): value for name, value in response.fields}
            if not 300 <= response.status < 400 or "location" not in fields:
                verdict.status = response.status
                verdict.is_page = _is_page(fields)
                verdict.etag = fields.get("etag", "")
                return verdict
            verdict.moved = True
            try:
                target = resolve(OWN + verdict.path, fields["location"])
            except ValueError:
                target = None
            if target is None:  # another host has the word
                verdict.status = response.status
                return verdict
            verdict.path = target.path
            verdict.fragment = target.fragment or verdict.fragment
        verdict.status = 0
        return verdict

    def _ask(self, method: str, path: str, *, navigates: bool) -> Response:
        """The answer to a request, from the code that answers all."""
        about = _NAVIGATION if navigates else _PART
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{about}\r\n"
        try:
            request = self._parser.parse(head.encode("ascii"))
            return self._site.answer(request)[0]
        except ProtocolError as error:
            return self._site.refuse(error)

    def _read(self, path: str) -> Page | None:
        """The page that is served at `path`; None for one that is too large or was coded."""
        response = self._ask("GET", path, navigates=True)
        if sum(map(len, response.content)) > PARSE_LIMIT:
            return None
        octets = b""
        for piece in response.content:
            if isinstance(piece, FileSlice):
                octets += piece.file.read(len(piece), piece.offset)
            elif isinstance(piece, bytes):
                octets += piece
        return Page(octets.decode("utf-8", "replace"))

    def _cure(self, verdict: Verdict) -> str:
        """What to do about a link that leads to nothing."""
        if verdict.status == 0:
            return "Correct the redirects."
        try:
            names = path_names(verdict.path.partition("?")[0])
        except ProtocolError:
            return "Correct the link: no file can have this address."
        if is_hidden(names):
            return "Rename the file: names that begin with a dot are not served."
        alike = self._alike(names)
        if alike is not None:
            return f"Write {shown_path(alike)}: letters' case and Unicode form count."
        return "Correct the link, or add what it leads to."

    def _alike(self, names: tuple[str, ...]) -> str | None:
        """The path of something served that differs from `names` only in case or Unicode form."""
        folder, found = self._root, []
        for name in names if names[0] else ():
            known = self._names_in(folder)
            alike = known.get(fold(name)) if name else ""
            if alike is None:  # perhaps the name of a page without its .html
                alike = known.get(fold(f"{name}.html"), "").rpartition(".")[0]
                if not alike:
                    return None
            found.append(alike)
            folder = os.path.join(folder, alike)
        if not found or tuple(found) == names:
            return None
        path = encode_path(tuple(found))
        return path if self.verdict(path, navigates=False).status == 200 else None

    def _names_in(self, folder: str) -> dict[str, str]:
        """The names in a folder, by what is the same for all spellings."""
        known = self._folders.get(folder)
        if known is None:
            try:
                known = {fold(name): name for name in os.listdir(folder)}
            except OSError:
                known = {}
            self._folders.put(folder, known)
        return known


def _trouble(target: Target, verdict: Verdict, *, is_part: bool) -> str | None:
    """What is wrong with a link, None if nothing is."""
    if verdict.status == 0:
        return f"The link to {shown_path(target.path)} goes round in redirects and never arrives."
    if verdict.status >= 400:
        through = f" by a redirect to {shown_path(verdict.path)}" if verdict.moved else ""
        link = shown_path(target.path)
        return f"The link to {link} leads to nothing{through} ({verdict.status})."
    if is_part and verdict.is_page:
        link = shown_path(target.path)
        return f"The link to {link} wants a part of a page, but a page is what it gets."
    return None


def _fragment(text: str) -> str:
    """What a fragment wants to be found; "" for what leads nowhere in particular."""
    text = text.partition(_DIRECTIVE)[0]
    return "" if text.startswith(_ROUTES) or text.lower() == "top" else text


def _hashes(places: Iterable[str]) -> array[int]:
    return array("q", sorted(map(hash, places)))


def _is_among(fragment: str, hashes: array[int]) -> bool:
    """Is a fragment, as it stands or decoded, among those with these hashes?"""
    for wanted in (hash(fragment), hash(unquote(fragment))):
        place = bisect_left(hashes, wanted)
        if place < len(hashes) and hashes[place] == wanted:
            return True
    return False


def _no_place(place: Place, path: str, fragment: str) -> Finding:
    page = shown_path(path.removeprefix(OWN))
    what = f'The link to "#{unquote(fragment)}" finds no such place in {page}: no id is called so.'
    return Finding("link", place, what, "Correct the link, or give the place this id.")


def _is_page(fields: dict[str, str]) -> bool:
    kind = fields.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "text/html" and "content-encoding" not in fields
