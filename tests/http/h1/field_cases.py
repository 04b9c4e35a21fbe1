"""Heads whose case is a field line, their number and size, or a field of the connection."""

from __future__ import annotations

from portico.http.h1.head import FIELDS_LIMIT, HEAD_LIMIT
from tests.http.h1.cases import HeadCase, each, having, hosts, no, ok, sized

FIELDS = (
    ok("no field but Host", "RFC 9112, 5", having(), fields=(("host", "a.example"),)),
    ok(
        "names in lower case, values without white space around, in their order",
        "RFC 9112, 5.1",
        having(b"B:  2 \t", b"a:1", b"B:3"),
        fields=(("host", "a.example"), ("b", "2"), ("a", "1"), ("b", "3")),
    ),
    ok(
        "white space inside, empty values, obs-text",
        "RFC 9110, 5.5",
        having(b"X: a \t b", b"Y:", b"Z: \t ", b"O: \x80\xa0\xff", b'Q: "a:b"'),
        fields=(
            *(("host", "a.example"), ("x", "a \t b"), ("y", ""), ("z", "")),
            *(("o", "\x80\xa0\xff"), ("q", '"a:b"')),
        ),
    ),
    ok(
        "every character of a token",
        "RFC 9110, 5.6.2",
        having(b"!#$%&'*+-.^_`|~09azAZ: x"),
        fields=(("host", "a.example"), ("!#$%&'*+-.^_`|~09azaz", "x")),
    ),
    no("white space before the colon of Host", "RFC 9112, 5.1", hosts(b"Host : a")),
    *each(
        "white space before the colon",
        "RFC 9112, 5.1",
        having,
        (
            *(b"X : y", b"X\t: y", b"X  : y", b"Content-Length : 5"),
            *(b"Transfer-Encoding : chunked", b"Transfer-Encoding\x0b: chunked"),
        ),
    ),
    *each(
        "obs-fold",
        "RFC 9112, 5.2",
        lambda second: having(b"X: y", second),
        (b" z", b"\tz", b" Content-Length: 5", b" "),
    ),
    no("obs-fold of an empty value", "RFC 9112, 5.2", having(b"X:", b" y")),
    *each("field-name", "RFC 9110, 5.1", having, (b": y", b":", b"X", b"X y", b"X Y: z")),
    *each(
        "field-name",
        "RFC 9110, 5.1",
        lambda octet: having(b"X" + octet + b"Y: z"),
        (b"%c" % code for code in {*range(33), *b'"(),/;<=>?@[\\]{}', 127, 128, 255} - {*b"\r\n"}),
    ),
    *each(
        "a control character in a value",
        "RFC 9110, 5.5",
        lambda octet: having(b"X: a" + octet + b"b"),
        (b"%c" % code for code in {*range(32), 127} - {*b"\t"}),
    ),
    ok("as many fields as allowed", "RFC 6585, 5", having(*([b"X: y"] * (FIELDS_LIMIT - 1)))),
    no("too many fields, all alike", "RFC 6585, 5", having(*([b"X: y"] * FIELDS_LIMIT)), 431),
    no(
        "too many fields, all different",
        "RFC 6585, 5",
        having(*(b"X%d: y" % number for number in range(FIELDS_LIMIT))),
        431,
    ),
    no("fields for the whole head", "RFC 6585, 5", having(*([b"X:"] * 4000)), 431),
    ok("a head as large as allowed", "RFC 9110, 5.4", sized(HEAD_LIMIT)),
    no("a head too large by one", "RFC 6585, 5", sized(HEAD_LIMIT + 1), 431),
    no("a head too large by four", "RFC 6585, 5", sized(HEAD_LIMIT + 4), 431),
    no("a head far too large", "RFC 6585, 5", sized(1 << 20), 431),
    no("a head that never ends", "RFC 6585, 5", having(*([b"X: y"] * 5000))[:-2], 431),
    no("a line that never ends", "RFC 9112, 3", b"G" * (1 << 16), 414),
)


def _persistence(version: bytes, outcomes: dict[bytes, bool]) -> tuple[HeadCase, ...]:
    return tuple(
        ok(
            f"HTTP/{version.decode()} with Connection {value!r}",
            "RFC 9112, 9.3",
            having(*(b"Connection:" + line for line in value.split(b"\n")), version=version),
            keep_alive=outcome,
        )
        for value, outcome in outcomes.items()
    )


PERSISTENCE = (
    ok("HTTP/1.1 persists", "RFC 9112, 9.3", having(), keep_alive=True),
    ok("HTTP/1.0 does not", "RFC 9112, 9.3", having(version=b"1.0"), keep_alive=False),
    *_persistence(
        b"1.1",
        {
            b"close": False,
            b" Close\t": False,
            b"keep-alive": True,
            b"keep-alive, close": False,
            b"close,upgrade": False,
            b"upgrade": True,
            b"closed": True,
            b"": True,
            b" , ,": True,
            b"x\nclose": False,
            b"close\nkeep-alive": False,
            b",close,": False,
        },
    ),
    *_persistence(
        b"1.0",
        {
            b"close": False,
            b"keep-alive": True,
            b"Keep-Alive": True,
            b"keep-alive, close": False,
            b"": False,
            b"upgrade": False,
            b"x\nkeep-alive": True,
            b"close\nkeep-alive": False,
        },
    ),
    *each(
        "Connection",
        "RFC 9110, 7.6.1",
        lambda value: having(b"Connection: " + value),
        (b"a b", b"close;x", b'"close"', b"(", b"\xe9"),
    ),
)

EXPECTATIONS = (
    ok("no Expect", "RFC 9110, 10.1.1", having(), expects_continue=False),
    ok("100-continue", "RFC 9110, 10.1.1", having(b"Expect: 100-continue"), expects_continue=True),
    ok("in any case", "RFC 9110, 10.1.1", having(b"Expect: 100-Continue"), expects_continue=True),
    *(
        ok("HTTP/1.0 cannot expect", "RFC 9110, 10.1.1", head, expects_continue=False)
        for head in (
            having(b"Expect: 100-continue", version=b"1.0"),
            having(b"Expect: anything", version=b"1.0"),
        )
    ),
    *each(
        "another expectation",
        "RFC 9110, 10.1.1",
        lambda value: having(b"Expect: " + value),
        (b"200-ok", b"", b"100-continue, x", b"100-continue\r\nExpect: x"),
        417,
    ),
)

CASES = (*FIELDS, *PERSISTENCE, *EXPECTATIONS)

INCOMPLETE: dict[str, bytes] = {
    "nothing": b"",
    "one octet": b"G",
    "a request line and CR": b"GET / HTTP/1.1\r",
    "a request line and its end": b"GET / HTTP/1.1\r\n",
    "a field line": having(b"X: y")[:-4],
    "all but the last octet": having(b"X: y")[:-1],
    "one octet below the limit": sized(HEAD_LIMIT)[:-1],
}
