"""Files sent by real clients: whole, as a form, and in parts that are gone on with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from portico.site.uploads.parts import FOLDER
from tests.end_to_end.serving import Logged, installed, run
from tests.server.clients import eventually

SIZE = 3_000_000
LARGE = 40_000_000
CURL = ("curl", "--disable", "--silent", "--show-error", "--fail")
COMMANDS = {
    "curl -T": (*CURL, "-T", "new.bin", "{url}"),
    "curl -T -": (*CURL, "--no-progress-meter", "-T", "/dev/stdin", "{url}new.bin"),
    "curl -F": (*CURL, "-F", "file=@new.bin", "{url}"),
    "wget": ("wget", "-O", "said", "--method=PUT", "--body-file=new.bin", "{url}new.bin"),
}
LIBRARIES = {"httpx": "content", "requests": "data"}
"""Each with the name of the argument that takes content."""
TUSPY = """\
import sys
from tusclient.client import TusClient
endpoint, name, *url = sys.argv[1:]
upload = TusClient(endpoint).uploader(
    name, chunk_size=1_000_000, metadata={"filename": name}, url=url[0] if url else None
)
assert upload.offset == (1_000_000 if url else 0), upload.offset
upload.upload() if url else upload.upload_chunk()
print(upload.url)
"""
TUS_JS = """\
const tus = require("tus-js-client"), fs = require("fs");
const [url, name, size] = process.argv.slice(1);
const begin = (more) => {
  const upload = new tus.Upload(fs.createReadStream(name), {
    endpoint: url, uploadSize: Number(size), chunkSize: 1 << 20, metadata: { filename: name },
    onError: (error) => { console.error(error); process.exit(1); }, ...more,
  });
  upload.start();
  return upload;
};
const first = begin({
  onChunkComplete: async () => {
    await first.abort();
    begin({ uploadUrl: first.url, onSuccess: () => process.exit(0) });
  },
});
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("uploads") / "site"
    site.mkdir()
    return site


@pytest.fixture(scope="module")
def logged(site: Path) -> Iterator[Logged]:
    with Logged(site, site.parent, "--allow", "write") as server:
        yield server


@pytest.fixture
def root(site: Path) -> Path:
    """A folder for each test."""
    root = site / uuid.uuid4().hex
    root.mkdir()
    return root


@pytest.fixture
def url(logged: Logged, root: Path) -> str:
    """The URL of that folder."""
    return f"{logged.url}{root.name}/"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Where clients are at home, with a file to send."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "new.bin").write_bytes(os.urandom(SIZE))
    return here


@pytest.mark.parametrize("client", COMMANDS)
def test_a_command_stores_and_replaces(url: str, root: Path, here: Path, client: str) -> None:
    if client == "curl -F":
        pytest.importorskip("multipart")
    for _ in range(2):
        content = os.urandom(SIZE)
        (here / "new.bin").write_bytes(content)
        first, *rest = (word.format(url=url) for word in COMMANDS[client])
        with (here / "new.bin").open("rb") as file:
            subprocess.run([installed(first), *rest], cwd=here, stdin=file, check=True, timeout=60)
        assert (root / "new.bin").read_bytes() == content


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_stores_and_replaces(url: str, root: Path, here: Path, name: str) -> None:
    library: Any = pytest.importorskip(name)
    path, file_url = here / "new.bin", f"{url}new.bin"
    assert library.put(file_url, **{LIBRARIES[name]: path.read_bytes()}).status_code == 201
    with path.open("rb") as file:
        assert library.post(url, files={"f": ("other.bin", file)}).status_code == 201
    tag = library.head(file_url).headers["ETag"]
    for status in (204, 412):
        newer = {LIBRARIES[name]: b"newer", "headers": {"If-Match": tag}}
        assert library.put(file_url, **newer).status_code == status
    assert (root / "new.bin").read_bytes() == b"newer"
    assert (root / "other.bin").read_bytes() == path.read_bytes()


def test_tuspy_goes_on_in_another_process(url: str, root: Path, here: Path) -> None:
    pytest.importorskip("tusclient")
    first = [sys.executable, "-c", TUSPY, url, "new.bin"]
    begun = subprocess.check_output(first, cwd=here, text=True, timeout=60).strip()
    assert not (root / "new.bin").exists()
    subprocess.run([*first, begun], cwd=here, check=True, timeout=60)
    assert (root / "new.bin").read_bytes() == (here / "new.bin").read_bytes()


def test_tus_js_client_goes_on(url: str, root: Path, here: Path) -> None:
    """Skipped without `npm install -g tus-js-client`, wherever it runs."""
    npm = shutil.which("npm")
    modules = run(npm, "root", "-g").stdout.strip() if npm else ""
    if not Path(modules, "tus-js-client").is_dir():
        pytest.skip("there is no tus-js-client on this machine")
    command = [installed("node"), "-e", TUS_JS, "--", url, "new.bin", str(SIZE)]
    subprocess.run(
        command, cwd=here, env={**os.environ, "NODE_PATH": modules}, check=True, timeout=60
    )
    assert (root / "new.bin").read_bytes() == (here / "new.bin").read_bytes()


def test_curl_goes_on_by_hand_after_it_was_killed(
    logged: Logged, url: str, site: Path, root: Path, here: Path
) -> None:
    """The draft's way, by its own fields; the first curl learns the URL from a 104."""
    content = os.urandom(LARGE)
    (here / "new.bin").write_bytes(content)
    command = [
        installed("curl"), "--disable", "--silent", "--limit-rate", "20M", "-D", "head",
        "-H", "Upload-Complete: ?1", "-H", "Upload-Draft-Interop-Version: 8",
        "-T", "new.bin", url,
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=here) as first:
        stored = site.joinpath(*FOLDER)
        eventually(lambda: any(path.stat().st_size > 1 << 20 for path in stored.glob("?" * 32)))
        first.kill()
    assert not (root / "new.bin").exists()
    (found,) = re.findall(r"(?i)^location: (\S+)", (here / "head").read_text(), re.MULTILINE)
    upload = logged.url.rstrip("/") + found
    head = run(*CURL, "-I", upload, cwd=here).stdout
    (offset,) = map(int, re.findall(r"(?i)^upload-offset: (\d+)", head, re.MULTILINE))
    (here / "rest.bin").write_bytes(content[offset:])
    done = run(
        *CURL, "-X", "PATCH", "-T", "rest.bin", "-H", f"Upload-Offset: {offset}",
        "-H", "Upload-Complete: ?1", "-H", "Content-Type: application/partial-upload", upload,
        cwd=here,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (root / "new.bin").read_bytes() == content


def test_litmus_finds_nothing_but_that_this_is_no_webdav_server(url: str, here: Path) -> None:
    """Its suites `basic` and `http`; only WebDAV servers have the field DAV (RFC 4918, 10.1)."""
    installed("litmus")
    failed = []
    for suite in ("basic", "http"):
        said = run("env", f"TESTS={suite}", "litmus", "-k", url, cwd=here).stdout
        assert f"<- summary for `{suite}'" in said, said
        failed += re.findall(r"(\w+)\.* FAIL \((.*)\)", said)
        run("curl", "-X", "DELETE", f"{url}litmus/", cwd=here)
    assert failed == [("options", "server does not claim WebDAV compliance")]
