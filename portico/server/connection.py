"""One client's connection: a state machine over its socket.

    state     waits for       what happens then
    IDLE      octets          a request begins; nothing of it is here yet
    HEAD      octets          more of a head that began to arrive
    TURN      its next turn   the rest of many requests that came at once is answered
    CONTENT   octets          content that nobody asked for is thrown away
    WAIT      a thread        what the reply needs is read from the disk; then it goes on
    SEND      room to send    the rest of a reply goes out, and a stream goes on, a step in a turn;
                              meanwhile nothing is read
    LINGER    octets          our side is closed; what still comes is thrown away, so that the
                              client is not reset before it has read the last reply
    CLOSED

Each state has a deadline, after which the connection is dropped. Requests that arrive together
(pipelining) are answered one by one, and nothing is read while a reply waits for room, so a client
that does not read its replies costs a bounded amount of memory.
"""

from __future__ import annotations

import socket
from types import MethodType
from typing import TYPE_CHECKING, ClassVar

from portico.http.h1 import ContentReader, head_end
from portico.http.message import ProtocolError
from portico.server.loop import READ, WRITE
from portico.server.outbox import HAS_SENDMSG, MORE, FileChanged, Outbox, octets_unread
from portico.server.service import DISCARD_LIMIT
from portico.site.content import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from portico.server.loop import Loop
    from portico.server.memo import Reply
    from portico.server.service import Service

RECEIVE = 16384
"""Octets received in one call: a whole head fits."""
REQUESTS_AT_ONCE = 8
"""Pipelined requests answered before other connections have their turn: some 60 us of work."""
TURNS_AT_ONCE = 16
"""Turns (see `outbox.TURN`) that one connection has where no other is ready for its own."""
LINGER_SECONDS = 2.0
"""How long a client has to read the last reply after it has sent too much."""
LINGER_LIMIT = 1 << 20
"""Octets thrown away in that time."""

IDLE, HEAD, TURN, CONTENT, WAIT, SEND, LINGER, CLOSED = range(8)


def _idle_deadline(service: Service) -> float:
    return service.idle_deadline


def _head_deadline(service: Service) -> float:
    return service.now + service.config.head_timeout


def _send_deadline(service: Service) -> float:
    return service.now + service.config.send_timeout


def _linger_deadline(service: Service) -> float:
    return service.now + LINGER_SECONDS


def _content_sent(reply: Reply, outbox: Outbox) -> int:
    """Octets of content that are out; below 0 while the head is not."""
    return outbox.sent - outbox.framing - reply.head_length


class Connection:
    """Serves one accepted socket until it is closed; then calls `on_close(connection)`."""

    __slots__ = (
        "_began",
        "_buffer",
        "_content",
        "_loop",
        "_on_close",
        "_outbox",
        "_peer",
        "_reply",
        "_scanned",
        "_service",
        "_socket",
        "_thrown_away",
        "_unread",
        "_watched",
        "deadline",
        "fd",
        "state",
    )

    def __init__(
        self,
        accepted: tuple[socket.SocketType, str],
        loop: Loop,
        service: Service,
        on_close: Callable[[Connection], None],
    ) -> None:
        """`accepted` is the socket, which must not block, and the client's address for the log."""
        self._socket, self._peer = accepted
        self._loop = loop
        self._service = service
        self._on_close = on_close
        self.fd = self._socket.fileno()
        self.state = IDLE
        self.deadline = service.now + service.config.head_timeout
        """When the present state has lasted too long, in monotonic seconds."""
        self._buffer = b""
        self._scanned = 0
        self._content: ContentReader | None = None
        self._thrown_away = 0
        self._outbox: Outbox | None = None
        self._reply: Reply | None = None
        """The reply that waits in the outbox."""
        self._began = 0.0
        """When the request that it answers was taken up."""
        self._unread = 0
        """Octets that the client had not taken when we last looked."""
        self._watched: int | None = None

    def first_octets(self) -> bytes:
        """What has arrived at once, for `start`: mostly a whole request."""
        return self._receive()

    def start(self, data: bytes) -> None:
        """Serve what has arrived since the connection was accepted, then wait for more."""
        if data:
            self._begin(data)
        if self.state == IDLE:
            deadline = self.deadline  # sooner for a client that has said nothing yet
            self._watch(IDLE)
            self.deadline = deadline

    def expire(self) -> None:
        """The deadline has passed. A request that was begun gets 408; most others have no reply.

        A slow reader has until it has read nothing at all for as long: the socket asks for more
        only when a good part of what the kernel holds is gone, which can take longer.
        """
        if self.state == HEAD:
            self._refuse(ProtocolError(408, "The request did not arrive in time."))
            return
        if self.state == WAIT and self._outbox is None:
            self._refuse(ProtocolError(503, "The disk is too slow at this moment."))
            return
        if self.state == SEND and (unread := octets_unread(self._socket)) < self._unread:
            self._unread = unread
            self.deadline = _send_deadline(self._service)
            return
        self.close()

    def drain(self) -> None:
        """The worker stops: end now if nothing is under way, else with the present exchange."""
        if self.state == IDLE:
            self._service.epoch += 1  # a request that came just now is answered
            self._on_request(READ)
        if self.state == IDLE:
            self.close()
        elif self.state == CONTENT:
            self._finish(linger=True)

    def close(self) -> None:
        """Close the socket, whatever the state. A reply that was cut short is logged as such."""
        if self.state == CLOSED:
            return
        self.state = CLOSED
        if self._reply is not None and self._outbox is not None:
            self._count(self._reply, max(0, _content_sent(self._reply, self._outbox)))
            self._outbox.close()
            # What they hold is let go now: the loop may remember this connection for long.
            self._outbox = self._reply = None
        if self._watched is not None:
            self._loop.forget(self.fd)
        self._socket.close()
        self._on_close(self)

    # What the loop calls, by state

    def _on_request(self, _events: int) -> None:
        """IDLE: receive a request."""
        try:
            data = self._socket.recv(RECEIVE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if data:
            self._begin(data)
        else:
            self.close()

    def _begin(self, data: bytes) -> None:
        """IDLE: take a request. The short ways are for a head that came alone and whole."""
        service = self._service
        reply = service.memo.heads.get(data)
        try:
            if reply is not None and (reply.epoch == service.epoch or service.is_current(reply)):
                self._send(reply)
                return
        except Waiting as waiting:
            self._buffer = data
            self._wait(waiting)
            return
        if data.endswith(b"\r\n\r\n") and data.find(b"\r\n\r\n") == len(data) - 4:
            self._answer(data)
            if self._content is not None:
                self._take(b"")
        else:
            self._take(data)

    def _on_more(self, _events: int) -> None:
        """HEAD and CONTENT: take more of it."""
        if data := self._receive():
            self._service.epoch += 1  # what came with it may have been sent within this turn
            self._take(data)

    def _on_turn(self) -> None:
        """TURN: go on with what had arrived."""
        if self.state == TURN:
            self._watch(IDLE)
            self._take(b"")

    def _on_broken(self, events: int) -> None:
        """TURN, WAIT: what comes unasked is an error, or meant who had this descriptor before."""
        if events & ~(READ | WRITE):
            self.close()

    def _on_room(self, events: int) -> None:
        """SEND: send more of the reply, then go on with what had arrived."""
        outbox = self._outbox
        if outbox is not None and outbox.is_hungry:
            self._step(outbox, events)
            if self.state == CLOSED or outbox.is_hungry:
                return
        self._flush()
        if self.state == IDLE:
            self._take(b"")

    def _on_linger(self, _events: int) -> None:
        """LINGER: throw away whatever comes, until the client closes."""
        if data := self._receive():
            self._thrown_away += len(data)
            if self._thrown_away > LINGER_LIMIT:
                self.close()

    def _receive(self) -> bytes:
        """What has arrived, perhaps nothing; closes at the end of the stream or on an error."""
        try:
            data = self._socket.recv(RECEIVE)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError:
            data = b""
        if not data:
            self.close()
        return data

    # Requests

    def _take(self, data: bytes) -> None:
        """Answer the requests in what was received, one by one, as far as they are whole."""
        self._buffer += data
        answered = 0
        while self._buffer:
            if self._content is not None and not self._discard(self._content):
                break
            if answered == REQUESTS_AT_ONCE:
                self._watch(TURN)
                self._loop.soon(self.fd, self._on_turn)
                return
            if self._buffer and not self._take_one():
                break
            answered += 1
            # What follows may have been sent after this turn of the loop began.
            self._service.epoch += 1
        if self.state in {IDLE, HEAD, CONTENT}:
            self._watch(CONTENT if self._content is not None else HEAD if self._buffer else IDLE)

    def _take_one(self) -> bool:
        """Answer the first request in the buffer; False when there is none that can be answered."""
        buffer = self._buffer
        try:
            end = head_end(buffer, self._scanned)
        except ProtocolError as error:
            self._refuse(error)
            return False
        if end < 0:
            self._scanned = len(buffer)
            return False
        self._buffer = buffer[end:]
        self._scanned = 0
        self._answer(buffer[:end])
        return self.state == IDLE

    def _answer(self, head: bytes) -> None:
        """Send the reply to a complete head."""
        try:
            reply, request = self._service.reply_to(head)
        except Waiting as waiting:
            self._buffer = head + self._buffer
            self._wait(waiting)
            return
        if request is not None:
            self._content = ContentReader(request.content_length)
        self._send(reply)

    def _wait(self, waiting: Waiting) -> None:
        """Go on when a thread has done what must be done first."""
        if self._service.wait(waiting.place, waiting.work, self._on_done):
            self._watch(WAIT)
        elif self._outbox is None:
            self._refuse(ProtocolError(503, "Too many wait for the disk at this moment."))
        else:
            self.close()

    def _on_done(self) -> None:
        """WAIT: try again. What had been given up meanwhile stays so."""
        if self.state == WAIT and self._outbox is not None:
            self._on_room(WRITE)
        elif self.state == WAIT:
            self._watch(IDLE)
            self._take(b"")

    def _refuse(self, error: ProtocolError) -> None:
        """Answer what is no request, then end."""
        received, self._buffer = self._buffer, b""
        self._send(self._service.refuse(error, received))

    def _discard(self, content: ContentReader) -> bool:
        """Throw away what the buffer holds of a request's content; True at the content's end."""
        received = len(self._buffer)
        try:
            self._buffer = content.feed(self._buffer)[1]
        except ProtocolError:
            self._finish(linger=True)
            return False
        self._thrown_away += received - len(self._buffer)
        if content.complete:
            self._content = None
            self._thrown_away = 0
            return True
        if self._thrown_away > DISCARD_LIMIT:
            self._finish(linger=True)
        return False

    # Replies

    def _send(self, reply: Reply) -> None:
        """Send a reply; what the socket does not take at once waits in the outbox.

        The last reply and the connection's end, which follows it at once, go in one segment.
        """
        sent = 0
        try:
            if not reply.content:
                sent = self._socket.send(reply.data, MORE if reply.close else 0)
            elif reply.octets and HAS_SENDMSG:
                flags = MORE if reply.close else 0
                sent = self._socket.sendmsg((reply.data, *reply.octets), (), flags)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._count(reply, 0)
            self.close()
            return
        if sent == reply.head_length + reply.length:
            self._sent(reply)
            return
        self._reply = reply
        self._began = self._service.now
        self._outbox = Outbox((reply.data, *(reply.octets or reply.content)), sent)
        self._flush()

    def _flush(self) -> None:
        """Send what the outbox holds, as far as it goes."""
        outbox, reply = self._outbox, self._reply
        assert outbox is not None  # noqa: S101 (the outbox and its reply come and go together)
        assert reply is not None  # noqa: S101
        before = outbox.sent
        try:
            done = outbox.flush(self._socket)
            turns = 1
            while not (done or outbox.is_blocked or outbox.is_hungry) and turns < TURNS_AT_ONCE:
                if not self._loop.is_idle_but_for(self.fd):
                    break
                done = outbox.flush(self._socket)
                turns += 1
        except (OSError, FileChanged):
            self.close()
            return
        except Waiting as waiting:
            self._wait(waiting)
            return
        if done:
            self._outbox = self._reply = None
            reply.length = _content_sent(reply, outbox)  # of a stream it was not known before
            self._sent(reply, self._began)
            return
        if outbox.is_blocked:
            self._unread = octets_unread(self._socket)
        if self.state != SEND:
            self._watch(SEND)
        elif outbox.sent > before:
            self.deadline = self._service.now + self._service.config.send_timeout

    def _step(self, outbox: Outbox, events: int) -> None:
        """Let the stream in the outbox go on, unless enough others have done so in this turn."""
        service = self._service
        self.deadline = _send_deadline(service)  # the client waits for us, not we for it
        if events & ~(READ | WRITE):
            self.close()  # nobody is there any more to work for
        elif service.steps_left:
            service.steps_left -= 1
            try:
                outbox.step()
            except OSError:
                self.close()

    def _sent(self, reply: Reply, began: float = 0.0) -> None:
        """The reply is out: count it, and go on to what follows it.

        `began` is when its request was taken up, if that was not in this turn of the loop.
        """
        service = self._service
        service.requests += 1
        if service.counts is not None:
            service.counts.answered(reply.status, reply.length, began or service.now)
        if service.log is not None:
            service.log.add(self._peer, reply.log_text, reply.length)
        if reply.close or service.draining:
            self._finish(linger=reply.linger or service.draining)
        elif self.state != IDLE:
            self._watch(IDLE)
        else:
            self.deadline = service.idle_deadline

    def _count(self, reply: Reply, length: int) -> None:
        """Count and log an exchange that ended after `length` octets of content."""
        self._service.requests += 1
        if self._service.counts is not None:
            self._service.counts.cut_short(reply.status, length)
        if self._service.log is not None:
            self._service.log.add(self._peer, reply.log_text, length)

    def _finish(self, *, linger: bool) -> None:
        """End the connection after its last reply. Linger if the client may be sending still."""
        if not linger and not self._buffer and self._content is None:
            self.close()
            return
        self._buffer = b""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self._watch(LINGER)

    def _watch(self, state: int) -> None:
        """Enter `state`, unless it is the present one: its events, its handler, its deadline."""
        events, handler, deadline = self._STATES[state]
        if state == self.state and events == self._watched:
            return
        self.state = state
        self.deadline = deadline(self._service)
        bound = MethodType(handler, self)
        if self._watched is None:
            self._loop.watch(self.fd, events, bound)
        elif events != self._watched:
            self._loop.change(self.fd, events, bound)
        else:
            self._loop.handle(self.fd, bound)
        self._watched = events

    # What each state waits for, what happens then, and until when.
    _STATES: ClassVar[
        dict[int, tuple[int, Callable[[Connection, int], None], Callable[[Service], float]]]
    ] = {
        IDLE: (READ, _on_request, _idle_deadline),
        HEAD: (READ, _on_more, _head_deadline),
        TURN: (0, _on_broken, _head_deadline),
        CONTENT: (READ, _on_more, _head_deadline),
        WAIT: (0, _on_broken, _send_deadline),
        SEND: (WRITE, _on_room, _send_deadline),
        LINGER: (READ, _on_linger, _linger_deadline),
    }
