"""Replies kept ready: what they are made of, how long they hold, and how much room they take."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from portico.http.content import Content, Octets
from portico.http.h1.head import HeadParser
from portico.http.h1.serialize import CLOSE, KEEP_ALIVE, Head
from portico.http.message import Response
from portico.server.reply_cache import INLINE, Reply, ReplyCache
from portico.site.origin.freshness import NEVER, Dependencies, Freshness
from portico.site.origin.open_file import FileSlice, open_file

DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"


class Told:
    """A dependency that says what it was told to say."""

    def __init__(self) -> None:
        self.holding = True
        self.checked = NEVER

    def holds(self) -> bool:
        return self.holding


def reply(content: bytes = b"content", connection: bytes = b"") -> Reply:
    fields = [("Content-Length", str(len(content))), ("Content-Type", "text/plain")]
    response = Response(200, fields, (Octets(content),))
    return Reply(response, Head(200, fields, connection), response.content, (Told(),))


def bare(dependencies: Dependencies, *content: Content) -> Reply:
    """A reply without fields."""
    return Reply(Response(200, []), Head(200, [], b""), content, dependencies)


def test_a_reply_is_one_piece() -> None:
    made = reply()
    made.refresh(1, 1, DATE)
    assert made.data == (
        b"HTTP/1.1 200 OK\r\nServer: Portico\r\nDate: " + DATE + b"\r\nContent-Length: 7\r\n"
        b"Content-Type: text/plain\r\n\r\ncontent"
    )
    assert made.content == ()
    assert made.length == 7
    assert made.head.length == len(made.data) - 7


@pytest.mark.parametrize("connection", [b"", CLOSE, KEEP_ALIVE])
def test_a_reply_tells_the_client_whether_the_connection_goes_on(connection: bytes) -> None:
    made = reply(connection=connection)
    made.refresh(1, 1, DATE)
    assert made.data.endswith(connection + b"\r\ncontent")


def test_longer_content_stands_beside_the_head() -> None:
    assert reply(b"x" * INLINE).content == ()
    made = reply(b"x" * (INLINE + 1))
    made.refresh(1, 1, DATE)
    assert made.octets == (b"x" * (INLINE + 1),)
    assert made.content == (Octets(b"x" * (INLINE + 1)),)
    assert len(made.data) == made.head.length


def test_the_date_is_written_once_a_second() -> None:
    made = reply()
    made.refresh(1, 1, DATE)
    first = made.data
    made.refresh(2, 1, DATE)
    assert made.data is first
    assert made.checked == 2
    made.refresh(3, 2, DATE.replace(b"37", b"38"))
    assert b"08:49:38" in made.data
    assert len(made.data) == len(first)


def test_a_reply_holds_as_long_as_all_its_dependencies_do() -> None:
    dependencies = (Told(), Told())
    made = bare(dependencies)
    assert Freshness().holds(made.dependencies)
    dependencies[1].holding = False
    assert not Freshness().holds(made.dependencies)


def test_a_reply_without_dependencies_never_holds() -> None:
    assert not Freshness().holds(bare(None).dependencies)
    assert Freshness().holds(bare(()).dependencies)


def kept(reply_cache: ReplyCache, path: str, made: Reply | None = None) -> tuple[bytes, Reply]:
    """Keep a reply by its key and by its head, both of which come twice."""
    head = f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode("ascii")
    made = made or reply()
    for _ in range(2):
        reply_cache.keep(HeadParser().key(head), made)
    for _ in range(2):
        reply_cache.keep_head(head, made)
    return head, made


def open_reply(path: Path) -> Reply:
    content = FileSlice(open_file(str(path), os.O_RDONLY, Freshness())[0], 0, path.stat().st_size)
    return bare((Told(),), content)


def test_the_first_head_of_a_reply_is_kept_and_others_when_they_come_again() -> None:
    reply_cache = ReplyCache(1 << 20)
    made = reply()
    reply_cache.keep((b"GET / HTTP/1.1",), made)
    reply_cache.keep_head(b"first", made)
    reply_cache.keep_head(b"other", made)
    assert reply_cache.heads == {b"first": made}
    reply_cache.keep_head(b"other", made)
    assert reply_cache.heads == {b"first": made, b"other": made}


def test_a_flood_pushes_out_the_least_recently_used() -> None:
    reply_cache = ReplyCache(1 << 20)
    used, made = kept(reply_cache, "/used")
    unused, _ = kept(reply_cache, "/unused")
    for number in range(5000):
        kept(reply_cache, f"/{number}")
        reply_cache.touch(made)
    assert used in reply_cache.heads
    assert unused not in reply_cache.heads


def test_a_reply_is_kept_at_first_sight_while_there_is_room_and_then_at_the_second() -> None:
    reply_cache = ReplyCache(1 << 16)
    first, other = (b"GET /1 HTTP/1.1",), (b"GET /2 HTTP/1.1",)
    large = reply(b"x" * (1 << 14))
    reply_cache.keep(first, large)
    assert reply_cache.find(first) is large
    made = reply()
    reply_cache.keep(other, made)
    assert reply_cache.find(other) is None
    reply_cache.keep(other, made)
    assert reply_cache.find(other) is made


def test_a_flood_of_keys_that_come_once_takes_a_fifth_of_the_memory() -> None:
    reply_cache = ReplyCache(1 << 20)
    _, in_use = kept(reply_cache, "/in-use")
    content = b"x" * 4096
    for number in range(2000):
        made = reply(content)
        reply_cache.keep((b"GET /%d HTTP/1.1" % number,), made)
        reply_cache.keep_head(b"GET /%d HTTP/1.1\r\n\r\n" % number, made)
    # A few more are kept: they share their hashes with others.
    share = (1 << 20) // 5
    assert share < reply_cache._weight < share + 20 * made.weight
    assert in_use in reply_cache._entries


def test_an_error_is_kept_only_when_it_comes_again() -> None:
    reply_cache = ReplyCache(1 << 20)
    key = (b"GET /none HTTP/1.1",)
    made = Reply(Response(404, []), Head(404, [], b""), (), ())
    reply_cache.keep(key, made)
    assert reply_cache.find(key) is None
    reply_cache.keep(key, made)
    assert reply_cache.find(key) is made


def test_contents_are_kept_within_the_limit_and_given_back_when_they_are_not_used() -> None:
    content = b"x" * 65536
    reply_cache = ReplyCache(1 << 20)
    replies = [kept(reply_cache, f"/{number}", reply(content))[1] for number in range(50)]
    assert all(each.octets == (content,) for each in replies)
    assert 10 < len(reply_cache) < (1 << 20) // len(content)
    for _ in range(2):
        reply_cache.touch(replies[-1])
        reply_cache.expire()
    assert list(reply_cache._entries) == [replies[-1]]
    for _ in range(2):
        reply_cache.expire()
    assert len(reply_cache) == reply_cache._weight == 0
    assert not reply_cache.heads


def test_a_reply_is_found_for_any_query_only_if_it_is_the_same_for_all() -> None:
    reply_cache = ReplyCache(1 << 20)
    for any_query in (True, False):
        key = (b"GET /%d HTTP/1.1" % any_query,)
        response = Response(200, [])
        response.any_query = any_query
        made = Reply(response, Head(200, [], b""), (), ())
        for _ in range(2):
            reply_cache.keep(key, made)
        assert reply_cache.find(key) is made
        assert reply_cache.find_for_any_query(key) is (made if any_query else None)


def test_a_copy_with_another_log_text_shares_the_rest() -> None:
    made = reply(b"x" * (INLINE + 1))
    made.refresh(1, 1, DATE)
    copied = made.with_log_text(("other", "text"))
    assert (made.log_text, copied.log_text) == (("", ""), ("other", "text"))
    assert copied.data is made.data
    assert copied.octets is made.octets


def test_no_memory_keeps_nothing() -> None:
    reply_cache = ReplyCache(0)
    kept(reply_cache, "/")
    assert len(reply_cache) == 0
    assert not reply_cache.heads
