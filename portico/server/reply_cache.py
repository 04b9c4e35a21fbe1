"""Replies that were sent before, by the heads of the requests that they answer.

Rule: a reply is sent again only while every dependency of its decision holds for the request, so a
change on disk is in the next answer; there is no time to live. It is looked up twice: by the whole
head as it came, which costs one look-up; and by the head without the fields that cannot matter (see
`http.h1.head.HeadKey`), so that a cookie that differs in each request is no obstacle.

The content of files up to 64 KiB is kept with their replies. Larger files are kept open.

Limit: what is kept is bounded in bytes, and in files held open; what comes only once takes at most
a fifth of that. The eldest goes, unless it was used since it was the eldest before (second
chance): to keep an order of use would cost each request.
"""

from __future__ import annotations

from collections import OrderedDict
from copy import copy
from typing import TYPE_CHECKING

from portico.bounded import Doorkeeper
from portico.http.content import Outgoing
from portico.site.origin.folder import OPEN_FILES
from portico.site.origin.freshness import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from portico.http.content import Content
    from portico.http.h1.head import HeadKey
    from portico.http.h1.serialize import Head
    from portico.http.message import Response
    from portico.site.origin.freshness import Dependencies

INLINE = 2048
"""Bytes of content that are joined to the head, which costs less than to send two pieces."""
_DOORKEEPER_SLOTS = 1 << 17
"""So many hashes of keys are remembered, half a MiB: a site of 50,000 files is recognized."""
_HEAD_LIMIT = 2048
"""Longer heads are not kept: they carry large cookies, and are rarely the same twice."""
_ROOMY = 5
"""Below one fifth of the memory there is room for what may come only once: see `keep`."""
_CHEAP = 400
"""Errors, from this status on, are kept when they come again: one is made sooner than kept."""
_HEADS_SHARE = 8
"""At most one eighth of the memory is for heads that have the same reply."""
_OVERHEAD = 1024
"""About the bytes that a kept reply takes besides its fields and its content."""
_HEAD_OVERHEAD = 192
"""About the bytes that a kept head takes besides its own."""


class Reply:
    """A response ready to be sent: `data` first, then `content` if there is more.

    `data` is made anew when the second of its Date is over. Up to INLINE bytes of content are part
    of it; more is sent beside it, so that replies with the same content, such as error pages, share
    it. How a head is sent, `head` knows: nothing here depends on the version of HTTP.
    """

    __slots__ = (
        "_second",
        "any_query",
        "checked",
        "close",
        "content",
        "data",
        "dependencies",
        "head",
        "holds_file",
        "length",
        "linger",
        "log_text",
        "octets",
        "size",
        "status",
        "weight",
    )

    def __init__(
        self,
        response: Response,
        head: Head,
        content: Sequence[Content],
        dependencies: Dependencies,
        log_text: tuple[str, ...] = ("", ""),
    ) -> None:
        """`head` and `content` are what is sent of `response`, which may be without its content.

        `log_text` is what the access log says of it (see `AccessLog.describe`).
        """
        self.status = response.status
        self.head = head
        self.content = tuple(content)
        self.dependencies = dependencies
        self.close = head.closes
        """Whether the connection ends with it."""
        self.linger = response.close
        """Whether the client may be sending then."""
        self.any_query = response.any_query
        """Whether it is the reply to the same request with any other query, too."""
        self.log_text = log_text
        self.checked = NEVER
        """The request (see `Freshness`) for which the dependencies were last found unchanged."""
        self.length = sum(map(len, content))
        """Bytes of content; 0 for a stream."""
        self.size = head.length + self.length
        """Bytes in all."""
        octets = [each for piece in content if (each := piece.in_memory) is not None]
        self.holds_file = len(octets) < len(content)
        """Whether it keeps a file open."""
        self.octets: tuple[bytes, ...] = () if self.holds_file else tuple(octets)
        """The content, if it is in memory and not in `data`."""
        self.data = b""  # without the head until `refresh`, which knows the Date
        if self.length <= INLINE and not self.holds_file:
            self.data = b"".join(octets)
            self.content = self.octets = ()
        self.weight = _OVERHEAD + 2 * head.length
        """About the bytes of memory that it takes."""
        if not self.holds_file:
            self.weight += self.length
        self._second = -1

    def refresh(self, request: int, second: int, date: bytes) -> None:
        """Note that it holds for `request`; its Date becomes `date`, that of `second`."""
        if self._second != second:
            content = self.data if self._second < 0 else self.data[self.head.length :]
            self._second = second
            self.data = self.head.octets(date) + content
        self.checked = request

    def with_log_text(self, log_text: tuple[str, ...]) -> Reply:
        """Return a copy with another text for the access log."""
        copied = copy(self)
        copied.log_text = log_text
        return copied

    def outgoing(self) -> list[Outgoing]:
        """Return what sends it once."""
        if self.octets:
            return [Outgoing(octets) for octets in (self.data, *self.octets)]
        return [Outgoing(self.data)] + [piece.outgoing() for piece in self.content]


class _Entry:
    """What the cache knows of a reply that it keeps."""

    __slots__ = ("generation", "heads", "key", "reply", "was_used", "weight")

    def __init__(self, key: HeadKey, reply: Reply, weight: int, generation: int) -> None:
        self.key = key
        self.reply = reply
        self.heads: list[bytes] = []
        self.weight = weight
        self.generation = generation
        self.was_used = False


class ReplyCache:
    """Replies by head and by key.

    `memory` is the number of bytes that all may take, `open_files` how many may hold one open.
    """

    def __init__(self, memory: int, open_files: int = OPEN_FILES) -> None:
        self.heads: dict[bytes, Reply] = {}
        """Replies by whole heads, for the hot path."""
        self.open_files = open_files
        self._replies: dict[HeadKey, Reply] = {}
        self._entries: OrderedDict[Reply, _Entry] = OrderedDict()  # the eldest first
        self._memory = memory
        self._file_weight = memory // max(1, open_files)  # an open file weighs its share
        self._weight = 0
        self._keys_seen = Doorkeeper(_DOORKEEPER_SLOTS)
        self._heads_seen = Doorkeeper()
        self._generation = 0

    def find(self, key: HeadKey) -> Reply | None:
        """Return the reply that is kept for `key`."""
        return self._replies.get(key)

    def find_for_any_query(self, key: HeadKey) -> Reply | None:
        """Return the reply that is kept for `key`, if it is the same whatever the query is."""
        reply = self._replies.get(key)
        return reply if reply is not None and reply.any_query else None

    def keep(self, key: HeadKey, reply: Reply) -> None:
        """Keep a reply, unless its key comes for the first time and more than a share is in use.

        So a server that has just started keeps at once what it needs, and a flood of keys that come
        only once takes no more than that share; of errors, nothing. Others are let go of if it is
        too much.
        """
        may_be_new = self._weight * _ROOMY < self._memory and reply.status < _CHEAP
        if not self._keys_seen.admit(key) and not may_be_new:
            return
        if (known := self._replies.get(key)) is not None:
            self.drop(known)
        weight = reply.weight + _length(key)
        if reply.holds_file:
            weight = max(weight, self._file_weight)
        if weight <= self._memory // 2:
            self._replies[key] = reply
            self._entries[reply] = _Entry(key, reply, weight, self._generation)
            self._grow(weight)

    def keep_head(self, head: bytes, reply: Reply) -> None:
        """Remember the first head of a reply, and any other the second time that it comes.

        The next one that is the same then needs no parsing.
        """
        entry = self._entries.get(reply)
        if entry is None or len(head) > _HEAD_LIMIT:
            return
        if entry.heads and not self._heads_seen.admit(head):
            return
        weight = len(head) + _HEAD_OVERHEAD
        if len(entry.heads) * weight > self._memory // _HEADS_SHARE:
            self._forget_heads(entry)
        self.heads[head] = reply
        entry.heads.append(head)
        entry.weight += weight
        self._grow(weight)

    def touch(self, reply: Reply) -> None:
        """Note that a reply was used, so that others are dropped before it."""
        entry = self._entries.get(reply)
        if entry is not None:
            entry.generation = self._generation
            entry.was_used = True

    def drop(self, reply: Reply) -> None:
        """Forget a reply and its heads, if it is kept."""
        entry = self._entries.pop(reply, None)
        if entry is not None:
            self._forget_heads(entry)
            del self._replies[entry.key]
            self._weight -= entry.weight

    def clear(self) -> None:
        """Drop all."""
        for reply in list(self._entries):
            self.drop(reply)

    def expire(self) -> None:
        """Drop what was not used since the call before the last."""
        for entry in [
            each for each in self._entries.values() if each.generation < self._generation
        ]:
            self.drop(entry.reply)
        self._generation += 1

    def _forget_heads(self, entry: _Entry) -> None:
        for head in entry.heads:
            del self.heads[head]
            self._weight -= len(head) + _HEAD_OVERHEAD
            entry.weight -= len(head) + _HEAD_OVERHEAD
        entry.heads.clear()

    def _grow(self, weight: int) -> None:
        """Take `weight` more; drop the eldest that were not used until all is within the limit."""
        self._weight += weight
        while self._weight > self._memory:
            eldest = next(iter(self._entries.values()))
            if eldest.was_used:
                eldest.was_used = False
                self._entries.move_to_end(eldest.reply)
            else:
                self.drop(eldest.reply)

    def __len__(self) -> int:
        return len(self._replies)


def _length(key: Iterable[object]) -> int:
    """Return about the bytes of memory that a key takes."""
    length = 0
    for part in key:
        if isinstance(part, tuple):
            length += 128 + len(part[1])
        elif isinstance(part, bytes):
            length += len(part)
    return length
