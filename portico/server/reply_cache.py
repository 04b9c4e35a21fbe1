"""Request heads already answered, and the replies that are ready for them.

Rule: a reply is given again only while every dependency of its decision holds for the request, so a
change on disk is in the next answer; there is no time to live. It is looked up twice: by the
whole head as it came, which costs one look-up; and by the head without the fields that cannot
matter (see `http.h1.HeadKey`), so that a cookie that differs in each request hides nothing.

The content of a file is not kept, unless it is tiny: it is read from the system's memory when it is
sent, and before the dependencies are asked, so that what they say holds for it, too.

Limit: what is kept is bounded in octets, and in files held open. The eldest goes, unless it was
used since it was the eldest before: to keep an order of use would cost each request.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from portico.bounded import Doorkeeper
from portico.http.h1.serialize import field_lines, status_line
from portico.site.origin.folder import OPEN_FILES, SMALL, TINY
from portico.site.origin.freshness import NEVER
from portico.site.origin.open_file import FileSlice

if TYPE_CHECKING:
    from portico.http.h1.head import HeadKey
    from portico.http.message import Response, Sized
    from portico.site.origin.freshness import Dependencies

CLOSE = b"Connection: close\r\n"
KEEP_ALIVE = b"Connection: keep-alive\r\n"
"""Said to HTTP/1.0 clients only: for the others it goes without saying."""

_HEAD_LIMIT = 2048
"""Longer heads are not kept: they carry large cookies, and are rarely the same twice."""
_HEADS_SHARE = 8
"""One in so many of the octets may go to heads that have one and the same reply."""
_OVERHEAD = 1024
"""About the octets that a kept reply takes besides its fields and its content."""
_HEAD_OVERHEAD = 192
"""About the octets that a kept head takes besides its own."""


class CachedReply:
    """A response as it is sent: `data`, then `content` if there is more.

    `data` is made anew when the second of its Date is over. Content of up to TINY octets is part of
    it; more is sent beside it, so that replies with the same content, such as error pages, share
    it. `close` says that the connection ends with it, `linger` that the client may be sending still
    when it does. `status`, `length` (octets of content) and `log_text` are what a log tells of it.
    """

    __slots__ = (
        "_after_date",
        "_before_date",
        "_second",
        "checked",
        "close",
        "content",
        "data",
        "dependencies",
        "generation",
        "head_length",
        "heads",
        "holds_file",
        "key",
        "length",
        "linger",
        "log_text",
        "octets",
        "short",
        "status",
        "was_used",
        "weight",
    )

    def __init__(self, response: Response, connection: bytes, dependencies: Dependencies) -> None:
        """`connection` is the Connection field line to send: CLOSE, KEEP_ALIVE or b""."""
        self.status = response.status
        self.close = connection == CLOSE
        self.linger = response.close
        self.length = sum(map(len, response.content))
        self.log_text = ("", "")
        """What the access log says of it, as `AccessLog.describe` made it."""
        self.data = b""
        self.checked = NEVER
        self._second = -1
        self.dependencies = dependencies
        self._before_date = status_line(response.status) + b"Server: Portico\r\nDate: "
        self._after_date = b"\r\n" + field_lines(response.fields) + connection + b"\r\n"
        self.head_length = len(self._before_date) + 29 + len(self._after_date)
        self.content: tuple[Sized, ...] = tuple(response.content)
        octets = [piece for piece in self.content if isinstance(piece, bytes)]
        self.holds_file = len(octets) < len(self.content)
        """Does it keep a file open, or a stream's folder?"""
        only = self.content[0] if len(self.content) == 1 else None
        self.short = only if isinstance(only, FileSlice) and len(only) <= SMALL else None
        """Content that is so little of a file that it is read when it is sent, by `load`."""
        if self.length <= TINY and not self.holds_file:
            self._after_date += b"".join(octets)
            self.content, octets = (), []
        self.octets: tuple[bytes, ...] = () if self.holds_file else tuple(octets)
        """The content, if it is at hand."""
        self.weight = 2 * len(self._after_date) + _OVERHEAD + sum(map(len, octets))
        """About the octets of memory it takes, and its heads."""
        self.key: HeadKey | None = None
        """By which it is kept."""
        self.heads: list[bytes] = []
        self.generation = 0
        self.was_used = False

    def load(self) -> bool:
        """Read the content that is short; False if it cannot be read as it was announced.

        Its file's dependency will look at the disk again, and tell whether it is whole.
        """
        assert self.short is not None  # noqa: S101 (it is short)
        try:
            octets = self.short.read()
        except OSError:
            return False
        if len(octets) != self.length:
            return False
        self.octets = (octets,)
        return True

    def unload(self) -> None:
        """Let go of what `load` has read."""
        self.octets = ()
        self.checked = NEVER

    def write(self, request: int, second: int, date: bytes) -> None:
        """Bring `data` up to `date`, the IMF-fixdate of `second`."""
        if self._second != second:
            self._second = second
            self.data = self._before_date + date + self._after_date
        self.checked = request

    @property
    def may_be_kept(self) -> bool:
        """Is there anything by which to tell that it still holds?"""
        return self.dependencies is not None


class ReplyCache:
    """Replies by head and by key.

    `memory` is the number of octets that all may take, `open_files` how many may hold one open.
    """

    def __init__(self, memory: int, open_files: int = OPEN_FILES) -> None:
        self.heads: dict[bytes, CachedReply] = {}
        """Replies by whole heads, for hot paths."""
        self._replies: dict[HeadKey, CachedReply] = {}
        self._order: OrderedDict[CachedReply, None] = OrderedDict()  # the eldest first
        self.open_files = open_files
        self._memory = memory
        self._file_weight = memory // max(1, open_files)  # an open file weighs its share
        self._weight = 0
        self._doorkeeper = Doorkeeper()
        self._generation = 0

    def find(self, key: HeadKey) -> CachedReply | None:
        """The reply that is kept for `key`."""
        return self._replies.get(key)

    def keep(self, key: HeadKey, reply: CachedReply) -> None:
        """Keep a reply, and let go of others if that is too much."""
        if (known := self._replies.get(key)) is not None:
            self.drop(known)
        reply.weight += _length(key)
        if reply.holds_file:
            reply.weight = max(reply.weight, self._file_weight)
        if reply.weight <= self._memory // 2:
            reply.key = key
            reply.generation = self._generation
            reply.was_used = False
            self._replies[key] = reply
            self._order[reply] = None
            self._add(reply.weight)

    def keep_head(self, head: bytes, reply: CachedReply) -> None:
        """Know `head` when it comes a third time. Most that differ in a cookie never do."""
        if reply.key is None or len(head) > _HEAD_LIMIT or not self._doorkeeper.admit(head):
            return
        if len(reply.heads) * (len(head) + _HEAD_OVERHEAD) > self._memory // _HEADS_SHARE:
            self._forget_heads(reply)
        weight = len(head) + _HEAD_OVERHEAD
        self.heads[head] = reply
        reply.heads.append(head)
        reply.weight += weight
        self._add(weight)

    def touch(self, reply: CachedReply) -> None:
        """It was used: others go before it."""
        reply.generation = self._generation
        reply.was_used = True

    def drop(self, reply: CachedReply) -> None:
        """Forget a reply, and its heads. If it is kept by nobody, nothing happens."""
        if reply.key is not None:
            self._forget_heads(reply)
            del self._replies[reply.key]
            del self._order[reply]
            reply.key = None
            self._weight -= reply.weight

    def expire(self) -> None:
        """Let go of what was not used since the call before the last."""
        for reply in [each for each in self._order if each.generation < self._generation]:
            self.drop(reply)
        self._generation += 1

    def _forget_heads(self, reply: CachedReply) -> None:
        for head in reply.heads:
            del self.heads[head]
            self._weight -= len(head) + _HEAD_OVERHEAD
            reply.weight -= len(head) + _HEAD_OVERHEAD
        reply.heads.clear()

    def _add(self, weight: int) -> None:
        self._weight += weight
        while self._weight > self._memory:
            eldest = next(iter(self._order))
            if eldest.was_used:
                eldest.was_used = False
                self._order.move_to_end(eldest)
            else:
                self.drop(eldest)

    def __len__(self) -> int:
        return len(self._replies)


def _length(key: HeadKey) -> int:
    """About the octets of memory that a key takes."""
    length = 0
    for part in key:
        if isinstance(part, tuple):
            length += 128 + len(part[1])
        elif isinstance(part, bytes):
            length += len(part)
    return length
