"""The small corpora in the repository: one file for each target, one input on each line.

Octets that are not visible ASCII are escaped, as in Python's bytes literals.
"""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"


def read(target: str) -> list[bytes]:
    """Return the inputs kept for a target."""
    path = FOLDER / f"{target}.txt"
    return [unescaped(line) for line in path.read_text("ascii").splitlines()]


def write(target: str, inputs: list[bytes]) -> None:
    """Keep these inputs for a target."""
    text = "".join(f"{escaped(octets)}\n" for octets in sorted(set(inputs)))
    (FOLDER / f"{target}.txt").write_text(text, "ascii")


def escaped(octets: bytes) -> str:
    """Return octets as they stand on a line."""
    return octets.decode("latin-1").encode("unicode_escape").decode("ascii")


def unescaped(line: str) -> bytes:
    """Return the octets on a line."""
    return line.encode("ascii").decode("unicode_escape").encode("latin-1")


def dictionary(inputs: list[bytes]) -> str:
    """Return the words in `inputs` as a dictionary of libFuzzer."""
    words = {word for octets in inputs for word in re.findall(rb"[A-Za-z0-9%$-]{2,24}", octets)}
    return "".join(f'"{word.decode()}"\n' for word in sorted(words)[:400])
