"""The folder on disk: what is in it is found and listed, by whatever name."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.config.config import Config
from portico.site.origin.folder import SMALL, Folder
from portico.site.origin.open_file import FileSlice
from portico.site.origin.protocol import Directory, Failed, File, Missing, SlashRedirect
from portico.site.target import encode_name
from tests.server.clients import descriptors
from tests.site.on_disk import LARGE, Site, no_waiting
from tests.unprivileged import public_folder, unprivileged


def test_files_are_found(site: Site) -> None:
    (site.root / "empty").touch()
    (site.root / "small").write_bytes(b"s" * SMALL)
    (site.root / "large").write_bytes(b"l" * LARGE)
    assert site.read("/a.txt") == b"a"
    assert site.read("/folder/b.txt") == b"b"
    assert site.read("/empty") == b""
    assert site.read("/small") == b"s" * SMALL
    assert site.read("/large") == b"l" * LARGE
    small, large = site.look("/small"), site.look("/large")
    assert isinstance(small, File)
    assert isinstance(small.content, bytes)
    assert isinstance(large, File)
    assert isinstance(large.content, FileSlice)
    assert (large.name, large.modified) == ("large", (site.root / "large").stat().st_mtime)


@pytest.mark.parametrize(
    "path",
    ["/none", "/none/", "/a.txt/", "/a.txt/b", "/folder/none"],
)
def test_what_is_not_there_is_missing(site: Site, path: str) -> None:
    assert site.is_missing(path)


@pytest.mark.parametrize(
    ("index", "found"), [("index.html", "first"), ("home.html", "home"), ("none", None)]
)
def test_the_option_names_the_index_file(site: Site, index: str, found: str | None) -> None:
    folder = site.root / "folder"
    (folder / "index.htm").write_bytes(b"second")
    origin = Folder(Config.of(root=str(site.root), index=index), 1 << 20)
    if index == "index.html":
        second = origin.look_up(("folder", ""))
        assert isinstance(second, File)
        assert second.content.read() == b"second"
    (folder / "index.html").write_bytes(b"first")
    (folder / "home.html").write_bytes(b"home")
    origin.freshness.begin_round()
    look = origin.look_up(("folder", ""))
    assert isinstance(look, File) is (found is not None)
    assert found is None or (isinstance(look, File) and look.content.read() == found.encode())


def test_folder_is_moved_without_its_slash_and_listed_with_it(site: Site) -> None:
    assert isinstance(site.look("/folder"), SlashRedirect)
    assert site.listed("/") == {"a.txt": False, "folder": True}
    assert site.listed("/folder/") == {"b.txt": False}
    found = site.look("/")
    assert isinstance(found, Directory)
    (entry,) = [entry for entry in found.entries if not entry.is_folder]
    assert (entry.size, entry.modified) == (1, (site.root / "a.txt").stat().st_mtime)


def test_index_file_stands_for_its_folder(site: Site) -> None:
    (site.root / "folder" / "index.html").write_bytes(b"<p>index")
    assert site.read("/folder/") == b"<p>index"
    found = site.look("/folder/")
    assert isinstance(found, File)
    assert found.name == "index.html"


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_index_that_is_no_file_does_not_hide_its_folder(
    site: Site, make: Callable[[Path], None]
) -> None:
    make(site.root / "folder" / "index.html")
    with no_waiting():
        assert "b.txt" in site.listed("/folder/")


def test_listing_leaves_out_what_is_not_served(site: Site, outside: Path) -> None:
    root = site.root
    (root / ".hidden").write_bytes(b"")
    (root / ".well-known").mkdir()
    (root / "..data").mkdir()
    (root / "broken").symlink_to("nothing")
    (root / "loop").symlink_to("loop")
    (root / "out").symlink_to(outside)
    (root / "back\\slash").write_bytes(b"")
    assert site.listed() == {"a.txt": False, "folder": True}
    assert site.is_missing("/broken")


@pytest.mark.parametrize(
    "raw",
    [
        *(b'quote".txt', b"it's", b"<img src=x>", b"a&b;c", b"line\nbreak", b"tab\there", b"\x7f"),
        *(b"caf\xe9.txt", b"\xff\xfe", b"\xc0\xae\xc0\xae", "\u202egnp.html".encode(), b"%2e%2e"),
        *(b"javascript:alert(1)", b"?query", b"#fragment", b"a b", b" ", b"C:", b"con", b"~root"),
        *(b"a (deleted)", b" (deleted)", b"x" * 255, "x\u0301".encode(), b"100%", b"a+b", b"a;b"),
    ],
)
@pytest.mark.usefixtures("_any_real_path")
def test_strange_names_are_listed_and_found(site: Site, raw: bytes) -> None:
    name = os.fsdecode(raw)
    (site.root / "folder" / name).mkdir()
    (site.root / "folder" / name / name).write_bytes(raw)
    assert name in site.listed("/folder/")
    path = f"/folder/{encode_name(name)}/"
    assert site.listed(path) == {name: False}
    assert site.read(path + encode_name(name)) == raw


@settings(max_examples=50)
@given(
    st.sets(
        st.binary(min_size=1, max_size=40).filter(
            lambda raw: raw not in {b".", b".."} and not {0, ord("/")} & set(raw)
        ),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_is_listed_is_found_and_nothing_else_is(raws: set[bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        for raw in raws:
            (Path(name) / os.fsdecode(raw)).write_bytes(raw)
        site = Site(Path(name))
        if b"index.html" in raws:
            assert site.read("/") == b"index.html"
            return
        listed = site.listed()
        assert {os.fsencode(name) for name in listed} == {
            raw for raw in raws if not raw.startswith(b".") and b"\\" not in raw
        }
        for entry in listed:
            assert site.read(f"/{encode_name(entry)}") == os.fsencode(entry)


def test_root_may_be_removed_and_made_again(site: Site) -> None:
    assert site.read("/a.txt") == b"a"
    site.root.rename(site.root.parent / "old")
    assert site.is_missing("/a.txt")
    assert site.is_missing("/")
    site.root.mkdir()
    assert site.is_missing("/a.txt")
    (site.root / "a.txt").write_bytes(b"new")
    assert site.read("/a.txt") == b"new"
    assert site.listed() == {"a.txt": False}


def test_relative_root_stays_where_it_was(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(site.root.parent)
    relative = Site(site.root, named="site")
    monkeypatch.chdir("/")
    assert relative.read("/a.txt") == b"a"


def test_root_behind_a_link_and_two_dots_is_where_the_system_finds_it(
    site: Site, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(site.root / "folder")
    assert Site(site.root, named=str(tmp_path / "link" / "..")).read("/a.txt") == b"a"


def test_root_may_be_the_root(site: Site) -> None:
    whole = Site(site.root, named="/")
    assert whole.read(f"{site.root.resolve()}/a.txt") == b"a"


def test_what_may_not_be_read_is_forbidden() -> None:
    with public_folder() as root:
        (root / "folder").mkdir()
        (root / "folder" / "file").write_bytes(b"")
        (root / "file").write_bytes(b"")
        (root / "index").mkdir()
        (root / "index" / "index.html").write_bytes(b"")
        (root / "list").mkdir()
        site = Site(root)
        try:
            (root / "folder").chmod(0)
            (root / "file").chmod(0)
            (root / "index" / "index.html").chmod(0)
            (root / "list").chmod(0o311)
            with unprivileged():
                for path in ("/file", "/folder/", "/folder/file", "/index/", "/list/"):
                    found = site.look(path)
                    assert isinstance(found, Failed), path
                    assert found.status == 403
                assert isinstance(site.look("/folder"), SlashRedirect)
                assert isinstance(site.look("/list/none"), Missing)
        finally:
            (root / "folder").chmod(0o700)
            (root / "list").chmod(0o700)


@pytest.mark.parametrize(
    "path", ["/" + "n" * 256, "/" + "n" * 7000, "/folder" * 1000, "/a/" * 2600]
)
def test_name_too_long_for_the_system_is_missing(site: Site, path: str) -> None:
    assert site.is_missing(path)
    assert site.is_missing(path + "/")


def test_shortage_of_descriptors_is_said_and_passes(site: Site) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        found = [site.look(path) for path in ("/a.txt", "/", "/folder/b.txt")]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [each.status for each in found if isinstance(each, Failed)] == [503, 503, 503]
    assert site.read("/a.txt") == b"a"
    assert "a.txt" in site.listed()


def test_no_descriptor_has_stopped(site: Site, outside: Path) -> None:
    (site.root / "out").symlink_to(outside / "secret.txt")
    (site.root / "outer").symlink_to(outside)
    (site.root / "large").write_bytes(b"l" * LARGE)
    before = descriptors()
    for path in ("/a.txt", "/out", "/outer/", "/none", "/", "/folder", "/folder/"):
        site.look(path)
    assert descriptors() <= before
    site.look("/large")
    assert descriptors() <= before + 1


def test_a_deleted_file_is_let_go_however_often_it_is_asked_for(site: Site) -> None:
    path = site.root / "large"
    path.write_bytes(b"l" * LARGE)
    assert isinstance(site.look("/large"), File)
    path.unlink()
    before = descriptors()
    for _ in range(3):
        site.folder.expire()
        assert isinstance(site.look("/large"), Missing)
    assert descriptors() <= before - 1
