"""The sending half of a connection: its socket, its states, and replies on their way.

A reply goes out with one call if the socket takes it at once; what it does not take waits in a
queue for room, or for a thread that reads it. `Connection` is the other half, which receives, and
has the table of what is done in which state.
"""

from __future__ import annotations

import contextlib
import struct
from socket import SO_LINGER, SOL_SOCKET
from types import MethodType
from typing import TYPE_CHECKING, ClassVar

from portico.server.net.loop import READ, WRITE
from portico.server.net.send_queue import HAS_SENDMSG, MORE, FileChanged, SendQueue, octets_unread
from portico.server.states import CLOSED, IDLE, SEND, look_deadline, send_deadline
from portico.site.origin.open_file import Waiting

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

    from portico.server.net.loop import Loop
    from portico.server.reply_cache import CachedReply
    from portico.server.responder import Responder

UNKNOWN = -1


def _content_sent(reply: CachedReply, send_queue: SendQueue) -> int:
    """Octets of content that are out; below 0 while the head is not."""
    return send_queue.sent - send_queue.framing - reply.head_length


def _reset(sock: socket.SocketType) -> None:
    """Have the connection end with a reset, not as if all had been said."""
    with contextlib.suppress(OSError):
        sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))


class Sender:
    """One accepted socket that replies go out on; calls `on_close(self)` when it is closed."""

    __slots__ = (
        "_began",
        "_given_up",
        "_loop",
        "_on_close",
        "_peer",
        "_reply",
        "_responder",
        "_send_queue",
        "_socket",
        "_unread",
        "_watched",
        "deadline",
        "fd",
        "state",
    )

    # What each state waits for, what happens then, and until when.
    _STATES: ClassVar[
        dict[int, tuple[int, Callable[[Any, int], None], Callable[[Responder], float]]]
    ] = {}

    def __init__(
        self,
        accepted: tuple[socket.SocketType, str],
        loop: Loop,
        responder: Responder,
        on_close: Callable[[Any], None],
    ) -> None:
        """`accepted` is the socket, which must not block, and the client's address for the log."""
        self._socket, self._peer = accepted
        self._loop = loop
        self._responder = responder
        self._on_close = on_close
        self.fd = self._socket.fileno()
        self.state = IDLE
        self.deadline = responder.now + responder.config.head_timeout
        """When the present state has lasted too long, in monotonic seconds."""
        self._send_queue: SendQueue | None = None
        self._reply: CachedReply | None = None
        """The reply that waits in the send queue."""
        self._began = 0.0
        """When the request that it answers was taken up."""
        self._unread = UNKNOWN
        """Octets that the client had not taken when we last looked, since the last were sent."""
        self._given_up = 0.0
        """When it is given up, if it takes none of them until then."""
        self._watched: int | None = None

    def close(self) -> None:
        """Close the socket, whatever the state. A reply that was cut short is logged as such."""
        if self.state == CLOSED:
            return
        self.state = CLOSED
        if self._reply is not None and self._send_queue is not None:
            self._count(self._reply, max(0, _content_sent(self._reply, self._send_queue)))
            if self._send_queue.is_unframed:
                _reset(self._socket)
            self._send_queue.close()
            # What they hold is let go now: the loop may remember this connection for long.
            self._send_queue = self._reply = None
        if self._watched is not None:
            self._loop.forget(self.fd)
        self._socket.close()
        self._on_close(self)

    # Replies

    def _send(self, reply: CachedReply) -> None:
        """Send a reply; what the socket does not take at once waits in the send queue.

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
        self._began = self._responder.now
        self._send_queue = SendQueue((reply.data, *(reply.octets or reply.content)), sent)
        self._flush()

    def _flush(self) -> None:
        """Send what the send queue holds, as far as it goes."""
        send_queue, reply = self._send_queue, self._reply
        assert send_queue is not None  # noqa: S101 (the queue and its reply come and go together)
        assert reply is not None  # noqa: S101
        before = send_queue.sent
        try:
            done = send_queue.flush(self._socket, self._responder.turn())
        except (OSError, FileChanged):
            self.close()
            return
        except Waiting as waiting:
            self._wait(waiting)
            return
        if done:
            self._send_queue = self._reply = None
            reply.length = _content_sent(reply, send_queue)  # of a stream it was not known before
            self._sent(reply, self._began)
            return
        if self.state != SEND:
            self._watch(SEND)
        elif send_queue.sent == before:
            return
        self._expect_progress()

    def _expect_progress(self) -> None:
        """From now on the client has the usual time to take some of what it was sent."""
        self._unread = UNKNOWN
        self._given_up = send_deadline(self._responder)
        self.deadline = look_deadline(self._responder)

    def _makes_progress(self) -> bool:
        """SEND, LINGER: may the client still be reading? To be asked at each deadline.

        What its system takes right after the last octets were sent says nothing about that, but
        what it takes between two looks does. Limit: a system tells only in steps, up to a sixteenth
        of its buffer, that there is room again; a client that reads less than that in the time it
        has seems to read nothing.
        """
        responder = self._responder
        unread = octets_unread(self._socket)
        if unread < self._unread:
            self._given_up = send_deadline(responder)
        self._unread = unread
        self.deadline = look_deadline(responder)
        return responder.now < self._given_up

    def _step(self, send_queue: SendQueue, events: int) -> None:
        """Let the stream in the queue go on, unless enough others have done so in this turn."""
        responder = self._responder
        self._expect_progress()  # the client waits for us, not we for it
        if events & ~(READ | WRITE):
            self.close()  # nobody is there any more to work for
        elif responder.steps_left:
            responder.steps_left -= 1
            try:
                send_queue.step()
            except OSError:
                self.close()

    def _sent(self, reply: CachedReply, began: float = 0.0) -> None:
        """The reply is out: count it, and go on to what follows it.

        `began` is when its request was taken up, if it was not sent at once. Then the client may
        have sent more meanwhile; to close with that unread would reset it (RFC 9112, 9.6).
        """
        responder = self._responder
        responder.requests += 1
        if responder.counts is not None:
            responder.counts.answered(reply.status, reply.length, began or responder.now)
        if responder.log is not None:
            responder.log.add(self._peer, reply.log_text, reply.length)
        if reply.close or responder.draining:
            self._finish(linger=reply.linger or responder.draining or began > 0)
        elif self.state != IDLE:
            self._watch(IDLE)
        else:
            self.deadline = responder.idle_deadline

    def _count(self, reply: CachedReply, length: int) -> None:
        """Count and log an exchange that ended after `length` octets of content."""
        self._responder.requests += 1
        if self._responder.counts is not None:
            self._responder.counts.cut_short(reply.status, length)
        if self._responder.log is not None:
            self._responder.log.add(self._peer, reply.log_text, length)

    def _watch(self, state: int) -> None:
        """Enter `state`, unless it is the present one: its events, its handler, its deadline."""
        events, handler, deadline = self._STATES[state]
        if state == self.state and events == self._watched:
            return
        self.state = state
        self.deadline = deadline(self._responder)
        bound = MethodType(handler, self)
        if self._watched is None:
            self._loop.watch(self.fd, events, bound)
        elif events != self._watched:
            self._loop.change(self.fd, events, bound)
        else:
            self._loop.handle(self.fd, bound)
        self._watched = events

    def _finish(self, *, linger: bool) -> None:
        """End the connection after its last reply. Linger if the client may be sending still."""
        raise NotImplementedError

    def _wait(self, waiting: Waiting) -> None:
        """Go on when a thread has done what must be done first."""
        raise NotImplementedError
