"""Uploads to a file system that is slow, hangs, fails or dies: nothing is lost, others are served.

It has neither files without a name nor, in some tests, hard links.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from portico.site.dotfiles import STAGING
from tests.end_to_end.slow_mount import SlowMount
from tests.server.clients import Answer, Client, eventually, get, request
from tests.server.processes.supervised import Supervised
from tests.server.uploading import FORM, part

LARGE = os.urandom(1_000_000)
WRITABLE = ("--port", "0", "--allow", "write", "--keep-free", "0")


@pytest.fixture
def far(slow_mount: SlowMount, tmp_path: Path) -> Iterator[SlowMount]:
    """In a local site, a folder that is a file system of its own."""
    (tmp_path / "site" / "far").mkdir(parents=True)
    (tmp_path / "site" / "near.txt").write_bytes(b"near")
    (slow_mount.source / "file.txt").write_bytes(b"old")
    with SlowMount(slow_mount.source, tmp_path / "site" / "far") as mount:
        yield mount


@pytest.fixture
def server(far: SlowMount, tmp_path: Path) -> Iterator[Supervised]:
    site = str(far.path.parent)
    with Supervised(tmp_path, site, *WRITABLE, "--send-timeout", "1").start() as server:
        yield server
        assert server.end() == 0


def put(server: Supervised, path: str, content: bytes) -> Answer:
    with Client(server.url) as client:
        head = request("PUT", path, f"Content-Length: {len(content)}")
        client.send_as_far_as_possible([head, content])
        return client.answer()


def names(far: SlowMount) -> set[str]:
    """Also of hidden files, if any were left."""
    return {path.name for path in far.source.iterdir()}


@pytest.mark.parametrize("error", [None, errno.EPERM, errno.EOPNOTSUPP])
def test_files_are_stored_where_there_are_no_hard_links(
    far: SlowMount, server: Supervised, error: int | None
) -> None:
    if error:
        far.fail(error, "link")
    for content in (b"new", LARGE):
        for name in ("new.txt", "file.txt"):
            assert put(server, f"/far/{name}", content).status in {201, 204}
            assert (far.source / name).read_bytes() == content
    form = part("file.txt", b"by a form") + part("other.txt", b"too") + b"--limit--\r\n"
    with Client(server.url) as client:
        head = request("POST", "/far/", FORM, f"Content-Length: {len(form)}")
        assert client.ask(head + form).status == 201
    assert (far.source / "file.txt").read_bytes() == b"by a form"
    assert names(far) == {"new.txt", "file.txt", "other.txt"}


@pytest.mark.parametrize(
    ("kind", "error", "status"),
    [
        ("create", errno.EROFS, 403),
        ("write", errno.EIO, 500),
        ("write", errno.ENOSPC, 507),
        ("fsync", errno.EDQUOT, 507),
        ("fsync", errno.EIO, 500),
        ("rename", errno.EIO, 500),
    ],
)
def test_an_error_of_the_disk_is_told_and_loses_nothing(
    far: SlowMount, server: Supervised, kind: str, error: int, status: int
) -> None:
    far.fail(error, kind)
    for content in (b"new", LARGE):
        assert put(server, "/far/file.txt", content).status == status
    assert (far.source / "file.txt").read_bytes() == b"old"
    far.release()
    assert names(far) == {"file.txt"}
    assert put(server, "/far/file.txt", LARGE).status == 204


@pytest.mark.parametrize(
    ("kind", "content"),
    [("create", b"late"), ("write", LARGE), ("fsync", b"late"), ("fsync", LARGE)],
    ids=["create", "write", "fsync", "fsync of much"],
)
def test_what_came_too_late_changes_nothing(
    far: SlowMount, server: Supervised, kind: str, content: bytes
) -> None:
    """Its client was told 503, and another may have stored something newer."""
    far.hang(kind)
    assert put(server, "/far/file.txt", content).status == 503
    eventually(far.hanging)
    assert put(server, "/near.txt", b"nearer").status == 204
    with Client(server.url) as client:
        assert client.ask(get("/near.txt")).content == b"nearer"
    (far.source / "file.txt").write_bytes(b"newer")
    far.release()
    eventually(lambda: names(far) == {"file.txt"})
    assert (far.source / "file.txt").read_bytes() == b"newer"


def test_a_disk_that_dies_is_answered_for(far: SlowMount, server: Supervised) -> None:
    with Client(server.url) as client:
        client.send(request("PUT", "/far/file.txt", f"Content-Length: {len(LARGE)}"), LARGE[:-9])
        eventually(lambda: len(names(far)) == 2)
        far.kill()
        client.send_as_far_as_possible([LARGE[-9:]])
        assert client.answer().status in {500, 503}  # EIO, if it dies while it is asked
    assert put(server, "/far/file.txt", b"new").status == 503
    assert put(server, "/near.txt", b"nearer").status == 204
    assert STAGING not in names(far)
