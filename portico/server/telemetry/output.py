"""Writes to the access log and to the operator's stderr that never block the server for long.

A write to a file never waits. A pipe, a terminal or a socket can be full: its reader then has
STALL_SECONDS to read something. After that, output is dropped without waiting until there is room
again. So a slow reader slows the server down, as with any pipe, but one that has stopped reading
does not stop the server.

Limit: where the system has no non-blocking write for a blocking descriptor (RWF_NOWAIT, pwritev2(2)
on Linux), and several processes write to the same pipe, a write of one of them can block.
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
"""How long a write waits for a reader that has stopped reading, before output is dropped."""
_PIECE = getattr(select, "PIPE_BUF", 512)
"""Bytes that a pipe takes in one piece, not mixed with other processes' writes (POSIX, write)."""
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class Output:
    """Writes to the file descriptor `fd`, and never closes it. Raises OSError."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._no_wait: int = getattr(os, "RWF_NOWAIT", 0)
        self._writable: select.poll | None = None  # None for a file: no need to wait
        self._is_stalled = False
        if not stat.S_ISREG(os.fstat(fd).st_mode) and hasattr(select, "poll"):
            self._writable = select.poll()
            self._writable.register(fd, select.POLLOUT)

    def write(self, data: bytes) -> bytes:
        """Write `data`, and return the rest for which there was no room. Raises OSError.

        Lines are not split, except those longer than _PIECE.
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
        """Write as much as fits now, and return its length. Raises BlockingIOError if none fits."""
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
        """Wait for room, unless the last wait timed out; return whether there may be some."""
        if not self._is_stalled:
            self._is_stalled = not writable.poll(STALL_SECONDS * 1000)
            time.sleep(0.001)  # no busy loop when other writers take the room first
        return not self._is_stalled


class _Stderr:
    """The stream that sys.stderr is at the moment of each write."""

    def __init__(self) -> None:
        self._place: tuple[int, ...] = ()
        self._output: Output | None = None

    def tell(self, text: str) -> None:
        """Write `text` to stderr, if it is open. Text for which there is no room is dropped."""
        stream = sys.stderr
        with contextlib.suppress(AttributeError, OSError, ValueError):
            try:
                fd = stream.fileno()
            except OSError:  # a program has replaced sys.stderr by an object without descriptor
                stream.write(text)
                stream.flush()
                return
            status = os.fstat(fd)
            place = fd, status.st_dev, status.st_ino
            if self._output is None or place != self._place:
                self._place, self._output = place, Output(fd)
            self._output.write(text.encode(stream.encoding, "backslashreplace"))


tell = _Stderr().tell
