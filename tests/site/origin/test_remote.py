"""What lies on a network's file system is looked at by a thread before the loop looks."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from portico.site.origin import remote
from portico.site.origin.folder import SMALL, Folder
from portico.site.origin.open_file import FileSlice, Waiting
from portico.site.origin.protocol import Directory, File, Found, Missing, SlashRedirect
from portico.site.origin.remote import RemoteOrigin, remote_mounts
from portico.site.site import Site

TABLE = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:30 / /srv/site/media rw,relatime shared:9 - nfs4 filer:/media rw,vers=4.2
31 22 0:31 / /srv/site/with\\040space rw - fuse.sshfs me@there: rw
32 22 0:32 / /srv/site/memory rw - tmpfs tmpfs rw
33 22 0:33 / /srv/site-2/media rw - nfs filer:/other rw
34 22 0:34 / /srv/site/disk rw - fuseblk /dev/sdb1 rw
35 22 0:35 / /mnt/home rw - 9p home rw
36 35 0:36 / /mnt/home/me/local rw - ext4 /dev/vdb rw
37 22 0:37 / /srv/site/covered rw - nfs filer:/x rw
38 37 0:38 / /srv/site/covered rw - ext4 /dev/vdc rw
"""


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "mountinfo"
    path.write_text(TABLE)
    return str(path)


@pytest.mark.parametrize(
    ("root", "places"),
    [
        ("/srv/site", {"/srv/site/media/", "/srv/site/with space/"}),
        ("/srv/site/media", {"/srv/site/media/"}),
        ("/srv/site/media/2024", {"/srv/site/media/2024/"}),
        ("/srv/site/memory", set()),
        ("/mnt/home/me", {"/mnt/home/me/"}),
        ("/mnt/home/me/local/site", set()),
        ("/home", set()),
    ],
)
def test_what_is_remote_is_told_by_the_table(table: str, root: str, places: set[str]) -> None:
    assert set(remote_mounts(root, table)) == places


def test_without_a_table_nothing_is_remote(tmp_path: Path) -> None:
    assert remote_mounts("/srv/site", str(tmp_path / "none")) == ()
    (tmp_path / "odd").write_text("odd\n")
    assert remote_mounts("/srv/site", str(tmp_path / "odd")) == ()


class Far:
    """A folder, of which what lies in "far" counts as remote."""

    def __init__(self, root: Path) -> None:
        self.far = RemoteOrigin(Folder(str(root), 1 << 20, may_wait=False))

    def look(self, *names: str) -> Found:
        self.far.freshness.begin_round()
        return self.far.look_up(names)

    def look_in_the_end(self, *names: str) -> Found:
        with pytest.raises(Waiting) as raised:
            self.look(*names)
        raised.value.work()
        return self.look(*names)


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Far:
    root = tmp_path / "site"
    (root / "far" / "folder").mkdir(parents=True)
    (root / "near.txt").write_bytes(b"near")
    (root / "far" / "file.txt").write_bytes(b"far")
    (root / "far" / "small").write_bytes(bytes(SMALL))
    (root / "far" / "large").write_bytes(bytes(SMALL + 1))
    time.sleep(0.06)  # until the files' fingerprints can be relied on
    monkeypatch.setattr(remote, "remote_mounts", lambda root: (f"{root}/far/",))
    return Far(root)


def test_what_is_near_is_looked_at_at_once(far: Far) -> None:
    found = far.look("near.txt")
    assert isinstance(found, File)
    assert found.dependencies


def test_what_is_far_is_looked_at_by_a_thread_first(far: Far) -> None:
    found = far.look_in_the_end("far", "file.txt")
    assert isinstance(found, File)
    assert found.content.read() == b"far"
    assert found.dependencies is None, "to see whether it holds would be a look from the loop"


@pytest.mark.parametrize("name", ["small", "large"])
def test_what_is_far_is_read_by_a_thread_first(far: Far, name: str) -> None:
    found = far.look_in_the_end("far", name)
    assert isinstance(found, File)
    assert isinstance(found.content, FileSlice)
    assert found.content.file.is_remote
    assert not found.content.file.may_wait


def test_what_is_not_there_is_looked_for_as_well(far: Far) -> None:
    missing = far.look_in_the_end("far", "none")
    assert isinstance(missing, Missing)
    assert missing.dependencies is None
    moved = far.look_in_the_end("far", "folder")
    assert isinstance(moved, SlashRedirect)
    assert moved.dependencies is None
    assert isinstance(far.look_in_the_end("far", "folder", ""), Directory)


def test_the_system_is_not_taken_to_remember_for_ever(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "REMEMBERED_SECONDS", -1.0)
    with pytest.raises(Waiting) as raised:
        far.look("far", "file.txt")
    raised.value.work()
    with pytest.raises(Waiting):
        far.look("far", "file.txt")


def test_a_change_is_seen(far: Far, tmp_path: Path) -> None:
    far.look_in_the_end("far", "file.txt")
    (tmp_path / "site" / "far" / "file.txt").write_bytes(b"new")
    found = far.look("far", "file.txt")
    assert isinstance(found, File)
    assert found.content.read() == b"new"


def test_rules_in_a_remote_root_are_read_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "_redirects").write_bytes(b"/bad\n")
    monkeypatch.setattr(remote, "remote_mounts", lambda root: (f"{root}/",))
    reports: list[str] = []
    origin = RemoteOrigin(Folder(str(tmp_path), 1 << 20, may_wait=False))
    Site(origin, report=reports.append).read_rules()
    assert len(reports) == 1
