"""--header and --isolate, and --hidden."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from portico.config.config import ConfigError
from portico.http.message import Response
from tests.site.asking import Client


def field(response: Response, name: str) -> list[str]:
    return [value for known, value in response.fields if known.lower() == name]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "page.html").write_text("<p>Hello")
    return tmp_path


def test_headers_are_sent_with_files_listings_and_errors(root: Path) -> None:
    client = Client(root, headers=["X-Robots-Tag: noindex", "Cache-Control: max-age=9"])
    for path in ("/page", "/", "/none"):
        assert field(client.ask(path), "x-robots-tag") == ["noindex"]
    assert field(client.ask("/page"), "cache-control") == ["max-age=9"]
    assert field(client.ask("/none"), "cache-control") == ["no-cache"]


def test_headers_win_over_those_of_the_rules_file(root: Path) -> None:
    (root / "_headers").write_text("/*\n  X-A: file\n  X-B: file\n")
    response = Client(root, headers=["X-A: option"]).ask("/page")
    assert (field(response, "x-a"), field(response, "x-b")) == (["option"], ["file"])


def test_isolate_sets_the_two_headers(root: Path) -> None:
    response = Client(root, isolate=True).ask("/page")
    assert field(response, "cross-origin-opener-policy") == ["same-origin"]
    assert field(response, "cross-origin-embedder-policy") == ["require-corp"]


@pytest.mark.parametrize("line", ["Content-Length: 3", "ETag: x", "Date: now"])
def test_a_header_that_only_the_server_can_set_is_refused(root: Path, line: str) -> None:
    with pytest.raises(ConfigError, match="belongs to the server"):
        Client(root, headers=[line])


def test_hidden_serves_and_lists_dotfiles_without_secrets(root: Path) -> None:
    secret = (".git", ".gitignore", ".ENV", ".env.local", ".htpasswd", ".ssh", ".portico-x.tmp")
    for name in (".zattrs", *secret):
        (root / name).write_text("{}")
    hidden, usual = Client(root, hidden=True), Client(root)
    assert hidden.ask("/.zattrs").status == 200
    assert usual.ask("/.zattrs").status == 404
    assert {hidden.ask(f"/{name}").status for name in secret} == {404}
    listing = hidden.ask("/", "Accept: application/json")
    text = b"".join(piece.in_memory or b"" for piece in listing.content)
    assert [entry["name"] for entry in json.loads(text)["entries"]] == [".zattrs", "page.html"]
