"""A site with representations of every kind: coded or not, small or large, alone or not."""

from __future__ import annotations

import gzip
from hashlib import sha256
from pathlib import Path

from portico.site.origin.etags import tag_of
from portico.site.origin.folder import SMALL
from tests.site.asking import Client, age, settle_all
from tests.site.compression.copying import text

DATE = 1_000_000_000
PLAIN = text(5000)
GZIP = gzip.compress(PLAIN, mtime=0)
BIG = text(SMALL + 5000)
BIG_GZIP = gzip.compress(BIG, 0, mtime=0)  # so it is large, too
ONLY_GZIP = "gzip, identity;q=0"
"""The value of Accept-Encoding for a coded representation, whatever else a request asks for."""


class Kind:
    """A representation: what to ask for, and what is to come of it."""

    def __init__(self, path: str, accept: str | None, octets: bytes, coding: str | None) -> None:
        self.path = path
        self.lines = () if accept is None else (f"Accept-Encoding: {accept}",)
        self.octets = octets
        self.coding = coding
        self.tag = tag_of(sha256(octets).digest())


KINDS = {
    "identity": Kind("/alone.bin", "gzip, br", PLAIN, None),
    "identity of two": Kind("/page.html", "identity", PLAIN, None),
    "sibling": Kind("/page.html", ONLY_GZIP, GZIP, "gzip"),
    "large": Kind("/large.bin", None, BIG, None),
    "large sibling": Kind("/large.html", ONLY_GZIP, BIG_GZIP, "gzip"),
    "coded only": Kind("/only.html", "br, gzip", GZIP, "gzip"),
}


def make_client(root: Path) -> Client:
    """A client of a site with all kinds."""
    root.mkdir()
    for name, octets in {
        "alone.bin": PLAIN,
        "page.html": PLAIN,
        "page.html.gz": GZIP,
        "large.bin": BIG,
        "large.html": BIG,
        "large.html.gz": BIG_GZIP,
        "only.html.gz": GZIP,
        "empty.bin": b"",
    }.items():
        (root / name).write_bytes(octets)
        age(root / name, DATE)
    settle_all(root)
    return Client(root)
