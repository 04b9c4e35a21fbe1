"""The reply cache: replies ready to be sent, by the heads of the requests that they answer.

Rule: a reply is sent again only if all its dependencies hold for the request, so a change on disk
is in the next response; there is no time to live. A reply is looked up by the whole head as
received, which costs one dict look-up, and then by the head without the fields that cannot change
any answer (see `http.h1.head.HeadKey`), so that a cookie that differs in each request is no
obstacle.

The content of files up to 64 KiB is kept with their replies. Larger files are kept open.

Limit: the cache is bounded in bytes and in open files; requests that come only once fill at most a
fifth of it. The oldest reply is evicted, unless it was used since it was last found to be the
oldest (second chance): an LRU order would add work to each request.
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
"""Content up to so many bytes is joined to the head, which costs less than sending two pieces."""
_DOORKEEPER_SLOTS = 1 << 17
"""Hashes of recent keys, half a MiB: enough for the keys of a site with 50,000 files."""
_HEAD_LIMIT = 2048
"""Bytes; longer heads are not kept, as they have large cookies and are rarely the same twice."""
_ROOMY = 5
"""While less than one fifth of the memory is used, keys are kept the first time: see `keep`."""
_CHEAP = 400
"""Replies with this status or a higher one are kept only when their key comes again, because
making an error costs less than keeping it."""
_HEADS_SHARE = 8
"""At most one eighth of the memory is for the heads of one reply."""
_OVERHEAD = 1024
"""Approximate bytes that a kept reply takes besides its fields and its content."""
_HEAD_OVERHEAD = 192
"""Approximate bytes that a kept head takes besides its length."""


class Reply:
    """A response ready to be sent: `data`, then `content` if that is not empty.

    `data` is the serialized head, with the content if that has at most INLINE bytes; it is renewed
    when the second of its Date has passed. Longer content is not joined, so replies with the same
    content, such as error pages, share it. `head` serializes itself: nothing here depends on the
    version of HTTP.
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
        """`head` and `content` are sent for `response`; `content` is empty for a HEAD request.

        `log_text` is the text of the exchange in the access log (see `AccessLog.describe`).
        """
        self.status = response.status
        self.head = head
        self.content = tuple(content)
        self.dependencies = dependencies
        self.close = head.closes
        """Whether the connection ends after this reply."""
        self.linger = response.close
        """Whether the client may still be sending at that time."""
        self.any_query = response.any_query
        """Whether the same request with any other query gets the same reply."""
        self.log_text = log_text
        self.checked = NEVER
        """The round (see `Freshness`) in which the dependencies were last found unchanged."""
        self.length = sum(map(len, content))
        """Bytes of content; 0 for a stream."""
        self.size = head.length + self.length
        """Bytes of the head and the content."""
        octets = [each for piece in content if (each := piece.in_memory) is not None]
        self.holds_file = len(octets) < len(content)
        """Whether some of the content is not in memory, so that its file is kept open."""
        self.octets: tuple[bytes, ...] = () if self.holds_file else tuple(octets)
        """The content, if it is in memory and not in `data`."""
        self.data = b""  # the head is added by `refresh`, which gets the Date
        if self.length <= INLINE and not self.holds_file:
            self.data = b"".join(octets)
            self.content = self.octets = ()
        self.weight = _OVERHEAD + 2 * head.length
        """Approximate bytes of memory that the reply takes in the cache."""
        if not self.holds_file:
            self.weight += self.length
        self._second = -1

    def refresh(self, round_: int, second: int, date: bytes) -> None:
        """Set `checked` to a round of freshness, and Date to `date` if its `second` has changed."""
        if self._second != second:
            content = self.data if self._second < 0 else self.data[self.head.length :]
            self._second = second
            self.data = self.head.octets(date) + content
        self.checked = round_

    def with_log_text(self, log_text: tuple[str, ...]) -> Reply:
        """Return a copy with another text for the access log."""
        copied = copy(self)
        copied.log_text = log_text
        return copied

    def outgoing(self) -> list[Outgoing]:
        """Return the pieces that send this reply once."""
        if self.octets:
            return [Outgoing(octets) for octets in (self.data, *self.octets)]
        return [Outgoing(self.data)] + [piece.outgoing() for piece in self.content]


class _Entry:
    """A kept reply with its key, its heads, and when it was used."""

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

    `memory` is the limit of all replies in bytes, `open_files` that of replies with an open file.
    """

    def __init__(self, memory: int, open_files: int = OPEN_FILES) -> None:
        self.heads: dict[bytes, Reply] = {}
        """Replies by whole heads; the hot path looks here first."""
        self.open_files = open_files
        self._replies: dict[HeadKey, Reply] = {}
        self._entries: OrderedDict[Reply, _Entry] = OrderedDict()  # the oldest first
        self._memory = memory
        self._file_weight = memory // max(1, open_files)  # the least weight of a reply with a file
        self._weight = 0
        self._keys_seen = Doorkeeper(_DOORKEEPER_SLOTS)
        self._heads_seen = Doorkeeper()
        self._generation = 0

    def find(self, key: HeadKey) -> Reply | None:
        """Return the reply kept for `key`, or None; it may be outdated."""
        return self._replies.get(key)

    def find_for_any_query(self, key: HeadKey) -> Reply | None:
        """Return the reply kept for `key`, which has no query, if it is right for any query."""
        reply = self._replies.get(key)
        return reply if reply is not None and reply.any_query else None

    def keep(self, key: HeadKey, reply: Reply) -> None:
        """Keep a reply if its key came before, or if little of the memory is in use (_ROOMY).

        So a server that has just started keeps replies at once, but a flood of keys that come only
        once fills no more than that share. Errors are kept only if their key came before. If there
        is no room, other replies are evicted.
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
        """Keep `head` for a kept reply, so that the next request with this head needs no parsing.

        The first head of a reply is kept at once, any other when it comes for the second time.
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
        """Note that a reply was used, so that unused ones are evicted before it."""
        entry = self._entries.get(reply)
        if entry is not None:
            entry.generation = self._generation
            entry.was_used = True

    def drop(self, reply: Reply) -> None:
        """Remove a reply and its heads, if it is kept."""
        entry = self._entries.pop(reply, None)
        if entry is not None:
            self._forget_heads(entry)
            del self._replies[entry.key]
            self._weight -= entry.weight

    def clear(self) -> None:
        """Remove all replies."""
        for reply in list(self._entries):
            self.drop(reply)

    def expire(self) -> None:
        """Remove the replies that were neither added nor used since the previous call."""
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
        """Add to the total weight; evict the oldest unused replies until it is within the limit."""
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
    """Return the approximate bytes of memory that a key takes."""
    length = 0
    for part in key:
        if isinstance(part, tuple):
            length += 128 + len(part[1])
        elif isinstance(part, bytes):
            length += len(part)
    return length
