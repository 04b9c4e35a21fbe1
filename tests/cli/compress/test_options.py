"""`portico compress` on the command line: its options, what it tells, and how it refuses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from portico.cli.main import main
from portico.site.compression.encoders import SUFFIXES
from tests.cli.compress.compressing import compress, decoded, names, put, states, text


def test_only_the_codings_that_were_asked_for(tmp_path: Path) -> None:
    put(tmp_path, "app.js")
    assert compress(tmp_path, "--coding", "gzip, br") == 0
    assert names(tmp_path) == {"app.js", "app.js.br", "app.js.gz"}
    assert compress(tmp_path, "--coding", "zstd", "--coding", "gzip") == 0
    assert len(names(tmp_path)) == 4


def test_a_dry_run_tells_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "a/new\nline.js")
    put(tmp_path, os.fsdecode(b"bad-\xff.js"))
    before = states(tmp_path)
    assert compress(tmp_path, "--dry-run", "--coding", "gzip") == 0
    assert states(tmp_path) == before
    out = capsys.readouterr().out.splitlines()
    assert sorted(out[:2]) == [
        r"would write a/new\nline.js.gz",
        r"would write bad-\udcff.js.gz",
    ]
    assert out[2:] == ["2 files considered: 2 compressed files to write, 0 up to date."]


def test_quiet_means_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, "app.js")
    assert compress(tmp_path, "--quiet", "--dry-run") == 0
    assert compress(tmp_path, "--quiet") == 0
    assert capfd.readouterr() == ("", "")
    assert len(names(tmp_path)) == 4


def test_the_summary_adds_up(tmp_path: Path) -> None:
    put(tmp_path, "a.js", text(50_000))
    put(tmp_path, "b.js", text(50_000, seed=2))
    command = [sys.executable, "-m", "portico", "compress"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    first, *codings, last = done.stdout.splitlines()
    assert first == "2 files considered: 6 compressed files written, 0 up to date, 0 not worth it."
    assert [line.split()[0] for line in codings] == list(SUFFIXES)
    for line in codings:
        assert re.fullmatch(r"  \w+ +97\.7 KiB -> +[0-9.]+ KiB  \([0-9]+% of 2 files\)", line)
    saved = 100_000 - sum((tmp_path / f"{name}.js.br").stat().st_size for name in "ab")
    assert last == f"A client that accepts br saves {saved / 1024:.1f} KiB of 97.7 KiB."


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--coding", "brr"], "--coding: there is no coding 'brr'; did you mean br?"),
        (["--coding", "lzma"], "--coding: there is no coding 'lzma'; there are br, zstd, gzip"),
        (["--coding", ""], "--coding: there is no coding ''; there are br, zstd, gzip"),
        (["--jobs", "0"], "--jobs: '0' is not a number from 1 to 256"),
        (["--jobs", "-1"], "--jobs: '-1' is not a number from 1 to 256"),
        (["--jobs", "²"], "--jobs: '²' is not a number from 1 to 256"),
        (["--frce"], "no such option: --frce; did you mean --force?"),
        (["."], "unexpected argument: '.'"),
    ],
)
def test_misuse_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], error: str
) -> None:
    put(tmp_path, "app.js")
    assert main(["compress", str(tmp_path), *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == f"portico: error: {error}"
    assert names(tmp_path) == {"app.js"}


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compress", "--help"]) == 0
    told = capsys.readouterr().out
    for option in ("DIR", "--coding", "--jobs", "--force", "--dry-run", "--quiet", "--help"):
        assert option in told
    assert max(map(len, told.splitlines())) < 80


def test_without_libraries_there_is_still_gzip(tmp_path: Path) -> None:
    path = put(tmp_path, "app.js")
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['brotli', 'zstandard', 'compression']))"
        "; from portico.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "compress", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (
        done.stderr
        == "No br and no zstd without a library: pip install 'portico-server[compression]'\n"
    )
    assert "1 compressed file written" in done.stdout
    assert names(tmp_path) == {"app.js", "app.js.gz"}
    assert decoded(path, "gzip") == path.read_bytes()

    refused = subprocess.run(
        [*command, "--coding", "gzip,br"], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert refused.stderr == (
        "portico: error: --coding: br needs a library that is not installed: "
        "pip install 'portico-server[compression]'\n"
    )
