"""Programs that ask in ways of their own: package managers, data readers, players, game exports.

docs/clients.md is the table of them. Each fetches something that it can use only if it is right.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import brotli
import pytest

from tests.end_to_end.browsing import Tab
from tests.end_to_end.serving import Logged, installed, run, settle

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TEXT = "".join(f"Zeile {number}: Grüezi, schöne Säule!\n" for number in range(5000)).encode()
ODD = "Grüße.txt"
WASM = b"\0asm\1\0\0\0\1\5\1\x60\0\1\x7f\3\2\1\0\7\x0a\1\6answer\0\0\x0a\6\1\4\0\x41\x2a\x0b"
"""A module with one function, `answer`, which returns 42."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs") / "site"


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Logged]:
    """With a text beside its compressed copy, and a name beyond ASCII."""
    (root / "in").mkdir(parents=True)
    (root / "text.txt").write_bytes(TEXT)
    (root / "text.txt.gz").write_bytes(gzip.compress(TEXT))
    (root / "in" / ODD).write_bytes(TEXT)
    settle(*root.iterdir())
    with Logged(root, root.parent, "--hidden") as server:
        yield server


def large(name: str) -> pytest.MarkDecorator:
    """Skip the test where this program is not installed, which would take minutes."""
    return pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed")


def succeeds(*command: str, cwd: Path) -> str:
    result = run(*command, cwd=cwd)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_apt_installs_from_a_flat_repository(server: Logged, root: Path, here: Path) -> None:
    """It asks for `/apt/./InRelease`, `/apt/./Packages.xz` and so on until it finds one."""
    installed("apt-get")
    control = "Package: tiny\nVersion: 1.0\nArchitecture: all\nMaintainer: A <a@a.example>\n"
    (here / "tiny/DEBIAN").mkdir(parents=True)
    (here / "tiny/DEBIAN/control").write_text(f"{control}Description: tiny\n")
    (root / "apt").mkdir()
    succeeds("dpkg-deb", "--root-owner-group", "--build", "tiny", str(root / "apt"), cwd=here)
    package = root / "apt/tiny_1.0_all.deb"
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    (root / "apt/Packages").write_text(
        f"{control}Filename: ./{package.name}\nSize: {package.stat().st_size}\n"
        f"SHA256: {digest}\nDescription: tiny\n"
    )
    for name in ("lists/partial", "archives/partial", "parts"):
        (here / name).mkdir(parents=True)
    (here / "status").write_text("")
    (here / "sources.list").write_text(f"deb [trusted=yes] {server.url}apt ./\n")
    (here / "apt.conf").write_text(
        f'Dir "{here}"; Dir::Etc "{here}"; Dir::Etc::Parts "parts"; Dir::Etc::SourceParts "parts";'
        f'Dir::State "{here}"; Dir::State::Status "{here}/status"; Dir::Cache "{here}";'
        'APT::Sandbox::User ""; Acquire::Languages "none"; Acquire::http::Proxy "DIRECT";'
        'Debug::NoLocking "true";\n'
    )
    apt = ("env", f"APT_CONFIG={here / 'apt.conf'}", "apt-get", "--quiet", "--yes")
    succeeds(*apt, "--error-on=any", "update", cwd=here)
    succeeds(*apt, "--download-only", "install", "tiny", cwd=here)
    assert (here / "archives" / package.name).read_bytes() == package.read_bytes()


@large("npm")
def test_npm_installs_a_scoped_package(server: Logged, root: Path, here: Path) -> None:
    """It asks for `/npm/@scope%2ftiny`."""
    description = {"name": "@scope/tiny", "version": "1.0.0"}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("package/package.json")
        octets = json.dumps(description).encode()
        entry.size = len(octets)
        archive.addfile(entry, io.BytesIO(octets))
    (root / "npm/@scope").mkdir(parents=True)
    (root / "npm/tiny.tgz").write_bytes(packed.getvalue())
    dist = {
        "tarball": f"{server.url}npm/tiny.tgz",
        "shasum": hashlib.sha1(packed.getvalue(), usedforsecurity=False).hexdigest(),
    }
    document = {
        "name": "@scope/tiny",
        "dist-tags": {"latest": "1.0.0"},
        "versions": {"1.0.0": {**description, "dist": dist}},
    }
    (root / "npm/@scope/tiny").write_text(json.dumps(document))
    options = ["--no-audit", "--no-fund", f"--cache={here / 'cache'}", "--prefix=."]
    options += ["--userconfig=/dev/null", "--noproxy=127.0.0.1", "--no-update-notifier"]
    succeeds("npm", "install", "@scope/tiny", f"--registry={server.url}npm", *options, cwd=here)
    assert json.loads((here / "node_modules/@scope/tiny/package.json").read_text()) == description


def requests_part(url: str) -> bytes:
    requests = pytest.importorskip("requests")
    response = requests.get(url, headers={"Range": "bytes=10-29"}, timeout=60)
    assert response.status_code == 206
    return bytes(response.content)


def httpx_part(url: str) -> bytes:
    httpx = pytest.importorskip("httpx")
    response = httpx.get(url, headers={"Range": "bytes=10-29"}, trust_env=False)
    assert response.status_code == 206
    return bytes(response.content)


def fsspec_part(url: str) -> bytes:
    fsspec = pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    with fsspec.open(url, block_size=1000) as file:
        file.seek(10)
        return bytes(file.read(20))


@pytest.mark.parametrize("part", [requests_part, httpx_part, fsspec_part])
def test_a_library_that_takes_gzip_reads_a_part(
    server: Logged, part: Callable[[str], bytes]
) -> None:
    assert part(f"{server.url}text.txt") == TEXT[10:30]


def test_a_zarr_store_is_read(server: Logged, root: Path) -> None:
    """Its metadata are dotfiles in the second version of the format."""
    zarr = pytest.importorskip("zarr")
    numpy = pytest.importorskip("numpy")
    pytest.importorskip("aiohttp")
    values = numpy.arange(10_000).reshape(100, 100)
    made = zarr.open_array(
        str(root / "data.zarr"),
        mode="w",
        shape=(100, 100),
        chunks=(10, 10),
        dtype="i8",
        zarr_format=2,
    )
    made[:] = values
    assert (root / "data.zarr/.zarray").exists()
    far = zarr.open_array(f"{server.url}data.zarr", mode="r")
    assert numpy.array_equal(far[25:75, 3:9], values[25:75, 3:9])


def test_busybox_sends_names_as_they_are(server: Logged, here: Path) -> None:
    succeeds("busybox", "wget", "-q", "-O", "out", f"{server.url}in/{ODD}", cwd=here)
    assert (here / "out").read_bytes() == TEXT


def test_lftp_mirrors_and_gets(server: Logged, here: Path) -> None:
    commands = f"open {server.url}; mirror in copy; get 'in/{ODD}' -o out"
    succeeds("lftp", "--norc", "-c", commands, cwd=here)
    assert [path.name for path in (here / "copy").iterdir()] == [ODD]
    assert (here / "copy" / ODD).read_bytes() == (here / "out").read_bytes() == TEXT


JAVA = """
class Get {
  public static void main(String[] arguments) throws Exception {
    for (var url : new String[] {URLS}) {
      var connection = (java.net.HttpURLConnection) new java.net.URL(url).openConnection();
      System.out.write(connection.getInputStream().readAllBytes());
    }
    System.out.flush();
  }
}
"""


@large("javac")
def test_java_sends_names_as_they_are(server: Logged, here: Path) -> None:
    """And it follows redirects that are relative."""
    urls = json.dumps([f"{server.url}in/{ODD}", f"{server.url}in"])[1:-1]
    (here / "Get.java").write_text(JAVA.replace("URLS", urls))
    java = ("java", "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8")
    said = succeeds(*java, "Get.java", cwd=here)
    assert said.startswith(TEXT.decode())
    assert said.rstrip().endswith("</html>")


@large("ffmpeg")
def test_ffmpeg_seeks(server: Logged, root: Path, here: Path) -> None:
    """It fetches a part to know where what it wants is, and gets the picture that is there."""
    quiet = ("ffmpeg", "-loglevel", "error")
    make = ["-f", "lavfi", "-i", "testsrc=duration=30:size=320x240:rate=10", "-c:v", "mpeg4"]
    succeeds(*quiet, *make, "-q:v", "1", str(root / "film.mp4"), cwd=here)
    server.news()
    for place in (f"{root}/", server.url):
        picture = f"{len(place)}.png"
        see = ["-ss", "25", "-i", f"{place}film.mp4", "-frames:v", "1", picture]
        succeeds(*quiet, *see, cwd=here)
    assert 206 in server.statuses()
    near, far = here.glob("*.png")
    assert near.read_bytes() == far.read_bytes()


GAME = """<!doctype html><title>Game</title><link rel=icon href=data:,><p>loading</p>
<script>
(async () => {
  const data = await (await fetch("Build/game.data.br")).text();
  const {instance} = await WebAssembly.instantiateStreaming(fetch("Build/game.wasm.gz"));
  document.querySelector("p").textContent = `${data} ${instance.exports.answer()}`;
})().catch(error => { document.querySelector("p").textContent = `failed: ${error}`; });
</script>
"""


@pytest.mark.browser
def test_a_game_that_was_exported_compressed_runs(tmp_path: Path, browser: Browser) -> None:
    """Its loader asks for compressed files by their full names, and the browser decodes them."""
    game = tmp_path / "game"
    (game / "Build").mkdir(parents=True)
    (game / "index.html").write_text(GAME)
    (game / "Build/game.data.br").write_bytes(brotli.compress(b"ready"))
    (game / "Build/game.wasm.gz").write_bytes(gzip.compress(WASM))
    (game / "_headers").write_text(
        "/Build/*.br\n  Content-Encoding: br\n/Build/*.gz\n  Content-Encoding: gzip\n"
    )
    with Logged(game, tmp_path) as server, browser.new_context() as context:
        tab = Tab(context.new_page())
        tab.open(server.url)
        tab.page.get_by_text("42").wait_for()
        assert tab.page.locator("p").text_content() == "ready 42"
    assert tab.errors == []
