"""The names in a folder: what is surely not there, and of what nothing is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from portico.site.origin import known_names as names_module
from portico.site.origin.fingerprint import FolderDependency
from portico.site.origin.freshness import Freshness
from portico.site.origin.known_names import UNKNOWN, KnownNames, Names
from portico.site.origin.protocol import Missing
from tests.server.clients import descriptors
from tests.site.asking import settle_all
from tests.site.on_disk import Site, settle

LOOKS = names_module._LOOKS
STEP = names_module._STEP


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(2 * STEP):
        (folder / f"{number}.html").touch()
    (folder / "naïve").touch()
    settle(folder)
    return folder


def read(folder: Path) -> Names:
    """What is known of a folder after many looks into it."""
    known, dependency = KnownNames(1 << 16), FolderDependency(str(folder), Freshness())
    return [known.of(dependency) for _ in range(LOOKS + 10)][-1]


def test_a_folder_lacks_what_is_not_in_it(folder: Path) -> None:
    names = read(folder)
    assert len(names) == 2 * STEP + 1
    assert not any(names.lack(entry.name) for entry in folder.iterdir())
    missing = [f"{number}.html.br" for number in range(500)]
    assert all(map(names.lack, missing))
    assert not names.lack("nai\u0308ve")  # which some systems take for the same


def test_names_are_read_step_by_step_when_they_have_become_worth_it(folder: Path) -> None:
    known, dependency = KnownNames(1 << 16), FolderDependency(str(folder), Freshness())
    found = [known.of(dependency) for _ in range(LOOKS + 5)]
    assert found[: LOOKS + 2] == [UNKNOWN] * (LOOKS + 2)
    assert found[-1] is found[-2] is not UNKNOWN


@pytest.mark.parametrize(("name", "coded"), [("a.html.br", True), ("A.GZ", True), ("b.rb", False)])
def test_it_is_known_whether_compressed_files_are_among_them(
    tmp_path: Path, name: str, coded: bool
) -> None:
    (tmp_path / name).touch()
    settle(tmp_path)
    assert read(tmp_path).may_be_coded is coded
    assert UNKNOWN.may_be_coded


def test_nothing_is_said_where_case_does_not_matter(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lstat = os.lstat
    monkeypatch.setattr(
        os, "lstat", lambda path, *, dir_fd=None: lstat(path.lower(), dir_fd=dir_fd)
    )
    assert read(folder) is UNKNOWN


def test_nothing_is_said_where_case_cannot_be_tried_out(tmp_path: Path) -> None:
    (tmp_path / "1").touch()
    settle(tmp_path)
    assert read(tmp_path) is UNKNOWN


@pytest.mark.parametrize("limit", [2 * STEP, 0])
def test_nothing_is_said_of_too_many_names(folder: Path, limit: int) -> None:
    known, dependency = KnownNames(limit), FolderDependency(str(folder), Freshness())
    assert [known.of(dependency) for _ in range(LOOKS + 10)] == [UNKNOWN] * (LOOKS + 10)
    assert len(known._readings) == 0


def test_nothing_is_said_of_a_folder_that_was_replaced(folder: Path) -> None:
    known, dependency = KnownNames(1 << 16), FolderDependency(str(folder), Freshness())
    folder.rename(folder.with_name("before"))
    folder.mkdir()
    assert [known.of(dependency) for _ in range(20)] == [UNKNOWN] * 20


def test_few_folders_are_read_at_once_and_reading_is_given_up(tmp_path: Path) -> None:
    before = descriptors()
    known, freshness = KnownNames(1 << 16), Freshness()
    for number in range(10):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in range(STEP):
            (folder / f"a{name}").touch()
        settle(folder)
        dependency = FolderDependency(str(folder), freshness)
        for _ in range(LOOKS + 1):
            known.of(dependency)
    assert len(known._readings) == names_module._READINGS
    known.give_up()
    assert descriptors() <= before


def test_the_disk_is_not_asked_for_what_is_known_to_be_missing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle_all(site.root)
    for _ in range(2 * LOOKS):
        assert site.read("/a.txt") == b"a"
        assert site.is_missing("/none")
    asked = []

    def ask(path: str) -> os.stat_result:
        asked.append(path)
        return stat(path)

    stat = os.stat
    monkeypatch.setattr(os, "stat", ask)
    monkeypatch.setattr(os.path, "lexists", asked.append)
    site.folder.freshness.begin_round()
    found = site.folder.look_up(("another",))
    assert isinstance(found, Missing)
    assert asked == []
    (site.root / "another").touch()
    monkeypatch.undo()
    assert not site.is_missing("/another")


def test_it_is_known_what_can_be_opened_without_a_look_at_its_kind(tmp_path: Path) -> None:
    (tmp_path / "a.html").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("a.html")
    os.mkfifo(tmp_path / "fifo")
    settle(tmp_path)
    names = read(tmp_path)
    assert names.have_file("a.html")
    assert not any(map(names.have_file, ["folder", "link", "fifo", "naïve"]))
    assert not UNKNOWN.have_file("a.html")
