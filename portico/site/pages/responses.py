"""Responses whose content is made here: errors, redirects, the answer to OPTIONS.

Rule: each error is a page for a person, or problem details (RFC 9457) for a program that prefers
JSON. Its fields are complete; whoever calls may add to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.http.content import Octets
from portico.http.message import Field, Response
from portico.site.pages import errors
from portico.site.pages.styles import NOTICE, content_security_policy

if TYPE_CHECKING:
    from collections.abc import Iterable

from portico.http.message import RequestHead

ALLOWED = ("GET", "HEAD", "OPTIONS")
ALLOW: Field = ("Allow", ", ".join(ALLOWED))

# Methods that are registered (RFC 9110, 9 and RFC 5789): known, but not allowed on files.
_KNOWN_METHODS = frozenset({"CONNECT", "DELETE", "PATCH", "POST", "PUT", "TRACE"})

NO_CACHE = "no-cache"
"""Lets a client keep a copy but not use it unasked, so that a change is always seen."""
_CACHE: Field = ("Cache-Control", NO_CACHE)
_NO_SNIFF: Field = ("X-Content-Type-Options", "nosniff")

# What --cors adds to every answer: scripts of any origin may read it, but with no credentials.
_CORS: tuple[Field, ...] = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "*"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
)
# And to OPTIONS (WHATWG Fetch, "CORS-preflight request"). "*" does not stand for Authorization.
_PREFLIGHT: tuple[Field, ...] = (
    ("Access-Control-Allow-Methods", ", ".join(ALLOWED)),
    ("Access-Control-Allow-Headers", "*, Authorization"),
    ("Access-Control-Max-Age", "7200"),
)

_HTML = "text/html; charset=utf-8"


def error(
    status: int,
    request: RequestHead | None,
    detail: str | None = None,
    fields: Iterable[Field] = (),
) -> Response:
    """An error as a page for a person, or as problem details (RFC 9457) for a program."""
    fields = varying(fields, "Accept")
    if request is not None and errors.prefers_problem(request.get("accept")):
        return _made(status, "application/problem+json", errors.problem(status, detail), fields)
    return _page(status, detail, fields)


def varying(fields: Iterable[Field], on: str) -> list[Field]:
    """`fields` with one Vary that names `on`, too (RFC 9110, 12.5.5)."""
    names = [value for name, value in fields if name == "Vary"]
    return [*(field for field in fields if field[0] != "Vary"), ("Vary", ", ".join([*names, on]))]


def refuse_method(request: RequestHead) -> Response:
    """405 with the methods that there are, or 501 (RFC 9110, 9.1 and 15.5.6)."""
    if request.method in _KNOWN_METHODS:
        return error(405, request, f"{request.method} is not allowed here.", [ALLOW])
    return error(501, request, f"This server does not know {request.method}.")


def options() -> Response:
    """The answer to OPTIONS (RFC 9110, 9.3.7): what may be asked for, the same everywhere."""
    return Response(204, [ALLOW, _CACHE])


def add_cors(response: Response) -> None:
    """Let scripts of any origin read the answer, unless the site's rules say something else."""
    present = {name.lower() for name, _ in response.fields}
    fields = (*_CORS, *_PREFLIGHT) if response.status == 204 else _CORS
    response.fields = [
        *response.fields,
        *(each for each in fields if each[0].lower() not in present),
    ]


def health(*, ends: bool) -> Response:
    """The answer to those who watch over the server: is it of use to send clients here?"""
    text = b"stopping\n" if ends else b"ok\n"
    return unstored(503 if ends else 200, "text/plain; charset=utf-8", text)


def unstored(status: int, kind: str, content: bytes) -> Response:
    """Something of this very moment, of which nobody is to keep a copy."""
    own = [("Content-Type", kind), ("Content-Length", str(len(content)))]
    return Response(status, [*own, ("Cache-Control", "no-store"), _NO_SNIFF], (Octets(content),))


def redirect(status: int, location: str) -> Response:
    """A redirect with a page for those that do not follow it."""
    return _page(status, None, [("Location", location)])


def _page(status: int, detail: str | None, fields: Iterable[Field]) -> Response:
    policy = ("Content-Security-Policy", content_security_policy(NOTICE))
    return _made(status, _HTML, errors.error_page(status, detail), [*fields, policy])


def _made(status: int, kind: str, body: bytes, fields: Iterable[Field]) -> Response:
    own = [("Content-Type", kind), ("Content-Length", str(len(body))), *fields, _CACHE, _NO_SNIFF]
    return Response(status, own, (Octets(body),))
