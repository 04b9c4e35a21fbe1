"""The other servers that the cases are run against, if they are installed: nginx and http.server.

nginx listens on a Unix socket, so that no port has to be guessed. http.server runs with HTTP/1.1,
since by itself it speaks HTTP/1.0 and closes after each response.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.conformance.case import outcome
from tests.conformance.catalogue import CASES
from tests.conformance.exchange import Address
from tests.conformance.served import build

RECORD = Path(__file__).parent / "others.json"
PATIENCE = 3.0
"""Seconds that another server may take. What it does not say in that time it does not say."""
START_SECONDS = 20


class Other(NamedTuple):
    """A server: its name, its version here (None where there is none), and how to run it."""

    name: str
    version: Callable[[], str | None]
    run: Callable[[Path, Path], contextlib.AbstractContextManager[Address]]
    """From the site and an empty folder to where it listens, while the context lasts."""


def nginx_version() -> str | None:
    if shutil.which("nginx") is None:
        return None
    told = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr
    found = re.search(r"nginx/(\S+)", told)
    return found[1] if found else None


@contextlib.contextmanager
def nginx_with(settings: str, folder: Path) -> Iterator[None]:
    """Run nginx with these settings of its `http` block, until it listens on {folder}/socket."""
    temporary = "\n".join(
        f"    {kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(f"""\
{"user root;" if os.geteuid() == 0 else ""}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 1000; }}
http {{
    access_log off;
{temporary}
{settings}
}}
""")
    command = ["nginx", "-p", str(folder), "-c", str(configuration), "-e", f"{folder}/error.log"]
    with _running(command, folder / "log") as process:
        _await(str(folder / "socket"), process)
        yield


@contextlib.contextmanager
def nginx(site: Path, folder: Path) -> Iterator[Address]:
    types = "include /etc/nginx/mime.types;" if Path("/etc/nginx/mime.types").exists() else ""
    settings = f"""\
    {types}
    default_type application/octet-stream;
    charset utf-8;
    gzip_static on;
    gzip_vary on;
    autoindex on;
    server {{
        listen unix:{folder}/socket;
        root {site};
    }}
"""
    with nginx_with(settings, folder):
        yield str(folder / "socket")


@contextlib.contextmanager
def http_server(site: Path, folder: Path) -> Iterator[Address]:
    command = [sys.executable, "-u", "-m", "http.server", "--protocol", "HTTP/1.1"]
    command += ["--bind", "127.0.0.1", "--directory", str(site), "0"]
    with _running(command, folder / "log") as process:
        assert process.stdout is not None
        found = re.search(rb"port (\d+)", process.stdout.readline())
        assert found is not None
        yield "127.0.0.1", int(found[1])


@contextlib.contextmanager
def _running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log.open("wb") as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


def _await(path: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the process listens on that Unix socket."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(path)
            except OSError:
                time.sleep(0.01)
            else:
                return
    raise RuntimeError("the server did not start")


OTHERS = (
    Other("nginx", nginx_version, nginx),
    Other("http.server", platform.python_version, http_server),
)


def results(other: Other) -> dict[str, str]:
    """What `other` makes of each case, by the case's name."""
    with tempfile.TemporaryDirectory() as name:
        site, folder = Path(name) / "site", Path(name) / "run"
        site.mkdir()
        folder.mkdir()
        build(site)
        with other.run(site, folder) as address:
            return {case.name: outcome(case, address, site, PATIENCE) for case in CASES}


class Recorded(NamedTuple):
    """What a server of one version made of the cases."""

    version: str
    results: dict[str, str]


def recorded() -> dict[str, Recorded]:
    """What is on record of each server, by its name."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    return {
        name: Recorded(version, {case: found[name] for case, found in record["results"].items()})
        for name, version in record["versions"].items()
    }


def record() -> None:
    """Run the cases against every server that is installed, and write down the results.

    Of a server that is not installed the former record remains.
    """
    known = recorded() if RECORD.exists() else {}
    for other in OTHERS:
        if (version := other.version()) is not None:
            known[other.name] = Recorded(version, results(other))
    versions = json.dumps({name: each.version for name, each in known.items()})
    lines = [
        f"  {json.dumps(case.name)}: "
        + json.dumps({name: each.results.get(case.name, "?") for name, each in known.items()})
        for case in CASES
    ]
    text = f'{{\n "versions": {versions},\n "results": {{\n' + ",\n".join(lines) + "\n }\n}\n"
    RECORD.write_text(text, encoding="utf-8")
