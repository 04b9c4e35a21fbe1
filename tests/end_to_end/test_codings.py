"""Content codings with real clients: whatever they accept, they end up with the same text."""

from __future__ import annotations

import gzip
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import brotli
import httpx
import pytest
import zstandard

from tests.end_to_end.serving import Logged, curl, run, settle
from tests.end_to_end.writing import replace
from tests.server.clients import eventually

CODINGS = ["br", "zstd", "gzip"]
TEXT = "".join(f"Zeile {number}: Grüezi, schöne Säule!\n" for number in range(5000))


def siblings_of(octets: bytes) -> dict[str, bytes]:
    """By the suffix of the file that holds it."""
    return {
        ".br": brotli.compress(octets),
        ".zst": zstandard.ZstdCompressor().compress(octets),
        ".gz": gzip.compress(octets),
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One text with siblings, one only in its siblings, and one that the server may compress."""
    root = tmp_path / "site"
    root.mkdir()
    (root / "beside.txt").write_text(TEXT, encoding="utf-8")
    (root / "copied.txt").write_text(TEXT, encoding="utf-8")
    for suffix, octets in siblings_of(TEXT.encode()).items():
        (root / f"beside.txt{suffix}").write_bytes(octets)
        (root / f"alone.txt{suffix}").write_bytes(octets)
    settle(root, *root.iterdir())
    return root


@pytest.fixture
def server(root: Path, tmp_path: Path) -> Iterator[Logged]:
    with Logged(root, tmp_path / "log") as server:
        yield server


@pytest.fixture
def here(tmp_path: Path) -> Path:
    here = tmp_path / "here"
    here.mkdir()
    return here


@pytest.fixture
def client(server: Logged) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        yield client


def await_copy(client: httpx.Client, coding: str, name: str = "copied.txt") -> httpx.Response:
    """Ask until the copy is made; each answer on the way is the text, too."""
    lines = {"Accept-Encoding": coding}

    def is_coded() -> bool:
        answer = client.get(name, headers=lines)
        assert answer.text == TEXT
        return "content-encoding" in answer.headers

    eventually(is_coded)
    return client.get(name, headers=lines)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("name", ["beside.txt", "alone.txt", "copied.txt"])
def test_httpx_decodes_to_the_same_text(client: httpx.Client, name: str, coding: str) -> None:
    if name == "copied.txt":
        await_copy(client, coding)
    answer = client.get(name, headers={"Accept-Encoding": coding})
    assert answer.headers["content-encoding"] == coding
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert int(answer.headers["content-length"]) == answer.num_bytes_downloaded < len(TEXT)
    assert answer.text == TEXT


@pytest.mark.parametrize("name", ["beside.txt", "copied.txt"])
def test_httpx_gets_each_coding_under_a_tag_of_its_own(client: httpx.Client, name: str) -> None:
    tags: set[str] = set()
    for coding in (*CODINGS, "identity"):
        if name == "copied.txt" and coding != "identity":
            await_copy(client, coding)
        fields = {"Accept-Encoding": coding}
        answer = client.get(name, headers=fields)
        tag = answer.headers["etag"]
        assert tag not in tags
        assert not tag.startswith("W/")
        for other in tags:  # the tag of another coding revalidates nothing
            again = client.get(name, headers={**fields, "If-None-Match": other})
            assert again.status_code == 200
        tags.add(tag)
        again = client.get(name, headers={**fields, "If-None-Match": ", ".join(tags)})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("coding", CODINGS)
def test_httpx_gets_no_stale_coding(root: Path, client: httpx.Client, coding: str) -> None:
    """Neither the copy nor the sibling of what the file held before."""
    fields = {"Accept-Encoding": coding}
    await_copy(client, coding)
    for name in ("copied.txt", "beside.txt"):
        tag = client.get(name, headers=fields).headers["etag"]
        replace(root / name, TEXT.replace("Säule", "Halle").encode())
        for lines in (fields, {**fields, "If-None-Match": tag}):
            answer = client.get(name, headers=lines)
            assert answer.status_code == 200
            assert answer.text == TEXT.replace("Säule", "Halle")


def test_httpx_accepts_anything_but_identity(client: httpx.Client) -> None:
    fields = {"Accept-Encoding": "identity;q=0, *"}
    assert client.get("beside.txt", headers=fields).text == TEXT
    assert client.get("alone.txt", headers={"Accept-Encoding": "identity"}).status_code == 406


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("name", ["beside.txt", "alone.txt", "copied.txt"])
def test_curl_decodes_to_the_same_text(
    server: Logged, client: httpx.Client, here: Path, name: str, coding: str
) -> None:
    feature = {"br": "brotli", "zstd": "zstd", "gzip": "libz"}[coding]
    if feature not in run("curl", "--version").stdout:
        pytest.skip(f"this curl does not know {coding}")
    if name == "copied.txt":
        await_copy(client, coding)
    accept = f"Accept-Encoding: {coding}"
    arguments = ["--compressed", "-H", accept, "-o", name, "-w", "%{size_download}"]
    size = curl("--fail", *arguments, server.url + name, cwd=here)
    assert int(size) < len(TEXT)
    assert (here / name).read_text(encoding="utf-8") == TEXT


def test_curl_takes_what_is_best_for_it(server: Logged, here: Path) -> None:
    curl("--fail", "--compressed", "-o", "text", f"{server.url}beside.txt", cwd=here)
    assert (here / "text").read_text(encoding="utf-8") == TEXT
    assert server.news()[0].length < len(TEXT)


def test_curl_goes_on_with_a_coded_download(server: Logged, root: Path, here: Path) -> None:
    """Ranges count the octets of the coded representation."""
    whole = (root / "beside.txt.gz").read_bytes()
    (here / "text.gz").write_bytes(whole[:1000])
    arguments = ["-C", "-", "-H", "Accept-Encoding: gzip", "-o", "text.gz"]
    curl("--fail", *arguments, f"{server.url}beside.txt", cwd=here)
    assert (here / "text.gz").read_bytes() == whole
    assert server.news() == [("GET", "/beside.txt", 206, len(whole) - 1000)]


def test_curl_goes_on_with_a_copy(server: Logged, client: httpx.Client, here: Path) -> None:
    await_copy(client, "gzip")
    url = f"{server.url}copied.txt"
    line = ["-H", "Accept-Encoding: gzip"]
    curl("--fail", *line, "-o", "whole", url, cwd=here)
    curl("--fail", *line, "-o", "text.gz", "-r", "0-999", url, cwd=here)
    curl("--fail", *line, "-o", "text.gz", "-C", "-", url, cwd=here)
    assert (here / "text.gz").read_bytes() == (here / "whole").read_bytes()
    assert gzip.decompress((here / "text.gz").read_bytes()).decode() == TEXT


def test_clients_that_decode_nothing_get_the_text(server: Logged, here: Path) -> None:
    for name in ("beside.txt", "copied.txt"):
        for _ in range(2):
            assert curl("--fail", server.url + name, cwd=here) == TEXT
            with urllib.request.urlopen(server.url + name, timeout=60) as answer:
                assert answer.read().decode() == TEXT
            assert run("wget", "-q", "-O", name, server.url + name, cwd=here).returncode == 0
            assert (here / name).read_text(encoding="utf-8") == TEXT
