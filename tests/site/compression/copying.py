"""Originals, what their copies decode to, and jobs that are done by hand."""

from __future__ import annotations

import gzip
import os
import random
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import brotli
import zstandard

from portico.http.content import Octets
from portico.site.origin.etags import tag_of
from portico.site.origin.freshness import Dependency, Freshness
from portico.site.origin.open_file import FileSlice, open_file
from portico.site.origin.protocol import File
from tests.site.on_disk import PATIENCE

MEMORY = 1 << 22
CODINGS = ("br", "zstd", "gzip")
DECODE: dict[str, Callable[[bytes], bytes]] = {
    "br": brotli.decompress,
    "zstd": lambda octets: zstandard.ZstdDecompressor().decompressobj().decompress(octets),
    "gzip": gzip.decompress,
}


class ByHand:
    """Takes jobs, up to a number of them, and does them when it is told to."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.jobs: list[Iterator[None]] = []
        self.taken = 0

    def submit(self, steps: Iterator[None]) -> bool:
        if len(self.jobs) >= self.room:
            return False
        self.jobs.append(steps)
        self.taken += 1
        return True

    def run(self) -> int:
        """Do all that waits; how many steps that took."""
        steps = 0
        while self.jobs:
            steps += sum(1 for _ in self.jobs.pop(0))
        return steps


def text(size: int, seed: int = 0) -> bytes:
    """Octets that shrink, different for each seed."""
    # The first thousand words have two octets or more, with the space; later ones five or more.
    count = min(size // 2, 1000 + size // 5) + 1
    step = seed + 1
    return b" ".join(map(b"%d".__mod__, range(0, count * step, step)))[:size]


def noise(size: int) -> bytes:
    return random.Random(1).randbytes(size)


def in_memory(content: bytes, name: str = "page.html", modified: float = 1e9) -> File:
    file = File(name, len(content), modified, Octets(content), ())
    file.digest = sha256(content).digest()
    file.etag = tag_of(file.digest)
    return file


def on_disk(path: Path) -> File:
    """A file as an open one, hashed as it is now."""
    opened, status = open_file(str(path), os.O_RDONLY, Freshness())
    file = File(
        path.name, status.st_size, status.st_mtime, FileSlice(opened, 0, status.st_size), ()
    )
    file.digest = sha256(path.read_bytes()).digest()
    file.etag = tag_of(file.digest)
    return file


def pending(found: File | Dependency | None) -> Dependency:
    assert found is not None
    assert not isinstance(found, File)
    return found


def copy_of(found: File | Dependency | None) -> File:
    assert isinstance(found, File), found
    return found


def eventually(get: Callable[[], File | Dependency | None]) -> File:
    """What `get` finds when its dependencies have turned."""
    end = time.monotonic() + PATIENCE
    while not isinstance(found := get(), File):
        assert found is not None
        assert time.monotonic() < end
        time.sleep(0.002)
    return found
