"""A site written from a dictionary, and what `portico check` finds on it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from portico.cli.check.command import run


@dataclass(frozen=True)
class Found:
    """A finding as --json shows it."""

    kind: str
    path: str
    line: int | None
    what: str
    cure: str
    count: int
    also: list[dict[str, object]]


def write(root: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files below `root`, by path."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def output(*argv: str, encoding: str = "utf-8") -> tuple[int, str]:
    """The exit code of a run, and what it has written in an encoding."""
    written = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    with redirect_stdout(written):
        code = run(argv)
    written.seek(0)
    return code, written.read()


def check(root: Path, *options: str) -> list[Found]:
    """The findings on the site in `root`."""
    code, text = output(str(root), "--json", *options)
    report = json.loads(text)
    found = [Found(**each) for each in report["findings"]]
    assert code == bool(found)
    assert sum(report["counts"].values()) == len(found)
    return found


def places(found: list[Found], kind: str) -> list[tuple[str, int | None]]:
    """Where findings of one kind are; there must be no others."""
    assert {each.kind for each in found} <= {kind}
    return [(each.path, each.line) for each in found]
