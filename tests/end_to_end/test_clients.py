"""Real clients: curl, wget and Python's own, one by one and many at the same time."""

from __future__ import annotations

import http.client
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import portico
from tests.end_to_end import serving
from tests.end_to_end.serving import PATIENCE, run
from tests.server.clients import eventually


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clients") / "site"
    (folder / "sub").mkdir(parents=True)
    (folder / "index.html").write_text("<title>Start</title><a href=sub/>Sub</a>")
    (folder / "sub" / "index.html").write_text("<title>Sub</title><a href=data.bin>Data</a>")
    (folder / "sub" / "data.bin").write_bytes(os.urandom(300_000))
    (folder / "hello wörld.txt").write_text("hello")
    (folder / "big.bin").write_bytes(os.urandom(5_000_000))
    return folder


@pytest.fixture(scope="module")
def url(site: Path) -> Iterator[str]:
    with portico.Server(site) as server:
        yield server.url


def curl(*arguments: str, cwd: Path) -> None:
    serving.curl("--fail", "--globoff", *arguments, cwd=cwd)


@pytest.mark.parametrize("version", ["--http1.1", "--http1.0"])
def test_curl_downloads(url: str, site: Path, tmp_path: Path, version: str) -> None:
    curl(version, "-o", "big", f"{url}big.bin", cwd=tmp_path)
    assert (tmp_path / "big").read_bytes() == (site / "big.bin").read_bytes()
    curl(version, "-o", "name", f"{url}hello%20w%C3%B6rld.txt", cwd=tmp_path)
    assert (tmp_path / "name").read_bytes() == b"hello"


def test_curl_uses_one_connection_for_many_requests(url: str, tmp_path: Path) -> None:
    form = "%{http_code} %{num_connects}\n"
    targets = [f"{url}sub/data.bin", f"{url}none", f"{url}sub/", f"{url}big.bin"]
    arguments = [word for target in targets for word in ("--output", os.devnull, target)]
    said = serving.curl("--write-out", form, *arguments, cwd=tmp_path).split()
    assert said == ["200", "1", "404", "0", "200", "0", "200", "0"]


def test_curl_follows_to_a_folder(url: str, tmp_path: Path) -> None:
    said = serving.curl("--location", "--fail", f"{url}sub", cwd=tmp_path)
    assert said.startswith("<title>Sub</title>")


@pytest.mark.parametrize("size", [10, 3_000_000])
@pytest.mark.parametrize(
    "lines", [["Expect:"], ["Expect:", "Transfer-Encoding: chunked"], ["Expect: 100-continue"]]
)
def test_curl_is_told_that_nothing_can_be_uploaded(
    url: str, tmp_path: Path, size: int, lines: list[str]
) -> None:
    """Whether or not the server reads the content to its end, curl understands the answer."""
    (tmp_path / "upload").write_bytes(b"x" * size)
    arguments = [word for line in lines for word in ("--header", line)]
    arguments += ["--data-binary", "@upload", "--output", os.devnull]
    code = serving.curl(*arguments, "--write-out", "%{http_code}", f"{url}sub/", cwd=tmp_path)
    assert code == "405"


def test_many_curls_at_once(url: str, site: Path, tmp_path: Path) -> None:
    arguments = ["--silent", "--parallel", "--output", "#1", f"{url}big.bin?[1-8]"]
    commands = [serving.installed("curl"), *arguments]
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
    processes = [subprocess.Popen(commands, cwd=tmp_path / name) for name in ("one", "other")]
    assert [process.wait(PATIENCE) for process in processes] == [0, 0]
    copies = list(tmp_path.glob("*/*"))
    assert len(copies) == 16
    wanted = (site / "big.bin").read_bytes()
    assert all(copy.read_bytes() == wanted for copy in copies)


def test_curl_that_is_killed_in_the_middle_harms_nobody(url: str, tmp_path: Path) -> None:
    slow = [serving.installed("curl"), "--silent", "--limit-rate", "10000"]
    for number in range(3):
        part = tmp_path / f"part{number}"
        with subprocess.Popen([*slow, "--output", str(part), f"{url}big.bin"]) as process:
            eventually(lambda part=part: part.exists() and part.stat().st_size)  # type: ignore[misc]
            process.kill()
    assert serving.curl("--fail", url, cwd=tmp_path).startswith("<title>Start</title>")


def test_wget_copies_the_site(url: str, site: Path, tmp_path: Path) -> None:
    result = run("wget", "--quiet", "--recursive", url, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    copy = tmp_path / urlsplit(url).netloc
    for name in ("index.html", "sub/index.html", "sub/data.bin"):
        assert (copy / name).read_bytes() == (site / name).read_bytes()


def connection(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    assert parts.hostname is not None
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE)


def test_http_client_keeps_its_connection(url: str, site: Path) -> None:
    client = connection(url)
    client.connect()
    sock = client.sock
    for _ in range(3):
        for method, path, status in [
            ("GET", "/", 200),
            ("HEAD", "/big.bin", 200),
            ("GET", "/none", 404),
            ("POST", "/", 405),
            ("GET", "/sub/data.bin", 200),
        ]:
            client.request(method, path, body=b"content" if method == "POST" else None)
            response = client.getresponse()
            content = response.read()
            assert response.status == status
            if path == "/sub/data.bin":
                assert content == (site / "sub" / "data.bin").read_bytes()
        assert client.sock is sock
    client.close()


def test_http_client_sends_far_too_much(url: str) -> None:
    """All of it, before it reads."""
    client = connection(url)
    client.request("POST", "/", body=b"x" * 1_000_000)
    response = client.getresponse()
    assert response.status == 405
    assert response.getheader("Connection") == "close"
    assert b"405" in response.read()
    client.close()


def test_urllib_reads_pages_and_errors(url: str) -> None:
    with urllib.request.urlopen(url, timeout=PATIENCE) as response:
        assert response.read().startswith(b"<title>Start</title>")
        assert response.headers.get_content_charset() == "utf-8"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{url}none", timeout=PATIENCE)
    with caught.value as error:
        assert error.code == 404
        assert b"404" in error.read()


def test_a_mirror_fetches_each_file_and_each_folder_once(tmp_path: Path) -> None:
    """It follows every link, those in a README as well; orders are not behind links."""
    names = ["a.txt", "README.md", "in/b.txt", "in/deep/c d.txt"]
    for name in names:
        (tmp_path / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / name).write_text("[a](a.txt)")
    with portico.Server(tmp_path / "site") as server:
        result = run("wget", "--mirror", server.url, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (copy,) = tmp_path.glob("127.0.0.1*")
    fetched = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()}
    assert fetched == {*names, "index.html", "in/index.html", "in/deep/index.html"}
