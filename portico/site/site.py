"""From a request to its Response: the pipeline that decides everything before an octet is sent.

1. Method: GET, HEAD and OPTIONS; any other method gets 405 or 501. Health, if it is asked for.
2. Authority: only hosts that are ours; else 421.
3. Target: the path as safe names; else 400. Dotfiles are Missing, and so are the rules files.
4. Rules: the site's own forced redirects and rewrites come before its files.
5. Look-up: the origin says what the names stand for; /about also stands for about.html.
6. Rules again: any redirect or rewrite, where there is no file.
7. Representation: of the file (see `representation`), the listing of a folder, a redirect, or an
   error page. The fields that the site's rules set go with all but redirects.

What comes back is the Response and the dependencies that it rests on: for as long as they hold, the
same request may be given the same Response again (see `origin`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from portico.config.config import Config
from portico.http import conditional, digests
from portico.http.fields import host_name
from portico.http.message import ProtocolError, RequestHead, Response
from portico.site.origin.freshness import Dependencies, Freshness, merge
from portico.site.origin.protocol import (
    Directory,
    Failed,
    File,
    Found,
    Precompressed,
    SlashRedirect,
)
from portico.site.origin.stat import (
    status_of,
)
from portico.site.pages import errors, responses
from portico.site.pages.listing import answer_listing
from portico.site.pages.responses import ALLOWED, NO_CACHE, error, redirect, varying
from portico.site.representation.select import (
    Selected,
    Selector,
    Unacceptable,
    fields_of,
    repr_digest,
    respond,
)
from portico.site.resolver import Resolver, dependencies_of
from portico.site.rules.rulebook import Rulebook, warn
from portico.site.target import encode_path, path_names

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable

    from portico.http.message import Field
    from portico.site.compression.cache import CompressionCache
    from portico.site.origin.protocol import Origin
    from portico.site.representation.select import Note
    from portico.site.rules.redirects import Match
    from portico.site.rules.rulebook import Report

FIELDS_READ = (
    frozenset({"accept", "accept-encoding", "range", "sec-fetch-mode"})
    | conditional.FIELDS
    | digests.FIELDS
)
"""Fields that can change an answer, besides those that frame the message."""

LOOPBACK_HOSTS = ("localhost", "*.localhost", "127.0.0.1", "[::1]")
"""Hosts that always mean this machine."""

IMMUTABLE = "public, max-age=31536000, immutable"
"""For a year a client need not ask again, not even when its user reloads the page (RFC 8246)."""

Answer = tuple[Response, Dependencies]
Names = tuple[str, ...]


class Site:
    """An origin with the rules by which it is served.

    `hosts` are the hosts that are answered, "*.name" meaning all below a name and "*" any; None
    answers to all. `copies` makes and keeps compressed copies. `report` is told what is wrong with
    the site's rules files.
    """

    def __init__(
        self,
        origin: Origin,
        config: Config | None = None,
        hosts: Iterable[str] | None = None,
        copies: CompressionCache | None = None,
        report: Report = warn,
    ) -> None:
        self._origin = origin
        self._config = config or Config.of()
        self._any_host = hosts is None or "*" in (hosts := [host.lower() for host in hosts])
        self._hosts = frozenset(hosts or ())
        self._host_suffixes = tuple([host[1:] for host in hosts or () if host.startswith("*.")])
        self._resolver = Resolver(origin, _unheard, clean_urls=self._config.clean_urls)
        self._selector = Selector(origin, copies, _unheard)
        self._rules = Rulebook(origin, report)
        self._immutable = _pattern(self._config.immutables)
        self._vary = "Accept, Sec-Fetch-Mode" if self._config.spa else "Accept"
        self._note: Note = _unheard
        self.ends = False
        """The server is about to stop, so the answer about its health is 503."""

    @property
    def freshness(self) -> Freshness:
        """What tells all that depends on this site when to check again."""
        return self._origin.freshness

    @property
    def fields_read(self) -> frozenset[str]:
        """The fields that can change an answer of this site."""
        return FIELDS_READ if self._config.spa else FIELDS_READ - {"sec-fetch-mode"}

    def explain_to(self, note: Note) -> None:
        """Tell `note` from now on which steps lead to each answer."""
        self._note = self._resolver.note = self._selector.note = note

    def read_rules(self) -> None:
        """Read the site's rules files now, so that what is wrong with them is reported at once."""
        self._rules.bring_up_to_date()

    def answer(self, request: RequestHead) -> Answer:
        """Decide the Response to `request`; see the module's head for the steps."""
        try:
            response, dependencies = self._decide(request)
        except ProtocolError as problem:
            response, dependencies = self.refuse(problem, request), None
        if request.method == "HEAD":
            response.content = ()
        if self._config.cors:
            responses.add_cors(response)
        return response, dependencies

    def refuse(self, problem: ProtocolError, request: RequestHead | None = None) -> Response:
        """The Response to a request that broke a rule; the connection then ends.

        `request` is that request, as far as it could be understood.
        """
        response = error(problem.status, request, problem.detail)
        response.close = True
        if self._config.cors:
            responses.add_cors(response)
        return response

    def _decide(self, request: RequestHead) -> Answer:
        if request.method not in ALLOWED:
            return responses.refuse_method(request), ()
        if request.path == self._config.health and request.method != "OPTIONS":
            self._note("Health: the path of --health, whatever the host and the files.")
            return responses.health(ends=self.ends), ()
        if not self._is_ours(request.authority):
            self._note("Authority: not a host of this server.")
            detail = (
                f"{host_name(request.authority)} is not a host of this server. If it should be "
                "one, start the server with --allow-host and that name."
            )
            return error(421, request, detail), ()
        if request.method == "OPTIONS":
            return responses.options(), ()
        names = path_names(request.path)
        self._rules.bring_up_to_date()
        response, dependencies = self._answer_path(request, names)
        dependencies = merge(dependencies, self._rules.dependencies)
        return response, None if dependencies is None else tuple(dict.fromkeys(dependencies))

    def _is_ours(self, authority: str) -> bool:
        """Is this an authority that we answer for?

        Without one (HTTP/1.0 only) no browser has sent the request, so none can be misled.
        """
        if self._any_host or not authority:
            return True
        host = host_name(authority)
        return host in self._hosts or host.endswith(self._host_suffixes)

    def _answer_path(self, request: RequestHead, names: Names) -> Answer:
        """Steps 4 to 7."""
        match = self._rule(request)
        if match is not None and match.forced:
            return self._obey(match, request)
        found = self._resolver.find(names)
        if match is None:
            return self._represent(request, names, found)
        file = self._resolver.content(names, found)
        if isinstance(file, File | Precompressed | Failed):
            self._note("Rule: line %d of _redirects stands back, for there is a file.", match.line)
            response, dependencies = self._represent(request, names, found)
        else:
            response, dependencies = self._obey(match, request)
        return response, merge(dependencies, merge(dependencies_of(found), dependencies_of(file)))

    # The site's rules

    def _rule(self, request: RequestHead) -> Match | None:
        """What the first of the site's redirects and rewrites says that is for this request."""
        redirects = self._rules.redirects
        if redirects is None:
            return None
        return redirects.match(request.path, request.query, host_name(request.authority))

    def _obey(self, match: Match, request: RequestHead) -> Answer:
        """The answer that a rule demands."""
        self._note("Rule: line %d of _redirects: %d %s", match.line, match.status, match.location)
        if match.status not in {200, 404}:
            return redirect(match.status, match.location), ()
        names = path_names(match.location.partition("#")[0].partition("?")[0])
        found = self._resolver.content(names, self._resolver.find(names))
        if match.status == 404 and isinstance(found, File | Precompressed):
            return self._own_page(request, found)
        if isinstance(found, File | Precompressed):
            return self._file(request, found, NO_CACHE)
        if isinstance(found, Failed):
            return self._error(found.status, request), None
        return self._missing(request, names, found)

    def _decorated(
        self, request: RequestHead, fields: list[Field], fixed: frozenset[str] = frozenset()
    ) -> list[Field]:
        """`fields` after the rules in _headers, which cannot change those named in `fixed`."""
        if self._rules.headers is None:
            return fields
        host = host_name(request.authority)
        decorated, lines = self._rules.headers.apply(request.path, host, fields)
        for line in lines:
            self._note("Fields: the block on line %d of _headers applies.", line)
        if not lines or not fixed:
            return decorated
        own = [field for field in fields if field[0].lower() in fixed]
        return own + [field for field in decorated if field[0].lower() not in fixed]

    # Representations

    def _represent(self, request: RequestHead, names: Names, found: Found) -> Answer:
        if isinstance(found, File | Precompressed):
            return self._file(request, found)
        if isinstance(found, SlashRedirect):
            query = "" if request.query is None else f"?{request.query}"
            path = encode_path(names if found.is_folder else names[:-1])
            return redirect(301, f"{path}{'/' * found.is_folder}{query}"), found.dependencies
        if isinstance(found, Failed):
            return self._error(found.status, request), None
        if isinstance(found, Directory) and self._config.listing:
            try:
                response = answer_listing(request, names, found.entries)
            except OSError as problem:
                return self._error(status_of(problem), request), None
            response.fields = self._decorated(request, response.fields, _DESCRIBING)
            return response, None
        return self._missing(request, names, found)

    def _file(
        self,
        request: RequestHead,
        found: File | Precompressed,
        cache: str | None = None,
    ) -> Answer:
        """The selected representation of a file, or what the conditions and ranges make of it.

        `cache` is its Cache-Control, if not the path that was asked for decides.
        """
        selected = self._selector.choose(request, found)
        if not isinstance(selected, Selected):
            return self._unacceptable(request, selected)
        now = time.time()
        fields = [*fields_of(selected, cache or self._cache_control(request), now)]
        fields = self._decorated(request, fields + repr_digest(request, selected))
        response = respond(request, selected, fields, now, self._note)
        if response.status in {412, 416}:
            vary = [("Vary", "Accept-Encoding")] if selected.varies else []
            response = self._error(response.status, request, fields=[*response.fields, *vary])
        return response, selected.dependencies

    def _unacceptable(self, request: RequestHead, selected: Unacceptable) -> Answer:
        """406 with what there is (RFC 9110, 15.5.7), or 503 while something is being made."""
        vary = ("Vary", "Accept-Encoding")
        if selected.is_pending:
            detail = "It is being compressed as the request demands."
            return self._error(503, request, detail, [vary, ("Retry-After", "1")]), None
        detail = f"It can be had in these codings: {', '.join(selected.available)}."
        return self._error(406, request, detail, [vary]), selected.dependencies

    def _cache_control(self, request: RequestHead) -> str:
        if self._immutable is None:
            return NO_CACHE
        path = "/" + "/".join(path_names(request.path))
        return IMMUTABLE if self._immutable.match(path) else NO_CACHE

    def _own_page(self, request: RequestHead, found: File | Precompressed) -> Answer:
        """A page of the site's own as a 404. It is not what was asked for: no validators."""
        selected = self._selector.choose(request, found)
        if not isinstance(selected, Selected):
            return self._error(404, request), selected.dependencies
        fields = fields_of(selected, NO_CACHE, time.time())
        fields = [field for field in fields if field[0] not in _VALIDATING]
        fields = self._decorated(request, varying(fields, self._vary), _DESCRIBING | _CACHING)
        content = (selected.file.content,) if selected.file.size else ()
        return Response(404, fields, content), selected.dependencies

    def _missing(self, request: RequestHead, names: Names, found: Found) -> Answer:
        """404; for a single-page application its page; the site's own page for a person."""
        dependencies = dependencies_of(found)
        if self._config.spa and _is_navigation(request):
            index = self._resolver.index(())
            if isinstance(index, File | Precompressed):
                self._note("Look-up: a navigation gets the application's page (--spa).")
                response, others = self._file(request, index, NO_CACHE)
                fields = [field for field in response.fields if field[0].lower() not in _CACHING]
                fields.append(("Cache-Control", NO_CACHE))
                response.fields = varying(fields, self._vary)
                return response, merge(dependencies, others)
        if errors.prefers_problem(request.get("accept")):
            return self._error(404, request), dependencies
        page, seen = self._resolver.nearest_page(names)
        dependencies = merge(dependencies, seen)
        if isinstance(page, File | Precompressed):
            self._note("Page: /%s, the nearest.", "/".join(page.names))
            response, others = self._own_page(request, page)
            return response, merge(dependencies, others)
        return self._error(404, request), dependencies

    def _error(
        self,
        status: int,
        request: RequestHead,
        detail: str | None = None,
        fields: Iterable[Field] = (),
    ) -> Response:
        response = error(status, request, detail, fields)
        if self._config.spa and status == 404:
            response.fields = varying(response.fields, "Sec-Fetch-Mode")
        response.fields = self._decorated(request, response.fields, _DESCRIBING | _CACHING)
        return response


# What belongs to a representation, not to a page in its place.
_VALIDATING = frozenset({"Accept-Ranges", "ETag", "Last-Modified"})
# What a rule says of a file, but cannot know of a page that was made here, in lower case.
_DESCRIBING = frozenset({"content-disposition", "content-type"})
# And of an error: what is missing must not be taken for missing when it is there.
_CACHING = frozenset({"cache-control", "expires"})


def _is_navigation(request: RequestHead) -> bool:
    """Does a person go to a page, rather than a page ask for something that it is made of?"""
    mode = request.get("sec-fetch-mode")
    if mode is not None:
        return mode == "navigate"
    return "text/html" in (request.get("accept") or "").lower()


def _pattern(globs: Iterable[str]) -> re.Pattern[str] | None:
    """One pattern for all globs, in which `*` stands for anything; None for none."""
    if not globs:
        return None
    import re
    from fnmatch import translate

    return re.compile("|".join(map(translate, globs)))


def _unheard(_text: str, *_values: object) -> None:
    """The Note of a decision that nobody wants to have explained."""
