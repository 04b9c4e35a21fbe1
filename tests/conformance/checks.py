"""What has to come back: checks that say in a few words what is wrong, or None.

They look at the last answer unless `at` says otherwise.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable

from portico.http.dates import imf_fixdate, parse_http_date
from portico.site.compression.encoders import SUFFIXES
from tests.conformance.case import Check, NotMeasuredError, Transcript
from tests.conformance.exchange import Answer
from tests.conformance.served import style

ETAG = re.compile(r'(W/)?"[!#-~\x80-\xff]*"')
PART_HEAD = re.compile(rb"\r\n((?:[^\r\n]+\r\n)+)\r\n")


def every(*checks: Check) -> Check:
    """All of `checks`; the first that finds something wrong speaks."""
    return lambda seen: next(filter(None, (check(seen) for check in checks)), None)


def either(*checks: Check) -> Check:
    """One of `checks` is enough; the last speaks."""

    def check(seen: Transcript) -> str | None:
        wrong = None
        for one in checks:
            wrong = one(seen)
            if wrong is None:
                return None
        return wrong

    return check


def status(*codes: int, at: int = -1) -> Check:
    """One of these codes. Who ignores Range, as any server may, is not measured by 206 and 416."""

    def check(seen: Transcript) -> str | None:
        found = seen[at].status
        if found == 200 and codes in {(206,), (416,)}:
            raise NotMeasuredError("ignores Range")
        return None if found in codes else str(found)

    return check


def measured(*codes: int, at: int = -1) -> Check:
    """As `status`; a server that answers otherwise is not measured."""

    def check(seen: Transcript) -> str | None:
        if seen[at].status not in codes:
            raise NotMeasuredError(str(seen[at].status))
        return None

    return check


def coded(at: int = 0, name: str = "gzip") -> Check:
    """The answer is in that content coding; a server that has none is not measured."""

    def check(seen: Transcript) -> str | None:
        if seen[at].get("content-encoding") != name:
            raise NotMeasuredError(f"no {name}")
        return None

    return check


def has(name: str, value: str | None = None, at: int = -1) -> Check:
    """The answer has that field, with that value if one is given."""

    def check(seen: Transcript) -> str | None:
        found = seen[at].get(name)
        if found is None:
            return f"no {name}"
        return None if value is None or found == value else f"{name}: {found[:50]}"

    return check


def lacks(*names: str, at: int = -1) -> Check:
    return lambda seen: next((f"has {name}" for name in names if seen[at].get(name)), None)


def lists(name: str, *members: str, at: int = -1) -> Check:
    """A list field has these members, in any case and order, perhaps with others."""

    def check(seen: Transcript) -> str | None:
        missing = {member.lower() for member in members} - seen[at].members(name)
        return f"{name} without {', '.join(sorted(missing))}" if missing else None

    return check


def content(octets: bytes, at: int = -1) -> Check:
    return lambda seen: None if seen[at].content == octets else "other content"


def contains(octets: bytes, at: int = -1) -> Check:
    return lambda seen: None if octets in seen[at].content else "incomplete content"


def whole(octets: bytes, at: int = -1) -> Check:
    """200 with all of a representation's octets."""
    return every(status(200, at=at), content(octets, at), lacks("content-range", at=at))


def part(octets: bytes, first: int, last: int, at: int = -1) -> Check:
    """206 with the octets `first` to `last` of a representation, as a single part."""
    return every(
        status(206, at=at),
        has("content-range", f"bytes {first}-{last}/{len(octets)}", at),
        content(octets[first : last + 1], at),
    )


def parts(octets: bytes, *ranges: tuple[int, int], kind: str | None = None) -> Check:
    """206 with exactly these ranges of a representation, in this order, as multipart/byteranges."""

    def check(seen: Transcript) -> str | None:
        if wrong := status(206)(seen):
            return wrong
        found = multipart(seen[-1])
        if isinstance(found, str):
            return found
        wanted = [f"bytes {first}-{last}/{len(octets)}" for first, last in ranges]
        if [fields.get("content-range") for fields, _ in found] != wanted:
            return "parts " + ", ".join(fields.get("content-range", "?") for fields, _ in found)
        if any(
            piece != octets[first : last + 1]
            for (first, last), (_, piece) in zip(ranges, found, strict=True)
        ):
            return "other content in a part"
        if kind is not None and any(fields.get("content-type") != kind for fields, _ in found):
            return "a part without the Content-Type"
        return None

    return check


def multipart(answer: Answer) -> list[tuple[dict[str, str], bytes]] | str:
    """The parts of a multipart/byteranges content, or what is wrong with it (RFC 2046, 5.1.1)."""
    kind = re.fullmatch(
        r"multipart/byteranges; *boundary=([0-9A-Za-z'()+_,./:=?-]{1,70})",
        answer.get("content-type") or "",
        re.IGNORECASE,
    )
    if kind is None:
        return f"Content-Type: {answer.get('content-type')}"
    if answer.get("content-range") is not None:
        return "Content-Range beside multipart"
    delimiter = b"\r\n--" + kind[1].encode()
    before, *pieces, end = (b"\r\n" + answer.content).split(delimiter)
    if before.strip(b"\r\n") or not re.fullmatch(rb"--[\t ]*(\r\n.*)?", end, re.DOTALL):
        return "delimiters out of order"
    found = []
    for piece in pieces:
        head = PART_HEAD.match(piece)
        if head is None:
            return "a part without a head"
        lines = [line.partition(":") for line in head[1].decode("latin-1").split("\r\n")[:-1]]
        fields = {name.lower(): value.strip() for name, _, value in lines}
        found.append((fields, piece[head.end() :]))
    return found


def empty(at: int = -1) -> Check:
    """The answer has no content, and none was sent: what follows on the connection is an answer."""
    return lambda seen: "has content" if seen[at].content else None


def same(*names: str, of: int = 0, at: int = -1) -> Check:
    """These fields are in both answers, with the same value, or in neither."""

    def check(seen: Transcript) -> str | None:
        for name in names:
            if (mine := seen[at].get(name)) != seen[of].get(name):
                return f"another {name}" if mine else f"no {name}"
        return None

    return check


def same_if_any(*names: str, of: int = 0, at: int = -1) -> Check:
    """As `same`; not measured on a server whose first answer has none of these fields."""

    def check(seen: Transcript) -> str | None:
        if not any(seen[of].get(name) for name in names):
            raise NotMeasuredError("sends none")
        return same(*names, of=of, at=at)(seen)

    return check


def differs(name: str, of: int = 0, at: int = -1) -> Check:
    """A field is in both answers, with different values."""

    def check(seen: Transcript) -> str | None:
        values = seen[of].get(name), seen[at].get(name)
        if None in values:
            raise NotMeasuredError(f"no {name}")
        return "the same" if values[0] == values[1] else None

    return check


def etag(at: int = -1, *, strong: bool = False) -> Check:
    """The answer has an entity tag by the grammar. With `strong`, who has none is not measured."""

    def check(seen: Transcript) -> str | None:
        tag = seen[at].get("etag")
        if strong and (tag is None or tag.startswith("W/")):
            raise NotMeasuredError("no strong ETag")
        if tag is None:
            return "no ETag"
        return None if ETAG.fullmatch(tag) else f"ETag: {tag}"

    return check


def coding(name: str, at: int = -1) -> Check:
    """200 with /style.css in that content coding, "identity" for none."""

    def check(seen: Transcript) -> str | None:
        answer = seen[at]
        if answer.status != 200:
            return str(answer.status)
        used = answer.get("content-encoding") or "identity"
        if used != name:
            return used
        return None if answer.content == style(name) else "other content"

    return check


def one_of(*codings: str) -> Check:
    return either(*(coding(each) for each in codings))


def any_coding(*, but: str = "") -> Check:
    """200 with /style.css, in any form that the client accepts."""
    return one_of(*(each for each in ("identity", *SUFFIXES) if each != but))


def gunzipped(octets: bytes) -> Check:
    """200, and the content without its gzip coding, if it has one, is this."""

    def check(seen: Transcript) -> str | None:
        answer = seen[-1]
        if answer.status != 200:
            return str(answer.status)
        used = answer.get("content-encoding")
        if used not in {None, "gzip"}:
            return str(used)
        plain = gzip.decompress(answer.content) if used else answer.content
        return None if plain == octets else "other content"

    return check


def date(name: str = "date", at: int = -1) -> Check:
    """The field is a date in the form that a sender has to use (RFC 9110, 5.6.7)."""

    def check(seen: Transcript) -> str | None:
        value = seen[at].get(name)
        if value is None:
            return f"no {name}"
        seconds = parse_http_date(value, seen.began)
        if seconds is None or imf_fixdate(seconds) != value:
            return f"{name}: {value}"
        return None

    return check


def seconds_of(seen: Transcript, name: str, at: int = -1) -> int:
    """A date field in seconds since the epoch."""
    value = seen[at].get(name)
    seconds = None if value is None else parse_http_date(value, seen.began)
    if seconds is None:
        raise NotMeasuredError(f"no {name}")
    return seconds


def refused(*codes: int) -> Check:
    """An answer with one of these codes (400 if none is given), and then the connection's end."""

    def check(seen: Transcript) -> str | None:
        if not seen.answers and seen.ended:
            return "closes without an answer"
        if seen[0].status not in (codes or (400,)):
            return str(seen[0].status)
        return None if seen.ended and len(seen.answers) == 1 else "the connection stays"

    return check


def ends() -> Check:
    """The server has closed the connection after its answers."""
    return lambda seen: None if seen.ended else "the connection stays"


def answered(count: int) -> Check:
    """There are that many answers."""

    def check(seen: Transcript) -> str | None:
        found = len(seen.answers)
        if found == count:
            return None
        return f"closes after answer {found}" if found < count else f"{found} answers"

    return check


def closes_or(check: Check, after: int) -> Check:
    """The server closes after that many answers, or `check` holds."""

    def either_way(seen: Transcript) -> str | None:
        return None if seen.ended and len(seen.answers) == after else check(seen)

    return either_way


def told(name: str, holds: Callable[[Answer], bool]) -> Check:
    """The last answer is such that `holds`; `name` says what is wrong otherwise."""
    return lambda seen: None if holds(seen[-1]) else name
