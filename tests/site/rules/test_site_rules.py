"""The site's own rules at work: redirects, rewrites and fields in the answers."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from portico.site.origin.folder import Folder
from portico.site.origin.protocol import Found
from portico.site.rules import redirects
from portico.site.rules.pattern import normal_segment
from tests.site.asking import Client, content, fields
from tests.site.rules.with_rules import CODED_INDEX, HTML, Build, build_in, make_site
from tests.unprivileged import public_folder, unprivileged


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_site(tmp_path / "site")


@pytest.fixture
def build(root: Path) -> Build:
    return build_in(root)


def answer(client: Client, path: str, *lines: str) -> tuple[int, object]:
    """The status, with the location of a redirect or the content of another answer."""
    response = client.ask(path, *lines)
    location = fields(response).get("Location")
    return response.status, location or content(response)


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_leads_elsewhere(build: Build, status: int) -> None:
    client = build(f"/none /page {status}")
    response = client.ask("/none?a=b")
    assert (response.status, fields(response)["Location"]) == (status, "/page?a=b")
    assert fields(response)["Content-Type"] == HTML
    assert fields(response)["Content-Length"] == str(len(content(response)))
    assert fields(response)["Cache-Control"] == "no-cache"
    assert "ETag" not in fields(response)
    head = client.ask("/none?a=b", method="HEAD")
    assert (head.status, head.fields, content(head)) == (status, response.fields, b"")


def test_file_comes_before_a_rule_that_is_not_forced(build: Build) -> None:
    client = build("/page.html /x", "/full /x", "/full/ /y", "/bare /x", "/bare/ /y", "/coded /x")
    assert answer(client, "/page.html") == (200, b"<p>page")
    assert answer(client, "/full") == (301, "full/")
    assert answer(client, "/full/") == (200, b"index of full")
    assert answer(client, "/bare") == (301, "/x")  # a listing is no file
    assert answer(client, "/bare/") == (301, "/x")
    assert answer(client, "/bare/file.txt") == (200, b"in bare")
    assert answer(client, "/coded") == (301, "coded/")


def test_clean_url_is_a_file(build: Build) -> None:
    client = build("/page /x", "/page/ /y 200")
    assert answer(client, "/page") == (200, b"<p>page")
    assert answer(client, "/page/") == (301, "../page")


def test_forced_rule_comes_before_the_file(build: Build) -> None:
    client = build("/page.html /x 302!", "/full /y 302!", "/old.html /page.html 200!")
    assert answer(client, "/page.html") == (302, "/x")
    assert answer(client, "/full") == (302, "/y")
    assert answer(client, "/full/") == (302, "/y")
    assert answer(client, "/full/inner.txt") == (200, b"inner")
    assert answer(client, "/old.html") == (200, b"<p>page")
    assert answer(client, "/old") == (200, b"old")


def test_rule_for_other_than_what_is_there_does_nothing(build: Build) -> None:
    client = build("/x /page")
    for path in ("/page", "/none", "/X", "/x/y", "/%252fx"):
        assert "Location" not in fields(client.ask(path)), path


def test_hosts_choose(build: Build) -> None:
    client = build("https://blog.example.org/* /blog/:splat 302", "/* /all/:splat 302")
    assert answer(client, "/a", "Host: blog.example.org") == (302, "/blog/a")
    assert answer(client, "/a", "Host: BLOG.Example.org.:8080") == (302, "/blog/a")
    assert answer(client, "/a", "Host: other.example.org") == (302, "/all/a")
    assert client.ask("/a", version="1.0").status == 302


def test_a_host_that_is_not_ours_gets_no_rule(build: Build) -> None:
    client = build("/* https://example.org/:splat 301!", hosts=("localhost",))
    assert client.ask("/a", "Host: evil.example").status == 421
    assert answer(client, "/a") == (301, "https://example.org/a")


def test_rules_are_for_reading_only(build: Build) -> None:
    client = build("/* /x 302!")
    assert client.ask("/page.html", method="POST").status == 405
    assert client.ask("/page.html", method="OPTIONS").status == 204
    assert client.ask("/..%2f").status == 400
    assert client.ask("/%").status == 400


@pytest.mark.parametrize(
    "captured",
    [
        *("%0d%0aSet-Cookie:%20a=b", "%0D%0A%0D%0A<script>", "a%00b", "%E2%80%AE", "%22%3E", "a;b"),
        *("//evil.example", "/evil.example", "%2F%2Fevil.example", "\\evil.example", "%5cevil"),
        *("@evil.example", ":8080", ".evil.example", "?a=b", "%3Fa", "%23x", "..", "%2e%2e/x"),
    ],
)
@pytest.mark.parametrize(
    "rule",
    [
        *("/in/* /:splat 302", "/in/* /out/:splat 302", "/in/* /out?x=:splat 302"),
        *("/in/* https://example.org/:splat 302", "/in/* /#:splat 302", "/in/:a /:a 307"),
    ],
)
def test_nothing_captured_splits_an_answer_or_leads_away(
    build: Build, rule: str, captured: str
) -> None:
    client = build(rule)
    response = client.ask(f"/in/{captured}")  # field_lines() raises for what would split
    location = fields(response).get("Location")
    if location is None:
        assert response.status in {400, 404} or client.ask("/").fields == response.fields
        return
    assert location.isascii()
    assert location.isprintable()
    assert not set(location) & set(' "<>\\^`{|}')
    if "https" in rule:
        assert location.startswith("https://example.org/")
    else:
        assert location.startswith("/")
        assert not location.startswith(("//", "/\\"))


# Rewrites


def test_rewrite_gives_the_content_of_another_path(build: Build) -> None:
    client = build("/app/* /page.html 200", "/dir /full 200", "/slash /full/ 200")
    client_page = client.ask("/page.html")
    rewritten = client.ask("/app/any/thing?q")
    assert rewritten.status == 200
    assert rewritten.fields == client_page.fields
    assert content(rewritten) == b"<p>page"
    tag = fields(rewritten)["ETag"]
    assert client.ask("/app/x", f"If-None-Match: {tag}").status == 304
    assert client.ask("/app/x", 'If-Match: "other"').status == 412
    assert content(client.ask("/app/x", "Range: bytes=1-2")) == b"p>"
    for path in ("/dir/", "/slash/"):
        assert answer(client, path) == (200, b"index of full")


def test_rewrite_to_a_folder_is_at_a_path_with_a_slash(build: Build) -> None:
    """Or else relative links in what is there would lead elsewhere."""
    client = build("/dir /full 200", "/slash /full/ 200", "/list /bare 200", "/all/* /:splat 200")
    (client.root / "bare" / "about.html").write_bytes(b"about")
    for path in ("/dir", "/slash", "/list", "/all", "/all/full", "/all/bare"):
        assert answer(client, f"{path}?q") == (301, f"{path.rpartition('/')[2]}/?q")
    assert answer(client, "/all/full/") == (200, b"index of full")
    for path in ("/list/", "/all/bare/"):
        assert b"./file.txt" in content(client.ask(path))
    assert answer(client, "/all/bare/about") == (200, b"about")
    assert answer(client, "/all/bare/about/") == (301, "../about")


def test_rewrite_to_a_clean_url_gives_its_page(build: Build) -> None:
    client = build("/a /page 200", "/b /page/ 200", "/c /page.html?x#y 200")
    for path in ("/a", "/b", "/c", "/a/"):
        assert answer(client, path) == (200, b"<p>page")


def test_rewrite_to_a_coded_index(build: Build) -> None:
    client = build("/a /coded 200")
    response = client.ask("/a/", "Accept-Encoding: gzip")
    assert (response.status, content(response)) == (200, CODED_INDEX)
    assert fields(response)["Content-Type"] == HTML
    assert client.ask("/a/", "Accept-Encoding: identity").status == 406


@pytest.mark.parametrize(
    "destination",
    [
        *("/none", "/none/", "/.secret", "/.git/config", "/.git/", "/_headers"),
        *("/_redirects", "/%5Fredirects", "/_redirects/", "/page.html/", "/full/none"),
    ],
)
@pytest.mark.parametrize("status", ["200", "200!", "404", "404!"])
def test_rewrite_to_what_is_not_served_is_a_404(
    build: Build, destination: str, status: str
) -> None:
    client = build(f"/a {destination} {status}", headers="/x\n  X-Secret: secret\n")
    response = client.ask("/a")
    assert response.status == 404
    assert b"404" in content(response)
    assert b"secret" not in content(response)
    assert "file.txt" not in content(response).decode()
    assert not {"ETag", "Last-Modified"} & fields(response).keys()


def test_rewrite_never_leaves_the_root(build: Build, tmp_path: Path) -> None:
    (tmp_path / "secret.html").write_bytes(b"outside")
    client = build("/a/* /:splat 200", "/b /out.html 200", "/c/* /full/:splat/x 200")
    (client.root / "out.html").symlink_to(tmp_path / "secret.html")
    for path in ("/b", "/a/out.html", "/a/%2e%2e/secret.html", "/a/../secret.html", "/c/x"):
        response = client.ask(path)
        assert response.status in {400, 404}, path
        assert b"outside" not in content(response)
    for path in ("/a/.secret", "/a/.git/config", "/a/_redirects", "/a/_headers"):
        assert client.ask(path).status == 404, path


def test_404_rewrite_is_a_page_that_says_404(build: Build) -> None:
    client = build("/en/* /en/404.html 404", "/gone/* /page.html 404!")
    for path, octets in {"/en/none": b"not here", "/gone/x": b"<p>page"}.items():
        response = client.ask(path, "If-None-Match: *", "Range: bytes=0-1", "If-Match: none")
        assert (response.status, content(response)) == (404, octets)
        assert fields(response)["Content-Type"] == HTML
        assert not {"ETag", "Last-Modified", "Accept-Ranges"} & fields(response).keys()
    assert answer(client, "/en/404.html") == (200, b"not here")


def test_404_for_a_path_that_is_there_hides_it_when_forced(build: Build) -> None:
    client = build("/old.html /page.html 404!", "/old /page.html 404!")
    assert answer(client, "/old.html") == (404, b"<p>page")
    assert answer(client, "/old") == (404, b"<p>page")


def test_rewrites_do_not_follow_one_another(build: Build) -> None:
    client = build("/a /b 200", "/b /page.html 200")
    assert client.ask("/a").status == 404
    assert answer(client, "/b") == (200, b"<p>page")


def test_rewrite_to_what_may_not_be_read() -> None:
    with public_folder() as root:
        (root / "closed.html").write_bytes(b"closed")
        (root / "closed.html").chmod(0)
        (root / "_redirects").write_text("/a /closed.html 200\n/b /closed.html 404\n")
        (root / "_redirects").chmod(0o644)
        with unprivileged():
            client = Client(root)
            assert client.ask("/a").status == 403
            assert client.ask("/b").status == 403
            assert client.ask("/closed.html").status == 403


def test_everything_else_may_go_to_one_page(build: Build) -> None:
    """The rule of a single-page application, as it is written for other hosts."""
    client = build("/* /index.html 200")
    assert answer(client, "/any/where") == (200, b"home")
    assert answer(client, "/bare/") == (200, b"home")
    assert answer(client, "/page.html") == (200, b"<p>page")
    assert answer(client, "/full/inner.txt") == (200, b"inner")
    assert answer(client, "/.secret") == (200, b"home")
    assert answer(client, "/_redirects") == (200, b"home")


# The files themselves


def test_names_are_those_that_are_hidden(root: Path) -> None:
    hidden = ("_redirects", "_headers", "_HEADERS", "_redirects.gz", "_headers.br", "_headers.zst")
    (root / "sub").mkdir()
    for folder in (root, root / "sub"):
        for name in hidden:
            (folder / name).write_bytes(b"# rules\n")
    (root / "_headers.txt").write_bytes(b"a page of its own")
    client = Client(root)
    assert content(client.ask("/_headers.txt")) == b"a page of its own"
    (root / "_headers.txt").unlink()
    listed = content(client.ask("/"))
    assert b"_redirects" not in listed
    assert b"_headers" not in listed
    assert b"_redirects" in content(client.ask("/sub/"))
    for name in hidden:
        encoded = name.replace("_", "%5F").replace("e", "%65")
        for path in (f"/{name}", f"/{encoded}", f"/{name}?x", f"/{name}/", f"//{name}"):
            for line in ("Accept: */*", "Accept-Encoding: gzip", "Range: bytes=0-1"):
                response = client.ask(path, line)
                assert response.status == 404, path
                assert b"# rules" not in content(response)
        assert content(client.ask(f"/sub/{name}")) == b"# rules\n"
        assert "ETag" in fields(client.ask(f"/sub/{name}"))


def test_rules_are_consistent_while_they_are_rewritten(root: Path) -> None:
    """Replaced by rename, as deployments do: each answer is by the old rules or by the new ones."""
    new = root / ".new"
    (root / "_redirects").write_bytes(b"/was /0 302\n")
    client = Client(root)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            new.write_bytes(b"/was /%d 302\n" % number)
            new.replace(root / "_redirects")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = [client.ask("/was") for _ in range(300)]
    finally:
        stop.set()
        writer.join()
    places = [int(fields(response)["Location"][1:]) for response in seen]
    assert places == sorted(places)
    assert client.reports == []


def test_a_query_is_taken_apart_once_for_all_rules(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = [f"/index.php p={number} /post/{number}" for number in range(200)]
    client = build(*rules, "/other p=1 /forced 301!")
    seen: list[str] = []

    def counted(text: str) -> str:
        seen.append(text)
        return normal_segment(text)

    assert client.ask("/").status == 200  # the rules have been read
    monkeypatch.setattr(redirects, "normal_segment", counted)
    value = "%22" * 2000
    assert client.ask(f"/index.php?p={value}").status == 404
    assert len(seen) == 2
    assert client.ask("/index.php?p=7").status == 301


@pytest.mark.parametrize(
    "path", ["/" * 7000 + "none", "/full" + "/" * 7000 + "none", "/full//404.html"]
)
def test_empty_names_end_the_search_for_a_page(
    build: Build, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = build("/nowhere /else")
    looks: list[tuple[str, ...]] = []
    look_up = Folder.look_up

    def counted(folder: Folder, names: tuple[str, ...]) -> Found:
        looks.append(names)
        return look_up(folder, names)

    monkeypatch.setattr(Folder, "look_up", counted)
    assert client.ask(path).status == 404
    assert len(looks) < 10


def test_rewrite_is_not_immutable(root: Path) -> None:
    """It stands in for whatever may come to this path one day."""
    (root / "_redirects").write_text("/* /index.html 200\n")
    client = Client(root, immutables=("/assets/*",))
    found = fields(client.ask("/assets/gone.js"))
    assert (found["Content-Type"], found["Cache-Control"]) == (HTML, "no-cache")
