"""Hostile paths against a real server: an error each time, no secret, and it serves on."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from portico import Server
from tests.server.clients import Client, get, request

pytestmark = pytest.mark.usefixtures("no_complaint")

SECRET = b"what lies outside of the root"
PAGE = b"<!doctype html><p>page"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A site with secrets in its dotfiles and beside it."""
    root = tmp_path / "site"
    for folder in (root / "folder", root / ".git", tmp_path / "site-secret"):
        folder.mkdir(parents=True)
    (root / "page.html").write_bytes(PAGE)
    (root / "folder" / "file.txt").write_bytes(b"text")
    for name in ("site/.env", "site/.git/config", "secret.txt", "site-secret/secret.txt"):
        (tmp_path / name).write_bytes(SECRET)
    return root


ATTACKS = [
    *("/../secret.txt", "/folder/../../secret.txt", "/../site-secret/secret.txt", "/..", "/../"),
    *("/folder/..", "/folder/../page.html", "/./page.html", "/folder/./file.txt", "/."),
    *("/%2e%2e/secret.txt", "/%2E%2e/secret.txt", "/.%2e/secret.txt", "/%2e./secret.txt"),
    *("/%252e%252e/secret.txt", "/%252e%252e%252fsecret.txt", "/..%252fsecret.txt"),
    *("/%25252e%25252e/secret.txt", "/%2%65%2%65/secret.txt", "/%%32%65%%32%65/secret.txt"),
    *("/..%2fsecret.txt", "/..%2Fsecret.txt", "/%2e%2e%2fsecret.txt", "/folder%2ffile.txt"),
    *("/..%5csecret.txt", "/..%5Csecret.txt", "/..\\secret.txt", "/folder\\..\\..\\secret.txt"),
    *("/%c0%ae%c0%ae/secret.txt", "/%C0%AE%c0%ae%c0%afsecret.txt", "/..%c0%afsecret.txt"),
    *("/%e0%80%ae%e0%80%ae/secret.txt", "/%f0%80%80%ae%f0%80%80%ae/secret.txt"),
    *("/..%c1%9csecret.txt", "/%uff0e%uff0e/secret.txt", "/%u002e%u002e/secret.txt"),
    *("/%EF%BC%8E%EF%BC%8E/secret.txt", "/..%E2%88%95secret.txt", "/..%ef%bc%8fsecret.txt"),
    *("/..;/secret.txt", "/..%3b/secret.txt", "/....//secret.txt", "/.../secret.txt"),
    *("/..%00/secret.txt", "/page.html%00", "/page.html%00.png", "/%00", "/%00/page.html"),
    *("/..%0d%0a/secret.txt", "/..%20/secret.txt", "/..%09/secret.txt", "/.%20./secret.txt"),
    *("//secret.txt", "///secret.txt", "//../secret.txt", "//etc/passwd", "/%2fetc/passwd"),
    *("/%2Fetc%2Fpasswd", "//page.html", "/folder//file.txt", "/folder/file.txt/"),
    *("/\\evil.example/..", "/%5cevil.example", "//evil.example", "//evil.example/%2e%2e"),
    *("/C:/secret.txt", "/C:%5csecret.txt", "/c%3a/secret.txt", "/%5c%5chost%5cshare%5csecret"),
    *(
        "/page.html::$DATA",
        "/page.html%3a%3a$DATA",
        "/CON",
        "/aux.txt",
        "/page.html.",
        "/PAGE~1.HTM",
    ),
    *("/page.html%20", "/page.html%2e", "/page.html...", "/nul.html"),
    *("/.env", "/%2eenv", "/.git/config", "/%2Egit/config", "/folder/../.env", "/.git/", "/.git"),
    *("/.well-known/../.env", "/.well-known/%2e%2e/.env", "/.well-known/.env"),
    *("/site-secret/secret.txt", "/folder/%2e%2e%2f%2e%2e%2fsecret.txt", "/~root/", "/~/"),
    *("/%", "/%2", "/%zz", "/page.html%", "/%-1", "/%+2", "/page%2ehtml%"),
    *("/proc/self/environ", "/dev/stdin", "/proc/self/cwd/secret.txt"),
    *("http://localhost/../secret.txt", "http://localhost/%2e%2e/secret.txt"),
    *("http://localhost//secret.txt", "http://localhost/..%2fsecret.txt", "http://localhost/.env"),
    *("http://evil.example/page.html", "http://evil.example", "https://localhost.evil.example/"),
    *("http:///page.html", "http://localhost@evil.example/", "http://", "file:///etc/passwd"),
    *("ftp://localhost/page.html", "secret.txt", "../secret.txt", "*", "?", "localhost:80", "#"),
    *("page.html", "/page.html#", "/#/../secret.txt", "http:/page.html", "http:page.html", "\\"),
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_hostile_target_gets_an_error_and_no_secret(server: Server, method: str) -> None:
    """The connection goes on, unless the request was malformed."""
    client = Client(server.url)
    for target in ATTACKS:
        answer = client.ask(request(method, target), method=method)
        assert answer.status in {400, 404, 421}, target
        assert SECRET not in answer.content
        assert "location" not in answer.fields
        assert answer.closes == (answer.status == 400), target
        if answer.closes:
            rest = client.until_end()
            assert not rest or method == "HEAD"  # of a malformed request the method is not known
            assert SECRET not in rest
            client.close()
            client = Client(server.url)
        assert client.ask(get("/page.html")).content == PAGE
    client.close()


def test_cached_reply_is_not_given_to_a_foreign_host(client: Client) -> None:
    foreign = get("/page.html").replace(b"localhost", b"evil.example")
    for _ in range(4):  # until the reply is in the cache
        assert client.ask(get("/page.html")).content == PAGE
    assert client.ask(foreign).status == 421
    assert client.ask(get("http://evil.example/page.html")).status == 421


@pytest.mark.parametrize("size", [len(SECRET), 65536])
def test_link_swapped_at_any_moment_never_leaks(root: Path, client: Client, size: int) -> None:
    (root.parent / "secret.txt").write_bytes(SECRET.ljust(size))
    (root / "page.html").write_bytes(PAGE.ljust(size))
    folders, link = root / "folders", root / "link"
    folders.symlink_to("folder")
    link.symlink_to("page.html")
    enough = threading.Event()

    def swap() -> None:
        while not enough.is_set():
            for name, goal in (
                ("link", "../secret.txt"),
                ("folders", "../site-secret"),
                ("link", "page.html"),
                ("folders", "folder"),
            ):
                (root / ".next").symlink_to(goal)
                (root / ".next").replace(root / name)

    thread = threading.Thread(target=swap)
    thread.start()
    seen: set[int] = set()
    try:
        for turn in range(10_000):
            if turn >= 100 and {200, 404} <= seen:
                break
            answer = client.ask(get("/link"))
            assert answer.status in {200, 404, 503}
            assert answer.status != 200 or answer.content == PAGE.ljust(size)
            seen.add(answer.status)
            answer = client.ask(get("/folders/"))
            assert answer.status in {200, 404, 503}
            assert SECRET not in answer.content
            assert b"secret.txt" not in answer.content
            assert SECRET not in client.ask(get("/folders/secret.txt")).content
    finally:
        enough.set()
        thread.join()
    assert {200, 404} <= seen  # or else the link was not swapped in between
