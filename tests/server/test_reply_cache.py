"""Replies kept ready: what they are made of, how long they hold, and how much room they take."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from portico.http.h1.head import HeadParser
from portico.http.message import Response
from portico.server.reply_cache import CLOSE, KEEP_ALIVE, Memo, Reply
from portico.site.origin.folder import SMALL, TINY
from portico.site.origin.open_file import FileSlice, open_file

DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"


class Told:
    """A witness that says what it was told to say."""

    def __init__(self) -> None:
        self.holding = True
        self.epoch = -1

    def holds(self, epoch: int) -> bool:
        return self.holding and epoch >= 0


def reply(content: bytes = b"content", connection: bytes = b"", *, close: bool = False) -> Reply:
    fields = [("Content-Length", str(len(content))), ("Content-Type", "text/plain")]
    return Reply(Response(200, fields, (content,), close=close), connection, (Told(),))


def test_a_reply_is_one_piece() -> None:
    made = reply()
    made.write(1, 1, DATE)
    assert made.data == (
        b"HTTP/1.1 200 OK\r\nServer: Portico\r\nDate: " + DATE + b"\r\nContent-Length: 7\r\n"
        b"Content-Type: text/plain\r\n\r\ncontent"
    )
    assert made.content == ()
    assert made.length == 7
    assert made.head_length == len(made.data) - 7


@pytest.mark.parametrize("connection", [b"", CLOSE, KEEP_ALIVE])
def test_a_reply_says_whether_the_connection_goes_on(connection: bytes) -> None:
    made = reply(connection=connection)
    made.write(1, 1, DATE)
    assert made.data.endswith(connection + b"\r\ncontent")
    assert made.close == (connection == CLOSE)
    assert not made.linger
    assert reply(close=True).linger


def test_longer_content_stands_beside_the_head() -> None:
    assert reply(b"x" * TINY).content == ()
    made = reply(b"x" * (TINY + 1))
    made.write(1, 1, DATE)
    assert made.content == (b"x" * (TINY + 1),)
    assert len(made.data) == made.head_length


def test_the_date_is_written_once_a_second() -> None:
    made = reply()
    made.write(1, 1, DATE)
    first = made.data
    made.write(2, 1, DATE)
    assert made.data is first
    assert made.epoch == 2
    made.write(3, 2, DATE.replace(b"37", b"38"))
    assert b"08:49:38" in made.data
    assert len(made.data) == len(first)


def test_a_reply_holds_as_long_as_all_its_witnesses_do() -> None:
    witnesses = (Told(), Told())
    made = Reply(Response(200, []), b"", witnesses)
    assert made.may_be_kept
    assert made.holds(1)
    witnesses[1].holding = False
    assert not made.holds(1)


def test_a_reply_without_witnesses_never_holds() -> None:
    made = Reply(Response(200, []), b"", None)
    assert not made.may_be_kept
    assert not made.holds(1)
    assert Reply(Response(200, []), b"", ()).holds(1)


def kept(memo: Memo, path: str, made: Reply | None = None) -> tuple[bytes, Reply]:
    """Keep a reply by its key and, since it is offered twice, by its head."""
    head = f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode("ascii")
    made = made or reply()
    memo.keep(HeadParser().key(head), made)
    for _ in range(2):
        memo.keep_head(head, made)
    return head, made


def open_reply(path: Path) -> Reply:
    content = FileSlice(open_file(str(path), os.O_RDONLY, 0)[0], 0, path.stat().st_size)
    return Reply(Response(200, [], (content,)), b"", (Told(),))


def test_long_heads_are_not_kept() -> None:
    memo = Memo(1 << 20)
    short, _ = kept(memo, "/short")
    long, made = kept(memo, "/" + "x" * 3000)
    assert short in memo.heads
    assert long not in memo.heads
    assert memo.find(HeadParser().key(long)) is made


def test_a_head_is_kept_when_it_comes_again() -> None:
    memo = Memo(1 << 20)
    made = reply()
    memo.keep((b"GET / HTTP/1.1",), made)
    memo.keep_head(b"once", made)
    assert not memo.heads
    memo.keep_head(b"once", made)
    assert memo.heads == {b"once": made}


def test_a_head_is_not_kept_without_its_reply() -> None:
    memo = Memo(1 << 20)
    for _ in range(3):
        memo.keep_head(b"head", reply())
    assert not memo.heads


def test_what_is_dropped_is_gone_with_its_heads() -> None:
    memo = Memo(1 << 20)
    head, made = kept(memo, "/")
    memo.drop(made)
    memo.drop(made)
    assert not memo.heads
    assert len(memo) == 0
    assert kept(memo, "/")[0] == head
    assert head in memo.heads


def test_a_reply_takes_the_place_of_another_with_the_same_key() -> None:
    memo = Memo(1 << 20)
    _, old = kept(memo, "/")
    head, new = kept(memo, "/")
    assert memo.heads == {head: new}
    assert len(memo) == 1
    memo.drop(old)
    assert memo.heads == {head: new}


def test_a_flood_stays_within_the_bound() -> None:
    """Weighed by what is kept: heads, and replies with their content."""
    memory = 1 << 20
    memo = Memo(memory)
    for number in range(5000):
        kept(memo, f"/{number}", reply(b"x" * 1000))
    assert 0 < len(memo) * 2000 < memory
    assert len(memo.heads) == len(memo)


def test_a_flood_pushes_out_the_least_recently_used() -> None:
    memo = Memo(1 << 20)
    used, made = kept(memo, "/used")
    unused, _ = kept(memo, "/unused")
    for number in range(5000):
        kept(memo, f"/{number}")
        memo.touch(made)
    assert used in memo.heads
    assert unused not in memo.heads


def test_heads_of_one_reply_do_not_push_out_the_others() -> None:
    memo = Memo(1 << 20)
    other, _ = kept(memo, "/other")
    made = reply()
    memo.keep((b"GET /popular HTTP/1.1",), made)
    for number in range(20_000):
        for _ in range(2):
            memo.keep_head(b"head %d" % number, made)
    assert other in memo.heads
    assert 100 < len(memo.heads) < 2000


def test_few_replies_keep_a_file_open(tmp_path: Path) -> None:
    memo = Memo(1 << 20, 50)
    (tmp_path / "file").write_bytes(b"x")
    for number in range(1000):
        made = open_reply(tmp_path / "file")
        assert made.holds_file
        kept(memo, f"/{number}", made)
    assert 40 <= len(memo) <= 50


def test_little_of_a_file_is_read_when_it_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"short")
    made = open_reply(path)
    assert not made.octets
    assert made.load()
    assert made.octets == (b"short",)
    made.unload()
    assert not made.octets
    path.write_bytes(b"cut")
    assert not made.load()
    path.write_bytes(bytes(SMALL + 1))
    assert open_reply(path).short is None


def test_what_is_read_makes_the_witness_look_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    os.utime(path, (1, 1))
    time.sleep(0.06)
    opened, _ = open_file(str(path), os.O_RDONLY, 1)
    made = Reply(Response(200, [], (FileSlice(opened, 0, 3),)), b"", (opened.witness,))
    assert made.holds(1)
    path.write_bytes(b"new")
    assert made.holds(1)
    assert made.load()
    assert not made.holds(1)


def test_what_is_not_used_expires() -> None:
    memo = Memo(1 << 20)
    used, made = kept(memo, "/used")
    unused, _ = kept(memo, "/unused")
    for _ in range(3):
        memo.expire()
        assert used in memo.heads
        memo.touch(made)
    assert unused not in memo.heads
    for _ in range(2):
        memo.expire()
    assert len(memo) == 0


def test_no_memory_keeps_nothing() -> None:
    memo = Memo(0)
    kept(memo, "/")
    assert len(memo) == 0
    assert not memo.heads
