"""What these tests share: a server in this process, a raw client, a browser, a slow disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from portico import Server
from tests.end_to_end.browsing import Tab, chromium
from tests.end_to_end.serving import unavailable
from tests.end_to_end.slow_mount import SlowMount, UnusableError
from tests.server.clients import Client

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture
def no_complaint(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Fail if the server writes a traceback or anything else."""
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    with browser.new_context() as context:
        yield Tab(context.new_page())


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Where clients put what they download."""
    here = tmp_path / "here"
    here.mkdir()
    return here


@pytest.fixture
def slow_mount(tmp_path: Path) -> Iterator[SlowMount]:
    """The folder `slow_mount.source`, seen at `slow_mount.path`, both new and empty."""
    source, path = tmp_path / "source", tmp_path / "mount"
    source.mkdir()
    path.mkdir()
    try:
        mount = SlowMount(source, path)
    except UnusableError as problem:
        unavailable(str(problem))
    with mount:
        yield mount
