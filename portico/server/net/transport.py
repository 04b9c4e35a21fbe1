"""Transports: how a connection's octets travel. Only they, and what listens, touch a socket.

`Plain` is TCP, or a unix socket, as it is. It is the operating system's socket object itself, so
this seam costs a request nothing. No call ever waits: what would have to raises BlockingIOError.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
from socket import SO_LINGER, SOL_SOCKET, SocketType
from typing import TYPE_CHECKING, Protocol

from portico.http.message import CHUNKED
from portico.site.origin.fingerprint import read_at

if sys.platform == "linux":
    from fcntl import ioctl

if TYPE_CHECKING:
    from collections.abc import Sequence

    Buffer = bytes | memoryview

MORE = getattr(socket, "MSG_MORE", 0)
"""A flag for `send`: more follows at once, so the kernel need not send a segment yet."""
RECEIVE = 16384
"""Octets received in one call: a whole head fits."""
RECEIVE_CONTENT = 128 << 10
"""The same, of a request's content: so a large one needs few calls."""
CONTENT_BUFFER = 256 << 10
"""Octets of a large content that the kernel may receive ahead of us; Linux doubles it. With the
usual buffer a client far away would wait for acknowledgements most of the time."""
_HAS_SENDMSG = hasattr(socket.socket, "sendmsg")
_HAS_SENDFILE = hasattr(os, "sendfile")
_READ_AT_ONCE = 65536
"""Octets of a file that are read into memory where the system cannot send from files."""
_SIOCOUTQ = 0x5411
"""Asks for the octets sent but not acknowledged, and those not sent yet (tcp(7))."""
SENT_AHEAD = 16384
"""Octets that the kernel holds at most for a client beyond those that its window has room for, when
it shall hold little. With the usual buffer it takes 2.5 MB at once of a large response, and to send
that and to drop it again cost 1.2 ms; with this, some 0.1 ms."""


class Transport(Protocol):
    """One connection's way to its client and back.

    Every call may raise OSError when the connection is broken. What is said to be sent was handed
    to the kernel: where a call took less than it was given, it is called again with the rest.
    """

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        ...

    def readiness(self, wanted: int, /) -> int:
        """Return the events to wait for when the connection waits for `wanted`.

        They may differ in the middle of a handshake. To be asked again after each BlockingIOError.
        """
        ...

    def receive(self, most: int, /) -> bytes:
        """Return what has come, at most `most` octets; b"" when the client sends no more."""
        ...

    def send(self, octets: Buffer, flags: int = 0, /) -> int:
        """Send octets, as many as there is room for; return how many."""
        ...

    def send_pieces(self, pieces: Sequence[Buffer], flags: int = 0, /) -> int:
        """Send several pieces as if they were one."""
        ...

    def send_file(self, fd: int, offset: int, count: int, /) -> int:
        """Send `count` octets of an open file; return how many, 0 at the file's end."""
        ...

    def expect(self, length: int, /) -> None:
        """Prepare for so many octets of content; CHUNKED if that is not known."""
        ...

    def unread(self) -> int:
        """Return how many octets the client has not taken; 0 where the system does not tell."""
        ...

    def shut_down_sending(self) -> None:
        """Tell the client that nothing more will be sent, and go on receiving."""
        ...

    def reset_when_closed(self) -> None:
        """Have `close` break the connection, so that what was sent does not look complete."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Plain(SocketType):
    """A connection without encryption: a socket of the operating system, which must not block."""

    __slots__ = ()
    receive = SocketType.recv

    def readiness(self, wanted: int, /) -> int:
        """Return `wanted`: nothing else is ever needed."""
        return wanted

    def send_pieces(self, pieces: Sequence[Buffer], flags: int = 0, /) -> int:
        """Send several pieces as if they were one."""
        if _HAS_SENDMSG:
            return self.sendmsg(pieces, (), flags)
        return self.send(pieces[0], flags)

    def send_file(self, fd: int, offset: int, count: int, /) -> int:
        """Send `count` octets of an open file; return how many, 0 at the file's end."""
        if _HAS_SENDFILE:
            return os.sendfile(self.fileno(), fd, offset, count)
        octets = read_at(fd, min(count, _READ_AT_ONCE), offset)
        return self.send(octets) if octets else 0

    def send_little_ahead(self) -> None:
        """Have the kernel hold little of what the client has no room for."""
        if sys.platform == "linux":  # elsewhere it takes all the same, and only says so later
            with contextlib.suppress(OSError):  # no TCP
                self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, SENT_AHEAD)

    def unread(self) -> int:
        """Return how many octets the client has not taken; 0 where the system does not tell."""
        if sys.platform != "linux":
            return 0
        return int.from_bytes(ioctl(self.fileno(), _SIOCOUTQ, bytes(4)), sys.byteorder)

    def expect(self, length: int, /) -> None:
        """Prepare for so many octets of content; CHUNKED if that is not known."""
        if length > CONTENT_BUFFER or length == CHUNKED:
            with contextlib.suppress(OSError):
                self.setsockopt(SOL_SOCKET, socket.SO_RCVBUF, CONTENT_BUFFER)

    def shut_down_sending(self) -> None:
        """Tell the client that nothing more will be sent, and go on receiving."""
        self.shutdown(socket.SHUT_WR)

    def reset_when_closed(self) -> None:
        """Have `close` break the connection, so that what was sent does not look complete."""
        with contextlib.suppress(OSError):
            self.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
