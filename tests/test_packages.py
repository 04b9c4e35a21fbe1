"""What is handed out: one file that any Python runs, and a wheel with commands and a plugin."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from portico import __version__
from scripts.make_pyz import make
from tests.server.processes.supervised import Supervised

REPOSITORY = Path(__file__).parent.parent

PLUGIN_TEST = """
import portico, urllib.request

def test_download(portico_server, tmp_path):
    (tmp_path / "data.json").write_text("{}")
    assert urllib.request.urlopen(portico_server.url + "data.json").read() == b"{}"
    assert repr(portico_server).endswith(f"at {portico_server.url}>")
    assert "Server" in dir(portico)
"""


def run(*command: str, cwd: Path, **environ: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Archive(Supervised):
    """The command, started from the single file."""

    command = (sys.executable, "portico.pyz")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_single_file_serves(tmp_path: Path, workers: str) -> None:
    make(tmp_path / "portico.pyz")
    site = tmp_path / "site"
    site.mkdir()
    (site / "page.html").write_text("<p>Hello")
    options = ("site", "--port", "0", "--workers", workers)
    with Archive(tmp_path, *options, environ={"PYTHONPATH": ""}).start() as portico:
        assert portico.content("/page.html") == b"<p>Hello"
        (site / "_redirects").write_text("/page /page.html 200")  # read by a module that comes late
        assert portico.content("/page") == b"<p>Hello"
        assert portico.end() == 0


def test_the_wheel_brings_commands_plugin_and_completion(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
    build = ("wheel", "--no-deps", "--no-index", "--no-build-isolation", str(REPOSITORY))
    run(*pip, *build, cwd=tmp_path)
    (wheel,) = tmp_path.glob("portico_server-*.whl")
    metadata = zipfile.ZipFile(wheel).read(f"portico_server-{__version__}.dist-info/METADATA")
    assert b"\nName: portico-server\n" in metadata
    target = tmp_path / "installed"
    run(*pip, "install", "--no-deps", "--no-index", "-t", str(target), str(wheel), cwd=tmp_path)
    for command in ("portico", "portico-server"):
        path = str(target / "bin" / command)
        assert run(path, "--version", cwd=tmp_path, PYTHONPATH=str(target)).endswith(
            __version__ + "\n"
        )
    assert (target / "share/man/man1/portico.1").exists()
    (tmp_path / "test_it.py").write_text(PLUGIN_TEST)
    told = run(
        sys.executable, "-m", "pytest", "-q", "test_it.py", cwd=tmp_path, PYTHONPATH=str(target)
    )
    assert "1 passed" in told
