"""A site with files that compress well, and the files that `portico compress` has written."""

from __future__ import annotations

import gzip
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import brotli
import pytest
import zstandard

from portico.cli.compress import command
from portico.cli.compress.writing import PREFIX, SUFFIX
from portico.site.compression.encoders import SUFFIXES

ENDS = tuple(SUFFIXES.values())

SPRING = 1_700_000_000_123_456_789
"""A moment in nanoseconds, as the time of a file."""
HOUR = 3_600_000_000_000


def text(size: int = 5000, seed: int = 1) -> bytes:
    """Octets that compress about as well as text does."""
    chance = random.Random(seed)
    words = [chance.randbytes(4).hex().encode() for _ in range(200)]
    return b" ".join(chance.choices(words, k=size // 9 + 1))[:size]


def put(root: Path, name: str, content: bytes | None = None, at: int = SPRING) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text() if content is None else content)
    os.utime(path, ns=(at, at))
    return path


def sibling(path: Path, coding: str) -> Path:
    return path.with_name(path.name + SUFFIXES[coding])


def decoded(path: Path, coding: str) -> bytes:
    compressed = sibling(path, coding).read_bytes()
    if coding == "gzip":
        return gzip.decompress(compressed)
    decode = brotli.decompress if coding == "br" else zstandard.decompress
    return bytes(decode(compressed))


def is_complete(path: Path) -> bool:
    return all(
        sibling(path, coding).exists() and decoded(path, coding) == path.read_bytes()
        for coding in SUFFIXES
    )


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def temporaries(root: Path) -> list[Path]:
    return list(root.rglob(f"{PREFIX}*{SUFFIX}"))


def states(root: Path) -> dict[str, tuple[int, int]]:
    """What changes with every write: the inode and ctime of each file."""
    found = [(name, (root / name).stat()) for name in names(root)]
    return {name: (status.st_ino, status.st_ctime_ns) for name, status in found}


def compress(root: Path, *options: str) -> int:
    """Run the command, with threads instead of child processes.

    They have the rights of this test, and its interruptions.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "child_processes", ThreadPoolExecutor)
        return command.run([str(root), *options])
