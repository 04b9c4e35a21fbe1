"""Hostile paths against a real server: an error each time, no secret, and it serves on."""

from __future__ import annotations

import os
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
    *("/./../secret.txt", "/folder/..//../secret.txt", "/folder//../../secret.txt", "/folder//.."),
    *("/none/../../secret.txt", "/folder/.%2e/%2E./secret.txt", "/folder/../..", "/../page.html"),
    *("/%2e%2e/secret.txt", "/%2E%2e/secret.txt", "/.%2e/secret.txt", "/%2e./secret.txt"),
    *("/%252e%252e/secret.txt", "/%252e%252e%252fsecret.txt", "/..%252fsecret.txt"),
    *("/%25252e%25252e/secret.txt", "/%2%65%2%65/secret.txt", "/%%32%65%%32%65/secret.txt"),
    *("/..%2fsecret.txt", "/..%2Fsecret.txt", "/%2e%2e%2fsecret.txt", "/folder%2f..%2fpage.html"),
    *("/folder%2f../page.html", "/.%2fpage.html", "/folder/..%2f..%2fsecret.txt", "/%2f..%2f"),
    *(
        "/\xff\xfe",
        "/..\xc0\xafsecret.txt",
        "/\xc0\xae\xc0\xae/secret.txt",
        "/page.html\xa0",
        "/\x85",
    ),
    *("/..%5csecret.txt", "/..%5Csecret.txt", "/..\\secret.txt", "/folder\\..\\..\\secret.txt"),
    *("/%c0%ae%c0%ae/secret.txt", "/%C0%AE%c0%ae%c0%afsecret.txt", "/..%c0%afsecret.txt"),
    *("/%e0%80%ae%e0%80%ae/secret.txt", "/%f0%80%80%ae%f0%80%80%ae/secret.txt"),
    *("/..%c1%9csecret.txt", "/%uff0e%uff0e/secret.txt", "/%u002e%u002e/secret.txt"),
    *("/%EF%BC%8E%EF%BC%8E/secret.txt", "/..%E2%88%95secret.txt", "/..%ef%bc%8fsecret.txt"),
    *("/..;/secret.txt", "/..%3b/secret.txt", "/....//secret.txt", "/.../secret.txt"),
    *("/..%00/secret.txt", "/page.html%00", "/page.html%00.png", "/%00", "/%00/page.html"),
    *("/..%0d%0a/secret.txt", "/..%20/secret.txt", "/..%09/secret.txt", "/.%20./secret.txt"),
    *("//secret.txt", "///secret.txt", "//../secret.txt", "//etc/passwd", "/%2fetc/passwd"),
    *("/\\evil.example/../page.html", "/%00/../page.html", "/a%5c/./../page.html"),
    *("/%2Fetc%2Fpasswd", "/folder/file.txt/", "/folder%2ffile.txt%2f", "/folder/file.txt/."),
    *("/%5cevil.example", "//evil.example"),
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
    *(
        "/folder/../.git/config",
        "/.git/./config",
        "//.env",
        "/.%2fenv",
        "/%2f.env",
        "/folder%2f.env",
    ),
    *("/.env", "/%2eenv", "/.git/config", "/%2Egit/config", "/folder/../.env", "/.git/", "/.git"),
    *("/.well-known/../.env", "/.well-known/%2e%2e/.env", "/.well-known/.env"),
    *("/site-secret/secret.txt", "/folder/%2e%2e%2f%2e%2e%2fsecret.txt", "/~root/", "/~/"),
    *("/%", "/%2", "/%zz", "/page.html%", "/%-1", "/%+2", "/page%2ehtml%"),
    *("/proc/self/environ", "/dev/stdin", "/proc/self/cwd/secret.txt"),
    *("http://localhost/../secret.txt", "http://localhost/%2e%2e/secret.txt"),
    *("http://localhost//secret.txt", "http://localhost/..%2fsecret.txt", "http://localhost/.env"),
    *("https://localhost/page.html", "http://[::1]]/page.html", "http://[1]/page.html"),
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
            assert not rest
            client.close()
            client = Client(server.url)
        assert client.ask(get("/page.html")).content == PAGE
    client.close()


HARMLESS = [
    *("/./page.html", "//page.html", "/folder/../page.html", "/%2e/page.html", "/%2fpage.html"),
    *("/none/%2E%2e/page.html", "/%70%61ge%2Ehtml", "/folder/./../page.html"),
    *("http://localhost//page.html", "http://127.0.0.9/./page.html", "/.git/../page.html"),
]


def test_harmless_spellings_of_a_path_are_that_path(client: Client) -> None:
    for target in HARMLESS:
        assert client.ask(get(target)).content == PAGE, target


@pytest.mark.parametrize("encoded", [False, True])
def test_any_octet_in_a_target_gets_an_answer_and_no_secret(
    server: Server, root: Path, encoded: bool
) -> None:
    """The connection goes on where the octet may stand in a target and in a name."""
    names = [bytes([octet]) for octet in range(256) if octet not in b"/\0\\."]
    for name in names:
        Path(os.fsdecode(os.fsencode(root) + b"/o" + name)).write_bytes(b"octet " + name)
    for octet in range(256):
        name = bytes([octet])
        spelt = b"%%%02X" % octet if encoded else name
        served = name in names and (encoded or (octet > 0x20 and name not in b"\x7f?#%"))
        for target in (b"/o" + spelt, b"/folder/..%b/secret.txt" % spelt):
            with Client(server.url) as client:
                client.send(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % target)
                answer = client.answer()
            assert SECRET not in answer.content
            assert answer.status in {200, 400, 404, 505}, target
            if served and target.startswith(b"/o"):
                assert (answer.status, answer.content) == (200, b"octet " + name)


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
