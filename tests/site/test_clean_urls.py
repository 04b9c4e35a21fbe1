"""Clean URLs: /about stands for about.html."""

from __future__ import annotations

import gzip
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.site.asking import Client, age, content, fields, vary

ABOUT = b"<p>about"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    (root / "docs" / "guide").mkdir(parents=True)
    (root / "both").mkdir()
    (root / "about.html").write_bytes(ABOUT)
    (root / "docs" / "guide" / "start.html").write_bytes(b"start")
    (root / "both.html").write_bytes(b"page of both")
    (root / "both" / "index.html").write_bytes(b"index of both")
    (root / "file").write_bytes(b"the file itself")
    (root / "file.html").write_bytes(b"not the file itself")
    (root / "with space & more.html").write_bytes(b"odd")
    (root / "index.html").write_bytes(b"home")
    (root / "photo.jpeg").write_bytes(b"photo")
    return root


@pytest.fixture
def client(root: Path) -> Client:
    return Client(root)


@pytest.mark.parametrize(
    ("path", "octets"),
    [
        ("/about", ABOUT),
        ("/about?a=b", ABOUT),
        ("/%61bout", ABOUT),
        ("/about.html", ABOUT),
        ("/docs/guide/start", b"start"),
        ("/both", b"page of both"),
        ("/both/", b"index of both"),
        ("/file", b"the file itself"),
        ("/file.html", b"not the file itself"),
        ("/with%20space%20&%20more", b"odd"),
        ("/index", b"home"),
        ("/", b"home"),
    ],
)
def test_page_is_found_by_its_name_without_suffix(client: Client, path: str, octets: bytes) -> None:
    response = client.ask(path)
    assert (response.status, content(response)) == (200, octets)
    if path != "/file":
        assert fields(response)["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/about/", "../about"),
        ("/about/?a=b&c", "../about?a=b&c"),
        ("/%61bout/?", "../about?"),
        ("/docs/guide/start/", "../start"),
        ("/with%20space%20&%20more/", "../with%20space%20&%20more"),
        ("/index/", "../index"),
        ("/docs", "docs/"),
        ("/docs/guide?q", "guide/?q"),
    ],
)
def test_page_has_no_slash_and_a_folder_has_one(client: Client, path: str, location: str) -> None:
    """By a relative reference, which a proxy that strips a prefix leaves right."""
    response = client.ask(path)
    assert (response.status, fields(response)["Location"]) == (301, location)
    assert client.ask(urljoin(path, location)).status == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/abou", "/About", "/about.", "/about.htm", "/about.html.html", "/about.html/"),
        *("/photo", "/photo.jpeg/", "/none", "/none/", "/docs/none", "/docs/none/", "/none/about"),
        *("/docs//about", "/about/about", "/about/none"),
        *("/file/", "/.html", "/docs/.html"),
    ],
)
def test_nothing_else_stands_for_a_page(client: Client, path: str) -> None:
    assert client.ask(path).status == (301 if path == "/file/" else 404)


def test_page_and_its_clean_name_are_one_representation(client: Client) -> None:
    named, clean = client.ask("/about.html"), client.ask("/about")
    assert named.fields == clean.fields
    tag = fields(clean)["ETag"]
    assert client.ask("/about", f"If-None-Match: {tag}").status == 304
    part = client.ask("/about", "Range: bytes=1-2", f"If-Range: {tag}")
    assert (part.status, content(part)) == (206, ABOUT[1:3])
    assert client.ask("/about", method="HEAD").fields == clean.fields


def test_codings_of_the_page_are_those_of_its_clean_name(client: Client) -> None:
    (client.root / "about.html.br").write_bytes(b"coded")
    (client.root / "only.html.gz").write_bytes(gzip.compress(b"only", mtime=0))
    response = client.ask("/about", "Accept-Encoding: br")
    assert content(response) == b"coded"
    assert fields(response)["Content-Type"] == "text/html; charset=utf-8"
    assert vary(response) == {"accept-encoding"}
    assert content(client.ask("/only", "Accept-Encoding: gzip")) == gzip.compress(b"only", mtime=0)
    assert client.ask("/only", "Accept-Encoding: br").status == 406
    assert fields(client.ask("/only/"))["Location"] == "../only"
    age(client.root / "about.html.br", 1)
    assert content(client.ask("/about", "Accept-Encoding: br")) == ABOUT


def test_folder_without_index_comes_after_the_page(client: Client) -> None:
    (client.root / "docs.html").write_bytes(b"page of docs")
    assert content(client.ask("/docs")) == b"page of docs"
    assert fields(client.ask("/docs/"))["Location"] == "../docs"
    (client.root / "docs" / "index.html").write_bytes(b"index of docs")
    assert content(client.ask("/docs/")) == b"index of docs"


def test_hidden_pages_have_no_clean_name(client: Client) -> None:
    (client.root / ".secret.html").write_bytes(b"secret")
    (client.root / ".git").mkdir()
    (client.root / ".git" / "page.html").write_bytes(b"secret")
    for path in ("/.secret", "/.secret/", "/.secret.html", "/.git/page", "/.git/page/", "/.git"):
        assert client.ask(path).status == 404


def test_page_outside_of_the_root_has_no_clean_name(client: Client, tmp_path: Path) -> None:
    (tmp_path / "secret.html").write_bytes(b"secret")
    (client.root / "out.html").symlink_to(tmp_path / "secret.html")
    for path in ("/out", "/out/", "/out.html"):
        assert client.ask(path).status == 404


def test_what_is_not_a_page_file_does_not_stand_for_one(client: Client) -> None:
    (client.root / "dir.html").mkdir()
    assert client.ask("/dir").status == 404
    assert client.ask("/dir/").status == 404
    assert client.ask("/dir.html").status == 301


def test_well_known_names_are_no_exception(client: Client) -> None:
    (client.root / ".well-known").mkdir()
    (client.root / ".well-known" / "change-password.html").write_bytes(b"change")
    assert content(client.ask("/.well-known/change-password")) == b"change"


def test_names_that_begin_with_a_slash_are_never_led_elsewhere(client: Client) -> None:
    (client.root / "evil.example.html").write_bytes(b"")
    for path in ("//evil.example/", "///evil.example/", "/%2Fevil.example/"):
        assert fields(client.ask(path))["Location"].startswith("../")
    assert client.ask("//evil.example").status == 200


def test_without_clean_urls_only_names_count(root: Path) -> None:
    client = Client(root, clean_urls=False)
    assert client.ask("/about").status == 404
    assert client.ask("/about/").status == 404
    assert client.ask("/about.html").status == 200
    assert fields(client.ask("/both"))["Location"] == "both/"
