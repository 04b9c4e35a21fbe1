"""Clients that ask all the time, while something happens to the server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self

from tests.server.clients import Client, eventually, get


class Load:
    """Clients that ask all the time, each by `connect`, until the end of the block.

    Those whose request failed stop; `failed` has how.
    """

    def __init__(self, *connect: Callable[[], Client], requests: int = 3) -> None:
        """After so many requests a client comes anew; with 0, never."""
        self._requests = requests
        self._over = threading.Event()
        self.answers = [0] * len(connect)
        self.failed: list[str] = []
        self._threads = [
            threading.Thread(target=self._ask, args=each) for each in enumerate(connect)
        ]

    def _ask(self, number: int, connect: Callable[[], Client]) -> None:
        try:
            while not self._over.is_set():
                with connect() as client:
                    left = self._requests
                    while not self._over.is_set():
                        left -= 1
                        lines = () if left else ("Connection: close",)
                        answer = client.ask(get("/small.txt", *lines))
                        assert (answer.status, answer.content) == (200, b"small")
                        self.answers[number] += 1
                        if answer.closes:
                            assert client.at_end()
                            break
        except (OSError, AssertionError) as problem:
            self.failed.append(repr(problem))

    def goes_on(self, failed: int = 0) -> None:
        """Wait until each but those that have `failed` has been answered some more times."""
        before = list(self.answers)

        def all_do() -> bool:
            assert len(self.failed) <= failed, self.failed
            lately = zip(before, self.answers, strict=True)
            return sum(now > was + 3 for was, now in lately) >= len(before) - failed

        eventually(all_do)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
