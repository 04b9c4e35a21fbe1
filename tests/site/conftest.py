"""A site on disk, what lies beside it, and the moments when it can change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.site.on_disk import SECRET, Interruption, Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    root = tmp_path / "site"
    (root / "folder").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"a")
    (root / "folder" / "b.txt").write_bytes(b"b")
    return Site(root)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the root whose name begins with the root's."""
    folder = tmp_path / "site-secret"
    folder.mkdir()
    (folder / "secret.txt").write_bytes(SECRET)
    (folder / "index.html").write_bytes(SECRET)
    return folder


@pytest.fixture(params=["/proc tells", "without /proc"])
def _any_real_path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a descriptor lies is told by /proc, or else by a second look at the path."""
    if request.param == "/proc tells":
        return
    real = os.readlink

    def readlink(path: str) -> str:
        if path.startswith("/proc/self/fd/"):
            raise FileNotFoundError(path)
        return real(path)

    monkeypatch.setattr(os, "readlink", readlink)


@pytest.fixture
def around_open(monkeypatch: pytest.MonkeyPatch) -> Interruption:
    return Interruption(monkeypatch, "open")


@pytest.fixture
def around_read(monkeypatch: pytest.MonkeyPatch) -> Interruption:
    return Interruption(monkeypatch, "pread")
