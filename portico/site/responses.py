"""The responses of a site: a file in one of its representations, or an error.

Rule: the server sets the header fields of a response; the blocks of _headers, then --header, can
change them. In an error, neither can change the fields that describe the page (DESCRIBING) or tell
how long it may be cached (CACHING).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from portico.config.config import ConfigError
from portico.http.fields import host_name
from portico.http.message import Response
from portico.site.fields import sandboxed, varying, without
from portico.site.pages import errors
from portico.site.pages.errors import NO_CACHE
from portico.site.representation.coded import own_coding
from portico.site.representation.respond import fields_of, repr_digest, respond
from portico.site.representation.select import Selected, Selector, Unacceptable
from portico.site.target import encode_path, path_names, reference

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable

    from portico.config.config import Config
    from portico.http.message import Field, RequestHead
    from portico.site.access import Access
    from portico.site.context import Context
    from portico.site.origin.protocol import File, Precompressed
    from portico.site.representation.select import Note
    from portico.site.rules.headers import HeaderRules
    from portico.site.rules.rulebook import Rulebook

IMMUTABLE = "public, max-age=31536000, immutable"
"""Cache-Control for a file that never changes: clients use their copy for a year, even when the
user reloads the page (RFC 8246)."""

ISOLATING = (
    "Cross-Origin-Opener-Policy: same-origin",
    "Cross-Origin-Embedder-Policy: require-corp",
)
"""Header lines that make a page cross-origin isolated (HTML Standard, 7.1.4)."""

DESCRIBING = frozenset({"content-disposition", "content-encoding", "content-type"})
"""Fields that a rule may change for a file, but not for a page that the server makes instead."""

CACHING = frozenset({"cache-control", "expires"})
"""Fields that a rule may not change for an error: the file may exist at the next request."""

# Fields of a file that are left out when the file is sent as an error page. All in lower case.
_VALIDATING = frozenset({"accept-ranges", "etag", "last-modified"})


class Responses:
    """Makes the responses of one site."""

    def __init__(
        self, config: Config, selector: Selector, rules: Rulebook, access: Access, note: Note
    ) -> None:
        """Raises ConfigError for a --header that is malformed, or that only the server can set."""
        self._config = config
        self._selector = selector
        self._rules = rules
        self._access = access
        self._base = path_names(config.base)[:-1]
        self._note = note
        self._own_headers = header_rules(config)
        self._may_hold_uploads = bool(config.allows) and not config.trust_uploads
        self._immutable = _pattern(config.immutables)
        self.vary = "Accept, Sec-Fetch-Mode" if config.spa else "Accept"
        """The value of Vary for error pages and for the page of a single-page application."""

    def file(
        self, request: RequestHead, found: File | Precompressed, cache: str, context: Context
    ) -> Response:
        """Return the response to a request for a file; `cache` is the value of Cache-Control.

        Content coding, conditions and ranges are applied.
        """
        selected = self._selector.choose(request, found)
        context.depend_on(selected.dependencies)
        if isinstance(selected, Unacceptable):
            return self._unacceptable(request, selected, context)
        now = time.time()
        fields = fields_of(selected, cache, now)
        fields = self.with_rules(request, fields + repr_digest(request, selected))
        if self._rules.headers is not None:
            fields = own_coding(selected.file, selected.coding, selected.media_type, fields)
        if self._may_hold_uploads:
            fields = self._sandboxed(fields, found)
        response = respond(request, selected, fields, now, self._note)
        if response.status in {412, 416}:
            vary = [("Vary", "Accept-Encoding")] if selected.varies else []
            return self.error(response.status, request, fields=[*response.fields, *vary])
        return response

    def cache_control(self, request: RequestHead) -> str:
        """Return the value of Cache-Control for the file at the path of a request."""
        if self._immutable is None:
            return NO_CACHE
        path = "/" + "/".join(path_names(request.path))
        return IMMUTABLE if self._immutable.match(path) else NO_CACHE

    def error_page(
        self, request: RequestHead, found: File | Precompressed, context: Context
    ) -> Response:
        """Return 404 with a page of the site, without validators: it is not what was requested."""
        selected = self._selector.choose(request, found)
        context.depend_on(selected.dependencies)
        if not isinstance(selected, Selected):
            return self.error(404, request)
        fields = without(fields_of(selected, NO_CACHE, time.time()), _VALIDATING)
        fields = self.with_rules(request, varying(fields, self.vary), DESCRIBING | CACHING)
        if self._may_hold_uploads:
            fields = self._sandboxed(fields, found)
        return Response(404, fields, (selected.file.content,) if selected.file.size else ())

    def error(
        self,
        status: int,
        request: RequestHead,
        detail: str | None = None,
        fields: Iterable[Field] = (),
        missing: tuple[tuple[str, ...], tuple[str, ...]] | None = None,
    ) -> Response:
        """Return an error as a page, or as problem details if the client prefers JSON.

        `missing` is the path that was looked up without success, and the nearest folder that
        exists; then the error is a page.
        """
        if missing is None:
            response = errors.error(status, request, detail, fields)
        else:
            names, folder = missing
            up = reference(request.path, (*folder, "")) if folder else ""
            response = errors.missing(names, folder, up)
        if self._config.spa and status == 404:
            response.fields = varying(response.fields, "Sec-Fetch-Mode")
        response.fields = self.with_rules(request, response.fields, DESCRIBING | CACHING)
        return response

    def with_rules(
        self, request: RequestHead, fields: list[Field], fixed: frozenset[str] = frozenset()
    ) -> list[Field]:
        """Return `fields` as changed by _headers and --header, except for those named in `fixed`.

        The names in `fixed` are in lower case.
        """
        if self._rules.headers is None and self._own_headers is None:
            return fields
        host, changed = host_name(request.authority), fields
        path = encode_path(path_names(request.path))
        if self._rules.headers is not None:
            changed, lines = self._rules.headers.apply(path, host, changed)
            for line in lines:
                self._note("Headers: the block on line %d of _headers applies.", line)
        if self._own_headers is not None:
            changed, _ = self._own_headers.apply(path, host, changed)
            self._note("Headers: those of --header and --isolate are set.")
        if not fixed:
            return changed
        own = [field for field in fields if field[0].lower() in fixed]
        return own + without(changed, fixed)

    def _unacceptable(
        self, request: RequestHead, selected: Unacceptable, context: Context
    ) -> Response:
        """Return 406 with the available codings (RFC 9110, 15.5.7), or 404 if there are none.

        Return 503 while a copy in an acceptable coding is being made.
        """
        if not selected.available:
            return self.error(404, request)
        vary = ("Vary", "Accept-Encoding")
        if selected.is_pending:
            context.depend_on(None)
            detail = "It is being compressed as the request demands."
            return self.error(503, request, detail, [vary, ("Retry-After", "1")])
        detail = f"It can be had in these codings: {', '.join(selected.available)}."
        return self.error(406, request, detail, [vary])

    def _sandboxed(self, fields: list[Field], found: File | Precompressed) -> list[Field]:
        """Return the fields of a file, with a sandbox if a client may have uploaded the file."""
        if self._access.some_may_write((*self._base, *found.names)):
            return sandboxed(fields)
        return fields


def header_rules(config: Config) -> HeaderRules | None:
    """Return a rule that sets the headers of --header and --isolate; None if there are none.

    Raises ConfigError for a header that is malformed, or that only the server can set.
    """
    lines = (*(ISOLATING if config.isolate else ()), *config.headers)
    if not lines:
        return None
    from portico.site.rules.headers import Block, HeaderRules
    from portico.site.rules.pattern import BadRuleError

    block = Block("/*", 1)
    for line in lines:
        try:
            block.add(line)
        except BadRuleError as problem:
            raise ConfigError(f"--header {line!r}: {problem}") from None
    return HeaderRules([block])


def _pattern(globs: Iterable[str]) -> re.Pattern[str] | None:
    """Return one pattern for all globs, in which `*` matches any text; None for no globs."""
    if not globs:
        return None
    import re
    from fnmatch import translate

    return re.compile("|".join(map(translate, globs)))
