"""RFC 9110, 8.3 to 8.8: what is said of a representation, and what identifies it."""

from __future__ import annotations

from tests.conformance.case import (
    DEFINED,
    MUST,
    MUST_NOT,
    SHOULD,
    SHOULD_NOT,
    Case,
    NotMeasuredError,
    Transcript,
    ask,
    case,
)
from tests.conformance.checks import (
    coded,
    date,
    differs,
    etag,
    every,
    gunzipped,
    has,
    lacks,
    measured,
    one_of,
    same,
    same_if_any,
    seconds_of,
    status,
    told,
    whole,
)
from tests.conformance.served import CHANGING, IMF, STALE, STYLE, TEXT, change, renew, reset, style


def has_tag(seen: Transcript) -> str | None:
    """A server without tags is not measured by their form."""
    if seen[-1].get("etag") is None:
        raise NotMeasuredError("no ETag")
    return None


def _not_after_date(seen: Transcript) -> str | None:
    return "later" if seconds_of(seen, "last-modified") > seconds_of(seen, "date") else None


CASES: tuple[Case, ...] = (
    case(
        "content-type-of-text",
        "9110 8.3",
        SHOULD,
        "A response with content says its media type in Content-Type.",
        ask("/text.txt"),
        check=told(
            "no text/plain", lambda answer: (answer.get("content-type") or "")[:10] == "text/plain"
        ),
    ),
    case(
        "content-type-of-error",
        "9110 8.3",
        SHOULD,
        "An error with content says its media type, too.",
        ask("/missing"),
        check=every(status(404), has("content-type")),
    ),
    case(
        "content-encoding-said",
        "9110 8.4",
        MUST,
        "A representation to which a content coding was applied names it in Content-Encoding.",
        ask("/style.css", "Accept-Encoding: gzip"),
        check=one_of("gzip", "identity"),
    ),
    case(
        "identity-not-said",
        "9110 8.4",
        SHOULD_NOT,
        "Content-Encoding does not say identity.",
        ask("/style.css", "Accept-Encoding: identity"),
        check=every(whole(STYLE), lacks("content-encoding")),
    ),
    case(
        "coded-type-is-the-original",
        "9110 8.4",
        DEFINED,
        "The Content-Type of a coded representation is that of the data before its coding.",
        ask("/style.css", "Accept-Encoding: identity"),
        ask("/style.css", "Accept-Encoding: gzip"),
        check=every(status(200), same("content-type")),
    ),
    case(
        "inherent-coding-not-said",
        "9110 8.4",
        DEFINED,
        "A file that is compressed by its own media type is not said to be coded besides.",
        ask("/style.css.gz", "Accept-Encoding: gzip"),
        check=every(whole(style("gzip")), lacks("content-encoding")),
    ),
    case(
        "content-length",
        "9110 8.6",
        SHOULD,
        "An origin server that knows the size of the content sends it in Content-Length.",
        ask("/text.txt"),
        check=every(status(200), has("content-length", "1024")),
    ),
    case(
        "content-length-of-nothing",
        "9110 8.6",
        SHOULD,
        "Content-Length is sent also where it is zero.",
        ask("/empty.bin"),
        check=every(whole(b""), has("content-length", "0")),
    ),
    case(
        "content-length-of-coded",
        "9110 8.6",
        DEFINED,
        "Content-Length counts the octets after the content coding: what follows them on the "
        "connection is the next response.",
        ask("/style.css", "Accept-Encoding: gzip"),
        ask("/text.txt"),
        check=every(coded(), whole(TEXT)),
    ),
    case(
        "content-length-of-head",
        "9110 8.6",
        MUST_NOT,
        "A response to HEAD has no other Content-Length than GET would have.",
        ask("/long.txt"),
        ask("/long.txt", method="HEAD"),
        check=every(status(200), same("content-length")),
    ),
    case(
        "content-length-of-304",
        "9110 8.6",
        MUST_NOT,
        "A 304 has no other Content-Length than the 200 would have had.",
        ask("/text.txt"),
        ask("/text.txt", "If-Modified-Since: " + IMF),
        check=every(
            status(304),
            told("other", lambda answer: answer.get("content-length") in {None, "1024"}),
        ),
    ),
    case(
        "no-content-length-in-204",
        "9110 8.6",
        MUST_NOT,
        "A 204 has no Content-Length.",
        ask("/text.txt", method="OPTIONS"),
        check=every(measured(204), lacks("content-length")),
    ),
    case(
        "strong-tag-changes-with-content",
        "9110 8.8.1",
        DEFINED,
        "A strong validator changes with every change of the content, even where size and date "
        "of the file remain.",
        ask(CHANGING, before=reset),
        ask(CHANGING, before=change),
        check=every(etag(0, strong=True), differs("etag")),
    ),
    case(
        "strong-tag-survives-a-new-date",
        "9110 8.8.1",
        DEFINED,
        "A strong validator changes only where that is needed: not when a file gets a "
        "new date and keeps its content.",
        ask(CHANGING, before=reset),
        ask(CHANGING, before=renew),
        check=every(etag(0, strong=True), status(200), same("etag")),
    ),
    case(
        "coded-has-its-own-strong-tag",
        "9110 8.8.1",
        DEFINED,
        "Two content codings of a resource never share a strong tag.",
        ask("/style.css", "Accept-Encoding: identity"),
        ask("/style.css", "Accept-Encoding: gzip"),
        check=every(status(200), coded(1), differs("etag")),
    ),
    case(
        "last-modified",
        "9110 8.8.2.1",
        SHOULD,
        "A representation whose date of modification is known says it in Last-Modified.",
        ask("/text.txt"),
        check=every(status(200), has("last-modified", IMF)),
    ),
    case(
        "last-modified-of-an-index",
        "9110 8.8.2.1",
        SHOULD,
        "The index of a folder has Last-Modified, too.",
        ask("/folder/"),
        check=every(status(200), has("last-modified", IMF)),
    ),
    case(
        "last-modified-not-in-the-future",
        "9110 8.8.2.1",
        MUST_NOT,
        "Last-Modified is never later than Date, whatever date the file has.",
        ask("/future.bin"),
        check=every(whole(TEXT), date("last-modified"), _not_after_date),
    ),
    case(
        "last-modified-form",
        "9110 5.6.7",
        MUST,
        "Dates are sent as IMF-fixdate.",
        ask("/text.txt"),
        check=every(date("last-modified"), date("date")),
    ),
    case(
        "etag",
        "9110 8.8.3.1",
        SHOULD,
        "A representation whose changes can be detected has an ETag.",
        ask("/text.txt"),
        check=every(status(200), etag()),
    ),
    case(
        "etag-grammar",
        "9110 8.8.3",
        DEFINED,
        "An entity tag is a quoted string of visible characters, W/ before it if it is "
        "weak; better without backslash.",
        ask("/long.txt"),
        check=every(
            has_tag,
            etag(),
            told("a backslash", lambda answer: "\\" not in (answer.get("etag") or "")),
        ),
    ),
    case(
        "etag-of-empty",
        "9110 8.8.3.1",
        SHOULD,
        "A representation that is empty has an ETag, too.",
        ask("/empty.bin"),
        check=every(status(200), etag()),
    ),
    case(
        "etag-stays",
        "9110 8.8.3",
        DEFINED,
        "The tag remains while the representation does.",
        ask("/long.txt"),
        ask("/text.txt"),
        ask("/long.txt"),
        check=same_if_any("etag"),
    ),
    case(
        "etag-of-head",
        "9110 8.8.3",
        DEFINED,
        "HEAD has the validators that GET has.",
        ask("/text.txt"),
        ask("/text.txt", method="HEAD"),
        check=same_if_any("etag", "last-modified"),
    ),
    case(
        "etags-of-two-contents",
        "9110 8.8.3",
        DEFINED,
        "Codings and plain form of one resource, asked for in turn, keep their own tags.",
        ask("/style.css", "Accept-Encoding: gzip"),
        ask("/style.css"),
        ask("/style.css", "Accept-Encoding: gzip"),
        check=every(coded(2), same_if_any("etag"), differs("etag", of=1)),
    ),
    case(
        "no-validator-of-404",
        "9110 8.8",
        DEFINED,
        "Where nothing is selected there are no validators.",
        ask("/missing"),
        check=every(status(404), lacks("etag", "last-modified")),
    ),
    case(
        "stale-coded-file",
        "9110 8.4",
        DEFINED,
        "What is sent as a coding of a representation decodes to that representation: a coded "
        "file older than its original does not.",
        ask("/stale.txt"),
        ask("/stale.txt", "Accept-Encoding: gzip"),
        check=every(whole(STALE, at=0), gunzipped(STALE)),
    ),
)
