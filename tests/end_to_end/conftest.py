"""What these tests share: a server in this process, a raw client, and that nobody complains."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from portico import Server
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
