"""One client's connection: a state machine over its socket. See `states` for the states.

Each state has a deadline, after which the connection is dropped. Requests that arrive together
(pipelining) are answered one by one, and nothing is read while a reply waits for room, so a client
that does not read its replies costs a bounded amount of memory.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, ClassVar

from portico.http.h1.content import ContentReader
from portico.http.h1.head import head_end
from portico.http.message import ProtocolError
from portico.server.net.loop import READ, WRITE
from portico.server.net.send_queue import octets_unread
from portico.server.responder import DISCARD_LIMIT
from portico.server.sending import Sender
from portico.server.states import (
    CLOSED,
    CONTENT,
    HEAD,
    IDLE,
    LINGER,
    SEND,
    TURN,
    WAIT,
    head_deadline,
    idle_deadline,
    linger_deadline,
    send_deadline,
)
from portico.site.origin.open_file import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from portico.server.net.loop import Loop
    from portico.server.responder import Responder

RECEIVE = 16384
"""Octets received in one call: a whole head fits."""
REQUESTS_AT_ONCE = 8
"""Pipelined requests answered before other connections have their turn: some 60 us of work."""
LINGER_LIMIT = 1 << 20
"""Octets thrown away in that time."""


class Connection(Sender):
    """Serves one accepted socket until it is closed; then calls `on_close(connection)`."""

    __slots__ = ("_buffer", "_content", "_scanned", "_thrown_away")

    def __init__(
        self,
        accepted: tuple[socket.SocketType, str],
        loop: Loop,
        responder: Responder,
        on_close: Callable[[Connection], None],
    ) -> None:
        """`accepted` is the socket, which must not block, and the client's address for the log."""
        super().__init__(accepted, loop, responder, on_close)
        self._buffer = b""
        self._scanned = 0
        self._content: ContentReader | None = None
        self._thrown_away = 0

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
        """The deadline has passed. A request that was begun gets 408; most others have no reply."""
        if self.state == HEAD:
            self._refuse(ProtocolError(408, "The request did not arrive in time."))
        elif self.state == WAIT and self._send_queue is None:
            self._refuse(ProtocolError(503, "The disk is too slow at this moment."))
        elif self.state not in {SEND, LINGER} or self._is_out_of_time():
            self.close()

    def _is_out_of_time(self) -> bool:
        """SEND, LINGER: has the client had the time that it has to take what it was sent?"""
        unread = self._unread
        if not self._makes_progress():
            return True
        if self.state == LINGER and self._unread == 0:
            self.deadline = linger_deadline(self._responder)
            return unread == 0
        return False

    def drain(self) -> None:
        """The worker stops: end now if nothing is under way, else with the present exchange."""
        if self.state == IDLE:
            self._responder.freshness.begin_request()  # a request that came just now is answered
            self._on_request(READ)
        if self.state == IDLE:
            self.close()
        elif self.state == CONTENT:
            self._finish(linger=True)

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
        responder = self._responder
        reply = responder.reply_cache.heads.get(data)
        try:
            if reply is not None and (
                reply.checked == responder.freshness.request or responder.is_current(reply)
            ):
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
            # What came with it may have been sent within this turn.
            self._responder.freshness.begin_request()
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
        send_queue = self._send_queue
        if send_queue is not None and send_queue.is_hungry:
            self._step(send_queue, events)
            if self.state == CLOSED or send_queue.is_hungry:
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
            self._responder.freshness.begin_request()
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
            reply, request = self._responder.reply_to(head)
        except Waiting as waiting:
            self._buffer = head + self._buffer
            self._wait(waiting)
            return
        if request is not None:
            self._content = ContentReader(request.content_length)
        self._send(reply)

    def _wait(self, waiting: Waiting) -> None:
        """Go on when a thread has done what must be done first."""
        if self._responder.wait(waiting.place, waiting.work, self._on_done):
            self._watch(WAIT)
        elif self._send_queue is None:
            self._refuse(ProtocolError(503, "Too many wait for the disk at this moment."))
        else:
            self.close()

    def _on_done(self) -> None:
        """WAIT: try again. What had been given up meanwhile stays so."""
        if self.state == WAIT and self._send_queue is not None:
            self._on_room(WRITE)
        elif self.state == WAIT:
            self._watch(IDLE)
            self._take(b"")

    def _refuse(self, error: ProtocolError) -> None:
        """Answer what is no request, then end."""
        received, self._buffer = self._buffer, b""
        self._send(self._responder.refuse(error, received))

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
        self._unread = octets_unread(self._socket)
        self._given_up = send_deadline(self._responder)

    # What each state waits for, what happens then, and until when.
    _STATES: ClassVar[
        dict[int, tuple[int, Callable[[Connection, int], None], Callable[[Responder], float]]]
    ] = {
        IDLE: (READ, _on_request, idle_deadline),
        HEAD: (READ, _on_more, head_deadline),
        TURN: (0, _on_broken, head_deadline),
        CONTENT: (READ, _on_more, head_deadline),
        WAIT: (0, _on_broken, send_deadline),
        SEND: (WRITE, _on_room, send_deadline),
        LINGER: (READ, _on_linger, linger_deadline),
    }
