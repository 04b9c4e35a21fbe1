"""The site that every server serves to the cases: the same octets, the same dates.

A server gets a folder of its own, since some cases change a file in it.
"""

from __future__ import annotations

import os
from pathlib import Path

from portico.site.compression.encoders import SUFFIXES, encoder

MODIFIED = 1704164645
"""When the files were last modified: Tue, 02 Jan 2024 03:04:05 GMT."""
IMF = "Tue, 02 Jan 2024 03:04:05 GMT"
RFC850 = "Tuesday, 02-Jan-24 03:04:05 GMT"
ASCTIME = "Tue Jan  2 03:04:05 2024"
"""That moment in the three forms of RFC 9110, 5.6.7."""
EARLIER = "Tue, 02 Jan 2024 03:04:04 GMT"
LATER = "Tue, 02 Jan 2024 03:04:06 GMT"
FUTURE = 4102444800
"""The year 2100."""

TEXT = b"".join(b"This is line %04d of a short text.\n" % line for line in range(30))[:1024]
LONG = b"".join(b"Line %06d of a long text.\n" % line for line in range(12_000))[: 300 << 10]
DATA = bytes((place * place + place // 7) % 256 for place in range(100_000))
PAGE = b"<!doctype html><title>A folder</title><p>Its index.\n"
STYLE = b"".join(b".class-%d { margin: %dpx; color: #%06x }\n" % (n, n, n) for n in range(150))
SCRIPT = b"export const answer = 42;\n" * 40
STALE = b"The newer text, which its coded file does not hold.\n" * 20

MANY = tuple(f"file-{number:03}.txt" for number in range(600))
"""The names in /many/, a folder without an index: enough that its listing is long."""
LAST_OF_MANY = MANY[-1].encode()

CHANGING = "/changing.bin"
"""Cases change this file; no other case asks for it."""
BEFORE, AFTER = b"one content, " * 9, b"another one, " * 9

CODED = dict.fromkeys(SUFFIXES, b"")
"""STYLE in each content coding that has a file beside it."""


def coded(coding: str, octets: bytes) -> bytes:
    """`octets` in a content coding. The encoder is there: the tests' own dependencies bring it."""
    made = encoder(coding, best=True)
    if made is None:
        raise RuntimeError(f"there is no encoder for {coding}: install the test group")
    return made.compress(octets) + made.flush()


def style(coding: str) -> bytes:
    """What /style.css is in `coding`, or "identity"."""
    if coding == "identity":
        return STYLE
    if not CODED[coding]:
        CODED[coding] = coded(coding, STYLE)
    return CODED[coding]


def build(folder: Path) -> None:
    """Write the site into an empty folder."""
    (folder / "folder").mkdir()
    (folder / "many").mkdir()
    files = {
        "text.txt": TEXT,
        "long.txt": LONG,
        "data.bin": DATA,
        "empty.bin": b"",
        "with space.txt": TEXT,
        "future.bin": TEXT,
        "folder/index.html": PAGE,
        CHANGING[1:]: BEFORE,
        "style.css": STYLE,
        "script.js.gz": coded("gzip", SCRIPT),
        "stale.txt": STALE,
    }
    files |= {f"style.css{suffix}": style(coding) for coding, suffix in SUFFIXES.items()}
    files |= {f"many/{name}": b"" for name in MANY}
    for name, octets in files.items():
        put(folder, name, octets)
    put(folder, "stale.txt.gz", coded("gzip", b"The older text.\n"), MODIFIED - 86_400)
    os.utime(folder / "future.bin", (FUTURE, FUTURE))


def put(folder: Path, name: str, octets: bytes, modified: int = MODIFIED) -> None:
    """Write a file with that date of modification."""
    path = folder / name
    path.write_bytes(octets)
    os.utime(path, (modified, modified))


def reset(folder: Path) -> None:
    """Give CHANGING its first octets."""
    put(folder, CHANGING[1:], BEFORE)


def change(folder: Path) -> None:
    """Give CHANGING other octets, of the same size and with the same date."""
    put(folder, CHANGING[1:], AFTER)


def renew(folder: Path) -> None:
    """Give CHANGING its first octets again, with a later date."""
    put(folder, CHANGING[1:], BEFORE, MODIFIED + 10)
