"""`portico check` as a command: its lines, its JSON, its exit codes, its bounds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from portico.cli.check.findings import KINDS, LOCATIONS_LIMIT, Findings, Places
from portico.cli.main import main
from tests.cli.check.checking import check, output, write


@pytest.fixture
def site(tmp_path: Path) -> Path:
    write(
        tmp_path / "site",
        {
            "index.html": "<p>\n<a href=none>\n<a href=/none><a href=none2>",
            "about.html": '<a href="none">',
            ".env": "KEY=x",
            "a.xyz": "x",
            "sub/b.xyz": "x",
        },
    )
    return tmp_path / "site"


def test_one_line_for_each_finding_and_a_sum(site: Path) -> None:
    code, text = output(str(site))
    assert code == 1
    heads = [line.partition(":")[0] for line in text.split("\n") if line and line[0] != " "]
    assert heads == ["secret", "type", "link", "4 findings in 5 files"]
    lines = [line for line in text.split("\n") if line.startswith("  ")]
    assert [line.split(": ")[0].strip() for line in lines] == [
        *(".env", "a.xyz", "about.html:1", "index.html:3")
    ]
    assert lines[1].endswith("Also in sub/b.xyz.")
    assert lines[2].endswith("Also in index.html:2, index.html:3.")
    assert text.endswith("4 findings in 5 files: 1 secret, 1 type, 2 link.\n")


def test_many_places_are_summed_up(tmp_path: Path) -> None:
    write(tmp_path, {f"{number:03}.xyz": "x" for number in range(100)})
    found = check(tmp_path)
    assert len(found) == 1
    assert (found[0].count, len(found[0].also)) == (100, LOCATIONS_LIMIT)
    code, text = output(str(tmp_path))
    assert code == 1
    assert "Also in 001.xyz, 002.xyz, 003.xyz and 96 more.\n" in text


def test_json_has_a_fixed_shape(site: Path) -> None:
    code, text = output(str(site), "--json")
    report = json.loads(text)
    assert code == 1
    assert list(report) == ["root", "files", "counts", "findings"]
    assert (report["root"], report["files"]) == (str(site), 5)
    assert report["counts"] == {"secret": 1, "type": 1, "link": 2}
    for finding in report["findings"]:
        assert list(finding) == ["kind", "path", "line", "what", "cure", "count", "also"]
        assert finding["kind"] in KINDS
    assert report["findings"][2]["line"] == 1
    assert report["findings"][2]["also"] == [{"path": "index.html", "line": n} for n in (2, 3)]


def test_kinds_can_be_ignored(site: Path) -> None:
    assert {each.kind for each in check(site, "--ignore", "link", "--ignore=type")} == {"secret"}
    every = [word for kind in KINDS for word in ("--ignore", kind)]
    assert check(site, *every) == []


def test_colour_is_for_those_who_want_it(site: Path) -> None:
    assert "\x1b[" not in output(str(site))[1]
    assert "\x1b[" in output(str(site), "--color", "always")[1]
    assert "\x1b[" not in output(str(site), "--color", "always", "--json")[1]


def test_the_process_says_the_same(site: Path) -> None:
    command = [sys.executable, "-m", "portico", "check", str(site)]
    found = subprocess.run(command, capture_output=True, check=False, text=True, timeout=120)
    assert (found.returncode, found.stdout, found.stderr) == (*output(str(site)), "")


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--strct"], "--strct"),
        (["a", "b"], "unexpected argument: 'b'"),
        (["--ignore", "links"], "invalid choice: 'links'"),
        (["none-here"], "no such folder: 'none-here'"),
        (["--color", "pink"], "--color"),
    ],
)
def test_misuse_is_one_clear_line(
    argv: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("portico: error: ")
    assert complaint in err


def test_help_lists_the_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--help"]) == 0
    text = capsys.readouterr().out
    for kind, meaning in KINDS.items():
        assert f"  {kind} " in text
        assert meaning in text
    assert max(map(len, text.split("\n"))) < 80


def test_the_page_about_it_names_every_kind() -> None:
    page = Path(__file__).parents[3] / "docs" / "check.md"
    text = page.read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f"\n### {kind}\n" not in text] == []


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_that_no_terminal_can_show(tmp_path: Path, encoding: str) -> None:
    for name in (b"\xff\x1b[2J.txt", "\u6d77.bak".encode()):
        (tmp_path / os.fsdecode(name)).write_bytes(b"")
    assert "\x1b" not in output(str(tmp_path), encoding=encoding)[1]
    report = json.loads(output(str(tmp_path), "--json", encoding=encoding)[1])
    assert {each["kind"] for each in report["findings"]} == {"name", "secret"}


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    write(tmp_path, {f"{number}.bak": "x" for number in range(300)})
    command = [sys.executable, "-m", "portico", "check", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(120) == 1


def test_what_says_the_same_is_one_finding_with_bounded_places() -> None:
    findings = Findings(ignored=["case"])
    for number in range(100, 0, -1):
        findings.add("link", Places("page", number), "the same", "cure")
        findings.add("secret", Places(f"{number:03}"), "the same", "cure")
        findings.add("case", Places("page", number), "ignored", "cure")
    found = findings.by_kind()
    assert list(found) == ["secret", "link"]
    assert [each.places.kept for each in found["secret"]] == [
        [(f"{n:03}", 0)] for n in range(1, 101)
    ]
    (link,) = found["link"]
    assert (link.places.count, len(link.places.kept)) == (100, LOCATIONS_LIMIT + 1)
