"""Encoders for the content codings: gzip always, brotli and zstd where a library is at hand.

Rule: the same octets and the same library give the same output on every machine: no time, no name
and no system is written into it.
Limit: brotli comes from the package `brotli`, zstd from the standard library (Python 3.14 and
later), or else from the package `zstandard`. Both packages are an extra: `portico[compression]`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

SUFFIXES = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}
"""What the name of a coded file ends with, by coding, the coding that is preferred first."""

_ZSTD_WINDOW = 23
"""Binary logarithm of the largest window, 8 MiB, that a zstd decoder has to support (RFC 9659)."""


class Encoder(Protocol):
    """Codes one content, piece by piece."""

    def compress(self, octets: bytes, /) -> bytes:
        """The coded octets that are ready when `octets` have been taken in, perhaps none."""
        ...

    def flush(self) -> bytes:
        """All that is left. Nothing can be coded after it."""
        ...


def encoder(coding: str, *, best: bool = False) -> Encoder | None:
    """A fresh encoder for `coding`, None where there is none on this machine.

    With `best` the output is as small as the coding allows, however long that takes. Without, it is
    made several times faster, and some per cent larger.
    """
    make = _MAKERS[coding]()
    return None if make is None else make(best)


@lru_cache(maxsize=1)
def available() -> tuple[str, ...]:
    """The codings for which there is an encoder, the preferred first."""
    return tuple([coding for coding in SUFFIXES if _MAKERS[coding]() is not None])


@lru_cache(maxsize=1)
def _gzip() -> Callable[[bool], Encoder]:
    import zlib

    # 31: a window of 32 KiB, and the gzip format (RFC 1952) with empty metadata.
    return lambda best: zlib.compressobj(9 if best else 6, zlib.DEFLATED, 31, 9)


class _Brotli:
    """The package's compressor under the names that the others have."""

    def __init__(self, compressor: _BrotliCompressor) -> None:
        self.compress = compressor.process
        self.flush = compressor.finish


class _BrotliCompressor(Protocol):
    def process(self, octets: bytes, /) -> bytes: ...

    def finish(self) -> bytes: ...


@lru_cache(maxsize=1)
def _brotli() -> Callable[[bool], Encoder] | None:
    try:
        from brotli import Compressor
    except ImportError:
        return None
    return lambda best: _Brotli(Compressor(quality=11 if best else 6))


@lru_cache(maxsize=1)
def _zstd() -> Callable[[bool], Encoder] | None:
    try:
        from compression.zstd import CompressionParameter as Parameter
        from compression.zstd import ZstdCompressor
    except ImportError:
        return _zstandard()

    def make(best: bool) -> Encoder:  # noqa: FBT001
        level = 19 if best else 9
        options = {Parameter.compression_level: level, Parameter.window_log: _ZSTD_WINDOW}
        return ZstdCompressor(options=options)

    return make


def _zstandard() -> Callable[[bool], Encoder] | None:
    try:
        from zstandard import ZstdCompressionParameters, ZstdCompressor
    except ImportError:
        return None

    def make(best: bool) -> Encoder:  # noqa: FBT001
        level = 19 if best else 9
        wanted = ZstdCompressionParameters.from_level(level, window_log=_ZSTD_WINDOW)
        return ZstdCompressor(compression_params=wanted).compressobj()

    return make


_MAKERS: dict[str, Callable[[], Callable[[bool], Encoder] | None]] = {
    "br": _brotli,
    "zstd": _zstd,
    "gzip": _gzip,
}
