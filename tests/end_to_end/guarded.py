"""A site with secrets in it and beside it, and what none of them may be found in."""

from __future__ import annotations

from pathlib import Path

from portico import Server
from tests.server.clients import Answer, Client

SECRET = b"what lies outside of the root"
PAGE = b"<!doctype html><p>page"


def guarded_site(tmp_path: Path) -> Path:
    """The root, made below `tmp_path`."""
    root = tmp_path / "site"
    (root / "folder").mkdir(parents=True)
    (root / "page.html").write_bytes(PAGE)
    (root / "folder" / "file.txt").write_bytes(b"text")
    (root / ".env").write_bytes(SECRET)
    (root / ".git").mkdir()
    (root / ".git" / "config").write_bytes(SECRET)
    beside = tmp_path / "site-secret"
    beside.mkdir()
    (beside / "secret.txt").write_bytes(SECRET)
    (beside / "index.html").write_bytes(SECRET)
    (tmp_path / "secret.txt").write_bytes(SECRET)
    return root


def ask_afresh(server: Server, head: bytes, method: str = "GET") -> Answer:
    """The answer to a request on a connection of its own."""
    with Client(server.url) as client:
        return client.ask(head, method=method)
