"""From a request to its Response: the pipeline that decides everything before an octet is sent.

1. Method: GET and HEAD; any other method gets 405 or 501.
2. Authority: only hosts that are ours; else 421.
3. Target: the path as safe names; else 400. Dotfiles are Missing.
4. Look-up: the origin says what the names stand for.
5. Representation: the file, the listing of a folder, a redirect, or an error page.

What comes back is the Response and the witnesses that it rests on: for as long as they hold, the
same request may be given the same Response again (see `origin`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from portico.http.dates import imf_fixdate
from portico.http.fields import host_name
from portico.http.message import Field, ProtocolError, RequestHead, Response
from portico.site import pages
from portico.site.listing import listing_page
from portico.site.media import media_type
from portico.site.origin import Directory, Failed, File, Found, Missing, Moved, Origin, Witnesses
from portico.site.target import encode_path, is_hidden, path_names

if TYPE_CHECKING:
    from collections.abc import Iterable

FIELDS_READ = frozenset({"accept"})
"""Fields that can change an answer, besides those that frame the message."""

LOOPBACK_HOSTS = ("localhost", "*.localhost", "127.0.0.1", "[::1]")
"""Hosts that always mean this machine."""

_HTML = "text/html; charset=utf-8"
_ALLOW: Field = ("Allow", "GET, HEAD")

# Methods that are registered (RFC 9110, 9 and RFC 5789): known, but not allowed on files.
_KNOWN_METHODS = frozenset({"CONNECT", "DELETE", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})

# "no-cache" lets a client keep a copy but not use it unasked, so that a change is always seen.
_CACHE: Field = ("Cache-Control", "no-cache")
_NO_SNIFF: Field = ("X-Content-Type-Options", "nosniff")
_VARY: Field = ("Vary", "Accept")

Answer = tuple[Response, Witnesses]


class Site:
    """An origin with the rules by which it is served.

    `hosts` are the hosts that are answered, "*.name" meaning all below a name and "*" any; None
    answers to all. `listing` is whether a folder without an index file shows its entries.
    """

    def __init__(
        self, origin: Origin, *, hosts: Iterable[str] | None = None, listing: bool = True
    ) -> None:
        self._origin = origin
        self._listing = listing
        self._any_host = hosts is None or "*" in (hosts := [host.lower() for host in hosts])
        self._hosts = frozenset(hosts or ())
        self._host_suffixes = tuple([host[1:] for host in hosts or () if host.startswith("*.")])

    def answer(self, request: RequestHead, epoch: int) -> Answer:
        """Decide the Response to `request`; see the module's head for the steps."""
        try:
            response, witnesses = self._decide(request, epoch)
        except ProtocolError as error:
            response, witnesses = self.refuse(error, request), None
        if request.method == "HEAD":
            response.content = ()
        return response, witnesses

    def refuse(self, error: ProtocolError, request: RequestHead | None = None) -> Response:
        """The Response to a request that broke a rule; the connection then ends.

        `request` is that request, as far as it could be understood.
        """
        response = _error(error.status, request, error.detail)
        response.close = True
        return response

    def _decide(self, request: RequestHead, epoch: int) -> Answer:
        if request.method not in {"GET", "HEAD"}:
            return _refuse_method(request), ()
        if not self._is_ours(request.authority):
            detail = (
                f"{host_name(request.authority)} is not a host of this server. If it should be "
                "one, start the server with --allow-host and that name."
            )
            return _error(421, request, detail), ()
        names = path_names(request.path)
        found: Found = Missing(()) if is_hidden(names) else self._origin.look_up(names, epoch)
        return self._represent(request, names, found, epoch)

    def _is_ours(self, authority: str) -> bool:
        """Is this an authority that we answer for?

        Without one (HTTP/1.0 only) no browser has sent the request, so none can be misled.
        """
        if self._any_host or not authority:
            return True
        host = host_name(authority)
        return host in self._hosts or host.endswith(self._host_suffixes)

    def _represent(
        self, request: RequestHead, names: tuple[str, ...], found: Found, epoch: int
    ) -> Answer:
        if isinstance(found, File):
            return _file(200, found), found.witnesses
        if isinstance(found, Moved):
            query = "" if request.query is None else f"?{request.query}"
            location = f"{encode_path(names)}/{query}"
            return _page(301, None, [("Location", location)]), found.witnesses
        if isinstance(found, Failed):
            return _error(found.status, request), None
        if isinstance(found, Directory) and self._listing:
            page = listing_page(names, found.entries)
            policy = ("Content-Security-Policy", pages.content_security_policy())
            return _made(200, _HTML, page, [policy]), None
        return self._missing(
            request, found.witnesses if isinstance(found, Missing) else None, epoch
        )

    def _missing(self, request: RequestHead, witnesses: Witnesses, epoch: int) -> Answer:
        """404, with the site's own page if there is one and a person asks."""
        if pages.prefers_problem(request.get("accept")):
            return _error(404, request), witnesses
        own = self._origin.look_up(("404.html",), epoch)
        response = _file(404, own) if isinstance(own, File) else _error(404, request)
        if not isinstance(own, File | Missing) or own.witnesses is None or witnesses is None:
            return response, None
        return response, (*witnesses, *own.witnesses)


def _file(status: int, file: File) -> Response:
    """A file, whole. Its date is never later than the answer's (RFC 9110, 8.8.2.1)."""
    fields = [
        ("Content-Type", media_type(file.name)),
        ("Content-Length", str(file.size)),
        ("Last-Modified", imf_fixdate(min(file.modified, time.time()))),
        _CACHE,
        _NO_SNIFF,
    ]
    if status != 200:  # the date belongs to the page, not to the resource that is missing
        fields[2] = _VARY
    return Response(status, fields, (file.content,) if file.size else ())


def _refuse_method(request: RequestHead) -> Response:
    """405 with the methods that there are, or 501 (RFC 9110, 9.1 and 15.5.6)."""
    if request.method in _KNOWN_METHODS:
        return _error(405, request, f"{request.method} is not allowed here.", [_ALLOW])
    return _error(501, request, f"This server does not know {request.method}.")


def _error(
    status: int,
    request: RequestHead | None,
    detail: str | None = None,
    fields: Iterable[Field] = (),
) -> Response:
    """An error as a page for a person, or as problem details (RFC 9457) for a program."""
    fields = [*fields, _VARY]
    if request is not None and pages.prefers_problem(request.get("accept")):
        return _made(status, "application/problem+json", pages.problem(status, detail), fields)
    return _page(status, detail, fields)


def _page(status: int, detail: str | None, fields: Iterable[Field] = ()) -> Response:
    policy = ("Content-Security-Policy", pages.content_security_policy())
    return _made(status, _HTML, pages.error_page(status, detail), [*fields, policy])


def _made(status: int, kind: str, body: bytes, fields: Iterable[Field]) -> Response:
    """A Response whose content was made here, not read from a file."""
    own = [("Content-Type", kind), ("Content-Length", str(len(body))), *fields, _CACHE, _NO_SNIFF]
    return Response(status, own, (body,))
