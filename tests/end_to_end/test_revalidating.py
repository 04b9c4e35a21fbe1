"""Clients that ask whether what they have is still good: 304 while it is, 200 when it is not."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.serving import Logged, curl, run, settle
from tests.end_to_end.writing import (
    replace,
    replace_and_keep_time,
    rewrite,
    rewrite_and_keep_time,
)
from tests.server.clients import eventually

LARGE = 2 << 20
NAMES = ["small.txt", "large.bin"]
HOUR_NS = 3_600_000_000_000

Write = Callable[[Path, bytes], None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Its files are an hour old: whoever goes by dates alone can tell only seconds apart."""
    root = tmp_path / "site"
    root.mkdir()
    for name, content in zip(NAMES, (b"old\n" * 10, b"old\n" * (LARGE // 4)), strict=True):
        path = root / name
        path.write_bytes(content)
        an_hour_ago = path.stat().st_mtime_ns - HOUR_NS
        os.utime(path, ns=(an_hour_ago, an_hour_ago))
        settle(path)
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


# curl


@pytest.mark.parametrize("write", [rewrite, replace])
@pytest.mark.parametrize("name", NAMES)
def test_curl_revalidates_by_date(
    server: Logged, root: Path, here: Path, name: str, write: Write
) -> None:
    """-R gives the copy the date of Last-Modified, and -z sends that back."""
    command = ["--fail", "-R", "-o", name, "-z", name, server.url + name]
    curl(*command[:4], server.url + name, cwd=here)
    old = (root / name).read_bytes()
    curl(*command, cwd=here)
    assert (here / name).read_bytes() == old
    assert server.statuses() == [200, 304]
    write(root / name, old[::-1])
    settle(root / name)  # until then a large file has no date
    curl(*command, cwd=here)
    assert (here / name).read_bytes() == old[::-1]
    assert server.statuses() == [200]
    curl(*command, cwd=here)
    assert server.statuses() == [304]


@pytest.mark.parametrize("write", [rewrite, replace, rewrite_and_keep_time, replace_and_keep_time])
@pytest.mark.parametrize("name", NAMES)
def test_curl_revalidates_by_tag(
    server: Logged, root: Path, here: Path, name: str, write: Write
) -> None:
    command = ["--fail", "-o", name, "--etag-save", "tag", server.url + name]
    curl(*command, cwd=here)
    old = (root / name).read_bytes()
    for _ in range(2):  # and so also after the large file's content is hashed
        curl(*command, "--etag-compare", "tag", cwd=here)
        eventually(lambda: server.etag(f"/{name}") is not None)
    assert [line.status for line in server.news() if line.length != 1] == [200, 304, 304]
    assert (here / name).read_bytes() == old
    write(root / name, old[::-1])
    curl(*command, "--etag-compare", "tag", cwd=here)
    assert server.statuses() == [200]
    assert (here / name).read_bytes() == old[::-1]


# wget


@pytest.mark.parametrize("write", [rewrite, replace])
@pytest.mark.parametrize("name", NAMES)
def test_wget_revalidates_by_date(
    server: Logged, root: Path, here: Path, name: str, write: Write
) -> None:
    """What is newer is fetched, and nothing else."""
    old = (root / name).read_bytes()
    for _ in range(3):
        assert run("wget", "-N", server.url + name, cwd=here).returncode == 0
    assert server.statuses() == [200, 304, 304]
    assert (here / name).read_bytes() == old
    assert int((here / name).stat().st_mtime) == int((root / name).stat().st_mtime)
    write(root / name, old[::-1])
    assert run("wget", "-N", server.url + name, cwd=here).returncode == 0
    assert server.statuses() == [200]
    assert (here / name).read_bytes() == old[::-1]


# httpx


@pytest.mark.parametrize("write", [rewrite, replace, rewrite_and_keep_time, replace_and_keep_time])
@pytest.mark.parametrize("name", NAMES)
def test_httpx_revalidates_by_tag(
    root: Path, client: httpx.Client, name: str, write: Write
) -> None:
    """However soon after the last change the next one comes."""
    for turn in range(20):
        content = b"%03d" % turn + (root / name).read_bytes()[3:]
        write(root / name, content)
        answer = client.get(name)
        assert (answer.status_code, answer.content) == (200, content)
        if "etag" not in answer.headers:
            eventually(lambda: "etag" in client.head(name).headers)
            answer = client.get(name)
        tag = answer.headers["etag"]
        for lines in ({"If-None-Match": tag}, {"If-None-Match": f'"other", W/{tag}'}):
            again = client.get(name, headers=lines)
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["cache-control"] == answer.headers["cache-control"]
    replace(root / name, b"new")
    again = client.get(name, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (200, b"new")


@pytest.mark.parametrize("name", NAMES)
def test_httpx_revalidates_by_date(root: Path, client: httpx.Client, name: str) -> None:
    answer = client.get(name)
    condition = {"If-Modified-Since": answer.headers["last-modified"]}
    again = client.get(name, headers=condition)
    assert (again.status_code, again.content) == (304, b"")
    rewrite(root / name, b"new")
    again = client.get(name, headers=condition)
    assert (again.status_code, again.content) == (200, b"new")


@pytest.mark.parametrize("name", NAMES)
def test_httpx_is_never_told_that_an_old_copy_is_good(
    root: Path, client: httpx.Client, name: str
) -> None:
    """It sends back whichever validators it was given, as a browser's cache does."""
    condition: dict[str, str] = {}
    for turn in range(100):
        content = b"%03d" % turn + (root / name).read_bytes()[3:]
        (replace if turn % 2 else rewrite)(root / name, content)
        answer = client.get(name, headers=condition)
        assert (answer.status_code, answer.content == content) == (200, True), turn
        condition = validators_in(answer)


def validators_in(answer: httpx.Response) -> dict[str, str]:
    """The fields with which a cache revalidates an answer that it keeps (RFC 9111, 4.3.1)."""
    pairs = [("If-None-Match", "etag"), ("If-Modified-Since", "last-modified")]
    return {name: answer.headers[of] for name, of in pairs if of in answer.headers}


# urllib


@pytest.mark.parametrize("name", NAMES)
def test_urllib_revalidates(server: Logged, root: Path, name: str) -> None:
    url = server.url + name
    with urllib.request.urlopen(url, timeout=60) as answer:
        tag, date = answer.headers["ETag"], answer.headers["Last-Modified"]
    for line, value in (("If-None-Match", tag), ("If-Modified-Since", date)):
        request = urllib.request.Request(url, headers={line: value})
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=60)
        with caught.value as error:
            assert (error.code, error.read()) == (304, b"")
    replace(root / name, b"new")
    for line, value in (("If-None-Match", tag), ("If-Modified-Since", date)):
        request = urllib.request.Request(url, headers={line: value})
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert (answer.status, answer.read()) == (200, b"new")


# HEAD


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("page.html", {}),
        *[("page.html", {"Accept-Encoding": coding}) for coding in ("gzip", "br", "zstd", "*")],
        ("page.html", {"Accept-Encoding": "identity;q=0, x;q=1"}),
        ("page.html", {"If-None-Match": "*"}),
        ("page.html", {"If-Match": '"other"'}),
        ("page.html", {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}),
        ("page.html", {"If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}),
        ("page.html", {"Want-Repr-Digest": "sha-256=1"}),
        ("page", {}),
        ("large.bin", {}),
        ("empty.txt", {}),
        ("folder", {}),
        ("folder/", {}),
        ("folder/", {"Accept": "application/json"}),
        ("none", {}),
        ("none", {"Accept": "application/json"}),
        ("a%2fb", {}),
    ],
)
def test_head_says_what_get_would(
    root: Path, client: httpx.Client, path: str, fields: dict[str, str]
) -> None:
    (root / "folder").mkdir()
    for name in ("page.html", "page.html.br", "page.html.zst", "page.html.gz", "empty.txt"):
        (root / name).write_bytes(b"" if name == "empty.txt" else name.encode())
    settle(root)
    head = client.head(path, headers=fields)
    with client.stream("GET", path, headers=fields) as get:
        content = b"".join(get.iter_raw())
    if get.headers.get("etag") != head.headers.get("etag"):  # hashed between the two
        head = client.head(path, headers=fields)
    assert head.content == b""
    assert head.status_code == get.status_code
    assert fields_of(head) == fields_of(get)
    if "content-length" in head.headers:
        assert int(head.headers["content-length"]) == len(content)
    else:
        assert head.status_code == 304 or "transfer-encoding" in head.headers


def fields_of(answer: httpx.Response) -> list[tuple[str, str]]:
    """In their order; without the moment of the answer."""
    return [(name, value) for name, value in answer.headers.multi_items() if name != "date"]
