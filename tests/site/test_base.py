"""--base: a folder that is served below a path, as sites are made for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.site.asking import Client, content, fields


@pytest.fixture
def client(tmp_path: Path) -> Client:
    root = tmp_path / "site"
    (root / "guide").mkdir(parents=True)
    for name in ("index.html", "about.html", "404.html", "guide/a.txt", "docs"):
        (root / name).write_bytes(name.encode())
    (root / "_redirects").write_text(
        "/docs/old /docs/about\n/docs/x/* /docs/:splat 200\n/y /docs/\n"
    )
    (root / "_headers").write_text("/docs/*\n  X-Docs: yes\n")
    return Client(root, base="docs", spa=True, immutable=["/docs/guide/*"])


@pytest.mark.parametrize(
    ("path", "octets"),
    [
        *(
            ("/docs/", b"index.html"),
            ("/docs/about", b"about.html"),
            ("//docs/./about", b"about.html"),
        ),
        *(
            ("/docs/docs", b"docs"),
            ("/docs/x/about", b"about.html"),
            ("/docs/users/7", b"index.html"),
        ),
    ],
)
def test_files_are_below_it(client: Client, path: str, octets: bytes) -> None:
    response = client.ask(path)
    assert (response.status, content(response)) == (200, octets)
    assert fields(response)["X-Docs"] == "yes"


@pytest.mark.parametrize(
    ("path", "location"),
    [
        *(
            ("/", "docs/"),
            ("/docs", "docs/"),
            ("/docs/guide", "guide/"),
            ("/docs/about/", "../about"),
        ),
        *(("/docs/old", "/docs/about"), ("/docs/x/guide", "guide/"), ("/y", "/docs/")),
    ],
)
def test_redirects_stay_below_it(client: Client, path: str, location: str) -> None:
    assert fields(client.ask(path))["Location"] == location


def test_nothing_is_beside_it(client: Client) -> None:
    for path in (
        "/about",
        "/about.html",
        "/users/7",
        "/docsabout",
        "/Docs/about",
        "/docs/../about",
    ):
        response = client.ask(path)
        assert (response.status, content(response)) == (404, b"404.html")
    for path in ("/docs/.hidden", "/docs/guide/none.txt"):
        assert client.ask(path).status == 404
    listing = content(client.ask("/docs/guide/"))
    assert b"./a.txt" in listing
    assert "immutable" in fields(client.ask("/docs/guide/a.txt"))["Cache-Control"]


def test_rights_are_those_of_the_urls_path(client: Client) -> None:
    access = [{"path": "/docs/guide/*"}, {"path": "/*", "anonymous": ["read"]}]
    guarded = Client(client.root, base="docs", access=access)
    assert guarded.ask("/docs/about").status == 200
    for path in ("/docs/guide/a.txt", "/docs/guide/", "/docs/x/guide/", "/docs/x/guide/a.txt"):
        assert guarded.ask(path).status == 403
