"""Request heads already answered, and the replies that are ready for them.

Rule: a reply is given again only while every witness of its decision holds in the present epoch,
so a change on disk is in the next answer; there is no time to live. It is looked up twice: by the
whole head as it came, which costs one look-up; and by the head without the fields that cannot
matter (see `http.h1.HeadKey`), so that a cookie that differs in each request hides nothing.

Limit: both memories are bounded in octets, and replies that hold a file open in number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.bounded import Bounded
from portico.http.h1 import HeadKey, field_lines, status_line

if TYPE_CHECKING:
    from portico.http.message import Response, Sized
    from portico.site.origin import Witnesses

CLOSE = b"Connection: close\r\n"
KEEP_ALIVE = b"Connection: keep-alive\r\n"
"""Said to HTTP/1.0 clients only: for the others it goes without saying."""

JOINED = 2048
"""Octets of content up to which a reply is one piece with its head. A longer one is sent beside it:
so replies with the same content, such as error pages, share it."""

_HEAD_LIMIT = 2048
"""Longer heads are not kept: they carry large cookies, and are rarely the same twice."""
_OPEN_FILES = 64
"""Replies with an open file that are kept."""
_OVERHEAD = 1024
"""About the octets that a kept reply takes besides its content."""


class Reply:
    """A response as it is sent: `data`, then `content` if there is more.

    `data` is made anew when the second of its Date is over. `close` says that the connection ends
    with it, `linger` that the client may be sending still when it does. `status`, `length` (octets
    of content) and `log_text` are what a log tells of it.
    """

    __slots__ = (
        "_after_date",
        "_before_date",
        "_second",
        "_witnesses",
        "close",
        "content",
        "data",
        "epoch",
        "head_length",
        "holds_file",
        "length",
        "linger",
        "log_text",
        "status",
        "weight",
    )

    def __init__(self, response: Response, connection: bytes, witnesses: Witnesses) -> None:
        """`connection` is the Connection field line to send: CLOSE, KEEP_ALIVE or b""."""
        self.status = response.status
        self.close = connection == CLOSE
        self.linger = response.close
        self.length = sum(map(len, response.content))
        self.log_text = ("", "")
        """What the access log says of it, as `AccessLog.describe` made it."""
        self.data = b""
        self.epoch = -1
        self._second = -1
        self._witnesses = witnesses
        self._before_date = status_line(response.status) + b"Server: Portico\r\nDate: "
        self._after_date = b"\r\n" + field_lines(response.fields) + connection + b"\r\n"
        self.head_length = len(self._before_date) + 29 + len(self._after_date)
        self.content: tuple[Sized, ...] = tuple(response.content)
        octets = [piece for piece in self.content if isinstance(piece, bytes)]
        self.holds_file = len(octets) < len(self.content)
        """Does it keep a file open, or a stream's folder?"""
        if self.length <= JOINED and not self.holds_file:
            self._after_date += b"".join(octets)
            self.content = ()
        self.weight = 2 * len(self._after_date) + _OVERHEAD + sum(map(len, octets))
        """About the octets of memory it takes."""

    def write(self, epoch: int, second: int, date: bytes) -> None:
        """Bring `data` up to `date`, the IMF-fixdate of `second`."""
        if self._second != second:
            self._second = second
            self.data = self._before_date + date + self._after_date
        self.epoch = epoch

    def holds(self, epoch: int) -> bool:
        """Would the same request get the same answer now?"""
        witnesses = self._witnesses
        if witnesses is None:
            return False
        for witness in witnesses:  # noqa: SIM110 (all() costs twice the time)
            if not witness.holds(epoch):
                return False
        return True

    @property
    def may_be_kept(self) -> bool:
        """Is there anything by which to tell that it still holds?"""
        return self._witnesses is not None


class Memo:
    """Replies by head and by key. `memory` is the number of octets that both may take."""

    def __init__(self, memory: int) -> None:
        share = memory // 2
        # An open file weighs its share of as many as there may be.
        file_weight = max(1, share // _OPEN_FILES)

        def weigh_head(head: bytes, reply: Reply) -> int:
            # A head may be the last that refers to its reply.
            return file_weight if reply.holds_file else len(head) + reply.weight

        def weigh_reply(key: HeadKey, reply: Reply) -> int:
            return file_weight if reply.holds_file else _length(key) + reply.weight

        self.heads: Bounded[bytes, Reply] = Bounded(share, weigh_head)
        self.replies: Bounded[HeadKey, Reply] = Bounded(share, weigh_reply)

    def keep_head(self, head: bytes, reply: Reply) -> None:
        """Know `head` when it comes a third time. Most that differ in a cookie never do."""
        if len(head) <= _HEAD_LIMIT:
            self.heads.offer(head, reply)

    def expire(self) -> None:
        """Let go of what was not used since the last call."""
        self.heads.turn()
        self.replies.turn()


def _length(key: HeadKey) -> int:
    """About the octets of memory that a key takes."""
    length = 0
    for part in key:
        if isinstance(part, tuple):
            length += 128 + len(part[1])
        elif isinstance(part, bytes):
            length += len(part)
    return length
