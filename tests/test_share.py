"""share/: completion and man page are those of the options as they are now, and can be read."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from scripts.make_share import FILES, FOLDER

COMPLETE = """
source "$1"; shift
COMP_WORDS=(portico "$@"); COMP_CWORD=$#
_portico; printf '%s\\n' "${COMPREPLY[@]}"
"""


def run(*command: str, cwd: Path = FOLDER) -> list[str]:
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} on this machine")
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_current(name: str) -> None:
    """If this fails: python3 scripts/make_share.py."""
    assert (FOLDER / name).read_text() == FILES[name]()


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["--po"], ["--port"]),
        (["--log-format", "c"], ["common", "combined"]),
        (["site", "--no-li"], ["--no-listing"]),
        (["check", "--str"], ["--strict"]),
        (["check", "--po"], [""]),
        (["che"], ["check", "cherries"]),
        (["--config", "che"], [""]),  # then bash itself completes files
    ],
)
def test_bash_completes(words: list[str], completed: list[str], tmp_path: Path) -> None:
    (tmp_path / "cherries").mkdir()
    script = str(FOLDER / "portico.bash")
    assert run("bash", "-c", COMPLETE, "bash", script, *words, cwd=tmp_path) == completed


def test_fish_completes() -> None:
    lines = run("fish", "-c", "source portico.fish; complete -C 'portico check --str'")
    assert [line.split("\t")[0] for line in lines] == ["--strict"]


def test_zsh_and_man_read_their_files() -> None:
    run("zsh", "-n", "_portico")
    assert any("--[no-]listing" in line for line in run("man", "-l", "portico.1"))
