"""Content-Type where the name does not tell it, and files that are served as they are coded."""

from __future__ import annotations

import gzip
from pathlib import Path

import brotli
import pytest

from tests.site.asking import Client, content, fields

HTML, CSS, TEXT = (f"text/{kind}; charset=utf-8" for kind in ("html", "css", "plain"))
PACKET = b"\x47" + bytes(187)


@pytest.mark.parametrize(
    ("name", "octets", "expected"),
    [
        ("app.ts", b"G" + b"export const x = 1\n" * 30, TEXT),
        ("app.ts", b"", TEXT),
        ("part.ts", PACKET * 9, "video/mp2t"),
        ("PART.TS", PACKET * 9, "video/mp2t"),
        ("film.mts", (bytes(4) + PACKET) * 9, "video/mp2t"),
        ("large.ts", PACKET * 999, "video/mp2t"),
        ("page.html", b"<title>x</title>", HTML),
        ("page.html", b'<META CHARSET = "ISO-8859-1">', "text/html"),
        ("page.html", b'<meta http-equiv=x content="text/html; charset=koi8-r">', "text/html"),
        ("page.html", b"<meta charset=UTF-8>", HTML),
        ("page.html", b"<meta charset=utf-16>", HTML),
        ("page.html", b"<!-- <meta charset=latin1> --><p>", HTML),
        ("page.html", b" " * 1024 + b"<meta charset=latin1>", HTML),
        ("page.html", b"<meta charset=latin1>" + b" " * 100_000, "text/html"),
        ("style.css", b'@charset "iso-8859-1"; p {}', "text/css"),
        ("style.css", b'@charset "utf-8"; p {}', CSS),
    ],
)
def test_beginning_of_a_file_tells_what_its_name_does_not(
    tmp_path: Path, name: str, octets: bytes, expected: str
) -> None:
    (tmp_path / name).write_bytes(octets)
    assert fields(Client(tmp_path).ask(f"/{name}"))["Content-Type"] == expected


PLAIN = b"what the page expects " * 100
GZIP, BR = gzip.compress(PLAIN, mtime=0), brotli.compress(PLAIN)


@pytest.mark.parametrize(
    ("name", "octets", "coding", "kind"),
    [
        ("game.wasm.gz", GZIP, "gzip", "application/wasm"),
        ("game.data.br", BR, "br", "application/octet-stream"),
        ("game.framework.js.unityweb", GZIP, "gzip", "text/javascript; charset=utf-8"),
        ("game.framework.js.unityweb", BR, "br", "text/javascript; charset=utf-8"),
        ("logo.svgz", GZIP, "gzip", "image/svg+xml"),
        ("game.data", GZIP, "gzip", "application/octet-stream"),
        # What is not in that coding, or may be in none.
        ("loader.js", PLAIN, None, "text/javascript; charset=utf-8"),
        ("game.wasm.gz", PLAIN, None, "application/gzip"),
        ("game.data.br", GZIP, None, "application/x-brotli"),
        ("game.data", BR, None, "application/octet-stream"),
    ],
)
def test_rule_says_the_coding_of_files_that_are_asked_for_by_their_full_name(
    tmp_path: Path, name: str, octets: bytes, coding: str | None, kind: str
) -> None:
    (tmp_path / name).write_bytes(octets)
    wanted = "br" if coding == "br" or name.endswith("br") or octets is BR else "gzip"
    (tmp_path / "_headers").write_text(f"/*\n  Content-Encoding: {wanted}\n")
    client = Client(tmp_path)
    for lines in ((), ("Accept-Encoding: gzip, br",)):
        response = client.ask(f"/{name}", *lines)
        assert content(response) == octets
        assert fields(response).get("Content-Encoding") == coding
        assert fields(response)["Content-Type"] == kind
    assert "Content-Encoding" not in fields(client.ask("/none"))


def test_rule_sets_another_type_and_no_coding_of_what_was_coded_here(tmp_path: Path) -> None:
    (tmp_path / "a.bin.gz").write_bytes(GZIP)
    (tmp_path / "page.html").write_bytes(PLAIN)
    (tmp_path / "page.html.br").write_bytes(BR)
    (tmp_path / "_headers").write_text("/*\n  Content-Encoding: gzip\n  Content-Type: a/b\n")
    client = Client(tmp_path)
    assert fields(client.ask("/a.bin.gz"))["Content-Type"] == "a/b"
    assert fields(client.ask("/a.bin.gz"))["Content-Encoding"] == "gzip"
    coded = client.ask("/page.html", "Accept-Encoding: br")
    assert (fields(coded)["Content-Encoding"], content(coded)) == ("br", BR)
