"""One client's connection: a state machine over its transport. `states` describes the states.

Each state has a deadline, after which the connection is closed. Requests that arrive together
(pipelining) are answered one by one, and nothing is received while a response waits to be sent, so
a client that does not read its responses costs a bounded amount of memory.
"""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING, ClassVar

from portico.http.content import ContentChanged, Outgoing
from portico.http.h1.head import head_end
from portico.http.message import ProtocolError
from portico.server.fairness import REQUESTS_AT_ONCE
from portico.server.net.loop import LAST, READ, WRITE
from portico.server.net.send_queue import SendQueue
from portico.server.net.transport import MORE, RECEIVE, RECEIVE_CONTENT
from portico.server.responder import Undecided
from portico.server.states import CLOSED, CONTENT, HEAD, IDLE, LINGER, QUEUED, SEND, WAIT
from portico.server.telemetry.ends import BY_CLIENT, BY_SERVER, TIMED_OUT
from portico.server.timeouts import Progress
from portico.site.origin.open_file import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from portico.server.net.loop import Loop
    from portico.server.net.transport import Transport
    from portico.server.reply_cache import Reply
    from portico.server.request_content import RequestContent
    from portico.server.responder import Decision, Responder


class Connection:
    """Serves one client until the connection is closed; then calls `on_close(connection)`."""

    __slots__ = (
        "_began",
        "_buffer",
        "_content",
        "_loop",
        "_on_close",
        "_peer",
        "_progress",
        "_reply",
        "_responder",
        "_scanned",
        "_send_queue",
        "_sending",
        "_transport",
        "_waiting",
        "_watched",
        "deadline",
        "fd",
        "state",
    )

    def __init__(
        self,
        transport: Transport,
        peer: str,
        loop: Loop,
        responder: Responder,
        on_close: Callable[[Connection], None],
    ) -> None:
        self._transport = transport
        self._peer = peer  # the client's address
        self._loop, self._responder = loop, responder
        self._on_close = on_close
        self.fd = transport.fileno()
        self.state = IDLE
        self.deadline = self._deadline(HEAD)  # sooner than IDLE, since nothing has come yet
        """When the current state has lasted too long, in seconds of time.monotonic()."""
        self._watched: int | None = None  # the events that the loop waits for
        self._buffer = b""  # bytes received, but not handled yet
        self._scanned = 0  # length of the part of `_buffer` in which no head ends
        self._content: RequestContent | None = None
        self._waiting: Waiting | None = None  # the work that WAIT waits for
        self._send_queue: SendQueue | None = None
        self._sending: SendQueue | None = None  # the last send queue, even if it is empty now
        self._reply: Reply | None = None  # the one in the send queue; None: interim responses
        self._began = 0.0  # when the current request was begun
        self._progress = Progress(responder.time_limits)

    def start(self, data: bytes | None) -> None:
        """Handle `data`, the bytes received so far; None: a TLS handshake comes first."""
        if data is None:
            self._watched = self._transport.readiness(READ)
            self._loop.watch(self.fd, self._watched, self._on_more)
        elif data:
            self._begin(data)
        if self.state == IDLE:
            self._enter(IDLE)

    def expire(self) -> None:
        """Act on the deadline: answer 408 or 503 to an unanswered request, else check or close."""
        if self.state in {HEAD, CONTENT}:
            self._fail(ProtocolError(408, "The request did not arrive in time."))
        elif self.state == WAIT:
            self._fail(ProtocolError(503, "The disk is too slow at this moment."))
        elif self.state == IDLE:
            self.drain()
        else:
            unread = self._transport.unread()
            self.deadline = self._progress.look(self._responder.now, unread, self.state)
            if self.deadline <= self._responder.now:
                self.give_up(TIMED_OUT)

    def give_up(self, end: str = BY_SERVER) -> None:
        """Close, and make the kernel drop the part of a response that the client has not read."""
        if self.taken() is not None:
            self._transport.reset_when_closed()
        self.close(end)

    @property
    def is_uploading(self) -> bool:
        """Whether the content of a request is being received that has no response yet."""
        return self._content is not None and not self._content.is_answered

    @property
    def _unanswered(self) -> Decision | RequestContent | None:
        """The current request, if no response to it was made yet."""
        if isinstance(self._waiting, Undecided):
            return self._waiting.decision
        return self._content if self.is_uploading else None

    def taken(self) -> tuple[int, float] | None:
        """Return how many bytes of its response the client took, in how many seconds; None: all."""
        sending = self._sending
        unread = 0 if sending is None else self._transport.unread()
        if sending is None or (self._send_queue is None and unread == 0):
            return None
        return sending.sent - unread, self._responder.now - sending.began

    def drain(self) -> None:
        """Close if idle; else the connection ends after its current exchange (see `_sent`)."""
        if self.state == IDLE and self._watched == READ:  # so no handshake is under way
            self._on_more(READ)  # a request that has just arrived is answered
        if self.state == IDLE:
            self.close()
        elif self.state == CONTENT and not self.is_uploading:
            self._finish(linger=True)

    def close(self, end: str = BY_SERVER) -> None:
        """Close the connection in any state. `end` is who ended its exchange; see `ends`."""
        if self.state == CLOSED:
            return
        asked, queue, reply = self._unanswered, self._send_queue, self._reply
        self.state, self._waiting = CLOSED, None
        if asked is not None:
            self._responder.left_unanswered(self._peer, asked, self._began, end)
        if queue is not None:
            if reply is not None:
                length = queue.content_sent(reply.head.length + self._transport.unread())
                self._responder.cut_short(self._peer, reply, length, self._began, end)
            if queue.ends_with_connection:
                self._transport.reset_when_closed()
            self._end_queue(queue)
        if self._content is not None:
            self._content.abort()
            self._content = None
        if self._watched is not None:
            self._loop.forget(self.fd)
        self._transport.close()
        self._on_close(self)

    # Receiving; the handlers that the loop calls name their states

    def _on_request(self, _events: int) -> None:
        """IDLE: receive a request."""
        try:
            data = self._transport.receive(RECEIVE)
        except (BlockingIOError, InterruptedError):
            self._enter(IDLE)
            return
        except OSError:
            data = b""
        if data:
            self._begin(data)
        else:
            self.close(BY_CLIENT)

    def _begin(self, data: bytes) -> None:
        """IDLE: handle the first bytes of a request; fast if they are exactly one head."""
        responder = self._responder
        reply = responder.heads.get(data)
        if reply is not None and (
            reply.checked == responder.freshness.round or responder.is_current(reply)
        ):
            self._send(reply)
            return
        if data.endswith(b"\r\n\r\n") and data.find(b"\r\n\r\n") == len(data) - 4:
            self._answer(data)
            if self._content is not None:
                self._take(b"")
        else:
            self._take(data)

    def _on_more(self, _events: int) -> None:
        """HEAD, CONTENT, and IDLE during a TLS handshake: receive more, and handle it."""
        if data := self.receive():
            responder = self._responder
            responder.freshness.begin_round()  # a request in it may be newer than this turn
            if self.state == CONTENT:
                self.deadline = self._progress.prolong(self.deadline, data, responder.now, CONTENT)
            self._take(data)
        elif self.state != CLOSED:
            self._enter(self.state)

    def _on_next_turn(self) -> None:
        """QUEUED: handle the rest of the buffer."""
        if self.state == QUEUED:
            self._enter(IDLE)
            self._take(b"")

    def _on_broken(self, events: int) -> None:
        """QUEUED, WAIT: close on an error; leave arriving bytes to the kernel for now."""
        if events & ~(READ | WRITE):
            self.close(BY_CLIENT)
        else:
            self._watched = 0
            self._loop.change(self.fd, 0, self._on_broken)

    def _on_linger(self, _events: int) -> None:
        """LINGER: drop all bytes received, until the client closes."""
        if data := self.receive():
            self.deadline = self._progress.prolong(self.deadline, data, self._responder.now, LINGER)
        elif self.state != CLOSED:
            self._enter(LINGER)

    def receive(self) -> bytes:
        """Return the bytes that have arrived, perhaps none; close at the end or on an error."""
        try:
            data = self._transport.receive(RECEIVE if self._content is None else RECEIVE_CONTENT)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError:
            data = b""
        if not data:
            self.close(BY_CLIENT)
        return data

    def _take(self, data: bytes) -> None:
        """Add `data` to the buffer, and answer the complete requests in it one by one."""
        self._buffer += data
        answered = 0
        while self._content is not None or self._buffer:
            if self._content is not None and not self._take_content(self._content):
                break
            if answered == REQUESTS_AT_ONCE:
                self._enter(QUEUED)
                self._loop.soon(self.fd, self._on_next_turn)
                return
            if self._buffer and not self._take_head():
                break
            answered += 1
            # The next pipelined request may have been sent after this turn began.
            self._responder.freshness.begin_round()
        if self.state in {IDLE, HEAD, CONTENT}:
            self._enter(CONTENT if self._content is not None else HEAD if self._buffer else IDLE)

    def _take_head(self) -> bool:
        """Answer the first request in the buffer; False if this or the next one has to wait."""
        buffer = self._buffer
        try:
            end = head_end(buffer, self._scanned)
        except ProtocolError as error:
            self._fail(error)
            return False
        if end < 0:
            self._scanned = len(buffer)
            return False
        self._buffer, self._scanned = buffer[end:], 0
        self._answer(buffer[:end])
        return self.state in {IDLE, CONTENT}

    def _answer(self, head: bytes, waited: Decision | None = None) -> None:
        """Send the reply to `head`, or to the `waited` request; or receive its content first."""
        responder, began = self._responder, 0.0 if waited is None else self._began
        try:
            decided = responder.resume(waited) if waited else responder.reply_to(head, self._peer)
        except Undecided as undecided:
            self._began = began or responder.now
            self._wait(undecided)
            return
        reply, self._content = decided
        if reply is not None:
            self._send(reply, began)
        elif self._content is not None:
            self._began = began or responder.now
            self._transport.expect(self._content.request.content_length)
            self._enter(CONTENT)
            if interim := self._content.interim:
                self._queue(SendQueue([Outgoing(interim)]), None)

    def _take_content(self, content: RequestContent) -> bool:
        """Pass the content in the buffer to the request's sink.

        Return True if the content is complete, the request answered, and the next may be handled.
        """
        try:
            self._buffer = content.take(self._buffer)
            content.pass_on()
            if not content.is_complete:
                return False
            reply = self._responder.finish(content)
        except ProtocolError as error:
            self._fail(error)
            return False
        except Waiting as waiting:
            self._wait(waiting)
            return False
        self._content = None
        if reply is not None:
            self._send(reply, self._began)
        return self.state in {IDLE, CONTENT}

    def _wait(self, waiting: Waiting) -> None:
        self._waiting = waiting
        if self._responder.wait(waiting, lambda: self._waiting is waiting, self._on_done):
            self._enter(WAIT)
            self.deadline = self._deadline(WAIT)  # a new one for each piece of a file
        else:
            self._fail(ProtocolError(503, "Too many wait for the disk at this moment."))

    def _on_done(self) -> None:
        """WAIT: the work that was waited for is done; continue."""
        waiting, self._waiting = self._waiting, None
        if self._send_queue is not None:
            self._on_room(WRITE)
            return
        self._enter(IDLE)
        if isinstance(waiting, Undecided):
            self._answer(b"", waiting.decision)
        if self.state in {IDLE, CONTENT}:
            self._take(b"")

    def _fail(self, error: ProtocolError) -> None:
        """Refuse the current request if it has no response yet; then the connection ends."""
        content, asked, self._waiting = self._content, self._unanswered, None
        if self._send_queue is not None:
            self.close()
        elif content is not None and content.is_answered:
            self._finish(linger=True)
        elif asked is None:
            received, self._buffer = self._buffer, b""
            self._send(self._responder.refuse(error, received))
        else:
            if content is not None:
                content.abort()
                self._content = None
            reply = self._responder.refuse_request(error, asked.request, asked.line)
            self._send(reply, self._began)

    # Replies

    def _send(self, reply: Reply, began: float = 0.0) -> None:
        """Send a reply; bytes without room wait in the send queue. `began`: see `_sent`."""
        flags = MORE if reply.close else 0  # the FIN goes in the same segment
        sent = 0
        try:
            if not reply.content:
                sent = self._transport.send(reply.data, flags)
            elif reply.octets:
                sent = self._transport.send_pieces((reply.data, *reply.octets), flags)
        except OSError:
            pass  # no room, or a broken connection, which the next attempt reports
        if sent == reply.size:
            self._sent(reply, reply.length, began)
            return
        self._began = began or self._responder.now
        self._queue(SendQueue(reply.outgoing(), sent, self._responder.now), reply)

    def _queue(self, send_queue: SendQueue, reply: Reply | None) -> None:
        """Start to send `send_queue`, which holds `reply`, or interim responses if that is None."""
        self._send_queue = self._sending = send_queue
        self._reply = reply
        if send_queue.is_stream:
            self._responder.shares.streams.begin()
        self._flush()

    def _end_queue(self, send_queue: SendQueue) -> None:
        send_queue.close()
        if send_queue.is_stream:
            self._responder.shares.streams.end()
        self._send_queue = self._reply = None

    def _flush(self) -> None:
        """Send from the send queue as much as there is room for, up to the current burst."""
        send_queue, reply = self._send_queue, self._reply
        assert send_queue is not None  # noqa: S101 (callers have checked)
        responder = self._responder
        before = send_queue.sent
        try:
            burst = responder.shares.bursts.take(responder.now, responder.shares.requests)
            is_done = send_queue.flush(self._transport, burst)
        except (OSError, ContentChanged) as problem:
            self.close(responder.faults.cut(problem))
            return
        except Waiting as waiting:
            self._wait(waiting)
            return
        if is_done:
            self._end_queue(send_queue)
            if reply is None:
                self._enter(CONTENT)
            else:
                self._sent(reply, send_queue.content_sent(reply.head.length), self._began)
        else:
            if self.state != SEND or send_queue.sent > before:
                self.deadline = self._progress.expect(responder.now)
            self._enter(SEND)

    def _on_room(self, events: int) -> None:
        """SEND: send more of the reply; when all is sent, handle the rest of the buffer."""
        send_queue = self._send_queue
        if events & ~(READ | WRITE):
            self.close(BY_CLIENT)
            return
        if send_queue is not None and send_queue.needs_step:
            self.deadline = self._progress.expect(self._responder.now)  # the server is at work
            try:
                self._responder.shares.streams.step(send_queue)
            except OSError as problem:
                self.close(self._responder.faults.cut(problem))
            if self.state == CLOSED or send_queue.needs_step:
                return
        self._flush()
        if self.state in {IDLE, CONTENT}:
            self._take(b"")

    def _sent(self, reply: Reply, length: int, began: float = 0.0) -> None:
        """Count and log a reply, sent with `length` bytes of content; enter the next state.

        `began` is when its request was begun, 0 if the reply was sent at once. If not, more bytes
        may have arrived meanwhile; closing with unread bytes would send a reset (RFC 9112, 9.6).
        """
        responder = self._responder
        responder.shares.requests += 1
        if responder.counters is not None:
            responder.counters.answered(reply.status, length, began or responder.now)
        if responder.log is not None:
            responder.log.add(self._peer, reply.log_text, length, began or responder.now)
        if reply.close or responder.hurries:
            self._finish(linger=reply.linger or responder.hurries or began > 0)
        elif self.state != IDLE:
            self._enter(IDLE)
        else:
            self.deadline = responder.idle_deadline

    def _finish(self, *, linger: bool) -> None:
        """End the connection after its last reply; `linger` if the client may still be sending."""
        if not linger and not self._buffer and self._content is None:
            self.close()
            return
        self._buffer = b""
        try:
            self._transport.shut_down_sending()
        except OSError:
            self.close()
            return
        self._enter(LINGER)
        self._progress.linger(self._responder.now, self._transport.unread())

    def _enter(self, state: int) -> None:
        """Enter `state`: set its deadline, and the events and the handler for the loop (_STATES).

        If that is the current state, its deadline stays, and only the events may change.
        """
        wanted, handler = self._STATES[state]
        events = self._transport.readiness(wanted)
        if state == self.state and events == self._watched:
            return
        if state != self.state:
            self.state = state
            self.deadline = self._deadline(state)
        bound = MethodType(handler, self)
        if self._watched is None:
            self._loop.watch(self.fd, events, bound)
        elif events != self._watched:
            self._loop.change(self.fd, events, bound)
        else:
            self._loop.handle(self.fd, bound)
        self._watched = events

    def _deadline(self, state: int) -> float:
        return self._responder.now + self._responder.time_limits[state]

    # The events that each state waits for, and their handler; `states` describes the states.
    _STATES: ClassVar[dict[int, tuple[int, Callable[[Connection, int], None]]]] = {
        IDLE: (READ, _on_request),
        HEAD: (READ | LAST, _on_more),
        QUEUED: (0, _on_broken),
        CONTENT: (READ, _on_more),
        WAIT: (READ, _on_broken),  # as in IDLE and CONTENT: saves system calls
        SEND: (WRITE, _on_room),
        LINGER: (READ | LAST, _on_linger),
    }
