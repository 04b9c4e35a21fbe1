"""What is in memory is served on only while it lies in the root."""

from __future__ import annotations

from pathlib import Path

import pytest

from portico.site.origin.folder import SMALL, Folder
from portico.site.origin.protocol import File, Missing


@pytest.mark.parametrize("size", [10, SMALL + 1])
@pytest.mark.parametrize("moved", ["one", "one/two"])
def test_a_folder_moved_out_and_linked_is_outside(tmp_path: Path, size: int, moved: str) -> None:
    root, outside = tmp_path / "site", tmp_path / "outside"
    (root / "one" / "two").mkdir(parents=True)
    outside.mkdir()
    (root / "one" / "two" / "file").write_bytes(bytes(size))
    folder = Folder(str(root), 1 << 20)
    names = ("one", "two", "file")
    found = folder.look_up(names)
    assert isinstance(found, File)
    assert found.dependencies
    (root / moved).rename(outside / "moved")
    (root / moved).symlink_to(outside / "moved")
    folder.freshness.begin_request()
    assert not folder.freshness.holds(found.dependencies)
    assert isinstance(folder.look_up(names), Missing)


def test_a_folder_moved_within_the_root_and_linked_is_served(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "file").write_bytes(b"text")
    folder = Folder(str(tmp_path), 1 << 20)
    assert isinstance(folder.look_up(("one", "file")), File)
    (tmp_path / "one").rename(tmp_path / "other")
    (tmp_path / "one").symlink_to("other")
    folder.freshness.begin_request()
    assert isinstance(folder.look_up(("one", "file")), File)


def test_without_memory_no_descriptor_is_kept(tmp_path: Path) -> None:
    from portico.http.h1.serialize import Head
    from portico.server.reply_cache import CachedReply, ReplyCache

    (tmp_path / "large").write_bytes(bytes(SMALL + 1))
    found = Folder(str(tmp_path), 0).look_up(("large",))
    assert isinstance(found, File)
    reply_cache = ReplyCache(0)
    reply = CachedReply(200, Head(200, [], b""), (found.content,), ())
    reply_cache.keep((b"GET /large HTTP/1.1",), reply)
    assert len(reply_cache) == 0
