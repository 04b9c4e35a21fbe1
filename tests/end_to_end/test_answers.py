"""Who is answered, and how, when there is nothing to serve: over a real connection."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from portico import Server
from tests.end_to_end.guarded import PAGE, SECRET, ask_afresh, guarded_site
from tests.server.clients import Client, get, request
from tests.unprivileged import public_folder, unprivileged

pytestmark = pytest.mark.usefixtures("no_complaint")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return guarded_site(tmp_path)


def test_redirect_is_to_the_same_server_and_keeps_the_query(server: Server) -> None:
    for target, location in (
        ("/folder", "/folder/"),
        ("/folder?a=%2F&b", "/folder/?a=%2F&b"),
        ("/%66older?//evil.example", "/folder/?//evil.example"),
        ("http://localhost/folder?q", "/folder/?q"),
    ):
        for host in ("localhost", "a.localhost:81", "127.0.0.1", "[::1]:9"):
            head = (
                f"GET {target} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Host: evil.example\r\n\r\n"
            )
            answer = ask_afresh(server, head.encode())
            assert (answer.status, answer.fields["location"]) == (301, location)


FOREIGN = [
    *(
        "evil.example",
        "localhost.evil.example",
        "EVIL.example:80",
        "127.0.0.1.evil.example",
        "127.1",
    ),
    *("xlocalhost", "localhost..", "0.0.0.0", "[::ffff:127.0.0.1]", "192.168.1.1:8080"),
    *("2130706433", "%6cocalhost", "evil.example."),
]


@pytest.mark.parametrize("host", FOREIGN)
def test_foreign_host_is_misdirected(root: Path, host: str) -> None:
    with Server(root) as server, Client(server.url) as client:
        for path in ("/page.html", "/", "/none", "/folder", "/.env"):
            answer = client.ask(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert answer.status == 421
            assert PAGE not in answer.content
        answer = client.ask(get(f"http://{host}/page.html"))
        assert answer.status == 421
        # What was answered before, for the right host, is not given to the wrong one.
        assert client.ask(get("/page.html")).status == 200
        assert client.ask(f"GET /page.html HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).status == 421
        head = f"GET /page.html HTTP/1.0\r\nHost: {host}\r\n\r\n".encode()
        assert client.ask(head).status == 421


def test_own_hosts_and_those_allowed_are_answered(root: Path) -> None:
    with Server(root, allow_hosts=["preview.test", "*.lan.test"]) as server:
        port = urlsplit(server.url).port
        for host in (
            *("localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "[::1]", f"127.0.0.1:{port}"),
            *("preview.test", "Preview.Test.:80", "a.lan.test", "a.b.lan.test", "localhost:"),
        ):
            head = f"GET /page.html HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
            assert ask_afresh(server, head).status == 200, host
        for host in ("lan.test", "xpreview.test", "preview.test.evil"):
            head = f"GET /page.html HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
            assert ask_afresh(server, head).status == 421, host
        assert ask_afresh(server, b"GET /page.html HTTP/1.0\r\n\r\n").status == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/page.html", "/folder/file.txt", "/", "/folder/", "/folder", "/folder?q", "/none"),
        *("/%2e%2e", "/page.html/", "/large", "/empty", "/forbidden.html"),
    ],
)
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_head_says_what_get_says(
    root: Path, server: Server, path: str, accept: str, version: str
) -> None:
    (root / "large").write_bytes(bytes(100_000))
    (root / "empty").touch()
    answers = {}
    for method in ("GET", "HEAD"):
        with Client(server.url) as client:
            head = request(method, path, f"Accept: {accept}", "Connection: close", version=version)
            answers[method] = client.ask(head, method=method)
            assert client.at_end()
    full, bare = answers["GET"], answers["HEAD"]
    assert full.fields.pop("date")
    assert bare.fields.pop("date")
    assert (bare.status, bare.fields) == (full.status, full.fields)
    assert bare.content == b""


def test_methods_that_are_not_for_files(client: Client) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE"):
        answer = client.ask(request(method, "/page.html"))
        assert (answer.status, answer.fields["allow"]) == (405, "GET, HEAD, OPTIONS")
    for method in ("BREW", "get", "PROPFIND"):
        assert client.ask(request(method, "/page.html")).status == 501
    assert client.ask(get("/page.html")).content == PAGE


def test_own_404_page_comes_with_status_404(root: Path, client: Client) -> None:
    (root / "404.html").write_bytes(b"<p>ours")
    for path in ("/none", "/.env", "/page.html/", "/folder/none"):
        answer = client.ask(get(path))
        assert (answer.status, answer.content) == (404, b"<p>ours")
    answer = client.ask(get("/none", "Accept: application/json"))
    assert (answer.status, answer.fields["content-type"]) == (404, "application/problem+json")


def test_folder_is_not_listed_without_listings(root: Path) -> None:
    with Server(root, listing=False) as server, Client(server.url) as client:
        for path in ("/", "/folder/"):
            answer = client.ask(get(path))
            assert answer.status == 404
            assert b"file.txt" not in answer.content
        assert client.ask(get("/folder")).status == 301
        (root / "folder" / "index.html").write_bytes(PAGE)
        assert client.ask(get("/folder/")).content == PAGE


def test_what_may_not_be_read_is_forbidden() -> None:
    with public_folder() as root:
        (root / "folder").mkdir()
        (root / "file").write_bytes(SECRET)
        with Server(root) as server, Client(server.url) as client:
            client.ask(get("/none"))  # so that all code is loaded before the rights are gone
            assert client.ask(get("/file")).content == SECRET
            (root / "file").chmod(0)
            (root / "folder").chmod(0)
            try:
                with unprivileged():
                    for path in ("/file", "/folder/", "/folder/none"):
                        answer = client.ask(get(path))
                        assert answer.status == 403, path
                        assert SECRET not in answer.content
                        assert b"ermission" not in answer.content
            finally:
                (root / "file").chmod(0o600)
                (root / "folder").chmod(0o700)
            assert client.ask(get("/file")).content == SECRET


@pytest.mark.parametrize("path", ["/" + "n" * 256, "/" + "n" * 7990, "/" + "folder/" * 1100])
def test_path_too_long_for_the_system_is_missing(client: Client, path: str) -> None:
    for _ in range(2):
        assert client.ask(get(path)).status == 404
    assert client.ask(get("/page.html")).content == PAGE


def test_shortage_of_descriptors_is_an_error_that_passes(root: Path, client: Client) -> None:
    (root / "large").write_bytes(bytes(100_000))
    for _ in range(2):  # after the second answer nothing is being accepted any more
        assert client.ask(get("/page.html")).status == 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        shortages = [client.ask(get(path)).status for path in ("/large", "/folder/file.txt", "/")]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert shortages == [503, 503, 503]
    assert client.ask(get("/large")).status == 200
    assert client.ask(get("/folder/file.txt")).content == b"text"
