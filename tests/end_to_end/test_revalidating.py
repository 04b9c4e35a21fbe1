"""curl and wget revalidate what they have: 304 while it is unchanged, 200 when it is not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.serving import Logged, curl, run, settle
from tests.end_to_end.writing import (
    replace,
    replace_and_keep_time,
    rewrite,
    rewrite_and_keep_time,
)
from tests.server.clients import eventually

LARGE = 2 << 20
NAMES = ["small.txt", "large.bin"]
HOUR_NS = 3_600_000_000_000

Write = Callable[[Path, bytes], None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Its files are an hour old, since dates tell only seconds apart."""
    root = tmp_path / "site"
    root.mkdir()
    for name, content in zip(NAMES, (b"old\n" * 10, b"old\n" * (LARGE // 4)), strict=True):
        path = root / name
        path.write_bytes(content)
        an_hour_ago = path.stat().st_mtime_ns - HOUR_NS
        os.utime(path, ns=(an_hour_ago, an_hour_ago))
        settle(path)
    return root


@pytest.fixture
def server(root: Path, tmp_path: Path) -> Iterator[Logged]:
    with Logged(root, tmp_path) as server:
        yield server


@pytest.mark.parametrize(("name", "write"), [(NAMES[0], rewrite), (NAMES[1], replace)])
def test_curl_revalidates_by_date(
    server: Logged, root: Path, here: Path, name: str, write: Write
) -> None:
    """-R gives the copy the date of Last-Modified, and -z sends that back."""
    command = ["--fail", "-R", "-o", name, "-z", name, server.url + name]
    curl(*command[:4], server.url + name, cwd=here)
    old = (root / name).read_bytes()
    curl(*command, cwd=here)
    assert (here / name).read_bytes() == old
    assert server.statuses() == [200, 304]
    write(root / name, old[::-1])
    settle(root / name)  # until then a large file has no date
    curl(*command, cwd=here)
    assert (here / name).read_bytes() == old[::-1]
    assert server.statuses() == [200]
    curl(*command, cwd=here)
    assert server.statuses() == [304]


@pytest.mark.parametrize("write", [rewrite_and_keep_time, replace_and_keep_time])
@pytest.mark.parametrize("name", NAMES)
def test_curl_revalidates_by_tag(
    server: Logged, root: Path, here: Path, name: str, write: Write
) -> None:
    command = ["--fail", "-o", name, "--etag-save", "tag", server.url + name]
    curl(*command, cwd=here)
    old = (root / name).read_bytes()
    for _ in range(2):  # and so also after the large file's content is hashed
        curl(*command, "--etag-compare", "tag", cwd=here)
        eventually(lambda: server.etag(f"/{name}") is not None)
    assert [line.status for line in server.news() if line.length != 1] == [200, 304, 304]
    assert (here / name).read_bytes() == old
    write(root / name, old[::-1])
    curl(*command, "--etag-compare", "tag", cwd=here)
    assert server.statuses() == [200]
    assert (here / name).read_bytes() == old[::-1]


@pytest.mark.parametrize(("name", "write"), [(NAMES[0], replace), (NAMES[1], rewrite)])
def test_wget_revalidates_by_date(
    server: Logged, root: Path, here: Path, name: str, write: Write
) -> None:
    old = (root / name).read_bytes()
    for _ in range(3):
        assert run("wget", "-N", server.url + name, cwd=here).returncode == 0
    assert server.statuses() == [200, 304, 304]
    assert (here / name).read_bytes() == old
    assert int((here / name).stat().st_mtime) == int((root / name).stat().st_mtime)
    write(root / name, old[::-1])
    assert run("wget", "-N", server.url + name, cwd=here).returncode == 0
    assert server.statuses() == [200]
    assert (here / name).read_bytes() == old[::-1]
