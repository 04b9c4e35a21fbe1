"""A site for which rules are written, and clients of it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

from tests.site.asking import Client

CODED_INDEX = gzip.compress(b"index", mtime=0)
HTML = "text/html; charset=utf-8"

Build = Callable[..., Client]


def make_site(root: Path) -> Path:
    """Pages, folders with and without an index file, and what is hidden."""
    for name, octets in {
        "index.html": b"home",
        "page.html": b"<p>page",
        "old.html": b"old",
        "full/index.html": b"index of full",
        "full/inner.txt": b"inner",
        "bare/file.txt": b"in bare",
        "coded/index.html.gz": CODED_INDEX,
        "en/404.html": b"not here",
        ".secret": b"secret",
        ".git/config": b"secret",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(octets)
    return root


def build_in(root: Path) -> Build:
    """What makes a client of the site with these rules."""

    def build(*rules: str, headers: str = "", hosts: tuple[str, ...] | None = None) -> Client:
        if rules:
            (root / "_redirects").write_text("\n".join(rules) + "\n")
        if headers:
            (root / "_headers").write_text(headers)
        return Client(root, hosts)

    return build
