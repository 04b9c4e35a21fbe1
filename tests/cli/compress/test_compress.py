"""`portico compress`: which files it writes, and what they are."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import pytest

from portico.cli.compress.writing import PREFIX, SUFFIX
from portico.site.compression.encoders import SUFFIXES
from tests.cli.compress.compressing import (
    ENDS,
    HOUR,
    SPRING,
    compress,
    decoded,
    is_complete,
    names,
    put,
    sibling,
    states,
    text,
)
from tests.site.on_disk import Site

# --- what is written


def test_files_decode_to_the_original_and_have_its_time_and_rights(tmp_path: Path) -> None:
    path = put(tmp_path, "deep/er/app.js", text(300_000))
    path.chmod(0o604)
    assert compress(tmp_path) == 0
    for coding in SUFFIXES:
        assert decoded(path, coding) == path.read_bytes()
        status = sibling(path, coding).stat()
        assert status.st_mtime_ns == SPRING
        assert stat.S_IMODE(status.st_mode) == 0o604
        assert status.st_size < 200_000
    assert names(tmp_path) == {"deep/er/app.js", *(f"deep/er/app.js{end}" for end in ENDS)}


def test_the_server_recognises_them(tmp_path: Path) -> None:
    put(tmp_path, "app.js")
    assert compress(tmp_path) == 0
    assert Site(tmp_path).look("/app.js").codings == tuple(SUFFIXES)  # type: ignore[union-attr]


def test_every_run_makes_the_same_octets(tmp_path: Path) -> None:
    for site, jobs, at in (("one", "1", SPRING), ("two", "4", SPRING + HOUR)):
        for number in range(6):
            put(tmp_path / site, f"{number}.css", text(300 + number * 5000, seed=number), at)
        assert compress(tmp_path / site, "--jobs", jobs) == 0
    assert len(names(tmp_path / "one")) == 24
    for name in names(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_which_files_are_compressed(tmp_path: Path) -> None:
    wanted = {
        *("page.html", "picture.svg", "LICENSE", ".well-known/page.html", "café ☕.html"),
        *("new\nline.html", "folder/_headers.txt"),
    }
    passed_over = {
        *("picture.png", "unknown.what", "all.gz", ".hidden.html", ".git/page.html", "_headers"),
        *("folder/.well-known/page.html", ".well-known/.page.html", "_redirects"),
        *("back\\slash.html", "back\\slash/page.html"),
    }
    for name in wanted | passed_over:
        put(tmp_path, name, text(256))
    put(tmp_path, "small.html", text(255))
    put(tmp_path, "empty.html", b"")
    assert compress(tmp_path) == 0
    assert all(is_complete(tmp_path / name) for name in wanted)
    first = names(tmp_path)
    assert len(first) == 4 * len(wanted) + len(passed_over) + 2
    assert compress(tmp_path, "--force") == 0
    assert names(tmp_path) == first


def test_symlinks_are_followed_to_files_of_the_site_alone(tmp_path: Path) -> None:
    root = tmp_path / "site"
    put(root, "folder/a.html")
    put(root, ".hidden/c.html")
    put(tmp_path, "site-secret/b.html")
    (root / "inside.html").symlink_to("folder/a.html")
    (root / "outside.html").symlink_to(tmp_path / "site-secret" / "b.html")
    (root / "nowhere.html").symlink_to("missing.html")
    (root / "round.html").symlink_to("round.html")
    (root / "link").symlink_to("folder")
    (root / "linked").symlink_to(".hidden")
    (root / "secret").symlink_to(tmp_path / "site-secret")
    os.mkfifo(root / "pipe.html")
    before = names(root)
    assert compress(root) == 0
    assert is_complete(root / "folder" / "a.html")
    assert is_complete(root / "inside.html")
    added = {f"{name}{end}" for name in ("folder/a.html", "inside.html") for end in ENDS}
    assert names(root) == before | added
    assert names(tmp_path / "site-secret") == {"b.html"}


# --- what is up to date


def test_what_is_up_to_date_has_stopped_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path, "app.js")
    assert compress(tmp_path) == 0
    sibling(path, "br").write_bytes(b"made by another tool, later")
    before = states(tmp_path)
    capsys.readouterr()
    assert compress(tmp_path) == 0
    assert states(tmp_path) == before
    assert "1 file considered: 0 compressed files written, 3 up to date" in capsys.readouterr().out


def test_what_is_stale_or_missing_is_written(tmp_path: Path) -> None:
    path = put(tmp_path, "app.js")
    assert compress(tmp_path) == 0
    sibling(path, "zstd").unlink()
    sibling(path, "br").write_bytes(b"of an earlier version")
    os.utime(sibling(path, "br"), ns=(SPRING, SPRING - 1))
    before = states(tmp_path)
    assert compress(tmp_path) == 0
    after = states(tmp_path)
    assert is_complete(path)
    assert {name for name in before if before[name] != after[name]} == {"app.js.br"}
    put(tmp_path, "app.js", text(9000, seed=2), SPRING + 1)
    assert compress(tmp_path) == 0
    assert is_complete(path)
    assert sibling(path, "gzip").stat().st_mtime_ns == SPRING + 1


def test_force_writes_all_again(tmp_path: Path) -> None:
    path = put(tmp_path, "app.js")
    for coding in SUFFIXES:
        put(tmp_path, sibling(path, coding).name, b"of a later version", SPRING + HOUR)
    assert compress(tmp_path, "--force") == 0
    assert is_complete(path)


def test_what_does_not_shrink_is_not_written_and_not_kept_when_stale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path, "noise.js", random.Random(3).randbytes(100_000))
    put(tmp_path, "noise.js.gz", b"stale", SPRING - 1)
    put(tmp_path, "noise.js.br", b"up to date")
    assert compress(tmp_path) == 0
    assert names(tmp_path) == {"noise.js", "noise.js.br"}
    assert path.stat().st_size == 100_000
    assert "0 compressed files written, 1 up to date, 2 not worth it" in capsys.readouterr().out


def test_a_compressed_file_without_an_original_has_stopped_alone(tmp_path: Path) -> None:
    put(tmp_path, "only.js.gz", b"all there is")
    assert compress(tmp_path, "--force") == 0
    assert names(tmp_path) == {"only.js.gz"}


def test_what_a_killed_run_has_left_is_removed(tmp_path: Path) -> None:
    put(tmp_path, "folder/app.js")
    old = put(tmp_path, f"folder/{PREFIX}0123{SUFFIX}")
    other = put(tmp_path, "folder/.other.tmp")
    young = tmp_path / "folder" / f"{PREFIX}4567{SUFFIX}"
    young.write_bytes(b"of a run that goes on")
    assert compress(tmp_path, "--dry-run") == 0
    assert old.exists()
    assert compress(tmp_path) == 0
    assert (old.exists(), other.exists(), young.exists()) == (False, True, True)
