"""Portico as a command of its own, with its workers: what it says, who they are, and its end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import pytest

import portico
from tests.server.clients import PATIENCE, Client, eventually, get

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="this system does not show its processes"
)


def package_copy(folder: Path) -> Path:
    """A copy of the package in `folder`, to be changed; it goes on PYTHONPATH."""
    source = Path(portico.__file__).parent
    copy = folder / "portico"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def children(pid: int) -> set[int]:
    """The processes that `pid` has started and that have not been reaped."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid:
            found.add(int(path.parent.name))
    return found


def is_gone(pid: int) -> bool:
    """Is there no such process, or only what is left of it until its parent looks?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Supervised:
    """The command, running in `folder`, where it also leaves what it writes."""

    command: tuple[str, ...] = (sys.executable, "-m", "portico")

    def __init__(
        self,
        folder: Path,
        *options: str,
        environ: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        cwd: Path | None = None,
        stderr: int | None = None,
    ) -> None:
        """`cwd` is where it runs, and `stderr` where its messages go, if that is elsewhere."""
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.popen = subprocess.Popen(
                [*self.command, *options],
                cwd=cwd or folder,
                env={**os.environ, **(environ or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err if stderr is None else stderr,
                pass_fds=pass_fds,
            )
        self._workers: set[int] = set()

    def start(self) -> Self:
        """Wait until it serves."""
        eventually(lambda: "Press Ctrl+C" in self.said or self.popen.poll() is not None)
        assert self.popen.poll() is None, self.said
        return self

    @property
    def said(self) -> str:
        """What it has said on stderr so far."""
        return self._err.read_text()

    @property
    def logged(self) -> str:
        """Its access log so far."""
        return self._out.read_text()

    @property
    def urls(self) -> list[str]:
        """Its addresses, as the banner has them."""
        return [line.strip() for line in self.said.splitlines() if line.startswith("    ")]

    @property
    def url(self) -> str:
        return self.urls[0]

    @property
    def workers(self) -> set[int]:
        """The workers that there are now."""
        found = children(self.popen.pid)
        self._workers |= found
        return found

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def reload(self, times: int = 1) -> None:
        """Reload, and wait until it is said that this is done for the so-manieth time."""
        self.send(signal.SIGHUP)
        eventually(lambda: self.said.count("portico: reloaded: ") >= times)

    def hears(self, words: str) -> None:
        """Wait until it has said this."""
        eventually(lambda: words in self.said)

    def content(self, path: str = "/small.txt") -> bytes:
        """What a new client gets."""
        with Client(self.url) as client:
            return client.ask(get(path, "Connection: close")).content

    def accepts(self) -> bool:
        try:
            Client(self.url).close()
        except (ConnectionRefusedError, ConnectionResetError):
            return False
        return True

    def end(self, number: signal.Signals | None = signal.SIGTERM) -> int:
        """Send a signal and wait for the end, of the workers as well; the exit code."""
        known = self.workers | self._workers
        if number is not None:
            self.send(number)
        code = self.popen.wait(PATIENCE)
        assert all(map(is_gone, known)), "a process is left"
        assert "Traceback" not in self.said, self.said
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.popen.poll() is None:
            self.popen.kill()  # its workers notice
        self.popen.wait(PATIENCE)
