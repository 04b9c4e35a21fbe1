"""What is switched on by an option: --spa, --cors, --immutable."""

from __future__ import annotations

from pathlib import Path

import pytest

from portico.http.message import ProtocolError
from tests.site.asking import Client, content, fields, settle_all, vary

APP = b"<p>the application"
NAVIGATE = "Sec-Fetch-Mode: navigate"
BROWSER = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    (root / "assets").mkdir(parents=True)
    (root / "inner").mkdir()
    (root / "index.html").write_bytes(APP)
    (root / "about.html").write_bytes(b"about")
    (root / "inner" / "index.html").write_bytes(b"inner")
    (root / "assets" / "app.0a1b2c.js").write_bytes(b"script")
    (root / ".secret").write_bytes(b"secret")
    return root


@pytest.fixture
def app(root: Path) -> Client:
    return Client(root, spa=True)


# --spa

NAVIGATIONS = [
    (NAVIGATE,),
    (BROWSER,),
    (NAVIGATE, BROWSER),
    (NAVIGATE, "Accept: */*"),
    ("Accept: TEXT/HTML",),
    (),
    ("Accept: */*",),  # curl, previews of links, monitors
]
OTHERS = [
    ("Accept: image/png",),
    ("Accept: text/html;q=0, */*",),
    ("Accept: application/json, */*",),
    ("Sec-Fetch-Mode: no-cors", BROWSER),
    ("Sec-Fetch-Mode: cors", BROWSER),
    ("Sec-Fetch-Mode: same-origin",),
    ("Sec-Fetch-Mode: websocket", BROWSER),
    ("Accept: application/json",),
]
PATHS = ["/users/7", "/users/7/", "/none", "/inner/none", "/a?b=c", "/v1.2/x"]
ASSETS = ["/assets/none.js", "/favicon.ico", "/.secret", "/users/none.png?a"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("lines", NAVIGATIONS)
def test_navigation_gets_the_application(app: Client, path: str, lines: tuple[str, ...]) -> None:
    response = app.ask(path, *lines)
    assert (response.status, content(response)) == (200, APP)
    assert fields(response)["Content-Type"] == "text/html; charset=utf-8"
    assert vary(response) == {"accept", "sec-fetch-mode"}
    tag = fields(response)["ETag"]
    unchanged = app.ask(path, *lines, f"If-None-Match: {tag}")
    assert (unchanged.status, vary(unchanged)) == (304, {"accept", "sec-fetch-mode"})
    part = app.ask(path, *lines, "Range: bytes=1-3")
    assert (part.status, content(part), vary(part)) == (206, APP[1:4], vary(response))
    assert app.ask(path, *lines, method="HEAD").fields == response.fields


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("lines", OTHERS)
def test_what_a_page_is_made_of_is_missing_as_ever(
    app: Client, path: str, lines: tuple[str, ...]
) -> None:
    response = app.ask(path, *lines)
    assert response.status == 404
    assert APP not in content(response)
    assert vary(response) == {"accept", "sec-fetch-mode"}


@pytest.mark.parametrize("path", ASSETS)
def test_missing_file_with_a_suffix_is_missing(app: Client, path: str) -> None:
    for lines in (*NAVIGATIONS, *OTHERS):
        response = app.ask(path, *lines)
        assert response.status == 404
        assert vary(response) == {"accept", "sec-fetch-mode"}


def test_own_page_for_the_missing_varies_by_the_same(app: Client) -> None:
    (app.root / "404.html").write_bytes(b"own")
    response = app.ask("/assets/none.js")
    assert (response.status, content(response)) == (404, b"own")
    assert vary(response) == {"accept", "sec-fetch-mode"}
    assert content(app.ask("/assets/none", NAVIGATE)) == APP


@pytest.mark.parametrize("lines", [*NAVIGATIONS, *OTHERS])
def test_what_is_there_is_served_to_all(app: Client, lines: tuple[str, ...]) -> None:
    for path, octets in {
        "/about": b"about",
        "/about.html": b"about",
        "/inner/": b"inner",
        "/assets/app.0a1b2c.js": b"script",
        "/": APP,
    }.items():
        response = app.ask(path, *lines)
        assert (response.status, content(response)) == (200, octets)
        assert vary(response) == set()
    assert app.ask("/inner", *lines).status == 301


def test_folder_without_index_is_the_applications_where_nothing_is_listed(root: Path) -> None:
    assert b"app.0a1b2c.js" in content(Client(root, spa=True).ask("/assets/", NAVIGATE))
    quiet = Client(root, spa=True, listing=False)
    assert content(quiet.ask("/assets/", NAVIGATE)) == APP
    assert quiet.ask("/assets/", "Sec-Fetch-Mode: cors").status == 404


def test_codings_and_refusals_of_the_application(app: Client) -> None:
    (app.root / "index.html.br").write_bytes(b"coded")
    response = app.ask("/x", NAVIGATE, "Accept-Encoding: br")
    assert content(response) == b"coded"
    assert vary(response) == {"accept-encoding", "accept", "sec-fetch-mode"}
    refused = app.ask("/x", NAVIGATE, "Accept-Encoding: *;q=0")
    assert refused.status == 406
    assert vary(refused) >= {"accept-encoding", "accept", "sec-fetch-mode"}
    (app.root / "index.html").unlink()
    assert content(app.ask("/x", NAVIGATE, "Accept-Encoding: br")) == b"coded"


def test_without_the_applications_page_there_is_none(app: Client) -> None:
    (app.root / "index.html").unlink()
    response = app.ask("/x", NAVIGATE)
    assert response.status == 404
    assert vary(response) == {"accept", "sec-fetch-mode"}


def test_application_that_leads_out_is_none(app: Client, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (app.root / "index.html").unlink()
    (app.root / "index.html").symlink_to(tmp_path / "secret")
    assert app.ask("/x", NAVIGATE).status == 404


def test_only_reading_gets_the_application(app: Client) -> None:
    assert app.ask("/x", NAVIGATE, method="POST").status == 405
    assert app.ask("/..", NAVIGATE).status == 400


def test_rules_come_before_the_application(app: Client) -> None:
    (app.root / "_redirects").write_text("/old /new 302\n/gone /about.html 404\n")
    assert app.ask("/old", NAVIGATE).status == 302
    assert app.ask("/gone", NAVIGATE).status == 404
    assert app.ask("/new", NAVIGATE).status == 200


def test_without_the_option_navigations_are_nothing_special(root: Path) -> None:
    client = Client(root)
    assert "sec-fetch-mode" not in client.site.fields_read
    for lines in NAVIGATIONS:
        response = client.ask("/x", *lines)
        assert response.status == 404
        assert vary(response) == {"accept"}


def test_application_holds_until_something_comes_in_its_place(app: Client) -> None:
    settle_all(app.root)
    app.ask("/users", NAVIGATE)
    assert app.holds()
    (app.root / "users.html").write_bytes(b"users")
    assert not app.holds()
    assert content(app.ask("/users", NAVIGATE)) == b"users"


# --cors

OPEN = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
PREFLIGHT = (
    "Origin: https://a.example",
    "Access-Control-Request-Method: GET",
    "Access-Control-Request-Headers: range, authorization",
)


@pytest.fixture
def shared(root: Path) -> Client:
    (root / "_redirects").write_text("/moved /x 302\n/open /about.html 200\n")
    return Client(root, ("localhost",), cors=True)


@pytest.mark.parametrize(
    ("status", "target", "line", "method"),
    [
        (200, "/about", "Accept: */*", "GET"),
        (200, "/about", "Accept: */*", "HEAD"),
        (200, "/open", "Accept: */*", "GET"),
        (200, "/assets/", "Accept: */*", "GET"),
        (204, "/about", "Accept: */*", "OPTIONS"),
        (206, "/about", "Range: bytes=0-1", "GET"),
        (206, "/about", "Range: bytes=0-1,3-3", "GET"),
        (301, "/inner", "Accept: */*", "GET"),
        (302, "/moved", "Accept: */*", "GET"),
        (304, "/about", "If-None-Match: *", "GET"),
        (400, "/..", "Accept: */*", "GET"),
        (404, "/none", "Accept: */*", "GET"),
        (404, "/none", "Accept: application/json", "GET"),
        (405, "/about", "Accept: */*", "POST"),
        (406, "/about", "Accept-Encoding: *;q=0", "GET"),
        (412, "/about", 'If-Match: "x"', "GET"),
        (416, "/about", "Range: bytes=99-", "GET"),
        (421, "/about", "Host: evil.example", "GET"),
        (501, "/about", "Accept: */*", "BREW"),
    ],
)
def test_every_answer_may_be_read_by_all(
    shared: Client, status: int, target: str, line: str, method: str
) -> None:
    answers = [
        shared.ask(target, line, *origin, method=method)
        for origin in ((), ("Origin: https://a.example",), ("Origin: null",))
    ]
    for response in answers:
        assert response.status == status
        assert {name: fields(response).get(name) for name in OPEN} == OPEN
        assert "origin" not in vary(response)  # the same for everybody
        assert "Access-Control-Allow-Credentials" not in fields(response)


def test_preflight_is_answered(shared: Client) -> None:
    response = shared.ask("/about", *PREFLIGHT, method="OPTIONS")
    found = fields(response)
    assert response.status == 204
    assert found["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"
    assert found["Allow"] == "GET, HEAD, OPTIONS"
    assert found["Access-Control-Allow-Headers"] == "*, Authorization"
    assert int(found["Access-Control-Max-Age"]) > 0
    assert content(response) == b""


def test_only_a_preflight_says_what_may_be_asked(shared: Client) -> None:
    assert "Access-Control-Allow-Methods" not in fields(shared.ask("/about", *PREFLIGHT))


def test_a_rule_of_the_site_comes_before_the_option(shared: Client) -> None:
    (shared.root / "_headers").write_text(
        "/*\n  access-control-allow-origin: https://a.example\n  Vary: Origin\n"
    )
    found = fields(shared.ask("/about"))
    assert found["access-control-allow-origin"] == "https://a.example"
    assert "Access-Control-Allow-Origin" not in found
    assert found["Cross-Origin-Resource-Policy"] == "cross-origin"


def test_preflight_gets_what_the_rules_of_the_site_say_of_origins(root: Path) -> None:
    (root / "_headers").write_text(
        "/about\n  Access-Control-Allow-Origin: https://a.example\n"
        "  Access-Control-Allow-Headers: range\n  X-Other: x\n  Vary: Origin\n"
    )
    for cors in (False, True):
        client = Client(root, cors=cors)
        settle_all(root)
        found = fields(client.ask("/x/../about", *PREFLIGHT, method="OPTIONS"))
        assert found["Access-Control-Allow-Origin"] == "https://a.example"
        assert found["Access-Control-Allow-Headers"] == "range"
        assert ("Access-Control-Allow-Methods" in found) is cors
        assert (found["Vary"], "X-Other" in found) == ("Origin", False)
        assert client.holds()
        (root / "_headers").touch()
        assert not client.holds()
        for target in ("/none", "*"):
            found = fields(client.ask(target, *PREFLIGHT, method="OPTIONS"))
            assert ("Access-Control-Allow-Origin" in found) is cors


def test_without_the_option_nobody_else_may_read(root: Path) -> None:
    client = Client(root)
    for method in ("GET", "HEAD", "OPTIONS", "POST"):
        found = fields(client.ask("/about", *PREFLIGHT, method=method))
        assert not [name for name in found if name.startswith(("Access-Control", "Cross-Origin"))]


def test_refusal_of_what_cannot_be_read_says_nothing_of_the_disk(shared: Client) -> None:
    response = shared.site.refuse(ProtocolError(431, "too large"))
    assert response.close
    assert str(shared.root) not in repr(response.fields)


# --immutable

YEAR = "public, max-age=31536000, immutable"


def cache(client: Client, path: str, *lines: str) -> str:
    return fields(client.ask(path, *lines))["Cache-Control"]


def test_immutable_paths_are_kept_for_a_year(root: Path) -> None:
    client = Client(root, immutable=["/assets/*"])
    for lines in ((), ("Range: bytes=0-1",), ("If-None-Match: *",)):
        assert cache(client, "/assets/app.0a1b2c.js", *lines) == YEAR
    assert cache(client, "/%61ssets/app.0a1b2c.js") == YEAR
    assert cache(client, "/assets/app.0a1b2c.js?v=1") == YEAR
    assert cache(client, "//assets/./app.0a1b2c.js") == YEAR
    for path in ("/", "/about", "/about.html", "/inner/", "/Assets/x"):
        assert cache(client, path) == "no-cache"


@pytest.mark.parametrize("status", [404, 412, 416, 406])
def test_nothing_but_the_content_is_immutable(root: Path, status: int) -> None:
    client = Client(root, immutable=["/assets/*"])
    path, line = {
        404: ("/assets/none.js", "Accept: */*"),
        406: ("/assets/app.0a1b2c.js", "Accept-Encoding: *;q=0"),
        412: ("/assets/app.0a1b2c.js", 'If-Match: "x"'),
        416: ("/assets/app.0a1b2c.js", "Range: bytes=99-"),
    }[status]
    assert client.ask(path, line).status == status
    assert cache(client, path, line) == "no-cache"
    (root / "404.html").write_bytes(b"own")
    assert cache(client, path, line) == "no-cache"


def test_redirects_and_listings_are_not_immutable(root: Path) -> None:
    (root / "_redirects").write_text("/assets/old.js /assets/new.js 301\n")
    client = Client(root, immutable=["*"])
    for path in ("/assets", "/assets/", "/assets/old.js"):
        assert cache(client, path) == "no-cache"


def test_application_in_the_place_of_a_missing_asset_is_not_immutable(root: Path) -> None:
    """Or else a page that was asked for too early would stay the application for a year."""
    client = Client(root, spa=True, immutable=["/assets/*"])
    response = client.ask("/assets/not-there-yet", NAVIGATE)
    assert content(response) == APP
    assert fields(response)["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("/assets/*.??????.js", "/assets/app.0a1b2c.js", True),
        ("*.js", "/assets/app.0a1b2c.js", True),
        ("*.JS", "/assets/app.0a1b2c.js", False),
        ("/assets/app.[0-9a-f]*.js", "/assets/app.0a1b2c.js", True),
        ("/assets/app.[!0-9]*.js", "/assets/app.0a1b2c.js", False),
        ("/app.*", "/assets/app.0a1b2c.js", False),
        ("/assets", "/assets/app.0a1b2c.js", False),
        ("*.html", "/about", False),
        ("/about", "/about", True),
        ("/", "/", True),
        ("/", "/about", False),
    ],
)
def test_globs_are_matched_with_the_whole_path(
    root: Path, glob: str, path: str, matches: bool
) -> None:
    for globs in ([glob], ["/never", glob], [glob, "/never"]):
        assert cache(Client(root, immutable=globs), path) == (YEAR if matches else "no-cache")


def test_names_of_any_octets_are_matched(root: Path) -> None:
    (root / "assets" / "a\nb.js").write_bytes(b"")
    client = Client(root, immutable=["/assets/*.js"])
    assert cache(client, "/assets/a%0Ab.js") == YEAR
    assert client.ask("/assets/%ff.js").status == 404


def test_rule_of_the_site_comes_before_the_option(root: Path) -> None:
    (root / "_headers").write_text("/assets/*\n  Cache-Control: max-age=60\n")
    assert cache(Client(root, immutable=["*"]), "/assets/app.0a1b2c.js") == "max-age=60"
