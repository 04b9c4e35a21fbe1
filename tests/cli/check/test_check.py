"""`portico check`: each kind of finding, on a site that has it and on one that has not."""

from __future__ import annotations

import gzip
import os
import re
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import brotli
import pytest
import zstandard

from tests.cli.check.checking import check, output, places, write
from tests.unprivileged import public_folder, unprivileged

EXAMPLE = Path(__file__).parents[3] / "examples" / "site"
KEY = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"


def test_the_example_has_nothing_but_the_link_that_is_broken_on_purpose() -> None:
    found = check(EXAMPLE)
    assert len(places(found, "link")) == 1
    assert "/nobody-is-here.html" in found[0].what


def test_an_empty_folder_is_in_order(tmp_path: Path) -> None:
    assert check(tmp_path) == []
    assert output(str(tmp_path)) == (0, "Nothing found in 0 files.\n")


# --- secret


SECRETS = (
    ".env .env.local .htpasswd .npmrc .netrc .git/config .svn/entries .aws/credentials .ssh/x "
    "a/.git/config b/.git id_rsa a/id_ed25519 wp-config.php wp-config.php.txt dump.sql dump.sql.gz "
    "a/users.sqlite cache.db a.txt~ a.html.bak .a.html.swp a.orig A.BAK me.p12 me.pfx store.jks "
    "all.kdbx"
)


def test_secrets_are_found(tmp_path: Path) -> None:
    write(tmp_path, dict.fromkeys(SECRETS.split(), "x"))
    write(tmp_path, {"server.pem": f"some words\n{KEY}"})
    write(tmp_path, {"server.key": KEY.replace("PRIVATE", "RSA PRIVATE")})
    write(tmp_path, {"account.json": '{"private_key": "-----BEGIN PRIVATE KEY"}'})
    found = [each for each in check(tmp_path) if each.kind == "secret"]
    names = [*SECRETS.split(), "server.pem", "server.key", "account.json"]
    # Of a folder with a dot name, the folder itself is found.
    expected = {re.sub(r"((?:^|/)\.[^/]+)/.*", r"\1", name) for name in names}
    assert {each.path for each in found} == expected
    for each in found:
        hidden = any(part.startswith(".") for part in each.path.split("/"))
        assert ("is not served" in each.what) == hidden
        assert ("everybody can read it" in each.what) != hidden


def test_what_only_resembles_a_secret_is_none(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "id_rsa.pub": "ssh-rsa AAAA",
            "chain.pem": "-----BEGIN CERTIFICATE-----\n",
            "talk.key": b"PK\x03\x04",
            "api.json": '{"private_key": null, "public_key": "x"}',
            "environment.txt": "x",
            "about.git.txt": "x",
            ".well-known/security.txt": "Contact: mailto:us@example.org",
            ".nojekyll": "",
        },
    )
    assert places(check(tmp_path, "--ignore", "type"), "secret") == []


# --- case and name


def test_names_that_collide_elsewhere_are_found(tmp_path: Path) -> None:
    write(tmp_path, {"Logo.png": "a", "logo.PNG": "b", "other.png": "c", "sub/logo.png": "d"})
    write(tmp_path, {"caf\u00e9.txt": "a", "cafe\u0301.txt": "b"})
    found = check(tmp_path)
    assert places(found, "case") == [("caf\u00e9.txt", None), ("logo.PNG", None)]
    assert '"Logo.png"' in found[1].what


def test_names_that_are_not_served_everywhere_are_found(tmp_path: Path) -> None:
    octets = (
        b"a\\b.txt",
        b"a\nb.txt",
        b"a\x7f.txt",
        b"\xff.txt",
        b"end.",
        b"end ",
        b"a:b.txt",
        b"con",
    )
    names = sorted(map(os.fsdecode, octets))
    for name in names:
        (tmp_path / name).write_bytes(b"")
    assert places(check(tmp_path, "--ignore", "type"), "name") == [(name, None) for name in names]
    code, text = output(str(tmp_path))
    assert code == 1
    text.encode()
    assert all(line.isprintable() for line in text.split("\n"))


def test_symlinks_astray_are_found(tmp_path: Path) -> None:
    root = tmp_path / "site"
    write(tmp_path, {"site/page.txt": "x", "secret/index.html": '<a href="none">', "site-x/a": "x"})
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "out.txt").symlink_to(tmp_path / "site-x" / "a")
    (root / "nowhere").symlink_to("none")
    (root / "round").symlink_to("round")
    (root / "good.txt").symlink_to("page.txt")
    found = check(root)
    assert [path for path, _ in places(found, "name")] == ["nowhere", "out", "out.txt", "round"]
    assert ["leads out" in each.what for each in found] == [False, True, True, False]


def test_what_is_no_file_is_found_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.html")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.txt"))
        assert places(check(tmp_path), "name") == [("pipe.html", None), ("socket.txt", None)]


def test_linked_folders_are_entered_once(tmp_path: Path) -> None:
    write(tmp_path, {".releases/1/index.html": '<a href="none">', "a/page.html": "x"})
    (tmp_path / "current").symlink_to(".releases/1")
    (tmp_path / "latest").symlink_to("current")
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "b").symlink_to("a")
    assert places(check(tmp_path), "link") == [("current/index.html", 1)]


# --- access


def test_what_may_not_be_read_is_found() -> None:
    with public_folder() as root:
        write(root, {"page.html": "x", "closed.html": "x", "shut/a.txt": "x", "dim/b.txt": "x"})
        (root / "closed.html").chmod(0)
        (root / "shut").chmod(0o600)
        (root / "dim").chmod(0o744)  # its names can be read, and nothing of them
        with unprivileged():
            found = check(root)
            closed = ["closed.html", "dim", "dim/b.txt", "shut"]
            assert places(found, "access") == [(path, None) for path in closed]
        (root / "dim").chmod(0o700)
        (root / "shut").chmod(0o700)


# --- type and charset


def test_unknown_types_are_found_by_suffix(tmp_path: Path) -> None:
    write(tmp_path, {"a.xyz": "1", "b.xyz": "2", "sub/c.XYZ": "3", "datei": "4", "d.bin": "5"})
    write(tmp_path, {"objects.inv": b"# Inventory\nx\xda\xff"})  # binary, for programs
    write(tmp_path, {"LICENSE": "6", "_headers": "/*\n  X-A: b\n", ".hidden": "7"})
    found = check(tmp_path)
    assert places(found, "type") == [("a.xyz", None), ("datei", None)]
    assert [each.count for each in found] == [3, 1]
    assert [each["path"] for each in found[0].also] == ["b.xyz", "sub/c.XYZ"]


def test_no_type_is_asked_of_what_a_link_offers_to_save(tmp_path: Path) -> None:
    page = '<a download href="sub/a%20(1).fig?v=2">a</a><a href="sub/b.fig">b</a>'
    write(tmp_path, {"index.html": page, "sub/a (1).fig": "1", "sub/b.fig": "2"})
    assert places(check(tmp_path), "type") == [("sub/b.fig", None)]


def test_a_type_that_the_site_sets_itself_is_known(tmp_path: Path) -> None:
    write(tmp_path, {"a.xyz": "1", "_headers": "/*.xyz\n  Content-Type: chemical/x-xyz\n"})
    assert check(tmp_path) == []


def test_text_that_is_not_utf8_is_found(tmp_path: Path) -> None:
    names = ["_redirects", "a.css", "a.html", "a.js", "a.json", "a.txt"]
    write(tmp_path, dict.fromkeys(names, "# \u00e9"))
    assert check(tmp_path) == []
    write(tmp_path, dict.fromkeys(names, "# one\n# two\n# \u00e9".encode("latin-1")))
    assert places(check(tmp_path), "charset") == [(name, 3) for name in names]
    write(tmp_path, {"a.html": "<p>\u00e9".encode("utf-16")})
    found = check(tmp_path)
    assert places(found, "charset")[2] == ("a.html", 1)
    assert "UTF-16" in found[2].what


def test_no_charset_is_asked_of_what_names_its_own(tmp_path: Path) -> None:
    write(
        tmp_path, {"feed.xml": '<?xml version="1.0" encoding="latin1"?><a>\u00e9'.encode("latin1")}
    )
    write(tmp_path, {"old.txt": b"\xe9", "_headers": "/old.txt\n  Content-Type: text/plain\n"})
    assert check(tmp_path) == []


def test_long_text_is_read_in_pieces(tmp_path: Path) -> None:
    line = "<a href=none>\u00e9\n".encode() * 600_000
    write(tmp_path, {"long.html": line, "bad.txt": line + b"\xff\n" + line})
    assert places(check(tmp_path), "charset") == [("bad.txt", 600_001)]


# --- stale


CODERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".br": partial(brotli.compress, quality=5),
    ".zst": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("suffix", CODERS)
def test_siblings_that_do_not_match_are_found(tmp_path: Path, suffix: str) -> None:
    text = os.urandom(1000).hex().encode()
    coded = CODERS[suffix](text)
    names = ("good", "old", "other", "longer", "shorter", "broken", "cut", "empty")
    write(tmp_path, {f"{name}.txt": text for name in names})
    write(tmp_path, {f"{name}.txt{suffix}": coded for name in names})
    write(tmp_path, {f"only.txt{suffix}": b"there is no original"})
    write(tmp_path, {"other.txt": b"x" + text[1:], "longer.txt": text + b"x", "shorter.txt": b""})
    write(tmp_path, {f"broken.txt{suffix}": b"no coding at all", f"cut.txt{suffix}": coded[:-50]})
    write(tmp_path, {f"empty.txt{suffix}": b""})
    for path in tmp_path.iterdir():
        os.utime(path, ns=(10, 10**18))
    os.utime(tmp_path / f"old.txt{suffix}", ns=(10, 10**18 - 1))
    found = check(tmp_path)
    wanted = sorted(set(names) - {"good"})
    assert places(found, "stale") == [(f"{name}.txt{suffix}", None) for name in wanted]
    assert ["older" in each.what for each in found] == [name == "old" for name in wanted]


def test_a_newer_sibling_of_several_pieces_is_in_order(tmp_path: Path) -> None:
    text = os.urandom(400_000).hex().encode()
    write(tmp_path, {"a.txt": text})
    write(tmp_path, {f"a.txt{suffix}": code(text) for suffix, code in CODERS.items()})
    write(tmp_path, {"two.txt": text * 2, "two.txt.gz": gzip.compress(text) * 2})
    assert check(tmp_path) == []


# --- rule and loop


def test_bad_lines_of_rules_are_found(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "index.html": "x",
            "_redirects": "# rules\n/a /index.html\n/b\n/c /index.html 999\n",
            "_headers": "/*\n  X-Good: yes\n  Content-Length: 1\n",
        },
    )
    found = check(tmp_path)
    assert places(found, "rule") == [("_headers", 3), ("_redirects", 3), ("_redirects", 4)]
    assert "Content-Length" in found[0].what


def test_redirect_loops_are_found(tmp_path: Path) -> None:
    rules = "/a /b\n/b /c\n/c /a\n/x /y\n/y /z\n/z /end.html\n"
    write(tmp_path, {"_redirects": rules, "end.html": "x"})
    found = check(tmp_path)
    assert places(found, "loop") == [("_redirects", 1)]
    assert "line 2, 3" in found[0].what


def test_a_file_breaks_a_loop(tmp_path: Path) -> None:
    write(tmp_path, {"_redirects": "/a /b\n/b /a\n", "b": "file", "_headers": ""})
    assert check(tmp_path, "--ignore", "type") == []
    write(tmp_path, {"_redirects": "/a /b 301!\n/b /a 301!\n"})
    assert ("_redirects", 1) in [(each.path, each.line) for each in check(tmp_path)]
