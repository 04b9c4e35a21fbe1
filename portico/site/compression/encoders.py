"""Encoders for the content codings: gzip always, brotli and zstd where a library is installed.

Rule: the same bytes and the same library give the same output on every machine: it contains no
time, no file name and no operating system. Every client supports the window size of the output.
Limit: brotli comes from the package `brotli`, zstd from the standard library (Python 3.14 and
later), or else from the package `zstandard`. Both packages are in the extra
`portico-server[compression]`.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SUFFIXES = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}
"""The suffix of a compressed file, by content coding, the preferred coding first."""

_LEVELS = {"br": (6, 11), "zstd": (9, 19), "gzip": (6, 9)}
"""By coding: the level for compression while serving, and the best level."""

_ZSTD_WINDOW = 23
"""Binary logarithm of the largest window, 8 MiB, that a zstd decoder has to support (RFC 9659)."""
_BROTLI_WINDOWS = 16, 24
"""Binary logarithms of the smallest useful window, 64 KiB, and the largest, 16 MiB (RFC 7932)."""
_BROTLI_WINDOW = 22
"""Binary logarithm of the window for content of unknown size: 4 MiB, brotli's own default."""

WORTH_FROM = 256
"""Bytes of the smallest content worth compressing: smaller content is less than its own header."""
_WORTH_PERCENT = 95
"""A compressed form must be smaller than this share of its original, to be worth its cost."""


def is_worth(before: int, after: int) -> bool:
    """Whether a compressed form of `after` bytes is small enough for an original of `before`."""
    return after * 100 < before * _WORTH_PERCENT


class Encoder(Protocol):
    """Compresses the content of one response or file, piece by piece."""

    def compress(self, octets: bytes, /) -> bytes:
        """Compress `octets`, and return the bytes of output that are ready, perhaps none."""
        ...

    def flush(self) -> bytes:
        """Return the rest of the output. The encoder cannot be used afterwards."""
        ...


def encode(
    pieces: Iterable[bytes], coding: str, size: int, *, best: bool = False
) -> Iterator[bytes]:
    """Yield the compressed form of `pieces`, of `size` bytes in total. Some yields are empty.

    See `encoder` for `best` and the exceptions.
    """
    coder = encoder(coding, best=best, size=size)
    for piece in pieces:
        yield coder.compress(piece)
    yield coder.flush()


def encoder(coding: str, *, best: bool = False, size: int | None = None) -> Encoder:
    """Return a new encoder for `coding`. Raises ImportError if its library is not installed.

    With `best`, the output is as small as the encoder can make it, however long that takes; without
    `best`, it is made several times faster, and is some per cent larger. `size` is the total number
    of bytes to compress, None if unknown. It must be exact: it limits the window, and a zstd frame
    announces it.
    """
    return _MAKERS[coding](_LEVELS[coding][best], size)


@lru_cache(maxsize=1)
def available() -> tuple[str, ...]:
    """Return the codings for which there is an encoder, the preferred first."""
    found = []
    for coding in SUFFIXES:
        with suppress(ImportError):
            encoder(coding)
            found.append(coding)
    return tuple(found)


class _Gzip:
    """Makes one gzip member (RFC 1952) without file name and time.

    zlib can write the header too, but would put the operating system into it.
    """

    def __init__(self, level: int, _size: int | None) -> None:
        import zlib

        self._crc32 = zlib.crc32
        self._deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, 9)
        # Deflate; no flags; no time; 2 for the slowest algorithm; 255 for an unknown system.
        self._head = bytes([31, 139, 8, 0, 0, 0, 0, 0, 2 if level == 9 else 0, 255])
        self._crc = self._size = 0

    def compress(self, octets: bytes, /) -> bytes:
        """See Encoder."""
        self._crc = self._crc32(octets, self._crc)
        self._size += len(octets)
        head, self._head = self._head, b""
        return head + self._deflate.compress(octets)

    def flush(self) -> bytes:
        """See Encoder."""
        tail = self._crc.to_bytes(4, "little") + (self._size % (1 << 32)).to_bytes(4, "little")
        return self._head + self._deflate.flush() + tail


class _Brotli:
    """A compressor of the package `brotli`, with the methods of Encoder."""

    def __init__(self, level: int, size: int | None) -> None:
        from brotli import Compressor

        window = _BROTLI_WINDOW
        if size is not None:
            smallest, largest = _BROTLI_WINDOWS
            # A window of n bits holds 2**n - 16 bytes (RFC 7932, 9.1).
            window = min(max((size + 15).bit_length(), smallest), largest)
        compressor = Compressor(quality=level, lgwin=window)
        self.compress: Callable[[bytes], bytes] = compressor.process
        self.flush: Callable[[], bytes] = compressor.finish


def _zstd(level: int, size: int | None) -> Encoder:
    try:
        from compression.zstd import CompressionParameter as Parameter
        from compression.zstd import ZstdCompressor
    except ImportError:
        return _zstandard(level, size)
    options = {Parameter.compression_level: level, Parameter.window_log: _ZSTD_WINDOW}
    compressor = ZstdCompressor(options=options)
    if size is not None:
        compressor.set_pledged_input_size(size)
    made: Encoder = compressor
    return made


def _zstandard(level: int, size: int | None) -> Encoder:
    from zstandard import ZstdCompressionParameters, ZstdCompressor

    wanted = ZstdCompressionParameters.from_level(
        level, source_size=size or 0, window_log=_ZSTD_WINDOW
    )
    compressor = ZstdCompressor(compression_params=wanted)
    return compressor.compressobj() if size is None else compressor.compressobj(size=size)


_MAKERS: dict[str, Callable[[int, int | None], Encoder]] = {
    "br": _Brotli,
    "zstd": _zstd,
    "gzip": _Gzip,
}
"""By coding: a function that makes an encoder from a level and a size. Raises ImportError."""
