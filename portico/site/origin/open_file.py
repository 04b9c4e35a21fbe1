"""Open files, and how they are read and sent without the event loop ever waiting for a disk.

Rule: the loop reads a file, or has the kernel send a part of it, only if the bytes are in memory:
it asks for them on that condition (RWF_NOWAIT, preadv2(2)). If they are not, `Waiting` is raised,
and a thread reads them; they are kept until they are sent. Bytes that were found in memory are
assumed to stay there for some seconds, so a file in use is not tested each time.

Limits: of a window in a large file only the first and the last byte are tested. Where the system
cannot tell whether bytes are in memory, they are assumed to be, except on remote file systems.
"""

from __future__ import annotations

import contextlib
import os
import time
from _thread import start_new_thread
from typing import TYPE_CHECKING

from portico.http.content import NOTHING, ContentChanged, Outgoing
from portico.site.origin.fingerprint import Disturbed, PathDependency, fingerprint, read_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from portico.site.origin.freshness import Freshness

WINDOW = 2 << 20
"""Bytes of a large file that are tested together for being in memory: about as many as a socket
takes."""
TAIL = 1024
"""Bytes at the end of a file that are held back until the file is checked; see `OutgoingFile`."""
READ_AHEAD = 256 << 10
"""Bytes that a thread reads at a time, if they were not in memory."""
_LITTLE = 4096
"""If so few bytes are left behind a window, they are tested together with the window."""
_WARM_SECONDS = 10.0
"""How long bytes that were found in memory are assumed to stay there."""
_SAMPLES = 5
"""Places at which a file that has grown is compared with its former content."""
_SAMPLE = 64
"""Bytes that are compared at each place."""
_NO_WAIT = getattr(os, "RWF_NOWAIT", 0)

# O_NONBLOCK: if a FIFO or a device has just replaced the regular file, do not block in open().
OPENING = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)
"""The flags with which files are opened."""


class Waiting(Exception):  # noqa: N818 (a fact, not an error of ours)
    """The event loop would have to wait for a disk: a thread has to do `work` first.

    `place` says which threads: each disk has its own, so a slow one delays no other, and so have
    uploads and passwords. `work` keeps its result, so the call that raised Waiting can be repeated
    without waiting again. Without `work`, the whole request has to be decided in a thread.
    """

    def __init__(self, place: object, work: Callable[[], object] | None = None) -> None:
        super().__init__()
        self.place = place
        self.work = work


class OpenFile:
    """A file opened by its path; the descriptor is closed when nothing refers to the object.

    `dependency` is that of the path. If it holds after a read, the bytes are from one state of the
    file, and the path still leads there; so each read makes the dependency be checked again.
    """

    __slots__ = ("_may_wait", "_samples", "_warm", "dependency", "fd", "is_remote")

    def __init__(
        self, fd: int, dependency: PathDependency, *, may_wait: bool, is_remote: bool
    ) -> None:
        """With `may_wait`, all reads wait for the disk; without it, only `read` does."""
        self.fd = fd
        self.dependency = dependency
        self.is_remote = is_remote
        """Whether the file is on a file system where any call may block; see `mounts`."""
        self._may_wait = may_wait
        self._samples: list[bytes] | None = None
        self._warm = (0, 0, 0.0)  # start and end of the bytes in memory, until when

    @property
    def place(self) -> object:
        """The device number of the disk with the file: its place in a `Waiting`."""
        return None if self.dependency.fingerprint is None else self.dependency.fingerprint[0]

    def changed(self, *, may_wait: bool = False) -> bool:
        """Return whether the content has changed since the file was opened.

        The file may have been renamed, replaced or deleted: the descriptor still has the same
        content. So ctime is not compared, because renaming and unlinking change it, too. Growth, as
        of a log, does not count either: a file that has grown is compared at the places that
        `remember` has read. Raises OSError, and Waiting unless `may_wait`.
        """
        known, now = self.dependency.fingerprint, os.fstat(self.fd)
        if known is None:
            return True
        if (now.st_size, now.st_mtime_ns) == known[2:4]:
            return False
        has_grown = now.st_size > known[2] and self._samples is not None
        return not has_grown or self._sample(may_wait=may_wait) != self._samples

    def remember(self, *, may_wait: bool = False) -> None:
        """Keep samples of the content, by which `changed` tells growth from other changes.

        Raises OSError, and Waiting unless `may_wait`.
        """
        if self._samples is None:
            self._samples = self._sample(may_wait=may_wait)

    def _sample(self, *, may_wait: bool) -> list[bytes]:
        """Return samples from the beginning to the end that the file had when it was opened."""
        size = self.dependency.fingerprint[2] if self.dependency.fingerprint is not None else 0
        count = min(_SAMPLE, size)
        last = size - count
        read = self.read if may_wait else self.read_now
        return [read(count, last * place // (_SAMPLES - 1)) for place in range(_SAMPLES)]

    def read(self, count: int, offset: int) -> bytes:
        """Return at most `count` bytes from `offset`; waits for the disk. Raises OSError."""
        self.dependency.check_again()
        return read_at(self.fd, count, offset)

    def read_now(self, count: int, offset: int) -> bytes:
        """Return at most `count` bytes, a few, from `offset`. Raises Waiting or OSError."""
        self.dependency.check_again()
        return self._read_now(count, offset)

    def _read_now(self, count: int, offset: int) -> bytes:
        octets = None if self._may_wait else self._read_from_memory(count, offset)
        if octets is None:
            if not self._may_wait:
                raise Waiting(self.place)
            octets = read_at(self.fd, count, offset)
        return octets

    def read_whole(self, status: os.stat_result) -> bytes:
        """Return the content of a small file, whose status was `status` when it was opened.

        Raises Disturbed if the file is being changed, Waiting or OSError.
        """
        content = self._read_now(status.st_size, 0)
        if not content and read_at(self.fd, 1, 0):  # as in /proc, where st_size is 0
            raise Disturbed
        # A write under way may have set the time stamp already; then only the content shows it.
        if not self.dependency.is_settled and self._read_now(status.st_size, 0) != content:
            raise Disturbed
        is_same = fingerprint(os.fstat(self.fd)) == self.dependency.fingerprint
        if not is_same or len(content) != status.st_size:
            raise Disturbed
        return content

    def sendable_to(self, offset: int, count: int) -> int:
        """Return the offset up to which the kernel can send without waiting for a disk.

        `count` bytes from `offset` are to be sent. Return `offset` if it would have to wait.
        """
        end = offset + (count if count <= WINDOW + _LITTLE else WINDOW)
        return end if self._is_warm(offset, end) else offset

    def _is_warm(self, start: int, end: int) -> bool:
        """Return whether bytes are in memory; only the first and the last are tested."""
        begin, behind, until = self._warm
        if begin <= start and end <= behind and time.monotonic() < until:
            return True
        size = self.dependency.fingerprint[2] if self.dependency.fingerprint is not None else 0
        end = min(end, size)
        for offset in {start, max(start, end - 1)}:
            if self._read_from_memory(min(1, end - offset), offset) is None:
                return False
        self._warm = (start, end, time.monotonic() + _WARM_SECONDS)
        return True

    def _read_from_memory(self, count: int, offset: int) -> bytes | None:
        """Return `count` bytes, or None if the system tells that they are not in memory."""
        if self.is_remote:
            return None
        if _NO_WAIT and count > 0:
            octets = bytearray(count)
            try:
                found = os.preadv(self.fd, (octets,), offset, _NO_WAIT)
            except BlockingIOError:
                return None
            except OSError:  # this file system cannot tell, such as tmpfs
                pass
            else:
                return bytes(octets) if found == count else None
        return read_at(self.fd, count, offset)

    def __del__(self) -> None:
        if self.is_remote:
            with contextlib.suppress(RuntimeError):  # closing a remote file may block, too
                start_new_thread(_close, (self.fd,))
                return
        _close(self.fd)


def _close(fd: int) -> None:
    try:  # noqa: SIM105 - suppress() would take as long as closing
        os.close(fd)
    except OSError:
        pass


def open_file(
    path: str, flags: int, freshness: Freshness, *, may_wait: bool = True, is_remote: bool = False
) -> tuple[OpenFile, os.stat_result]:
    """Open a path, which may be of any kind; return the file and its status. Raises OSError."""
    fd = os.open(path, flags)
    try:
        status = os.fstat(fd)
        dependency = PathDependency(path, status, freshness)
        return OpenFile(fd, dependency, may_wait=may_wait, is_remote=is_remote), status
    except OSError:
        os.close(fd)
        raise


class FileSlice:
    """`count` bytes of an open file from `offset`, sent without being read into memory."""

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
        """Return the part from `start` up to `end`, which lie within the slice."""
        return FileSlice(self.file, self.offset + start, end - start)

    def read(self) -> bytes:
        """Return all bytes; fewer if the file has become shorter. Raises Waiting or OSError."""
        return self.file.read_now(self.count, self.offset)

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield all bytes, `size` at a time; waits for the disk. Raises OSError."""
        for start in range(self.offset, self.offset + self.count, size):
            yield self.file.read(min(size, self.offset + self.count - start), start)

    def has_changed(self) -> bool:
        """Return whether the file's content has changed since it was opened. Raises OSError."""
        return self.file.changed()

    def outgoing(self) -> OutgoingFile:
        """Return an OutgoingFile that sends the slice once."""
        return OutgoingFile(self)


class OutgoingFile(Outgoing):
    """A part of a file that is being sent: completely, or visibly cut off if the file changes.

    Once all but the last bytes (TAIL) were sent, those are read into memory. They are sent only if
    the file is then still as it was when its length was announced, or has only grown.

    Limits: in a file that has grown, a change between the samples is not seen. After sendfile the
    kernel may still read the bytes from the file until the client has received them, so a change in
    place at that moment can slip through. Neither happens to a file that is replaced (written
    elsewhere, then renamed).
    """

    __slots__ = ("_end", "_failure", "_file", "_offset", "_read", "_sendable_to", "_stopped_at")

    def __init__(self, part: FileSlice) -> None:
        self.memory = NOTHING
        self._file = part.file
        self._offset = part.offset
        self._end = part.offset + part.count
        self.is_done = part.count == 0
        self._sendable_to = 0  # up to this offset the kernel need not wait for a disk
        self._stopped_at = 0  # the end of what was last given to the kernel
        self._read: bytes | None = None  # bytes that a thread has read; empty if it failed
        self._failure: OSError | None = None

    def advance(self, count: int) -> None:
        """Note that the next `count` bytes were sent."""
        offset = self._offset = self._offset + count
        if self.memory:
            self.memory = self.memory[count:]
        self.is_done = offset == self._end
        if offset < self._stopped_at:
            self._sendable_to = 0  # the rest may have left memory when the socket has room

    def file_part(self, most: int) -> tuple[int, int, int] | None:
        """Return descriptor, offset and number of the bytes to send next, at most `most`.

        Return None if the next bytes are now in `memory`. Raises ContentChanged, OSError, or
        Waiting if a thread has to read the file first.
        """
        file, offset, octets = self._file, self._offset, self._read
        left = self._end - offset
        if octets is None:
            if offset >= self._sendable_to:
                try:
                    file.remember()
                    self._sendable_to = file.sendable_to(offset, left)
                except Waiting:
                    self._sendable_to = offset
                if self._sendable_to <= offset:
                    raise Waiting(file.place, self._read_ahead)
            if left > TAIL:
                count = min(most, left - TAIL, self._sendable_to - offset)
                self._stopped_at = offset + count
                return file.fd, offset, count
            try:
                octets = self._read_checked(left)
            except Waiting:
                raise Waiting(file.place, self._read_ahead) from None
        if not octets:
            raise self._failure or ContentChanged
        self.memory, self._read = memoryview(octets), None
        self._stopped_at = 0
        return None

    def _read_ahead(self) -> None:
        """Read the next bytes, in a thread."""
        try:
            self._file.remember(may_wait=True)
            count = min(READ_AHEAD, self._end - self._offset)
            self._read = self._read_checked(count, may_wait=True)
        except OSError as problem:
            self._failure, self._read = problem.with_traceback(None), b""

    def _read_checked(self, count: int, *, may_wait: bool = False) -> bytes:
        """Return the next `count` bytes; none if the file is not as it was announced any more."""
        octets = self._file.read(count, self._offset)
        is_last = self._offset + count == self._end
        if len(octets) < count or (is_last and self._file.changed(may_wait=may_wait)):
            return b""
        return octets
