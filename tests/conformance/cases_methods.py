"""RFC 9110, 2.5, 4 to 7, 9, 10 and 15: methods, hosts, dates, expectations, redirects."""

from __future__ import annotations

import time

from tests.conformance.case import (
    DEFINED,
    MAY,
    MUST,
    MUST_NOT,
    SHOULD,
    Case,
    Check,
    Exchange,
    Transcript,
    ask,
    case,
    raw,
)
from tests.conformance.checks import (
    closes_or,
    date,
    either,
    empty,
    every,
    lacks,
    lists,
    measured,
    same,
    seconds_of,
    status,
    told,
    whole,
)
from tests.conformance.served import EARLIER, IMF, LONG, PAGE, TEXT

KNOWN = ("POST", "PUT", "DELETE", "PATCH")
DESCRIBED = (
    *("accept-ranges", "cache-control", "content-encoding", "content-length", "content-type"),
    *("etag", "last-modified", "location", "vary"),
)


def dated(name: str, code: int, *lines: str, path: str = "/text.txt", method: str = "GET") -> Case:
    """A case of a status code with its Date."""
    return case(
        f"date-in-{name}",
        "9110 6.6.1",
        MUST,
        f"A {code} has a Date.",
        ask(path, *lines, method=method),
        check=every(measured(code), date()),
    )


def _now(seen: Transcript) -> str | None:
    """Is the Date within the time that the case took, give or take a second?"""
    stamp = seconds_of(seen, "date")
    return None if seen.began - 2 <= stamp <= time.time() + 1 else "another time"


def _head_like_get(path: str, *lines: str) -> tuple[Exchange, Exchange, Exchange]:
    return ask(path, *lines), ask(path, *lines, method="HEAD"), ask("/text.txt")


def _head(code: int) -> Check:
    """The second answer is like the first; the third shows that it had no content."""
    return every(status(code, at=1), same(*DESCRIBED, at=1), whole(TEXT))


def _continued(seen: Transcript) -> str | None:
    """At once there is a final status, or 100 before it."""
    return None if seen.answers else "waits for the content"


# fmt: off
METHODS = (
    case("get", "9110 9.3.1", DEFINED, "GET sends the selected representation, whole.",
         ask("/text.txt"), check=whole(TEXT)),
    case("get-long", "9110 9.3.1", DEFINED,
         "GET sends a long representation whole.", ask("/long.txt"),
         check=whole(LONG)),
    case("get-empty", "9110 9.3.1", DEFINED,
         "GET sends an empty representation.", ask("/empty.bin"),
         check=whole(b"")),
    case("get-index", "9110 9.3.1", DEFINED, "A folder is represented by its index.",
         ask("/folder/"), check=whole(PAGE)),
    case("get-missing", "9110 15.5.5", DEFINED, "What is not there is answered with 404.",
         ask("/missing"), check=status(404)),
    case("get-with-content", "9110 9.3.1", DEFINED,
         "Content in a GET does not change its meaning; it may be refused, and then the "
         "connection ends.",
         ask("/text.txt", "Content-Length: 5", content=b"hello"), ask("/text.txt"),
         check=closes_or(every(whole(TEXT, at=0), whole(TEXT)), after=1)),
    case("get-and-head-supported", "9110 9.1", MUST, "GET and HEAD are supported.",
         ask("/text.txt"), ask("/text.txt", method="HEAD"),
         check=every(whole(TEXT, at=0), status(200))),
    case("method-case", "9110 9.1", DEFINED, "Methods are case-sensitive: get is not GET.",
         ask("/text.txt", method="get"), check=status(400, 405, 501)),
    case("head-no-content", "9110 9.3.2", MUST_NOT,
         "A response to HEAD has no content: the next response follows at once.",
         ask("/text.txt", method="HEAD"), ask("/text.txt"),
         check=every(status(200, at=0), whole(TEXT))),
    case("head-fields", "9110 9.3.2", SHOULD, "HEAD has the fields of GET: for a file.",
         *_head_like_get("/text.txt"), check=_head(200)),
    case("head-fields-of-index", "9110 9.3.2", SHOULD,
         "HEAD has the fields of GET: for the index of a folder.",
         *_head_like_get("/folder/"), check=_head(200)),
    case("head-fields-of-404", "9110 9.3.2", SHOULD, "HEAD has the fields of GET: for an error.",
         ask("/missing"), ask("/missing", method="HEAD"),
         check=every(status(404), same(*DESCRIBED))),
    case("head-fields-of-redirect", "9110 9.3.2", SHOULD,
         "HEAD has the fields of GET: for a redirect.",
         *_head_like_get("/folder"), check=_head(301)),
    case("head-fields-of-listing", "9110 9.3.2", SHOULD,
         "HEAD has the fields of GET: for the listing of a folder.",
         ask("/many/"), ask("/many/", method="HEAD"), ask("/text.txt"),
         check=every(measured(200, at=0), _head(200))),
    case("head-of-304", "9110 9.3.2", SHOULD, "HEAD has the fields of GET: for a 304.",
         ask("/text.txt", f"If-Modified-Since: {IMF}"),
         ask("/text.txt", f"If-Modified-Since: {IMF}", method="HEAD"), ask("/text.txt"),
         check=_head(304)),
    case("options-supported", "9110 9.1", MAY,
         "Methods other than GET and HEAD are optional; OPTIONS is supported.",
         ask("/text.txt", method="OPTIONS"), check=status(200, 204)),
    case("options", "9110 9.3.7", SHOULD, "OPTIONS tells in Allow what a resource is good for.",
         ask("/text.txt", method="OPTIONS"),
         check=every(measured(200, 204), lists("allow", "GET", "HEAD"))),
    case("options-no-action", "9110 9.3.7", DEFINED, "OPTIONS does nothing to the resource.",
         ask("/text.txt", method="OPTIONS"), ask("/text.txt"),
         check=every(measured(200, 204, at=0), whole(TEXT))),
    case("options-star", "9110 9.3.7", DEFINED, "OPTIONS * asks the server as a whole.",
         ask("*", method="OPTIONS"), check=status(200, 204)),
    case("options-content", "9110 9.3.7", DEFINED,
         "The content of an OPTIONS request has no meaning.",
         ask("/text.txt", "Content-Type: text/plain", "Content-Length: 5", method="OPTIONS",
             content=b"hello"),
         ask("/text.txt"),
         check=closes_or(every(measured(200, 204, at=0), whole(TEXT)), after=1)),
    case("204-no-content", "9110 15.3.5", DEFINED,
         "A 204 ends with its head: the next response follows at once.",
         ask("/text.txt", method="OPTIONS"), ask("/text.txt"),
         check=every(measured(204, at=0), empty(0), whole(TEXT))),
    *(case(f"405-{method.lower()}", "9110 15.5.6", SHOULD,
           f"{method}, where it is known, is not allowed on a file: 405.",
           ask("/text.txt", "Content-Length: 0", method=method),
           check=every(measured(405, 200, 201, 204, 403), status(405)))
      for method in KNOWN),
    case("405-allow", "9110 10.2.1", MUST, "A 405 lists in Allow what is allowed.",
         ask("/text.txt", "Content-Length: 0", method="PUT"),
         check=every(measured(405), lists("allow", "GET", "HEAD"))),
    case("405-not-allowed", "9110 10.2.1", DEFINED,
         "A 405 lists nothing in Allow that is not allowed.",
         ask("/text.txt", "Content-Length: 0", method="PUT"),
         check=every(measured(405), lambda seen: None if seen[-1].get("allow") else "no allow",
                     told("lists PUT", lambda answer: "put" not in answer.members("allow")))),
    case("405-index", "9110 15.5.6", MUST, "A 405 for the index of a folder has Allow.",
         ask("/folder/", "Content-Length: 0", method="DELETE"),
         check=every(measured(405), lists("allow", "GET", "HEAD"))),
    case("trace", "9110 9.3.8", DEFINED,
         "TRACE is refused, or answered with the request itself.",
         ask("/text.txt", "X-Trace: here", method="TRACE"),
         check=either(status(405, 501), every(status(200), told(
             "no request", lambda answer: b"X-Trace: here" in answer.content)))),
    case("connect", "9110 9.3.6", DEFINED, "An origin that opens no tunnels refuses CONNECT.",
         raw(b"CONNECT localhost:80 HTTP/1.1", b"Host: localhost:80", b"", method="CONNECT"),
         check=status(400, 403, 405, 501)),
    case("501-unknown", "9110 9.1", SHOULD, "A method that is not known is answered with 501.",
         ask("/text.txt", method="BREW"), check=status(501)),
    case("501-date", "9110 6.6.1", MAY, "A 501 may have a Date.",
         ask("/text.txt", method="BREW"), check=every(measured(501), date())),
)

DATES = (
    dated("200", 200),
    dated("206", 206, "Range: bytes=0-4"),
    dated("301", 301, path="/folder"),
    dated("304", 304, f"If-Modified-Since: {IMF}"),
    dated("404", 404, path="/missing"),
    dated("405", 405, "Content-Length: 0", method="POST"),
    dated("412", 412, f"If-Unmodified-Since: {EARLIER}"),
    dated("416", 416, "Range: bytes=5000-"),
    case("date-in-400", "9110 6.6.1", MUST, "A 400 has a Date.",
         raw(b"GET /text.txt HTTP/1.1", b""), check=every(measured(400), date())),
    case("date-is-now", "9110 6.6.1", SHOULD, "Date is the time of the response.",
         ask("/text.txt"), check=_now),
)

TARGETS = (
    case("percent-encoded", "9110 4.2.3", DEFINED,
         "A percent-encoded letter is that letter; its hexadecimal digits have no case.",
         ask("/t%65xt.t%78t"), check=whole(TEXT)),
    case("percent-encoded-space", "9110 4.2.3", DEFINED, "A space is written as %20.",
         ask("/with%20space.txt"), check=whole(TEXT)),
    case("query", "9110 4.2.1", DEFINED,
         "A query on a resource that makes nothing of it leaves it as it is.",
         ask("/text.txt?a=b&c"), check=whole(TEXT)),
    case("empty-host", "9110 4.2.1", MUST, "An http URI without a host is rejected.",
         raw(b"GET /text.txt HTTP/1.1", b"Host:", b""), check=status(400)),
    case("version-in-answer", "9110 2.5", SHOULD,
         "A server answers HTTP/1.0 with the highest version of major 1 that it speaks.",
         ask("/text.txt", version="1.0"),
         check=every(whole(TEXT), told("HTTP/1.0", lambda answer: answer.minor == 1))),
    case("higher-minor-version", "9110 2.5", SHOULD,
         "A higher minor version than 1.1 is taken for 1.1.",
         ask("/text.txt", version="1.9"), check=whole(TEXT)),
    case("505", "9110 15.6.6", DEFINED, "Another major version is refused, with 505.",
         ask("/text.txt", version="3.0"), check=status(505)),
    case("misdirected", "9110 15.5.20", MAY,
         "A request for a host that is not the server's own is answered with 421.",
         raw(b"GET /text.txt HTTP/1.1", b"Host: elsewhere.example", b""), check=status(421)),
    case("host-and-port", "9110 7.2", DEFINED, "Host is a name, perhaps with a port.",
         raw(b"GET /text.txt HTTP/1.1", b"Host: localhost:8080", b""), check=whole(TEXT)),
    case("host-address", "9110 7.2", DEFINED,
         "The host in Host may be an address of IPv6 in brackets.",
         raw(b"GET /text.txt HTTP/1.1", b"Host: [::1]:8080", b""), check=whole(TEXT)),
    case("host-case", "9110 4.2.3", DEFINED, "The host in Host has no case.",
         raw(b"GET /text.txt HTTP/1.1", b"Host: LocalHost", b""), check=whole(TEXT)),
    case("upgrade-ignored", "9110 7.8", MAY,
         "An Upgrade to a protocol that is not spoken is ignored.",
         ask("/text.txt", "Connection: upgrade", "Upgrade: unknown/1"),
         check=every(whole(TEXT), lacks("upgrade"))),
    case("redirect-location", "9110 15.4.2", SHOULD,
         "A redirect says in Location where to, here the folder with its slash.",
         ask("/folder"),
         check=every(status(301, 308), told("elsewhere", lambda answer: (
             answer.get("location") or "").endswith("folder/")))),
)

FIELDS = (
    case("field-name-case", "9110 5.1", DEFINED, "Field names are case-insensitive.",
         raw(b"GET /text.txt HTTP/1.1", b"hOsT: localhost", b"iF-mOdIfIeD-sInCe: " + IMF.encode(),
             b""), check=status(304)),
    case("field-unknown", "9110 5.1", SHOULD, "Fields that are not known are ignored.",
         ask("/text.txt", "X-Unknown: anything", "Unknown: [(;,="), check=whole(TEXT)),
    case("field-order", "9110 5.3", DEFINED, "The order of different fields has no meaning.",
         raw(b"GET /text.txt HTTP/1.1", b"If-Modified-Since: " + IMF.encode(), b"Accept: */*",
             b"Host: localhost", b""), check=status(304)),
    case("field-obs-text", "9110 5.5", SHOULD, "Octets above 127 in a value are opaque data.",
         raw(b"GET /text.txt HTTP/1.1", b"Host: localhost", b"X-Text: \xff\xc3\xa4", b""),
         check=whole(TEXT)),
    case("field-nul", "9110 5.5", MUST,
         "NUL in a value is refused, or taken for a space.",
         raw(b"GET /text.txt HTTP/1.1", b"Host: localhost", b"X-Text: a\0b", b""),
         check=status(400, 200)),
    case("field-nul-in-host", "9110 5.5", MUST, "NUL in Host makes no sense in either way: 400.",
         raw(b"GET /text.txt HTTP/1.1", b"Host: local\0host", b""), check=status(400)),
    case("field-cr", "9110 5.5", MUST, "A CR alone in a value is refused, or taken for a space.",
         raw(b"GET /text.txt HTTP/1.1", b"Host: localhost", b"X: a\rRange: bytes=0-4", b""),
         check=status(400, 200)),
    case("field-white-space", "9110 5.5", MUST,
         "White space around a value is no part of it.",
         raw(b"GET /text.txt HTTP/1.1", b"Host:localhost", b"If-Modified-Since: \t "
             + IMF.encode() + b" \t ", b""), check=status(304)),
    case("expect-known", "9110 10.1.1", MUST,
         "After Expect: 100-continue an answer comes before the content does.",
         ask("/text.txt", "Expect: 100-continue", "Content-Length: 5", method="PUT"),
         check=_continued),
    case("expect-case", "9110 10.1.1", DEFINED, "The value of Expect is case-insensitive.",
         ask("/text.txt", "Expect: 100-Continue", "Content-Length: 5", method="PUT"),
         check=every(_continued, told("417", lambda answer: answer.status != 417))),
    case("expect-final", "9110 10.1.1", DEFINED,
         "A final status that needs no content comes at once, without 100.",
         ask("/text.txt", "Expect: 100-continue", "Content-Length: 5", method="PUT"),
         check=every(status(405, 501), told("100 before", lambda answer: not answer.interim))),
    case("expect-in-1.0", "9110 10.1.1", MUST, "Expect is ignored in HTTP/1.0.",
         ask("/text.txt", "Expect: 100-continue", version="1.0"),
         check=every(whole(TEXT), told("100 before", lambda answer: not answer.interim))),
    case("expect-unknown", "9110 10.1.1", MAY,
         "An expectation other than 100-continue is answered with 417.",
         ask("/text.txt", "Expect: the-unexpected"), check=status(417)),
    case("expect-without-content", "9110 10.1.1", MAY,
         "Where no content follows there need be no 100.",
         ask("/text.txt", "Expect: 100-continue"),
         check=every(whole(TEXT), told("100 before", lambda answer: not answer.interim))),
)
# fmt: on

CASES: tuple[Case, ...] = (*METHODS, *DATES, *TARGETS, *FIELDS)
