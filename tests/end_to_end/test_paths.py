"""Hostile paths against a real server: an error each time, no secret, and it serves on."""

from __future__ import annotations

import itertools
import os
import socket
import stat
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

from portico import Server
from tests.end_to_end.guarded import PAGE, SECRET, ask_afresh, guarded_site
from tests.server.clients import Client, get, request

pytestmark = pytest.mark.usefixtures("no_complaint")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return guarded_site(tmp_path)


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


@pytest.mark.parametrize("target", ATTACKS)
def test_hostile_target_gets_an_error_and_no_secret(server: Server, target: str) -> None:
    for method in ("GET", "HEAD"):
        answer = ask_afresh(server, request(method, target), method)
        assert answer.status in {400, 404, 421}, answer
        assert SECRET not in answer.content
        assert "location" not in answer.fields
    assert ask_afresh(server, get("/page.html")).content == PAGE


def test_hostile_targets_on_one_connection_do_not_disturb_each_other(server: Server) -> None:
    """What can be answered at all does not cost the connection; what cannot be ends it."""
    client = Client(server.url)
    for target in ATTACKS:
        answer = client.ask(get(target))
        assert answer.status in {400, 404, 421}
        assert answer.closes == (answer.status == 400)
        if answer.closes:
            assert client.at_end()
            client.close()
            client = Client(server.url)
        assert client.ask(get("/page.html")).content == PAGE
    client.close()


@pytest.mark.parametrize("octet", [*range(0x21), 0x7F, 0x80, 0xC0, 0xFF])
def test_octets_that_belong_in_no_target_are_refused(server: Server, octet: int) -> None:
    with Client(server.url) as client:
        head = b"GET /page.html%c HTTP/1.1\r\nHost: localhost\r\n\r\n" % octet
        assert client.ask(head).status == 400
        assert client.until_end() == b""
    assert ask_afresh(server, get("/page.html")).content == PAGE


LINKS = {
    "file": "../secret.txt",
    "folder/file": "../../site-secret/secret.txt",
    "beside": "../site-secret",
    "up": "..",
    "root": "/",
    "index/index.html": "../../secret.txt",
    "404.html": "../secret.txt",
    "chain": "folder/file",
    "self": "/proc/self/cwd",
}


@pytest.mark.parametrize("absolute", [False, True])
def test_links_that_lead_out_are_missing_and_not_listed(
    root: Path, client: Client, absolute: bool
) -> None:
    (root / "index").mkdir()
    for name, goal in LINKS.items():
        link = root / name
        link.symlink_to(os.path.normpath(link.parent / goal) if absolute else goal)
    for path in (
        *("/file", "/folder/file", "/beside", "/beside/", "/beside/secret.txt", "/beside/none"),
        *("/up", "/up/", "/up/secret.txt", "/up/site/page.html/", "/root", "/root/", "/chain"),
        *("/root/etc/passwd", "/404.html", "/none", "/self", "/self/", "/index/index.html"),
    ):
        answer = client.ask(get(path))
        assert answer.status == 404, path
        assert SECRET not in answer.content
    assert listed(client, "/") == ["./folder/", "./index/", "./page.html"]
    assert listed(client, "/folder/") == ["./file.txt"]
    assert listed(client, "/index/") == []


class Links(HTMLParser):
    """The links of a listing, but for those to the folders above and those that sort."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href") or ""
        if tag == "a" and not href.startswith(("../", "./?")):
            self.found.append(href)


def listed(client: Client, path: str) -> list[str]:
    answer = client.ask(get(path))
    assert answer.status == 200
    assert SECRET not in answer.content
    page = Links()
    page.feed(answer.content.decode())
    page.close()
    return page.found


@pytest.mark.parametrize("size", [len(SECRET), 65536])
def test_link_swapped_all_the_time_never_leaks(root: Path, client: Client, size: int) -> None:
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
            if turn >= 400 and {200, 404} <= seen:
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


@pytest.mark.parametrize("kind", ["FIFO", "socket", "device"])
def test_special_file_holds_nobody_up(
    root: Path, server: Server, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as listener:
        if kind == "FIFO":
            os.mkfifo("special")
        elif kind == "socket":
            listener.bind("special")
        else:
            try:
                os.mknod("special", stat.S_IFCHR | 0o666, os.makedev(1, 5))  # endless zeros
            except PermissionError:
                pytest.skip("only root may make a device")
        Path("link").symlink_to("special")
        with Client(server.url) as client:
            for method in ("GET", "HEAD"):
                for path in ("/special", "/link", "/special/"):
                    assert client.ask(request(method, path), method=method).status == 404
            assert listed(client, "/") == ["./folder/", "./page.html"]


STRANGE = [
    *(b'quote".txt', b"it's", b"<img src=x onerror=alert(1)>", b"a&amp;b", b"line\r\nX-Evil: 1"),
    *(b"caf\xe9.txt", b"\xff\xfe", b"\xc0\xae\xc0\xae", "\u202egnp.html".encode(), b"%2e%2e%2f"),
    *(b"javascript:alert(1)", b"data:text,x", b"?query", b"#fragment", b"a b", b" ", b"C:", b"con"),
    *(b"evil.example", b"x (deleted)", b"100%", b"a+b", b"a;b", b"\x7f\x01", "\u0130".encode()),
    *("x\u0301".encode(), b"n" * 255, b"http:", b"a=b&c", b"[::1]", b"*", b"|", b"^`{}"),
]


def test_strange_names_are_listed_and_reached_by_their_links(root: Path, server: Server) -> None:
    for raw in STRANGE:
        (root / "folder" / os.fsdecode(raw)).write_bytes(raw)
        (root / os.fsdecode(raw)).mkdir()
        (root / os.fsdecode(raw) / "in").write_bytes(raw)
    (root / "folder" / "back\\slash").write_bytes(b"no path leads here")
    reached = set()
    with Client(server.url) as client:
        links = listed(client, "/folder/")
        assert len(links) == len(STRANGE) + 1
        for link in links:
            path = path_of(f"{server.url}folder/", link)
            answer = client.ask(get(path))
            assert answer.status == 200, link
            reached.add(answer.content)
        assert reached == {*STRANGE, b"text"}
        for link in listed(client, "/"):
            path = path_of(server.url, link)
            if not path.endswith("/") or path == "/folder/":
                continue
            moved = client.ask(get(f"{path[:-1]}?q"))
            assert (moved.status, moved.fields["location"]) == (301, f"{path}?q")
            assert "x-evil" not in moved.fields
            assert client.ask(get(f"{path}in")).content in STRANGE


def path_of(base: str, link: str) -> str:
    """Where a link on the page at `base` leads, which must be on the same server."""
    found = urlsplit(urljoin(base, link))
    assert f"{found.scheme}://{found.netloc}/" == urljoin(base, "/")
    assert (found.query, found.fragment) == ("", "")
    return found.path


def test_volume_of_kubernetes_is_served_and_updated_at_once(root: Path, client: Client) -> None:
    for version in ("1", "2"):
        (root / f"..{version}").mkdir()
        (root / f"..{version}" / "setting").write_text(version)
    (root / "..data").symlink_to("..1")
    (root / "setting").symlink_to("..data/setting")
    assert client.ask(get("/setting")).content == b"1"
    (root / "..tmp").symlink_to("..2")
    (root / "..tmp").replace(root / "..data")
    assert client.ask(get("/setting")).content == b"2"
    assert client.ask(get("/..data/setting")).status == 404
    assert "./setting" in listed(client, "/")


def test_root_that_is_swapped_or_removed_is_followed_at_once(tmp_path: Path) -> None:
    for release in ("1", "2"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "version").write_text(release)
        (tmp_path / release / f"only{release}").touch()
    current = tmp_path / "current"
    current.symlink_to("1")
    with Server(current) as server, Client(server.url) as client:
        for _ in range(3):
            for release in ("2", "1"):
                assert client.ask(get(f"/only{release}")).status == 404
                (tmp_path / "next").symlink_to(release)
                (tmp_path / "next").replace(current)
                assert client.ask(get("/version")).content == release.encode()
                assert client.ask(get(f"/only{release}")).status == 200
                assert f"./only{release}" in listed(client, "/")
        current.unlink()
        assert client.ask(get("/version")).status == 404
        assert client.ask(get("/")).status == 404
        current.mkdir()
        assert listed(client, "/") == []
        (current / "version").write_text("3")
        assert client.ask(get("/version")).content == b"3"


def test_root_swapped_at_any_moment_loses_no_request(tmp_path: Path) -> None:
    """At most once for each request, that is: no release comes more often."""
    for release in ("1", "2"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "version").write_text(release)
    current = tmp_path / "current"
    current.symlink_to("1")
    answered = threading.Semaphore(1)
    enough = threading.Event()

    def swap() -> None:
        for release in itertools.cycle(("2", "1")):
            answered.acquire()
            if enough.is_set():
                return
            (tmp_path / "next").symlink_to(release)
            (tmp_path / "next").replace(current)

    thread = threading.Thread(target=swap)
    seen = set()
    with Server(current) as server, Client(server.url) as client:
        thread.start()
        try:
            for _ in range(500):
                answer = client.ask(get("/version"))
                seen.add((answer.status, answer.content))
                answered.release()
        finally:
            enough.set()
            answered.release()
            thread.join()
    assert seen == {(200, b"1"), (200, b"2")}
