"""Nothing but what lies in the root is served, whatever links do and whenever they do it."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from portico.config.config import Config
from portico.site.origin.folder import Folder
from portico.site.origin.protocol import File, Missing, SlashRedirect
from tests.site.on_disk import LARGE, SECRET, Interruption, Site, content_of, no_waiting, settle

ESCAPES: list[tuple[str, str, list[str]]] = [
    ("file", "../site-secret/secret.txt", ["/file"]),
    ("folder/file", "../../site-secret/secret.txt", ["/folder/file"]),
    ("out", "../site-secret", ["/out", "/out/", "/out/secret.txt", "/out/index.html"]),
    ("index.html", "../site-secret/index.html", ["/index.html"]),
    ("404.html", "../site-secret/secret.txt", ["/404.html"]),
    ("up", "..", ["/up", "/up/", "/up/site-secret/secret.txt"]),
    ("root", "/", ["/root", "/root/", "/root/etc/hostname"]),
    ("passwd", "/etc/passwd", ["/passwd"]),
    ("loop", "loop", ["/loop", "/loop/"]),
    ("nowhere", "nothing-here", ["/nowhere", "/nowhere/"]),
    ("chain", "folder/second", ["/chain"]),
    ("cwd", "/proc/self/cwd", ["/cwd", "/cwd/"]),
    ("fds", "/proc/self/fd", ["/fds", "/fds/", "/fds/0"]),
]


@pytest.mark.parametrize(("link", "goal", "paths"), ESCAPES, ids=[each[0] for each in ESCAPES])
@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.usefixtures("_any_real_path", "outside")
def test_no_link_leads_out(
    site: Site, link: str, goal: str, paths: list[str], absolute: bool
) -> None:
    place = site.root / link
    (site.root / "folder" / "second").symlink_to("../../site-secret/secret.txt")
    place.symlink_to(os.path.normpath(place.parent / goal) if absolute else goal)
    for path in paths:
        assert site.is_missing(path), path
    assert place.name not in site.listed("/folder/" if "/" in link else "/")
    assert site.read("/a.txt") == b"a"


@pytest.mark.usefixtures("_any_real_path")
def test_links_within_the_root_are_followed(site: Site) -> None:
    (site.root / "file").symlink_to("folder/b.txt")
    (site.root / "absolute").symlink_to(site.root / "a.txt")
    (site.root / "again").symlink_to("folder")
    (site.root / "folder" / "top").symlink_to("..")
    assert site.read("/file") == b"b"
    assert site.read("/absolute") == b"a"
    assert site.read("/again/b.txt") == b"b"
    assert site.read("/folder/top/folder/top/a.txt") == b"a"
    assert isinstance(site.look("/again"), SlashRedirect)
    assert site.listed() == {
        "a.txt": False,
        "file": False,
        "absolute": False,
        "folder": True,
        "again": True,
    }


@pytest.mark.usefixtures("_any_real_path")
def test_volume_of_kubernetes_is_served_and_updated(tmp_path: Path) -> None:
    """Its files are links through ..data, which is a link that is replaced as a whole."""
    root = tmp_path / "volume"
    for version in (b"1", b"2"):
        (root / f"..2026_{version.decode()}").mkdir(parents=True)
        (root / f"..2026_{version.decode()}" / "page.html").write_bytes(version)
    (root / "..data").symlink_to("..2026_1")
    (root / "page.html").symlink_to("..data/page.html")
    site = Site(root)
    assert site.read("/page.html") == b"1"
    assert site.listed() == {"page.html": False}
    settle(root / "page.html")
    assert site.read("/page.html") == b"1"
    (root / "..data_tmp").symlink_to("..2026_2")
    (root / "..data_tmp").replace(root / "..data")
    assert site.read("/page.html") == b"2"


@pytest.mark.usefixtures("_any_real_path")
@pytest.mark.parametrize("size", [len(SECRET), LARGE])
def test_link_swapped_before_the_file_is_opened_gains_nothing(
    site: Site, outside: Path, around_open: Interruption, size: int
) -> None:
    (outside / "secret.txt").write_bytes(SECRET.ljust(size))
    link = site.root / "link"
    link.symlink_to("a.txt")

    def swap() -> None:
        link.unlink()
        link.symlink_to(outside / "secret.txt")

    around_open.before = swap
    assert site.is_missing("/link")
    assert around_open.calls


@pytest.mark.parametrize("size", [len(SECRET), LARGE])
@pytest.mark.usefixtures("_any_real_path")
def test_link_swapped_back_after_the_file_was_opened_gains_nothing(
    site: Site, outside: Path, around_open: Interruption, size: int
) -> None:
    (outside / "secret.txt").write_bytes(SECRET.ljust(size))
    link = site.root / "link"
    link.symlink_to(outside / "secret.txt")

    def swap() -> None:
        link.unlink()
        link.symlink_to("a.txt")

    around_open.after = swap
    found = site.look("/link")
    assert isinstance(found, Missing) or content_of(found) == b"a"


@pytest.mark.usefixtures("_any_real_path")
def test_folder_swapped_before_it_is_listed_shows_nothing(
    site: Site, outside: Path, around_open: Interruption
) -> None:
    (outside / "index.html").unlink()
    link = site.root / "link"
    link.symlink_to("folder")

    def swap() -> None:
        link.unlink()
        link.symlink_to(outside)

    around_open.before = swap
    assert site.is_missing("/link/")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/tty")])
def test_what_takes_a_files_place_before_it_is_opened_is_not_waited_for(
    site: Site, around_open: Interruption, make: Callable[[Path], None]
) -> None:
    def swap() -> None:
        (site.root / "a.txt").unlink()
        make(site.root / "a.txt")

    around_open.before = swap
    with no_waiting():
        assert site.is_missing("/a.txt")
    assert around_open.calls == 1


@pytest.mark.parametrize("kind", ["FIFO", "socket", "character device", "block device"])
def test_special_files_are_neither_opened_nor_listed(
    site: Site, around_open: Interruption, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(site.root)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        if kind == "FIFO":
            os.mkfifo("special")
        elif kind == "socket":
            listener.bind("special")
        else:
            mode = stat.S_IFCHR if kind == "character device" else stat.S_IFBLK
            try:
                os.mknod("special", mode | 0o666, os.makedev(1, 3))
            except PermissionError:
                pytest.skip("only root may make a device")
        Path("link").symlink_to("special")
        with no_waiting():
            for path in ("/special", "/special/", "/special/index.html", "/link"):
                assert site.is_missing(path)
            assert around_open.calls == 0
            assert site.listed() == {"a.txt": False, "folder": True}


def test_root_may_be_a_link_that_is_changed(tmp_path: Path) -> None:
    for release in ("1", "2"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "version").write_text(release)
        (tmp_path / release / f"only{release}").touch()
        (tmp_path / release / "other").symlink_to(tmp_path / "1" / "version")
    current = tmp_path / "current"
    current.symlink_to("1")
    site = Site(tmp_path, named=str(current))
    assert site.read("/version") == b"1"
    settle(current / "version")
    assert site.read("/version") == b"1"
    (tmp_path / "next").symlink_to("2")
    (tmp_path / "next").replace(current)
    assert site.is_missing("/other")  # it leads out of the root now
    assert site.read("/version") == b"2"
    assert "only2" in site.listed()
    assert site.is_missing("/only1")


def test_root_that_has_become_narrower_admits_no_more_than_it_holds(tmp_path: Path) -> None:
    (tmp_path / "all" / "public").mkdir(parents=True)
    (tmp_path / "all" / "secret").write_bytes(SECRET)
    (tmp_path / "all" / "public" / "page").write_bytes(b"page")
    (tmp_path / "all" / "public" / "link").symlink_to("../secret")
    current = tmp_path / "current"
    current.symlink_to("all")
    site = Site(tmp_path, named=str(current))
    assert site.read("/public/link") == SECRET
    (tmp_path / "next").symlink_to("all/public")
    (tmp_path / "next").replace(current)
    assert site.read("/page") == b"page"
    assert site.is_missing("/link")


def test_root_that_changes_while_a_file_is_opened_loses_no_request(
    tmp_path: Path, around_open: Interruption
) -> None:
    for release in ("1", "2"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "version").write_text(release)
    current = tmp_path / "current"
    current.symlink_to("1")
    site = Site(tmp_path, named=str(current))

    def swap() -> None:
        (tmp_path / "next").symlink_to("2")
        (tmp_path / "next").replace(current)

    around_open.after = swap
    assert site.read("/version") == b"2"


@pytest.mark.parametrize("size", [10, LARGE])
@pytest.mark.parametrize("moved", ["one", "one/two"])
def test_a_folder_moved_out_and_linked_is_outside(tmp_path: Path, size: int, moved: str) -> None:
    root, outside = tmp_path / "site", tmp_path / "outside"
    (root / "one" / "two").mkdir(parents=True)
    outside.mkdir()
    (root / "one" / "two" / "file").write_bytes(bytes(size))
    folder = Folder(Config.of(root=str(root)), 1 << 20)
    names = ("one", "two", "file")
    found = folder.look_up(names)
    assert isinstance(found, File)
    assert found.dependencies
    (root / moved).rename(outside / "moved")
    (root / moved).symlink_to(outside / "moved")
    folder.freshness.begin_round()
    assert not folder.freshness.holds(found.dependencies)
    assert isinstance(folder.look_up(names), Missing)


def test_a_folder_moved_within_the_root_and_linked_is_served(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "file").write_bytes(b"text")
    folder = Folder(Config.of(root=str(tmp_path)), 1 << 20)
    assert isinstance(folder.look_up(("one", "file")), File)
    (tmp_path / "one").rename(tmp_path / "other")
    (tmp_path / "one").symlink_to("other")
    folder.freshness.begin_round()
    assert isinstance(folder.look_up(("one", "file")), File)
