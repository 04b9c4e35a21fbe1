"""What the connections of one worker share: the way from a head to a reply, and the clock.

1. The whole head, if it is known.
2. Its key (see `http.h1`), if that is known.
3. Parsing and the site's answer; kept for next time when the answer rests on dependencies.

Limit: a request with content is never kept, since its head is not all of it.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from portico.http.dates import imf_fixdate
from portico.http.h1.head import HeadParser, request_line_of
from portico.http.message import ProtocolError, RequestHead, Response, Stream
from portico.server.net.loop import report_bug
from portico.server.net.send_queue import LONG_TURN, TURN
from portico.server.reply_cache import CLOSE, KEEP_ALIVE, CachedReply, ReplyCache
from portico.site.origin.open_file import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from portico.config.config import Config
    from portico.server.telemetry.access_log import AccessLog
    from portico.server.telemetry.counters import Counters
    from portico.site.origin.freshness import Dependencies, Freshness

    Work = Callable[[], object]
    Wait = Callable[[object, Work, Callable[[], None]], bool]


class Answering(Protocol):
    """What a responder needs of a site."""

    @property
    def freshness(self) -> Freshness:
        """What tells all that depends on the site when to check again."""
        ...

    @property
    def fields_read(self) -> frozenset[str]:
        """The fields that can change an answer."""
        ...

    def answer(self, request: RequestHead, /) -> tuple[Response, Dependencies]:
        """The Response to `request`, and what it rests on."""
        ...

    def refuse(self, problem: ProtocolError, request: RequestHead | None = None) -> Response:
        """The Response to a request that broke a rule."""
        ...


class Responder:
    """One worker's site, memories, clock and counters.

    A request is begun (see `Freshness`) with each turn of the loop, and whenever a connection takes
    up one that may have been sent within this turn.
    """

    def __init__(
        self, config: Config, site: Answering, reply_cache: ReplyCache, log: AccessLog | None
    ) -> None:
        self.config = config
        self.site = site
        self.log = log
        self.counts: Counters | None = None
        """Where things are counted, if somebody wants to know."""
        self.reply_cache = reply_cache
        self.wait: Wait = _cannot_wait
        """Has a thread do what a `Waiting` asks for."""
        self.draining = False
        """The worker is about to stop: each reply is the last of its connection."""
        self.requests = 0
        """Requests answered since the start."""
        self.freshness = site.freshness
        self.streams = 0
        """Streams that are under way."""
        self.steps_left = STEPS_AT_ONCE
        """Steps that streams may still do in this turn of the loop."""
        self.now = 0.0
        self.idle_deadline = 0.0
        """When a connection that begins to wait now has waited too long, in monotonic seconds."""
        logged = frozenset() if log is None else log.fields
        self._loaded: deque[CachedReply] = deque()
        self._loaded_octets = 0
        self._requests_seen = 0
        self._quiet_from = 0.0
        self._long_at = 0.0
        self._parser = HeadParser(site.fields_read | logged)
        self._second = 0
        self._date = b""
        self.begin_turn(time.monotonic())

    def begin_turn(self, now: float) -> None:
        """Take the time, once for all that happens in this turn. `now` is monotonic."""
        self.now = now
        self.freshness.begin_request()
        self.steps_left = STEPS_AT_ONCE
        self.idle_deadline = now + self.config.idle_timeout
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._date = imf_fixdate(second).encode("ascii")

    def turn(self) -> int:
        """How much of a long reply may be sent before others have their turn, in octets."""
        if self.requests != self._requests_seen:
            self._requests_seen = self.requests
            self._quiet_from = self.now + QUIET_SECONDS
        if self.now < self._quiet_from or self._long_at == self.now:
            return TURN
        self._long_at = self.now
        return LONG_TURN

    def begin_drain(self) -> None:
        """From now on each reply is the last of its connection, so those made before are no use."""
        self.draining = True
        self.reply_cache = ReplyCache(0, self.reply_cache.open_files)

    def expire(self) -> None:
        """Let go of replies that were not used since the call before the last, and their files."""
        self.reply_cache.expire()
        for reply in self._loaded:
            reply.unload()
        self._loaded.clear()
        self._loaded_octets = 0

    def is_current(self, reply: CachedReply) -> bool:
        """Does `reply` still hold? If so it is made ready to be sent. Raises Waiting."""
        if reply.short is not None and not reply.octets and not self._load(reply):
            return False
        if not self.freshness.holds(reply.dependencies):
            return False
        reply.write(self.freshness.request, self._second, self._date)
        self.reply_cache.touch(reply)
        return True

    def reply_to(self, head: bytes) -> tuple[CachedReply, RequestHead | None]:
        """The reply to a complete head, and the parsed request if its content follows.

        Raises Waiting when something must be read first.
        """
        reply_cache = self.reply_cache
        reply = reply_cache.heads.get(head)
        if reply is not None and self._still_holds(reply):
            return reply, None
        try:
            key = self._parser.key(head)
            reply = reply_cache.find(key)
            if reply is not None and self._still_holds(reply):
                reply_cache.keep_head(head, reply)
                if self.counts is not None:
                    self.counts.knew_key()
                return reply, None
            request = self._parser.interpret(key)
        except ProtocolError as error:
            return self.refuse(error, head), None
        reply = self._answer(request)
        if self.counts is not None:
            self.counts.missed()
        if self.log is not None:
            reply.log_text = self.log.describe(request_line_of(key), request, reply.status)
        if request.content_length or request.expects_continue:
            return reply, request
        if reply.may_be_kept and not self.draining:
            reply_cache.keep(key, reply)
            reply_cache.keep_head(head, reply)
        return reply, None

    def _still_holds(self, reply: CachedReply) -> bool:
        """Is a kept reply ready to be sent? If it does not hold any more, it is forgotten."""
        if reply.checked == self.freshness.request or self.is_current(reply):
            return True
        self.reply_cache.drop(reply)
        return False

    def refuse(self, error: ProtocolError, received: bytes) -> CachedReply:
        """The last reply on a connection whose peer broke the protocol by what was `received`."""
        reply = self._ready(CachedReply(self.site.refuse(error), CLOSE, None))
        if self.counts is not None:
            self.counts.refused()
        if self.log is not None:
            line = received.removeprefix(b"\r\n").partition(b"\r\n")[0]
            reply.log_text = self.log.describe(line, None, reply.status)
        return reply

    def _answer(self, request: RequestHead) -> CachedReply:
        for _ in range(_TRIES):
            reply = self._decide(request)
            if reply.short is None or not reply.may_be_kept:
                break
            # What is read now is whole if the file is still as it was when that was decided.
            if self._load(reply) and self.freshness.holds(reply.dependencies):
                break
            reply.unload()
        return self._ready(reply)

    def _decide(self, request: RequestHead) -> CachedReply:
        try:
            response, dependencies = self.site.answer(request)
        except ProtocolError as error:
            response, dependencies = self.site.refuse(error), None
        except Waiting:
            raise
        except Exception:  # noqa: BLE001
            report_bug()
            response = self.site.refuse(ProtocolError(500, "The fault is on this side."))
            dependencies = None
        if response.is_stream and not self._admit(response):
            detail = "Too many long listings are being read at this moment."
            response = self.site.refuse(ProtocolError(503, detail), request)
        if not _will_be_read(request):
            response.close = True
        connection = b"" if request.version else KEEP_ALIVE
        if response.close or self.draining or not request.keep_alive:
            connection = CLOSE
        if response.is_stream and not _frame(response, request.version):
            connection = CLOSE
        return CachedReply(response, connection, dependencies)

    def _load(self, reply: CachedReply) -> bool:
        """Read a short reply's content, and let go of what was read before that of many others."""
        if not reply.load():
            return False
        loaded = self._loaded
        loaded.append(reply)
        self._loaded_octets += reply.length
        while self._loaded_octets > LOADED_LIMIT or len(loaded) > self.reply_cache.open_files:
            eldest = loaded.popleft()
            self._loaded_octets -= eldest.length
            eldest.unload()
        return True

    def _admit(self, response: Response) -> bool:
        """Give a stream its permit, if there are not too many already."""
        for piece in response.content:  # none, if the request was HEAD
            if isinstance(piece, Stream):
                if self.streams >= STREAMS_AT_ONCE:
                    return False
                piece.permit = _Permit(self)
        return True

    def _ready(self, reply: CachedReply) -> CachedReply:
        reply.write(self.freshness.request, self._second, self._date)
        return reply


QUIET_SECONDS = 0.01
"""Where nobody was answered for so long, who comes next waits for one long turn, some 0.3 ms. Where
there are others all the time, many would."""
LOADED_LIMIT = 1 << 20
"""Octets of files that stay at hand, those that were read last: some of them are asked for by many.
More than this costs memory, and to read them again costs little."""
_TRIES = 8
"""Answers to a request, because the file that each announced has changed before it was read."""

DISCARD_LIMIT = 65536
"""Octets of content that are read and thrown away to save a connection: about what a peer has sent
before it sees the answer. Beyond that a new connection is cheaper."""


STREAMS_AT_ONCE = 16
"""Streams that may be under way. A listing of 100,000 entries takes 16 MiB while it is read."""


def _cannot_wait(_place: object, _work: Work, _done: Callable[[], None]) -> bool:
    """Without threads nothing can be waited for."""
    return False


class _Permit:
    """Counts a stream for as long as something refers to it."""

    __slots__ = ("_responder",)

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        responder.streams += 1

    def __del__(self) -> None:
        self._responder.streams -= 1


STEPS_AT_ONCE = 4
"""Steps that streams may do in one turn of the loop, each about a millisecond: so however many
clients ask for long listings, the others wait no longer than that."""


def _frame(response: Response, version: int) -> bool:
    """Choose what shows the client where a stream ends; False when only the connection's end can.

    That is so in HTTP/1.0 (RFC 9112, 6.1 and 6.3).
    """
    if version == 0:
        return False
    response.fields = [*response.fields, ("Transfer-Encoding", "chunked")]
    for piece in response.content:  # none, if the request was HEAD
        if isinstance(piece, Stream):
            piece.chunked = True
    return True


def _will_be_read(request: RequestHead) -> bool:
    """Is the request's content, which nobody asked for, read so that the connection can go on?

    Not when the client waits for 100 (Continue): it may send the content or not (RFC 9110, 10.1.1).
    """
    return request.content_length <= DISCARD_LIMIT and not request.expects_continue
