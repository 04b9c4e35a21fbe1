"""Content codings with real clients: whatever they accept, they end up with the same text."""

from __future__ import annotations

import gzip
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import brotli
import pytest
import zstandard

from tests.end_to_end.serving import Logged, curl, run, settle, unavailable
from tests.server.clients import Client, eventually, get

FEATURES = {"br": "brotli", "zstd": "zstd", "gzip": "libz"}
"""What curl calls the library for each coding."""
TEXT = "".join(f"Zeile {number}: Grüezi, schöne Säule!\n" for number in range(5000))
NAMES = ["beside.txt", "alone.txt", "compressed.txt"]
"""One text with coded files beside it, one only in coded files, one that the server compresses."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("codings") / "site"
    root.mkdir()
    octets = TEXT.encode()
    for name in ("beside.txt", "compressed.txt"):
        (root / name).write_bytes(octets)
    for suffix, coded in {
        ".br": brotli.compress(octets),
        ".zst": zstandard.ZstdCompressor().compress(octets),
        ".gz": gzip.compress(octets),
    }.items():
        (root / f"beside.txt{suffix}").write_bytes(coded)
        (root / f"alone.txt{suffix}").write_bytes(coded)
    settle(*root.iterdir())
    return root


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Logged]:
    with Logged(root, root.parent) as server:
        yield server


@pytest.mark.parametrize("coding", FEATURES)
@pytest.mark.parametrize("name", NAMES)
def test_curl_decodes_to_the_same_text(server: Logged, here: Path, name: str, coding: str) -> None:
    if FEATURES[coding] not in run("curl", "--version").stdout:
        unavailable(f"this curl lacks {coding}")
    accept = f"Accept-Encoding: {coding}"
    with Client(server.url) as client:  # until the server has compressed it
        eventually(lambda: "content-encoding" in client.ask(get(f"/{name}", accept)).fields)
    arguments = ["--compressed", "-H", accept, "-o", name, "-w", "%{size_download}"]
    size = curl("--fail", *arguments, server.url + name, cwd=here)
    assert int(size) < len(TEXT)
    assert (here / name).read_text(encoding="utf-8") == TEXT


def test_curl_takes_what_is_best_for_it(server: Logged, here: Path) -> None:
    server.news()
    curl("--fail", "--compressed", "-o", "text", f"{server.url}beside.txt", cwd=here)
    assert (here / "text").read_text(encoding="utf-8") == TEXT
    assert server.news()[0].length < len(TEXT)


def test_curl_gets_a_part_of_the_text_whatever_it_accepts(server: Logged, here: Path) -> None:
    """With --compressed it decodes what comes, and could not decode a part."""
    text = TEXT.encode()
    for name in NAMES[::2]:
        curl("--fail", "--compressed", "-r", "100-199", "-o", "part", server.url + name, cwd=here)
        assert (here / "part").read_bytes() == text[100:200]


def test_curl_resumes_a_coded_download(server: Logged, root: Path, here: Path) -> None:
    """By its tag: ranges count the octets of the coded representation then."""
    with Client(server.url) as client:
        tag = client.ask(get("/beside.txt", "Accept-Encoding: gzip")).fields["etag"]
    server.news()
    whole = (root / "beside.txt.gz").read_bytes()
    (here / "text.gz").write_bytes(whole[:1000])
    arguments = ["-C", "-", "-H", "Accept-Encoding: gzip", "-o", "text.gz"]
    arguments += ["-H", f"If-Range: {tag}"]
    curl("--fail", *arguments, f"{server.url}beside.txt", cwd=here)
    assert (here / "text.gz").read_bytes() == whole
    assert server.news() == [("GET", "/beside.txt", 206, len(whole) - 1000)]


@pytest.mark.parametrize("name", ["beside.txt", "compressed.txt"])
def test_clients_that_decode_nothing_get_the_text(server: Logged, here: Path, name: str) -> None:
    assert curl("--fail", server.url + name, cwd=here) == TEXT
    with urllib.request.urlopen(server.url + name, timeout=60) as answer:
        assert answer.read().decode() == TEXT
    assert run("wget", "-q", "-O", name, server.url + name, cwd=here).returncode == 0
    assert (here / name).read_text(encoding="utf-8") == TEXT
