"""Starting a server on its core or cores, waiting until it answers, and ending it whatever comes.

Rule: every child is a process group of its own that ends with the ``with`` block, so that an
interrupt reaches the bench alone and the bench ends its children.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from bench import machine
from bench.servers import Server
from bench.setup import Launch, Setup

START_SECONDS = 10.0
GRACE_SECONDS = 3.0
ATTEMPTS = 3


class StartError(Exception):
    """The server ended, or did not listen in time; says what it printed."""


@dataclass(frozen=True)
class Running:
    """A server that listens."""

    server: Server
    setup: Setup
    launch: Launch
    pid: int


def last_words(setup: Setup) -> str:
    """The end of what the server has printed."""
    output = setup.folder / "output.txt"
    return output.read_text(errors="replace")[-2000:].strip() if output.exists() else ""


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port


def environment() -> dict[str, str]:
    """That of the bench, with compiled modules kept as Python keeps them unless told otherwise.

    They go to a folder of the bench's own, so that the checkout stays as it is.
    """
    usual = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**usual, "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir(), "portico-bench-cache"))}


def spawn(launch: Launch, setup: Setup, *cores: int) -> subprocess.Popen[bytes]:
    """The server's process, with its files written and its output in a file of its folder."""
    setup.folder.mkdir(parents=True, exist_ok=True)
    for name, text in launch.files.items():
        (setup.folder / name).write_text(text)
    output = setup.log if setup.log and launch.logs_to_output else setup.folder / "output.txt"
    with output.open("ab") as file, machine.on_core(*cores):
        return subprocess.Popen(
            launch.words,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=launch.working_folder or setup.folder,
            env={**environment(), **launch.environment},
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask the whole group to stop, then make it."""
    for order, patience in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, GRACE_SECONDS)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, order)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            if order == signal.SIGTERM and not group_lives(process.pid):
                return


def group_lives(group: int) -> bool:
    """Whether any process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    """Return once the port takes a connection; StartError if the process ends or hesitates."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise StartError(f"ended with code {process.returncode}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.005)
    raise StartError(f"did not listen within {START_SECONDS:.0f} seconds")


def start(server: Server, setup: Setup, *cores: int) -> tuple[Running, subprocess.Popen[bytes]]:
    """The server on a port of its own, listening; StartError with what it printed."""
    setup = replace(setup, port=free_port())
    launch = server.launch(setup)
    process = spawn(launch, setup, *cores)
    try:
        wait_until_listening(process, setup.port)
    except StartError as problem:
        end(process)
        raise StartError(f"{server.name} {problem}: {last_words(setup)}") from None
    except BaseException:
        end(process)
        raise
    return Running(server, setup, launch, process.pid), process


@contextmanager
def running(server: Server, setup: Setup, *cores: int) -> Iterator[Running]:
    """The server for the length of the block; if its port was taken meanwhile, it gets another."""
    for _ in range(ATTEMPTS - 1):
        with suppress(StartError):
            live, process = start(server, setup, *cores)
            break
    else:
        live, process = start(server, setup, *cores)
    try:
        yield live
    finally:
        end(process)
