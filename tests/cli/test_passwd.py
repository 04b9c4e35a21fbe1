"""`portico passwd`: lines for the file of users."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import pytest

from portico.cli.main import main
from portico.site import users


@pytest.fixture(autouse=True)
def _is_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "_LN", 4)
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\n"))


def test_a_line_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["passwd", "alice"]) == 0
    name, _, hashed = capsys.readouterr().out.strip().partition(":")
    assert name == "alice"
    assert users.verify("correct horse", hashed)


def test_a_line_in_a_file_takes_the_place_of_the_last(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text("# who\nbob:$token$" + "0" * 64 + "\nalice:old\nalice:$token$" + "1" * 64)
    assert main(["passwd", "alice", "--file", str(file)]) == 0
    assert file.stat().st_mode & 0o777 == 0o600
    hashes, tokens, mistakes = users.read_users(str(file))
    assert (list(hashes), sorted(tokens.values()), mistakes) == (["alice"], ["alice", "bob"], [])
    assert [path.name for path in tmp_path.iterdir()] == ["users"]


@pytest.mark.parametrize(("mode", "later"), [(0o640, 0o640), (0o644, 0o600), (0o600, 0o600)])
def test_whom_the_file_is_for_may_still_read_it(tmp_path: Path, mode: int, later: int) -> None:
    """The server may be another user than the one who runs the command."""
    file = tmp_path / "users"
    file.touch()
    file.chmod(mode)
    if os.geteuid() == 0:
        os.chown(file, 1, 2)
    before = file.stat()
    assert main(["passwd", "alice", "--file", str(file)]) == 0
    now = file.stat()
    assert (now.st_uid, now.st_gid) == (before.st_uid, before.st_gid)
    assert now.st_mode & 0o777 == later


def test_a_token_is_shown_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "users"
    assert main(["passwd", "--token", "robot", "--file", str(file)]) == 0
    token = re.search(r"^    (\S{43})$", capsys.readouterr().err, re.MULTILINE)
    assert token is not None
    assert token[1] not in file.read_text()
    assert file.read_text() == f"robot:{users.hash_token(token[1])}\n"


@pytest.mark.parametrize(
    ("arguments", "stdin", "problem"),
    [
        (["a:b"], "correct horse\n", "cannot be the name"),
        (["users"], "correct horse\n", "cannot be the name"),
        (["alice"], "short\n", "at least 8"),
        (["alice"], "", "at least 8"),
        (["alice", "--file", "/none/users"], "correct horse\n", "cannot be written"),
    ],
)
def test_mistakes(
    arguments: list[str], stdin: str, problem: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
    assert main(["passwd", *arguments]) == 2
    assert problem in capsys.readouterr().err
