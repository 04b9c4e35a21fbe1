"""Targets in portico.http, and the PROXY protocol.

Each takes any octets, and raises where a rule does not hold.

Where a rule can be told in a few other words, it is, and the two must agree.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from binascii import a2b_base64
from datetime import UTC, datetime
from ipaddress import ip_address
from random import Random
from zlib import crc32

from portico.http import digests
from portico.http.codings import IDENTITY, MEMBERS_LIMIT, acceptable
from portico.http.conditional import Validators, evaluate
from portico.http.dates import parse_http_date
from portico.http.forwarded import client_of_forwarded, client_of_x_forwarded
from portico.http.h1.head import TARGET_LIMIT, HeadParser, without_query
from portico.http.h1.serialize import LAST_CHUNK, chunk, field_lines
from portico.http.message import CHUNKED
from portico.http.ranges import (
    PART_COST,
    RANGES_LIMIT,
    WASTE_LIMIT,
    Multipart,
    content_range,
    parse_range,
)
from portico.server.net.proxy_protocol import V2_LIMIT, read_header
from tests.differential.readers import READERS, by_portico, frames_otherwise
from tests.http.h1.feeding import (
    BARE,
    REFUSALS,
    Content,
    attributes,
    cut,
    read_content,
    read_head,
)

NOW = 1_700_000_000
"""When requests arrive, in seconds since the epoch."""
_NO_VALUE = re.compile("[^\t -~\x80-\xff]")


def value_of(octets: bytes) -> str:
    """Return the octets as a field value, as the parser of heads hands one on."""
    return _NO_VALUE.sub("", octets.decode("latin-1")).strip(" \t")


def places(octets: bytes) -> list[int]:
    """Return where a message is cut: the same places each time that it is tried."""
    random = Random(crc32(octets))
    return [random.randint(0, len(octets)) for _ in range(random.randint(1, 8))]


def head(octets: bytes) -> None:
    whole = read_head([octets])
    assert whole.status in REFUSALS | {0}
    pieces = read_head(cut(octets, places(octets)))
    if BARE.search(octets) and whole.status:
        assert pieces.status in {400, whole.status}
    else:
        assert pieces == whole
    parser = HeadParser()
    for other in (octets, octets.replace(b"a", b"b"), octets[::-1], octets, octets):
        read_head([other], parser)
    assert read_head([octets], parser) == whole, "what came before changes the meaning"
    found = whole.head
    if found is None or len(str(found["target"])) > TARGET_LIMIT:
        return  # encoded octets have made it longer than it was
    assert octets.endswith(whole.rest)
    line = f"{found['method']} {found['target']} HTTP/1.{found['version']}\r\n".encode()
    fields = found["fields"]
    assert isinstance(fields, tuple)
    written = line + field_lines(fields) + b"\r\n"
    key = parser.key(written)
    assert attributes(parser.interpret(key)) == found, "written again, it means something else"
    bare = without_query(key)
    if bare is not None:
        expected = found | {"query": None, "target": str(found["target"]).partition("?")[0]}
        assert attributes(parser.interpret(bare)) == expected


def content(octets: bytes) -> None:
    whole = read_content(CHUNKED, [octets])
    assert read_content(CHUNKED, cut(octets, places(octets))) == whole
    assert whole.status in {0, 400}
    if whole.complete:
        assert octets.endswith(whole.rest)
        assert len(whole.content) + len(LAST_CHUNK) + len(whole.rest) <= len(octets)
        sent = (chunk(whole.content) if whole.content else b"") + LAST_CHUNK + whole.rest
        assert read_content(CHUNKED, [sent]) == whole
    length = crc32(octets) % 100
    counted = read_content(length, cut(octets, places(octets)))
    assert counted == Content(octets[:length], length <= len(octets), octets[length:])


def framing(octets: bytes) -> None:
    """Requests as on one connection: what is accepted here, no other parser frames otherwise.

    For llhttp all behind CONNECT and Upgrade is of another protocol.
    """
    ours = by_portico(octets)
    for name, read in READERS.items():
        tunnel = name == "llhttp" and re.search(rb"(?i)connect |upgrade", octets)
        assert tunnel or not frames_otherwise(ours, read(octets)), name


def ranges(octets: bytes) -> None:
    """A line with the length of the representation; then the value of Range."""
    first, _, rest = octets.partition(b"\n")
    length = int(re.sub(rb"[^0-9]", b"", first)[:18] or b"0")
    value = value_of(rest)
    for size in {length, length % 1000}:
        parts = parse_range(value, size)
        for start, end in parts or ():
            assert 0 <= start < end <= size
        if parts and len(parts) > 1:
            ordered = sorted(parts)
            assert all(one[1] < other[0] for one, other in itertools.pairwise(ordered))
            assert sum(end - start + PART_COST for start, end in parts) <= size + WASTE_LIMIT
            multipart = Multipart(parts, "text/plain", size, "B")
            assert multipart.content_length >= sum(end - start for start, end in parts)
            for (start, end), (begun, *place) in zip(parts, multipart.parts, strict=True):
                assert place == [start, end]
                assert content_range(start, end, size).encode() in begun
        if size < 1000:
            wanted = _octets_wanted(value, size)
            if parts is not None:
                assert wanted == {octet for part in parts for octet in range(*part)}
            elif wanted is not None and value.count(",") < RANGES_LIMIT:
                assert len(wanted) + PART_COST * value.count("-") > size + WASTE_LIMIT


def _octets_wanted(value: str, length: int) -> set[int] | None:
    """Return the positions that a Range selects; None for one to be ignored (RFC 9110, 14.1.2)."""
    unit, _, specs = value.partition("=")
    elements = [spec for each in specs.split(",") if (spec := each.strip(" \t"))]
    if unit.lower() != "bytes" or not elements or not length:
        return None
    wanted: set[int] = set()
    for spec in elements:
        found = re.fullmatch(r"([0-9]+)-([0-9]*)|-([0-9]+)", spec)
        if found is None:
            return None
        first, last, suffix = (None if not text else _bounded(text) for text in found.groups())
        if suffix is not None or first is None:
            wanted |= set(range(max(0, length - (suffix or 0)), length))
        elif last is not None and last < first:
            return None
        else:
            wanted |= set(range(first, min(length, length if last is None else last + 1)))
    return wanted


def _bounded(digits: str) -> int:
    return min(int(digits[-30:]) if not digits[:-30].strip("0") else 10**18, 10**18)


def conditions(octets: bytes) -> None:
    """A line with method, tag and date of what is there; then field lines."""
    first, *lines = octets.decode("latin-1").split("\n")
    method, tag, date, *_ = [*first.split(" "), "", "", ""]
    tags = _tags(tag)
    then = int(re.sub("[^0-9]", "", date)[:10] or NOW)
    there = Validators(tags[0] if tags else None, min(then, NOW), exists=bool(tags))
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            fields[name.lower()] = value_of(value.encode("latin-1"))
    assert evaluate(fields.get, method, there, NOW) == _evaluated(fields, method, there)


def _evaluated(  # noqa: C901, PLR0911
    fields: dict[str, str], method: str, there: Validators
) -> int:
    """Return what RFC 9110, 13.2.2 says: 0, 200, 304 or 412."""
    if method in {"CONNECT", "OPTIONS", "TRACE"}:
        return 0
    reads, modified, there_tag = (
        method in {"GET", "HEAD"},
        there.last_modified or 0,
        there.etag or "",
    )
    wanted = fields.get("if-match")
    if wanted is not None:
        strong = there_tag[:1] == '"' and there_tag in (_tags(wanted) or ())
        if not (there.exists if wanted == "*" else strong):
            return 412
    elif (date := _date(fields.get("if-unmodified-since"))) is not None and modified > date:
        return 412
    unwanted = fields.get("if-none-match")
    if unwanted is not None:
        tags = _tags(unwanted)
        same = there.exists and there_tag.removeprefix("W/") in [
            tag.removeprefix("W/") for tag in tags or ()
        ]
        if unwanted == "*":
            same = there.exists
        elif tags is None:
            same = not reads
        if same:
            return 304 if reads else 412
    elif (
        reads and (date := _date(fields.get("if-modified-since"))) is not None and modified <= date
    ):
        return 304
    known = fields.get("if-range")
    if method != "GET" or known is None or "range" not in fields:
        return 0
    if '"' in known[:3]:
        holds = known == there_tag and known[0] == '"'
    else:
        holds = _date(known) == modified and modified < NOW
    return 0 if holds else 200


def _tags(value: str) -> list[str] | None:
    """Return a list of entity tags, read from left to right; None if it is malformed."""
    tags, left, may_follow = [], value, True
    while left := left.lstrip(" \t"):
        if left[0] == ",":
            left, may_follow = left[1:], True
            continue
        found = re.match('(?:W/)?"[!#-~\x80-\xff]*"', left)
        if found is None or not may_follow:
            return None
        tags.append(found[0])
        left, may_follow = left[found.end() :], False
    return tags


_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_LONG = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_SHORT = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTH, _CLOCK = f"(?P<month>{'|'.join(_MONTHS)})", "(?P<clock>[0-9]{2}:[0-9]{2}:[0-9]{2})"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORMS = (
    f"{_SHORT}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_CLOCK} GMT",
    f"{_SHORT} {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_CLOCK} (?P<year>[0-9]{{4}})",
    f"{_LONG}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_CLOCK} GMT",
)


def _date(value: str | None) -> int | None:
    """Return the seconds of an HTTP-date by the standard library's calendar; None if it is none."""
    for form in _FORMS:
        found = re.fullmatch(form, value or "")
        if found is None:
            continue
        year, day, month = int(found["year"]), int(found["day"]), _MONTHS.index(found["month"]) + 1
        if len(found["year"]) == 2:
            date = (month, day, found["clock"])
            # NOW is 14 November 2023; 50 years of 365.2425 days later is this:
            year += 2000 if (year, *date) <= (73, 11, 14, "01:13:20") else 1900
        hour, minute, second = map(int, found["clock"].split(":"))
        leap = found["clock"] == "23:59:60"
        if year == 0:
            return parse_http_date(value or "", NOW)  # a year that the calendar lacks
        with contextlib.suppress(ValueError):
            moment = datetime(year, month, day, hour, minute, second - leap, tzinfo=UTC)
            return int((moment - _EPOCH).total_seconds()) + leap
    return None


def dates(octets: bytes) -> None:
    value = value_of(octets)
    assert parse_http_date(value, NOW) == _date(value)


CODINGS = ("br", "zstd", "gzip", IDENTITY)


def codings(octets: bytes) -> None:
    value = value_of(octets)
    found = acceptable(value, CODINGS)
    weights = _weights(value)
    expected = [
        (-weight, place, coding)
        for place, coding in enumerate(CODINGS)
        if (weight := weights.get(coding, weights.get("*", 1 if coding == IDENTITY else 0)))
    ]
    assert found == [coding for *_, coding in sorted(expected)]
    assert found == acceptable(value.swapcase(), CODINGS)


def _weights(value: str) -> dict[str, float]:
    """Return the weight of each coding in thousandths; identity unnamed counts as less than any."""
    weights: dict[str, float] = {}
    for member in value.lower().split(",")[:MEMBERS_LIMIT]:
        found = re.fullmatch(
            r"[ \t]*([^;]*?)[ \t]*(?:;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?", member
        )
        if found and found[1]:
            name = "gzip" if found[1] == "x-gzip" else found[1]
            weight = 1000 * float(found[2] or 1)
            weights[name] = min(weight, weights.get(name, weight))
    return weights


def structured(octets: bytes) -> None:
    value = value_of(octets)
    members = _dictionary(value)
    wanted = (members or {}).get("sha-256", "")
    assert digests.is_wanted(value) == bool(re.fullmatch("10|[1-9]", wanted))
    try:
        claims = digests.claimed(value)
    except ValueError:
        return
    for name, digest in claims.items():
        assert len(digest) == digests.LENGTHS[name]
        if name == digests.ALGORITHM:
            assert digests.claimed(digests.digest_value(digest)) == {name: digest}
        if members is not None:
            assert a2b_base64(members[name].strip(":")) == digest


def _dictionary(value: str) -> dict[str, str] | None:
    """Return a dictionary's members as texts; None if it fails (RFC 8941, 4.2.2, step by step)."""
    members: dict[str, str] = {}
    left = value.strip(" ")
    while left:
        key, left = _cut("[a-z*][a-z0-9_.*-]*", left)
        if key is None:
            return None
        member: str | None = "?1"
        if left[:1] == "=":
            member, left = _inner_list(left[1:]) if left[1:2] == "(" else _item(left[1:])
        else:
            _, left = _parameters(left)
        if member is None:
            return None
        members[key] = member
        left = left.lstrip(" \t")
        if not left:
            return members
        if left[0] != "," or not (left := left[1:].lstrip(" \t")):
            return None
    return None  # empty: no member is wanted either


def _cut(pattern: str, text: str) -> tuple[str | None, str]:
    found = re.match(pattern, text)
    return (None, text) if found is None else (found[0], text[found.end() :])


def _item(text: str) -> tuple[str | None, str]:
    item, left = _bare_item(text)
    if item is None:
        return None, left
    good, left = _parameters(left)
    return (item if good else None), left


def _bare_item(text: str) -> tuple[str | None, str]:
    for pattern in (
        *(r"-?[0-9]{1,12}\.[0-9]{1,3}(?![0-9])", r"-?[0-9]{1,15}(?![0-9.])"),
        *(r'"(?:[ !#-\[\]-~]|\\["\\])*"', r"[A-Za-z*][A-Za-z0-9:/!#$%&'*+.^_`|~-]*"),
        *(":[A-Za-z0-9+/=]*:", r"\?[01]"),
    ):
        item, left = _cut(pattern, text)
        if item is not None:
            return item, left
    return None, text


def _parameters(text: str) -> tuple[bool, str]:
    while text[:1] == ";":
        key, text = _cut("[a-z*][a-z0-9_.*-]*", text[1:].lstrip(" "))
        if key is None:
            return False, text
        if text[:1] == "=":
            value, text = _bare_item(text[1:])
            if value is None:
                return False, text
    return True, text


def _inner_list(text: str) -> tuple[str | None, str]:
    left = text[1:]
    while True:
        left = left.lstrip(" ")
        if left[:1] == ")":
            good, left = _parameters(left[1:])
            return ("()" if good else None), left
        item, left = _item(left)
        if item is None or left[:1] not in {" ", ")"}:
            return None, left


def _is_trusted(address: str) -> bool:
    return address.startswith("10.")


def forwarded(octets: bytes) -> None:
    """What a client sends in X-Forwarded-For or Forwarded, before proxies add to it."""
    value = value_of(octets)
    for found in (
        client_of_x_forwarded(value, value, "10.0.0.1", _is_trusted),
        client_of_forwarded(value, "10.0.0.1", _is_trusted),
    ):
        address, scheme = found
        assert str(ip_address(address)) == address
        assert scheme in {"", "http", "https"}
    added = f"{value}, 192.0.2.7, 10.0.0.2"
    expected = ("192.0.2.7", "https")
    schemes = f"{value}, https, http"
    assert client_of_x_forwarded(added, schemes, "10.0.0.1", _is_trusted) == expected
    added = f"{value}, for=192.0.2.7;proto=https, for=10.0.0.2"
    assert client_of_forwarded(added, "10.0.0.1", _is_trusted) == expected
    for told in (
        client_of_x_forwarded(value, value, "192.0.2.1", _is_trusted),
        client_of_forwarded(value, "192.0.2.1", _is_trusted),
    ):
        assert told == ("192.0.2.1", "")


def proxy_protocol(octets: bytes) -> None:
    try:
        found = read_header(octets)
    except ValueError:
        return
    shorter = octets[: crc32(octets) % (len(octets) + 1)]
    if found is None:
        assert len(octets) < V2_LIMIT
        assert read_header(shorter) is None
        return
    length, address = found
    assert length <= min(len(octets), V2_LIMIT)
    assert read_header(octets[:length]) == found
    assert read_header(octets + b"GET /") == found
    assert len(shorter) >= length or read_header(shorter) is None
    assert not address or str(ip_address(address)) == address
