"""What these tests share: a server in this process, a raw client, a slow file system."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from portico import Server
from tests.end_to_end.serving import missing
from tests.end_to_end.slow_mount import SlowMount, UnusableError
from tests.server.clients import Client


@pytest.fixture
def no_complaint(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Whatever clients do, it is no reason for a traceback."""
    yield
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def server(root: Path) -> Iterator[Server]:
    """Serves `root`, which each module defines."""
    with Server(root) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


@pytest.fixture
def slow_mount(tmp_path: Path) -> Iterator[SlowMount]:
    """The folder `slow_mount.source`, seen at `slow_mount.path`, both new and empty."""
    source, path = tmp_path / "source", tmp_path / "mount"
    source.mkdir()
    path.mkdir()
    try:
        mount = SlowMount(source, path)
    except UnusableError as problem:
        missing(str(problem))
    with mount:
        yield mount
