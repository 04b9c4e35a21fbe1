"""Each response is one version of its file, whole or visibly cut, while others write the file."""

from __future__ import annotations

import itertools
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from portico import Server
from portico.site.origin.folder import SMALL
from tests.end_to_end.serving import settle
from tests.end_to_end.writing import look, replace, rewrite
from tests.server.clients import PATIENCE, Client

pytestmark = pytest.mark.usefixtures("no_complaint")

HUGE = 12 << 20
"""More than socket buffers take in while the client does not read."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    root.mkdir()
    return root


@contextmanager
def changing(step: Callable[[int], object]) -> Iterator[None]:
    """Make `step(0)`, `step(1)` and so on in a thread, as often as there is time for it."""
    enough = threading.Event()
    failures: list[Exception] = []

    def run() -> None:
        for turn in itertools.count():
            if enough.is_set():
                return
            try:
                step(turn)
            except Exception as failure:  # noqa: BLE001 (raised below)
                failures.append(failure)
                return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()
    assert failures == []


def version(turn: int, size: int) -> bytes:
    """A version of a file: one octet, repeated."""
    return bytes([ord("a") + turn % 26]) * size


def assert_whole(content: bytes, size: int) -> None:
    assert content == content[:1] * size


@pytest.mark.parametrize(("size", "downloads"), [(1024, 200), (SMALL, 200), (5 << 20, 20)])
def test_replaced_file_is_always_whole_and_always_there(
    root: Path, server: Server, size: int, downloads: int
) -> None:
    file = root / "file"
    file.write_bytes(version(0, size))
    seen = set()
    with (
        Client(server.url) as client,
        changing(lambda turn: replace(file, version(turn, size))),
    ):
        for turn in itertools.count():
            status, content = look(client, "/file")
            assert status == 200
            assert_whole(content, size)
            seen.add(content[:1])
            if turn >= downloads and len(seen) > 1:
                break


class Download:
    """A download of a file that is too large for the kernel to take over at once, stopped early."""

    def __init__(self, url: str, path: str, part: str | None = None) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self._connection = HTTPConnection(parts.hostname, parts.port)
        self._connection.sock = socket.socket()
        self._connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self._connection.sock.settimeout(PATIENCE)
        self._connection.sock.connect((parts.hostname, parts.port))
        self._connection.request("GET", path, headers={} if part is None else {"Range": part})
        self._response = self._connection.getresponse()
        assert self._response.status == (200 if part is None else 206)
        self._begun = self._response.read(1000)

    def finish(self) -> bytes | None:
        """The whole content, or None if it was cut, in which case its client knows."""
        try:
            rest = self._response.read()
        except IncompleteRead as cut:
            rest = cut.partial
            assert len(self._begun) + len(rest) < HUGE
            self.received = self._begun + rest
            return None
        finally:
            self._connection.close()
        self.received = self._begun + rest
        return self.received


@pytest.fixture
def huge(root: Path) -> Path:
    file = root / "huge"
    file.write_bytes(b"o" * HUGE)
    settle(file)
    return file


@pytest.mark.parametrize("offset", [0, HUGE // 2, HUGE - 1])
def test_large_file_rewritten_during_a_download_is_visibly_cut(
    server: Server, huge: Path, offset: int
) -> None:
    download = Download(server.url, "/huge")
    with huge.open("r+b", buffering=0) as opened:
        os.pwrite(opened.fileno(), b"n", offset)
    assert download.finish() is None
    with Client(server.url) as client:
        assert look(client, "/huge") == (200, huge.read_bytes())


@pytest.mark.parametrize("size", [0, HUGE // 2, HUGE - 1])
def test_file_truncated_during_a_download_is_cut_and_not_filled_up(
    server: Server, huge: Path, size: int
) -> None:
    download = Download(server.url, "/huge")
    os.truncate(huge, size)
    assert download.finish() is None
    if size >= HUGE // 2:
        # Nothing that lay there was under way, where the kernel could have wiped it.
        assert download.received == b"o" * len(download.received)
        assert len(download.received) <= size
    with Client(server.url) as client:
        assert look(client, "/huge") == (200, b"o" * size)


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.rename(file.with_name("elsewhere")),
        lambda file: file.chmod(0o604),
        lambda file: os.link(file, file.with_name("again")),
    ],
    ids=["renamed", "new rights", "new name"],
)
def test_download_goes_on_when_only_names_or_rights_change(
    server: Server, huge: Path, change: Callable[[Path], object]
) -> None:
    download = Download(server.url, "/huge")
    change(huge)
    assert download.finish() == b"o" * HUGE


@pytest.mark.parametrize("part", [None, "bytes=1000-"])
def test_file_that_only_grows_is_sent_as_announced(
    server: Server, huge: Path, part: str | None
) -> None:
    """Or no log and no recording could ever be fetched."""
    download = Download(server.url, "/huge", part)
    with huge.open("ab") as log:
        log.write(b"more\n" * 1000)
    assert download.finish() == b"o" * (HUGE if part is None else HUGE - 1000)


@pytest.mark.parametrize("offset", [0, HUGE // 2, HUGE - 1])
def test_file_that_is_rewritten_and_grows_is_cut(server: Server, huge: Path, offset: int) -> None:
    """As by a program that cuts its log back to nothing and goes on, or finishes a film's index."""
    download = Download(server.url, "/huge")
    with huge.open("r+b") as file:
        file.seek(offset)
        file.write(b"n" * (HUGE - offset + 1000))
    assert download.finish() is None


def test_one_file_changes_under_many_downloads(server: Server, huge: Path) -> None:
    """All share one descriptor: each is cut, and a later download is of the new content."""
    downloads = [Download(server.url, "/huge") for _ in range(4)]
    rewrite(huge, b"n" * HUGE)
    late = Download(server.url, "/huge")
    assert [download.finish() for download in downloads] == [None] * 4
    assert late.finish() == b"n" * HUGE
