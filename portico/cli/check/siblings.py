"""Precompressed siblings (`page.html.br` beside `page.html`) that do not match their original.

Rule: a sibling that is older than its original is ignored by the server; one that is not older is
sent in the original's place, so it must decode to the very same octets.
Limit: br and zstd are decoded only where a library for them is at hand (see `site.codecs`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.site.compression.encoders import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

    from portico.cli.check.findings import Findings
    from portico.cli.check.walk import Item

_PIECE = 1 << 18
_BROTLI_PIECE = 512
"""Coded octets taken at a time, since a few of them can stand for megabytes."""


def check_siblings(items: Sequence[Item], findings: Findings) -> None:
    """Report the siblings in one folder that are older than their original, or differ from it."""
    files = {item.name: item for item in items if item.is_served}
    for item in files.values():
        for coding, suffix in SUFFIXES.items():
            original = files.get(item.name.removesuffix(suffix))
            if original is not None and original is not item:
                what = _mismatch(coding, item, original)
                if what is not None:
                    cure = "Write it anew with portico compress, or delete it."
                    findings.add("stale", (item.shown, None), what, cure)


def _mismatch(coding: str, item: Item, original: Item) -> str | None:
    """What is wrong with a sibling, None if nothing is."""
    if item.status is None or original.status is None:
        return None
    if item.status.st_mtime_ns < original.status.st_mtime_ns:
        return f'It is older than "{original.name}", so the server ignores it.'
    try:
        same = _is_same(coding, item.path, original.path)
    except FileNotFoundError:
        return None
    except PermissionError:
        return None  # reported as such
    except Exception as problem:  # noqa: BLE001 (each library has errors of its own)
        return f"It cannot be decoded ({problem})."
    return None if same else f'It does not decode to the content of "{original.name}".'


def _is_same(coding: str, coded: str, plain: str) -> bool:
    """Does the file at `coded` decode to that at `plain`? True where no library can tell."""
    decode = _decoder(coding)
    if decode is None:
        return True
    with open(coded, "rb") as source, open(plain, "rb") as original:
        for piece in decode(source):
            if original.read(len(piece)) != piece:
                return False
        return not original.read(1)


def _decoder(coding: str) -> Callable[[BinaryIO], Iterator[bytes]] | None:
    """What decodes an open file piece by piece; None where there is nothing for this coding."""
    if coding == "gzip":
        return _gunzip
    return _brotli() if coding == "br" else _zstd()


def _gunzip(source: BinaryIO) -> Iterator[bytes]:
    import gzip

    with gzip.GzipFile(fileobj=source, mode="rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def _brotli() -> Callable[[BinaryIO], Iterator[bytes]] | None:
    try:
        from brotli import Decompressor
    except ImportError:
        return None

    def decode(source: BinaryIO) -> Iterator[bytes]:
        decompressor = Decompressor()
        while coded := source.read(_BROTLI_PIECE):
            yield decompressor.process(coded)
        if not decompressor.is_finished():
            msg = "it ends too early"
            raise EOFError(msg)

    return decode


def _zstd() -> Callable[[BinaryIO], Iterator[bytes]] | None:
    try:
        from compression.zstd import ZstdFile
    except ImportError:
        return _zstandard()

    def decode(source: BinaryIO) -> Iterator[bytes]:
        with ZstdFile(source) as file:
            while piece := file.read(_PIECE):
                yield piece

    return decode


def _zstandard() -> Callable[[BinaryIO], Iterator[bytes]] | None:
    try:
        from zstandard import ZstdDecompressor
    except ImportError:
        return None

    def decode(source: BinaryIO) -> Iterator[bytes]:
        reader = ZstdDecompressor().stream_reader(source, read_across_frames=True, closefd=False)
        with reader:
            while piece := reader.read(_PIECE):
                yield piece

    return decode
