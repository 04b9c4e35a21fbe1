"""Heads whose case is the line ends, the request line, its target, or the Host beside it."""

from __future__ import annotations

from portico.http.h1.head import HEAD_LIMIT, TARGET_LIMIT
from tests.http.h1.cases import each, having, hosts, no, ok, start, target

PARSING = (
    ok("the example of the RFC", "RFC 9112, 2.1", start(b"GET /hello.txt HTTP/1.1"), version=1),
    ok("one empty line before", "RFC 9112, 2.2", b"\r\n" + target(b"/e"), path="/e"),
    no("two empty lines before", "RFC 9112, 2.2", b"\r\n\r\n" + target(b"/e")),
    no("a bare LF before", "RFC 9112, 2.2", b"\n" + target(b"/")),
    no("LF for every CRLF", "RFC 9112, 2.2", target(b"/").replace(b"\r\n", b"\n")),
    no("LF ends the request line", "RFC 9112, 2.2", b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    no("LF ends a field line", "RFC 9112, 2.2", having(b"X: y\nTransfer-Encoding: chunked")),
    no("LF ends the last line", "RFC 9112, 2.2", b"GET / HTTP/1.1\r\nHost: a\n\r\n"),
    no("LF for the empty line", "RFC 9112, 2.2", b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
    no("CR ends a field line", "RFC 9112, 2.2", having(b"X: y\rTransfer-Encoding: chunked")),
    no("CR ends the request line", "RFC 9112, 2.2", b"GET / HTTP/1.1\rHost: a\r\n\r\n"),
    no("CR CR LF", "RFC 9112, 2.2", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"),
    no("LF CR", "RFC 9112, 2.2", having(b"X: y\n\rZ: y")),
    no("space before the first field", "RFC 9112, 2.2", hosts(b" Host: a")),
    no("tab before the first field", "RFC 9112, 2.2", hosts(b"\tHost: a")),
    no("a TLS greeting", "RFC 9112, 2.2", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n"),
    no("a response", "RFC 9112, 2.1", start(b"HTTP/1.1 200 OK")),
    ok("HTTP/1.0", "RFC 9112, 2.3", start(b"GET / HTTP/1.0"), version=0),
    ok("a later minor version", "RFC 9110, 2.5", start(b"GET / HTTP/1.9"), version=1),
    *each(
        "a major version that we do not speak",
        "RFC 9110, 15.6.6",
        start,
        (b"GET / HTTP/0.9", b"GET / HTTP/2.0", b"GET / HTTP/3.0", b"PRI * HTTP/2.0"),
        505,
    ),
    *each(
        "HTTP-version",
        "RFC 9112, 2.3",
        lambda version: start(b"GET / " + version),
        (
            *b"http/1.1 Http/1.1 HTTP/1 HTTP/1. HTTP/.1 HTTP/1.10 HTTP/01.1 HTTP/11 HTTP".split(),
            *b"HTTP/1,1 HTTP/+1.1 HTTP/-1.1 HTTP/1.x HTTPS/1.1 ICE/1.0 RTSP/1.0 1.1".split(),
            *(b"HTTP 1.1", b"HTTP/ 1.1"),
        ),
    ),
)

REQUEST_LINES = (
    ok("a method is any token", "RFC 9112, 3.1", start(b"M-SEARCH / HTTP/1.1"), method="M-SEARCH"),
    ok("a method has its case", "RFC 9110, 9.1", start(b"get / HTTP/1.1"), method="get"),
    *each(
        "the request line",
        "RFC 9112, 3",
        start,
        (
            *(b"GET /", b"GET HTTP/1.1", b"/ HTTP/1.1", b"GET  HTTP/1.1", b"GET  / HTTP/1.1"),
            *(b"GET /  HTTP/1.1", b" GET / HTTP/1.1", b"GET / HTTP/1.1 ", b"GET\t/ HTTP/1.1"),
            *(b"GET /\tHTTP/1.1", b"GET\x0b/ HTTP/1.1", b"GET / HTTP/1.1 X", b"", b"X: y"),
        ),
    ),
    *each(
        "a method that is no token",
        "RFC 9110, 5.6.2",
        lambda octet: start(b"G" + octet + b"T / HTTP/1.1"),
        b'\0 \x1b " ( / : @ [ { \x7f \x80'.split(),
    ),
)

TARGETS = (
    ok("origin-form", "RFC 9112, 3.2.1", target(b"/a/b?c=d&e"), path="/a/b", query="c=d&e"),
    ok("no query", "RFC 9112, 3.2.1", target(b"/a"), query=None),
    ok("an empty query", "RFC 9112, 3.2.1", target(b"/a?"), path="/a", query=""),
    ok("a second question mark", "RFC 3986, 3.4", target(b"/a?b?c"), path="/a", query="b?c"),
    ok("not decoded", "RFC 9112, 3.2", target(b"/%2e%2E/%zz"), path="/%2e%2E/%zz"),
    ok("two slashes", "RFC 9112, 3.2.1", target(b"//b"), path="//b"),
    ok(
        "octets that some clients leave bare",
        "RFC 9112, 3.2",
        target(b"/\x80\xc3\xa9?\xff"),
        path="/%80%C3%A9",
        query="%FF",
        target="/%80%C3%A9?%FF",
    ),
    ok("what browsers leave bare", "RFC 9112, 3.2", target(b"/?|{}^`"), query="|{}^`"),
    ok("a target as long as allowed", "RFC 9112, 3", target(b"/" + b"t" * (TARGET_LIMIT - 1))),
    no("a target too long", "RFC 9112, 3", target(b"/" + b"t" * TARGET_LIMIT), 414),
    no("a request line too long", "RFC 9112, 3", target(b"/" + b"t" * HEAD_LIMIT), 414),
    *each(
        "the request target",
        "RFC 9112, 3.2",
        target,
        (
            *b"a a/b ?a #a /a#b /a?b#c \\a .. %2f */ a.example a.example:80 *?a".split(),
            *(b"/a b", b"/\0", b"/\x01", b"/\x1f", b"/\x7f", b"/\ta", b"\xff", b"\xc3/"),
        ),
    ),
    ok(
        "absolute-form",
        "RFC 9112, 3.2.2",
        target(b"http://b:8/?q"),
        authority="b:8",
        path="/",
        query="q",
    ),
    ok("its scheme in any case", "RFC 3986, 3.1", target(b"HtTpS://b/"), authority="b", path="/"),
    ok("its path empty", "RFC 9110, 4.2.3", target(b"http://b"), path="/", query=None),
    ok("its path empty, a query", "RFC 9110, 4.2.3", target(b"http://b?q"), path="/", query="q"),
    ok("it outweighs Host", "RFC 9112, 3.2.2", target(b"http://[::1]/"), authority="[::1]"),
    ok("no Host in 1.0", "RFC 9112, 3.2.2", b"GET http://b/ HTTP/1.0\r\n\r\n", authority="b"),
    no("it needs Host", "RFC 9112, 3.2", b"GET http://b/ HTTP/1.1\r\n\r\n"),
    no("Host is valid beside it", "RFC 9112, 3.2", start(b"GET http://b/ HTTP/1.1", b"Host: a b")),
    *each(
        "absolute-form",
        "RFC 9110, 4.2",
        target,
        (
            *b"http:///p http://?q http:// http:/b/ http:b http: http://u@b/ http://b/#f".split(),
            *b"http://u:p@b/ http://a.example@b/ http://b\\c/ http://b#f ftp://b/ ws://b/".split(),
            *b"file:///etc/passwd http://b:x/ http://b:1:2/ http://[::1/ http://%/".split(),
            *(b"javascript:x", b"http://b\xfc/", b"http://[::1::]/", b"http://[1]/"),
        ),
    ),
    ok("its scheme", "RFC 9110, 7.4", target(b"HTTPS://b/\xe9"), scheme="https", path="/%E9"),
    ok("no scheme", "RFC 9112, 3.2.1", target(b"/"), scheme=""),
    ok("authority-form", "RFC 9112, 3.2.3", start(b"CONNECT b:443 HTTP/1.1"), path=""),
    ok("asterisk-form", "RFC 9112, 3.2.4", start(b"OPTIONS * HTTP/1.1"), path="*", query=None),
    no("asterisk-form is for OPTIONS", "RFC 9112, 3.2.4", target(b"*")),
)

HOSTS = (
    *(
        ok(f"Host {value!r}", "RFC 9110, 7.2", hosts(b"Host: " + value), authority=value.decode())
        for value in (
            *b"a.example A.Example:8080 localhost. 127.0.0.1:1 [::1] a_b %41 a,b ~ a:".split(),
            *b"[::ffff:192.0.2.1]:65535 xn--bcher-kva.example".split(),
        )
    ),
    ok("white space around Host", "RFC 9112, 5.1", hosts(b"Host:\t a \t"), authority="a"),
    ok("no white space before Host's value", "RFC 9112, 5", hosts(b"hOST:a"), authority="a"),
    ok("HTTP/1.0 without Host", "RFC 9112, 3.2", hosts(version=b"1.0"), authority=""),
    no("HTTP/1.1 without Host", "RFC 9112, 3.2", hosts()),
    no("HTTP/1.1 without Host, with another field", "RFC 9112, 3.2", hosts(b"X-Host: a")),
    no("HTTP/1.2 without Host", "RFC 9112, 3.2", hosts(version=b"1.2")),
    no("Host twice", "RFC 9112, 3.2", hosts(b"Host: a", b"Host: b")),
    no("Host twice the same", "RFC 9112, 3.2", hosts(b"Host: a", b"Host: a")),
    no("Host twice, apart, in two cases", "RFC 9112, 3.2", hosts(b"Host: a", b"X: y", b"HOST: a")),
    no("Host twice in HTTP/1.0", "RFC 9112, 3.2", hosts(b"Host: a", b"Host: b", version=b"1.0")),
    *each(
        "Host",
        "RFC 9112, 3.2",
        lambda value: hosts(b"Host: " + value),
        (
            *b": :80 a/ a?b a#b u@a a\\b a:b a:80:80 a:-1 a:123456 ::1 [::1 ::1] [::1]a".split(),
            *b'[] [::1%25eth0] [v1.a] http://a "a" <a> a% a%4 a%zz [a.example] {a} a|b ^'.split(),
            *(b"[1]", b"[::1::]", b"[:::]"),
            *(b"", b" ", b"a b", b"a, b", b"b\xc3\xbccher.example", b"a\xa0", b"a\tb"),
        ),
    ),
)

CASES = (*PARSING, *REQUEST_LINES, *TARGETS, *HOSTS)
