"""Responses whose content the server makes: error pages, redirects, the response to OPTIONS.

Rule: an error is a page for people, or problem details (RFC 9457) for programs that prefer JSON. A
page is self-contained: it loads no script, image or font, and its Content-Security-Policy forbids
loading any. It says what happened and what to do next. Text from clients and disks is escaped by
`shown`.
Limit: English only. The pages reveal nothing about the server's software, paths or internal errors.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from portico.http.codings import parse_quality
from portico.http.content import Octets
from portico.http.message import Field, Response
from portico.http.status import REASONS
from portico.site.fields import varying
from portico.site.pages.styles import NOTICE, content_security_policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from portico.http.message import RequestHead

READS = ("GET", "HEAD", "OPTIONS")
"""The methods that are allowed on every resource."""

# Registered methods (RFC 9110, 9; RFC 5789; RFC 4918, 9.3) that not every resource allows: where
# one is not allowed, the status is 405, and for unknown methods 501.
_KNOWN_METHODS = frozenset({"CONNECT", "DELETE", "MKCOL", "PATCH", "POST", "PUT", "TRACE"})

NO_CACHE = "no-cache"
"""Caches may store a response, but revalidate it before each use, so changes show at once."""
_CACHE: Field = ("Cache-Control", NO_CACHE)
_NO_SNIFF: Field = ("X-Content-Type-Options", "nosniff")

# Fields that --cors adds to every response: scripts of any origin may read it, without credentials.
_CORS: tuple[Field, ...] = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "*"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
)
# Fields that --cors adds to a response to OPTIONS as well (WHATWG Fetch, "CORS-preflight request").
# "*" does not include Authorization.
_PREFLIGHT: tuple[Field, ...] = (
    ("Access-Control-Allow-Headers", "*, Authorization"),
    ("Access-Control-Max-Age", "7200"),
)

CLOSING = "</main>\n</body>\n</html>\n"

_MARK = """\
<svg width="44" height="44" viewBox="0 0 44 44" fill="none" stroke="currentColor" \
stroke-width="2.5" stroke-linejoin="round" stroke-linecap="round" aria-hidden="true">\
<path d="M4 14 22 5l18 9zM6 19h32M10 23v12M18 23v12M26 23v12M34 23v12M4 39h36"/></svg>
"""

# By status: what happened, and what to do next.
_EXPLANATIONS = {
    400: "The server could not make sense of this request. "
    "If you typed the address, check it for characters that do not belong there.",
    401: "What is at this address is not open to everyone. "
    "Sign in with a name and a password that may see it.",
    403: "The server may not show what is at this address. "
    "If it should be open to you, ask whoever looks after this site.",
    404: "There is nothing at this address. "
    "Check it for typos, or start again from the front page.",
    405: "This address does not take that kind of request. "
    "To read what is here, open the address in the usual way.",
    406: "What is here does not come in any form that was asked for. "
    "Ask again for a wider choice of forms.",
    408: "The request took too long to arrive. Check your connection, then try again.",
    409: "The request does not fit how things stand at this address. "
    "Look at what is here now, then try again.",
    411: "The server needs to know beforehand how long the content is. "
    "Send it again with its length.",
    412: "What is at this address has changed since you last saw it. "
    "Load it afresh, then make your change again.",
    413: "What was sent is larger than this server takes. "
    "Send something smaller, or ask whoever looks after this site.",
    414: "This address is longer than the server reads. Try again with a shorter one.",
    415: "The server does not take content of this type here. Send it again in another format.",
    416: "The file ends before the part that was asked for. "
    "It may have changed since: load the whole of it again.",
    417: "The server cannot do what the request expects of it. "
    "Send it again without that expectation.",
    421: "This server does not answer for the host name in the address. "
    "Use the address it gave when it started, or have this name allowed there.",
    426: "The server answers this request only over another protocol. "
    "Try again with a newer browser or program.",
    428: "The server takes this change only with a condition, so that nobody's work is lost. "
    "Load what is here now, then send the change with its validator.",
    429: "Too many requests came in a short time. Wait a little, then try again.",
    431: "The request brought more header fields than the server reads. "
    "Clear the cookies of this site, then try again.",
    500: "Something went wrong inside the server. "
    "Try again in a moment. If it goes on, tell whoever looks after this site.",
    501: "The server does not know this kind of request. "
    "To read what is here, open the address in the usual way.",
    503: "The server cannot answer just now. Try again in a moment.",
    505: "The request uses a version of HTTP that this server does not speak. "
    "Try again with HTTP/1.1.",
    507: "There is no room left on the server to keep this. Try again when some has been made.",
}
_MOVED = "This has moved to another address. Your browser should take you there by itself."
_OTHER = "The request could not be answered. Try again in a moment."

# Errors that may not occur when the request is repeated: their pages link to the same address.
# The pages of other errors link to the front page.
_PASSING = (408, 421, 429, 500, 503, 507)
_FRONT_PAGE = '<p><a href="/">Go to the front page</a></p>\n'
_AGAIN = '<p><a href="">Try again</a></p>\n'
# A host that needs no quoting in a shell command.
_PLAIN_HOST = re.compile(r"[a-z0-9.-]+|\[[0-9a-f:.]+\]")

# Characters that are invisible, or change how other characters are displayed: controls, zero-width
# and bidirectional formatting, and surrogates, which stand for bytes that are not UTF-8. Joiners
# (U+200C, U+200D) are not included, because several scripts and many emoji need them. Compiled when
# first used, because compiling takes some milliseconds.
_UNSEEN = (
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff]"
)

# The media ranges that include a type, and how specific each is (RFC 9110, 12.5.1).
_HTML_RANGES = {"text/html": 3, "text/*": 2, "*/*": 1}
_JSON_RANGES = {"application/json": 3, "application/*": 2, "*/*": 1}


def error(
    status: int,
    request: RequestHead | None,
    detail: str | None = None,
    fields: Iterable[Field] = (),
    command: str | None = None,
) -> Response:
    """Return an error as a page, or as problem details if the request prefers JSON.

    `detail` is a sentence about this case, `fields` are further header fields; see `error_page` for
    `command`.
    """
    fields = varying(fields, "Accept")
    if request is not None and prefers_problem(request.get("accept")):
        return _made(status, "application/problem+json", problem(status, detail), fields)
    return _page(status, error_page(status, detail, command), fields)


def refuse_method(request: RequestHead, allowed: Sequence[str]) -> Response:
    """Return 405 with the allowed methods, or 501 for an unknown method (RFC 9110, 9.1, 15.5.6)."""
    if request.method in _KNOWN_METHODS:
        allow = ("Allow", ", ".join(allowed))
        return error(405, request, f"{request.method} is not allowed here.", [allow])
    return error(501, request, f"This server does not know {request.method}.")


def refuse_host(request: RequestHead, host: str) -> Response:
    """Return 421, with the command that makes this server accept `host`."""
    detail = (
        f"{host} is not a host of this server. If it should be one, start the server with "
        "--allow-host and that name."
    )
    command = f"portico --allow-host {host}" if _PLAIN_HOST.fullmatch(host) else None
    return error(421, request, detail, command=command)


def missing(names: tuple[str, ...], folder: tuple[str, ...], up: str) -> Response:
    """Return 404 as a page, for the path `names`; `folder` is the nearest folder that exists.

    `up` is a relative reference to that folder. The root is not shown as nearest folder.
    """
    before, after = _missing_page()
    path = "/".join(["", *names])
    detail = f'<p class="detail"><bdi>{shown(path)}</bdi></p>\n'
    if folder:
        here = "/".join(["", *folder, ""])
        detail += f'<p>The nearest folder: <a href="{shown(up)}"><bdi>{shown(here)}</bdi></a></p>\n'
    return _page(404, before + detail.encode() + after, [("Vary", "Accept")])


@lru_cache(maxsize=1)
def _missing_page() -> tuple[bytes, bytes]:
    """Return the page for 404 in two parts, split before its link to the front page."""
    before, way_back, after = error_page(404).partition(_FRONT_PAGE.encode())
    return before, way_back + after


def options(allowed: Sequence[str]) -> Response:
    """Return the response to OPTIONS, the same for every target: 204, Allow (RFC 9110, 9.3.7)."""
    return Response(204, [("Allow", ", ".join(allowed)), _CACHE])


def redirect(status: int, location: str) -> Response:
    """Return a redirect to `location`, with a page for clients that do not follow it."""
    return _page(status, error_page(status), [("Location", location)])


def unstored(status: int, kind: str, content: bytes) -> Response:
    """Return a response that no cache may store, because its content is valid only now."""
    own = [("Content-Type", kind), ("Content-Length", str(len(content)))]
    return Response(status, [*own, ("Cache-Control", "no-store"), _NO_SNIFF], (Octets(content),))


def add_cors(response: Response, allowed: Sequence[str] = ()) -> None:
    """Let scripts of any origin read the response; keep CORS fields set by the site's rules.

    `allowed` are the methods that a response to OPTIONS allows; empty for other responses.
    """
    present = {name.lower() for name, _ in response.fields}
    methods = ("Access-Control-Allow-Methods", ", ".join(allowed))
    fields = (*_CORS, methods, *_PREFLIGHT) if allowed else _CORS
    added = [field for field in fields if field[0].lower() not in present]
    response.fields = [*response.fields, *added]


def _page(status: int, content: bytes, fields: Iterable[Field]) -> Response:
    policy = ("Content-Security-Policy", content_security_policy(NOTICE))
    return _made(status, "text/html; charset=utf-8", content, [*fields, policy])


def _made(status: int, kind: str, content: bytes, fields: Iterable[Field]) -> Response:
    own = [("Content-Type", kind), ("Content-Length", str(len(content)))]
    return Response(status, [*own, *fields, _CACHE, _NO_SNIFF], (Octets(content),))


@lru_cache(maxsize=64)
def error_page(status: int, detail: str | None = None, command: str | None = None) -> bytes:
    """Return a complete HTML page, in UTF-8, that explains `status` to a person.

    `detail` is a sentence of plain text about this case, `command` a shell command that helps. A
    status that is not in `REASONS` gets a general page.
    """
    reason = REASONS.get(status, "Error")
    explanation = _EXPLANATIONS.get(status) or (_MOVED if 300 <= status < 400 else _OTHER)
    parts = [
        opening(f"{status} {reason}", NOTICE),
        _MARK,
        f'<p class="status">{status}</p>\n<h1>{reason}</h1>\n',
        f"<p>{explanation}</p>\n",
    ]
    if detail:
        parts.append(f'<p class="detail">{shown(detail)}</p>\n')
    if command:
        parts.append(f"<pre>{shown(command)}</pre>\n")
    if status >= 400:
        parts.append(_AGAIN if status in _PASSING else _FRONT_PAGE)
    parts.append(CLOSING)
    return "".join(parts).encode()


def problem(status: int, detail: str | None = None) -> bytes:
    """Return problem details for `status` (RFC 9457, 3), of type application/problem+json.

    The type is about:blank, so the title is the status's reason phrase (RFC 9457, 4.2.1).
    """
    import json

    members: dict[str, str | int] = {
        "type": "about:blank",
        "title": REASONS.get(status, "Error"),
        "status": status,
    }
    if detail:
        members["detail"] = detail.encode("utf-8", "backslashreplace").decode()
    return (json.dumps(members, ensure_ascii=False) + "\n").encode()


def prefers_problem(accept: str | None) -> bool:
    """Whether an Accept field value prefers problem details to a page.

    Like `prefers_json`, but any type with the suffix `+json` counts as JSON.
    """
    return prefers_json(accept, suffix="+json")


@lru_cache(maxsize=64)
def prefers_json(accept: str | None, suffix: str = "") -> bool:
    """Whether an Accept field value prefers JSON to HTML (RFC 9110, 12.5.1).

    The quality of a type is that of the most specific range that includes it. The higher quality
    wins; at equal quality, the type with the more specific range wins; then HTML. So
    `application/json, */*` prefers JSON, and so does `*/*, text/html;q=0`, while `*/*` alone, or no
    field, gets HTML. A type that ends in `suffix` counts as JSON. Malformed members are ignored.
    """
    html, json = _html_and_json(accept, suffix)
    return json[1] > 0 and json[::-1] > html[::-1]


def takes_html(accept: str | None) -> bool:
    """Whether an Accept field value accepts HTML, and does not prefer JSON."""
    html, json = _html_and_json(accept, "")
    return html[1] > 0 and html[::-1] >= json[::-1]


def _html_and_json(accept: str | None, suffix: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return for HTML and for JSON the specificity of the range that applies, and its quality.

    The quality is from 0 to 1000.
    """
    html = json = (0, 0)
    for name, quality in _media_ranges("*/*" if accept is None else accept):
        if name in _HTML_RANGES:
            html = max(html, (_HTML_RANGES[name], quality))
        if name in _JSON_RANGES:
            json = max(json, (_JSON_RANGES[name], quality))
        elif suffix and "/" in name and name.endswith(suffix):
            json = max(json, (3, quality))
    return html, json


def _media_ranges(accept: str) -> Iterator[tuple[str, int]]:
    """Yield the name and the quality, 0 to 1000, of each well-formed member of Accept."""
    for member in accept.split(","):
        name, *parameters = (part.strip(" \t").lower() for part in member.split(";"))
        quality = next((value[2:] for value in parameters if value.startswith("q=")), "1")
        parsed = parse_quality(quality)
        if parsed is not None:
            yield name, parsed


def opening(title: str, style: str, *, for_robots: bool = True) -> str:
    """Return the start of a page's HTML, up to its opened `main` element; `CLOSING` is its end.

    `title` is plain text, `style` is `NOTICE` or `LISTING`. `for_robots` allows search engines to
    index the page.
    """
    robots = "" if for_robots else '<meta name="robots" content="noindex,nofollow">\n'
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
{robots}<title>{shown(title)}</title>
<style>{style}</style>
</head>
<body>
<main>
"""


def shown(text: str) -> str:
    r"""Return `text` escaped for HTML, as content or in a quoted attribute.

    Control and formatting characters are replaced by visible escapes. So are bytes that are not
    UTF-8, which `os.fsdecode` turned into lone surrogates: the byte 0xE9 is shown as `\xe9`.
    """
    if not text.isprintable():
        text = re.sub(_UNSEEN, _spelt_out, text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', "&quot;").replace("'", "&#39;")


def _spelt_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
