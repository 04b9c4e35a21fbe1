"""Files that are in a content coding on disk: whether their content agrees with their name.

Rule: a file counts as coded only if its bytes agree. gzip and zstd have magic numbers, and a gzip
file ends with the length of its original. brotli has no magic number: a file that begins like gzip
or zstd, or like its original, is refused.
Limit: the rest of the content is not decoded here; `portico check` does that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.http.codings import IDENTITY
from portico.site.fields import without
from portico.site.representation.media import media_type

if TYPE_CHECKING:
    from portico.http.message import Field
    from portico.site.origin.protocol import File

_GZIP = b"\x1f\x8b\x08"  # RFC 1952, 2.3.1; 8 is deflate, the only method
_ZSTD = b"\x28\xb5\x2f\xfd"  # RFC 8878, 3.1.1
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # after a byte 50 to 5F (3.1.2); files of pzstd begin so
_4_GIB = 1 << 32
_FIELD = "content-encoding"
_BEGINNING = 64
"""Bytes at the start of a file that are compared with those of its original."""

_OWN_SUFFIXES = {"gzip": (".gz", ".unityweb"), "br": (".br", ".unityweb"), "zstd": (".zst",)}
"""Suffixes of files that exist only in this coding, such as games exported for browsers."""


def fault(coded: File, coding: str, original: File | None = None) -> str | None:
    """Return why the file `coded` cannot be sent in place of `original`; None if it can be.

    Without `original`, only the format is checked. Raises Waiting.
    """
    try:
        octets = _beginning(coded)
        if not _begins_as(coding, octets):
            return f"it is not in the format of {coding}" if octets else "it is empty"
        if original is not None and octets == _beginning(original):
            return "it begins as its original does"
        if (
            original is not None
            and coding == "gzip"
            and _length_in(coded) != original.size % _4_GIB
        ):
            return "it was made from a file of another length"
    except OSError as problem:
        return f"it cannot be read ({problem.strerror})"
    return None


def own_type_name(file: File, coding: str) -> str | None:
    """Return the name that tells the media type of a file that exists only in `coding`.

    For `game.wasm.gz`, return `game.wasm`. Return None if the file is not in that coding. Raises
    Waiting.
    """
    if fault(file, coding) is not None:
        return None
    name = file.name.lower()
    for suffix in _OWN_SUFFIXES[coding]:
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    if coding == "br":  # only a suffix of brotli would tell that it is
        return None
    return name.removesuffix("z") if name.endswith(".svgz") else name


def own_coding(selected: File, coding: str, kind: str, fields: list[Field]) -> list[Field]:
    """Return `fields` with the true Content-Encoding, whatever a rule of the site has set.

    A rule may set Content-Encoding for a file that exists only in a coding and is requested by its
    full name, such as `game.wasm.gz`. If the file is in that coding, the field stays, and the media
    type is that of the name without the suffix, unless a rule has set another. `coding` and `kind`
    are the content coding and the media type of the selected representation. Raises Waiting.
    """
    said = [value.lower() for name, value in fields if name.lower() == _FIELD]
    if said == ([] if coding == IDENTITY else [coding]):
        return fields
    fields = without(fields, {_FIELD})
    if coding != IDENTITY:
        return [*fields, ("Content-Encoding", coding)]
    name = own_type_name(selected, said[0]) if said[0] in _OWN_SUFFIXES else None
    if name is None:
        return fields
    if name != selected.name.lower() and ("Content-Type", kind) in fields:
        place = fields.index(("Content-Type", kind))
        fields[place] = ("Content-Type", media_type(name))
    return [*fields, ("Content-Encoding", said[0])]


def _beginning(file: File) -> bytes:
    return file.content.slice(0, min(_BEGINNING, file.size)).read()


def _begins_as(coding: str, octets: bytes) -> bool:
    if not octets:
        return False
    is_gzip = octets.startswith(_GZIP)
    is_zstd = octets.startswith(_ZSTD) or (
        octets[1:4] == _ZSTD_SKIPPABLE and 0x50 <= octets[0] <= 0x5F
    )
    return {"gzip": is_gzip, "zstd": is_zstd}.get(coding, not (is_gzip or is_zstd))


def _length_in(gzip: File) -> int:
    """Return the original's length modulo 2^32, with which a gzip file ends (RFC 1952, 2.3.1)."""
    return int.from_bytes(gzip.content.slice(max(0, gzip.size - 4), gzip.size).read(), "little")
