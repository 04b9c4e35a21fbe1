"""Portico as a command of its own, with an access log that tests read; and clients to be run.

A client that is not installed makes its test skipped, or failed where PORTICO_REQUIRE_CLIENTS=1.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import NamedTuple, NoReturn, Self

import pytest

from portico.site.origin.stat import (
    is_settled,
)
from tests.server.clients import Client, eventually, get

CLIENTS_REQUIRED = os.environ.get("PORTICO_REQUIRE_CLIENTS") == "1"
PATIENCE = 60


def missing(what: str) -> NoReturn:
    """End the test here, since something that it needs is missing: `what` says so."""
    if CLIENTS_REQUIRED:
        pytest.fail(f"PORTICO_REQUIRE_CLIENTS=1, but {what}")
    pytest.skip(what)


def installed(name: str) -> str:
    """The path of a client; where there is none, the test ends here."""
    return shutil.which(name) or missing(f"there is no {name} on this machine")


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
    """Run curl and expect its exit code `code`; what it wrote to its output."""
    result = run("curl", "--disable", "--silent", "--show-error", *arguments, cwd=cwd)
    assert result.returncode == code, result.stderr
    return result.stdout


def settle(*paths: Path) -> None:
    """Wait until a further change of any of these would show in its signature."""
    eventually(lambda: all(is_settled(path.stat()) for path in paths))


class Exchange(NamedTuple):
    """A line of the access log."""

    method: str
    target: str
    status: int
    length: int
    """Octets of content that were sent."""


class Logged:
    """The command, serving `root`, with its access log in the new file `log`."""

    def __init__(self, root: Path, log: Path, *options: str) -> None:
        command = [sys.executable, "-m", "portico", str(root), "--port", "0"]
        options = ("--log-format", "json", *options)
        self._log = log
        with log.open("wb") as written:
            self._popen = subprocess.Popen(
                [*command, *options], stdout=written, stderr=subprocess.PIPE, text=True
            )
        assert self._popen.stderr is not None
        self.url = ""
        for line in self._popen.stderr:
            if line.strip().startswith("http://"):
                self.url = line.strip()
            if "Press Ctrl+C" in line:
                break
        assert self.url
        self._seen = 0

    def lines(self) -> list[Exchange]:
        """The whole log as it is now."""
        return [
            Exchange(line["method"], line["target"], line["status"], line["length"])
            for line in map(json.loads, self._log.read_text().splitlines(keepends=False))
        ]

    def news(self) -> list[Exchange]:
        """What clients were answered completely since the last call."""
        mark = f"/{uuid.uuid4().hex}"
        with Client(self.url) as client:
            client.ask(get(mark))
        eventually(lambda: any(line.target == mark for line in self.lines()))
        lines = self.lines()
        news = lines[self._seen :]
        self._seen = len(lines)
        return [line for line in news if line.target != mark]

    def statuses(self) -> list[int]:
        """The statuses of the news."""
        return [line.status for line in self.news()]

    def etag(self, path: str) -> str | None:
        """The tag under which `path` is served now. It leaves a line of its own in the log."""
        with Client(self.url) as client:
            return client.ask(get(path, "Range: bytes=0-0")).fields.get("etag")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._popen.terminate()
        complaint = self._popen.communicate(timeout=PATIENCE)[1]
        assert "Traceback" not in complaint, complaint
        assert self._popen.returncode == 0, complaint
