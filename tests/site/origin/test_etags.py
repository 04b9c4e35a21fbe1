"""Entity tags: one tag for one state, in every response, after a restart and on every worker."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from portico.config.config import Config
from portico.http.dates import imf_fixdate
from portico.site.origin import etags
from portico.site.origin.etags import HASHED_UP_TO, Digests, tag_of_large
from portico.site.origin.fingerprint import Disturbed, fingerprint
from portico.site.origin.folder import SMALL, Folder
from portico.site.origin.freshness import Freshness
from portico.site.origin.open_file import Waiting, open_file
from portico.site.origin.protocol import Failed, File
from tests.server.clients import descriptors
from tests.site.asking import Client, age, content, fields, final, settle_all, tag
from tests.site.compression.copying import text
from tests.site.on_disk import Interruption, settle

MEDIUM = text(SMALL + 1)
LONG = text(3 << 20)
"""So long that it is read in several pieces."""
CONTENTS = {"small.html": b"small", "medium.bin": MEDIUM, "long.bin": LONG}
HUGE = HASHED_UP_TO + 1


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    root.mkdir()
    for name, octets in CONTENTS.items():
        (root / name).write_bytes(octets)
    with (root / "huge.bin").open("wb") as huge:
        huge.truncate(HUGE)
    settle_all(root)
    return root


@pytest.fixture
def client(root: Path) -> Client:
    return Client(root)


def look(folder: Folder, name: str) -> File:
    folder.freshness.begin_round()
    found = folder.look_up((name,))
    assert isinstance(found, File)
    return found


# One state, one tag


@pytest.mark.parametrize("name", CONTENTS)
def test_the_tag_is_of_the_content_from_the_first_response_on(client: Client, name: str) -> None:
    first = client.ask(f"/{name}")
    assert fields(first)["ETag"] == final(CONTENTS[name])
    assert fields(first)["Accept-Ranges"] == "bytes"
    assert client.holds()
    assert client.ask(f"/{name}").fields == first.fields


@pytest.mark.parametrize("name", [*CONTENTS, "huge.bin"])
def test_the_tag_is_the_same_on_every_worker_and_after_a_restart(root: Path, name: str) -> None:
    config = Config.of(root=str(root))
    folders = [Folder(config, memory) for memory in (1 << 20, 1 << 20, 0)]
    folders.append(Folder(config, 1 << 20, like=folders[0]))
    tags = [look(folder, name).etag for _ in range(3) for folder in folders]
    assert len(set(tags)) == 1
    assert tags[0].startswith('"')
    assert tags[0].endswith('"')


@pytest.mark.parametrize("name", CONTENTS)
def test_replicas_agree_whatever_their_dates(tmp_path: Path, name: str) -> None:
    tags = []
    for number, stamp in enumerate((0, 315_532_800, 1_000_000_000)):
        root = tmp_path / f"replica {number}"
        root.mkdir()
        (root / name).write_bytes(CONTENTS[name])
        age(root / name, stamp)
        tags.append(tag(Client(root), f"/{name}"))
    assert len(set(tags)) == 1


@pytest.mark.parametrize("octets", [b"another", b"Small", MEDIUM, MEDIUM[::-1]])
def test_one_date_and_size_do_not_make_one_tag(client: Client, octets: bytes) -> None:
    path = client.root / ("small.html" if len(octets) < SMALL else "medium.bin")
    path.write_bytes(octets[::-1])
    before = tag(client, f"/{path.name}")
    stamp = path.stat().st_mtime_ns
    path.write_bytes(octets)
    os.utime(path, ns=(stamp, stamp))
    assert tag(client, f"/{path.name}") == final(octets) != before


@pytest.mark.parametrize("size", [5, SMALL + 5])
def test_the_tag_is_right_even_while_the_file_changes(client: Client, size: int) -> None:
    """However young it is: the tag is of the octets that were read."""
    for number in range(20):
        octets = b"%05d" % number * (size // 5)
        (client.root / "new.html").write_bytes(octets)
        response = client.ask("/new.html")
        assert content(response) == octets
        assert fields(response)["ETag"] == final(octets)


@pytest.mark.parametrize("name", CONTENTS)
def test_it_is_a_strong_validator(client: Client, name: str) -> None:
    own, path = final(CONTENTS[name]), f"/{name}"
    assert client.ask(path, f"If-None-Match: W/{own}").status == 304
    assert client.ask(path, f"If-Match: {own}").status == 200
    assert client.ask(path, f"If-Match: W/{own}").status == 412
    part = client.ask(path, "Range: bytes=1-2", f"If-Range: {own}")
    assert (part.status, content(part)) == (206, CONTENTS[name][1:3])
    assert client.ask(path, "Range: bytes=1-2", f"If-Range: W/{own}").status == 200


# Large files


def test_a_large_file_has_a_tag_of_its_size_and_date(client: Client) -> None:
    path = client.root / "huge.bin"
    first = tag(client, "/huge.bin")
    assert first == tag_of_large(path.stat())
    assert client.holds()
    stamp = path.stat().st_mtime_ns
    os.truncate(path, HUGE + 1)
    os.utime(path, ns=(stamp, stamp))
    second = tag(client, "/huge.bin")
    os.utime(path, ns=(stamp, stamp + 1))
    third = tag(client, "/huge.bin")
    assert len({first, second, third}) == 3
    os.truncate(path, HUGE)
    os.utime(path, ns=(stamp, stamp))
    assert tag(client, "/huge.bin") == first


def test_replicas_of_a_large_file_agree_if_its_date_is_preserved(tmp_path: Path) -> None:
    tags = []
    for number in range(2):
        root = tmp_path / f"replica {number}"
        root.mkdir()
        (root / "huge.bin").touch()
        os.truncate(root / "huge.bin", HUGE)
        age(root / "huge.bin", 315_532_800)
        tags.append(tag(Client(root), "/huge.bin"))
    assert len(set(tags)) == 1


def test_a_large_file_is_not_read_for_its_tag(root: Path, around_read: Interruption) -> None:
    for may_wait in (True, False):
        found = look(Folder(Config.of(root=str(root)), 1 << 20, may_wait=may_wait), "huge.bin")
        assert found.digest is None
    assert around_read.calls == 0


def test_a_young_large_file_has_its_tag_and_ranges(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But the response is not reused, for the next change might leave no trace."""
    status = (client.root / "huge.bin").stat()
    monkeypatch.setattr(time, "time_ns", lambda: status.st_ctime_ns + 1_000_000)
    whole = fields(client.ask("/huge.bin"))
    assert whole["ETag"] == tag_of_large(status)
    assert whole["Accept-Ranges"] == "bytes"
    assert whole["Last-Modified"] == imf_fixdate(status.st_mtime)
    assert not client.holds()
    part = client.ask("/huge.bin", "Range: bytes=0-9", f"If-Range: {whole['ETag']}")
    assert (part.status, content(part)) == (206, bytes(10))
    assert client.ask("/huge.bin", f"If-None-Match: {whole['ETag']}").status == 304
    monkeypatch.undo()
    assert fields(client.ask("/huge.bin")) == whole


# Who hashes


def test_the_loop_lets_a_thread_hash_and_then_knows_the_tag(
    root: Path, around_read: Interruption
) -> None:
    config = Config.of(root=str(root))
    loop = Folder(config, 1 << 20, may_wait=False)
    thread = Folder(config, 1 << 20, like=loop)
    for _ in range(2):
        with pytest.raises(Waiting) as raised:
            look(loop, "long.bin")
        assert raised.value.work is None
        assert raised.value.place == (root / "long.bin").stat().st_dev
    assert around_read.calls == 0
    assert look(thread, "long.bin").etag == final(LONG)
    hashed = around_read.calls
    assert hashed >= 3
    assert look(loop, "long.bin").etag == final(LONG)
    assert look(thread, "long.bin").etag == final(LONG)
    assert around_read.calls == hashed
    assert look(loop, "huge.bin").etag


def test_one_file_is_hashed_once_by_whatever_name(root: Path, around_read: Interruption) -> None:
    os.link(root / "long.bin", root / "second.bin")
    (root / "third.bin").symlink_to("long.bin")
    settle_all(root)
    folder = Folder(Config.of(root=str(root)), 1 << 20)
    assert look(folder, "long.bin").etag == final(LONG)
    hashed = around_read.calls
    for name in ("second.bin", "third.bin"):
        assert look(folder, name).etag == final(LONG)
    assert around_read.calls == hashed


def test_a_touched_file_is_hashed_again(client: Client, around_read: Interruption) -> None:
    assert tag(client, "/long.bin") == final(LONG)
    hashed = around_read.calls
    age(client.root / "long.bin")
    settle(client.root / "long.bin")
    assert tag(client, "/long.bin") == final(LONG)
    assert around_read.calls == 2 * hashed


# Files that change while they are hashed, and disks that fail


def rewrite(path: Path) -> None:
    with path.open("r+b") as opened:
        opened.seek(-3, os.SEEK_END)
        opened.write(b"new")


def rewrite_unseen(path: Path) -> None:
    stamp = path.stat().st_mtime_ns
    rewrite(path)
    os.utime(path, ns=(stamp, stamp))


def replace(path: Path) -> None:
    path.with_name(".new").write_bytes(LONG[::-1])
    path.with_name(".new").replace(path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "rewritten": rewrite,
    "rewritten, its date kept": rewrite_unseen,
    "replaced": replace,
    "grown": lambda path: path.write_bytes(LONG + LONG),
    "cut": lambda path: os.truncate(path, SMALL + 5),
    "cut to a small one": lambda path: os.truncate(path, 5),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_file_that_changes_while_it_is_hashed_is_looked_at_again(
    client: Client, around_read: Interruption, change: Callable[[Path], object]
) -> None:
    path = client.root / "long.bin"
    around_read.after = lambda: change(path)
    response = client.ask("/long.bin")
    octets = path.read_bytes()
    assert fields(response)["ETag"] == final(octets)
    assert content(response) == octets
    settle_all(client.root)
    assert tag(client, "/long.bin") == tag(Client(client.root), "/long.bin") == final(octets)


def test_a_file_that_goes_while_it_is_hashed_is_missing(
    client: Client, around_read: Interruption
) -> None:
    around_read.after = (client.root / "long.bin").unlink
    assert client.ask("/long.bin").status == 404


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_the_digest_of_a_mixture_is_not_remembered(
    root: Path, around_read: Interruption, change: Callable[[Path], object]
) -> None:
    path, digests = root / "long.bin", Digests()
    opened, status = open_file(str(path), os.O_RDONLY, Freshness())
    around_read.after = lambda: change(path)
    if change is not replace:  # what was opened is whole for ever
        with pytest.raises(Disturbed):
            digests.of_file(opened, status)
        assert digests.recall(status) is None
    assert digests.recall(path.stat()) is None


def test_a_log_that_is_written_all_the_time_is_sent(
    client: Client, around_read: Interruption
) -> None:
    """It has the tag of a large file, and none that would outlive the state."""
    path = client.root / "medium.bin"

    def append() -> None:
        with path.open("ab") as opened:
            opened.write(b"line\n")

    around_read.after, around_read.always = append, True
    response = client.ask("/medium.bin")
    assert response.status == 200
    assert fields(response)["ETag"] == tag_of_large(path.stat())
    assert not client.holds()
    around_read.after = None
    assert tag(client, "/medium.bin") == final(path.read_bytes())


def test_a_disk_that_fails_while_a_file_is_hashed_is_an_error_once(
    client: Client, around_read: Interruption
) -> None:
    def fail() -> None:
        raise OSError(5, "the disk fails")

    around_read.before = fail
    found = client.folder.look_up(("long.bin",))
    assert isinstance(found, Failed)
    assert found.status == 500
    assert tag(client, "/long.bin") == final(LONG)


# What is remembered


def test_no_descriptor_stays_open_for_what_was_hashed(root: Path) -> None:
    before = descriptors()
    client = Client(root)
    client.ask("/long.bin")
    for _ in range(3):
        client.folder.expire()
    client.ask("/small.html")
    assert descriptors() <= before


def test_digests_that_are_remembered_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portico.site.origin.etags.KNOWN", 8)
    for number in range(30):
        (tmp_path / f"{number}.bin").write_bytes(MEDIUM)
    settle_all(tmp_path)
    folder = Folder(Config.of(root=str(tmp_path)), 1 << 20)
    for number in [*range(30)] * 2:
        assert look(folder, f"{number}.bin").etag == final(MEDIUM)
    assert 0 < len(folder.digests._known) <= 8


def test_a_young_digest_is_not_remembered(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next change could leave the fingerprint as it is."""
    status, digests = (root / "small.html").stat(), Digests()
    content = b"small" * 1000
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: status.st_ctime_ns + 1_000_000)
        digests.of_octets(content, status)
    assert digests.recall(status) is None
    digests.of_octets(content, status)
    assert digests.recall(status) is not None
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: status.st_ctime_ns + 1_000_000)
        assert digests.recall(status) is None
    assert fingerprint(status) in digests._known.young


def test_digests_stay_what_they_are_once_openssl_makes_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(etags, "_WORTH_OPENSSL", 10)
    digests, status = Digests(), Path(__file__).stat()
    made = {digests.of_octets(b"12345", status) for _ in range(3)}
    while digests._hash == digests._hash_and_count:
        time.sleep(0.001)
    made.add(digests.of_octets(b"12345", status))
    assert made == {etags.sha256(b"12345")}
