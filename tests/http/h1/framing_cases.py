"""Heads whose case is the length of the content: Content-Length and Transfer-Encoding."""

from __future__ import annotations

from portico.http.message import CHUNKED
from tests.http.h1.cases import each, having, no, ok

_SIZES = {b"0": 0, b"5": 5, b"0005": 5, b" \t5 ": 5, b"9" * 18: 10**18 - 1}

CASES = (
    ok("no content", "RFC 9112, 6.3", having(), content_length=0),
    *(
        ok("a length", "RFC 9110, 8.6", having(b"Content-Length:" + value), content_length=size)
        for value, size in _SIZES.items()
    ),
    *(
        ok("a name with an underscore is another", "RFC 9110, 5.1", having(line), content_length=0)
        for line in (b"Content_Length: 5", b"Transfer_Encoding: chunked")
    ),
    *each(
        "Content-Length",
        "RFC 9112, 6.3",
        lambda value: having(b"Content-Length: " + value),
        (
            *b"+5 -5 -0 0x5 5h 5_0 5.0 5e1 5,5 5,6 ,5 5, 5; five 0b1 0o5 \xb2 \xd9\xa5 5\0".split(),
            *(b"", b"5 0", b"5\t0", b"5, 5", b'"5"', b"5\x0b", b"\xef\xbc\x95", b"\xa05"),
            *(b"5\x85", b"9" * 19, b"18446744073709551621", b"9" * 5000),
        ),
    ),
    *each(
        "Content-Length more than once",
        "RFC 9112, 6.3",
        lambda second: having(b"Content-Length: 5", second),
        (
            *(b"Content-Length: 5", b"Content-Length: 6", b"X: y\r\ncontent-length: 0"),
            b"Content-Length:",
        ),
    ),
    no(
        "Content-Length twice in HTTP/1.0",
        "RFC 9112, 6.3",
        having(b"Content-Length: 5", b"Content-Length: 6", version=b"1.0"),
    ),
    *(
        ok(
            f"Transfer-Encoding {value!r}",
            "RFC 9112, 7",
            having(b"Transfer-Encoding:" + value),
            content_length=CHUNKED,
        )
        for value in (b"chunked", b" Chunked", b"\tCHUNKED \t")
    ),
    *each(
        "Transfer-Encoding",
        "RFC 9112, 6.3",
        lambda value: having(b"Transfer-Encoding: " + value),
        (
            *b"identity gzip , chunked, chunked;q=1 xchunked".split(),
            *(b"", b"chunked, ", b"chunked , ,", b"chunked, chunked", b"chunked, gzip"),
            *(b"chunked, identity", b"gzip, chunked, chunked", b'"chunked"', b"chunked x"),
            *(b"x chunked", b"chun ked", b"chunked\x0b", b"\x0bchunked", b"\xa0chunked"),
            *(b"chunked\x85", b"chunked\0", b"chunKe\xc7", b"chunked\r", b"\nchunked"),
            b"chunked\r X",
        ),
    ),
    *each(
        "Transfer-Encoding more than once",
        "RFC 9112, 6.3",
        lambda value: having(b"Transfer-Encoding: " + value),
        (
            *(b"chunked\r\nTransfer-Encoding: chunked", b"chunked\r\ntransfer-encoding: x"),
            *(b"chunked\r\nTransfer-Encoding: identity", b"chunked\r\nTransfer-Encoding:"),
        ),
    ),
    *each(
        "a transfer coding that we do not know",
        "RFC 9112, 6.1",
        lambda value: having(b"Transfer-Encoding: " + value),
        (
            *(b"gzip, chunked", b"identity, chunked", b"x,y,chunked", b", chunked"),
            *(b"gzip\r\nTransfer-Encoding: chunked", b"\r\nTransfer-Encoding: chunked"),
        ),
        501,
    ),
    *each(
        "Transfer-Encoding beside Content-Length",
        "RFC 9112, 6.3",
        having,
        (
            b"Transfer-Encoding: chunked\r\nContent-Length: 5",
            b"Content-Length: 5\r\nTransfer-Encoding: chunked",
            b"Content-Length: 0\r\nTransfer-Encoding: chunked",
            b"Content-Length: x\r\nTransfer-Encoding: x",
        ),
    ),
    *each(
        "Transfer-Encoding in HTTP/1.0",
        "RFC 9112, 6.1",
        lambda lines: having(lines, version=b"1.0"),
        (
            b"Transfer-Encoding: chunked",
            b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        ),
    ),
)
