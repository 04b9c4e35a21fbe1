"""Every command in README.md and docs/ is run as it is written, and every piece of Python.

What cannot be run has a comment before its fence, `<!-- not run: why -->`, which is not displayed.
Servers are ended by Ctrl+C when they say that they serve.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.clients import PATIENCE

REPOSITORY = Path(__file__).parent.parent
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
FENCE = re.compile(
    r"(?P<why><!-- not run: [^>]+ -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
UNFENCED = re.compile(r"^    (?:portico|pip|python3|curl) .*", re.MULTILINE)
CHECK_CODES = {0, 1}  # `portico check` exits with 1 if it finds something


def blocks(page: Path, *kinds: str) -> list[str]:
    """Return the texts of a page's fences that are to be run."""
    found = FENCE.finditer(page.read_text(encoding="utf-8"))
    return [match["text"] for match in found if match["kind"] in kinds and not match["why"]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a reader has: a clone, the command `portico`, some folders and a file."""
    for name in ("portico", "examples", "scripts", "share"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    for name in ("site", "public", "dist", "data.zarr", "wasm"):
        shutil.copytree(REPOSITORY / "examples/site", tmp_path / name)
        (tmp_path / name / "HelloWorld.html").unlink()
        (tmp_path / name / "index.html").write_text("<!doctype html><title>Hi</title>" * 20)
        (tmp_path / name / "about.html").write_text("<!doctype html><title>About</title>")
    (tmp_path / "film.mp4").write_bytes(bytes(5000))
    commands = tmp_path / "bin"
    commands.mkdir()
    (tmp_path / "shared").mkdir()
    for name, command in {"portico": "-m portico", "python3": ""}.items():
        script = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {command} "$@"\n'
        (commands / name).write_text(script)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("BROWSER", "true %s")
    return tmp_path


def run(line: str, cwd: Path) -> None:
    """Run a line of shell; if it becomes a server, end it as a user does."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        ["bash", "-c", line],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=pipe,
        text=True,
        start_new_session=True,
    ) as popen:
        assert popen.stderr is not None
        said = ""
        for text in popen.stderr:
            said += text
            if "Press Ctrl+C" in text:
                os.killpg(popen.pid, signal.SIGINT)
        code = popen.wait(PATIENCE)
    if " is in use; " in said:
        pytest.skip(f"{line}: {said}")
    if "Press Ctrl+C" in said:
        assert "Stopped after 0 requests" in said
    else:
        assert code in (CHECK_CODES if " check " in line else {0}), f"{line}: {said}"


# Its own test runs that page from beginning to end: see end_to_end/test_uploads_page.py.
@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "uploads.md"], ids=lambda page: page.name
)
def test_commands_work_as_they_are_written(page: Path, here: Path) -> None:
    for block in blocks(page, "sh"):
        for line in block.splitlines():
            run(line, here)
    for block in blocks(page, "console"):
        for line in block.splitlines():
            if line.startswith("$ "):
                run(line.removeprefix("$ "), here)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_works_as_it_is_written(page: Path, here: Path) -> None:
    for block in blocks(page, "python"):
        (here / "test_it.py").write_text(block)
        is_test = "\ndef test_" in block
        runner = ["-m", "pytest", "-q", "-p", "portico.pytest_plugin"] if is_test else []
        command = [sys.executable, *runner, "test_it.py"]
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_command_hides_outside_of_a_fence(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    assert UNFENCED.findall(text) == []


def test_nobody_is_told_to_install_the_package_of_somebody_else() -> None:
    wrong = re.compile(r"(?:pip install|pipx run|uvx)[^\n]*?[ '\"]portico(?![-./\w])")
    sources = [
        path
        for folder in ("portico", "docs", "scripts", "share")
        for path in (REPOSITORY / folder).rglob("*")
        if path.suffix in {".py", ".md", ".1", ".bash", ".fish"}
    ]
    for path in (REPOSITORY / "README.md", *sources):
        assert wrong.search(path.read_text(encoding="utf-8")) is None, path
