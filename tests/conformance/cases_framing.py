"""RFC 9112, 6, 7 and 11.2: where a request's content ends. What is ambiguous is refused."""

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
    Transcript,
    ask,
    case,
    raw,
)
from tests.conformance.checks import (
    closes_or,
    contains,
    either,
    ends,
    every,
    lacks,
    measured,
    refused,
    status,
    whole,
)
from tests.conformance.served import LAST_OF_MANY, PAGE, TEXT
from tests.server.clients import chunked, get

START = (b"GET /text.txt HTTP/1.1", b"Host: localhost")
HIDDEN = get("/folder/")
"""A request within a content: it must never be answered."""


def framed(
    name: str,
    section: str,
    level: str,
    rule: str,
    fields: tuple[bytes, ...],
    content: bytes = b"",
    check: Check | None = None,
) -> Case:
    """A request with fields that frame it wrongly: 400 and the end, if no other check is given."""
    exchange = raw(*START, *fields, b"", content=content)
    check = check or refused()
    return case(name, section, level, rule, exchange, check=check, awaits_end=True)


def length(name: str, what: str, value: bytes) -> Case:
    rule = f"A Content-Length that {what} is an error that nothing mends: 400 and close."
    return framed(
        f"content-length-{name}", "9112 6.3", MUST, rule, (b"Content-Length: " + value,), b"hello"
    )


def followed(name: str, section: str, level: str, rule: str, octets: bytes) -> Case:
    """A GET with content, and another request: that is answered, unless the server closes."""
    check = closes_or(every(whole(TEXT, at=0), whole(PAGE)), after=1)
    return case(name, section, level, rule, Exchange(octets), ask("/folder/"), check=check)


def chunks(name: str, section: str, level: str, rule: str, octets: bytes) -> Case:
    """Chunked content in a GET, and another request."""
    head = get("/text.txt", "Transfer-Encoding: chunked")
    return followed(name, section, level, rule, head + octets)


def not_twice(seen: Transcript) -> str | None:
    """At most one answer, then the end; none to what is hidden."""
    if any(answer.content == PAGE for answer in seen.answers):
        return "answers what is hidden"
    return None if seen.ended else "the connection stays"


def broken(name: str, level: str, rule: str, octets: bytes) -> Case:
    """Chunked content that is broken; what stands in it and behind it is never answered."""
    return case(
        name,
        "9112 7.1",
        level,
        rule,
        Exchange(get("/text.txt", "Transfer-Encoding: chunked") + octets, ("GET", "GET")),
        check=not_twice,
        awaits_end=True,
    )


# fmt: off
CASES: tuple[Case, ...] = (
    case("content-is-not-a-request", "9112 9.3", MUST,
         "Content is read, or the connection closed: it is never taken for the next request.",
         Exchange(get("/text.txt", f"Content-Length: {len(HIDDEN)}") + HIDDEN), ask("/missing"),
         check=closes_or(every(whole(TEXT, at=0), status(404)), after=1)),
    followed("content-in-get", "9112 6", DEFINED,
             "The presence of content is told by the framing fields, whatever the method.",
             get("/text.txt", "Content-Length: 5") + b"hello"),
    framed("both-framings", "9112 6.1", MUST,
           "After a request with both Transfer-Encoding and Content-Length the server closes.",
           (b"Content-Length: 5", b"Transfer-Encoding: chunked"), b"0\r\n\r\n" + HIDDEN,
           not_twice),
    framed("both-framings-refused", "9112 11.2", MAY,
           "A request with both Transfer-Encoding and Content-Length is refused.",
           (b"Transfer-Encoding: chunked", b"Content-Length: 5"), b"0\r\n\r\n"),
    framed("chunked-not-last", "9112 6.3", MUST,
           "If the last transfer coding is not chunked: 400 and close.",
           (b"Transfer-Encoding: chunked, gzip",), b"0\r\n\r\n", refused(400, 501)),
    framed("not-chunked", "9112 6.3", MUST,
           "If a transfer coding is not chunked at all: 400 and close.",
           (b"Transfer-Encoding: identity",), b"", refused(400, 501)),
    framed("chunked-twice", "9112 6.1", MAY,
           "A content that says it is chunked twice is refused.",
           (b"Transfer-Encoding: chunked, chunked",), b"0\r\n\r\n", refused(400, 501)),
    framed("coding-unknown", "9112 6.1", SHOULD, "An unknown transfer coding: 501.",
           (b"Transfer-Encoding: unknown, chunked",), b"0\r\n\r\n",
           status(501)),
    case("transfer-encoding-in-1.0", "9112 6.1", MUST,
         "Transfer-Encoding in HTTP/1.0 is faulty framing: the connection ends.",
         raw(b"GET /text.txt HTTP/1.0", b"Host: localhost", b"Connection: keep-alive",
             b"Transfer-Encoding: chunked", b"", content=b"0\r\n\r\n"),
         check=ends(), awaits_end=True),
    length("sign", "has a sign", b"+5"),
    length("negative", "is negative", b"-5"),
    length("hexadecimal", "is hexadecimal", b"0x5"),
    length("word", "is no number", b"five"),
    length("empty", "is empty", b""),
    length("space", "holds a space", b"5 5"),
    length("list", "is a list of different numbers", b"5, 6"),
    framed("content-length-twice", "9112 6.3", MUST,
           "Two different Content-Length fields: 400 and close.",
           (b"Content-Length: 5", b"Content-Length: 6"), b"hello!"),
    framed("content-length-same-list", "9110 8.6", MAY,
           "A Content-Length with the same number repeated is refused, or taken once.",
           (b"Content-Length: 5, 5",), b"hello", either(refused(), status(200))),
    framed("content-length-overflow", "9110 8.6", MUST,
           "A Content-Length beyond 64 bits does not overflow: it is never taken for a "
           "small one.",
           (b"Content-Length: 18446744073709551621",), b"hello" + HIDDEN,
           not_twice),
    chunks("chunked", "9112 7.1", MUST, "The chunked coding is understood.",
           chunked(b"hello", b", ", b"world")),
    chunks("chunked-case", "9112 7.1", DEFINED, "Chunk sizes are hexadecimal, in either case.",
           b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"),
    chunks("chunked-zeros", "9112 7.1", DEFINED, "Chunk sizes may have leading zeros.",
           b"0005\r\nhello\r\n000\r\n\r\n"),
    chunks("chunk-extensions", "9112 7.1.1", MUST, "Unknown chunk extensions are ignored.",
           b'5;name;name=value;name="a value"\r\nhello\r\n0;last\r\n\r\n'),
    case("chunks-sent", "9112 7.1", DEFINED,
         "Content of a length not known in advance is sent in chunks; the next response follows.",
         ask("/many/"), ask("/text.txt"),
         check=every(measured(200, at=0), contains(LAST_OF_MANY, at=0), whole(TEXT))),
    case("chunks-not-for-1.0", "9112 6.1", MUST_NOT,
         "No Transfer-Encoding is sent to HTTP/1.0: there the end of the connection ends it.",
         ask("/many/", version="1.0"),
         check=every(measured(200), lacks("transfer-encoding"), contains(LAST_OF_MANY), ends()),
         awaits_end=True),
    case("chunks-not-for-head", "9112 6.3", DEFINED,
         "A response to HEAD ends with its head, whatever its fields say.",
         ask("/many/", method="HEAD"), ask("/text.txt"),
         check=every(measured(200, at=0), whole(TEXT))),
    chunks("trailer", "9112 7.1.2", DEFINED, "A trailer section belongs to the message.",
           chunked(b"hello", trailer=b"X-Text: y\r\nX-More: z\r\n")),
    chunks("trailer-no-header", "9110 6.5.1", MUST_NOT,
           "A field in the trailer section does not act as a header field.",
           chunked(b"hello", trailer=b"Range: bytes=0-4\r\nConnection: close\r\n")),
    broken("chunk-size-word", SHOULD, "A chunk size that is none ends the connection.",
           b"five\r\nhello\r\n0\r\n\r\n" + HIDDEN),
    broken("chunk-size-sign", SHOULD, "A chunk size with a sign ends the connection.",
           b"+5\r\nhello\r\n0\r\n\r\n" + HIDDEN),
    broken("chunk-size-prefix", SHOULD, "A chunk size with a prefix ends the connection.",
           b"0x5\r\nhello\r\n0\r\n\r\n" + HIDDEN),
    broken("chunk-size-overflow", MUST,
           "A chunk size beyond 64 bits does not overflow: it ends the connection.",
           b"10000000000000005\r\nhello\r\n0\r\n\r\n" + HIDDEN),
    broken("chunk-longer", SHOULD, "A chunk that is longer than its size ends the connection.",
           b"5\r\nhello, world\r\n0\r\n\r\n" + HIDDEN),
    case("transfer-encoding-case", "9112 7", DEFINED,
         "The names of transfer codings have no case.",
         Exchange(get("/text.txt", "Transfer-Encoding: CHUNKED") + chunked(b"hello")),
         ask("/folder/"), check=closes_or(every(whole(TEXT, at=0), whole(PAGE)), after=1)),
)
# fmt: on
