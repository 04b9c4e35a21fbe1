"""Contents as they come over the wire behind a head, each with what must be read from it.

`content` is what comes out, or None where the coding is broken (status 400). `complete` tells
whether the content ends within the octets given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from portico.http.h1.content import CHUNK_LINE_LIMIT
from portico.http.h1.head import FIELDS_LIMIT, HEAD_LIMIT
from portico.http.message import CHUNKED

if TYPE_CHECKING:
    from collections.abc import Iterable


class ContentCase(NamedTuple):
    name: str
    section: str
    length: int
    sent: bytes
    content: bytes | None
    complete: bool = True


def chunks(name: str, sent: bytes, content: bytes, section: str = "RFC 9112, 7.1") -> ContentCase:
    return ContentCase(name, section, CHUNKED, sent, content)


def broken(name: str, section: str, contents: Iterable[bytes]) -> tuple[ContentCase, ...]:
    return tuple(
        ContentCase(f"{name}: {sent[:60]!r}", section, CHUNKED, sent, None) for sent in contents
    )


def line(first: bytes) -> bytes:
    """A chunk of five octets that begins with this line, and the end."""
    return first + b"\r\nhello\r\n0\r\n\r\n"


def trailer(*lines: bytes) -> bytes:
    return b"\r\n".join([b"5", b"hello", b"0", *lines, b"", b""])


COUNTED = (
    ContentCase("no octet", "RFC 9112, 6.3", 0, b"", b""),
    ContentCase("one octet", "RFC 9112, 6.3", 1, b"x", b"x"),
    *(
        ContentCase("what looks like another message", "RFC 9112, 6.3", len(sent), sent, sent)
        for sent in (b"5\r\nhello\r\n", b"GET / HTTP/1.1\r\n\r\n")
    ),
)

CODED = (
    chunks("no chunk", b"0\r\n\r\n", b""),
    chunks("one chunk", b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    chunks("several", b"5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n", b"hello world"),
    chunks(
        "sizes in both cases",
        b"a\r\n0123456789\r\nB\r\n0123456789A\r\n0\r\n\r\n",
        b"0123456789" * 2 + b"A",
    ),
    chunks("a chunk of CR and LF", b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
    chunks("a chunk that looks like the end", b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
    chunks("zeros before the size", line(b"0" * 14 + b"5"), b"hello"),
    chunks("zeros as the last size", b"5\r\nhello\r\n00000\r\n\r\n", b"hello"),
    chunks("a large chunk", b"20000\r\n" + b"x" * 0x20000 + b"\r\n0\r\n\r\n", b"x" * 0x20000),
    *(
        chunks(f"extension {text!r}", line(b"5" + text), b"hello", "RFC 9112, 7.1.1")
        for text in (
            *(b";a", b";a=b", b";a;b=c", b" ;a", b"\t; a", b" ; a = b ; c", b';a=""'),
            *(b';a="b c;d=\\"e\\\\"', b';a="\x80\t"', b";a" * 100),
            b";" + b"a" * (CHUNK_LINE_LIMIT - 2),
        )
    ),
    chunks("extension at the end", b"5\r\nhello\r\n0;a=b\r\n\r\n", b"hello", "RFC 9112, 7.1.1"),
    *(
        chunks(f"trailer {index}", trailer(*lines), b"hello", "RFC 9112, 7.1.2")
        for index, lines in enumerate(
            (
                *((b"X: y",), (b"X:", b"Y: \x80"), (b"X: y",) * FIELDS_LIMIT),
                *((b"Content-Length: 9", b"Transfer-Encoding: x", b"Host: b"),),
                (b"X: " + b"v" * (HEAD_LIMIT - 3),),
            )
        )
    ),
)

SIZES = (
    *b"+5 -5 0x5 5_0 5h g 5,5 5.0 '5' hello \xb5 5\0 \0005".split(),
    *(b"", b" 5", b"\t5", b"5 ", b"5\t", b"5 0", b"5\x0b", b"1" + b"0" * 15),
    *(b"f" * 16, b"0" * 15 + b"5", b"f" * 64, b"0" * 300),
)
EXTENSIONS = (
    *b"; ;;a ;a; ;= ;=a ;a= :a =a ;\0 ;a=\x01 ;a\x80 ;a=b=c".split(),
    *b';a=" ;a="b ;a="b"c ;a="\\ ;a="\x7f" ;"a"'.split(),
    *(b"; ", b";a ", b";a b", b" a"),
    *(b";" + b"a" * (CHUNK_LINE_LIMIT - 1), b";a" * 5000),
)

BROKEN = (
    *broken("chunk size", "RFC 9112, 7.1", map(line, SIZES)),
    *broken("chunk extension", "RFC 9112, 7.1.1", (line(b"5" + text) for text in EXTENSIONS)),
    *broken("LF", "RFC 9112, 2.2", (b"5\nhello\r\n0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n")),
    *broken("LF", "RFC 9112, 2.2", (b"5\r\nhello\r\n0\n\r\n", b"5\r\nhello\r\n0\r\n\n")),
    *broken("LF", "RFC 9112, 2.2", (line(b"5;a\nb"), trailer(b"X: y\nZ: y"))),
    *broken("CR", "RFC 9112, 2.2", (b"5\rhello\r\n0\r\n\r\n", b"5\r\r\nhello\r\n0\r\n\r\n")),
    *broken("CR", "RFC 9112, 2.2", (b"5\r\nhello\r0\r\n\r\n", b"5\r\nhello\r\n0\r\n\rX")),
    *broken("CR", "RFC 9112, 2.2", (line(b"5;a\rb"), line(b'5;a="\r"'))),
    *broken(
        "chunk data of another length",
        "RFC 9112, 7.1",
        (
            *(b"5\r\nhello!\r\n0\r\n\r\n", b"6\r\nhello\r\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n"),
            *(b"5\r\nhello\r\nworld\r\n0\r\n\r\n", b"5\r\nhello \r\n0\r\n\r\n"),
        ),
    ),
    *broken(
        "trailer field",
        "RFC 9112, 7.1.2",
        (
            *(trailer(field) for field in (b"X", b": y", b"X : y", b"X: y\r\n z", b"X: \0")),
            trailer(b"GET / HTTP/1.1", b"Host: a"),
            trailer(*([b"X: y"] * (FIELDS_LIMIT + 1))),
            trailer(b"X: " + b"v" * (HEAD_LIMIT - 2)),
        ),
    ),
)

INCOMPLETE = (
    ContentCase("nothing", "RFC 9112, 8", 5, b"", b"", complete=False),
    ContentCase("too few octets", "RFC 9112, 8", 5, b"hell", b"hell", complete=False),
    *(
        ContentCase(repr(sent), "RFC 9112, 8", CHUNKED, sent, content, complete=False)
        for sent, content in (
            *((b"", b""), (b"5", b""), (b"5\r", b""), (b"5\r\n", b""), (b"5\r\nhell", b"hell")),
            *((b"5\r\nhello" + end, b"hello") for end in (b"", b"\r", b"\r\n")),
            *((b"0", b""), (b"0\r\n", b""), (b"0\r\n\r", b""), (b"0\r\nX: y\r\n\r", b"")),
        )
    ),
)
