"""From a reference in a file to the request target that it leads to, as a browser has it.

Rule: WHATWG URL, "URL parsing", for references without a scheme; what has one leads elsewhere.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, unquote, urljoin, urlsplit

from portico.site.target import encode_path

OWN = "http://site.invalid"
"""The origin that this site is taken to have; no link names it (RFC 6761, 6.4)."""

RESOLVED_LIMIT = 16_384
"""References whose resolution is remembered: those in a template stand on every page."""

SPACES = "".join(map(chr, range(0x21)))
"""What is not counted at both ends of a reference: C0 controls and the space."""

_DROPPED = re.compile(r"[\t\n\r]")
_DOT = re.compile(r"%2e", re.IGNORECASE)
_PATH_SAFE = "/%:@!$&'()*+,;=~"
_QUERY_SAFE = _PATH_SAFE + "?"


class Target:
    """Where a reference leads within the site."""

    __slots__ = ("fragment", "path")

    def __init__(self, path: str, fragment: str) -> None:
        self.path = path
        """Path and query, percent-encoded: a request target."""
        self.fragment = fragment


def url_of(names: tuple[str, ...]) -> str:
    """The URL at which the file of these names is usually met; an index file's is its folder's."""
    if names[-1] == "index.html":
        names = (*names[:-1], "")
    return OWN + encode_path(names)


def resolve(base: str, reference: str) -> Target | None:
    """Where `reference` leads from the URL `base`; None for somewhere else than this site.

    Raises ValueError for what is no URL. Source: WHATWG URL, "URL parsing".
    """
    reference = _DROPPED.sub("", reference.strip(SPACES))
    before, _, fragment = reference.partition("#")
    if before and before[0] != "?":  # then only the folder of the base counts
        base = base.partition("#")[0].partition("?")[0]
        base = base[: base.rfind("/") + 1]
    path = _path(base, before)
    return None if path is None else Target(path, fragment)


@lru_cache(RESOLVED_LIMIT)
def _path(base: str, reference: str) -> str | None:
    """The request target that a reference without a fragment leads to."""
    reference, mark, query = reference.partition("?")
    reference = _DOT.sub(".", reference.replace("\\", "/"))
    parts = urlsplit(urljoin(base, f"{reference}{mark}{query}"))
    if f"{parts.scheme}://{parts.netloc}" != OWN:
        return None
    path = quote(parts.path, safe=_PATH_SAFE, errors="replace") or "/"
    if parts.query:
        path = f"{path}?{quote(parts.query, safe=_QUERY_SAFE, errors='replace')}"
    return path


def shown_path(path: str) -> str:
    """A request target as people write it, where that can be read."""
    return unquote(path, errors="strict") if _is_text(path) else path


def _is_text(path: str) -> bool:
    try:
        return unquote(path, errors="strict").isprintable()
    except UnicodeDecodeError:
        return False
