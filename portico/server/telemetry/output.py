"""Output to the access log and to the operator, which never stops the server.

A file takes what it is given. A pipe, a terminal or a socket can be full: its reader then has
STALL_SECONDS to take something. After that nobody waits for it any more, and what is to be written
is dropped, until there is room again. So a reader that is slow slows the server down, as readers of
pipes do, and one that stands still does not stop it.

Limit: where the system cannot write on the condition that it need not wait (RWF_NOWAIT, pwritev2(2)
on Linux), and several processes write to the same pipe, one of them can be blocked in a write.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import sys
import time

STALL_SECONDS = 1.0
"""How long a reader that does not read is waited for, once."""
_PIECE = getattr(select, "PIPE_BUF", 512)
"""Bytes that are written in one piece, not mixed with those of others (POSIX, write)."""
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class Output:
    """The descriptor `fd`, which stays open, as something to write to. Raises OSError."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._no_wait: int = getattr(os, "RWF_NOWAIT", 0)
        self._writable: select.poll | None = None  # None for a file, which always is
        self._is_stalled = False
        if not stat.S_ISREG(os.fstat(fd).st_mode) and hasattr(select, "poll"):
            self._writable = select.poll()
            self._writable.register(fd, select.POLLOUT)

    def write(self, data: bytes) -> bytes:
        """Write `data`, and return what is left of it, because there was no room. Raises OSError.

        Lines stay whole, except long ones.
        """
        if self._writable is None:
            return data[os.write(self._fd, data) :]
        while data:
            end = data.rfind(b"\n", 0, _PIECE) + 1 or _PIECE
            try:
                data = data[self._write_now(data[:end], self._writable) :]
            except BlockingIOError:
                if not self._wait(self._writable):
                    return data
            else:
                self._is_stalled = False
        return b""

    def _write_now(self, piece: bytes, writable: select.poll) -> int:
        """Write as much as there is room for. Raises BlockingIOError if there is none."""
        if self._no_wait:
            try:
                return os.pwritev(self._fd, (piece,), -1, self._no_wait)
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
                self._no_wait = 0
        if not writable.poll(0):
            raise BlockingIOError
        return os.write(self._fd, piece)

    def _wait(self, writable: select.poll) -> bool:
        """Wait for room, unless that was in vain the last time; return whether there is some."""
        if not self._is_stalled:
            self._is_stalled = not writable.poll(STALL_SECONDS * 1000)
            time.sleep(0.001)  # in case others take the room at once
        return not self._is_stalled


class _Stderr:
    """What sys.stderr leads to at this moment."""

    def __init__(self) -> None:
        self._place: tuple[int, ...] = ()
        self._output: Output | None = None

    def tell(self, text: str) -> None:
        """Write to stderr, if it is open. What it does not take is dropped."""
        stream = sys.stderr
        with contextlib.suppress(AttributeError, OSError, ValueError):
            try:
                fd = stream.fileno()
            except OSError:  # a program has put something else in its place
                stream.write(text)
                stream.flush()
                return
            status = os.fstat(fd)
            place = fd, status.st_dev, status.st_ino
            if self._output is None or place != self._place:
                self._place, self._output = place, Output(fd)
            self._output.write(text.encode(stream.encoding, "backslashreplace"))


tell = _Stderr().tell
