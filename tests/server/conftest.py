"""A site, servers, clients; and after each test: nothing on stderr, no descriptor left."""

from __future__ import annotations

import selectors
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from portico.server.embedded import Server
from portico.server.net import loop
from tests.server.clients import Client, descriptors, eventually
from tests.server.uploading import fill

Serve = Callable[..., Server]
Connect = Callable[..., Client]


@pytest.fixture(autouse=True)
def _nothing_has_stopped(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Neither a traceback nor a descriptor. A test that expects output has read it before."""
    before = descriptors(with_garbage=True)  # it takes less time, and here fewer are as good
    yield
    assert capfd.readouterr() == ("", "")
    if descriptors(with_garbage=True) > before:
        eventually(lambda: descriptors() <= before)  # threads may be closing some


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of all sizes and a hundred numbered ones, for all tests; none may change them."""
    folder = tmp_path_factory.mktemp("server") / "site"
    (folder / "n").mkdir(parents=True)
    (folder / "small.txt").write_bytes(b"small")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "medium.bin").write_bytes(bytes(range(256)) * 64)
    (folder / "large.bin").write_bytes(bytes(range(256)) * 16384)
    for number in range(100):
        (folder / "n" / f"{number}.txt").write_bytes(b"%d" % number)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A site for the test alone, to write in."""
    return fill(tmp_path)


@pytest.fixture
def serve(site: Path) -> Iterator[Serve]:
    """Start a server with these options, of the site or another `root`."""
    with ExitStack() as stack:
        yield lambda root=site, **options: stack.enter_context(Server(root, **options))


@pytest.fixture
def connect(serve: Serve) -> Iterator[Connect]:  # noqa: ARG001 (clients leave before servers stop)
    """Connect to a server."""
    with ExitStack() as stack:

        def start(server: Server, *, receive_buffer: int = 0) -> Client:
            return stack.enter_context(Client(server.url, receive_buffer=receive_buffer))

        yield start


@pytest.fixture
def server(serve: Serve) -> Server:
    """A server with the options as they are."""
    return serve()


@pytest.fixture
def client(server: Server, connect: Connect) -> Client:
    """A client of `server`."""
    return connect(server)


@pytest.fixture(params=["the best poller", "epoll through selectors", "select"])
def any_poller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the system offers to wait with, servers behave the same."""
    if request.param != "the best poller":
        monkeypatch.setattr(loop, "new_poller", loop.SelectorPoller)
    if request.param == "select":
        monkeypatch.setattr(selectors, "DefaultSelector", selectors.SelectSelector)
