"""Open files, and how their octets are read: at once if they are in memory, else beside the loop.

Rule: the loop never waits for a disk. Before it reads a file, or has the kernel send some of it, it
asks for the octets only if they are in memory (RWF_NOWAIT, preadv2(2)). If they are not, `Waiting`
says what is to be done first, by a thread; then the loop tries again. What was found in memory is
taken to be there for some seconds more, so a file that is in use is not asked about each time.

Limits: of a window in a large file only the first and the last octet are looked at. Names are
looked up on the loop: the system has nearly always all of them in memory, but for remote file
systems (see `mounts`). Where the system cannot say what is in memory, it is taken to be there.
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING

from portico.http.content import ContentChanged, Outgoing
from portico.site.origin.fingerprint import PathDependency, read_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from portico.site.origin.freshness import Freshness

WINDOW = 2 << 20
"""Octets of a large file that are brought into memory at once: about as many as a socket takes."""
TAIL = 1024
"""Octets of a file that are held back to the end."""
_LITTLE = 4096
"""No window of its own for so few octets that are left."""
_PIECE = 1 << 18
_WARM_SECONDS = 10.0
"""For how long what was found in memory is taken to be there still."""
_NO_WAIT = getattr(os, "RWF_NOWAIT", 0)


class Waiting(Exception):  # noqa: N818 (a fact, not an error of ours)
    """Something must be read first. `work` does that, and may take long; then ask again.

    `place` is where it lies: what is slow there need not hold up what lies elsewhere.
    """

    def __init__(self, place: object, work: Callable[[], object]) -> None:
        super().__init__()
        self.place = place
        self.work = work


class OpenFile:
    """A file opened by its path; the descriptor closes itself when nothing refers to it any more.

    `dependency` is that of the path. What was read is whole, and is what the path leads to, if the
    dependency holds afterwards: so reading makes it look again.
    """

    __slots__ = ("_warm", "dependency", "fd", "is_remote", "may_wait")

    def __init__(self, fd: int, dependency: PathDependency) -> None:
        self.fd = fd
        self.dependency = dependency
        self.may_wait = True
        """May reading wait for the disk? If not, `Waiting` is raised instead."""
        self.is_remote = False
        """Does it lie on a file system that cannot say what is in memory, and may be slow?"""
        self._warm = (0, 0, 0.0)  # from where to where it is in memory, and until when

    def changed(self) -> bool:
        """Has the file's content changed since it was opened?

        Its names do not matter: a file that was replaced or deleted meanwhile is still whole. So
        ctime, which a rename or a removed name moves too, is left out.
        """
        known, now = self.dependency.fingerprint, os.fstat(self.fd)
        return known is None or (now.st_size, now.st_mtime_ns) != known[2:4]

    def read(self, count: int, offset: int) -> bytes:
        """At most `count` octets from `offset`, however long it takes."""
        self.dependency.check_again()
        return read_at(self.fd, count, offset)

    def read_now(self, count: int, offset: int) -> bytes:
        """At most `count` octets from `offset`, which are few. Raises Waiting or OSError."""
        self.dependency.check_again()
        if not self.may_wait:
            start, end, until = self._warm
            if offset < start or offset + count > end or time.monotonic() >= until:
                self._demand(offset, offset + count, count)
        return read_at(self.fd, count, offset)

    def expect(self, offset: int, count: int) -> int:
        """How far one can send from `offset`, where `count` octets are to be sent, without a wait.

        Raises Waiting or OSError.
        """
        end = offset + (count if count <= WINDOW + _LITTLE else WINDOW)
        if not self.may_wait:
            self._demand(offset, end, 1)
        return end

    def be_warm(self, start: int, end: int) -> None:
        """These octets have just been read."""
        self._warm = (start, end, time.monotonic() + _WARM_SECONDS)

    def _demand(self, start: int, end: int, looked_at: int) -> None:
        """Raise Waiting unless the octets are in memory, `looked_at` of them at either end."""
        size = self.dependency.fingerprint[2] if self.dependency.fingerprint is not None else 0
        begin, behind, until = self._warm
        end = min(end, size)
        if begin <= start and end <= behind and time.monotonic() < until:
            return
        for offset in {start, max(start, end - looked_at)}:
            if not self._is_in_memory(min(looked_at, end - offset), offset):
                raise Waiting(os.fstat(self.fd).st_dev, partial(self._bring, start, end))
        self.be_warm(start, end)

    def _is_in_memory(self, count: int, offset: int) -> bool:
        """Are these octets in memory, as far as the system tells?"""
        if not _NO_WAIT or count <= 0:
            return True
        try:
            return os.preadv(self.fd, (bytearray(count),), offset, _NO_WAIT) == count
        except BlockingIOError:
            return False
        except OSError:  # the file system does not know this question: tmpfs, for one
            return not self.is_remote

    def _bring(self, start: int, end: int) -> None:
        """Bring octets into memory, however long it takes."""
        offset = start
        while offset < end and read_at(self.fd, min(_PIECE, end - offset), offset):
            offset += _PIECE
        self.be_warm(start, end)

    def __del__(self) -> None:
        os.close(self.fd)


def open_file(path: str, flags: int, freshness: Freshness) -> tuple[OpenFile, os.stat_result]:
    """Open a file, whatever it is; also its status. Raises OSError."""
    fd = os.open(path, flags)
    try:
        status = os.fstat(fd)
        return OpenFile(fd, PathDependency(path, status, freshness)), status
    except OSError:
        os.close(fd)
        raise


class FileSlice:
    """`count` octets of an open file from `offset`, sent without being read into memory."""

    __slots__ = ("count", "file", "offset")
    is_stream = False
    in_memory = None

    def __init__(self, file: OpenFile, offset: int, count: int) -> None:
        self.file = file
        self.offset = offset
        self.count = count

    def __len__(self) -> int:
        return self.count

    def slice(self, start: int, end: int) -> FileSlice:
        """Return the octets from `start` up to `end`, which lie within it."""
        return FileSlice(self.file, self.offset + start, end - start)

    def read(self) -> bytes:
        """Return its octets, fewer if the file has become shorter. Raises Waiting or OSError."""
        return self.file.read_now(self.count, self.offset)

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield its octets, `size` at a time, however long reading takes. Raises OSError."""
        for start in range(self.offset, self.offset + self.count, size):
            yield self.file.read(min(size, self.offset + self.count - start), start)

    def has_changed(self) -> bool:
        """Return whether the file's content has changed since it was opened. Raises OSError."""
        return self.file.changed()

    def outgoing(self) -> OutgoingFile:
        """Return what sends it once."""
        return OutgoingFile(self)


class OutgoingFile(Outgoing):
    """A part of a file on its way out: whole, or visibly cut.

    Its last octets are read into memory and held back until the file, asked after all others were
    sent, is still as it was when its length was announced.

    Limit: what the kernel has taken over by sendfile it may still read from the file, so a change
    in place within the moment before the client has received it can slip through; a file that is
    replaced (written elsewhere, then renamed) never shows this.
    """

    __slots__ = ("_asked_to", "_end", "_file", "_in_memory_to", "_offset")

    def __init__(self, part: FileSlice) -> None:
        super().__init__()
        self._file = part.file
        self._offset = part.offset
        self._end = part.offset + part.count
        self.is_done = part.count == 0
        self._in_memory_to = 0  # up to here the kernel need not wait for a disk
        self._asked_to = 0

    def advance(self, count: int) -> None:
        """Note that the next `count` octets were sent."""
        offset = self._offset = self._offset + count
        if self.memory:
            self.memory = self.memory[count:]
        self.is_done = offset == self._end
        if offset < self._asked_to:
            self._in_memory_to = 0  # it may be long until there is room for the rest

    def file_part(self, most: int) -> tuple[int, int, int] | None:
        """Return descriptor, offset and count of the octets to send next, at most `most`.

        None when the last ones are in `memory` now. Raises ContentChanged, OSError, or Waiting when
        the file has to be read first.
        """
        file, offset = self._file, self._offset
        left = self._end - offset
        if offset >= self._in_memory_to:
            self._in_memory_to = file.expect(offset, left)
        if left <= TAIL:
            tail = file.read(left, offset)
            if len(tail) < left or file.changed():
                raise ContentChanged
            self.memory = memoryview(tail)
            self._asked_to = 0
            return None
        count = min(most, left - TAIL, self._in_memory_to - offset)
        self._asked_to = offset + count
        return file.fd, offset, count
