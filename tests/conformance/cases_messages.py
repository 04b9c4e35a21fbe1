"""RFC 9112, 2 to 5 and 8 to 11: the grammar of a request, and the life of a connection."""

from __future__ import annotations

from tests.conformance.case import (
    DEFINED,
    MAY,
    MUST,
    MUST_NOT,
    SHOULD,
    Case,
    Check,
    Exchange,
    ask,
    case,
    raw,
)
from tests.conformance.checks import (
    answered,
    closes_or,
    either,
    ends,
    every,
    lacks,
    lists,
    refused,
    status,
    whole,
)
from tests.conformance.served import PAGE, TEXT
from tests.server.clients import get, request

HOST = b"Host: localhost"
FULL = whole(TEXT)
REFUSED = refused()


def sent(
    name: str, section: str, level: str, rule: str, lines: tuple[bytes, ...], check: Check
) -> Case:
    """A request of exactly these lines, and whether the connection ends after its answer."""
    exchange = raw(*lines, b"")
    return case(name, section, level, rule, exchange, check=check, awaits_end=check is REFUSED)


def line(first: bytes) -> tuple[bytes, ...]:
    return (first, HOST)


def field(octets: bytes) -> tuple[bytes, ...]:
    return (b"GET /text.txt HTTP/1.1", HOST, octets)


def ended(name: str, section: str, level: str, rule: str, exchange: Exchange, check: Check) -> Case:
    return case(name, section, level, rule, exchange, check=check, awaits_end=True)


# fmt: off
GRAMMAR = (
    case("empty-line-before", "9112 2.2", SHOULD, "An empty line before a request is ignored.",
         Exchange(b"\r\n" + get("/text.txt")), check=FULL),
    case("empty-line-between", "9112 2.2", SHOULD,
         "An empty line between two requests is ignored.",
         ask("/text.txt"), Exchange(b"\r\n" + get("/folder/")), check=whole(PAGE)),
    sent("garbage", "9112 2.2", SHOULD,
         "What is no request is answered with 400, and the connection ends.",
         (b"This is no request",), REFUSED),
    sent("binary-garbage", "9112 2.2", SHOULD,
         "Octets of another protocol are answered with 400, and the connection ends.",
         (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",), REFUSED),
    case("space-before-first-field", "9112 2.2", MUST,
         "White space between the request line and the first field is refused, or such lines are "
         "dropped.",
         raw(b"GET /text.txt HTTP/1.1", b" X: y", HOST, b""),
         check=either(status(400), FULL)),
    case("space-before-first-field-hides-nothing", "9112 2.2", MUST,
         "A line after white space that stands before the first field is never taken for"
         " a field.",
         raw(b"GET /text.txt HTTP/1.1", b" Range: bytes=0-4", HOST, b""),
         check=either(status(400), FULL)),
    case("bare-lf", "9112 2.2", MAY, "A single LF may end a line; or the request is refused.",
         Exchange(get("/text.txt").replace(b"\r\n", b"\n")),
         check=either(status(400), FULL)),
    sent("bare-cr-in-line", "9112 2.2", MUST,
         "A CR alone in the request line makes it invalid, or stands for a space.",
         (b"GET /text.txt\rHTTP/1.1", HOST), either(status(400), FULL)),
    sent("version-case", "9112 2.3", DEFINED, "HTTP-version is case-sensitive.",
         line(b"GET /text.txt http/1.1"), status(400, 505)),
    sent("version-digits", "9112 2.3", DEFINED,
         "HTTP-version has one digit on each side of its dot.",
         line(b"GET /text.txt HTTP/1.01"), status(400, 505)),
    sent("version-missing", "9112 3", SHOULD, "A request line without a version is no request.",
         line(b"GET /text.txt"), status(400, 505)),
    sent("target-with-space", "9112 3.2", SHOULD,
         "A target with white space in it is answered with 400, or a redirect; it is not mended.",
         line(b"GET /with space.txt HTTP/1.1"), status(400, 301)),
    sent("line-leading-space", "9112 3", SHOULD, "A request line does not begin with a space.",
         line(b" GET /text.txt HTTP/1.1"), either(status(400), FULL)),
    sent("method-not-token", "9112 3.1", SHOULD, "A method is a token.",
         line(b"G{}T /text.txt HTTP/1.1"), status(400, 501)),
    sent("method-long", "9112 3.1", SHOULD,
         "A method longer than any that is implemented: 501.",
         line(b"M" * 100 + b" /text.txt HTTP/1.1"), status(501)),
    sent("target-not-ascii", "9112 3.2", SHOULD, "A target is ASCII; other octets are encoded.",
         line(b"GET /\xc3\xa4 HTTP/1.1"), status(400, 301)),
    sent("target-fragment", "9112 3.2", SHOULD, "A target has no fragment.",
         line(b"GET /text.txt#part HTTP/1.1"), status(400, 301)),
    sent("target-relative", "9112 3.2", SHOULD, "A target in origin-form begins with a slash.",
         line(b"GET text.txt HTTP/1.1"), status(400, 301)),
    case("target-8000", "9112 3", SHOULD, "Request lines of 8000 octets are supported.",
         ask("/text.txt?" + "q" * 7976), check=FULL),
    case("target-too-long", "9112 3", MUST,
         "A target longer than the server will parse is answered with 414.",
         ask("/text.txt?" + "q" * 70_000), check=status(414)),
    sent("host-missing", "9112 3.2", MUST, "HTTP/1.1 without Host: 400.",
         (b"GET /text.txt HTTP/1.1",), status(400)),
    sent("host-twice", "9112 3.2", MUST, "More than one Host: 400.", field(HOST), status(400)),
    sent("hosts-that-differ", "9112 3.2", MUST, "Two Host fields that differ: 400.",
         field(b"Host: 127.0.0.1"), status(400)),
    *(sent(f"host-{name}", "9112 3.2", MUST, f"A Host with {what} is invalid: 400.",
           (b"GET /text.txt HTTP/1.1", b"Host: " + value), status(400))
      for name, what, value in (
          ("space", "a space", b"local host"),
          ("path", "a path", b"localhost/text.txt"),
          ("user", "user information", b"user@localhost"),
          ("list", "two names", b"localhost, localhost"),
          ("port", "a port that is no number", b"localhost:http"),
      )),
    case("host-missing-in-1.0", "9112 3.2", DEFINED, "HTTP/1.0 needs no Host.",
         raw(b"GET /text.txt HTTP/1.0", b""), check=FULL),
    case("absolute-form", "9112 3.2.2", MUST, "A target in absolute-form is accepted.",
         ask("http://localhost/text.txt"), check=FULL),
    case("absolute-form-case", "9110 4.2.3", DEFINED,
         "Scheme and host of a target in absolute-form have no case.",
         ask("HTTP://LOCALHOST/text.txt"), check=FULL),
    case("absolute-form-host", "9112 3.2.2", MUST,
         "The host of a target in absolute-form counts, and that of the Host field is "
         "ignored.",
         raw(b"GET http://localhost/text.txt HTTP/1.1", b"Host: elsewhere.example", b""),
         check=FULL),
    sent("absolute-form-no-host", "9112 3.2", MUST,
         "Host is needed beside a target in absolute-form, too.",
         (b"GET http://localhost/text.txt HTTP/1.1",), status(400)),
    case("absolute-form-empty-path", "9112 3.2.2", DEFINED,
         "An empty path in absolute-form is that of the root.",
         ask("/"), ask("http://localhost"),
         check=lambda seen: None if seen[0].status == seen[1].status else str(seen[1].status)),
    sent("authority-form", "9112 3.2.3", DEFINED, "Only CONNECT has a target in authority-form.",
         line(b"GET localhost:80 HTTP/1.1"), status(400, 404)),
    sent("asterisk-form", "9112 3.2.4", DEFINED, "Only OPTIONS has the target *.",
         line(b"GET * HTTP/1.1"), status(400, 404)),
    case("status-line", "9112 4", MUST,
         "A status line has a version, three digits, and a space before the reason or its absence.",
         ask("/text.txt"), ask("/text.txt", "Range: bytes=0-4"), ask("/missing"),
         check=every(status(200, at=0), status(200, 206, at=1), status(404))),
    sent("space-before-colon", "9112 5.1", MUST,
         "White space between a field's name and its colon: 400.",
         field(b"X-Text : y"), status(400)),
    sent("tab-before-colon", "9112 5.1", MUST, "A tab between a field's name and its colon: 400.",
         (b"GET /text.txt HTTP/1.1", b"Host\t: localhost"), status(400)),
    sent("no-colon", "9112 5", SHOULD, "A line without a colon is no field.",
         field(b"X-Text"), status(400)),
    sent("no-name", "9112 5", SHOULD,
         "A line without a name is no field.", field(b": y"), status(400)),
    sent("name-not-token", "9112 5", SHOULD, "A field's name is a token.",
         field(b"X(Text): y"), status(400)),
    sent("no-space-after-colon", "9112 5", DEFINED,
         "White space after a field's colon is optional.", field(b"Range:bytes=0-1023"),
         status(206, 200)),
    sent("obs-fold", "9112 5.2", MUST,
         "A folded line is refused with 400, or unfolded with spaces.",
         (*field(b"X-Text: a"), b" b"), either(status(400), FULL)),
    sent("obs-fold-hides-nothing", "9112 5.2", MUST, "What is folded is no field of its own.",
         (*field(b"X-Text: a"), b"\tRange: bytes=0-4"), either(status(400), FULL)),
)

CONNECTION = (
    case("persistent", "9112 9.3", DEFINED, "In HTTP/1.1 a connection stays.",
         ask("/text.txt"), ask("/folder/"), ask("/text.txt"), check=every(answered(3), FULL)),
    case("persistent-after-errors", "9112 9.3", DEFINED,
         "A connection stays after a refused method, too.",
         ask("/text.txt", "Content-Length: 0", method="PUT"), ask("/text.txt"),
         check=closes_or(every(status(405, 501, at=0), FULL), after=1)),
    ended("http-1.0-ends", "9112 9.3", DEFINED,
          "In HTTP/1.0 a connection ends after the response.",
          ask("/text.txt", version="1.0"), every(FULL, ends())),
    case("http-1.0-keep-alive", "9112 9.3", MAY,
         "In HTTP/1.0 a connection stays if the client asks for keep-alive.",
         ask("/text.txt", "Connection: keep-alive", version="1.0"), ask("/folder/"),
         check=every(lists("connection", "keep-alive", at=0), answered(2), whole(PAGE))),
    case("pipelined", "9112 9.3.2", MUST,
         "Pipelined requests are answered in their order.",
         Exchange(get("/text.txt") + request("HEAD", "/text.txt") + get("/folder/"),
                  ("GET", "HEAD", "GET")),
         check=every(answered(3), whole(TEXT, at=0), status(200, at=1), whole(PAGE))),
    case("pipelined-many", "9112 9.3.2", MUST,
         "Forty pipelined requests are answered in their order.",
         Exchange((get("/text.txt") + get("/folder/")) * 20, ("GET",) * 40),
         check=every(answered(40),
                     *(whole(PAGE if place % 2 else TEXT, at=place) for place in range(40)))),
    ended("close", "9112 9.6", MUST, "After Connection: close the server closes.",
          ask("/text.txt", "Connection: close"), every(FULL, ends())),
    ended("close-said", "9112 9.6", SHOULD,
          "After Connection: close the server says so in its last response.",
          ask("/text.txt", "Connection: close"),
          every(FULL, lists("connection", "close"), ends())),
    ended("close-case", "9112 9.6", MUST, "The connection option close has no case.",
          ask("/text.txt", "Connection: CLOSE"), every(FULL, ends())),
    ended("close-in-list", "9112 9.6", MUST, "The connection option close may be one of several.",
          ask("/text.txt", "Connection: x-option, close"), every(FULL, ends())),
    ended("close-outweighs", "9112 9.3", DEFINED, "Connection: close outweighs keep-alive.",
          ask("/text.txt", "Connection: keep-alive, close"), every(FULL, ends())),
    ended("nothing-after-close", "9112 9.6", MUST_NOT,
          "What follows a request with Connection: close is not processed.",
          Exchange(get("/text.txt", "Connection: close") + get("/folder/"), ("GET", "GET")),
          every(answered(1), whole(TEXT, at=0), ends())),
    ended("refusal-says-close", "9112 9.6", SHOULD,
          "A server that closes after an error says close in it.",
          raw(b"GET /text.txt HTTP/1.1", b"X-Text : y", b""),
          either(every(status(400), lists("connection", "close"), ends()),
                 lambda seen: "closes unsaid" if seen.ended else None)),
    ended("incomplete-head", "9112 8", DEFINED,
          "A request whose head is cut off is not processed.",
          Exchange(get("/text.txt")[:-2], half_close=True),
          lambda seen: str(seen[0].status) if seen.answers and seen[0].status < 400 else None),
    case("no-splitting", "9112 11.1", DEFINED,
         "CR and LF in a target, percent-encoded, do not get into the fields of a response.",
         ask("/%0d%0aX-Made:%20y"), check=lacks("x-made")),
    case("no-splitting-by-redirect", "9112 11.1", DEFINED,
         "CR and LF in a query, percent-encoded, do not get there by a redirect.",
         ask("/folder?%0d%0aX-Made:%20y"), check=lacks("x-made")),
)
# fmt: on

CASES: tuple[Case, ...] = (*GRAMMAR, *CONNECTION)
