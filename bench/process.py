"""Starting a server on its core or cores, waiting until it listens, and ending it whatever comes.

Every server is a process group of its own that ends with the ``with`` block, so that an interrupt
reaches the bench alone and the bench ends its children.
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
from bench.servers import Server, Setup

START_SECONDS = 10.0
GRACE_SECONDS = 3.0


class StartError(Exception):
    """The server ended, or did not listen in time; says what it printed."""


@dataclass(frozen=True)
class Running:
    """A server that listens."""

    server: Server
    setup: Setup
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


def keeping_compiled() -> dict[str, str]:
    """The environment of the bench, with compiled modules kept as Python keeps them by default.

    They go to a folder of the bench's own, so that the checkout stays as it is.
    """
    usual = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return usual | {"PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir(), "portico-bench-cache"))}


def environment(server: Server) -> dict[str, str]:
    """That in which a server runs."""
    usual = keeping_compiled()
    if server.checkout is not None:
        usual["PYTHONPATH"] = str(server.checkout)
    return usual | server.environment


def spawn(server: Server, setup: Setup, *cores: int) -> subprocess.Popen[bytes]:
    """The server's process, with its files written and its output in a file of its folder."""
    setup.folder.mkdir(parents=True, exist_ok=True)
    if server.name == "limit":
        compile_limit(setup.folder.parent)
    server.write_file(setup)
    output = setup.log if setup.log and server.logs_to_output else setup.folder / "output.txt"
    with output.open("ab") as file, machine.on_core(*cores):
        return subprocess.Popen(
            server.words(setup),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=server.checkout or setup.folder,
            env=environment(server),
            start_new_session=True,
        )


def compile_limit(folder: Path) -> None:
    """The C loop, compiled into *folder* unless it is there."""
    source, program = Path(__file__).with_name("limit.c"), folder / "limit"
    if not program.exists():
        subprocess.run(["cc", "-O2", "-o", str(program), str(source)], check=True)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to stop, and make all of its group that are left."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until_listening(process: subprocess.Popen[bytes], setup: Setup) -> None:
    """Return once the port takes a connection; StartError if the process ends or hesitates."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", setup.port), timeout=1):
            return
        time.sleep(0.005)
    ended = "hesitates" if process.poll() is None else f"ended with code {process.poll()}"
    raise StartError(f"does not listen, {ended}: {last_words(setup)}")


@contextmanager
def running(server: Server, setup: Setup, *cores: int) -> Iterator[Running]:
    """The server on a port of its own for the length of the block; StartError says why not."""
    setup = replace(setup, port=free_port())
    try:
        process = spawn(server, setup, *cores)
    except (OSError, subprocess.SubprocessError) as problem:
        raise StartError(f"{server.name} cannot be started: {problem}") from None
    try:
        wait_until_listening(process, setup)
        yield Running(server, setup, process.pid)
    finally:
        end(process)
