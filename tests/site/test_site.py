"""From a request to its Response: who is answered, what stands where, and what errors look like."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from urllib.parse import urljoin

import pytest

from portico.http.dates import imf_fixdate
from portico.http.message import ProtocolError
from portico.site.hosts import LOOPBACK_HOSTS
from portico.site.origin.folder import SMALL
from tests.site.asking import Client, content, fields

JSON = "application/json"
PROBLEM = "application/problem+json"
HTML = "text/html; charset=utf-8"
PAGE = b"<!doctype html><p>page"
NOT_FOUND = b"<!doctype html><p>the site's own"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    (root / "folder").mkdir(parents=True)
    (root / "with index").mkdir()
    (root / ".well-known").mkdir()
    (root / ".git").mkdir()
    (root / "page.html").write_bytes(PAGE)
    (root / "empty.css").touch()
    (root / "large.bin").write_bytes(b"l" * (SMALL + 1))
    (root / "folder" / "file.txt").write_bytes(b"text")
    (root / "with index" / "index.html").write_bytes(b"index")
    (root / ".well-known" / "security.txt").write_bytes(b"Contact: mailto:us@example.org")
    (root / ".git" / "config").write_bytes(b"[core]")
    (root / ".env").write_bytes(b"KEY=value")
    return root


@pytest.fixture
def client(root: Path) -> Client:
    return Client(root, LOOPBACK_HOSTS, listing=True)


ANY_PATHS = [
    *("/", "/page.html", "/empty.css", "/large.bin", "/folder", "/folder/", "/with%20index"),
    *("/with%20index/", "/folder?query", "/none", "/none/", "/page.html/", "/.env", "//page.html"),
    *("/..", "/%2e%2e/secret", "/%", "/.well-known/security.txt", "/.well-known"),
]


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("/page.html", HTML, PAGE),
        ("/page.html?query", HTML, PAGE),
        ("/%70age.html", HTML, PAGE),
        ("/empty.css", "text/css; charset=utf-8", b""),
        ("/large.bin", "application/octet-stream", b"l" * (SMALL + 1)),
        ("/folder/file.txt", "text/plain; charset=utf-8", b"text"),
        ("/with%20index/", HTML, b"index"),
        (
            "/.well-known/security.txt",
            "text/plain; charset=utf-8",
            b"Contact: mailto:us@example.org",
        ),
    ],
)
def test_file_is_sent_with_what_describes_it(
    client: Client, path: str, kind: str, body: bytes
) -> None:
    response = client.ask(path)
    assert (response.status, content(response)) == (200, body)
    assert fields(response)["Content-Type"] == kind
    assert fields(response)["Content-Length"] == str(len(body))
    assert fields(response)["X-Content-Type-Options"] == "nosniff"
    assert fields(response)["Cache-Control"] == "no-cache"
    assert client.dependencies


def test_last_modified_is_the_files_but_never_lies_ahead(client: Client) -> None:
    page = client.root / "page.html"
    os.utime(page, (1_000_000_000, 1_000_000_000))
    assert fields(client.ask("/page.html"))["Last-Modified"] == "Sun, 09 Sep 2001 01:46:40 GMT"
    before = int(time.time())
    os.utime(page, (before + 86400, before + 86400))
    stated = fields(client.ask("/page.html"))["Last-Modified"]
    assert stated in {imf_fixdate(second) for second in range(before, int(time.time()) + 1)}


@pytest.mark.parametrize("path", ANY_PATHS)
@pytest.mark.parametrize("accept", ["*/*", JSON])
@pytest.mark.parametrize("host", ["localhost", "evil.example"])
def test_head_is_get_without_content(client: Client, path: str, accept: str, host: str) -> None:
    lines = (f"Host: {host}", f"Accept: {accept}")
    full, bare = client.ask(path, *lines), client.ask(path, *lines, method="HEAD")
    assert bare.status == full.status
    assert bare.fields == full.fields
    assert bare.close == full.close
    assert content(bare) == b""
    assert fields(full)["Content-Length"] == str(len(content(full)))


@pytest.mark.parametrize("path", ANY_PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE"])
def test_known_method_is_not_allowed(client: Client, path: str, method: str) -> None:
    response = client.ask(path, method=method)
    assert response.status == 405
    assert fields(response)["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("path", [*ANY_PATHS, "*"])
def test_options_tells_the_methods(client: Client, path: str) -> None:
    response = client.ask(path, method="OPTIONS")
    assert response.status == 204
    assert fields(response)["Allow"] == "GET, HEAD, OPTIONS"
    assert content(response) == b""


def test_connect_is_not_allowed(client: Client) -> None:
    assert client.ask("localhost:80", method="CONNECT").status == 405


@pytest.mark.parametrize("method", ["BREW", "get", "Get", "PROPFIND", "M-SEARCH", "GETS", "X"])
def test_unknown_method_is_not_implemented(client: Client, method: str) -> None:
    response = client.ask("/page.html", method=method)
    assert response.status == 501
    assert "Allow" not in fields(response)


OURS = [
    *("localhost", "LOCALHOST", "LocalHost:8080", "localhost.", "localhost:", "localhost.:80"),
    *("a.localhost", "a.b.localhost:1", "A.LOCALHOST.", "127.0.0.1", "127.0.0.1:8080", "[::1]"),
    # To mislead a browser takes a name: an address is where it has connected to.
    *(
        "[::1]:8080",
        "192.168.0.1",
        "10.0.0.1:80",
        "0.0.0.0",
        "[::]",
        "[fe80::1]",
        "[::ffff:1.2.3.4]",
    ),
]
FOREIGN = [
    *("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example:8080"),
    *("notlocalhost", "xlocalhost", "localhost..", "localhostx", "a-localhost", "localhost.local"),
    *(
        "127.1",
        "0",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.0.0.1.1",
        "127.0.0.256",
        "1.2.3",
    ),
    *("%6cocalhost", "localhost%00.evil.example", "localhost%2eevil"),
    *("a.localhost.evil", "*.localhost.evil", "*", "_", "-", "."),
    *("localhost,evil.example", "localhost;evil.example", "evil.example,localhost"),
]
MALFORMED = [
    *("::1", "[::1].evil.example", "user@localhost", "localhost/", ""),
    *("localhost evil.example", "localhost:80:80", "[localhost]", "http://localhost", "a%zz"),
    *("[1]", "[::1::]", "[:::]", "[1.2.3.4]", "[::1.2.3.256]", "[12345::]"),
]


def status_for(client: Client, *lines: str, target: str = "/page.html") -> int:
    """The status of a request with these lines, also of one that is refused unread."""
    try:
        return client.ask(target, *lines).status
    except ProtocolError as refused:
        return client.site.refuse(refused).status


@pytest.mark.parametrize("host", OURS)
def test_loopback_hosts_are_answered(client: Client, host: str) -> None:
    assert client.ask("/page.html", f"Host: {host}").status == 200


@pytest.mark.parametrize("host", FOREIGN)
def test_foreign_hosts_are_not_answered(client: Client, host: str) -> None:
    for path in ANY_PATHS:
        assert client.ask(path, f"Host: {host}").status == 421


@pytest.mark.parametrize("host", MALFORMED)
def test_malformed_hosts_are_refused_unread(client: Client, host: str) -> None:
    assert status_for(client, f"Host: {host}") == 400


def test_wildcard_hosts_mean_what_lies_below(root: Path) -> None:
    client = Client(root, (*LOOPBACK_HOSTS, "Example.Test", "*.dev.test"), listing=True)
    for host in ("example.test", "EXAMPLE.test:80", "a.dev.test", "a.b.dev.test", "localhost"):
        assert status_for(client, f"Host: {host}") == 200, host
    for host in ("www.example.test", "dev.test", "adev.test", "a.dev.test.evil", "example.tes"):
        assert status_for(client, f"Host: {host}") == 421, host


@pytest.mark.parametrize("hosts", [None, ("*",), ("localhost", "*")])
def test_any_host_may_be_allowed(root: Path, hosts: tuple[str, ...] | None) -> None:
    client = Client(root, hosts, listing=True)
    assert status_for(client, "Host: anything.example") == 200


def test_target_names_the_host_in_the_place_of_the_field(client: Client) -> None:
    foreign, ours = "http://evil.example/page.html", "http://localhost:8080/page.html"
    assert client.ask(foreign, "Host: localhost").status == 421
    assert client.ask(ours, "Host: evil.example").status == 200
    assert client.ask("HTTP://LOCALHOST", "Host: localhost").status == 200
    assert client.ask("http://[::1]/page.html?a", "Host: [::1]").status == 200
    for secure in ("https://localhost/page.html", "HTTPS://[::1]/"):  # RFC 9110, 7.4
        assert client.ask(secure, "Host: localhost").status == 421
        assert Client(client.root).ask(secure).status == 421  # whatever the hosts
    for target in ("http://user@localhost/", "http:///page.html", "http://localhost:x/"):
        assert status_for(client, target=target) == 400


def test_request_without_any_host_is_answered(client: Client) -> None:
    """Only HTTP/1.0 may leave it out, and no browser speaks that."""
    assert client.ask("/page.html", version="1.0").status == 200
    assert client.ask("/page.html", "Host: evil.example", version="1.0").status == 421


def test_misdirected_request_learns_nothing_but_the_cure(client: Client) -> None:
    known, unknown = (client.ask(path, "Host: a&b'c") for path in ("/page.html", "/none"))
    assert content(known) == content(unknown)
    assert b"--allow-host" in content(known)
    assert b"a&amp;b" in content(known)
    assert b"a&b" not in content(known)


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/folder", "folder/"),
        ("/folder?a=b&c=%2F", "folder/?a=b&c=%2F"),
        ("/folder?", "folder/?"),
        ("/folder??", "folder/??"),
        ("/folder?//evil.example", "folder/?//evil.example"),
        ("/folder?\xe9", "folder/?%E9"),
        ("/%66older", "folder/"),
        ("/with%20index", "with%20index/"),
        ("/.well-known", ".well-known/"),
        ("http://localhost/folder?q", "folder/?q"),
        ("http://a.localhost:99/folder", "folder/"),
        ("//folder", "../folder/"),
        ("/%2ffolder", "folder/"),
        ("/folder%2f", "folder/"),
        ("/with%20index%2F?q", "with%20index/?q"),
    ],
)
def test_folder_without_its_slash_is_redirected(client: Client, target: str, location: str) -> None:
    response = client.ask(target, "Host: b.localhost:1234")
    assert response.status == 301
    assert fields(response)["Location"] == location
    assert b"b.localhost" not in content(response)


@pytest.mark.parametrize(
    "target",
    [
        *("//evil.example", "/%5cfolder", "/\\folder", "/%5c%5cfolder", "//localhost/folder"),
        *("/%0d%0afolder", "/;/folder"),
    ],
)
def test_nothing_else_is_redirected(client: Client, target: str) -> None:
    response = client.ask(target)
    assert response.status in {400, 404}
    assert "Location" not in fields(response)


@pytest.mark.parametrize(
    "name", ["evil.example", "a:b", "javascript:x", "\r\nX: y", "a?b#c", "\u00e9", "%2f", ";"]
)
def test_redirect_leads_to_the_folder_itself(client: Client, name: str) -> None:
    (client.root / name).mkdir()
    target = "/" + "".join(f"%{octet:02x}" for octet in os.fsencode(name))
    location = urljoin(f"http://localhost{target}", fields(client.ask(target))["Location"])
    assert location.startswith("http://localhost/")
    assert client.ask(location).status == 200


def test_folder_is_listed_by_a_page_with_a_policy(client: Client) -> None:
    response = client.ask("/folder/")
    assert response.status == 200
    assert fields(response)["Content-Type"] == HTML
    assert "default-src 'none'" in fields(response)["Content-Security-Policy"]
    assert b"./file.txt" in content(response)
    assert client.dependencies is not None


def test_listing_is_not_sent_again_to_who_has_it(client: Client, root: Path) -> None:
    tag = fields(client.ask("/folder/"))["ETag"]
    response = client.ask("/folder/", f"If-None-Match: {tag}")
    assert (response.status, response.content) == (304, ())
    assert fields(response)["ETag"] == tag
    assert "Content-Type" not in fields(response)
    assert client.ask("/folder/", f"If-Match: {tag}").status == 200
    (root / "folder" / "file.txt").write_bytes(b"longer than it was")
    assert client.ask("/folder/", f"If-None-Match: {tag}").status == 200
    assert client.ask("/folder/", f"If-Match: {tag}").status == 412


def test_folder_is_not_listed_where_that_is_switched_off(root: Path) -> None:
    client = Client(root, listing=False)
    assert client.ask("/folder/").status == 404
    assert client.ask("/").status == 404
    assert b"file.txt" not in content(client.ask("/folder/"))
    assert client.ask("/folder").status == 301
    assert client.ask("/with%20index/").status == 200
    assert client.ask("/folder/file.txt").status == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/.env", "/%2eenv", "/.git", "/.git/", "/.git/config", "/.git/none", "/folder/.hidden"),
        *("/.well-known/.env", "/...", "/.%20", "/folder/.none"),
    ],
)
def test_dotfiles_are_missing_whether_they_are_there_or_not(client: Client, path: str) -> None:
    (client.root / "folder" / ".hidden").write_bytes(b"")
    (client.root / ".well-known" / ".env").write_bytes(b"")
    assert client.ask(path).status == 404
    own, other = (
        re.sub(b'<p class="detail">.*?</p>\n', b"", content(client.ask(each)))
        for each in (path, "/none")
    )
    assert own == other


@pytest.mark.parametrize(
    ("path", "shown", "nearest"),
    [
        ("/none", "/none", None),
        ("/folder/none", "/folder/none", ("./", "/folder/")),
        ("/folder/no/ne/", "/folder/no/ne/", ("../../", "/folder/")),
        ("/%3Cb%3E/x", "/&lt;b&gt;/x", None),
        ("/folder/.env", "/folder/.env", None),
    ],
)
def test_page_for_what_is_missing_shows_the_way_back(
    client: Client, path: str, shown: str, nearest: tuple[str, str] | None
) -> None:
    page = content(client.ask(path)).decode()
    assert f"<bdi>{shown}</bdi>" in page
    assert re.findall('href="(.*?)"><bdi>(.*?)</bdi>', page) == ([nearest] if nearest else [])
    assert '<a href="/">' in page


def test_sites_own_page_says_that_something_is_missing(client: Client) -> None:
    missing = ("/none", "/.env", "/page.html/", "/folder/none/", "//none")
    for path in missing:
        assert b"404" in content(client.ask(path))
        assert client.dependencies is not None
    own = client.root / "404.html"
    own.write_bytes(NOT_FOUND)
    for path in missing:
        response = client.ask(path)
        assert (response.status, content(response)) == (404, NOT_FOUND)
        assert fields(response)["Content-Type"] == HTML
        assert fields(response)["Vary"] == "Accept"
        assert "Last-Modified" not in fields(response)
    assert client.ask("/404.html").status == 200
    assert fields(client.ask("/none", f"Accept: {JSON}"))["Content-Type"] == PROBLEM
    assert client.ask("/..").status == 400
    own.write_bytes(NOT_FOUND.ljust(SMALL + 1))
    assert content(client.ask("/none")) == NOT_FOUND.ljust(SMALL + 1)
    own.unlink()
    assert b"404" in content(client.ask("/none"))


def test_own_page_that_leads_out_or_is_no_file_is_not_used(client: Client, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    own = client.root / "404.html"
    own.symlink_to(tmp_path / "secret")
    assert b"secret" not in content(client.ask("/none"))
    assert client.ask("/none").status == 404
    own.unlink()
    own.mkdir()
    assert client.ask("/none").status == 404
    own.rmdir()
    own.write_bytes(b"own")
    assert content(client.ask("/none")) == b"own"


@pytest.mark.parametrize(
    ("target", "method", "host", "status"),
    [
        ("/none", "GET", "localhost", 404),
        ("/%2e%2e", "GET", "localhost", 400),
        ("/page.html", "GET", "evil.example", 421),
        ("/page.html", "POST", "localhost", 405),
        ("/page.html", "BREW", "localhost", 501),
    ],
)
def test_errors_come_as_a_page_or_as_problem_details(
    client: Client, target: str, method: str, host: str, status: int
) -> None:
    page = client.ask(target, f"Host: {host}", method=method)
    assert page.status == status
    assert fields(page)["Content-Type"] == HTML
    assert "default-src 'none'" in fields(page)["Content-Security-Policy"]
    for accept in (JSON, PROBLEM, f"{JSON}, */*;q=0.5"):
        details = client.ask(target, f"Host: {host}", f"Accept: {accept}", method=method)
        assert details.status == status
        assert fields(details)["Content-Type"] == PROBLEM
        assert json.loads(content(details))["status"] == status
        assert fields(details).get("Allow") == fields(page).get("Allow")
    for response in (page, details):
        assert fields(response)["Vary"] == "Accept"
        assert fields(response)["X-Content-Type-Options"] == "nosniff"
        assert fields(response)["Content-Length"] == str(len(content(response)))


def test_what_is_refused_ends_the_connection(client: Client) -> None:
    assert client.ask("/%2e%2e").close
    assert client.site.refuse(ProtocolError(431, "too large")).close
    for path in ("/none", "/page.html", "/folder"):
        assert not client.ask(path).close


@pytest.mark.parametrize(
    ("rules", "path", "expected"),
    [
        ("", "/page.html", True),
        ("", "/page", True),
        ("", "/large.bin", True),
        ("", "/with%20index/", True),
        ("", "/none", True),
        ("", "/.env", True),
        ("", "/folder", False),  # a redirect keeps the query
        ("", "/folder/", False),  # a listing is sorted by it
        ("", "/%", False),  # ends the connection
        ("/x /page.html 200\n/y /page.html 302", "/x", True),
        ("/x /page.html 200\n/y /page.html 302", "/page.html", True),
        ("/x /page.html 200\n/y /page.html 302", "/y", False),
        ("/x p=1 /page.html 200", "/x", False),
        ("/x p=1 /page.html 200", "/page.html", False),
        ("/page.html /page.html?x=1 302!", "/page.html?x=1", False),
    ],
)
def test_whether_a_response_is_the_same_for_any_query(
    client: Client, rules: str, path: str, expected: bool
) -> None:
    (client.root / "_redirects").write_text(rules)
    for query in ("", "?b", "?N=D&v=1"):
        assert client.ask(path + query if "?" not in path else path).any_query is expected
    if expected:
        first, second = (client.ask(f"{path}?{query}") for query in ("b", "N=D"))
        assert (first.status, first.fields) == (second.status, second.fields)
        assert content(first) == content(second)


def test_nothing_tells_where_the_site_lies(client: Client) -> None:
    for path in ANY_PATHS:
        response = client.ask(path)
        assert os.fsencode(client.root) not in content(response)
        assert str(client.root) not in repr(response.fields)
