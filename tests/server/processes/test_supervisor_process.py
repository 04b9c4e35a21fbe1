"""A worker process from within: here it runs in this one, and the test is its supervisor."""

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
    READY,
    RETIRE,
    SIGNALS,
    Given,
    main,
)
from tests.server.clients import PATIENCE, Client, get


class Post:
    """The supervisor's end of the line, and a listening socket of its own."""

    def __init__(self, **options: object) -> None:
        self.control, theirs = socket.socketpair()
        self.control.settimeout(PATIENCE)
        self.listener = bind(Config.of(port=0))[0]
        self.said = self.control.makefile("rb")
        self.given: Given = {
            "path": [],
            "number": 0,
            "control": theirs.detach(),
            "listeners": [os.dup(self.listener.fileno())],
            "config": options,
        }

    def close(self) -> None:
        self.said.close()
        self.control.close()
        self.listener.close()


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("word", [RETIRE, DRAIN, END, b""])
def test_it_serves_when_it_may_and_ends_as_it_is_told(site: Path, word: bytes) -> None:
    post = Post(root=str(site), access_log=False, grace=0.1)
    lines: list[bytes] = []

    def supervise() -> None:
        lines.append(post.said.readline())
        with Client(url_of(post.listener)) as early:
            early.send(get("/small.txt"))
            post.control.sendall(GO)
            assert early.answer().content == b"small"
            if word:
                post.control.sendall(word)
            else:  # as if the supervisor had died
                post.control.shutdown(socket.SHUT_WR)
            assert early.at_end()
        lines.extend(post.said)

    supervisor = threading.Thread(target=supervise)
    supervisor.start()
    assert main(post.given) == 0
    supervisor.join()
    leaving = [] if word == END else [b"leaving\n"]
    assert lines == [READY + b"\n", *leaving, b"served 1\n"]
    post.close()


def test_a_configuration_that_this_code_does_not_know(site: Path) -> None:
    post = Post(root=str(site), novelty=True)
    assert main(post.given) == CANNOT_START
    assert b"".join(post.said) == b"complaint argument novelty: there is no such option\n"
    os.close(post.given["listeners"][0])
    post.close()
