"""RFC 9110, 13.1, 13.2.1 and 15.4.5: each precondition by itself, and the answers 304 and 412."""

from __future__ import annotations

from tests.conformance.case import (
    DEFINED,
    MUST,
    MUST_NOT,
    SHOULD,
    SHOULD_NOT,
    Case,
    Check,
    ask,
    case,
)
from tests.conformance.checks import (
    coded,
    either,
    empty,
    every,
    has,
    lacks,
    measured,
    part,
    same,
    same_if_any,
    status,
    whole,
)
from tests.conformance.served import ASCTIME, EARLIER, IMF, LATER, RFC850, STYLE, TEXT

FULL = whole(TEXT)
NOT_MODIFIED = every(status(304), empty())
FAILED = status(412)
OTHER_TAGS = ", ".join(f'"{number:064x}"' for number in range(40))


def asked(
    name: str, section: str, level: str, rule: str, lines: str | tuple[str, ...], check: Check
) -> Case:
    """GET /text.txt, and again under a condition."""
    lines = (lines,) if isinstance(lines, str) else lines
    return case(name, section, level, rule, ask("/text.txt"), ask("/text.txt", *lines), check=check)


def once(name: str, section: str, level: str, rule: str, line: str, check: Check) -> Case:
    """GET /text.txt under a condition that needs no tag of the server's."""
    return case(name, section, level, rule, ask("/text.txt", line), check=check)


IF_MATCH, IF_NONE_MATCH = "9110 13.1.1", "9110 13.1.2"
SINCE, UNMODIFIED, IF_RANGE = "9110 13.1.3", "9110 13.1.4", "9110 13.1.5"

# fmt: off
MATCH_CASES = (
    asked("if-match-same", IF_MATCH, MUST, "If-Match with the current strong tag holds.",
          "If-Match: {etag}", FULL),
    once("if-match-other", IF_MATCH, MUST,
         "If-Match with another tag does not hold, and the method is not performed.",
         'If-Match: "other"', FAILED),
    once("if-match-star", IF_MATCH, MUST,
         "If-Match: * holds where there is a current representation.",
         "If-Match: *", FULL),
    asked("if-match-list", IF_MATCH, MUST, "A list in If-Match holds if one of its tags matches.",
          'If-Match: "other", {etag} ,"more"', FULL),
    asked("if-match-lines", IF_MATCH, MUST, "A list in If-Match may come in several lines.",
          ('If-Match: "other"', "If-Match: {etag}"), FULL),
    asked("if-match-weak", "9110 8.8.3.2", MUST,
          "If-Match is compared strongly: a weak tag matches nothing.",
          "If-Match: W/{opaque}", FAILED),
    once("if-match-quoted-star", IF_MATCH, DEFINED, 'If-Match: a tag that reads "*" is a tag.',
         'If-Match: "*"', FAILED),
    once("if-match-comma", "9110 8.8.3", DEFINED, "A comma may stand within a tag: If-Match.",
         'If-Match: "a,b"', FAILED),
    asked("if-match-part", IF_MATCH, MUST, "If-Match: a tag matches as a whole, not in part.",
          'If-Match: "x{opaque}', FAILED),
    case("if-match-head", IF_MATCH, MUST, "If-Match is evaluated for HEAD, too.",
         ask("/text.txt", 'If-Match: "other"', method="HEAD"), check=FAILED),
    asked("if-none-match-same", IF_NONE_MATCH, MUST,
          "GET with the current tag in If-None-Match is answered with 304.",
          "If-None-Match: {etag}", NOT_MODIFIED),
    asked("if-none-match-other", IF_NONE_MATCH, MUST,
          "GET with another tag in If-None-Match is performed.",
          'If-None-Match: "other"', FULL),
    once("if-none-match-star", IF_NONE_MATCH, MUST,
         "If-None-Match: * does not hold where there is a current representation.",
         "If-None-Match: *", NOT_MODIFIED),
    asked("if-none-match-weak", "9110 8.8.3.2", MUST,
          "If-None-Match is compared weakly: W/ makes no difference.",
          "If-None-Match: W/{opaque}", NOT_MODIFIED),
    asked("if-none-match-list", IF_NONE_MATCH, MUST,
          "One matching tag of a list in If-None-Match is enough.",
          'If-None-Match: "other", W/"more", {etag}', NOT_MODIFIED),
    asked("if-none-match-long-list", IF_NONE_MATCH, MUST,
          "One matching tag of forty-one in If-None-Match is enough.",
          f"If-None-Match: {OTHER_TAGS}, {{etag}}", NOT_MODIFIED),
    asked("if-none-match-lines", IF_NONE_MATCH, MUST,
          "A list in If-None-Match may come in several lines.",
          ('If-None-Match: "other"', "If-None-Match: {etag}"), NOT_MODIFIED),
    asked("if-none-match-empty-members", "9110 5.6.1.2", MUST,
          "Empty members of a list are ignored: in If-None-Match.",
          "If-None-Match: , ,{etag},", NOT_MODIFIED),
    asked("if-none-match-comma", "9110 8.8.3", DEFINED,
          "A comma may stand within a tag: If-None-Match.",
          'If-None-Match: "a,b", {etag}', NOT_MODIFIED),
    asked("if-none-match-quoted-star", IF_NONE_MATCH, DEFINED,
          'If-None-Match: a tag that reads "*" is a tag.',
          'If-None-Match: "*"', FULL),
    case("if-none-match-head", IF_NONE_MATCH, MUST,
         "HEAD with the current tag in If-None-Match is answered with 304.",
         ask("/text.txt"), ask("/text.txt", "If-None-Match: {etag}", method="HEAD"),
         check=status(304)),
    case("if-none-match-of-another-coding", IF_NONE_MATCH, DEFINED,
         "If-None-Match: the tag of another content coding is not that of the selected "
         "representation.",
         ask("/style.css", "Accept-Encoding: gzip"),
         ask("/style.css", "Accept-Encoding: identity", "If-None-Match: {etag}"),
         check=every(coded(), whole(STYLE))),
    case("if-none-match-of-the-coding", IF_NONE_MATCH, MUST,
         "If-None-Match: the tag of the selected content coding is.",
         ask("/style.css", "Accept-Encoding: gzip"),
         ask("/style.css", "Accept-Encoding: gzip", "If-None-Match: {etag}"),
         check=every(coded(), NOT_MODIFIED)),
    case("if-none-match-index", IF_NONE_MATCH, MUST,
         "The index of a folder can be revalidated by If-None-Match.",
         ask("/folder/"), ask("/folder/", "If-None-Match: {etag}"), check=NOT_MODIFIED),
)

DATE_CASES = (
    once("if-modified-since-same", SINCE, SHOULD,
         "If-Modified-Since with the date of modification does not hold: 304.",
         f"If-Modified-Since: {IMF}", NOT_MODIFIED),
    once("if-modified-since-later", SINCE, SHOULD,
         "If-Modified-Since with a later date does not hold: 304.",
         f"If-Modified-Since: {LATER}", NOT_MODIFIED),
    once("if-modified-since-future", SINCE, SHOULD,
         "If-Modified-Since with a date in the future does not hold: 304.",
         "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT", NOT_MODIFIED),
    once("if-modified-since-earlier", SINCE, DEFINED,
         "If-Modified-Since with an earlier date holds.",
         f"If-Modified-Since: {EARLIER}", FULL),
    once("if-modified-since-rfc850", "9110 5.6.7", MUST,
         "If-Modified-Since: the form of RFC 850 is accepted for a date.",
         f"If-Modified-Since: {RFC850}", NOT_MODIFIED),
    once("if-modified-since-asctime", "9110 5.6.7", MUST,
         "If-Modified-Since: the form of asctime is accepted for a date.",
         f"If-Modified-Since: {ASCTIME}", NOT_MODIFIED),
    once("two-digit-year", "9110 5.6.7", MUST,
         "A two-digit year that seems more than 50 years ahead is meant of the past "
         "century.",
         "If-Modified-Since: Friday, 01-Jan-99 00:00:00 GMT", FULL),
    once("if-modified-since-invalid", SINCE, MUST,
         "If-Modified-Since with what is no date is ignored.",
         "If-Modified-Since: tomorrow", FULL),
    once("if-modified-since-no-such-day", SINCE, MUST,
         "If-Modified-Since with a day that its month lacks is ignored.",
         "If-Modified-Since: Wed, 31 Feb 2024 00:00:00 GMT", FULL),
    once("if-modified-since-list", SINCE, MUST,
         "If-Modified-Since with a list of dates is ignored.",
         f"If-Modified-Since: {LATER}, {LATER}", FULL),
    asked("if-modified-since-lines", SINCE, MUST, "If-Modified-Since in two lines is ignored.",
          (f"If-Modified-Since: {LATER}", f"If-Modified-Since: {LATER}"), FULL),
    case("if-modified-since-head", SINCE, SHOULD,
         "HEAD with the date of modification in If-Modified-Since is answered with 304.",
         ask("/text.txt", f"If-Modified-Since: {IMF}", method="HEAD"), check=status(304)),
    case("if-modified-since-options", SINCE, MUST,
         "If-Modified-Since is ignored for other methods, such as OPTIONS.",
         ask("/text.txt", f"If-Modified-Since: {IMF}", method="OPTIONS"),
         check=status(200, 204, 405, 501)),
    once("if-unmodified-since-same", UNMODIFIED, MUST,
         "If-Unmodified-Since with the date of modification holds.",
         f"If-Unmodified-Since: {IMF}", FULL),
    once("if-unmodified-since-later", UNMODIFIED, MUST,
         "If-Unmodified-Since with a later date holds.",
         f"If-Unmodified-Since: {LATER}", FULL),
    once("if-unmodified-since-earlier", UNMODIFIED, MUST,
         "If-Unmodified-Since with an earlier date does not hold, and the method is not "
         "performed.",
         f"If-Unmodified-Since: {EARLIER}", FAILED),
    once("if-unmodified-since-rfc850", "9110 5.6.7", MUST,
         "If-Unmodified-Since: the form of RFC 850 is accepted for a date.",
         "If-Unmodified-Since: Tuesday, 02-Jan-24 03:04:04 GMT", FAILED),
    once("if-unmodified-since-asctime", "9110 5.6.7", MUST,
         "If-Unmodified-Since: the form of asctime is accepted for a date.",
         "If-Unmodified-Since: Tue Jan  2 03:04:04 2024", FAILED),
    once("if-unmodified-since-invalid", UNMODIFIED, MUST,
         "If-Unmodified-Since with what is no date is ignored.",
         "If-Unmodified-Since: yesterday", FULL),
    once("if-unmodified-since-list", UNMODIFIED, MUST,
         "If-Unmodified-Since with a list of dates is ignored.",
         f"If-Unmodified-Since: {EARLIER}, {EARLIER}", FULL),
)

PART = part(TEXT, 5, 9)
RANGE = "Range: bytes=5-9"

IF_RANGE_CASES = (
    asked("if-range-same-tag", IF_RANGE, SHOULD,
          "If-Range with the current strong tag holds: the range is sent.",
          (RANGE, "If-Range: {etag}"), PART),
    once("if-range-other-tag", IF_RANGE, MUST,
         "If-Range with another tag: the Range is ignored, 200 with the whole.",
         f'{RANGE}\r\nIf-Range: "other"', FULL),
    asked("if-range-weak-tag", IF_RANGE, MUST, "If-Range with a weak tag does not hold.",
          (RANGE, "If-Range: W/{opaque}"), FULL),
    once("if-range-same-date", IF_RANGE, SHOULD,
         "If-Range with exactly the date of Last-Modified holds.",
         f"{RANGE}\r\nIf-Range: {IMF}", PART),
    once("if-range-later-date", IF_RANGE, MUST,
         "If-Range with a later date does not hold.", f"{RANGE}\r\nIf-Range: {LATER}", FULL),
    once("if-range-earlier-date", IF_RANGE, MUST, "If-Range with an earlier date does not hold.",
         f"{RANGE}\r\nIf-Range: {EARLIER}", FULL),
    case("if-range-weak-date", IF_RANGE, MUST,
         "If-Range with a date that is not yet a second past does not hold: that is a "
         "weak validator.",
         ask("/future.bin"), ask("/future.bin", RANGE, "If-Range: {modified}"), check=FULL),
    once("if-range-invalid", IF_RANGE, MUST,
         "If-Range with what is neither tag nor date does not hold.",
         f"{RANGE}\r\nIf-Range: other", FULL),
    asked("if-range-star", IF_RANGE, DEFINED, "If-Range with an asterisk does not hold.",
          (RANGE, "If-Range: *"), FULL),
    once("if-range-without-range", IF_RANGE, MUST, "If-Range without Range is ignored.",
         'If-Range: "other"', FULL),
    case("if-range-head", IF_RANGE, DEFINED, "If-Range is ignored with HEAD, which has no ranges.",
         ask("/text.txt", RANGE, 'If-Range: "other"', method="HEAD"),
         check=every(status(200), has("content-length", "1024"))),
    once("if-range-false-and-unsatisfiable", IF_RANGE, MUST,
         "Where If-Range does not hold, even a range that cannot be satisfied is "
         "ignored.",
         'Range: bytes=5000-\r\nIf-Range: "other"', FULL),
    asked("if-range-true-and-unsatisfiable", "9110 13.2.2", DEFINED,
          "Where If-Range holds and the range cannot be satisfied: 416, or the whole.",
          ("Range: bytes=5000-", "If-Range: {etag}"), either(status(416), FULL)),
    case("if-range-of-another-coding", IF_RANGE, MUST,
         "If-Range with the tag of another content coding does not hold.",
         ask("/style.css", "Accept-Encoding: gzip"),
         ask("/style.css", "Accept-Encoding: identity", RANGE, "If-Range: {etag}"),
         check=every(coded(), whole(STYLE))),
)

WHEN = "9110 13.2.1"
WHEN_CASES = (
    case("if-none-match-of-404", WHEN, MUST,
         "Conditions are ignored where the answer without them is no 2xx: a 404 remains.",
         ask("/missing", "If-None-Match: *"), check=status(404)),
    case("if-match-of-404", WHEN, MUST, "A 404 remains with If-Match: *, too.",
         ask("/missing", "If-Match: *"), check=status(404)),
    case("if-none-match-of-redirect", WHEN, MUST,
         "A redirect remains, whatever If-None-Match says.",
         ask("/folder", "If-None-Match: *"), check=status(301, 302, 307, 308)),
    case("if-match-of-redirect", WHEN, MUST, "A redirect remains, whatever If-Match says.",
         ask("/folder", 'If-Match: "other"'), check=status(301, 302, 307, 308)),
    case("conditions-of-405", WHEN, MUST,
         "A refused method is refused as before, whatever If-Match says.",
         ask("/text.txt", 'If-Match: "other"', "Content-Length: 0", method="DELETE"),
         check=status(405, 501)),
    case("conditions-of-options", WHEN, MUST, "OPTIONS has no conditions.",
         ask("/text.txt", 'If-Match: "other"', method="OPTIONS"),
         check=status(200, 204, 405, 501)),
)

SECTION_304 = "9110 15.4.5"
KEPT = ("cache-control", "content-location", "etag", "expires", "vary")
STATUS_CASES = (
    asked("304-fields", SECTION_304, MUST,
          "A 304 has those of Cache-Control, Content-Location, ETag, Expires and Vary that the "
          "200 would have had.",
          "If-None-Match: {etag}", every(status(304), same(*KEPT))),
    case("304-fields-of-coded", SECTION_304, MUST,
         "A 304 of a coded representation has these fields, too.",
         ask("/style.css", "Accept-Encoding: gzip"),
         ask("/style.css", "Accept-Encoding: gzip", "If-None-Match: {etag}"),
         check=every(coded(), status(304), same(*KEPT))),
    case("304-by-date-fields", SECTION_304, MUST,
         "A 304 has these fields also where a date has decided.",
         ask("/text.txt"), ask("/text.txt", f"If-Modified-Since: {IMF}"),
         check=every(status(304), same(*KEPT))),
    once("304-date", SECTION_304, MUST, "A 304 has a Date.",
         f"If-Modified-Since: {IMF}", every(status(304), has("date"))),
    once("304-no-metadata", SECTION_304, SHOULD_NOT,
         "A 304 has no other metadata: no Content-Type, no Content-Encoding, no "
         "Content-Range.",
         f"If-Modified-Since: {IMF}",
         every(status(304), lacks("content-type", "content-encoding", "content-range"))),
    case("304-no-content", SECTION_304, MUST_NOT,
         "A 304 has no content: the next response follows at once.",
         ask("/text.txt", f"If-Modified-Since: {IMF}"), ask("/text.txt"),
         check=every(status(304, at=0), FULL)),
    asked("412-content", "9110 15.5.13", DEFINED,
          "A 412 does not carry the representation that was asked for.",
          'If-Match: "other"',
          every(measured(412), lambda seen: "does" if seen[-1].content == TEXT else None)),
    asked("304-last-modified", SECTION_304, DEFINED,
          "A Last-Modified in a 304 is that of the representation.",
          "If-None-Match: {etag}",
          every(status(304), either(same_if_any("last-modified"), lacks("last-modified")))),
)

CASES: tuple[Case, ...] = (
    *MATCH_CASES, *DATE_CASES, *IF_RANGE_CASES, *WHEN_CASES, *STATUS_CASES,
)
# fmt: on
