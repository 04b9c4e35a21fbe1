"""Large files: exact for many at once, fair to others, never a mixture of two versions."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import portico
from portico.server.embedded import Server
from portico.server.states import SEND
from tests.server.clients import Client, descriptors, eventually, get
from tests.server.conftest import Connect
from tests.server.inside import states

MEBI = 1 << 20


def test_many_download_a_large_file_at_once(tmp_path: Path) -> None:
    content = os.urandom(MEBI) * 20
    (tmp_path / "huge.bin").write_bytes(content)
    with portico.Server(tmp_path) as server, ThreadPoolExecutor(8) as threads:

        def download(_number: int) -> bool:
            with Client(server.url) as client:
                return client.ask(get("/huge.bin")).content == content

        assert list(threads.map(download, range(8))) == [True] * 8
        eventually(lambda: server.requests == 8)


@pytest.mark.usefixtures("any_poller")
def test_a_download_that_stands_still_delays_nobody(server: Server, connect: Connect) -> None:
    stuck = [connect(server, receive_buffer=4096) for _ in range(5)]
    for client in stuck:
        client.send(get("/large.bin") * 10)
    other = connect(server)
    for _ in range(20):
        assert other.ask(get("/small.txt")).content == b"small"
    assert len(other.ask(get("/large.bin")).content) == 4 * MEBI
    for client in stuck:
        client.hurry()
        for _ in range(2):
            assert client.answer().content == bytes(range(256)) * 16384


def test_a_fast_download_does_not_starve_the_others(tmp_path: Path, connect: Connect) -> None:
    """A sparse file of a terabyte would last for minutes, if it had to be over first."""
    (tmp_path / "small.txt").write_bytes(b"small")
    with (tmp_path / "endless.bin").open("wb") as file:
        file.truncate(1 << 40)
    over = threading.Event()
    with portico.Server(tmp_path, grace=0.1) as server:

        def download() -> None:
            with Client(server.url) as client:
                client.send(get("/endless.bin"))
                while not over.is_set():
                    client.socket.recv(MEBI)

        threads = [threading.Thread(target=download) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            client = connect(server)
            for _ in range(50):
                assert client.ask(get("/small.txt")).content == b"small"
        finally:
            over.set()
            for thread in threads:
                thread.join()


def begin(tmp_path: Path, connect: Connect, server: Server) -> tuple[Client, bytes]:
    """A client in the middle of a download from `server`, which serves `tmp_path`."""
    content = os.urandom(MEBI) * 6
    (tmp_path / "file.bin").write_bytes(content)
    client = connect(server, receive_buffer=4096)
    client.send(get("/file.bin"))

    eventually(lambda: states(server) == [SEND])
    return client, content


def replace(path: Path) -> None:
    new = path.with_name("new")
    new.write_bytes(b"n" * path.stat().st_size)
    new.rename(path)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


@pytest.mark.parametrize("change", [replace, Path.unlink, append])
def test_a_file_that_is_replaced_or_deleted_or_grows_meanwhile_comes_whole(
    tmp_path: Path, connect: Connect, change: Callable[[Path], None]
) -> None:
    with portico.Server(tmp_path) as server:
        client, content = begin(tmp_path, connect, server)
        change(tmp_path / "file.bin")
        client.hurry()
        assert client.answer().content == content
        assert client.ask(get("/file.bin")).content != content


def truncate(path: Path) -> None:
    os.truncate(path, 5 * MEBI)


def rewrite_the_end(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")


@pytest.mark.parametrize("change", [truncate, rewrite_the_end])
def test_a_file_that_is_changed_in_place_is_cut(
    tmp_path: Path, connect: Connect, change: Callable[[Path], None]
) -> None:
    """The client sees that it is incomplete, instead of a mixture that looks whole."""
    with portico.Server(tmp_path) as server:
        client, content = begin(tmp_path, connect, server)
        change(tmp_path / "file.bin")
        client.hurry()
        client.is_cut()
        body = client.received.partition(b"\r\n\r\n")[2]
        assert len(body) < len(content)
        assert content.startswith(body)


def test_descriptors_of_large_files_are_shared_and_bounded(tmp_path: Path) -> None:
    """All replies for one file share one descriptor; a flood of files does not use them up."""
    for number in range(600):
        with (tmp_path / f"{number}.bin").open("wb") as file:
            file.truncate(40_000)
    granted = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, granted[1]))
    try:
        with portico.Server(tmp_path) as server, Client(server.url) as client:
            before = descriptors()
            for number in range(600):
                client.send(get(f"/{number}.bin") * 2)
            for _ in range(1200):
                assert len(client.answer().content) == 40_000
            assert descriptors() - before < 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, granted)
