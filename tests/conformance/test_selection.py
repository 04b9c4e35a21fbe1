"""For any file, any set of ranges and any conditions, what comes is exactly what was selected.

The oracle is a second, naive implementation: a mask of the octets asked for, and for each condition
a table of what it comes to.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import portico
from portico.http.ranges import PART_COST, RANGES_LIMIT, WASTE_LIMIT
from tests.conformance.case import filled
from tests.conformance.checks import multipart
from tests.conformance.exchange import Address, Answer, Connection
from tests.conformance.served import ASCTIME, EARLIER, IMF, LATER, MODIFIED, RFC850, coded, put
from tests.server.clients import PATIENCE, eventually, request

SIZES = (0, 1, 2, 10, 999, 5000, 32_768, 32_769, 100_000)
"""Of the files that stay as they are; from 32,769 on they are sent from the disk."""
FRESH = "fresh.bin"
CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)")

# For each field what it may say and what that comes to, None for being ignored (RFC 9110, 13.1).
IF_MATCH = {
    "*": True,
    "{etag}": True,
    '"other" , {etag}': True,
    '"other"': False,
    "W/{opaque}": False,
    "nonsense": False,
}
IF_UNMODIFIED_SINCE = {IMF: True, RFC850: True, LATER: True, EARLIER: False, "nonsense": None}
IF_NONE_MATCH = {
    "*": False,
    "{etag}": False,
    "W/{opaque}": False,
    'W/"other",{etag}': False,
    '"other"': True,
}
IF_MODIFIED_SINCE = {IMF: False, ASCTIME: False, LATER: False, EARLIER: True, "nonsense": None}
IF_RANGE = {
    "{etag}": True,
    IMF: True,
    '"other"': False,
    "W/{opaque}": False,
    LATER: False,
    EARLIER: False,
    "nonsense": False,
}
FIELDS: dict[str, Mapping[str, bool | None]] = {
    "If-Match": IF_MATCH,
    "If-Unmodified-Since": IF_UNMODIFIED_SINCE,
    "If-None-Match": IF_NONE_MATCH,
    "If-Modified-Since": IF_MODIFIED_SINCE,
    "If-Range": IF_RANGE,
}


class Resource(NamedTuple):
    """A path, the codings to accept, and the octets of the representation that these select."""

    path: str
    accept_encoding: str
    octets: bytes


class Asked(NamedTuple):
    """A request: its method, its Range, and what its conditions say."""

    method: str
    range: str | None
    conditions: dict[str, str]

    def lines(self) -> list[str]:
        ranged = [] if self.range is None else [f"Range: {self.range}"]
        return [*ranged, *(f"{name}: {value}" for name, value in self.conditions.items())]


def made(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("selection")
    for size in SIZES:
        put(folder, f"{size}.bin", made(size))
    put(folder, "text.css", b"p { margin: 0 }\n" * 500)
    put(folder, "text.css.gz", coded("gzip", b"p { margin: 0 }\n" * 500))
    return folder


@pytest.fixture(scope="module")
def resources(site: Path) -> list[Resource]:
    files = [Resource(f"/{size}.bin", "identity", made(size)) for size in SIZES]
    gzip = Resource("/text.css", "gzip, identity;q=0", (site / "text.css.gz").read_bytes())
    plain = Resource("/text.css", "identity", (site / "text.css").read_bytes())
    return [*files, gzip, plain]


@pytest.fixture(scope="module")
def address(site: Path, resources: list[Resource]) -> Iterator[Address]:
    """A server that has found all files to be at rest: only then do they have tags."""
    with portico.Server(site) as server:
        parts = urlsplit(server.url)
        assert parts.hostname is not None
        assert parts.port is not None
        address = parts.hostname, parts.port

        def have_tags() -> bool:
            with Connection(address, PATIENCE) as connection:
                heads = [ask(connection, each, Asked("HEAD", None, {})) for each in resources]
            return all(answer.get("etag") for answer in heads)

        eventually(have_tags)
        yield address


def ask(
    connection: Connection, resource: Resource, asked: Asked, first: Answer | None = None
) -> Answer:
    """The answer to a request whose conditions name what the `first` answer has said."""
    encoding = f"Accept-Encoding: {resource.accept_encoding}"
    head = request(asked.method, resource.path, encoding, *asked.lines())
    connection.send(filled(head, [] if first is None else [first]))
    answer = connection.answer(asked.method)
    assert answer is not None
    return answer


@st.composite
def range_sets(draw: st.DrawFn, size: int) -> str:
    """A Range field for a representation of that size: mostly valid, sometimes not."""
    position = st.integers(0, size + 3) | st.sampled_from((0, max(0, size - 1), size, 2**64))
    span = st.integers(0, 40)
    spec = st.one_of(
        st.builds(lambda first, length: f"{first}-{first + length}", position, span),
        st.builds("{}-{}".format, position, position),
        st.builds("{}-".format, position),
        st.builds("-{}".format, position),
        st.sampled_from(("", " ", "0-0", "-1", "007-0008")),
    )
    odd = st.sampled_from(("-", "5-4", "a-b", "1-2-3", "--1", "+1-2", "1 -2", "0x1-2", "٣-٤"))
    specs = draw(st.lists(spec, min_size=1, max_size=draw(st.sampled_from((1, 3, 12, 60)))))
    if draw(st.integers(0, 9)) == 0:
        specs.insert(draw(st.integers(0, len(specs))), draw(odd).encode().decode("latin-1"))
    comma = draw(st.sampled_from((",", ", ", " ,\t", ",,")))
    unit = draw(st.sampled_from(("bytes", "bytes", "bytes", "bytes", "Bytes", "lines")))
    return f"{unit}={comma.join(specs)}"


@st.composite
def requests(draw: st.DrawFn, size: int) -> Asked:
    names = draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=3, unique=True))
    conditions = {name: draw(st.sampled_from(sorted(FIELDS[name]))) for name in names}
    ranged = draw(st.none() | range_sets(size) | range_sets(size) | range_sets(size))
    return Asked(draw(st.sampled_from(("GET", "GET", "GET", "HEAD"))), ranged, conditions)


def ranges_of(value: str, size: int) -> list[range] | None:
    """What a Range field asks for, one by one; None where it is to be ignored (RFC 9110, 14.1)."""
    unit, _, specs = value.partition("=")
    if unit.lower() != "bytes":
        return None
    asked: list[range] = []
    for spec in (spec.strip(" \t") for spec in specs.split(",")):
        if not spec:
            continue
        found = re.fullmatch("([0-9]*)-([0-9]*)", spec)
        if found is None or not (found[1] or found[2]):
            return None
        if not found[1]:
            asked.append(range(max(0, size - int(found[2])), size))
        elif not found[2]:
            asked.append(range(int(found[1]), size))
        elif int(found[1]) > int(found[2]):
            return None
        else:
            asked.append(range(int(found[1]), min(size, int(found[2]) + 1)))
    return asked or None


def runs_of(asked: list[range], size: int) -> list[tuple[int, int]]:
    """The octets asked for as runs, first and last, in the order of their first mention."""
    mask = bytearray(size)
    for each in asked:
        mask[each.start : each.stop] = b"\1" * len(each)
    runs = [(found.start(), found.end() - 1) for found in re.finditer(b"\1+", mask)]

    def mention(run: tuple[int, int]) -> int:
        return next(
            place for place, each in enumerate(asked) if each and run[0] <= each[0] <= run[1]
        )

    return sorted(runs, key=mention)


def status_of_conditions(asked: Asked) -> int:
    """304, 412, or 200: performed; word for word the steps of RFC 9110, 13.2.2."""
    come_to = {name: FIELDS[name][said] for name, said in asked.conditions.items()}
    if "If-Match" in come_to:
        if not come_to["If-Match"]:
            return 412
    elif come_to.get("If-Unmodified-Since") is False:
        return 412
    if "If-None-Match" in come_to:
        if not come_to["If-None-Match"]:
            return 304
    elif come_to.get("If-Modified-Since") is False:
        return 304
    return 200


def parts_of(answer: Answer, size: int) -> list[tuple[int, int, bytes]]:
    """The parts of a 206: first position, last position, octets."""
    single = answer.get("content-range")
    found = [({"content-range": single}, answer.content)] if single else multipart(answer)
    assert not isinstance(found, str), found
    parts = []
    for fields, octets in found:
        described = CONTENT_RANGE.fullmatch(fields["content-range"])
        assert described is not None
        assert int(described[3]) == size
        parts.append((int(described[1]), int(described[2]), octets))
    return parts


def check(resource: Resource, asked: Asked, answer: Answer) -> None:
    """Is this the answer to what was asked?"""
    octets, size = resource.octets, len(resource.octets)
    status = status_of_conditions(asked)
    if status != 200:
        assert answer.status == status
        return
    ranges = None
    applies = IF_RANGE.get(asked.conditions.get("If-Range", ""), True)
    if asked.method == "GET" and asked.range is not None and applies:
        ranges = ranges_of(asked.range, size)
    if ranges is None or size == 0:
        assert answer.status == 200
        assert answer.content == (b"" if asked.method == "HEAD" else octets)
        assert answer.get("content-length") == str(size)
        return
    runs = runs_of(ranges, size)
    if not runs:
        assert answer.status == 416
        assert answer.get("content-range") == f"bytes */{size}"
    elif answer.status == 200:
        cost = sum(last - first + 1 + PART_COST for first, last in runs)
        too_many = asked.range is not None and asked.range.count(",") >= RANGES_LIMIT
        assert too_many or (len(runs) > 1 and cost > size + WASTE_LIMIT)
        assert answer.content == octets
    else:
        assert answer.status == 206
        wanted = [(first, last, octets[first : last + 1]) for first, last in runs]
        assert parts_of(answer, size) == wanted


@settings(max_examples=100)
@given(data=st.data())
def test_of_a_file_at_rest(
    address: Address, resources: list[Resource], data: st.DataObject
) -> None:
    resource = resources[data.draw(st.integers(0, len(resources) - 1))]
    asked = data.draw(requests(len(resource.octets)))
    with Connection(address, PATIENCE) as connection:
        first = ask(connection, resource, Asked("GET", None, {}))
        assert first.content == resource.octets
        check(resource, asked, ask(connection, resource, asked, first))
        again = ask(connection, resource, Asked("GET", None, {}))
        assert again.content == first.content
        assert again.get("etag") == first.get("etag")


@settings(max_examples=50)
@given(octets=st.binary(max_size=300), data=st.data())
def test_of_a_file_just_written(
    address: Address, site: Path, octets: bytes, data: st.DataObject
) -> None:
    """Its former content is never seen again, whatever tag or part of it is asked for."""
    resource = Resource(f"/{FRESH}", "identity", octets)
    put(site, f"{FRESH}.new", octets, MODIFIED)
    (site / f"{FRESH}.new").replace(site / FRESH)
    asked = data.draw(requests(len(octets)))
    with Connection(address, PATIENCE) as connection:
        first = ask(connection, resource, Asked("GET", None, {}))
        assert first.content == octets
        check(resource, asked, ask(connection, resource, asked, first))


def test_pieces_of_one_version_make_the_whole(address: Address, resources: list[Resource]) -> None:
    """As a download manager does it: eight segments, each under If-Range and If-Match."""
    for resource in resources:
        size = len(resource.octets)
        step = max(1, -(-size // 8))
        with Connection(address, PATIENCE) as connection:
            first = ask(connection, resource, Asked("HEAD", None, {}))
            got = b""
            for start in range(0, size, step):
                segment = f"bytes={start}-{start + step - 1}"
                asked = Asked("GET", segment, {"If-Range": "{etag}", "If-Match": "{etag}"})
                answer = ask(connection, resource, asked, first)
                assert answer.status == 206
                assert answer.get("etag") == first.get("etag")
                got += answer.content
        assert got == resource.octets
