"""A worker process from within: it runs in this process, and the test is its supervisor."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from portico.config.config import Config
from portico.server.net.listeners import bind, url_of
from portico.server.processes.worker_main import (
    CANNOT_START,
    DRAIN,
    END,
    GO,
    RETIRE,
    SIGNALS,
    main,
)
from tests.server.clients import PATIENCE, Client, get


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    (listener,) = bind(Config.of(host="127.0.0.1", port=0))
    with listener:
        yield listener


def run(listener: socket.socket, control: int, **options: object) -> int:
    """Run a worker that serves on `listener`, and close its end of the control socket."""
    listeners = [os.dup(listener.fileno())]
    try:
        return main(
            {
                "path": [],
                "number": 0,
                "control": control,
                "listeners": listeners,
                "schemes": ["http"],
                "config": {"sandbox": False, **options},
                "counters": None,
            }
        )
    finally:
        os.close(control)
        if "novelty" in options:
            os.close(listeners[0])


@pytest.mark.parametrize("command", [RETIRE, DRAIN, END, b""])
def test_it_serves_when_it_may_and_stops_as_it_is_told(
    site: Path, listener: socket.socket, command: bytes
) -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE)
    messages: list[bytes] = []

    def supervise() -> None:
        with ours.makefile("rb") as received, Client(url_of(listener)) as client:
            messages.append(received.readline())
            client.send(get("/small.txt"))
            ours.sendall(GO)
            assert client.answer().content == b"small"
            if command:
                ours.sendall(command)
            else:  # as if the supervisor had died
                ours.shutdown(socket.SHUT_WR)
            assert client.at_end()
            messages.extend(received)

    supervisor = threading.Thread(target=supervise)
    supervisor.start()
    code = run(listener, theirs.detach(), root=str(site), access_log=False, grace=0.1)
    supervisor.join()
    ours.close()
    assert code == 0
    leaving = [] if command == END else [b"leaving\n"]
    assert messages == [b"ready\n", *leaving, b"served 1 0\n"]


def test_a_configuration_that_this_code_does_not_know(site: Path, listener: socket.socket) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        assert run(listener, theirs.detach(), root=str(site), novelty=True) == CANNOT_START
        assert ours.recv(1000) == b"warning argument novelty: no such option\n"
