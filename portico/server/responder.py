"""Turns the head of a request into a reply, for all connections of one worker.

1. Look the whole head up in the reply cache.
2. Look its key (see `http.h1.head`) up there.
3. Parse the head, and ask the site. Cache the reply if its dependencies are known. If the event
   loop would have to wait for a disk, `Undecided` is raised: a thread decides, and then `resume`
   makes the reply.

If the site answers with a sink, the request's content goes there, and `finish` makes the reply.
Limit: the reply to a request with content is never cached, as it may depend on the content.
"""

from __future__ import annotations

import errno
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from portico.bounded import BoundedCache
from portico.budget import Postponed
from portico.http.content_sink import Discard
from portico.http.dates import imf_fixdate
from portico.http.h1.head import HeadParser, request_line_of, without_query
from portico.http.h1.serialize import CLOSE, KEEP_ALIVE, Head, in_chunks
from portico.http.message import ProtocolError, Response
from portico.server.net.loop import report_bug
from portico.server.reply_cache import Reply, ReplyCache
from portico.server.request_content import RequestContent
from portico.server.states import IDLE
from portico.server.telemetry.ends import STATUSES
from portico.server.telemetry.faults import Faults
from portico.server.telemetry.telemetry import Telemetry
from portico.server.timeouts import time_limits
from portico.site.origin.open_file import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from portico.config.config import Config
    from portico.http.content_sink import ContentSink
    from portico.http.h1.head import HeadKey
    from portico.http.message import RequestHead
    from portico.server.fairness import Shares
    from portico.site.origin.freshness import Dependencies, Freshness

    Answer = tuple[Response | ContentSink, Dependencies]
    Work = Callable[[], object]
    Decided = tuple[Reply | None, RequestContent | None]
    Wait = Callable[[object, Work, Callable[[], None]], bool]

DISCARD_LIMIT = 65536
"""Bytes of unwanted content that are received and dropped so that the connection can be reused:
about what a client has sent before it sees the response. If there is more, the connection ends."""


_REFUSALS = 64
"""Replies with 429 that are kept, by head, so that a flood of one request costs little."""


class Handler(Protocol):
    """Answers requests: a `site.site.Site`, the page of metrics, or a wrapper of these."""

    @property
    def freshness(self) -> Freshness:
        """The rounds in which the dependencies of the answers are checked."""
        ...

    @property
    def fields_read(self) -> frozenset[str]:
        """The lower-case names of the header fields that can change an answer."""
        ...

    def answer(self, request: RequestHead, /) -> Answer:
        """Return the response to `request`, or the sink for its content, and the dependencies.

        Raises ProtocolError, Postponed, or Waiting if the disk must be read first.
        """
        ...

    def refuse(self, problem: ProtocolError, request: RequestHead | None = None) -> Response:
        """Return the error response for `problem`; `request` is None if it was not parsed."""
        ...


def come_back(handler: Handler, request: RequestHead, detail: str, seconds: int) -> Response:
    """Return 429 (Too Many Requests, RFC 6585, 4) with Retry-After: `seconds`."""
    unit = "second" if seconds == 1 else "seconds"
    detail = f"{detail} Come back in {seconds} {unit}."
    response = handler.refuse(ProtocolError(429, detail), request)
    response.fields = [*response.fields, ("Retry-After", str(seconds))]
    response.close = False
    return response


class Decision:
    """A request, and the handler's answer to it, None until it is decided."""

    __slots__ = ("answer", "dependencies", "head", "line", "request")

    def __init__(self, head: bytes, line: bytes, request: RequestHead) -> None:
        self.head = head
        self.line = line
        self.request = request
        self.answer: Response | ContentSink | None = None
        self.dependencies: Dependencies = None

    def abandon(self) -> None:
        """Abort the sink if the answer is one, because the client has gone."""
        if self.answer is not None and not isinstance(self.answer, Response):
            self.answer.abort()


class Undecided(Waiting):
    """Raised if the loop cannot decide now: a thread does `work`, which sets `decision.answer`.

    Without `work` the loop decides later, in a turn that has time for it.
    """

    def __init__(self, place: object, work: Work | None, decision: Decision) -> None:
        super().__init__(place, work)
        self.decision = decision


class Services(NamedTuple):
    """The objects that all responders of one worker use."""

    config: Config
    shares: Shares
    telemetry: Telemetry = Telemetry()
    wait: Wait | None = None
    """Runs the work of a `Waiting` in a thread (see `BlockingIO.submit`); None: it gets 503."""
    in_thread: Callable[[RequestHead], Answer] | None = None
    """Answers requests in such a thread, and may wait for the disk."""


class Responder:
    """Makes the replies of one handler; has a reply cache, and the time of the current turn."""

    def __init__(
        self,
        services: Services,
        handler: Handler,
        reply_cache: ReplyCache,
        *,
        is_secure: bool = False,
        seconds_to_wait: Callable[[str, float], int] | None = None,
    ) -> None:
        """`is_secure` means that all its requests come over TLS.

        `seconds_to_wait(peer, now)` is called for each request; unless it returns 0, the request
        gets 429. Without it, the number of requests is not limited.
        """
        self.config, self.shares, telemetry, self._wait, self._in_thread = services
        self.handler = handler
        self.log = telemetry.log
        self.counters = telemetry.counters
        self.freshness = handler.freshness
        self.time_limits = time_limits(self.config)
        self.faults = Faults(telemetry.report)
        self.draining = False
        """Whether each reply made from now on is the last of its connection."""
        self.hurries = False
        """Whether each connection ends after its current exchange."""
        self.now = 0.0
        """When this turn of the loop began, in seconds of time.monotonic()."""
        self.idle_deadline = 0.0
        """The deadline of a connection that becomes idle in this turn."""
        limited = seconds_to_wait and partial(self._within_limits, seconds_to_wait)
        self._is_limited = limited is not None
        self.reply_to = limited or self._find_or_make
        """Return the reply to a complete head from a peer, and the RequestContent to receive.

        The reply is None if it is made only when the content is complete. Raises Undecided.
        """
        self._keep_in(reply_cache)
        self.is_secure = is_secure
        """Whether all its requests come over TLS."""
        logged = frozenset[str]() if self.log is None else self.log.fields
        self._parser = HeadParser(handler.fields_read | logged)
        self._second = 0
        self._date = b""
        self.begin_turn(time.monotonic())

    def begin_turn(self, now: float) -> None:
        """Begin a turn of the loop. Called for one responder, after `take_time` of all others."""
        self.freshness.begin_round()
        self.freshness.budget.begin_turn()
        self.shares.streams.budget.begin_turn()
        self.take_time(now)
        while self.shares.line and not self.freshness.budget.is_spent:
            self.shares.line.popleft()()

    def take_time(self, now: float) -> None:
        """Set the time of this turn: `now` (monotonic), the idle deadline, and the Date field."""
        self.now = now
        self.idle_deadline = now + self.time_limits[IDLE]
        second = int(time.time())
        if second != self._second:
            if second < self._second:
                # The clock was set back, so the Last-Modified of a reply may lie in the future.
                self.reply_cache.clear()
            self._second = second
            self._date = imf_fixdate(second).encode("ascii")

    def begin_drain(self) -> None:
        """Make each reply from now on the last of its connection; drop the replies made before.

        A connection whose latest reply was made before has the grace time for one more request.
        """
        self.draining = True
        self.time_limits[IDLE] = min(self.time_limits[IDLE], self.config.grace)
        self._keep_in(ReplyCache(0, self.reply_cache.open_files))

    def _keep_in(self, reply_cache: ReplyCache) -> None:
        self.reply_cache = reply_cache
        self.heads = reply_cache.heads if not self._is_limited else {}
        """The cached replies by whole heads, for Connection; empty if requests are limited."""
        self._refusals: BoundedCache[tuple[bytes, int], Reply] = BoundedCache(_REFUSALS)

    def hurry(self) -> None:
        """End each connection after its current exchange, from now on."""
        self.hurries = True

    def wait(
        self, waiting: Waiting, is_wanted: Callable[[], bool], done: Callable[[], None]
    ) -> bool:
        """Have a thread do the work of `waiting`; then call `done` in the loop, if `is_wanted()`.

        A request that waits for a turn with more time is appended to `Shares.line` instead. Return
        False if too many wait already.
        """

        def work() -> None:
            if waiting.work is not None and is_wanted():
                waiting.work()

        def end() -> None:
            if is_wanted():
                done()
            elif isinstance(waiting, Undecided):
                waiting.decision.abandon()

        if waiting.place is self.shares.line:
            self.shares.line.append(end)
            return True
        return self._wait is not None and self._wait(waiting.place, work, end)

    def is_current(self, reply: Reply) -> bool:
        """Return whether the dependencies of `reply` hold; if so, prepare it to be sent.

        Return False, too, if there is no time to check them in this turn.
        """
        try:
            if not self.freshness.holds(reply.dependencies):
                return False
        except Postponed:
            return False
        self._refresh(reply)
        self.reply_cache.touch(reply)
        return True

    def _find_or_make(self, head: bytes, peer: str = "") -> Decided:
        """Return the cached reply to `head`, or a new one: the usual `reply_to`."""
        reply_cache = self.reply_cache
        reply = reply_cache.heads.get(head)
        try:
            if reply is not None and self._still_holds(reply):
                return reply, None
            key = self._parser.key(head)
            reply = reply_cache.find(key)
            bare = without_query(key) if reply is None else None
            if bare is not None:
                reply = reply_cache.find_for_any_query(bare)
            if reply is not None and self._still_holds(reply):
                if self.counters is not None:
                    self.counters.knew_key()
                if bare is not None and self.log is not None:  # log the query of this request
                    request, line = self._parser.interpret(key), request_line_of(key)
                    return reply.with_log_text(self.log.describe(line, request, reply.status)), None
                reply_cache.keep_head(head, reply)
                return reply, None
            request = self._parser.interpret(key)
            request.peer, request.is_secure = peer, self.is_secure
            decision = Decision(head, request_line_of(key), request)
            waiting = self._decide(decision, self.handler.answer)
        except ProtocolError as error:
            return self.refuse(error, head), None
        except Postponed:
            key = self._parser.key(head)
            decision = Decision(head, request_line_of(key), self._parser.interpret(key))
            decision.request.peer, decision.request.is_secure = peer, self.is_secure
            raise Undecided(self.shares.line, None, decision) from None
        if waiting is not None:
            raise Undecided(waiting.place, partial(self._decide_in_thread, decision), decision)
        reply, content = self._reply_to(decision)
        if reply is not None and content is None and reply.dependencies is not None:
            self._keep(key, bare, request, reply)
            reply_cache.keep_head(head, reply)  # no-op if `_keep` has kept a copy
        return reply, content

    def _within_limits(
        self, seconds_to_wait: Callable[[str, float], int], head: bytes, peer: str = ""
    ) -> Decided:
        """Call `_find_or_make` if the peer may send a request now, else return a 429."""
        seconds = seconds_to_wait(peer, self.now)
        if not seconds:
            return self._find_or_make(head, peer)
        if (known := self._refusals.get((head, seconds))) is not None:
            self._refresh(known)
            return known, None
        try:
            key = self._parser.key(head)
            decision = Decision(head, request_line_of(key), self._parser.interpret(key))
        except ProtocolError as error:
            return self.refuse(error, head), None
        detail = "This address has sent more requests in a second than it may."
        decision.answer = come_back(self.handler, decision.request, detail, seconds)
        reply, content = self._reply_to(decision)
        if reply is not None and content is None:
            self._refusals.put((head, seconds), reply)
        return reply, content

    def resume(self, decision: Decision) -> Decided:
        """Return the same as `reply_to`, after the wait for which it has raised Undecided.

        Even after a thread has decided, the loop decides once more, because it shares open files
        among all replies; a thread opens one for each. The thread's answer is used only if the loop
        fails or would still have to wait.
        """
        answer = decision.answer
        if answer is None:
            return self._find_or_make(decision.head, decision.request.peer)
        if isinstance(answer, Response) and not answer.is_stream:
            own = Decision(decision.head, decision.line, decision.request)
            with suppress(Postponed):
                if self._decide(own, self.handler.answer) is None and (
                    isinstance(own.answer, Response) and own.answer.status < 500
                ):
                    decision = own
        return self._reply_to(decision)

    def _reply_to(self, decision: Decision) -> Decided:
        """Return the reply to a decided request, and the RequestContent to receive, if any."""
        request, line, answer = decision.request, decision.line, decision.answer
        if self.counters is not None:
            self.counters.missed()
        assert answer is not None  # noqa: S101 (callers have decided)
        if not isinstance(answer, Response):
            return None, RequestContent(answer, request, line, is_answered=False)
        if answer.is_stream and answer.content and self.shares.streams.is_full:
            problem = ProtocolError(503, "Too many long listings are being read at this moment.")
            answer = self.handler.refuse(problem, request)
        if not (request.content_length or request.expects_continue):
            return self._reply(answer, decision.dependencies, request, line), None
        # After Expect: 100-continue, the client may or may not send content (RFC 9110, 10.1.1).
        if request.content_length > DISCARD_LIMIT or request.expects_continue:
            answer.close = True
        reply = self._reply(answer, decision.dependencies, request, line)
        return reply, RequestContent(Discard(DISCARD_LIMIT), request, line, is_answered=True)

    def finish(self, content: RequestContent) -> Reply | None:
        """Return the reply to a request whose content is complete; None if it has been sent.

        Raises ProtocolError or Waiting.
        """
        response = content.finish()
        if response is None:
            return None
        return self._reply(response, None, content.request, content.line)

    def _keep(self, key: HeadKey, bare: HeadKey | None, request: RequestHead, reply: Reply) -> None:
        """Cache a reply by `key`, or by `bare`, the key without query, if any query gets it."""
        if bare is not None and reply.any_query:
            key = bare
            if self.log is not None:
                line = request_line_of(bare)
                reply = reply.with_log_text(self.log.describe(line, request, reply.status))
        if not self.draining:
            self.reply_cache.keep(key, reply)

    def refuse(self, error: ProtocolError, received: bytes) -> Reply:
        """Return the last reply on a connection whose bytes `received` violate the protocol."""
        if self.counters is not None:
            self.counters.refused()
        line = received.removeprefix(b"\r\n").partition(b"\r\n")[0]
        return self._reply(self.handler.refuse(error), None, None, line)

    def refuse_request(self, error: ProtocolError, request: RequestHead, line: bytes) -> Reply:
        """Return the last reply on a connection, which refuses a request or its content."""
        response = self.handler.refuse(error, request)
        response.close = True
        return self._reply(response, None, request, line)

    def cut_short(self, peer: str, reply: Reply, length: int, began: float, end: str) -> None:
        """Count and log a response to `peer` that was cut off after `length` bytes of content.

        `began` is when its request was begun, `end` how the exchange ended; see `ends`.
        """
        self.shares.requests += 1
        if self.counters is not None:
            self.counters.cut_short(reply.status, length)
        if self.log is not None:
            self.log.add_cut(peer, reply.log_text, length, began, end)

    def left_unanswered(
        self, peer: str, asked: Decision | RequestContent, began: float, end: str
    ) -> None:
        """Count and log a request of `peer` whose connection ended before the response."""
        if self.counters is not None:
            self.counters.cut_short(STATUSES[end], 0)
        if self.log is not None:
            text = self.log.describe(asked.line, asked.request, STATUSES[end])
            self.log.add_cut(peer, text, 0, began, end)

    def _still_holds(self, reply: Reply) -> bool:
        """Check a cached reply; return True and prepare it if it holds, else drop it.

        Raises Postponed.
        """
        if reply.checked == self.freshness.round:
            return True
        if not self.freshness.holds(reply.dependencies):
            self.reply_cache.drop(reply)
            return False
        self._refresh(reply)
        self.reply_cache.touch(reply)
        return True

    def _decide(
        self, decision: Decision, answer: Callable[[RequestHead], Answer]
    ) -> Waiting | None:
        """Set the answer of `decision` by calling `answer`; turn exceptions into error responses.

        Return the Waiting, without deciding, if `answer` has raised one. Raises Postponed.
        """
        try:
            decision.answer, decision.dependencies = answer(decision.request)
        except ProtocolError as error:
            decision.answer = self.handler.refuse(error)
        except Waiting as waiting:
            return waiting.with_traceback(None)  # its frames hold open files
        except Postponed:
            raise
        except MemoryError:
            self.reply_cache.expire()
            problem = ProtocolError(503, "There is no memory for it at this moment.")
            decision.answer = self.handler.refuse(problem)
            decision.answer.cause = OSError(errno.ENOMEM, "")
        except Exception:  # noqa: BLE001
            report_bug()
            problem = ProtocolError(500, "The fault is on this side.")
            decision.answer = self.handler.refuse(problem)
        return None

    def _decide_in_thread(self, decision: Decision) -> None:
        """Decide in a thread, which may wait for the disk."""
        if self._in_thread is not None:
            self._decide(decision, self._in_thread)

    def _reply(
        self,
        response: Response,
        dependencies: Dependencies,
        request: RequestHead | None,
        line: bytes,
    ) -> Reply:
        """Return a Reply that sends `response`; `request` is None if it could not be parsed.

        The reply to a HEAD request never has content.
        """
        if response.cause is not None and response.status >= 500:
            self.faults.failed(response.cause, line)
        version = 1 if request is None else request.version
        connection = b"" if version else KEEP_ALIVE
        if response.close or self.draining or request is None or not request.keep_alive:
            connection = CLOSE
        fields = response.fields
        content = () if line.startswith(b"HEAD ") else response.content
        if response.is_stream and version:
            fields, content = in_chunks(fields, content)
        elif response.is_stream:
            connection = CLOSE
        log_text: tuple[str, ...] = ("", "")
        if self.log is not None:
            log_text = self.log.describe(line, request, response.status)
        head = Head(response.status, fields, connection)
        reply = Reply(response, head, content, dependencies, log_text)
        reply.refresh(self.freshness.round, self._second, self._date)
        return reply

    def _refresh(self, reply: Reply) -> None:
        reply.refresh(self.freshness.round, self._second, self._date)
