"""Real clients: curl, wget and Python's own, one by one and many at the same time."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import portico

PATIENCE = 60


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


def run(*command: str) -> subprocess.CompletedProcess[bytes]:
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} on this machine")
    return subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE)


def curl(*arguments: str) -> bytes:
    result = run("curl", "--silent", "--show-error", "--globoff", *arguments)
    assert (result.returncode, result.stderr) == (0, b"")
    return result.stdout


@pytest.mark.parametrize("version", ["--http1.1", "--http1.0"])
def test_curl_downloads(url: str, site: Path, version: str) -> None:
    wanted = (site / "big.bin").read_bytes()
    assert curl(version, "--fail", f"{url}big.bin") == wanted
    assert curl(version, "--fail", f"{url}hello%20w%C3%B6rld.txt") == b"hello"


def test_curl_uses_one_connection_for_many_requests(url: str) -> None:
    form = "%{http_code} %{num_connects}\n"
    targets = [f"{url}sub/data.bin", f"{url}none", f"{url}sub/", f"{url}big.bin"]
    arguments = [word for target in targets for word in ("--output", os.devnull, target)]
    said = curl("--write-out", form, *arguments).decode().split()
    assert said == ["200", "1", "404", "0", "200", "0", "200", "0"]


def test_curl_asks_for_the_head(url: str) -> None:
    head = curl("--head", f"{url}sub/data.bin").decode()
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert "content-length: 300000\r\n" in head.lower()
    assert head.endswith("\r\n\r\n")


def test_curl_follows_to_a_folder(url: str) -> None:
    assert curl("--location", "--fail", f"{url}sub").startswith(b"<title>Sub</title>")


@pytest.mark.parametrize("size", [10, 60_000, 3_000_000])
@pytest.mark.parametrize("way", ["length", "chunked", "expect"])
def test_curl_is_told_that_nothing_can_be_uploaded(
    url: str, tmp_path: Path, size: int, way: str
) -> None:
    """Whatever it sends, it understands the answer; also with a content that is not read."""
    (tmp_path / "upload").write_bytes(b"x" * size)
    expect = "Expect: 100-continue" if way == "expect" else "Expect:"
    lines = ["--header", expect]
    if way == "chunked":
        lines += ["--header", "Transfer-Encoding: chunked"]
    upload = ["--data-binary", f"@{tmp_path / 'upload'}"]
    code = ["--output", os.devnull, "--write-out", "%{http_code}"]
    assert curl(*lines, *upload, *code, f"{url}sub/") == b"405"


def test_many_curls_at_once(url: str, site: Path) -> None:
    wanted = hashlib.sha256((site / "big.bin").read_bytes()).hexdigest()
    arguments = [f"{url}big.bin?[1-20]", "--parallel", "--parallel-max", "20"]
    result = run("curl", "--silent", "--show-error", "--fail", *arguments)
    if b"unknown" in result.stderr:
        pytest.skip("this curl does nothing in parallel")
    assert result.returncode == 0
    assert len(result.stdout) == 20 * 5_000_000
    processes = [
        subprocess.Popen(["curl", "--silent", f"{url}big.bin"], stdout=subprocess.PIPE)
        for _ in range(8)
    ]
    for process in processes:
        out, _ = process.communicate(timeout=PATIENCE)
        assert hashlib.sha256(out).hexdigest() == wanted


def test_curl_that_is_killed_in_the_middle_harms_nobody(url: str) -> None:
    for _ in range(5):
        slow = [
            "curl",
            "--silent",
            "--limit-rate",
            "10000",
            "--output",
            os.devnull,
            f"{url}big.bin",
        ]
        if shutil.which("curl") is None:
            pytest.skip("there is no curl on this machine")
        with subprocess.Popen(slow) as process:
            process.kill()
    assert curl("--fail", url).startswith(b"<title>Start</title>")


def test_wget_copies_the_site(url: str, site: Path, tmp_path: Path) -> None:
    result = run("wget", "--quiet", "--recursive", f"--directory-prefix={tmp_path}", url)
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
    for _ in range(10):
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


def test_many_http_clients_at_once(url: str, site: Path) -> None:
    wanted = (site / "sub" / "data.bin").read_bytes()
    exact: list[bool] = []

    def visit() -> None:
        client = connection(url)
        for _ in range(10):
            client.request("GET", "/sub/data.bin")
            exact.append(client.getresponse().read() == wanted)
        client.close()

    threads = [threading.Thread(target=visit) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert exact == [True] * 200
