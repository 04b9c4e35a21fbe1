"""For any file, ranges and conditions: the parts are exactly the octets that were asked for."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.http.message import Response
from portico.site.origin.etags import tag_of
from portico.site.origin.folder import SMALL
from tests.site.asking import Client, content, fields, parts, settle_all
from tests.site.compression.copying import noise

SIZES = (0, 1, 2, 255, SMALL, SMALL + 1, 3 * SMALL)
OCTETS = noise(max(SIZES))

Spec = tuple[int | None, int | None]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with tempfile.TemporaryDirectory(prefix="portico-") as name:
        root = Path(name)
        for size in SIZES:
            (root / f"{size}.bin").write_bytes(OCTETS[:size])
            (root / f"{size}.html").write_bytes(b"original")
            (root / f"{size}.html.br").write_bytes(OCTETS[:size])
        settle_all(root)
        yield Client(root)


def specs(limit: int) -> st.SearchStrategy[Spec]:
    position = st.integers(0, limit)
    pair = st.tuples(position, position).map(lambda both: (min(both), max(both)))
    return st.one_of(pair, st.tuples(position, st.none()), st.tuples(st.none(), position))


def selected(spec: Spec, length: int) -> range:
    """What one range-spec asks for, in plain words (RFC 9110, 14.1.2)."""
    first, last = spec
    if first is None:
        return range(max(0, length - (last or 0)), length)
    return range(first, length if last is None else min(last + 1, length))


def received(response: Response) -> list[tuple[int, bytes]]:
    """What came: each part's first position, and its octets."""
    found = fields(response)
    if "Content-Range" in found:
        heads = [(found["Content-Range"], content(response))]
    else:
        heads = [(head["Content-Range"], octets) for head, octets in parts(response)]
    return [(int(value[6:].partition("-")[0]), octets) for value, octets in heads]


@settings(deadline=None)
@given(
    st.sampled_from(SIZES).flatmap(
        lambda size: st.tuples(st.just(size), st.lists(specs(size + 10), min_size=1, max_size=12))
    ),
    st.booleans(),
    st.sampled_from(["", "own", "other"]),
)
def test_parts_are_the_octets_that_were_asked_for(
    client: Client, case: tuple[int, list[Spec]], coded: bool, if_range: str
) -> None:
    size, wanted = case
    octets = OCTETS[:size]
    written = [
        f"{'' if first is None else first}-{'' if last is None else last}" for first, last in wanted
    ]
    lines = [f"Range: bytes={', '.join(written)}"]
    if if_range:
        tag = tag_of(sha256(octets if if_range == "own" else b"other").digest())
        lines.append(f"If-Range: {tag}")
    coded = coded and size > 0  # an empty file is in no coding
    path = f"/{size}.html" if coded else f"/{size}.bin"
    if coded:
        lines.append("Accept-Encoding: br, identity;q=0")
    response = client.ask(path, *lines)
    asked = {place for spec in wanted for place in selected(spec, size)}
    if if_range == "other" or size == 0:
        assert (response.status, content(response)) == (200, octets)
    elif not asked:
        assert response.status == 416
        assert fields(response)["Content-Range"] == f"bytes */{size}"
    elif response.status == 200:  # many parts that would come to more than the whole
        assert len(wanted) > 1
        assert content(response) == octets
    else:
        assert response.status == 206
        came = received(response)
        places = [start + index for start, part in came for index in range(len(part))]
        assert len(places) == len(set(places))
        assert set(places) == asked
        assert all(octets[start : start + len(part)] == part for start, part in came)
        assert fields(response)["Content-Length"] == str(len(content(response)))


@settings(deadline=None)
@given(
    st.sampled_from(SIZES[1:]), st.lists(st.integers(1, 3 * SMALL - 1), max_size=8), st.booleans()
)
def test_download_in_pieces_is_the_file(
    client: Client, size: int, cuts: list[int], coded: bool
) -> None:
    bounds = sorted({0, size, *(cut for cut in cuts if cut < size)})
    path = f"/{size}.html" if coded else f"/{size}.bin"
    lines = ("Accept-Encoding: br",) if coded else ()
    tag = fields(client.ask(path, *lines, method="HEAD"))["ETag"]
    together = b""
    for start, end in pairwise(bounds):
        piece = client.ask(path, *lines, f"Range: bytes={start}-{end - 1}", f"If-Range: {tag}")
        assert piece.status == 206
        together += content(piece)
    assert together == OCTETS[:size]
