"""Remote file systems: which places they are, and that the loop never looks at what lies there."""

from __future__ import annotations

from pathlib import Path

import pytest

from portico.config.config import Config
from portico.site.origin.folder import SMALL, Folder
from portico.site.origin.mounts import RemoteMounts
from portico.site.origin.open_file import FileSlice, Waiting
from portico.site.origin.protocol import (
    Directory,
    File,
    Found,
    Missing,
    Precompressed,
    SlashRedirect,
)
from portico.site.site import Site
from tests.site.on_disk import content_of, settle

TABLE = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:30 / /srv/site/media rw,relatime shared:9 - nfs4 filer:/media rw,vers=4.2
31 22 0:31 / /srv/site/with\\040space/in rw - fuse.sshfs me@there: rw
32 22 0:32 / /srv/site/memory rw - tmpfs tmpfs rw
33 22 0:33 / /srv/site-2/media rw - nfs filer:/other rw
34 22 0:34 / /srv/site/disk rw - fuseblk /dev/sdb1 rw
35 22 0:35 / /mnt/home rw - 9p home rw
36 35 0:36 / /mnt/home/me/local rw - ext4 /dev/vdb rw
37 22 0:37 / /srv/site/covered rw - nfs filer:/x rw
38 37 0:38 / /srv/site/covered rw - ext4 /dev/vdc rw
39 22 0:39 / /srv/site/back\\134040slash rw - cifs //filer/y rw
"""


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "mountinfo"
    path.write_text(TABLE)
    return str(path)


@pytest.mark.parametrize(
    ("root", "path", "place"),
    [
        ("/srv/site", "", None),
        ("/srv/site", "a.txt", None),
        ("/srv/site", "media", "media/"),
        ("/srv/site", "media/", "media/"),
        ("/srv/site", "media/a/b.txt", "media/"),
        ("/srv/site", "media-2/a.txt", None),
        ("/srv/site", "with space/a.txt", None),
        ("/srv/site", "with space/in/a.txt", "with space/in/"),
        ("/srv/site", "back\\040slash/a.txt", "back\\040slash/"),
        ("/srv/site", "memory/a.txt", None),
        ("/srv/site", "disk/a.txt", None),
        ("/srv/site", "covered/a.txt", None),
        ("/srv", "site/media/a.txt", "site/media/"),
        ("/srv", "site-2/media/a.txt", "site-2/media/"),
        ("/", "srv/site/media/a.txt", "srv/site/media/"),
        ("/srv/site/media", "", ""),
        ("/srv/site/media/2024", "a.txt", ""),
        ("/srv/site/memory", "a.txt", None),
        ("/mnt/home/me", "a.txt", ""),
        ("/mnt/home/me/local/site", "a.txt", None),
        ("/home", "a.txt", None),
    ],
)
def test_the_table_says_what_is_remote(table: str, root: str, path: str, place: str | None) -> None:
    mounts = RemoteMounts(root, table)
    assert mounts.place_of(tuple(path.split("/"))) == place
    assert mounts.cover_root == (place == "")


@pytest.mark.parametrize(
    ("folder", "place"),
    [
        ("", "media/"),
        ("with space/", "with space/in/"),
        ("with/", None),
        ("memory/", None),
        ("a/", None),
    ],
)
def test_a_folder_with_a_remote_entry_is_known(table: str, folder: str, place: str | None) -> None:
    assert RemoteMounts("/srv/site", table).place_in(tuple(folder.split("/"))) == place


@pytest.mark.parametrize("text", [None, "odd\n", "1 2 3\n", ""])
def test_without_a_table_that_can_be_read_nothing_is_remote(
    tmp_path: Path, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "odd").write_text(text)
    mounts = RemoteMounts("/srv/site", str(tmp_path / "odd"))
    assert mounts.place_of(("media", "a.txt")) is None
    assert not mounts.cover_root


def test_what_is_mounted_later_is_known_after_a_refresh(table: str) -> None:
    mounts = RemoteMounts("/home", table)
    with Path(table).open("a", encoding="ascii") as file:
        file.write("50 22 0:50 / /home/me rw - virtiofs me rw\n")
    assert mounts.place_of(("me",)) is None
    mounts.refresh()
    assert mounts.place_of(("me",)) == "me/"


# Look-ups in remote places


class Far:
    """A folder of which what lies in "far" counts as remote, as the loop and as a thread see it.

    `table` tells what is mounted.
    """

    def __init__(self, tmp_path: Path, table: Path) -> None:
        self.root = tmp_path / "site"
        (self.root / "far" / "folder").mkdir(parents=True)
        (self.root / "near").mkdir()
        (self.root / "near.txt").write_bytes(b"near")
        for name in ("file.txt", "coded.txt.gz", "index.html"):
            (self.root / "far" / name).write_bytes(b"far")
        (self.root / "far" / "large").write_bytes(bytes(SMALL + 1))
        table.write_text(f"30 22 0:30 / {self.root.resolve()}/far rw - nfs filer:/far rw\n")
        settle(self.root / "near.txt")
        config = Config.of(root=str(self.root))
        self.loop = Folder(config, 1 << 20, may_wait=False)
        self.thread = Folder(config, 1 << 20, like=self.loop)

    def look(self, path: str) -> Found:
        """What a thread finds, for which the loop has to wait."""
        names = tuple(path.split("/"))
        for _ in range(2):
            with pytest.raises(Waiting) as raised:
                self.loop.look_up(names)
            assert (raised.value.place, raised.value.work) == ("far/", None)
        self.thread.freshness.begin_round()
        return self.thread.look_up(names)


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that tells what is mounted, in the place of the system's."""
    table = tmp_path / "mountinfo"
    monkeypatch.setattr("portico.site.origin.mounts._TABLE", str(table))
    return table


@pytest.fixture
def far(tmp_path: Path, mounted: Path) -> Far:
    return Far(tmp_path, mounted)


def test_what_is_local_is_looked_at_by_the_loop(far: Far) -> None:
    found = far.loop.look_up(("near.txt",))
    assert isinstance(found, File)
    assert found.dependencies
    assert isinstance(far.loop.look_up(("near", "")), Directory)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("far/file.txt", File),
        ("far/", File),
        ("far/large", File),
        ("far/coded.txt", Precompressed),
        ("far", SlashRedirect),
        ("far/folder", SlashRedirect),
        ("far/folder/", Directory),
        ("far/none", Missing),
        ("far/none/none", Missing),
        ("far/file.txt/none", Missing),
    ],
)
def test_what_is_remote_is_looked_at_by_a_thread(far: Far, path: str, kind: type) -> None:
    found = far.look(path)
    assert isinstance(found, kind)
    assert found.dependencies is None, "to check them would be one more look"


@pytest.mark.parametrize(("name", "octets"), [("file.txt", b"far"), ("large", bytes(SMALL + 1))])
def test_what_is_remote_has_a_tag_and_is_read_by_threads(
    far: Far, name: str, octets: bytes
) -> None:
    found = far.look(f"far/{name}")
    assert isinstance(found, File)
    assert content_of(found) == octets
    assert found.etag
    assert len(octets) <= SMALL or isinstance(found.content, FileSlice)
    if isinstance(found.content, FileSlice):
        assert found.content.file.is_remote
        assert found.content.file.sendable_to(0, 10) == 0


def test_a_change_is_seen(far: Far) -> None:
    far.look("far/file.txt")
    (far.root / "far" / "file.txt").write_bytes(b"new")
    assert content_of(far.look("far/file.txt")) == b"new"


def test_a_folder_with_a_remote_entry_is_listed_by_a_thread(far: Far) -> None:
    """To list it is to ask for the date of what is mounted there."""
    found = far.look("")
    assert isinstance(found, Directory)
    assert {entry.name for entry in found.entries} == {"far", "near", "near.txt"}


def test_rules_in_a_remote_root_are_read_by_a_thread(tmp_path: Path, mounted: Path) -> None:
    (tmp_path / "_redirects").write_bytes(b"/bad\n")
    mounted.write_text(f"30 22 0:30 / {tmp_path.resolve()} rw - 9p far rw\n")
    for may_wait in (False, True):
        reports: list[str] = []
        origin = Folder(Config.of(root=str(tmp_path)), 1 << 20, may_wait=may_wait)
        Site(origin, report=reports.append).read_rules()
        assert len(reports) == may_wait
