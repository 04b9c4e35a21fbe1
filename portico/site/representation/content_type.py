"""The Content-Type of a file: by its name, and for some types by the start of its content.

The name comes first (see `media`). Then:

1. `.ts` and `.mts` are TypeScript, or video if they begin like an MPEG transport stream: with a
   byte 47 (hex) every 188 bytes, or every 192 after four bytes of time code (ISO 13818-1; BDAV).
2. UTF-8 is not declared for HTML or CSS that itself declares another encoding, within the bytes in
   which browsers look for it, because a declaration in the field would override that of the file.

Limit: a file that exists only in content codings is judged by its name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from portico.site.origin.protocol import File
from portico.site.representation.media import media_type

if TYPE_CHECKING:
    from portico.site.origin.protocol import Precompressed

BEGINNING = 1024
"""Bytes of HTML in which browsers look for a declaration (HTML Standard, 13.2.3.2)."""
TRANSPORT_STREAM = "video/mp2t"

_TRANSPORT_STREAM_SUFFIXES = (".ts", ".mts")
_SYNC = 0x47
_UTF8 = "; charset=utf-8"
_HTML = f"text/html{_UTF8}"
_MAY_DECLARE = frozenset({_HTML, f"text/css{_UTF8}"})
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_META = re.compile(rb"<meta[\s/][^>]*?charset\s*=\s*[\"']?\s*([^\s\"'/>;]+)")  # in lower case
_CSS_CHARSET = re.compile(rb'@charset "([^"]*)";')
# Names of UTF-8. Those of UTF-16 are included: a declaration that reads as ASCII is not in UTF-16.
_MEANS_UTF8 = frozenset(
    {b"utf-8", b"utf8", b"unicode-1-1-utf-8", b"utf-16", b"utf-16le", b"utf-16be"}
)


def content_type(found: File | Precompressed) -> str:
    """Return the Content-Type field value for a file. Raises Waiting."""
    kind = media_type(found.name, found.names)
    if not isinstance(found, File) or not (kind in _MAY_DECLARE or reads_beginning(found.name)):
        return kind
    content = found.content
    try:
        beginning = (content if found.size <= BEGINNING else content.slice(0, BEGINNING)).read()
    except OSError:  # occurs again when the content is sent, and is handled there
        return kind
    return refined(kind, found.name, beginning)


def reads_beginning(name: str) -> bool:
    """Whether a file of this name may be text or video, so that its start has to be read."""
    return name.lower().endswith(_TRANSPORT_STREAM_SUFFIXES)


def refined(kind: str, name: str, beginning: bytes) -> str:
    """Return the Content-Type of a file that starts so; `kind` is the one that its name tells."""
    if kind not in _MAY_DECLARE:
        is_video = reads_beginning(name) and _is_transport_stream(beginning)
        return TRANSPORT_STREAM if is_video else kind
    if kind == _HTML:
        text = beginning.lower()
        if b"charset" not in text:  # faster than the pattern
            return kind
        found = _META.search(_COMMENT.sub(b"", text) if b"<!--" in text else text)
    else:
        found = _CSS_CHARSET.match(beginning)
    declares_other = found is not None and found[1].lower() not in _MEANS_UTF8
    return kind.removesuffix(_UTF8) if declares_other else kind


def _is_transport_stream(octets: bytes) -> bool:
    """Whether the first two packets begin with the sync byte; False for a shorter file."""
    return any(
        len(octets) > start + size and octets[start] == octets[start + size] == _SYNC
        for start, size in ((0, 188), (4, 192))
    )
