"""Portico as a command, with an access log that tests read, and other programs as clients.

Where a client is not installed its tests are skipped, or fail if PORTICO_REQUIRE_CLIENTS=1.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest

from portico.site.origin.fingerprint import is_settled
from tests.server.clients import Client, eventually, get
from tests.server.processes.supervised import Supervised

CLIENTS_REQUIRED = os.environ.get("PORTICO_REQUIRE_CLIENTS") == "1"
PATIENCE = 60


def unavailable(what: str) -> NoReturn:
    """Skip the test for want of something, or fail where clients are required."""
    if CLIENTS_REQUIRED:
        pytest.fail(f"PORTICO_REQUIRE_CLIENTS=1, but {what}")
    pytest.skip(what)


def installed(name: str) -> str:
    """Return the path of a client."""
    return shutil.which(name) or unavailable(f"there is no {name} on this machine")


def run(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a client to its end, in `cwd`."""
    return subprocess.run(
        [installed(command[0]), *command[1:]],
        cwd=cwd,
        env=dict(os.environ, LC_ALL="C"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def curl(*arguments: str, cwd: Path, code: int = 0) -> str:
    """Run curl, expect its exit code to be `code`, and return its output."""
    result = run("curl", "--disable", "--silent", "--show-error", *arguments, cwd=cwd)
    assert result.returncode == code, result.stderr
    return result.stdout


def settle(*paths: Path) -> None:
    """Wait until a change of any of these or their folders would show in its fingerprint."""
    watched = {*paths, *(path.parent for path in paths)}
    eventually(lambda: all(is_settled(path.stat()) for path in watched))


class Exchange(NamedTuple):
    """A line of the access log."""

    method: str
    target: str
    status: int
    length: int
    """Octets of content that were sent."""


class Logged(Supervised):
    """The command, serving `root`; tests read its access log, which is in `folder`."""

    def __init__(self, root: Path, folder: Path, *options: str) -> None:
        super().__init__(folder, str(root), "--port", "0", "--log-format", "json", *options)
        self.start()
        self._seen = 0

    def lines(self) -> list[Exchange]:
        """Return the whole log."""
        return [
            Exchange(line["method"], line["target"], line["status"], line["bytes"])
            for line in map(json.loads, self.logged.splitlines())
        ]

    def news(self) -> list[Exchange]:
        """Return the requests that were answered since the last call."""
        mark = f"/{uuid.uuid4().hex}"
        self.content(mark)
        eventually(lambda: any(line.target == mark for line in self.lines()))
        lines = self.lines()
        news = lines[self._seen :]
        self._seen = len(lines)
        return [line for line in news if line.target != mark]

    def statuses(self) -> list[int]:
        """Return the statuses of `news`."""
        return [line.status for line in self.news()]

    def etag(self, path: str) -> str | None:
        """Return the ETag of `path`. The request is in the log, too, with one octet of content."""
        with Client(self.url) as client:
            return client.ask(get(path, "Range: bytes=0-0")).fields.get("etag")

    def __exit__(self, *_: object) -> None:
        assert self.end() == 0, self.said
