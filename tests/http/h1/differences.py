"""Where h11 and httptools differ from Portico, and why: every class of it, with an example.

A difference is one of

- "accepts": the peer accepts what Portico refuses,
- "refuses": the peer refuses what Portico accepts,
- "fields", "content", "keep_alive": both accept, but read this differently.

A head belongs to a class if its pattern is found in it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from portico.http.h1.grammar import HOST
from portico.http.h1.head import FIELDS_LIMIT, HEAD_LIMIT, TARGET_LIMIT
from tests.http.h1.cases import having, hosts, sized, start, target


class Difference(NamedTuple):
    """`reason` begins with the section that it rests on."""

    name: str
    reason: str
    peers: dict[str, str]
    pattern: re.Pattern[bytes]
    example: bytes


def difference(
    name: str, reason: str, peers: dict[str, str], pattern: bytes, example: bytes
) -> Difference:
    return Difference(name, reason, peers, re.compile(pattern, re.IGNORECASE), example)


H11 = {"h11": "accepts"}
HTTPTOOLS = {"httptools": "accepts"}
BOTH = {"h11": "accepts", "httptools": "accepts"}

LAX = (
    difference(
        "a bare LF ends a line",
        "RFC 9112, 2.2: A recipient MAY take it for a line end; who does not sees other lines.",
        H11,
        rb"(?<!\r)\n",
        having(b"X: y\nTransfer-Encoding: chunked"),
    ),
    difference(
        "line ends of other kinds, or more than one, before the request line",
        "RFC 9112, 2.2: SHOULD ignore at least one CRLF; that is all we ignore.",
        HTTPTOOLS,
        rb"\A(\n|\r\n\r\n|\r[^\n]|\r\n\n)",
        b"\n" + target(b"/"),
    ),
    difference(
        "obs-fold",
        "RFC 9112, 5.2: MUST reject it or replace it by spaces; h11 replaces.",
        H11,
        rb"\n[ \t]",
        having(b"X: y", b" Content-Length: 5"),
    ),
    difference(
        "a control character in a field value",
        "RFC 9110, 5.5: CTLs other than HTAB are invalid, their handling is open.",
        H11,
        rb"\n[!-9;-~]+:[^\r\n]*[\x01-\x08\x0e-\x1f\x7f]",
        having(b"X: a\x1bb"),
    ),
    difference(
        "Content-Length more than once, all the same",
        "RFC 9112, 6.3: MUST reject, or MAY replace a list of identical values by one.",
        H11,
        rb"\ncontent-length:[^\r\n]*(,|\r\n([^\r\n]+\r\n)*content-length:)",
        having(b"Content-Length: 5", b"Content-Length: 5"),
    ),
    difference(
        "Content-Length of 19 digits or more",
        "RFC 9110, 8.6: No file is that large; nothing here may overflow.",
        BOTH,
        rb"\ncontent-length:[ \t]*[0-9]{19}",
        having(b"Content-Length: 9999999999999999999"),
    ),
    difference(
        "Transfer-Encoding beside Content-Length",
        "RFC 9112, 6.1: A server MAY reject it; it is how requests are smuggled.",
        H11,
        rb"\A(?=[\s\S]*\ncontent-length:)[\s\S]*\ntransfer-encoding:",
        having(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    ),
    difference(
        "Transfer-Encoding in HTTP/1.0",
        "RFC 9112, 6.1: MUST treat the framing as faulty.",
        BOTH,
        rb"\A(\r\n)?[^\r\n]* HTTP/1\.0\r\n[\s\S]*transfer-encoding:",
        having(b"Transfer-Encoding: chunked", version=b"1.0"),
    ),
    difference(
        "a transfer coding that is not implemented before chunked",
        "RFC 9112, 6.1: SHOULD answer 501; httptools leaves that to its caller.",
        HTTPTOOLS,
        rb"\ntransfer-encoding:[^\r\n]*(,[ \t]*chunked|\r\n([^\r\n]+\r\n)*transfer-encoding:)",
        having(b"Transfer-Encoding: gzip, chunked"),
    ),
    difference(
        "a major version other than 1",
        "RFC 9110, 15.6.6: We speak no other: 505. h11 takes any, httptools 0.9 and 2.0.",
        BOTH,
        rb"\A(\r\n)?[^\r\n]* HTTP/[02-9]\.[0-9]\r\n",
        start(b"GET / HTTP/2.0"),
    ),
    difference(
        "another protocol, or the request line of HTTP/0.9",
        "RFC 9112, 3: method SP request-target SP HTTP-version, nothing else.",
        HTTPTOOLS,
        rb"\A(\r\n)?[^\r\n]* (RTSP|ICE)/[0-9.]+\r\n|\A(\r\n)?\S+ +\S+ *\r?\n",
        start(b"GET /"),
    ),
    difference(
        "more than one space",
        "RFC 9112, 3: MAY parse on white space, which has served attackers; one SP it is.",
        HTTPTOOLS,
        rb"\A(\r\n)?[^\r\n]*  ",
        start(b"GET  / HTTP/1.1"),
    ),
    difference(
        "a request target in none of the four forms",
        "RFC 9112, 3.2: SHOULD answer 400. h11 leaves targets to its caller.",
        H11,
        rb"\A(\r\n)?\S+ (?!/|https?://|\* )",
        target(b"a.example/"),
    ),
    difference(
        "a fragment in the request target",
        "RFC 9112, 3.2: It belongs to none of the four forms.",
        BOTH,
        rb"\A(\r\n)?\S+ +\S*#",
        target(b"/a#b"),
    ),
    difference(
        "asterisk-form for another method than OPTIONS",
        "RFC 9112, 3.2.4: It is only used for a server-wide OPTIONS.",
        BOTH,
        rb"\A(\r\n)?(?!OPTIONS \* )\S+ +\*",
        target(b"*"),
    ),
    difference(
        "absolute-form of a scheme that is not served",
        "RFC 9110, 4.2: An origin server of http resources has none of those.",
        BOTH,
        rb"\A(\r\n)?\S+ +(?!https?:)[a-z]+:",
        target(b"ftp://b/"),
    ),
    difference(
        "absolute-form without a valid host",
        "RFC 9110, 4.2: MUST reject an empty host; userinfo SHOULD be taken for an error.",
        BOTH,
        rb"\A(\r\n)?\S+ +https?:(?!//[a-z0-9.]+(:[0-9]{0,5})?[/? ])",
        target(b"http://u@b/"),
    ),
    difference(
        "no Host",
        "RFC 9112, 3.2: MUST answer 400; httptools leaves that to its caller.",
        HTTPTOOLS,
        rb"\A(?![\s\S]*\nhost:)",
        hosts(),
    ),
    difference(
        "no Host in a minor version later than 1",
        "RFC 9110, 2.5: It is to be read as the highest known, 1.1. h11 asks only 1.1 for Host.",
        H11,
        rb"\A(?![\s\S]*\nhost:)(\r\n)?[^\r\n]* HTTP/1\.[2-9]\r\n",
        hosts(version=b"1.2"),
    ),
    difference(
        "Host more than once",
        "RFC 9112, 3.2: MUST answer 400; httptools leaves that to its caller.",
        HTTPTOOLS,
        rb"\nhost:[\s\S]*\nhost:",
        hosts(b"Host: a", b"Host: a"),
    ),
    difference(
        "Host that names no host",
        "RFC 9112, 3.2: MUST answer 400 to an invalid value; both leave that to their callers.",
        BOTH,
        rb"\nhost:[ \t]*+(?!" + HOST.pattern.encode() + rb"[ \t]*\r)",
        hosts(b"Host: a b"),
    ),
    difference(
        "Host in brackets that is no IPv6 address",
        "RFC 3986, 3.2.2: IP-literal; both leave that to their callers.",
        BOTH,
        rb"\nhost:[ \t]*\[",
        hosts(b"Host: [1]"),
    ),
    difference(
        "Connection that is no list of tokens",
        "RFC 9110, 7.6.1: Whether the connection persists would be a guess.",
        BOTH,
        rb"\nconnection:[^\r\n]*([^-!#$%&'*+.^_`|~0-9a-z, \t\r]|[^, \t\r][ \t]+[^, \t\r])",
        having(b"Connection: close;x"),
    ),
    difference(
        "an expectation other than 100-continue",
        "RFC 9110, 10.1.1: MAY answer 417; both leave that to their callers.",
        BOTH,
        rb"\nexpect:(?![ \t]*100-continue[ \t]*\r)|\nexpect:[\s\S]*\nexpect:",
        having(b"Expect: x"),
    ),
    difference(
        "too many fields",
        "RFC 9110, 5.4: A server refuses what is larger than it wishes to process.",
        BOTH,
        rb"\A[^\n]*\n([^\n]*\n){%d}" % (FIELDS_LIMIT + 2),
        having(*([b"X: y"] * FIELDS_LIMIT)),
    ),
    difference(
        "a head too large",
        "RFC 9110, 5.4: A server refuses what is larger than it wishes to process.",
        BOTH,
        rb"\A[\s\S]{%d}" % (HEAD_LIMIT + 1),
        sized(HEAD_LIMIT + 1),
    ),
    difference(
        "a target too long",
        "RFC 9112, 3: 414 to one that is longer than the server wishes to parse.",
        BOTH,
        rb"\A(\r\n)?\S+ +\S{%d}" % (TARGET_LIMIT + 1),
        target(b"/" + b"t" * TARGET_LIMIT),
    ),
)

STRICT = (
    difference(
        "octets beyond ASCII in the request target",
        "RFC 3986, 2.5: They belong percent-encoded, but some clients do not; nobody reads them "
        "otherwise.",
        {"h11": "refuses", "httptools": "refuses"},
        rb"\A(\r\n)?[^\r\n]*[\x80-\xff]",
        target(b"/\xe9"),
    ),
    difference(
        "an empty line before the request line",
        "RFC 9112, 2.2: SHOULD ignore at least one; h11 ignores none.",
        {"h11": "refuses"},
        rb"\A\r\n",
        b"\r\n" + target(b"/"),
    ),
    difference(
        "a minor version later than 1",
        "RFC 9110, 2.5: To be read as the highest minor version that is known.",
        {"httptools": "refuses"},
        rb"\A(\r\n)?[^\r\n]* HTTP/1\.[2-9]\r\n",
        start(b"GET / HTTP/1.2"),
    ),
    difference(
        "a method that is not in the list of httptools",
        "RFC 9110, 9.1: Any token is one; whether it is implemented is asked later (501, 405).",
        {"httptools": "refuses"},
        rb"\A(\r\n)?(?!(?-i:GET|HEAD|POST|PUT|DELETE|OPTIONS|CONNECT|TRACE|PATCH) )",
        start(b"NONE / HTTP/1.1"),
    ),
    difference(
        "a tab behind a transfer coding",
        "RFC 9112, 5.1: OWS is tabs, too; httptools then does not recognise the coding.",
        {"httptools": "refuses"},
        rb"\ntransfer-encoding:[^\r\n]*\t *\r\n",
        having(b"Transfer-Encoding: chunked\t"),
    ),
)

READ = (
    difference(
        "white space behind a value",
        "RFC 9112, 5.1: MUST be excluded from the value; httptools leaves it there.",
        {"httptools": "fields"},
        rb"[ \t]\r\n",
        having(b"X: y "),
    ),
    difference(
        "a transfer coding in capitals",
        "RFC 9112, 7: Its case means nothing; h11 hands it on in lower case.",
        {"h11": "fields"},
        rb"\ntransfer-encoding:[ \t]*chunked",
        having(b"Transfer-Encoding: Chunked"),
    ),
    difference(
        "HTTP/1.0 that asks for persistence",
        "RFC 9112, 9.3: It persists with keep-alive; h11 never lets it.",
        {"h11": "keep_alive"},
        rb"\A(\r\n)?[^\r\n]* HTTP/1\.0\r\n[\s\S]*keep-alive",
        having(b"Connection: keep-alive", version=b"1.0"),
    ),
    difference(
        "HTTP/1.0 with both close and keep-alive",
        "RFC 9112, 9.3: close outweighs everything; httptools lets keep-alive win.",
        {"httptools": "keep_alive"},
        rb"\A(\r\n)?[^\r\n]* HTTP/1\.0\r\n(?=[\s\S]*keep-alive)[\s\S]*close",
        having(b"Connection: keep-alive, close", version=b"1.0"),
    ),
    difference(
        "content of CONNECT",
        "RFC 9110, 9.3.6: It has no meaning, but it is framed; httptools sees a tunnel at once.",
        {"httptools": "content"},
        rb"\A(\r\n)?CONNECT ",
        start(b"CONNECT b:443 HTTP/1.1", b"Host: b\r\nContent-Length: 5"),
    ),
)

DIFFERENCES = (*LAX, *STRICT, *READ)
