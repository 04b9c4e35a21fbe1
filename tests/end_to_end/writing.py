"""The ways in which a file on disk changes, and a look at what the server makes of it."""

from __future__ import annotations

import os
from pathlib import Path

from tests.server.clients import Client, get


def look(client: Client, path: str) -> tuple[int, bytes]:
    answer = client.ask(get(path))
    return answer.status, answer.content


def replace(path: Path, content: bytes) -> None:
    """Write elsewhere, then rename."""
    new = path.with_name(".new")
    new.write_bytes(content)
    new.replace(path)


def rewrite(path: Path, content: bytes) -> None:
    """Write into the same file."""
    with path.open("r+b", buffering=0) as file:
        file.write(content)
        file.truncate()


def rewrite_and_keep_time(path: Path, content: bytes) -> None:
    """Only the time of the last change of status tells it then."""
    before = path.stat()
    rewrite(path, content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_and_keep_time(path: Path, content: bytes) -> None:
    before = path.stat()
    new = path.with_name(".new")
    new.write_bytes(content)
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.replace(path)


def relink(link: Path, goal: str) -> None:
    new = link.with_name(".new")
    new.symlink_to(goal)
    new.replace(link)
