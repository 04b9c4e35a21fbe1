"""Compressed copies of text files that have no precompressed file beside them, kept in memory.

Rules:
- A copy is identified by its original's SHA-256 and its content coding. So the same content is
  compressed once, whatever its name or date, and simultaneous requests share one job.
- A copy is kept only if the bytes that were compressed have that digest. So a file that changes
  while it is read leaves no copy.

Limits: the memory, the jobs under way, the files that they hold open and the recorded failures are
bounded. If the copies of a site exceed the memory, they evict each other, and are made again when
they are requested again.
"""

from __future__ import annotations

from _thread import allocate_lock
from typing import TYPE_CHECKING

from portico.bounded import BoundedCache
from portico.http.content import Octets
from portico.site.compression import encoders
from portico.site.origin.etags import tag_of_copy
from portico.site.origin.freshness import Pending
from portico.site.origin.protocol import File
from portico.site.representation.media import is_compressible, media_type

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from portico.http.content import ByteSource
    from portico.site.origin.freshness import Dependency

    Submit = Callable[[Iterator[None]], bool]
    """Queues a background job, an iterator of short steps; returns False if too many are queued."""
    Key = tuple[bytes, str]
    """The digest of an original, and a content coding."""

ORIGINAL_LIMIT = 8 << 20
"""Bytes of the largest file that is compressed."""

_OVERHEAD = 512
"""Bytes of memory that a copy takes in addition to its content, roughly."""
_PIECE = 256 << 10
"""Bytes that are compressed in one step of a job: some milliseconds."""
_OPEN_ORIGINALS = 16
"""Most jobs under way that keep their original file open, to leave descriptors for connections."""
_FAILURES = 4096
"""Copies whose failed attempts are recorded."""
_ATTEMPTS = 3
"""Failed attempts after which a copy is not tried again, while they are recorded."""


class CompressionCache:
    """Makes and keeps compressed copies.

    `memory` is the number of bytes of copies that may be kept. `submit` queues the jobs that make
    them.
    """

    def __init__(self, memory: int, submit: Submit) -> None:
        self._memory = memory
        self._submit = submit
        self._lock = allocate_lock()  # guards the attributes below, shared by requests and jobs
        self._copies: BoundedCache[Key, tuple[bytes, bytes]] = BoundedCache(memory, _weight)
        """The content of each copy, and its digest."""
        self._failures: BoundedCache[Key, int] = BoundedCache(_FAILURES)
        self._pending: dict[Key, Pending] = {}
        self._open_originals = 0

    @property
    def codings(self) -> tuple[str, ...]:
        """The codings in which copies can be made, the preferred first."""
        try:
            return encoders.available() if self._memory else ()
        except OSError:  # no descriptor is left to import the library: try later
            return ()

    def get(self, file: File, coding: str) -> File | Dependency | None:
        """Return the copy of `file` in `coding`, with the name and date of the original.

        If the copy is not made yet, return a dependency that holds until it is worth asking again.
        Return None if there will be no copy.
        """
        if (
            file.digest is None
            or not encoders.WORTH_FROM <= file.size <= ORIGINAL_LIMIT
            or not is_compressible(media_type(file.name))
            or coding not in self.codings
        ):
            return None
        key = (file.digest, coding)
        with self._lock:
            if (self._failures.get(key) or 0) >= _ATTEMPTS:
                return None
            found = self._copies.get(key)
        if found is None:
            return self._start(key, file)
        content, digest = found
        copy = File(file.name, len(content), file.modified, Octets(content), ())
        copy.names, copy.digest = file.names, digest
        copy.etag = tag_of_copy(file.digest, digest)
        return copy

    # Jobs

    def _start(self, key: Key, file: File) -> Pending:
        """Return the dependency on the job that makes the copy; submit a job if there is none.

        If no job can be submitted now, the dependency does not hold, so the next request tries.
        """
        with self._lock:
            pending = self._pending.get(key)
            if pending is not None:
                return pending
            if file.content.in_memory is None:
                if self._open_originals >= _OPEN_ORIGINALS:
                    return Pending(done=True)
                self._open_originals += 1
            pending = self._pending[key] = Pending()
        if not self._submit(self._make(key, file, pending)):
            self._end(key, file, pending, failures=0)
        return pending

    def _end(self, key: Key, file: File, pending: Pending, failures: int) -> None:
        with self._lock:
            if failures:
                self._failures.put(key, failures + (self._failures.get(key) or 0))
            if file.content.in_memory is None:
                self._open_originals -= 1
            del self._pending[key]
        pending.done = True

    def _make(self, key: Key, file: File, pending: Pending) -> Iterator[None]:
        """Make the copy and keep it, or record the failure: the background job, step by step."""
        failures = 1  # also if the job is closed before its end
        try:
            failures = yield from self._compress(key, file)
        except (OSError, EOFError):  # unreadable, truncated, or no descriptor for an import
            return
        finally:
            self._end(key, file, pending, failures)

    def _compress(self, key: Key, file: File) -> Generator[None, None, int]:
        """Make the copy and keep it. Return the number of failed attempts to record; 0 if kept."""
        from hashlib import sha256

        pieces, original = [], sha256()
        for piece in encoders.encode(_read(file.content, original.update), key[1], file.size):
            pieces.append(piece)
            yield
        if original.digest() != file.digest:
            return 1
        content = b"".join(pieces)
        if not encoders.is_worth(file.size, len(content)):
            return _ATTEMPTS
        with self._lock:
            self._copies.put(key, (content, sha256(content).digest()))
            return 0 if self._copies.get(key) else _ATTEMPTS  # too large for the memory


def _read(content: ByteSource, note: Callable[[bytes], object]) -> Iterator[bytes]:
    """Yield the bytes of `content` in pieces, and call `note` with each piece.

    Raises EOFError if the number of bytes is not len(content), or OSError.
    """
    count = 0
    for piece in content.pieces(_PIECE):
        note(piece)
        count += len(piece)
        yield piece
    if count != len(content):
        raise EOFError


def _weight(_key: Key, copy: tuple[bytes, bytes]) -> int:
    return len(copy[0]) + _OVERHEAD
