"""Octets whose framing servers have disagreed about: one or more requests as on one connection.

Behind each comes NEXT, so that it shows where a reader takes the next request to begin.
"""

from __future__ import annotations

from typing import NamedTuple

NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


class Messages(NamedTuple):
    """What is sent under a name. `explanations` tells why readers differ on it."""

    name: str
    octets: bytes

    @property
    def sent(self) -> bytes:
        """All that is sent."""
        return self.octets + NEXT


def post(*lines: bytes, content: bytes = b"hello", method: bytes = b"POST") -> bytes:
    return b"\r\n".join([method + b" / HTTP/1.1", b"Host: a", *lines, b"", content])


def chunked(content: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", content=content)


def coded(*lines: bytes) -> bytes:
    """A message in chunks, if these lines say so."""
    return post(*lines, content=b"5\r\nhello\r\n0\r\n\r\n")


def get(*lines: bytes, line: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join([line, *lines, b"", b""])


HOST = b"Host: a"
TE = b"Transfer-Encoding: chunked"
FIVE = b"Content-Length: 5"

LENGTHS = (
    Messages("a length", post(FIVE)),
    Messages("a length of 0", post(b"Content-Length: 0", content=b"")),
    Messages("no length", post(content=b"")),
    Messages("content without a length", post()),
    Messages("zeros before the length", post(b"Content-Length: 0005")),
    Messages("white space around the length", post(b"Content-Length: \t5 \t")),
    Messages("the same length twice", post(FIVE, FIVE)),
    Messages("two lengths", post(FIVE, b"Content-Length: 6")),
    Messages("the same length in one list", post(b"Content-Length: 5, 5")),
    Messages("two lengths in one list", post(b"Content-Length: 5, 6")),
    Messages("a length with a plus", post(b"Content-Length: +5")),
    Messages("a negative length", post(b"Content-Length: -5")),
    Messages("a length in hexadecimal", post(b"Content-Length: 0x5")),
    Messages("a length with a fraction", post(b"Content-Length: 5.0")),
    Messages("a length with letters", post(b"Content-Length: 5a")),
    Messages("two lengths by a space", post(b"Content-Length: 5 5")),
    Messages("an empty length", post(b"Content-Length:")),
    Messages("a length with NUL", post(b"Content-Length: 5\0")),
    Messages("a length with vertical tab", post(b"Content-Length: \x0b5")),
    Messages("a length beyond 64 bits", post(b"Content-Length: 18446744073709551621")),
    Messages("a length with white space before the colon", post(b"Content-Length : 5")),
    Messages("a length under an underscore", post(b"Content_Length: 5", content=b"")),
    Messages("a length in other letters", post(b"cOnTeNt-LeNgTh: 5")),
    Messages("a length with an underline in digits", post(b"Content-Length: 1_0")),
)

CODINGS = (
    Messages("chunked", coded(TE)),
    Messages("chunked in capitals", coded(b"Transfer-Encoding: CHUNKED")),
    Messages("chunked, then a length", coded(TE, FIVE)),
    Messages("a length, then chunked", coded(FIVE, TE)),
    Messages("chunked in HTTP/1.0", coded(TE).replace(b"/1.1", b"/1.0")),
    Messages("chunked twice", coded(TE, TE)),
    Messages("chunked twice in one list", coded(b"Transfer-Encoding: chunked, chunked")),
    Messages("gzip, chunked", coded(b"Transfer-Encoding: gzip, chunked")),
    Messages("chunked, gzip", coded(b"Transfer-Encoding: chunked, gzip")),
    Messages("identity", post(b"Transfer-Encoding: identity", FIVE)),
    Messages("identity, then chunked", coded(b"Transfer-Encoding: identity", TE)),
    Messages("chunked, then identity", coded(TE, b"Transfer-Encoding: identity")),
    Messages("an unknown coding", coded(b"Transfer-Encoding: xchunked")),
    Messages("chunked with a parameter", coded(b"Transfer-Encoding: chunked;a=b")),
    Messages("chunked in quotes", coded(b'Transfer-Encoding: "chunked"')),
    Messages("chunked behind a comma", coded(b"Transfer-Encoding: ,chunked")),
    Messages("chunked before a comma", coded(b"Transfer-Encoding: chunked,")),
    Messages("an empty coding", post(b"Transfer-Encoding:", FIVE)),
    Messages("chunked behind vertical tab", coded(b"Transfer-Encoding: \x0bchunked")),
    Messages("chunked before a tab", coded(b"Transfer-Encoding: chunked\t")),
    Messages("chunked before NUL", coded(b"Transfer-Encoding: chunked\0")),
    Messages("white space before the colon", post(b"Transfer-Encoding : chunked", FIVE)),
    Messages("an underscore in the name", post(b"Transfer_Encoding: chunked", FIVE)),
    Messages("a space before the name", post(b" Transfer-Encoding: chunked", FIVE)),
    Messages("a coding that is folded", coded(b"Transfer-Encoding:\r\n chunked")),
    Messages("a coding behind a bare LF", post(b"X: y\nTransfer-Encoding: chunked", FIVE)),
    Messages("a coding behind a bare CR", post(b"X: y\rTransfer-Encoding: chunked", FIVE)),
    Messages("a name that ends with NUL", post(b"Transfer-Encoding\0: chunked", FIVE)),
)

CHUNKS = (
    Messages("several chunks", chunked(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")),
    Messages("no chunk", chunked(b"0\r\n\r\n")),
    Messages("zeros before a size", chunked(b"0005\r\nhello\r\n000\r\n\r\n")),
    Messages("an extension", chunked(b"5;a=b\r\nhello\r\n0;c\r\n\r\n")),
    Messages("a quoted extension", chunked(b'5;a="b;\\"c"\r\nhello\r\n0\r\n\r\n')),
    Messages("white space before an extension", chunked(b"5 ;a\r\nhello\r\n0\r\n\r\n")),
    Messages("an extension without a name", chunked(b"5;\r\nhello\r\n0\r\n\r\n")),
    Messages("an extension with a bare LF", chunked(b"5;a\nhello\r\n0\r\n\r\n")),
    Messages("an extension with a bare CR", chunked(b"5;a\rb\r\nhello\r\n0\r\n\r\n")),
    Messages("an extension with NUL", chunked(b"5;a\0\r\nhello\r\n0\r\n\r\n")),
    Messages("an extension with a quoted CR LF", chunked(b'5;a="\r\nhello\r\n0\r\n\r\n"')),
    Messages("an extension of 16 KiB", chunked(b"5;" + b"a" * 16384 + b"\r\nhello\r\n0\r\n\r\n")),
    Messages("white space behind a size", chunked(b"5 \r\nhello\r\n0\r\n\r\n")),
    Messages("white space before a size", chunked(b" 5\r\nhello\r\n0\r\n\r\n")),
    Messages("a size with 0x", chunked(b"0x5\r\nhello\r\n0\r\n\r\n")),
    Messages("a size with a sign", chunked(b"+5\r\nhello\r\n0\r\n\r\n")),
    Messages("a negative size", chunked(b"-5\r\nhello\r\n0\r\n\r\n")),
    Messages("a size beyond 64 bits", chunked(b"10000000000000005\r\nhello\r\n0\r\n\r\n")),
    Messages("an empty size", chunked(b"\r\nhello\r\n0\r\n\r\n")),
    Messages("a size before a bare LF", chunked(b"5\nhello\r\n0\r\n\r\n")),
    Messages("a size before a bare CR", chunked(b"5\rhello\r\n0\r\n\r\n")),
    Messages("data before a bare LF", chunked(b"5\r\nhello\n0\r\n\r\n")),
    Messages("data longer than its size", chunked(b"5\r\nhelloXX0\r\n\r\n")),
    Messages("data shorter than its size", chunked(b"7\r\nhello\r\n0\r\n\r\n")),
    Messages("data without its end", chunked(b"5\r\nhello0\r\n\r\n")),
    Messages("the end by bare LFs", chunked(b"5\r\nhello\r\n0\n\n")),
    Messages("a trailer field", chunked(b"5\r\nhello\r\n0\r\nX: y\r\n\r\n")),
    Messages(
        "a trailer field that frames", chunked(b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n")
    ),
    Messages("a trailer field that is none", chunked(b"5\r\nhello\r\n0\r\nX\r\n\r\n")),
    Messages("a trailer field before a bare LF", chunked(b"5\r\nhello\r\n0\r\nX: y\n\r\n")),
    Messages("a trailer field that is folded", chunked(b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n")),
    Messages("no end of the trailers", chunked(b"5\r\nhello\r\n0\r\n")),
)

LINES = (
    Messages("lines by bare LFs", get(HOST, b"X: y").replace(b"\r\n", b"\n")),
    Messages("one field before a bare LF", get(HOST + b"\nX: y")),
    Messages("the request line before a bare LF", b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    Messages("an empty line by a bare LF", b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
    Messages("a bare CR in a value", get(HOST, b"X: y\rz")),
    Messages("a CR before CR LF", get(HOST, b"X: y\r")),
    Messages("a folded value", get(HOST, b"X: y", b" z")),
    Messages("the first field folded", get(b" X: y", HOST)),
    Messages("a fold of white space alone", get(HOST, b" ", b"X: y")),
    Messages("NUL in a value", get(HOST, b"X: y\0z")),
    Messages("NUL in a name", get(HOST, b"X\0: y")),
    Messages("a control character in a value", get(HOST, b"X: y\x01z")),
    Messages("DEL in a value", get(HOST, b"X: y\x7fz")),
    Messages("octets beyond ASCII in a value", get(HOST, b"X: \xc3\xa9\xff")),
    Messages("octets beyond ASCII in a name", get(HOST, b"X\xe9: y")),
    Messages("white space before a colon", get(HOST, b"X : y")),
    Messages("a name in brackets", get(HOST, b"(X): y")),
    Messages("an empty name", get(HOST, b": y")),
    Messages("no colon", get(HOST, b"X y")),
    Messages("an empty line before", b"\r\n" + get(HOST)),
    Messages("two empty lines before", b"\r\n\r\n" + get(HOST)),
    Messages("a bare LF before", b"\n" + get(HOST)),
    Messages("a space before", b" " + get(HOST)),
)

REQUEST_LINES = (
    Messages("two spaces", get(HOST, line=b"GET  / HTTP/1.1")),
    Messages("a tab for a space", get(HOST, line=b"GET\t/ HTTP/1.1")),
    Messages("a space behind", get(HOST, line=b"GET / HTTP/1.1 ")),
    Messages("a space in the target", get(HOST, line=b"GET /a b HTTP/1.1")),
    Messages("NUL in the target", get(HOST, line=b"GET /\0 HTTP/1.1")),
    Messages("octets beyond ASCII in the target", get(HOST, line=b"GET /\xc3\xa9 HTTP/1.1")),
    Messages("a fragment in the target", get(HOST, line=b"GET /a#b HTTP/1.1")),
    Messages("a target without a slash", get(HOST, line=b"GET a HTTP/1.1")),
    Messages("a target of a proxy", get(HOST, line=b"GET http://b/ HTTP/1.1")),
    Messages("a target with a user", get(HOST, line=b"GET http://u@b/ HTTP/1.1")),
    Messages("the asterisk", get(HOST, line=b"OPTIONS * HTTP/1.1")),
    Messages("the asterisk with GET", get(HOST, line=b"GET * HTTP/1.1")),
    Messages("HTTP/1.2", get(HOST, line=b"GET / HTTP/1.2")),
    Messages("HTTP/2.0", get(HOST, line=b"GET / HTTP/2.0")),
    Messages("HTTP/0.9", b"GET /\r\n"),
    Messages("HTTP in small letters", get(HOST, line=b"GET / http/1.1")),
    Messages("a version with zeros", get(HOST, line=b"GET / HTTP/01.1")),
    Messages("another protocol", get(HOST, line=b"GET / RTSP/1.0")),
    Messages("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"),
    Messages("a method in small letters", get(HOST, line=b"get / HTTP/1.1")),
    Messages("a method that nobody knows", get(HOST, line=b"BREW / HTTP/1.1")),
    Messages("a method with a colon", get(HOST, line=b"G:T / HTTP/1.1")),
)

HOSTS = (
    Messages("no Host", get()),
    Messages("no Host in HTTP/1.0", get(b"Connection: keep-alive", line=b"GET / HTTP/1.0")),
    Messages("Host twice", get(HOST, HOST)),
    Messages("two Hosts", get(HOST, b"Host: b")),
    Messages("an empty Host", get(b"Host:")),
    Messages("Host with a space", get(b"Host: a b")),
    Messages("Host with a path", get(b"Host: a/b")),
    Messages("Host with a user", get(b"Host: u@a")),
    Messages("Host with a port that is none", get(b"Host: a:b")),
)

CONNECTIONS = (
    Messages("close", get(HOST, b"Connection: close")),
    Messages("close in capitals, in a list", get(HOST, b"Connection: x, CLOSE")),
    Messages("close and keep-alive", get(HOST, b"Connection: keep-alive, close")),
    Messages("HTTP/1.0", get(HOST, line=b"GET / HTTP/1.0")),
    Messages(
        "HTTP/1.0 that asks to keep alive",
        get(HOST, b"Connection: keep-alive", line=b"GET / HTTP/1.0"),
    ),
    Messages("Connection that is no list", get(HOST, b"Connection: close;x")),
    Messages("Connection names Content-Length", post(b"Connection: content-length", FIVE)),
    Messages("Connection names Transfer-Encoding", coded(b"Connection: transfer-encoding", TE)),
    Messages("upgrade", get(HOST, b"Connection: upgrade", b"Upgrade: websocket")),
    Messages("upgrade with content", post(b"Connection: upgrade", b"Upgrade: websocket", FIVE)),
    Messages(
        "upgrade to h2c",
        get(
            HOST,
            b"Connection: Upgrade, HTTP2-Settings",
            b"Upgrade: h2c",
            b"HTTP2-Settings: AAMAAABk",
        ),
    ),
    Messages("upgrade in chunks", coded(b"Connection: upgrade", b"Upgrade: x", TE)),
    Messages("CONNECT", get(b"Host: b:443", line=b"CONNECT b:443 HTTP/1.1")),
    Messages("CONNECT with content", post(FIVE).replace(b"POST /", b"CONNECT b:443")),
)

METHODS = (
    *(
        Messages(f"{method.decode()} with content", post(FIVE, method=method))
        for method in (b"GET", b"HEAD", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"MKCOL")
    ),
    *(
        Messages(f"{method.decode()} in chunks", coded(TE).replace(b"POST", method, 1))
        for method in (b"GET", b"HEAD", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE")
    ),
    Messages("Expect, content at once", post(b"Expect: 100-continue", FIVE, method=b"PUT")),
    Messages("Expect in capitals", post(b"Expect: 100-CONTINUE", FIVE, method=b"PUT")),
    Messages("Expect without content", get(HOST, b"Expect: 100-continue")),
    Messages(
        "Expect in HTTP/1.0",
        post(b"Expect: 100-continue", b"Connection: keep-alive", FIVE, method=b"PUT").replace(
            b"/1.1", b"/1.0"
        ),
    ),
    Messages("Expect of something else", post(b"Expect: 200-ok", FIVE, method=b"PUT")),
    Messages("Content-Range", post(b"Content-Range: bytes 0-4/9", FIVE, method=b"PUT")),
    Messages(
        "Content-Range that contradicts", post(b"Content-Range: bytes 0-8/9", FIVE, method=b"PUT")
    ),
    Messages("Content-Encoding", post(b"Content-Encoding: gzip", FIVE, method=b"PUT")),
    Messages("Content-Type twice", post(b"Content-Type: a/b", b"Content-Type: c/d", FIVE)),
    Messages(
        "multipart/byteranges", post(b"Content-Type: multipart/byteranges; boundary=x", content=b"")
    ),
    Messages("the method overridden", post(b"X-HTTP-Method-Override: GET", FIVE)),
)

MESSAGES = (
    *LENGTHS, *CODINGS, *CHUNKS, *LINES, *REQUEST_LINES, *HOSTS, *CONNECTIONS, *METHODS
)  # fmt: skip
