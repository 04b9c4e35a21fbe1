"""Downloads in parts by real clients: ranges, and downloads that are resumed."""

from __future__ import annotations

import email
import email.policy
import hashlib
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from portico.site.origin.etags import tag_of, tag_of_large
from portico.site.origin.folder import SMALL
from tests.end_to_end.serving import Logged, curl, installed, run, settle
from tests.end_to_end.writing import replace
from tests.server.clients import eventually

LARGE = 2 << 20
HUGE = 20 << 20


@pytest.fixture(scope="module")
def contents() -> dict[str, bytes]:
    """One file that is kept in memory, and one that is sent from disk."""
    return {"small.bin": os.urandom(SMALL), "large.bin": os.urandom(LARGE)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes]) -> Path:
    root = tmp_path_factory.mktemp("resuming") / "site"
    root.mkdir()
    for name, content in contents.items():
        (root / name).write_bytes(content)
        settle(root / name)
    return root


@pytest.fixture(scope="module")
def logged(root: Path) -> Iterator[Logged]:
    with Logged(root, root.parent) as server:
        yield server


@pytest.fixture
def server(logged: Logged) -> Logged:
    """The server, without news of former tests."""
    logged.news()
    return logged


def fresh(root: Path, content: bytes) -> str:
    """Write a file that the server has not seen."""
    name = f"{uuid.uuid4().hex}.bin"
    (root / name).write_bytes(content)
    settle(root / name)
    return name


def tag_by_content(content: bytes) -> str:
    return tag_of(hashlib.sha256(content).digest())


def fields_in(head: Path) -> dict[str, str]:
    """The fields of the last head in what curl has written down."""
    block = head.read_text().strip().replace("\r\n", "\n").rpartition("\n\n")[2]
    return dict(email.message_from_string(block.partition("\n")[2]).items())


@pytest.mark.parametrize("name", ["small.bin", "large.bin"])
def test_curl_goes_on_where_it_stopped(
    server: Logged, here: Path, contents: dict[str, bytes], name: str
) -> None:
    wanted = contents[name]
    half = len(wanted) // 2
    (here / name).write_bytes(wanted[:half])
    curl("--fail", "-C", "-", "-O", server.url + name, cwd=here)
    assert (here / name).read_bytes() == wanted
    assert server.news() == [("GET", f"/{name}", 206, len(wanted) - half)]


@pytest.mark.parametrize("name", ["small.bin", "large.bin"])
def test_curl_leaves_a_whole_file_alone(
    server: Logged, here: Path, contents: dict[str, bytes], name: str
) -> None:
    (here / name).write_bytes(contents[name])
    curl("-C", "-", "-O", server.url + name, cwd=here)
    assert (here / name).read_bytes() == contents[name]
    assert server.statuses() == [416]


def test_curl_is_told_that_what_it_has_is_longer_than_the_file(
    server: Logged, root: Path, here: Path, contents: dict[str, bytes]
) -> None:
    """Since curl names no version with -C, only the length can tell it."""
    part = contents["large.bin"][: LARGE // 2]
    name = fresh(root, b"new" * SMALL)
    (here / name).write_bytes(part)
    curl("--fail", "-C", "-", "-O", "-D", "head", server.url + name, cwd=here, code=22)
    assert (here / name).read_bytes() == part
    assert fields_in(here / "head")["Content-Range"] == f"bytes */{3 * SMALL}"


@pytest.mark.parametrize("of", ["small.bin", "large.bin"])
def test_curl_that_names_its_version_gets_no_part_of_another(
    server: Logged, root: Path, here: Path, contents: dict[str, bytes], of: str
) -> None:
    """If-Range makes it the whole new file, which curl does not append to a part of the old."""
    name, old, new = fresh(root, contents[of]), contents[of], contents[of][::-1]
    url = server.url + name
    curl("-r", "0-999", "-o", name, "-D", "head", url, cwd=here)
    condition = f"If-Range: {fields_in(here / 'head')['ETag']}"
    replace(root / name, new)
    settle(root / name)
    curl("-C", "-", "-O", "-H", condition, url, cwd=here, code=33)
    assert (here / name).read_bytes() == old[:1000]
    assert server.statuses() == [206, 200]
    assert curl("-o", name, "-w", "%{http_code}", "-H", condition, url, cwd=here) == "200"
    assert (here / name).read_bytes() == new


def test_curl_goes_on_under_the_tag_that_it_began_with(
    server: Logged, root: Path, here: Path, contents: dict[str, bytes]
) -> None:
    """It is that of the content from the first answer on, of a file that nobody asked for yet."""
    content = contents["large.bin"]
    name = f"{uuid.uuid4().hex}.bin"
    (root / name).write_bytes(content)  # just now
    url = server.url + name
    curl("-r", f"0-{LARGE // 2 - 1}", "-o", name, "-D", "head", url, cwd=here)
    tag = fields_in(here / "head")["ETag"]
    assert tag == tag_by_content(content)
    settle(root / name)
    curl("--fail", "-C", "-", "-O", "-H", f"If-Range: {tag}", url, cwd=here)
    assert (here / name).read_bytes() == content
    assert server.statuses() == [206, 206]


@pytest.mark.parametrize("name", ["small.bin", "large.bin"])
def test_curl_gets_several_ranges(
    server: Logged, here: Path, contents: dict[str, bytes], name: str
) -> None:
    arguments = ["-r", "0-9,1000-1999,30000-30999,-1", "-o", "parts", "-D", "head"]
    curl("--fail", *arguments, server.url + name, cwd=here)
    fields = fields_in(here / "head")
    octets = (here / "parts").read_bytes()
    assert int(fields["Content-Length"]) == len(octets)
    head = f"Content-Type: {fields['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + octets, policy=email.policy.HTTP)
    assert message.get_content_type() == "multipart/byteranges"
    length = len(contents[name])
    expected = [(0, 9), (1000, 1999), (30000, 30999), (length - 1, length - 1)]
    parts = list(message.iter_parts())
    assert [part["Content-Range"] for part in parts] == [
        f"bytes {first}-{last}/{length}" for first, last in expected
    ]
    # The parser cuts text into lines, so the octets themselves are compared where they stand.
    for first, last in expected:
        selected = contents[name][first : last + 1]
        assert f"bytes {first}-{last}/{length}\r\n\r\n".encode() + selected + b"\r\n--" in octets
    assert server.statuses() == [206]


@pytest.mark.parametrize("name", ["small.bin", "large.bin"])
def test_wget_goes_on_where_it_stopped(
    server: Logged, here: Path, contents: dict[str, bytes], name: str
) -> None:
    wanted = contents[name]
    (here / name).write_bytes(wanted[:1000])
    result = run("wget", "-c", server.url + name, cwd=here)
    assert result.returncode == 0, result.stderr
    assert (here / name).read_bytes() == wanted
    assert server.news() == [("GET", f"/{name}", 206, len(wanted) - 1000)]


@pytest.mark.parametrize("name", ["small.bin", "large.bin"])
def test_wget_has_nothing_to_do_for_a_whole_file(
    server: Logged, here: Path, contents: dict[str, bytes], name: str
) -> None:
    (here / name).write_bytes(contents[name])
    result = run("wget", "-c", server.url + name, cwd=here)
    assert result.returncode == 0, result.stderr
    assert "already fully retrieved" in result.stderr
    assert (here / name).read_bytes() == contents[name]
    assert server.statuses() == [416]


def test_wget_gets_what_a_file_has_grown_by(
    server: Logged, root: Path, here: Path, contents: dict[str, bytes]
) -> None:
    name = fresh(root, contents["large.bin"])
    run("wget", "-c", server.url + name, cwd=here)
    with (root / name).open("ab") as file:
        file.write(b"grown" * 1000)
    settle(root / name)
    run("wget", "-c", server.url + name, cwd=here)
    assert (here / name).read_bytes() == contents["large.bin"] + b"grown" * 1000
    assert [line[2:] for line in server.news()] == [(200, LARGE), (206, 5000)]


class Huge(NamedTuple):
    """A file of its own for each test: its name and content."""

    name: str
    content: bytes


@pytest.fixture
def huge(root: Path) -> Huge:
    content = os.urandom(HUGE)
    return Huge(fresh(root, content), content)


PIECE = 1 << 20
EIGHT = ("--no-conf", "-x8", "-s8", "-k1M", "--piece-length=1M", "--file-allocation=none")


def test_aria2_gets_eight_segments_at_once(server: Logged, huge: Huge, here: Path) -> None:
    result = run("aria2c", *EIGHT, server.url + huge.name, cwd=here)
    assert result.returncode == 0, result.stdout
    assert (here / huge.name).read_bytes() == huge.content
    statuses = server.statuses()
    assert len(statuses) >= 8
    assert statuses.count(200) <= 1  # it may begin by asking for the whole
    assert statuses.count(206) >= len(statuses) - 1


def test_aria2_goes_on_after_it_was_killed(
    server: Logged, huge: Huge, root: Path, here: Path
) -> None:
    """All along the tag is that of the file's size and time, since it is too large to be hashed."""
    copy, control, said = here / huge.name, here / f"{huge.name}.aria2", here / "said"
    command = [installed("aria2c"), *EIGHT, "--log=said", "--log-level=info"]
    url = server.url + huge.name
    slowly = [*command, "--max-overall-download-limit=4M", "--auto-save-interval=1", url]
    with subprocess.Popen(slowly, cwd=here, stdout=subprocess.DEVNULL) as first:
        try:
            eventually(lambda: first.poll() is not None or pieces_noted(control))
            first.send_signal(signal.SIGSTOP)
            assert first.poll() is None
        finally:
            first.kill()
    wanted = bytearray(huge.content)
    # What was complete is not got again: aria2 keeps the zeros that are put in its place.
    for piece in pieces_noted(control):
        wanted[piece * PIECE : (piece + 1) * PIECE] = bytes(PIECE)
    mark_pieces(copy, pieces_noted(control))
    result = run(*command, "-c", url, cwd=here)
    assert result.returncode == 0, result.stdout
    assert copy.read_bytes() == wanted
    assert set(tags_in(said)) == {tag_of_large((root / huge.name).stat())}
    assert set(server.statuses()) <= {200, 206}


def pieces_noted(control: Path) -> list[int]:
    """Numbers of the pieces that aria2 has, by its control file (its manual tells the form)."""
    content = control.read_bytes() if control.exists() else b""
    if len(content) < 34:
        return []
    position = 10 + int.from_bytes(content[6:10], "big") + 20
    length = int.from_bytes(content[position : position + 4], "big")
    field = content[position + 4 : position + 4 + length]
    bits = "".join(f"{octet:08b}" for octet in field)
    return [number for number, bit in enumerate(bits) if bit == "1"]


def mark_pieces(copy: Path, pieces: list[int]) -> None:
    """Overwrite what aria2 has with zeros, so that they are seen if it gets them again."""
    assert pieces
    with copy.open("r+b") as file:
        for piece in pieces:
            file.seek(piece * PIECE)
            file.write(bytes(PIECE))


def tags_in(log: Path) -> list[str]:
    """The tags in the heads that aria2 has logged, in their order."""
    lines = log.read_text().splitlines()
    return [line.partition(":")[2].strip() for line in lines if line.lower().startswith("etag:")]


def test_zsync_updates_an_old_copy(server: Logged, huge: Huge, root: Path, here: Path) -> None:
    """It asks for many ranges in one request, and for nothing that it has."""
    changes = 60
    old = bytearray(huge.content)
    for number in range(changes):
        position = number * (HUGE // changes) + 12_345
        old[position : position + 100] = os.urandom(100)
    (here / "old").write_bytes(old)
    result = run("zsyncmake", "-u", huge.name, "-o", "huge.zsync", huge.name, cwd=root)
    assert result.returncode == 0, result.stderr
    result = run("zsync", "-i", "old", "-o", "new", f"{server.url}huge.zsync", cwd=here)
    assert result.returncode == 0, result.stderr
    assert (here / "new").read_bytes() == huge.content
    news = [line for line in server.news() if line.target == f"/{huge.name}"]
    assert {line.status for line in news} == {206}
    assert len(news) <= changes // 3
    assert sum(line.length for line in news) < HUGE // 10
