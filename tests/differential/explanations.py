"""Why readers differ: the section that decides, and whom it gives right, for each case."""

from __future__ import annotations

FRAMED_OTHERWISE = {
    "RFC 9110, 7.8: a server may ignore Upgrade, and then no 101 says that it has happened, so the "
    "request is framed as any other. llhttp leaves that to its caller, and stops.": (
        *("upgrade", "upgrade with content", "upgrade to h2c", "upgrade in chunks"),
    ),
    "RFC 9110, 9.3.6: only a 2xx begins a tunnel. Portico answers 405, and goes on behind the "
    "content that the fields announce, as h11 does. llhttp leaves that to its caller, and stops.": (
        *("CONNECT", "CONNECT with content"),
    ),
}
"""Requests that Portico accepts, though one of the others frames them in another way."""

_LF = (
    "RFC 9112, 2.2: a bare LF may be taken for a line end. Who does not do so sees other lines, so "
    "it is refused here."
)
_CHUNK = "RFC 9112, 7.1: it is no chunk by the grammar. Who mends it guesses where the next begins."
_EXTENSION = "RFC 9112, 7.1.1: an extension has a name, without controls. Known attacks hide there."
_HOST = "RFC 9112, 3.2: 400 for a Host that is missing, comes twice, or is none."
_NAME = "RFC 9110, 5.1: a field's name is a token. Who drops such a line lets others see it."

REFUSED_HERE = {
    "RFC 9112, 6.3: a repeated length may be taken once or refused. It is refused.": (
        *("the same length twice", "the same length in one list"),
    ),
    "RFC 9110, 8.6: no number may overflow; what no file can have is refused at once.": (
        *("a length beyond 64 bits", "a size beyond 64 bits"),
    ),
    "RFC 9112, 6.1: with both, a server may refuse, or let the coding count and close.": (
        *("chunked, then a length", "a length, then chunked"),
    ),
    "RFC 9112, 6.1: in HTTP/1.0 the framing is faulty.": ("chunked in HTTP/1.0",),
    "RFC 9112, 6.1: 501 for a coding that is not known; llhttp leaves those before chunked to "
    "its caller.": (*("gzip, chunked", "identity, then chunked", "chunked behind a comma"),),
    "RFC 9112, 5.2: a folded line is refused, or each fold replaced by spaces, as h11 does.": (
        *("a space before the name", "a coding that is folded"),
        *("a folded value", "a fold of white space alone"),
    ),
    _EXTENSION: (
        *("an extension without a name", "an extension with a bare CR", "an extension with NUL"),
        *("an extension with a quoted CR LF", "an extension of 16 KiB"),
    ),
    _CHUNK: ("white space behind a size", "no end of the trailers"),
    _LF: (
        *("an extension with a bare LF", "a size before a bare LF", "data before a bare LF"),
        *("the end by bare LFs", "a trailer field before a bare LF", "lines by bare LFs"),
        *("one field before a bare LF", "the request line before a bare LF"),
        *("an empty line by a bare LF", "a bare LF before"),
    ),
    "RFC 9112, 7.1.2: trailer fields obey the grammar of fields, though they are dropped.": (
        *("a trailer field that is none", "a trailer field that is folded"),
    ),
    "RFC 9112, 2.2: a bare CR is refused, or taken for a space.": ("a CR before CR LF",),
    "RFC 9110, 5.5: controls in a value are invalid; they may be kept, or refused.": (
        *("a control character in a value", "DEL in a value"),
    ),
    _NAME: ("octets beyond ASCII in a name", "a name in brackets"),
    "RFC 9112, 2.2: at least one empty line is ignored. Here it is one, of CR LF.": (
        "two empty lines before",
    ),
    "RFC 9112, 3: one space each. To parse on white space is allowed, and has served attackers.": (
        *("two spaces", "a space behind"),
    ),
    "RFC 9112, 3.2: the target has one of four forms, without a fragment and without a user; "
    "h11 and llhttp leave it to their callers.": (
        *("a fragment in the target", "a target without a slash", "a target with a user"),
        "the asterisk with GET",
    ),
    "RFC 9110, 15.6.6: 505 for another major version.": (
        *("HTTP/2.0", "another protocol", "the preface of HTTP/2"),
    ),
    "RFC 9112, 3: a request line has a version; nginx still speaks HTTP/0.9.": ("HTTP/0.9",),
    _HOST: (
        *("no Host", "Host twice", "two Hosts", "an empty Host", "Host with a space"),
        *("Host with a path", "Host with a user", "Host with a port that is none"),
    ),
    "RFC 9110, 7.6.1: Connection is a list of tokens; else, whether to close would be a guess.": (
        "Connection that is no list",
    ),
    "RFC 9110, 10.1.1: 417 for an expectation that cannot be met.": ("Expect of something else",),
}
"""Requests that Portico refuses, though others accept them."""

REFUSED_ELSEWHERE = {
    "RFC 9110, 9.1: any token is a method. h11 takes hello for one, as Portico does: a length is "
    "missing, so content is the next request. It is answered by 501.": (
        "content without a length",
    ),
    "RFC 9110, 9.1: any token is a method; one that is not known is answered by 501.": (
        *("a method in small letters", "a method that nobody knows"),
    ),
    "RFC 9110, 5.5: white space around a value, tabs as well, is no part of it.": (
        *("white space around the length", "chunked before a tab"),
    ),
    "RFC 9112, 7.1.1: white space before an extension is bad, but has to be accepted.": (
        "white space before an extension",
    ),
    "RFC 9110, 6.5.1: a trailer field that frames has no effect, and is dropped; llhttp refuses.": (
        "a trailer field that frames",
    ),
    "RFC 9112, 2.2: at least one empty line before a request ought to be ignored.": (
        "an empty line before",
    ),
    "RFC 3986, 2.5: octets that some clients do not encode stand for themselves.": (
        "octets beyond ASCII in the target",
    ),
    "RFC 9110, 9.3.7: OPTIONS for the server as a whole; nginx refuses it.": ("the asterisk",),
    "RFC 9110, 2.5: a higher minor version is taken for the highest known.": ("HTTP/1.2",),
    "RFC 9112, 9.3: HTTP/1.0 persists if it asks for that; h11 never lets it.": (
        *("no Host in HTTP/1.0", "HTTP/1.0 that asks to keep alive", "Expect in HTTP/1.0"),
    ),
    "RFC 9110, 9.3.8: a client must not send content in TRACE; it is framed all the same, and "
    "answered by 405. nginx refuses the request.": ("TRACE with content", "TRACE in chunks"),
}
"""Requests that Portico accepts and others refuse, or close behind."""


def by_name(*tables: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the explanation of each case in these tables."""
    return {name: why for table in tables for why, names in table.items() for name in names}
