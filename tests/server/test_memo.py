"""Replies kept ready: what they are made of, how long they hold, and how much room they take."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from portico.http.h1 import HeadParser
from portico.http.message import Response
from portico.server.memo import CLOSE, JOINED, KEEP_ALIVE, Memo, Reply
from portico.site.disk import FileSlice, OpenFile

DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"


class Told:
    """A witness that says what it was told to say."""

    def __init__(self) -> None:
        self.holding = True

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
    assert reply(b"x" * JOINED).content == ()
    made = reply(b"x" * (JOINED + 1))
    made.write(1, 1, DATE)
    assert made.content == (b"x" * (JOINED + 1),)
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


def test_long_heads_are_not_kept() -> None:
    memo = Memo(1 << 20)
    for head in (b"short", b"x" * 3000):
        for _ in range(3):
            memo.keep_head(head, reply())
    assert memo.heads.get(b"short") is not None
    assert memo.heads.get(b"x" * 3000) is None


def test_a_flood_stays_within_the_bound() -> None:
    """Weighed by what is kept: heads, and replies with their content."""
    memory = 1 << 20
    memo = Memo(memory)
    parser = HeadParser()
    for number in range(5000):
        head = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number
        made = reply(b"x" * 1000)
        memo.replies.put(parser.key(head), made)
        for _ in range(2):
            memo.keep_head(head, made)
    assert 0 < len(memo.replies) * 1000 < memory // 2
    assert len(memo.heads) * 50 < memory // 2


def test_few_replies_keep_a_file_open(tmp_path: Path) -> None:
    memo = Memo(1 << 20)
    (tmp_path / "file").write_bytes(b"x")
    parser = HeadParser()
    for number in range(1000):
        fd = os.open(tmp_path / "file", os.O_RDONLY)
        content = FileSlice(OpenFile(fd, os.fstat(fd)), 0, 1)
        made = Reply(Response(200, [], (content,)), b"", (Told(),))
        assert made.holds_file
        head = b"GET /%d HTTP/1.1\r\n\r\n" % number
        memo.replies.put(parser.key(head), made)
        for _ in range(2):
            memo.keep_head(head, made)
    assert len(memo.replies) <= 128
    assert len(memo.heads) <= 128


def test_what_is_not_used_expires() -> None:
    memo = Memo(1 << 20)
    for head in (b"used", b"unused"):
        for _ in range(2):
            memo.keep_head(head, reply())
    for _ in range(3):
        memo.expire()
        assert memo.heads.get(b"used") is not None
    assert memo.heads.get(b"unused") is None


def test_no_memory_keeps_nothing() -> None:
    memo = Memo(0)
    for _ in range(3):
        memo.keep_head(b"head", reply())
    assert memo.heads.get(b"head") is None
