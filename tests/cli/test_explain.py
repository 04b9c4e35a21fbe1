"""`portico explain`: the steps, from the code that answers, and what comes of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import portico
from portico.cli.main import main

Explain = Callable[..., str]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    root.mkdir()
    (root / "index.html").write_text("<p>front</p>" * 100)
    (root / "about.html").write_text("<p>about</p>")
    (root / "photo.jpeg").write_bytes(b"\xff\xd8" * 5000)
    (root / "_redirects").write_text("/old /about 302\n/about.html /never\n")
    (root / "_headers").write_text("/*\n  X-Frame-Options: DENY\n")
    old = 1_600_000_000
    for path in (*root.iterdir(), root):
        os.utime(path, (old, old))
    return root


@pytest.fixture
def explain(site: Path, capsys: pytest.CaptureFixture[str]) -> Explain:
    def run(url: str, *arguments: str) -> str:
        assert main(["explain", url, str(site), *arguments]) == 0
        return capsys.readouterr().out

    return run


def test_a_clean_url(explain: Explain) -> None:
    told = explain("/about")
    assert "/about is missing." in told
    assert "/about.html is used." in told
    assert "the block on line 1 of _headers applies" in told
    assert "HTTP/1.1 200 OK" in told
    assert "X-Frame-Options: DENY" in told
    assert "Body: 12 bytes" in told
    assert "Cached; checked for changes on disk with each request: " in told


def test_a_path_is_taken_as_people_type_it(explain: Explain, site: Path) -> None:
    (site / "\u00fcber uns.html").touch()
    assert "200 OK" in explain("/\u00fcber uns")


def test_a_rule_and_one_that_stands_back(explain: Explain) -> None:
    told = explain("/old")
    assert "line 1 of _redirects: 302 /about" in told
    assert "Location: /about" in told
    told = explain("/about.html")
    assert "line 2 of _redirects does not apply: a file comes first" in told
    assert "200 OK" in told


def test_what_comes_at_once_and_what_later(explain: Explain) -> None:
    at_once, later = explain("/", "-H", "Accept-Encoding: gzip").split("Once it is compressed")
    assert "gzip is wanted" in at_once
    assert "Content-Encoding" not in at_once
    assert "Content-Encoding: gzip" in later


def test_conditions_and_ranges(explain: Explain) -> None:
    told = explain("/photo.jpeg", "-H", "Range: bytes=0-9", "-H", "If-None-Match: *")
    assert "If-None-Match: the client has what is here" in told
    assert "304 Not Modified" in told
    told = explain("/photo.jpeg", "-H", "Range: bytes=9990-,0-9")
    assert "selects 9990-9999, 0-9" in told
    assert "206 Partial Content" in told
    assert "416" in explain("/photo.jpeg", "-H", "Range: bytes=10000-")
    assert "200 OK" in explain("/photo.jpeg", "-H", "Range: bytes=0-9", "-X", "HEAD")


def test_hosts(explain: Explain) -> None:
    assert "421" in explain("http://www.example.org/about")
    assert "200 OK" in explain("http://www.example.org/about", "--allow-host", "www.example.org")


def test_what_breaks_the_protocol(explain: Explain) -> None:
    told = explain("/about", "-H", "Bad Name: x")
    assert "malformed" in told
    assert "400 Bad Request" in told
    assert "400" in explain("/%zz")


@pytest.mark.parametrize("url", ["about", "ftp://localhost/", "", "/a\r\nb"])
def test_what_is_no_url(site: Path, capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert main(["explain", url, str(site)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("portico: error: ")


def test_it_writes_nothing(explain: Explain, site: Path) -> None:
    before = sorted(site.rglob("*"))
    explain("/", "-H", "Accept-Encoding: br")
    assert sorted(site.rglob("*")) == before


@pytest.mark.parametrize(
    ("method", "url", "arguments", "told"),
    [
        ("PUT", "/new.txt", ["--user", "alice"], "would be taken"),
        ("PUT", "/new.txt", ["--user", "bob"], "403 Forbidden"),
        ("PUT", "/new.txt", [], "401 Unauthorized"),
        ("PUT", "/about.html", ["--user", "alice", "-H", "If-None-Match: *"], "412 "),
        ("PUT", "/.hidden", ["--user", "alice"], "403 "),
        ("PUT", "/new.txt", ["--user", "alice", "-H", "Upload-Complete: ?0"], "would be taken"),
        ("POST", "/", ["--user", "alice", "-H", "Content-Type: text/plain"], "415 "),
        ("DELETE", "/about.html", ["--user", "alice"], "204 No Content"),
        ("DELETE", "/none", ["--user", "alice"], "404 "),
        ("DELETE", "/about.html", [], "401 "),
        ("HEAD", "/.portico/uploads/" + "0" * 32, ["--user", "alice"], "404 "),
        ("PATCH", "/.portico/uploads/" + "0" * 32, ["--user", "alice"], "404 "),
    ],
)
def test_who_may_write_is_told_without_writing(
    explain: Explain, site: Path, method: str, url: str, arguments: list[str], told: str
) -> None:
    before = sorted(site.rglob("*"))
    users = site.parent / "users"
    users.touch()
    access = "/* anonymous=read alice=create,replace,delete"
    writing = ("--allow", "write", "--users", str(users), "--access", access, "--keep-free", "0")
    assert told in explain(url, "-X", method, *writing, *arguments)
    assert sorted(site.rglob("*")) == before


def test_as_a_command(site: Path) -> None:
    command = [sys.executable, "-m", "portico", "explain", "/none", str(site)]
    home = Path(portico.__file__).parent.parent
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=home)
    assert done.returncode == 0, done.stderr
    assert "404 Not Found" in done.stdout


def test_a_base(explain: Explain) -> None:
    assert "X-Frame-Options: DENY" in explain("/docs/./about", "--base", "/docs/")
    assert "Location: docs/" in explain("/docs", "--base", "/docs/")
    assert "not below that of --base" in explain("/about", "--base", "/docs/")
