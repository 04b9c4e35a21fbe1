"""Changes that come in the middle of a turn of the loop, after it has looked at the file.

Whoever has asked before may be told what was there before. Whoever asks afterwards may not, even if
the server takes up that request in the same turn.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from portico import Server
from portico.site.origin.stat import (
    is_settled,
)
from tests.end_to_end.writing import rewrite
from tests.server.clients import PATIENCE, Client, eventually, get


class Looks:
    """Something to do when the server has looked at a file; once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.after: dict[str, Callable[[], object]] = {}
        self._stat = os.stat
        monkeypatch.setattr(os, "stat", self._look)

    def _look(self, path: str, *arguments: object, **named: object) -> os.stat_result:
        status = self._stat(path, *arguments, **named)  # type: ignore[arg-type]
        then = self.after.pop(str(path), None)
        if then is not None:
            then()
        return status


class OneTurn:
    """Makes a server find several requests at once when its next turn begins."""

    def __init__(self, server: Server, root: Path, looks: Looks) -> None:
        self._server = server
        self._looks = looks
        self._root = root
        self._held = threading.Event()
        self._go = threading.Event()

    def __enter__(self) -> None:
        """Hold the server up until the block ends."""
        self._looks.after[str(self._root / "other")] = self._hold
        self._holder = Client(self._server.url)
        self._holder.send(get("/other"))
        assert self._held.wait(PATIENCE)

    def _hold(self) -> None:
        self._held.set()
        assert self._go.wait(PATIENCE)

    def __exit__(self, *_: object) -> None:
        self._go.set()
        assert self._holder.answer().content == b"other"
        self._holder.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "other").write_bytes(b"other")
    for name in ("file", "other"):
        eventually(lambda name=name: is_settled((tmp_path / name).stat()))  # type: ignore[misc]
    return tmp_path


@pytest.fixture
def server(root: Path) -> Iterator[Server]:
    with Server(root) as server, Client(server.url) as client:
        for path in ("/file", "/other") * 4:  # so that the replies are remembered
            assert client.ask(get(path)).status == 200
        yield server


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(monkeypatch)


def test_request_pipelined_after_the_change_is_fresh(
    root: Path, server: Server, looks: Looks
) -> None:
    with Client(server.url) as first, Client(server.url) as second:
        for client in (first, second):  # so that both are accepted
            assert client.ask(get("/file")).content == b"old"

        def change() -> None:
            rewrite(root / "file", b"new")
            second.send(get("/file"))

        with OneTurn(server, root, looks):
            first.send(get("/file"))
            second.send(get("/file"))
            looks.after[str(root / "file")] = change
        assert first.answer().content == b"old"
        assert second.answer().content in {b"old", b"new"}
        assert second.answer().content == b"new"


def test_request_that_follows_content_after_the_change_is_fresh(
    root: Path, server: Server, looks: Looks
) -> None:
    post = b"POST /file HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n"
    with Client(server.url) as first, Client(server.url) as second:
        assert first.ask(get("/file")).content == b"old"
        assert second.ask(post + b"bo").status == 405

        def change() -> None:
            rewrite(root / "file", b"new")
            second.send(get("/file"))

        with OneTurn(server, root, looks):
            first.send(get("/file"))
            second.send(b"dy")
            looks.after[str(root / "file")] = change
        assert first.answer().content == b"old"
        assert second.answer().content == b"new"


def test_request_on_a_connection_made_after_the_change_is_fresh(
    root: Path, server: Server, looks: Looks
) -> None:
    with Client(server.url) as first:
        late: list[Client] = []

        def change() -> None:
            rewrite(root / "file", b"new")
            late.append(Client(server.url))
            late[0].send(get("/file"))

        with OneTurn(server, root, looks):
            first.send(get("/file"))
            early = Client(server.url)
            early.send(get("/file"))
            looks.after[str(root / "file")] = change
        assert first.answer().content == b"old"
        assert early.answer().content in {b"old", b"new"}
        assert late[0].answer().content == b"new"
        early.close()
        late[0].close()
