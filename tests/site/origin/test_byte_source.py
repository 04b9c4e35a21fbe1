"""Content of known length, in memory and in a file: cut, read and sent in the same way."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from portico.http.content import ByteSource, ContentChanged, Octets, Outgoing
from portico.site.origin.freshness import Freshness
from portico.site.origin.open_file import TAIL, FileSlice, OpenFile, Waiting, open_file

CONTENT = bytes(range(256)) * 20
SIZE = len(CONTENT)
Make = Callable[[Path], ByteSource]


def opened(path: Path) -> OpenFile:
    return open_file(str(path), os.O_RDONLY, Freshness())[0]


def in_memory(_path: Path) -> Octets:
    return Octets(CONTENT)


def in_a_file(path: Path) -> FileSlice:
    path.write_bytes(CONTENT)
    return FileSlice(opened(path), 0, SIZE)


def within_a_file(path: Path) -> FileSlice:
    path.write_bytes(b"before" + CONTENT + b"behind")
    return FileSlice(opened(path), 6, SIZE)


@pytest.fixture(params=[in_memory, in_a_file, within_a_file])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> ByteSource:
    make: Make = request.param
    return make(tmp_path / "file")


@pytest.mark.parametrize(("start", "end"), [(0, SIZE), (0, 0), (1, 2), (300, SIZE), (SIZE, SIZE)])
def test_a_slice_is_a_source_of_its_own(source: ByteSource, start: int, end: int) -> None:
    part = source.slice(start, end)
    assert len(part) == end - start
    assert part.read() == CONTENT[start:end]
    assert part.slice(0, (end - start) // 2).read() == CONTENT[start : start + (end - start) // 2]
    assert source.read() == CONTENT


@pytest.mark.parametrize("size", [1, 1000, SIZE, SIZE + 1])
def test_pieces_are_of_the_size_that_is_asked_for(source: ByteSource, size: int) -> None:
    pieces = list(source.pieces(size))
    assert b"".join(pieces) == CONTENT
    assert {len(piece) for piece in pieces[:-1]} <= {size}
    assert list(source.slice(5, 5).pieces(size)) == []


def test_it_says_whether_it_is_in_memory(source: ByteSource) -> None:
    assert source.in_memory == (CONTENT if isinstance(source, Octets) else None)
    assert not source.is_stream
    assert not source.has_changed()


@pytest.mark.parametrize("most", [1, 999, 1 << 20])
def test_each_time_it_is_sent_whole(source: ByteSource, most: int) -> None:
    for _ in range(2):
        outgoing = source.outgoing()
        sent = b""
        while not outgoing.is_done:
            part = None if outgoing.memory else outgoing.file_part(most)
            if part is None:
                octets = bytes(outgoing.memory[:most])
            else:
                fd, offset, count = part
                assert 0 < count <= most
                octets = os.pread(fd, count, offset)
            sent += octets
            outgoing.advance(len(octets))
        assert sent == CONTENT
        assert outgoing.framing_sent == 0


def test_a_file_that_changes_says_so(tmp_path: Path) -> None:
    source = in_a_file(tmp_path / "file")
    os.truncate(tmp_path / "file", SIZE - 1)
    assert source.has_changed()
    assert source.read() == CONTENT[:-1]
    last = source.slice(SIZE - TAIL, SIZE).outgoing()
    with pytest.raises((ContentChanged, Waiting)) as raised:
        last.file_part(TAIL)
    if isinstance(raised.value, Waiting):  # what is not there is not in memory either
        assert raised.value.work is not None
        raised.value.work()
    with pytest.raises(ContentChanged):
        last.file_part(TAIL)


def test_octets_are_advanced_by_what_was_sent() -> None:
    outgoing = Outgoing(b"abc")
    outgoing.advance(2)
    assert (bytes(outgoing.memory), outgoing.is_done) == (b"c", False)
    outgoing.advance(1)
    assert outgoing.is_done
