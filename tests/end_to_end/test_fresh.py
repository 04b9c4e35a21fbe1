"""What is on disk is in the very next answer, however it came there."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from portico import Server
from portico.site.origin.folder import SMALL
from tests.end_to_end.serving import settle
from tests.end_to_end.writing import (
    look,
    relink,
    replace,
    replace_and_keep_time,
    rewrite,
    rewrite_and_keep_time,
)
from tests.server.clients import Client, get
from tests.unprivileged import public_folder, unprivileged

pytestmark = pytest.mark.usefixtures("no_complaint")

LARGE = SMALL + 1
NEW = b"n" * LARGE


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    (root / "folder").mkdir(parents=True)
    (root / "file").write_bytes(b"old")
    (root / "other").write_bytes(b"other")
    (root / "large").write_bytes(b"o" * LARGE)
    (root / "folder" / "file").write_bytes(b"old")
    (root / "link").symlink_to("file")
    (root / "index.html").write_bytes(b"old")
    return root


def is_cached(server: Server, head: bytes) -> bool:
    """Whether the server has a cached reply for exactly this head."""
    assert server._worker is not None
    return head in server._worker._responder.reply_cache.heads


Change = tuple[str, Callable[[Path], object], int, bytes | None]

CHANGES: dict[str, Change] = {
    "same size": ("/file", lambda root: rewrite(root / "file", b"new"), 200, b"new"),
    "emptied": ("/file", lambda root: os.truncate(root / "file", 0), 200, b""),
    "grown large": ("/file", lambda root: rewrite(root / "file", NEW), 200, NEW),
    "large rewritten": ("/large", lambda root: rewrite(root / "large", NEW), 200, NEW),
    "large made small": ("/large", lambda root: rewrite(root / "large", b"new"), 200, b"new"),
    "large deleted": ("/large", lambda root: (root / "large").unlink(), 404, None),
    "time set back": ("/file", lambda root: os.utime(root / "file", (0, 0)), 200, b"old"),
    "deleted": ("/file", lambda root: (root / "file").unlink(), 404, None),
    "created": ("/none", lambda root: (root / "none").write_bytes(b"new"), 200, b"new"),
    "folder created": ("/none", lambda root: (root / "none").mkdir(), 301, None),
    "listing created": ("/none/", lambda root: (root / "none").mkdir(), 200, None),
    "folder removed": (
        "/folder/file",
        lambda root: (root / "folder").rename(root / ".f"),
        404,
        None,
    ),
    "index removed": ("/", lambda root: (root / "index.html").unlink(), 200, None),
    "link turned": ("/link", lambda root: relink(root / "link", "other"), 200, b"other"),
    "link turned out": ("/link", lambda root: relink(root / "link", "../beside"), 404, None),
    "link broken": ("/link", lambda root: (root / "file").unlink(), 404, None),
    "hidden by its own 404 page": (
        "/.env",
        lambda root: (root / "404.html").write_bytes(b"ours"),
        404,
        b"ours",
    ),
    "root moved away": ("/file", lambda root: root.rename(root.with_name("away")), 404, None),
}


@pytest.mark.parametrize("case", CHANGES.values(), ids=CHANGES)
def test_change_is_in_the_next_answer(
    root: Path, server: Server, client: Client, case: Change
) -> None:
    path, change, status, content = case
    (root.parent / "beside").write_bytes(b"what lies outside")
    with Client(server.url) as second:
        before = warm(root, server, client, path)
        assert look(second, path) == before
        change(root)
        after = look(client, path)
        assert after[0] == status
        if content is None:
            assert after != before
            assert b"outside" not in after[1]
        else:
            assert after[1] == content
        assert look(second, path) == after
        assert look(client, path) == after


def warm(root: Path, server: Server, client: Client, path: str) -> tuple[int, bytes]:
    """Ask until the reply is in the cache, if it is of a kind that is cached; return the reply."""
    settle(*root.rglob("*"))
    # A large file is hashed first, then its reply is kept when it is made, and its head when it
    # is used, for the second time each.
    found = [look(client, path) for _ in range(4)]
    assert found == found[:1] * 4
    is_listing = path.endswith("/") and path not in {"/", "/none/"}
    assert is_cached(server, get(path)) is not is_listing
    return found[0]


def test_listing_shows_what_comes_and_goes(root: Path, client: Client) -> None:
    for _ in range(5):
        (root / "folder" / "new").touch()
        assert b"./new" in look(client, "/folder/")[1]
        (root / "folder" / "new").unlink()
        assert b"./new" not in look(client, "/folder/")[1]


def test_change_of_rights_is_in_the_next_answer() -> None:
    with public_folder() as root:
        file = root / "file"
        file.write_bytes(b"content")
        with Server(root) as server, Client(server.url) as client:
            look(client, "/none")  # so that all code is loaded before the rights are gone
            assert warm(root, server, client, "/file") == (200, b"content")
            file.chmod(0)
            with unprivileged():
                assert look(client, "/file")[0] == 403
            file.chmod(0o644)
            assert look(client, "/file") == (200, b"content")
            warm(root, server, client, "/file")
            root.chmod(0)
            try:
                with unprivileged():
                    assert look(client, "/file")[0] == 403
            finally:
                root.chmod(0o755)
            assert look(client, "/file") == (200, b"content")


@pytest.mark.parametrize("write", [rewrite, replace, rewrite_and_keep_time, replace_and_keep_time])
@pytest.mark.parametrize(
    ("path", "size"),
    [
        *(("/file", 3), ("/file", LARGE), ("/link", 4096), ("/folder/", SMALL)),
    ],
)
def test_no_answer_is_stale_however_fast_the_changes(
    root: Path, server: Server, path: str, size: int, write: Callable[[Path, bytes], None]
) -> None:
    file = root / "folder" / "index.html" if path == "/folder/" else root / "file"
    file.write_bytes(b"?" * size)
    with Client(server.url) as one, Client(server.url) as other:
        for turn in range(50):
            content = b"%d" % (turn % 10) * size
            write(file, content)
            for client in (one, other) if turn % 2 else (other, one):
                assert look(client, path) == (200, content)
    # The reply is of a kind that is cached: a stale one was possible.
    settle(file)
    with Client(server.url) as client:
        look(client, path)
        look(client, path)
    assert is_cached(server, get(path))


def test_no_answer_is_stale_when_settled_files_change(
    root: Path, server: Server, client: Client
) -> None:
    """Each reply is in the cache when the change comes."""
    file = root / "file"
    for write, content in itertools.product(
        (rewrite, replace, rewrite_and_keep_time), (b"aaa", b"bbb")
    ):
        warm(root, server, client, "/file")
        write(file, content)
        assert look(client, "/file") == (200, content)


def test_file_that_comes_and_goes_is_there_or_not(root: Path, client: Client) -> None:
    missing = look(client, "/new")
    for _ in range(50):
        (root / "new").write_bytes(b"new")
        assert look(client, "/new") == (200, b"new")
        (root / "new").unlink()
        assert look(client, "/new") == missing


def test_pipelined_requests_are_fresh_too(root: Path, client: Client) -> None:
    heads = [get("/file"), get("/link"), get("/file"), get("/large"), get("/file", "X: y")]
    for turn in range(50):
        small, large = b"%03d" % turn, b"%d" % (turn % 10) * LARGE
        rewrite(root / "file", small)
        rewrite(root / "large", large)
        client.send(b"".join(heads))
        contents = [client.answer().content for _ in heads]
        assert contents == [small, small, small, large, small]


def test_request_after_anothers_content_is_fresh(root: Path, client: Client) -> None:
    post = b"POST /file HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody"
    for turn in range(50):
        content = b"%03d" % turn
        rewrite(root / "file", content)
        client.send(get("/file"), post + get("/file"))
        assert client.answer().content == content
        assert client.answer().status == 405
        assert client.answer().content == content
