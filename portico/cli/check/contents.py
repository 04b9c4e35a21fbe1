"""Checks the content of files: text that is not UTF-8, unknown types, stale compressed files.

Rule: a file is judged by the Content-Type with which it is served. A compressed file that is not
older than its original is sent in place of the original, so it must decode to the same bytes.
Limits: files above PARSE_LIMIT are not searched for links; br and zstd are decoded only where a
library for them is installed.
"""

from __future__ import annotations

import codecs
import gzip
import os
from typing import TYPE_CHECKING

from portico.cli.check.findings import Places
from portico.cli.check.links import PARSE_LIMIT
from portico.site.compression.encoders import SUFFIXES
from portico.site.representation.media import UNKNOWN, is_listed, media_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from portico.cli.check.findings import Findings
    from portico.cli.check.links import Links
    from portico.cli.walk import Item

_UTF8_BY_DEFINITION = frozenset(
    {
        *("application/json", "application/x-ndjson", "application/yaml", "application/toml"),
        *("text/vtt", "text/html", "application/xhtml+xml"),
    }
)
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_TEXT = "text/plain; charset=utf-8"
"""The Content-Type by which the site's rules files are judged."""
_PIECE = 1 << 18
_BROTLI_PIECE = 512
"""Compressed bytes that are decoded at a time, since a few of them can expand to megabytes."""


def check_content(item: Item, links: Links, findings: Findings) -> bool:
    """Report text that is not UTF-8; pass other text to `links`, which collects the links in it.

    `item` is a file that is served, or one of the site's rules files. Return whether it is text of
    unknown type. Binary data of unknown type is not reported, because it is served as such.
    """
    kind = _TEXT if item.is_rules_file else media_type(item.name, item.names)
    essence = kind.partition(";")[0]
    is_text = "charset=utf-8" in kind or essence in _UTF8_BY_DEFINITION or "+json" in essence
    if not is_text and (kind != UNKNOWN or is_listed(item.name)):
        return False
    lines: list[str] = []
    number, octets, is_utf8, is_small = 1, b"", True, False
    try:
        with open(item.path, "rb") as file:
            is_small = os.fstat(file.fileno()).st_size <= PARSE_LIMIT
            for number, octets in enumerate(file, 1):  # noqa: B007 (for the line that fails)
                line = octets.decode()
                lines += [line] * is_small
    except UnicodeDecodeError:
        is_utf8 = False
    except OSError:
        return False  # reported as not readable
    if is_text and is_utf8:
        if is_small and not item.is_rules_file:
            links.read(item, essence, "".join(lines))
        return False
    served = links.content_type(item.names)
    if served is not None and served.lower() != kind:
        return False  # a rule of the site sets another type, perhaps with the right charset
    if is_text:
        which = "UTF-16" if octets.startswith(_UTF16) else "not UTF-8"
        what = f"This is {which}, but it is served as UTF-8, whatever it says of itself."
        findings.add("charset", Places(item.shown, number), what, "Save it as UTF-8.")
    return not is_text and is_utf8


def report_type(item: Item, links: Links, findings: Findings) -> None:
    """Report a text of unknown media type, unless a link offers it as a download."""
    if links.offers_to_save(item.names):
        return
    suffix = item.name.rpartition(".")[2].lower() if "." in item.name[1:] else ""
    which = f'Files that end in ".{suffix}"' if suffix else "Files without a suffix"
    what = f"{which} are of no known media type; browsers save them ({UNKNOWN})."
    cure = "Give them another suffix, or set their Content-Type in _headers."
    findings.add("type", Places(item.shown), what, cure)


def check_compressed(items: Sequence[Item], findings: Findings) -> None:
    """Report compressed files in a folder that are older than their original, or differ from it."""
    files = {item.name: item for item in items if item.is_served}
    for item in files.values():
        for coding, suffix in SUFFIXES.items():
            original = files.get(item.name.removesuffix(suffix), item)
            if original is not item and (what := _mismatch(coding, item, original)) is not None:
                cure = "Write it again with portico compress, or delete it."
                findings.add("stale", Places(item.shown), what, cure)


def _mismatch(coding: str, item: Item, original: Item) -> str | None:
    """Return what is wrong with a compressed file; None if nothing is."""
    if item.status is None or original.status is None:
        return None
    if item.status.st_mtime_ns < original.status.st_mtime_ns:
        return f'It is older than "{original.name}", so the server ignores it.'
    try:
        with open(item.path, "rb") as source, open(original.path, "rb") as expected:
            same = all(expected.read(len(piece)) == piece for piece in _decode(coding, source))
            if not same or expected.read(1):
                return f'It does not decode to the content of "{original.name}".'
    except (ImportError, FileNotFoundError, PermissionError):
        pass  # no library, removed meanwhile, or reported as not readable
    except Exception as problem:  # noqa: BLE001 (each library has errors of its own)
        return f"It cannot be decoded ({problem})."
    return None


def _decode(coding: str, source: BinaryIO) -> Iterator[bytes]:
    """Yield the decoded content of an open file. Raises ImportError if there is no library."""
    if coding == "br":
        from brotli import Decompressor

        decompressor = Decompressor()
        while compressed := source.read(_BROTLI_PIECE):
            yield decompressor.process(compressed)
        if not decompressor.is_finished():
            raise EOFError("it ends too early")
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
