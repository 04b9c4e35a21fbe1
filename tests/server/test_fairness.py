"""One client cannot keep the others waiting for more than its share of a turn.

Nothing is timed. The worker is held until all requests lie in its sockets, so that they are all
there when its next turn begins; the access log then shows in which order they were answered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path

import pytest

from portico.config.config import Config
from portico.server.clients import ACCEPTS_AT_ONCE
from portico.server.connection import REQUESTS_AT_ONCE
from portico.server.telemetry.access_log import AccessLog
from portico.server.worker import Worker
from tests.server.clients import PATIENCE, Client, eventually, get
from tests.server.inside import running

MANY = 500


class Watched:
    """A worker in a thread, with a log of which paths it answered, one after the other."""

    def __init__(self, worker: Worker, url: str, log: Path) -> None:
        self.worker = worker
        self.url = url
        self._log = log

    @contextmanager
    def held(self) -> Iterator[None]:
        """The worker does nothing while the block runs."""
        standing, go = threading.Event(), threading.Event()

        def stand() -> None:
            standing.set()
            assert go.wait(PATIENCE)

        self.worker.call(stand)
        assert standing.wait(PATIENCE)
        try:
            yield
        finally:
            go.set()

    def answered(self, count: int, after: int = 0) -> list[str]:
        """The paths of so many answers, without the first *after*."""

        def paths() -> list[str]:
            return [line.split(" ")[6] for line in self._log.read_text().splitlines()]

        eventually(lambda: len(paths()) >= after + count)
        return paths()[after:]


@pytest.fixture
def watched(site: Path, tmp_path: Path) -> Iterator[Watched]:
    log = tmp_path / "access.log"
    config = Config.of(root=str(site), port=0)
    with log.open("wb") as file:
        access_log = AccessLog(file.fileno(), "common", color=False)
        with running(config, log=access_log) as (worker, url):
            yield Watched(worker, url, log)
            worker.stop()  # twice, so that it does not wait


@pytest.fixture
def clients(watched: Watched) -> Iterator[Callable[[], Client]]:
    """Connect to the worker; all leave before it stops."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Client(watched.url))


ONE, OTHER, THIRD = "/small.txt", "/n/1.txt", "/n/2.txt"


@pytest.mark.usefixtures("any_poller")
def test_a_thousand_requests_of_one_keep_a_single_one_waiting_for_a_share_of_them(
    watched: Watched, clients: Callable[[], Client]
) -> None:
    greedy, modest = clients(), clients()
    for client in (greedy, modest):
        assert client.ask(get(THIRD)).status == 200
    with watched.held():
        greedy.send(get(OTHER) * 1000)
        modest.send(get(ONE))
    assert modest.answer().content == b"small"
    for _ in range(1000):
        assert greedy.answer().content == b"1"
    assert watched.answered(1001, 2).index(ONE) <= REQUESTS_AT_ONCE


@pytest.mark.usefixtures("any_poller")
def test_two_who_ask_for_very_much_take_turns(
    watched: Watched, clients: Callable[[], Client]
) -> None:
    greedy, also_greedy = clients(), clients()
    for client in (greedy, also_greedy):
        assert client.ask(get(THIRD)).status == 200
    count = 4 * REQUESTS_AT_ONCE
    with watched.held():
        greedy.send(get(ONE) * count)
        also_greedy.send(get(OTHER) * count)
    order = watched.answered(2 * count, 2)
    runs = [(path, len(list(run))) for path, run in groupby(order)]
    assert [length for _, length in runs] == [REQUESTS_AT_ONCE] * 8
    assert {path for path, _ in runs} == {ONE, OTHER}


def test_newcomers_keep_a_client_waiting_for_a_share_of_them(
    watched: Watched, clients: Callable[[], Client]
) -> None:
    """However many connections wait to be accepted, who is connected has its turn."""
    known = clients()
    assert known.ask(get(THIRD)).status == 200
    with watched.held():
        newcomers = [clients() for _ in range(MANY)]
        for client in newcomers:
            client.send(get(OTHER))
        known.send(get(ONE))
    assert known.answer().content == b"small"
    for client in newcomers:
        assert client.answer().content == b"1"
    assert watched.answered(MANY + 1, 1).index(ONE) <= ACCEPTS_AT_ONCE
