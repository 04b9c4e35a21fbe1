"""From a head to a reply, for all connections of a worker: what is kept, and when it is not."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from portico.config.config import Config
from portico.http.dates import imf_fixdate
from portico.http.h1.head import head_end
from portico.http.message import ProtocolError
from portico.server.fairness import QUIET_SECONDS, Bursts, Shares
from portico.server.net.send_queue import BURST, LONG_BURST
from portico.server.reply_cache import Reply, ReplyCache
from portico.server.responder import Responder, Services
from portico.server.telemetry.access_log import AccessLog
from portico.server.telemetry.telemetry import Telemetry
from portico.site.origin.folder import OPEN_FILES, SMALL, Folder
from portico.site.origin.freshness import Freshness
from portico.site.origin.protocol import Found
from portico.site.site import Site
from tests.server.clients import descriptors, get, request


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one file."""
    (tmp_path / "file.txt").write_bytes(b"content")
    return tmp_path


def responder_of(
    folder: Path | Folder, log: AccessLog | None = None, open_files: int = OPEN_FILES
) -> Responder:
    origin = folder if isinstance(folder, Folder) else Folder(Config.of(root=str(folder)), 1 << 20)
    services = Services(Config.of(), Shares(), Telemetry(log))
    return Responder(services, Site(origin), ReplyCache(1 << 20, open_files))


def ask(responder: Responder, head: bytes) -> Reply:
    assert head_end(head) == len(head)
    reply, _ = responder.reply_to(head)
    assert reply is not None
    return reply


def test_a_head_that_differs_in_what_cannot_matter_gets_the_same_reply(folder: Path) -> None:
    responder = responder_of(folder)
    known = ask(responder, get("/file.txt", "Cookie: a=1"))
    assert ask(responder, get("/file.txt", "User-Agent: b")) is known
    assert ask(responder, get("/file.txt?query", "User-Agent: b")) is known


@pytest.mark.parametrize(
    "other",
    [
        get("/file.txt", "Connection: close"),
        get("/file.txt", version="1.0"),
        request("HEAD", "/file.txt"),
        get("/file.txt", "Accept: application/json"),
        get("/file.txt").replace(b"localhost", b"other"),
    ],
)
def test_a_head_that_differs_in_what_can_matter_gets_its_own(folder: Path, other: bytes) -> None:
    responder = responder_of(folder)
    assert ask(responder, get("/file.txt")) is not ask(responder, other)


def test_a_request_with_content_is_never_kept(folder: Path) -> None:
    responder = responder_of(folder)
    for line in ("Content-Length: 3", "Transfer-Encoding: chunked", "Expect: 100-continue"):
        head = get("/file.txt", line)
        for _ in range(4):
            _, asked = responder.reply_to(head)
            assert asked is not None
        assert responder.reply_cache.heads.get(head) is None
    _, asked = responder.reply_to(get("/file.txt", "Content-Length: 0"))
    assert asked is None


def test_a_reply_is_looked_at_again_in_each_epoch(folder: Path) -> None:
    responder = responder_of(folder)
    head = get("/file.txt")
    for _ in range(3):
        first = ask(responder, head)
    assert ask(responder, head) is first
    (folder / "file.txt").write_bytes(b"changed")
    assert ask(responder, head) is first  # the same turn: nothing was looked at
    responder.begin_turn(responder.now)
    assert ask(responder, head).data.endswith(b"changed")
    (folder / "file.txt").unlink()
    responder.begin_turn(responder.now)
    assert ask(responder, head).status == 404


def test_bursts_are_long_where_nobody_was_answered_for_a_while() -> None:
    bursts, now = Bursts(), 1000.0
    assert bursts.take(now, 1) == BURST
    assert bursts.take(now + QUIET_SECONDS / 2, 1) == BURST
    quiet = now + QUIET_SECONDS
    assert [bursts.take(quiet, 1) for _ in range(3)] == [LONG_BURST, BURST, BURST]
    assert bursts.take(now + 2 * QUIET_SECONDS, 1) == LONG_BURST
    assert bursts.take(now + 2 * QUIET_SECONDS, 2) == BURST


def test_while_draining_each_reply_is_the_last(folder: Path) -> None:
    responder = responder_of(folder)
    for _ in range(3):
        assert not ask(responder, get("/file.txt")).close
    responder.begin_drain()
    for _ in range(3):
        assert ask(responder, get("/file.txt")).close
    assert b"Connection: close" in ask(responder, get("/file.txt", version="1.0")).data


def test_a_log_line_is_that_of_the_request(folder: Path) -> None:
    """Also when an empty line came before it, or when another client's cookie differs."""
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        responder = responder_of(
            folder, AccessLog(null, Config.of(log_format="combined", color="never"))
        )
        expected = ('"GET /file.txt HTTP/1.1" 200 ', ' "-" "a"\n')
        for head in (
            b"\r\n" + get("/file.txt", "User-Agent: a"),
            get("/file.txt", "User-Agent: a"),
            get("/file.txt", "User-Agent: a", "Cookie: b"),
        ):
            assert ask(responder, head).log_text == expected
        other = ask(responder, get("/file.txt", "User-Agent: c"))
        assert other.log_text[1] == ' "-" "c"\n'
        refused = responder.refuse(ProtocolError(400, "no"), b"nonsense\r\nmore\r\n\r\n")
        assert refused.log_text[0] == '"nonsense" 400 '
    finally:
        os.close(null)


class Broken:
    """An origin with a fault."""

    freshness = Freshness()

    def look_up(self, names: tuple[str, ...]) -> Found:
        raise LookupError(f"no {names}")


def test_a_fault_of_ours_is_500_and_reported(capfd: pytest.CaptureFixture[str]) -> None:
    responder = Responder(Services(Config.of(), Shares()), Site(Broken()), ReplyCache(1 << 20))
    for _ in range(2):
        reply = ask(responder, get("/file.txt"))
        assert reply.status == 500
        assert reply.close
        assert b"LookupError" not in reply.data
        assert "LookupError: no (" in capfd.readouterr().err
    reply = ask(responder, get("/file.txt").replace(b"GET", b"HEAD", 1))
    assert reply.status == 500
    assert reply.data.endswith(b"\r\n\r\n")
    assert not reply.content
    assert "LookupError" in capfd.readouterr().err


def test_files_out_of_use_are_closed(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}.bin").write_bytes(bytes(SMALL + 1))
    time.sleep(0.06)  # until the files' fingerprints can be relied on
    folder = Folder(Config.of(root=str(tmp_path)), 1 << 20)
    responder = responder_of(folder)
    before = descriptors()
    for _ in range(3):
        for number in range(20):
            assert ask(responder, get(f"/{number}.bin")).length == SMALL + 1
    assert len(responder.reply_cache) == 20
    assert descriptors() == before + 20
    for _ in range(2):
        responder.reply_cache.expire()
        folder.expire()
    assert descriptors() <= before


def test_small_files_are_kept_in_memory_and_none_of_them_open(tmp_path: Path) -> None:
    (tmp_path / "small.bin").write_bytes(bytes(SMALL))
    time.sleep(0.06)  # until the file's fingerprint can be relied on
    responder = responder_of(tmp_path)
    before = descriptors()
    replies = [ask(responder, get("/small.bin")) for _ in range(3)]
    assert replies[0] is replies[1] is replies[2]
    assert replies[2].octets == (bytes(SMALL),)
    assert descriptors() <= before


def queries(responder: Responder, path: str) -> list[Reply]:
    """The replies to a path with five queries, each asked once."""
    return [ask(responder, get(f"{path}?v={number}")) for number in range(5)]


@pytest.mark.parametrize("path", ["/file.txt", "/none"])
def test_one_reply_is_kept_for_all_queries(folder: Path, path: str) -> None:
    responder = responder_of(folder)
    ask(responder, get(path))  # an error is kept when it comes again
    assert len({id(reply) for reply in queries(responder, path)}) == 1
    assert len(responder.reply_cache) == 1
    without = ask(responder, get(path))
    assert without is queries(responder, path)[0]
    (folder / "file.txt").write_bytes(b"changed")
    (folder / "none").write_bytes(b"changed")
    responder.begin_turn(responder.now)
    assert ask(responder, get(f"{path}?new")).data.endswith(b"changed")


@pytest.mark.parametrize(("path", "status"), [("/folder/", 200), ("/folder", 301)])
def test_what_the_query_can_change_is_not_shared(folder: Path, path: str, status: int) -> None:
    """A listing is sorted by it, a redirect keeps it."""
    (folder / "folder").mkdir()
    responder = responder_of(folder)
    for _ in range(3):
        replies = queries(responder, path)
        assert {reply.status for reply in replies} == {status}
        assert len({id(reply) for reply in replies}) == 5
    assert status == 200 or b"Location: folder/?v=4\r\n" in replies[4].data


def test_each_log_line_has_its_own_query(folder: Path) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        responder = responder_of(
            folder, AccessLog(null, Config.of(log_format="common", color="never"))
        )
        for _ in range(3):
            for number, reply in enumerate(queries(responder, "/file.txt")):
                assert f'"GET /file.txt?v={number} HTTP/1.1" 200 ' in reply.log_text[0]
        assert len(responder.reply_cache) == 1
        assert not responder.reply_cache.heads
        assert '"GET /file.txt HTTP/1.1"' in ask(responder, get("/file.txt")).log_text[0]
    finally:
        os.close(null)


def test_last_modified_is_never_later_than_date_although_the_clock_is_set_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(folder / "file.txt", (1_000_000_000, 1_000_000_000))
    responder = responder_of(folder)
    for now in (1_500_000_000, 900_000_000):
        monkeypatch.setattr(time, "time", lambda now=now: float(now))
        responder.begin_turn(0)
        for _ in range(3):
            reply = ask(responder, get("/file.txt"))
            dates = dict(line.split(b": ", 1) for line in reply.data.split(b"\r\n")[1:-2])
            modified = imf_fixdate(min(now, 1_000_000_000)).encode("ascii")
            assert (dates[b"Date"], dates[b"Last-Modified"]) == (
                imf_fixdate(now).encode("ascii"),
                modified,
            )
