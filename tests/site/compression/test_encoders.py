"""Encoders: what they make decodes to the same octets, anywhere, and is the same every time."""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import sys
from pathlib import Path

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from portico.site.compression import encoders
from portico.site.compression.encoders import SUFFIXES, Encoder, available, encoder

CODINGS = list(SUFFIXES)
MIB = 1 << 20


def decode(coding: str, coded: bytes) -> bytes:
    """What a client would make of it; fails on whatever follows the end."""
    if coding == "gzip":
        return gzip.decompress(coded)
    if coding == "br":
        plain: bytes = brotli.decompress(coded)
        return plain
    decompressor = zstandard.ZstdDecompressor(max_window_size=8 * MIB).decompressobj()
    plain = decompressor.decompress(coded)
    assert decompressor.eof
    assert decompressor.unused_data == b""
    return plain


def encode(coder: Encoder, *pieces: bytes) -> bytes:
    return b"".join(map(coder.compress, pieces)) + coder.flush()


def prose(size: int, seed: int = 1) -> bytes:
    """Octets that compress about as well as text does."""
    chance = random.Random(seed)
    words = [chance.randbytes(chance.randint(1, 5)).hex().encode() for _ in range(2000)]
    parts = []
    length = 0
    while length < size:
        parts.append(chance.choice(words))
        length += len(parts[-1]) + 1
    return b" ".join(parts)[:size]


TEXT = prose(100_000)


def test_every_coding_has_an_encoder_here() -> None:
    assert available() == ("br", "zstd", "gzip")


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("best", [False, True])
@pytest.mark.parametrize("sized", [False, True])
@pytest.mark.parametrize(
    "content",
    [b"", b"a", b"a" * 70_000, TEXT, random.Random(2).randbytes(70_000)],
    ids=["empty", "one octet", "repetition", "text", "noise"],
)
def test_decodes_to_the_same(coding: str, best: bool, sized: bool, content: bytes) -> None:
    size = len(content) if sized else None
    coded = encode(encoder(coding, best=best, size=size), content)
    assert decode(coding, coded) == content
    assert encode(encoder(coding, best=best, size=size), content) == coded


@pytest.mark.parametrize("coding", CODINGS)
@given(pieces=st.lists(st.binary(max_size=2000), max_size=8), best=st.booleans())
def test_pieces_make_no_difference(coding: str, pieces: list[bytes], best: bool) -> None:
    content = b"".join(pieces)
    coded = encode(encoder(coding, best=best, size=len(content)), *pieces)
    assert coded == encode(encoder(coding, best=best, size=len(content)), content)
    assert decode(coding, coded) == content


@pytest.mark.parametrize("coding", CODINGS)
def test_more_than_any_window_holds(coding: str) -> None:
    content = TEXT + bytes(17 * MIB) + TEXT
    pieces = [content[at : at + MIB] for at in range(0, len(content), MIB)]
    assert decode(coding, encode(encoder(coding, size=len(content)), *pieces)) == content


@pytest.mark.parametrize("coding", CODINGS)
def test_the_best_is_smaller(coding: str) -> None:
    text = b"".join(
        path.read_bytes() for path in sorted(Path(encoders.__file__).parent.glob("*.py"))
    )
    fast, best = (encode(encoder(coding, best=best), text) for best in (False, True))
    assert len(best) < len(fast) < len(text)


@pytest.mark.parametrize("best", [False, True])
def test_gzip_names_no_time_no_file_and_no_system(best: bool) -> None:
    head = encode(encoder("gzip", best=best), TEXT)[:10]
    assert head == bytes([31, 139, 8, 0, 0, 0, 0, 0, 2 if best else 0, 255])


@pytest.mark.parametrize("coding", CODINGS)
def test_another_process_makes_the_same(coding: str) -> None:
    code = (
        "import sys; from portico.site.compression.encoders import encoder"
        "; coder = encoder(sys.argv[1], best=True)"
        "; out = sys.stdout.buffer; out.write(coder.compress(sys.stdin.buffer.read()))"
        "; out.write(coder.flush())"
    )
    command = [sys.executable, "-c", code, coding]
    made = subprocess.run(command, input=TEXT, capture_output=True, check=True).stdout
    assert made == encode(encoder(coding, best=True), TEXT)


# --- what a decoder needs


@pytest.mark.parametrize("best", [False, True])
@pytest.mark.parametrize("size", [0, 1, 100_000, 8 * MIB, 8 * MIB + 1, 20 * MIB])
def test_a_zstd_frame_tells_its_size_and_has_a_window_that_all_support(
    size: int, best: bool
) -> None:
    content = bytes(size)
    frame = zstandard.get_frame_parameters(encode(encoder("zstd", best=best, size=size), content))
    assert frame.content_size == size
    assert frame.window_size == min(size, 8 * MIB)


@pytest.mark.parametrize("best", [False, True])
def test_a_zstd_window_is_small_enough_without_a_size_too(best: bool) -> None:
    # More than the decoder buffers by itself, so that a window has to be declared.
    frame = zstandard.get_frame_parameters(encode(encoder("zstd", best=best), *[bytes(MIB)] * 20))
    assert frame.window_size <= 8 * MIB


def brotli_window(coded: bytes) -> int:
    """Binary logarithm of the window that a stream begins with (RFC 7932, 9.1)."""
    first = coded[0]
    if first & 1 == 0:
        return 16
    if first >> 1 & 7:
        return 17 + (first >> 1 & 7)
    return 17 if first >> 4 & 7 == 0 else 8 + (first >> 4 & 7)


@pytest.mark.parametrize(
    ("size", "window"),
    [
        (0, 16),
        (1000, 16),
        ((1 << 16) - 16, 16),
        ((1 << 16) - 15, 17),
        ((1 << 20) - 16, 20),
        (20 * MIB, 24),
        (None, 22),
    ],
)
def test_a_brotli_window_is_no_larger_than_the_content(size: int | None, window: int) -> None:
    assert brotli_window(encode(encoder("br", size=size), bytes(size or 0))) == window


# --- libraries


@pytest.mark.parametrize("level", [9, 19])
def test_every_library_of_zstd_will_do(level: int) -> None:
    for make in (encoders._zstd, encoders._zstandard):
        coded = encode(make(level, len(TEXT)), TEXT)
        assert decode("zstd", coded) == TEXT
        assert zstandard.get_frame_parameters(coded).content_size == len(TEXT)


@pytest.mark.parametrize(
    ("hidden", "left"),
    [
        (["brotli"], "zstd gzip"),
        (["zstandard", "compression"], "br gzip"),
        (["brotli", "zstandard", "compression"], "gzip"),
    ],
)
def test_without_a_library_there_is_no_encoder(hidden: list[str], left: str) -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(sys.argv[1:]))"
        "; from portico.site.compression.encoders import available"
        "; print(*available())"
    )
    command = [sys.executable, "-c", code, *hidden]
    told = subprocess.run(command, capture_output=True, check=True, text=True, env={**os.environ})
    assert told.stdout == left + "\n"


def test_nothing_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, portico.site.compression.encoders"
        "; print({'zlib', 'brotli', 'zstandard', 'compression'} & set(sys.modules))"
    )
    told = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, check=True, text=True
    )
    assert told.stdout == "set()\n"
