"""What is still to be sent on one connection: octets, slices of open files, or a stream.

Rule: whole or visibly cut. The last octets of a file are read ahead and held back until a look at
the file, taken after all others were sent, shows that it is still as it was when its length was
announced. If it is not, `FileChanged` tells the connection to end before the message is complete.

A stream is asked for its next piece (`step`) only when all that it gave before is out, so a client
that does not read costs no more than one piece.

Limit: what the kernel has taken over by sendfile it may still read from the file, so a change in
place within the moment before the client has received it can slip through; a file that is replaced
(written elsewhere, then renamed) never shows this.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, cast

from portico.http.h1.serialize import LAST_CHUNK, chunk
from portico.http.message import Stream
from portico.site.origin.open_file import FileSlice

if sys.platform == "linux":
    from fcntl import ioctl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portico.http.message import Sized

TURN = 256 << 10
"""Octets sent on one connection before others have their turn: some 40 us of work."""
LONG_TURN = 2 << 20
"""The same, for one connection, where nobody has been answered for a while."""
TAIL = 1024
"""Octets of a file that are held back to the end."""

_SIOCOUTQ = 0x5411
"""Asks for the octets sent but not acknowledged, and those not sent yet (tcp(7))."""
MORE = getattr(socket, "MSG_MORE", 0)
"""Tells the kernel that more follows, so that it need not send a segment yet."""
HAS_SENDMSG = hasattr(socket.socket, "sendmsg")
_HAS_SENDFILE = hasattr(os, "sendfile")


class FileChanged(Exception):  # noqa: N818 (a fact, not an error of ours)
    """A file changed while it was sent."""


class SendQueue:
    """One reply's pieces waiting to be sent; `sent` counts the octets that went out so far."""

    __slots__ = (
        "_expected",
        "_framing",
        "_is_full",
        "_pieces",
        "_stream",
        "_taken",
        "is_unframed",
        "sent",
    )

    def __init__(self, pieces: Sequence[Sized], sent: int = 0) -> None:
        """Queue `pieces`, each bytes or a FileSlice; the first `sent` octets are out already.

        The last one may be a Stream.
        """
        last = pieces[-1] if pieces else b""
        self._stream = last if isinstance(last, Stream) else None
        self.is_unframed = self._stream is not None and not self._stream.chunked
        """Does only the connection's end tell where the content ends?"""
        self._taken = self._framing = 0
        self._pieces: list[memoryview | FileSlice] = [
            FileSlice(piece.file, piece.offset, piece.count)  # our own: it becomes shorter
            if isinstance(piece, FileSlice)
            else memoryview(cast("bytes", piece))
            for piece in pieces
            if len(piece)
        ]
        self.sent = sent
        self._expected = 0  # so far into the file at the front one can send without a wait
        self._is_full = False
        """Did the socket take less than it was given?"""
        self._drop_octets(sent)

    def flush(self, sock: socket.SocketType, turn: int = TURN) -> bool:
        """Send what the socket takes, about `turn` octets at most; True when nothing is left.

        Raises OSError when the connection is broken, FileChanged when a file is, Waiting when some
        of it must be read first.
        """
        self._is_full = False
        pieces = self._pieces
        try:
            while pieces and turn > 0 and not self._is_full:
                piece = pieces[0]
                if isinstance(piece, FileSlice):
                    count = self._send_slice(sock, piece, turn)
                else:
                    count = self._send_octets(sock)
                turn -= count
                self.sent += count
        except (BlockingIOError, InterruptedError):
            return False
        return not pieces and self._stream is None

    @property
    def is_hungry(self) -> bool:
        """Is all out that the stream has given so far, but not the end?"""
        return self._stream is not None and not self._pieces

    @property
    def framing(self) -> int:
        """Those of the octets sent that are not content, but frame a stream."""
        if not self._framing or not self._pieces:
            return self._framing
        left = len(self._pieces[0])  # of a chunk: its size, what was taken, CR LF
        return self._framing - min(left, 2) - max(0, left - 2 - self._taken)

    def step(self) -> None:
        """Let the stream do a step of its work, and queue what comes of it, if anything.

        Raises OSError when the stream cannot go on; then the message must not be completed.
        """
        stream = self._stream
        if stream is None:
            return
        piece = next(stream.pieces, None)
        self._taken = len(piece or b"")
        if piece is None:
            self._stream = None
            framed = LAST_CHUNK if stream.chunked else b""
        elif piece and stream.chunked:
            framed = chunk(piece)
        else:
            framed = piece
        if framed:
            self._framing += len(framed) - self._taken
            self._pieces.append(memoryview(framed))

    def close(self) -> None:
        """Give up: end the stream, which lets go of what it holds."""
        if self._stream is not None:
            self._stream.pieces.close()

    def _send_octets(self, sock: socket.SocketType) -> int:
        """Send the octets at the front in one call, joined with what follows them."""
        pieces = self._pieces
        run = 1
        while run < len(pieces) and not isinstance(pieces[run], FileSlice):
            run += 1
        flags = MORE if run < len(pieces) else 0
        octets = cast("list[memoryview]", pieces[:run])
        if run > 1 and HAS_SENDMSG:
            sent = sock.sendmsg(octets, (), flags)
        else:
            sent = sock.send(octets[0], flags)
        self._is_full = sent < sum(map(len, octets))
        self._drop_octets(sent)
        return sent

    def _drop_octets(self, count: int) -> None:
        """Take the first `count` octets, which are out, off the pieces at the front."""
        pieces = self._pieces
        while count and count >= len(pieces[0]):
            count -= len(pieces.pop(0))
        if count:
            pieces[0] = cast("memoryview", pieces[0])[count:]

    def _send_slice(self, sock: socket.SocketType, piece: FileSlice, most: int) -> int:
        """Send some of the file slice at the front."""
        file, offset, left = piece.file, piece.offset, piece.count
        if offset >= self._expected:
            self._expected = file.expect(offset, left)
        if left <= TAIL:
            tail = file.read(left, offset)
            if len(tail) < left or file.changed():
                raise FileChanged
            self._pieces[0] = memoryview(tail)
            self._expected = 0
            return self._send_octets(sock)
        count = min(most, left - TAIL, self._expected - offset)
        if _HAS_SENDFILE:
            sent = os.sendfile(sock.fileno(), file.fd, offset, count)
        else:
            octets = file.read(min(count, 65536), offset)
            count = len(octets)
            sent = sock.send(octets) if octets else 0
        if sent == 0:
            raise FileChanged
        piece.offset = offset + sent
        piece.count = left - sent
        if sent < count:
            self._is_full = True
            self._expected = 0  # it may be long until there is room
        return sent


def octets_unread(sock: socket.SocketType) -> int:
    """Octets in the kernel that the client has not taken; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0
    return int.from_bytes(ioctl(sock.fileno(), _SIOCOUTQ, bytes(4)), sys.byteorder)
