"""The table of media types: right for the names that matter, well formed in every row."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.site.representation import media
from portico.site.representation.media import is_compressible, media_type

NAMES = {
    # Text, with its charset
    "index.html": "text/html; charset=utf-8",
    "old.htm": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "app.mjs": "text/javascript; charset=utf-8",
    "notes.txt": "text/plain; charset=utf-8",
    "README.md": "text/markdown; charset=utf-8",
    "table.csv": "text/csv; charset=utf-8",
    "year.ics": "text/calendar; charset=utf-8",
    "server.py": "text/plain; charset=utf-8",
    "app.ts": "text/plain; charset=utf-8",
    "pyproject.toml": "text/plain; charset=utf-8",
    "compose.yaml": "text/plain; charset=utf-8",
    "page.shtml": "text/html; charset=utf-8",
    "mail.eml": "message/rfc822",
    "saved.mhtml": "message/rfc822",
    # Text whose type defines no charset parameter, or that names its encoding inside
    "subtitles.vtt": "text/vtt",
    "data.json": "application/json",
    "app.js.map": "application/json",
    "app.webmanifest": "application/manifest+json",
    "map.geojson": "application/geo+json",
    "feed.xml": "application/xml",
    "feed.rss": "application/rss+xml",
    "feed.atom": "application/atom+xml",
    "logo.svg": "image/svg+xml",
    # Images
    "photo.jpg": "image/jpeg",
    "photo.jpeg": "image/jpeg",
    "mark.png": "image/png",
    "wave.gif": "image/gif",
    "photo.webp": "image/webp",
    "photo.avif": "image/avif",
    "favicon.ico": "image/vnd.microsoft.icon",
    "scan.bmp": "image/bmp",
    "photo.jxl": "image/jxl",
    "wave.apng": "image/apng",
    "scan.tiff": "image/tiff",
    "photo.heic": "image/heic",
    # Fonts, code, documents
    "sans.woff2": "font/woff2",
    "sans.woff": "font/woff",
    "sans.ttf": "font/ttf",
    "sans.otf": "font/otf",
    "module.wasm": "application/wasm",
    "app.plist": "application/x-plist",
    "wifi.mobileconfig": "application/x-apple-aspen-config",
    "ticket.pkpass": "application/vnd.apple.pkpass",
    "addon.xpi": "application/x-xpinstall",
    "start.jnlp": "application/x-java-jnlp-file",
    "app.msix": "application/msix",
    "app.appinstaller": "application/appinstaller",
    "feeds.opml": "text/x-opml",
    "graph.rdf": "application/rdf+xml",
    "graph.n3": "text/n3; charset=utf-8",
    "graph.trig": "application/trig",
    "objects.inv": media.UNKNOWN,
    "places.kmz": "application/vnd.google-earth.kmz",
    "book.mobi": "application/x-mobipocket-ebook",
    "book.cbz": "application/vnd.comicbook+zip",
    "logo.svgz": "application/gzip",
    "paper.pdf": "application/pdf",
    "book.epub": "application/epub+zip",
    "base.sqlite": "application/vnd.sqlite3",
    # Sound and video
    "film.mp4": "video/mp4",
    "film.webm": "video/webm",
    "film.mov": "video/quicktime",
    "film.ogv": "video/ogg",
    "film.mkv": "video/matroska",
    "film.m3u8": "application/vnd.apple.mpegurl",
    "film.mpd": "application/dash+xml",
    "part1.m2ts": "video/mp2t",
    "film.wmv": "video/x-ms-wmv",
    "film.3gpp": "video/3gpp",
    "list.m3u": "audio/x-mpegurl",
    "song.mp3": "audio/mpeg",
    "song.m4a": "audio/mp4",
    "song.ogg": "audio/ogg",
    "song.opus": "audio/ogg",
    "song.oga": "audio/ogg",
    "song.flac": "audio/flac",
    "song.wav": "audio/wav",
    # Archives: the last suffix decides
    "all.zip": "application/zip",
    "all.tar": "application/x-tar",
    "all.tar.gz": "application/gzip",
    "all.tgz": "application/gzip",
    "app.js.br": "application/x-brotli",
    "app.js.zst": "application/zstd",
    "all.xz": "application/x-xz",
    "all.bz2": "application/x-bzip2",
    "all.7z": "application/x-7z-compressed",
    "all.rar": "application/vnd.rar",
    "tool.jar": "application/java-archive",
    "portico-1.0-py3-none-any.whl": "application/zip",
    # Solid models
    "scene.gltf": "model/gltf+json",
    "scene.glb": "model/gltf-binary",
    "scene.usdz": "model/vnd.usdz+zip",
    # Names without a suffix
    "LICENSE": "text/plain; charset=utf-8",
    "README": "text/plain; charset=utf-8",
    "Makefile": "text/plain; charset=utf-8",
    "apple-app-site-association": "application/json",
    "openid-configuration": "application/json",
    # Letter case is nothing
    "HOLIDAY.JPG": "image/jpeg",
    "Index.Html": "text/html; charset=utf-8",
    # What is not known
    "": media.UNKNOWN,
    ".": media.UNKNOWN,
    "html": media.UNKNOWN,
    ".html": media.UNKNOWN,
    "page.": media.UNKNOWN,
    "page.html ": media.UNKNOWN,
    "page.html\0": media.UNKNOWN,
    "thing.unheard-of": media.UNKNOWN,
    "\udcff.\udcff": media.UNKNOWN,
}


@pytest.mark.parametrize(("name", "expected"), NAMES.items())
def test_name_has_its_type(name: str, expected: str) -> None:
    assert media_type(name) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".well-known/matrix/client", "application/json"),
        (".well-known/oauth-authorization-server/tenant", "application/json"),
        ("tenant/.well-known/openid-configuration", "application/json"),
        (".well-known/acme-challenge/token", media.UNKNOWN),
        ("matrix/client", media.UNKNOWN),
    ],
)
def test_resources_of_well_known_have_the_types_of_their_specifications(
    path: str, expected: str
) -> None:
    names = path.split("/")
    assert media_type(names[-1], names) == expected


def rows(table: str) -> list[list[str]]:
    return [row.split() for row in table.splitlines() if "/" in row.partition(";")[0]]


@pytest.mark.parametrize("table", [media._BY_SUFFIX, media._BY_NAME])
def test_every_row_is_well_formed_and_no_key_stands_twice(table: str) -> None:
    seen: set[str] = set()
    for words in rows(table):
        value = words.pop(0)
        if value.endswith(";"):
            value += " " + words.pop(0)
        assert re.fullmatch(r"[a-z]+/[a-z0-9][a-z0-9.+-]*(; charset=utf-8)?", value), value
        assert words, f"{value} stands for nothing"
        for word in words:
            assert word == word.lower(), word
            assert word not in seen, f"{word} stands twice"
            seen.add(word)
    assert len(seen) > 20


def test_titles_of_the_table_are_not_taken_for_types() -> None:
    values = {media_type(f"x.{word}") for words in rows(media._BY_SUFFIX) for word in words}
    assert all("/" in value for value in values)
    assert "suffixes" not in values


def test_only_types_that_define_a_charset_carry_one() -> None:
    carriers = {
        words[0]
        for table in (media._BY_SUFFIX, media._BY_NAME)
        for words in rows(table)
        if words[0].endswith(";")
    }
    assert carriers == {
        f"text/{name};"
        for name in [
            *("calendar", "css", "csv", "html", "javascript", "markdown", "n3", "plain"),
            *("tab-separated-values", "turtle", "vcard"),
        ]
    }


@given(st.text())
def test_any_name_has_a_type(name: str) -> None:
    assert "/" in media_type(name)


@given(st.text(), st.sampled_from(["html", "JPEG", "Wasm", "tar.gz"]))
def test_only_the_suffix_counts(stem: str, suffix: str) -> None:
    assert media_type(f"x{stem}.{suffix}") == media_type(f"x.{suffix}")


def test_the_machine_is_not_asked() -> None:
    code = "import sys, portico.site.representation.media; print('mimetypes' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-S", "-c", code], check=True, capture_output=True, text=True
    )
    assert result.stdout == "False\n"


@pytest.mark.parametrize(
    "value",
    [
        *("text/html; charset=utf-8", "TEXT/CSS", "text/vtt", "application/json"),
        *("application/json ; profile=x", "application/geo+json", "image/svg+xml"),
        *("application/wasm", "font/ttf", "image/vnd.microsoft.icon"),
        "application/vnd.apple.mpegurl",
    ],
)
def test_text_like_types_are_compressible(value: str) -> None:
    assert is_compressible(value)


@pytest.mark.parametrize(
    "value",
    [
        *("image/jpeg", "image/png", "font/woff2", "video/mp4", "video/mp2t"),
        *("application/zip", "application/gzip", "application/epub+zip", "application/pdf"),
        media.UNKNOWN,
        "",
        "image/png; note=text/html",
        "context/html",
    ],
)
def test_packed_types_are_not_compressible(value: str) -> None:
    assert not is_compressible(value)
