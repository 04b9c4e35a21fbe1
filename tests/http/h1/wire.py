"""Octets as clients, careless and evil, might send them: strategies for heads and contents."""

from __future__ import annotations

from hypothesis import strategies as st

from portico.http.h1.content import CHUNK_LINE_LIMIT
from portico.http.h1.head import FIELDS_LIMIT, HEAD_LIMIT

TCHARS = "!#$%&'*+-.^_`|~0123456789ABCXYZabcxyz"

TOKENS = (
    *b"GET POST OPTIONS CONNECT / * /a?b http://b/ HTTP/1.1 HTTP/1.0 HTTP/2.0 HTTP/ 1.1".split(),
    *b"Host Content-Length Transfer-Encoding Connection Expect : , ; 5 0 chunked gzip".split(),
    *b'close keep-alive 100-continue + - 0x _ \0 \x80 \x7f # [::1] @ %41 " \\'.split(),
    *(b" ", b"  ", b"\t", b"\r\n", b"\r\n\r\n", b"\r", b"\n", b": ", b"\x0b", b"Host: a\r\n"),
    *(b"GET / HTTP/1.1\r\n", b"X: y\r\n", b"Host: a\r\n\r\n", b"Upgrade: x\r\n"),
)

octets = st.binary(max_size=200)
soup = st.lists(st.sampled_from(TOKENS), max_size=40).map(b"".join)

LINES = (b"X: y\r\n", b"X:\r\n", b"Host: a\r\n", b"Content-Length: 5\r\n", b"X: y\n", b"X y\r\n")


@st.composite
def large(draw: st.DrawFn) -> bytes:
    """A head near one of the limits: of its octets, of its fields, of its target."""
    begun = draw(st.sampled_from((b"GET / HTTP/1.1\r\nHost: a\r\n", b"GET /", b"\r\n", b"")))
    near = st.integers(-3, 6)
    if draw(st.booleans()):
        lines = draw(st.sampled_from(LINES)) * (FIELDS_LIMIT + draw(near))
        return begun + lines + draw(st.sampled_from((b"", b"\r\n", b"\r\n\r\n", b"\n")))
    end = draw(st.sampled_from((b"", b"\r\n\r\n", b" HTTP/1.1\r\n\r\n", b"\n\r\n\r\n", b"\r")))
    filling = HEAD_LIMIT + draw(near) - len(begun) - len(end)
    return begun + b"X:" + b"v" * (filling - 2) + end


HARMLESS = (
    *(b"User-Agent: x/1 (y; z)", b"Accept: */*", b"Accept-Encoding: gzip, br", b"X-Empty:"),
    *(b"Cookie: a=b; c=d", b'If-None-Match: "x"', b"Range: bytes=0-", b"X-Text: \xc3\xa9"),
    *(b"Referer:\thttp://c/ ", b"If-Range: \t"),
)


@st.composite
def valid_head(draw: st.DrawFn) -> bytes:
    """A head of which every part is valid, and likely to matter."""
    method = draw(st.sampled_from((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE")))
    target = draw(st.sampled_from((b"/", b"/a/b.html", b"/a?b=c", b"/%41", b"http://b.example/x")))
    version = draw(st.sampled_from((b"1.1", b"1.1", b"1.1", b"1.0")))
    lines = [b"Host: " + draw(st.sampled_from((b"a.example", b"a.example:8080", b"[::1]")))]
    lines += draw(st.lists(st.sampled_from(HARMLESS), max_size=4))
    framing = (b"Content-Length: 5", b"Content-Length: 0", b"Transfer-Encoding: chunked", None)
    if (line := draw(st.sampled_from(framing))) and (version == b"1.1" or line[:1] == b"C"):
        lines.append(line)
    if line := draw(st.sampled_from((None, b"Connection: close", b"Connection: keep-alive"))):
        lines.append(line)
    order = draw(st.permutations(lines))
    return b"\r\n".join([method + b" " + target + b" HTTP/" + version, *order, b"", b""])


@st.composite
def odd_start(draw: st.DrawFn) -> bytes:
    """A request line, of parts that are valid or nearly so."""
    space = st.sampled_from((b" ", b" ", b" ", b" ", b"  ", b"\t", b""))
    method = st.sampled_from((b"GET", b"POST", b"OPTIONS", b"CONNECT", b"get", b"G,T", b""))
    target = st.sampled_from(
        (
            *b"/ / * /a?b#c //b http://b/ HTTP://b?q http:/// b:80 http://u@b/ ftp://b ?".split(),
            *b"/\xc3 /{}| https://[::1]:1/x http://b:x".split(),
        )
    )
    version = st.sampled_from(b"HTTP/1.1 HTTP/1.1 HTTP/1.0 HTTP/1.2 HTTP/2.0 http/1.1".split())
    before = draw(st.sampled_from((b"", b"", b"", b"\r\n", b"\n", b" ")))
    return before + draw(method) + draw(space) + draw(target) + draw(space) + draw(version)


@st.composite
def odd_line(draw: st.DrawFn) -> bytes:
    """A field line that matters, of parts that are valid or nearly so."""
    name = st.sampled_from(
        (
            *b"Content-Length content-length Transfer-Encoding TRANSFER-ENCODING Host".split(),
            *(b"Connection", b"Expect", b"X", b"Content_Length", b"", b" X"),
        )
    )
    colon = st.sampled_from((b": ", b": ", b": ", b":", b" : ", b":\t", b"", b":\r\n "))
    values = st.sampled_from(
        (
            *b"5 5 0 05 +5 -5 0x5 5_0 5. 9999999999999999999 \xb2 chunked chunked CHUNKED".split(),
            *b'gzip identity chunked;x "chunked" close Keep-Alive keep-alive upgrade'.split(),
            *b"100-continue 100-Continue a.example [::1]:80 a:b u@a \0 \xa0 \x7f".split(),
            *(b"a b", b"\x0b"),
        )
    )
    comma = draw(st.sampled_from((b",", b", ", b" ", b" ,\t", b";")))
    value = comma.join(draw(st.lists(values | st.just(b""), min_size=1, max_size=3)))
    end = st.sampled_from((b"", b"", b"", b" ", b"\t", b"\r", b"\n", b"\nX: y", b"\rX: y"))
    return draw(name) + draw(colon) + value + draw(end)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid head with a few places changed: lines put in or doubled, octets put in, taken out."""
    start, *lines = draw(valid_head()).split(b"\r\n")[:-2]
    if draw(st.booleans()):
        start = draw(odd_start())
    for line in draw(st.lists(odd_line() | st.sampled_from(lines), max_size=2)):
        lines.insert(draw(st.integers(0, len(lines))), line)
    head = b"\r\n".join([start, *lines, b"", b""])
    for _ in range(draw(st.sampled_from((0, 0, 1, 2)))):
        at = draw(st.integers(0, len(head)))
        put = draw(st.sampled_from(TOKENS) | st.binary(max_size=2))
        head = head[:at] + put + head[at + draw(st.sampled_from((0, 1, 2, 5))) :]
    return head


heads = octets | soup | large() | mutated() | valid_head()
"""Anything that might come where a head is expected."""


@st.composite
def chunked(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A content, and the same in the chunked coding, with any sizes, extensions and trailers."""
    pieces = draw(st.lists(st.binary(min_size=1, max_size=40) | st.just(b"0\r\n\r\n"), max_size=8))
    extension = st.sampled_from((b"", b"", b";a", b" ; a = b", b';a="b;\\"c"', b";a;b=c"))
    coded = b""
    for piece in pieces:
        zeros = b"0" * draw(st.integers(0, 3))
        size = b"%X" if draw(st.booleans()) else b"%x"
        coded += zeros + size % len(piece) + draw(extension) + b"\r\n" + piece + b"\r\n"
    coded += b"0" * draw(st.integers(1, 4)) + draw(extension) + b"\r\n"
    for line in draw(st.lists(st.sampled_from((b"X: y", b"Y:", b"Host: z")), max_size=3)):
        coded += line + b"\r\n"
    return b"".join(pieces), coded + b"\r\n"


@st.composite
def broken_chunks(draw: st.DrawFn) -> bytes:
    """A chunked content with places changed, or something that hardly resembles one."""
    if draw(st.booleans()):
        parts = st.sampled_from(
            (b"5\r\nhello\r\n", b"1\r\nx\r\n", b"0\r\n", b"\r\n", b";a", *TOKENS)
        )
        return draw(st.lists(parts, max_size=12).map(b"".join))
    _, coded = draw(chunked())
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(coded)))
        put = draw(
            st.sampled_from((*TOKENS, b";" + b"a" * CHUNK_LINE_LIMIT)) | st.binary(max_size=2)
        )
        coded = coded[:at] + put + coded[at + draw(st.integers(0, 3)) :]
    return coded


cuts = st.lists(st.integers(0, 300) | st.integers(0, HEAD_LIMIT + 10), max_size=10)
"""Where a message falls apart on its way."""
