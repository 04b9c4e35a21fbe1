"""A site on disk as clients would find it, and interruptions while it is looked up."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from portico.config.config import Config
from portico.site.origin.fingerprint import (
    is_settled,
)
from portico.site.origin.folder import SMALL, Folder
from portico.site.origin.protocol import Directory, File, Found, Missing
from portico.site.target import path_names

PATIENCE = 60
"""Seconds in which anything that is going to happen has happened."""

LARGE = SMALL + 1
SECRET = b"what lies outside of the root"


class Site:
    """A folder and what a client would find in it. Each look is a request of its own."""

    def __init__(self, root: Path, *, named: str | None = None, memory: int = 1 << 20) -> None:
        self.root = root
        self.folder = Folder(Config.of(root=named or str(root)), memory)

    def look(self, path: str) -> Found:
        self.folder.freshness.begin_round()
        return self.folder.look_up(path_names(path))

    def read(self, path: str) -> bytes:
        return content_of(self.look(path))

    def listed(self, path: str = "/") -> dict[str, bool]:
        """The names in a folder, and whether each is a folder."""
        found = self.look(path)
        assert isinstance(found, Directory), found
        return {entry.name: entry.is_folder for entry in found.entries}

    def is_missing(self, path: str) -> bool:
        return isinstance(self.look(path), Missing)


def content_of(found: Found) -> bytes:
    assert isinstance(found, File), found
    content = b"".join(found.content.pieces(1 << 20))
    assert len(content) == found.size
    return content


def settle(path: Path) -> None:
    """Wait until a change of `path` or its folder would show in their fingerprints."""
    end = time.monotonic() + PATIENCE
    while not (is_settled(path.stat()) and is_settled(path.parent.stat())):
        assert time.monotonic() < end
        time.sleep(0.005)


@contextmanager
def no_waiting() -> Iterator[None]:
    """Fail instead of waiting for ever, as in open() for a FIFO without a writer."""

    def give_up(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Interruption:
    """Something that happens right before or right after a call of the system; once or always."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.calls = 0
        self.before: Callable[[], object] | None = None
        self.after: Callable[[], object] | None = None
        self.always = False
        self._real: Callable[..., object] = getattr(os, name)
        monkeypatch.setattr(os, name, self._call)

    def _call(self, *arguments: object, **named: object) -> object:
        self.calls += 1
        before, after = self.before, self.after
        if not self.always:
            self.before = self.after = None
        if before is not None:
            before()
        result = self._real(*arguments, **named)
        if after is not None:
            after()
        return result
