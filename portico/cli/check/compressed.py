"""Compressed files (`page.html.br` beside `page.html`) that do not match their original.

Rule: the server ignores a compressed file that is older than its original, and sends one that is
not older in the original's place. So it must decode to the same octets.
Limit: br and zstd are decoded only where a library for them is installed.
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

from portico.site.compression.encoders import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from portico.cli.check.findings import Findings
    from portico.cli.walk import Item

_PIECE = 1 << 18
_BROTLI_PIECE = 512
"""Compressed octets that are decoded at a time, since a few of them can stand for megabytes."""


def check_compressed(items: Sequence[Item], findings: Findings) -> None:
    """Report compressed files in a folder that are older than their original, or differ from it."""
    files = {item.name: item for item in items if item.is_served}
    for item in files.values():
        for coding, suffix in SUFFIXES.items():
            original = files.get(item.name.removesuffix(suffix))
            if original is not None and original is not item:
                what = _mismatch(coding, item, original)
                if what is not None:
                    cure = "Write it again with portico compress, or delete it."
                    findings.add("stale", (item.shown, None), what, cure)


def _mismatch(coding: str, item: Item, original: Item) -> str | None:
    """Return what is wrong with a compressed file; None if nothing is."""
    if item.status is None or original.status is None:
        return None
    if item.status.st_mtime_ns < original.status.st_mtime_ns:
        return f'It is older than "{original.name}", so the server ignores it.'
    try:
        if not _decodes_to(coding, item.path, original.path):
            return f'It does not decode to the content of "{original.name}".'
    except (ImportError, FileNotFoundError, PermissionError):
        pass  # no library, gone meanwhile, or reported as not readable
    except Exception as problem:  # noqa: BLE001 (each library has errors of its own)
        return f"It cannot be decoded ({problem})."
    return None


def _decodes_to(coding: str, compressed: str, original: str) -> bool:
    with open(compressed, "rb") as source, open(original, "rb") as expected:
        for piece in _decode(coding, source):
            if expected.read(len(piece)) != piece:
                return False
        return not expected.read(1)


def _decode(coding: str, source: BinaryIO) -> Iterator[bytes]:
    """Yield the decoded content of an open file. Raises ImportError if there is no library."""
    if coding == "br":
        from brotli import Decompressor

        decompressor = Decompressor()
        while compressed := source.read(_BROTLI_PIECE):
            yield decompressor.process(compressed)
        if not decompressor.is_finished():
            msg = "it ends too early"
            raise EOFError(msg)
        return
    with gzip.GzipFile(fileobj=source) if coding == "gzip" else _zstd_reader(source) as reader:
        while piece := reader.read(_PIECE):
            yield piece


def _zstd_reader(source: BinaryIO) -> BinaryIO:
    try:
        from compression.zstd import ZstdFile
    except ImportError:
        from zstandard import ZstdDecompressor

        reader: BinaryIO = ZstdDecompressor().stream_reader(source, read_across_frames=True)
    else:
        reader = ZstdFile(source)
    return reader
