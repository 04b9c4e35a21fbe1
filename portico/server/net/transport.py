"""Transports: they send and receive the bytes of a connection.

Only transports, and the modules that listen and accept, use sockets. `Plain` is TCP or a unix
socket without encryption. It is a subclass of the C socket type, so a request pays nothing for
this abstraction. No call blocks: BlockingIOError is raised instead.
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
"""A flag for `send`: more data follows at once, so the kernel need not send a segment yet."""
RECEIVE = 16384
"""Bytes received per call, enough for a whole request head."""
RECEIVE_CONTENT = 128 << 10
"""Bytes received per call while a request's content is received: large content needs few calls."""
CONTENT_BUFFER = 256 << 10
"""The kernel's receive buffer for large content, in bytes; Linux doubles it. With the usual buffer
a distant client would wait for acknowledgements most of the time."""
_HAS_SENDMSG = hasattr(socket.socket, "sendmsg")
_HAS_SENDFILE = hasattr(os, "sendfile")
_READ_AT_ONCE = 65536
"""Bytes of a file that are read into memory at once on systems without sendfile."""
_SIOCOUTQ = 0x5411
"""The ioctl that returns the number of bytes not sent yet, or not acknowledged (tcp(7))."""
SENT_AHEAD = 16384
"""Bytes that the kernel holds beyond the client's receive window, after `send_little_ahead`. The
usual buffer takes 2.5 MB of a large response at once; to send these, and drop them when the
connection is given up, costs 1.2 ms. With this limit it costs about 0.1 ms."""


class Transport(Protocol):
    """Sends and receives the bytes of one connection.

    Every call may raise OSError if the connection is broken. The calls that send return the number
    of bytes handed to the kernel. If that is less than they were given, or BlockingIOError is
    raised, the caller must call again with the rest.
    """

    def fileno(self) -> int:
        """Return the file descriptor that the loop watches."""
        ...

    def readiness(self, wanted: int, /) -> int:
        """Return the events that the loop has to wait for when the connection waits for `wanted`.

        They may differ from `wanted`: TLS may have to send before it can receive. Call this again
        after each BlockingIOError, since the result may have changed.
        """
        ...

    def receive(self, most: int, /) -> bytes:
        """Return received bytes, about `most` at most; b"" if the client has ended its side."""
        ...

    def send(self, octets: Buffer, flags: int = 0, /) -> int:
        """Send as many of `octets` as there is room for; return how many."""
        ...

    def send_pieces(self, pieces: Sequence[Buffer], flags: int = 0, /) -> int:
        """Send `pieces`, joined, as far as there is room; return the number of bytes sent."""
        ...

    def send_file(self, fd: int, offset: int, count: int, /) -> int:
        """Send up to `count` bytes of an open file; return how many, 0 at the file's end."""
        ...

    def expect(self, length: int, /) -> None:
        """Prepare to receive content of `length` bytes, or of unknown length if it is CHUNKED."""
        ...

    def unread(self) -> int:
        """Return the number of sent bytes that the client has not acknowledged (0: unknown)."""
        ...

    def shut_down_sending(self) -> None:
        """Close the sending side, which the client sees as the end; receiving remains possible."""
        ...

    def reset_when_closed(self) -> None:
        """Make `close` reset the connection, so that the response does not look complete."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Plain(SocketType):
    """A connection without encryption: a socket, which must be non-blocking."""

    __slots__ = ()
    receive = SocketType.recv

    def readiness(self, wanted: int, /) -> int:
        """Return `wanted`: without encryption no other event is needed."""
        return wanted

    def send_pieces(self, pieces: Sequence[Buffer], flags: int = 0, /) -> int:
        """Send `pieces`, joined, as far as there is room; return the number of bytes sent."""
        if _HAS_SENDMSG:
            return self.sendmsg(pieces, (), flags)
        return self.send(pieces[0], flags)

    def send_file(self, fd: int, offset: int, count: int, /) -> int:
        """Send up to `count` bytes of an open file; return how many, 0 at the file's end."""
        if _HAS_SENDFILE:
            return os.sendfile(self.fileno(), fd, offset, count)
        octets = read_at(fd, min(count, _READ_AT_ONCE), offset)
        return self.send(octets) if octets else 0

    def send_little_ahead(self) -> None:
        """Limit what the kernel holds beyond the client's window to SENT_AHEAD (Linux only)."""
        if sys.platform == "linux":  # elsewhere this only delays WRITE events, and bounds nothing
            with contextlib.suppress(OSError):  # a unix socket does not have this option
                self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, SENT_AHEAD)

    def unread(self) -> int:
        """Return the number of sent bytes that the client has not acknowledged (0: unknown)."""
        if sys.platform != "linux":
            return 0
        return int.from_bytes(ioctl(self.fileno(), _SIOCOUTQ, bytes(4)), sys.byteorder)

    def expect(self, length: int, /) -> None:
        """Prepare to receive content of `length` bytes, or of unknown length if it is CHUNKED."""
        if length > CONTENT_BUFFER or length == CHUNKED:
            with contextlib.suppress(OSError):
                self.setsockopt(SOL_SOCKET, socket.SO_RCVBUF, CONTENT_BUFFER)

    def shut_down_sending(self) -> None:
        """Close the sending side, which the client sees as the end; receiving remains possible."""
        self.shutdown(socket.SHUT_WR)

    def reset_when_closed(self) -> None:
        """Make `close` reset the connection, so that the response does not look complete."""
        with contextlib.suppress(OSError):
            self.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
