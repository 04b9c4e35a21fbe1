"""RFC 9110, 14, 15.3.7 and 15.5.17: ranges and the answers 206 and 416."""

from __future__ import annotations

import re

from tests.conformance.case import (
    DEFINED,
    MAY,
    MUST,
    MUST_NOT,
    OUGHT,
    SHOULD,
    SHOULD_NOT,
    Case,
    Check,
    Transcript,
    ask,
    case,
)
from tests.conformance.checks import (
    coded,
    either,
    every,
    has,
    lacks,
    lists,
    multipart,
    part,
    parts,
    same,
    status,
    told,
    whole,
)
from tests.conformance.served import DATA, LONG, PAGE, TEXT, style

UNIT, BYTES, RANGE = "9110 14.1", "9110 14.1.2", "9110 14.2"
FULL = whole(DATA)
SIZE = len(DATA)
UNSATISFIED = every(status(416), has("content-range", f"bytes */{SIZE}"))
GZIP_ONLY = "Accept-Encoding: gzip, identity;q=0"
REJECTED = either(FULL, status(416, 400))
"""What a server may do with an invalid Range: ignore it, or refuse."""


def ranged(name: str, section: str, level: str, rule: str, value: str, check: Check) -> Case:
    """GET /data.bin, 100,000 octets, with one value of Range."""
    return case(name, section, level, rule, ask("/data.bin", f"Range: {value}"), check=check)


def gz(first: int, last: int) -> Check:
    """The octets of the gzip coding of /style.css."""
    return every(coded(-1), part(style("gzip"), first, last))


def _no_more_than_the_whole(seen: Transcript) -> str | None:
    answer = seen[-1]
    if answer.status not in {200, 206, 416}:
        return str(answer.status)
    size = len(answer.content)
    return f"{size} octets for {SIZE}" if size > 2 * SIZE else None


def _union(seen: Transcript) -> str | None:
    """Overlapping ranges: the whole, one part, or parts that are right."""
    if seen[-1].status != 206 or seen[-1].get("content-range"):
        return None
    found = multipart(seen[-1])
    if isinstance(found, str):
        return found
    for fields, octets in found:
        first, last, _ = map(int, re.findall("[0-9]+", fields.get("content-range", "0-0/0")))
        if octets != DATA[first : last + 1]:
            return "other content in a part"
    return None


# fmt: off
SELECTION = (
    ranged("range-first-last", BYTES, DEFINED, "Positions count from zero and are inclusive.",
           "bytes=500-999", part(DATA, 500, 999)),
    ranged("range-one-octet", BYTES, DEFINED, "A range may be one octet, such as the first.",
           "bytes=0-0", part(DATA, 0, 0)),
    ranged("range-last-octet", BYTES, DEFINED,
           "A range may be one octet, such as the last.", f"bytes={SIZE - 1}-",
           part(DATA, SIZE - 1, SIZE - 1)),
    ranged("range-open", BYTES, DEFINED, "A range without a last position goes to the end.",
           "bytes=99000-", part(DATA, 99_000, SIZE - 1)),
    ranged("range-all", BYTES, DEFINED, "A range may be all there is.", "bytes=0-",
           part(DATA, 0, SIZE - 1)),
    ranged("range-end-beyond", BYTES, DEFINED, "A last position beyond the end means the end.",
           "bytes=99990-200000", part(DATA, 99_990, SIZE - 1)),
    ranged("range-suffix", BYTES, DEFINED, "A suffix is the last N octets.",
           "bytes=-500", part(DATA, SIZE - 500, SIZE - 1)),
    ranged("range-suffix-one", BYTES, DEFINED, "A suffix may be one octet.", "bytes=-1",
           part(DATA, SIZE - 1, SIZE - 1)),
    ranged("range-suffix-longer", BYTES, DEFINED,
           "A suffix longer than the representation is all of it.",
           "bytes=-200000", part(DATA, 0, SIZE - 1)),
    ranged("range-leading-zeros", BYTES, DEFINED, "Numbers may have leading zeros.",
           "bytes=00000000000000000000500-0999", part(DATA, 500, 999)),
    ranged("range-huge-end", BYTES, MUST,
           "Numbers of any length are understood: an end beyond 64 bits.",
           f"bytes=99990-{'9' * 40}", part(DATA, 99_990, SIZE - 1)),
    ranged("range-huge-first", BYTES, MUST,
           "Numbers of any length are understood: a start beyond 64 bits.",
           f"bytes={2**64}-{2**64 + 5}", UNSATISFIED),
    ranged("range-huge-suffix", BYTES, MUST,
           "Numbers of any length are understood: a suffix beyond 64 bits.", f"bytes=-{2**64 + 1}",
           part(DATA, 0, SIZE - 1)),
    ranged("range-beyond", BYTES, SHOULD, "A start at the end cannot be satisfied: 416.",
           f"bytes={SIZE}-", UNSATISFIED),
    ranged("range-suffix-zero", BYTES, SHOULD,
           "A suffix of no octets cannot be satisfied: 416.", "bytes=-0",
           UNSATISFIED),
    ranged("range-unit-case", UNIT, DEFINED, "The name of a range unit is case-insensitive.",
           "BYTES=500-999", part(DATA, 500, 999)),
    ranged("range-unit-unknown", RANGE, MUST, "A unit that is not understood is ignored.",
           "lines=1-2", FULL),
    ranged("range-reversed", "9110 14.1.1", MAY,
           "A last position before the first is invalid: ignored or refused.",
           "bytes=9-5", REJECTED),
    ranged("range-reversed-among-others", "9110 14.1.1", DEFINED,
           "One invalid range makes the whole set invalid.", "bytes=0-4,9-5", REJECTED),
    ranged("range-garbage", "9110 14.1.1", MAY, "What is no range is ignored or refused.",
           "bytes=first-last", REJECTED),
    ranged("range-empty", "9110 14.1.1", MAY,
           "An empty set of ranges is ignored or refused.", "bytes=", REJECTED),
    ranged("range-signs", "9110 14.1.1", MAY,
           "Signs before the numbers of a range: it is ignored or refused.",
           "bytes=+5-+9", REJECTED),
    ranged("range-spaces-within", "9110 14.1.1", MAY,
           "Spaces within a range: it is ignored or refused, or the range is sent.",
           "bytes=5 - 9", either(REJECTED, part(DATA, 5, 9))),
    case("range-of-empty", RANGE, MAY,
         "Of an empty representation a range from the start cannot be satisfied; it may be "
         "ignored.",
         ask("/empty.bin", "Range: bytes=0-"),
         check=either(whole(b""), every(status(416), has("content-range", "bytes */0")))),
    case("range-suffix-of-empty", RANGE, MAY,
         "Of an empty representation a suffix can be satisfied; it may be ignored.",
         ask("/empty.bin", "Range: bytes=-5"), check=whole(b"")),
    case("range-of-coded", BYTES, DEFINED,
         "Ranges of a coded representation count its coded octets.",
         ask("/style.css", GZIP_ONLY, "Range: bytes=10-29"), check=gz(10, 29)),
    case("range-suffix-of-coded", BYTES, DEFINED,
         "A suffix of a coded representation counts its coded octets.",
         ask("/style.css", GZIP_ONLY, "Range: bytes=-8"),
         check=gz(len(style("gzip")) - 8, len(style("gzip")) - 1)),
    case("range-of-index", RANGE, SHOULD, "The index of a folder has ranges.",
         ask("/folder/", "Range: bytes=2-9"), check=part(PAGE, 2, 9)),
    case("range-of-long", RANGE, SHOULD, "A file of 300 KiB has ranges.",
         ask("/long.txt", "Range: bytes=100000-299999"), check=part(LONG, 100_000, 299_999)),
)

SETS = (
    ranged("ranges-two", RANGE, SHOULD, "Two ranges are sent as two parts.",
           "bytes=0-9,100-109", parts(DATA, (0, 9), (100, 109))),
    ranged("ranges-first-and-last", BYTES, DEFINED,
           "A set may ask for the first octet and the last.",
           "bytes=0-0,-1", parts(DATA, (0, 0), (SIZE - 1, SIZE - 1))),
    ranged("ranges-with-space", "9110 5.6.1", DEFINED,
           "White space may stand around the commas of a list, here of ranges.",
           "bytes=0-9 , 100-109,\t-5",
           parts(DATA, (0, 9), (100, 109), (SIZE - 5, SIZE - 1))),
    ranged("ranges-empty-members", "9110 5.6.1.2", MUST,
           "Empty members of a list are ignored: in Range.",
           "bytes=,0-9,,100-109,", parts(DATA, (0, 9), (100, 109))),
    ranged("ranges-in-their-order", "9110 15.3.7.2", SHOULD,
           "Parts come in the order in which they were asked for.",
           "bytes=5000-5009,100-109,-5",
           parts(DATA, (5000, 5009), (100, 109), (SIZE - 5, SIZE - 1))),
    ranged("ranges-some-unsatisfiable", "9110 14.1.1", SHOULD,
           "A set is satisfiable if one of its ranges is: the others are left out.",
           f"bytes=0-9,{SIZE}-,100-109", parts(DATA, (0, 9), (100, 109))),
    ranged("ranges-one-satisfiable", "9110 14.1.1", SHOULD,
           "A set of which one range can be satisfied is answered with that one.",
           f"bytes={SIZE}-,5-9", either(part(DATA, 5, 9), parts(DATA, (5, 9)))),
    ranged("ranges-all-unsatisfiable", RANGE, SHOULD,
           "A set of which no range can be satisfied: 416.",
           f"bytes={SIZE}-,-0", UNSATISFIED),
    ranged("ranges-overlapping", "9110 15.3.7.2", MAY,
           "Ranges that overlap are sent as one.", "bytes=0-19,10-29",
           either(part(DATA, 0, 29), parts(DATA, (0, 29)))),
    ranged("ranges-adjacent", "9110 15.3.7.2", MAY, "Ranges that touch are sent as one.",
           "bytes=500-600,601-999", either(part(DATA, 500, 999), parts(DATA, (500, 999)))),
    ranged("ranges-overlapping-valid", "9110 14.2", MAY,
           "Whatever ranges are sent for overlapping ones, each has its octets.",
           "bytes=0-99,50-149,20-29", _union),
    ranged("ranges-many-overlapping", "9110 17.15", OUGHT,
           "Many ranges of everything do not multiply the content.",
           "bytes=" + ",".join(["0-"] * 150), _no_more_than_the_whole),
    ranged("ranges-many-small", "9110 17.15", OUGHT,
           "Hundreds of tiny ranges do not multiply the content.",
           "bytes=" + ",".join([f"{2 * place}-{2 * place}" for place in range(500)]),
           _no_more_than_the_whole),
    case("ranges-of-coded", BYTES, DEFINED, "Parts of a coded representation are coded octets.",
         ask("/style.css", GZIP_ONLY, "Range: bytes=0-9,-8"),
         check=every(
             coded(-1),
             parts(style("gzip"), (0, 9), (len(style("gzip")) - 8, len(style("gzip")) - 1)),
         )),
)

OTHERWISE = (
    case("range-support", RANGE, OUGHT, "Byte ranges are supported.",
         ask("/data.bin", "Range: bytes=5-9"),
         check=told("ignored", lambda answer: answer.status == 206)),
    case("accept-ranges", "9110 14.3", MAY, "A server that has ranges says so.",
         ask("/data.bin"), check=lists("accept-ranges", "bytes")),
    case("range-on-head", RANGE, MUST, "Range is only for GET: HEAD ignores it.",
         ask("/data.bin", "Range: bytes=0-9", method="HEAD"),
         check=every(status(200), has("content-length", str(SIZE)), lacks("content-range"))),
    case("range-on-head-unsatisfiable", RANGE, MUST,
         "HEAD ignores also a Range that cannot be satisfied.",
         ask("/data.bin", f"Range: bytes={SIZE}-", method="HEAD"),
         check=every(status(200), lacks("content-range"))),
    case("range-on-options", RANGE, MUST, "OPTIONS ignores Range.",
         ask("/data.bin", "Range: bytes=0-9", method="OPTIONS"),
         check=every(status(200, 204, 405, 501), lacks("content-range"))),
    case("range-of-404", RANGE, DEFINED,
         "Range matters only where the answer were 200: a 404 remains.",
         ask("/missing", "Range: bytes=0-9"), check=every(status(404), lacks("content-range"))),
    case("range-of-redirect", RANGE, DEFINED,
         "Range matters only where the answer were 200: a redirect remains.",
         ask("/folder", "Range: bytes=0-9"),
         check=every(status(301, 302, 307, 308), lacks("content-range"))),
    case("content-range-in-request", "9110 14.4", MUST, "Content-Range in a GET is ignored.",
         ask("/data.bin", "Content-Range: bytes 0-9/20"), check=FULL),
    ranged("no-content-range-in-200", "9110 14.4", DEFINED,
           "Content-Range means nothing outside of 206 and 416, and is not there.",
           "lines=1-2", every(status(200), lacks("content-range"))),
    ranged("complete-length-known", "9110 14.4", SHOULD,
           "Content-Range says the complete length.", "bytes=5-9",
           every(status(206), has("content-range", f"bytes 5-9/{SIZE}"))),
)

KEPT = ("cache-control", "content-location", "etag", "expires", "vary")
DESCRIBED = ("content-encoding", "content-language", "content-type", "last-modified")
PARTIAL = (
    case("206-fields", "9110 15.3.7", MUST,
         "A 206 has those of Cache-Control, Content-Location, ETag, Expires and Vary that the 200 "
         "would have had.",
         ask("/data.bin"), ask("/data.bin", "Range: bytes=5-9"),
         check=every(status(206), has("date"), same(*KEPT))),
    case("206-fields-of-coded", "9110 15.3.7", MUST,
         "A 206 of a coded representation has these fields, too.",
         ask("/style.css", "Accept-Encoding: gzip"),
         ask("/style.css", GZIP_ONLY, "Range: bytes=5-9"),
         check=every(gz(5, 9), same(*KEPT))),
    case("206-representation-fields", "9110 15.3.7", MUST,
         "A 206 has all other fields of the representation as well, if there was no "
         "If-Range.",
         ask("/text.txt"), ask("/text.txt", "Range: bytes=5-9"),
         check=every(status(206), same(*DESCRIBED))),
    case("206-after-if-range", "9110 15.3.7", SHOULD_NOT,
         "A 206 after If-Range leaves out what the client has already, such as "
         "Last-Modified.",
         ask("/text.txt"), ask("/text.txt", "Range: bytes=5-9", "If-Range: {etag}"),
         check=every(status(206), lacks("last-modified"))),
    case("206-after-if-range-fields", "9110 15.3.7", MUST,
         "A 206 after If-Range has the required fields.",
         ask("/text.txt"), ask("/text.txt", "Range: bytes=5-9", "If-Range: {etag}"),
         check=every(status(206), same(*KEPT))),
    case("206-single-part", "9110 15.3.7.1", MUST,
         "A single part has its Content-Range and exactly its octets; the next response follows.",
         ask("/data.bin", "Range: bytes=5-9"), ask("/text.txt"),
         check=every(part(DATA, 5, 9, at=0), has("content-length", "5", at=0), whole(TEXT))),
    ranged("206-single-not-multipart", "9110 15.3.7.2", MUST_NOT,
           "One range is never answered by multipart.", "bytes=5-9",
           every(status(206), told("multipart", lambda answer: not (
               answer.get("content-type") or "").startswith("multipart")))),
    ranged("206-multipart", "9110 15.3.7.2", MUST,
           "Several parts are multipart/byteranges with its boundary, and a Content-Range in each "
           "part.", "bytes=0-9,100-109,200-299",
           parts(DATA, (0, 9), (100, 109), (200, 299))),
    ranged("206-multipart-no-content-range", "9110 15.3.7.2", MUST_NOT,
           "The head of a multipart 206 has no Content-Range.", "bytes=0-9,100-109",
           every(parts(DATA, (0, 9), (100, 109)), lacks("content-range"))),
    case("206-part-types", "9110 15.3.7.2", SHOULD,
         "Each part has the Content-Type that the 200 would have had.",
         ask("/data.bin", "Range: bytes=0-9,100-109"),
         check=parts(DATA, (0, 9), (100, 109), kind="application/octet-stream")),
    case("206-multipart-length", "9110 15.3.7", DEFINED,
         "The Content-Length of a multipart 206 counts all of it; the next response "
         "follows.",
         ask("/data.bin", "Range: bytes=0-9,100-109"), ask("/text.txt"),
         check=every(status(206, at=0), has("content-length", at=0), whole(TEXT))),
    case("206-multipart-fields", "9110 15.3.7", MUST,
         "A multipart 206 has the required fields.",
         ask("/data.bin"), ask("/data.bin", "Range: bytes=0-9,100-109"),
         check=every(parts(DATA, (0, 9), (100, 109)), same(*KEPT))),
    ranged("206-boundary-unquoted", "9110 14.6", DEFINED,
           "The boundary is one that needs no quotes, which some clients misread.",
           "bytes=0-9,100-109",
           every(status(206), told("quoted", lambda answer: '"' not in (
               answer.get("content-type") or "")))),
    ranged("416-content-range", "9110 15.5.17", SHOULD,
           "A 416 says the complete length in Content-Range.", f"bytes={SIZE}-", UNSATISFIED),
    case("416-content-range-of-coded", "9110 15.5.17", SHOULD,
         "A 416 for a coded representation says the length of its coded octets.",
         ask("/style.css", GZIP_ONLY, "Range: bytes=100000-"),
         check=every(status(416), has("content-range", f"bytes */{len(style('gzip'))}"))),
)

CASES: tuple[Case, ...] = (*SELECTION, *SETS, *OTHERWISE, *PARTIAL)
# fmt: on
