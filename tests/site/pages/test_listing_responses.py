"""What a folder is answered with: a page or JSON, whole or as a stream."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.config.config import Config
from portico.http.content import Stream
from portico.http.h1.head import HeadParser
from portico.http.h1.serialize import field_lines
from portico.http.message import RequestHead, Response
from portico.site.origin.entries import WHOLE
from portico.site.origin.folder import Folder
from portico.site.origin.protocol import Directory, Entry
from portico.site.pages.listing import ROWS, Frame, answer_listing
from portico.site.pages.order import STEP
from tests.server.clients import descriptors, get

JSON = "application/json"
HTML = "text/html; charset=utf-8"
NAMES = st.binary(min_size=1, max_size=255).filter(
    lambda raw: raw not in {b".", b".."} and not {0, ord("/")} & set(raw)
)


def asked(query: str = "", accept: str = "*/*") -> RequestHead:
    return HeadParser().parse(get(f"/{query}", f"Accept: {accept}"))


def entries(count: int) -> Iterator[Entry]:
    for number in range(count):
        yield Entry(f"{number}.txt", False, number, float(number))


def stream(response: Response) -> Stream:
    assert response.is_stream
    (content,) = response.content
    assert isinstance(content, Stream)
    return content


def content(response: Response) -> bytes:
    if response.is_stream:
        return b"".join(stream(response).steps)
    (whole,) = response.content
    assert isinstance(whole, bytes)
    return whole


def answer(
    request: RequestHead, names: tuple[str, ...], found: Iterator[Entry], *, is_long: bool = False
) -> Response:
    return answer_listing(request, names, Directory(found, is_long=is_long), Frame())


def listed(found: Iterator[Entry], query: str = "", names: tuple[str, ...] = ("",)) -> object:
    response = answer(asked(query, JSON), names, found)
    return json.loads(content(response))


@pytest.mark.parametrize(
    "accept",
    [
        JSON,
        "application/json, */*;q=0.5",
        "text/html;q=0.5, a/json, */*;q=0.1, application/json;q=0.6",
    ],
)
def test_programs_get_json(accept: str) -> None:
    response = answer(asked("", accept), ("",), entries(1))
    fields = dict(response.fields)
    assert (response.status, fields["Content-Type"]) == (200, JSON)
    assert "Content-Security-Policy" not in fields
    assert json.loads(content(response))["path"] == "/"


@pytest.mark.parametrize(
    "accept",
    ["", "*/*", "text/html", "application/problem+json", "application/xml", f"{JSON}, text/html"],
)
def test_people_get_a_page(accept: str) -> None:
    response = answer(asked("", accept), ("",), entries(1))
    fields = dict(response.fields)
    assert (response.status, fields["Content-Type"]) == (200, HTML)
    assert "default-src 'none'" in fields["Content-Security-Policy"]
    assert content(response).startswith(b"<!doctype html>")


@pytest.mark.parametrize("accept", [JSON, "*/*"])
@pytest.mark.parametrize("is_long", [False, True])
@pytest.mark.parametrize("count", [0, 1, 5 * WHOLE])
def test_fields_are_complete_whether_it_is_whole_or_a_stream(
    accept: str, count: int, is_long: bool
) -> None:
    response = answer(asked("", accept), ("",), entries(count), is_long=is_long)
    fields = dict(response.fields)
    assert len(fields) == len(response.fields)
    assert field_lines(response.fields)
    assert fields["Vary"] == "Accept"
    assert fields["Cache-Control"] == "no-cache"
    assert fields["X-Content-Type-Options"] == "nosniff"
    assert response.is_stream == is_long
    assert ("ETag" in fields) == (not is_long)
    whole = content(response)
    length = None if response.is_stream else str(len(whole))
    assert fields.get("Content-Length") == length
    assert whole.count(b'"./') - whole.count(b'"./?') == count


def test_json_says_what_there_is() -> None:
    found = [
        Entry("a b.txt", False, 1234, 1_000_000_000.9),
        Entry("folder", True, 4096, 0.0),
        Entry("ageless", False, 0, 1e300),
    ]
    assert listed(iter(found), names=("über", "x", "")) == {
        "path": "/über/x/",
        "entries": [
            {
                "name": "folder",
                "type": "folder",
                "modified": "1970-01-01T00:00:00Z",
                "url": "./folder/",
            },
            {
                "name": "a b.txt",
                "type": "file",
                "size": 1234,
                "modified": "2001-09-09T01:46:40Z",
                "url": "./a%20b.txt",
            },
            {"name": "ageless", "type": "file", "size": 0, "modified": None, "url": "./ageless"},
        ],
    }
    assert listed(iter(())) == {"path": "/", "entries": []}


@given(st.lists(NAMES, unique=True), st.booleans())
def test_json_is_valid_for_any_names_and_links_to_the_very_bytes(
    raws: list[bytes], is_folder: bool
) -> None:
    found = [Entry(os.fsdecode(raw), is_folder, 1, 0.0) for raw in raws]
    names = (*(os.fsdecode(raw) for raw in raws), "")
    said = content(answer(asked("", JSON), names, iter(found)))
    members = json.loads(said.decode())["entries"]
    assert len(members) == len(raws)
    urls = [member["url"] for member in members]
    assert all(re.fullmatch(r"\./[!-~]+", url) for url in urls)
    assert all(url.endswith("/") == is_folder for url in urls)
    exact = {unquote_to_bytes(url[2:].removesuffix("/")) for url in urls}
    assert exact == set(raws)


def test_what_is_not_utf_8_is_shown_as_an_escape() -> None:
    (member,) = json.loads(
        content(answer(asked("", JSON), ("",), iter([Entry("caf\udce9", False, 1, 0.0)])))
    )["entries"]
    assert (member["name"], member["url"]) == ("caf\\xe9", "./caf%E9")


@pytest.mark.parametrize("accept", [JSON, "*/*"])
@pytest.mark.parametrize("query", ["", "?sort=size&order=desc", "?sort=date"])
def test_a_stream_says_what_the_whole_would(accept: str, query: str) -> None:
    count = 3 * WHOLE + 7
    as_stream = answer(asked(query, accept), ("a", ""), entries(count), is_long=True)
    as_whole = answer(asked(query, accept), ("a", ""), entries(count))
    assert as_stream.is_stream
    assert not as_whole.is_stream
    assert content(as_stream) == content(as_whole)


def test_a_stream_reads_and_writes_in_small_steps() -> None:
    count = 10 * WHOLE
    taken = 0

    def counting() -> Iterator[Entry]:
        nonlocal taken
        for entry in entries(count):
            taken += 1
            yield entry

    response = answer(asked(), ("",), counting(), is_long=True)
    before = 0
    for piece in stream(response).steps:
        assert taken - before <= STEP
        assert piece.count(b"<tr>") <= ROWS + 1
        if taken < count:
            assert b"<td>" not in piece
        before = taken
    assert taken == count


def test_the_head_of_the_page_comes_first() -> None:
    response = answer(asked(), ("",), entries(2 * WHOLE), is_long=True)
    first = next(stream(response).steps)
    assert first.startswith(b"<!doctype html>")
    assert first.endswith(b"<tbody>\n")


def folder_of(root: Path, count: int) -> Directory:
    """A folder in `root` as it is looked up for a request."""
    (root / "folder").mkdir()
    for number in range(count):
        (root / "folder" / str(number)).touch()
    found = Folder(Config.of(root=str(root)), 0, may_wait=False).look_up(("folder", ""))
    assert isinstance(found, Directory)
    return found


@pytest.mark.parametrize("accept", [JSON, "*/*"])
def test_a_folder_that_is_removed_in_the_middle_has_no_end(tmp_path: Path, accept: str) -> None:
    reading = folder_of(tmp_path, 3 * WHOLE)
    pieces = stream(answer_listing(asked("", accept), ("folder", ""), reading, Frame())).steps
    said = next(pieces)
    shutil.rmtree(tmp_path / "folder")
    with pytest.raises(FileNotFoundError):
        said += b"".join(pieces)
    assert b"</html>" not in said
    assert b"\n]}" not in said


@pytest.mark.parametrize("steps", [0, 1, 2, 5, 8])
@pytest.mark.parametrize("how", ["closed", "dropped"])
def test_a_stream_that_is_given_up_leaves_nothing_open(
    tmp_path: Path, steps: int, how: str
) -> None:
    before = descriptors()
    response = answer_listing(asked(), ("folder", ""), folder_of(tmp_path, 3 * WHOLE), Frame())
    pieces = stream(response).steps
    for _ in range(steps):
        next(pieces)
    response.content = ()
    if how == "closed":
        pieces.close()
    del pieces
    assert descriptors() <= before


@pytest.mark.parametrize("is_long", [False, True])
@pytest.mark.parametrize("coding", ["gzip", "gzip;q=0", "br", None])
def test_it_is_sent_in_gzip_to_who_wants_that(is_long: bool, coding: str | None) -> None:
    lines = [] if coding is None else [f"Accept-Encoding: {coding}"]
    request = HeadParser().parse(get("/", *lines))
    found = Directory(entries(2 * ROWS), is_long=is_long)
    response = answer_listing(request, ("",), found, Frame(), compress=True)
    plain = answer(request, ("",), entries(2 * ROWS))
    fields, octets = dict(response.fields), content(response)
    assert fields["Vary"] == "Accept, Accept-Encoding"
    assert fields.get("Content-Encoding") == ("gzip" if coding == "gzip" else None)
    assert (gzip.decompress(octets) if coding == "gzip" else octets) == content(plain)
    if coding == "gzip" and not is_long:
        assert fields["ETag"] != dict(plain.fields)["ETag"]
        assert len(octets) * 4 < len(content(plain))
