"""Compressed copies of text that has no coded sibling: made once, off the loop, and kept.

Rules:
- A copy is known by its original's SHA-256 and its coding. So the same content is never compressed
  twice, whatever its name or date, and those who ask for it at once share one job.
- Only what was made of octets with just that digest is kept, so no change meanwhile can slip in.
- Where a cache folder is named, copies live there, written elsewhere and renamed, and are found
  again after a restart. Where it cannot be written, memory takes its place.

Limits: memory, jobs under way, files they hold open and notes of what was in vain are bounded. The
folder is not: it grows with each version of the site, and may be emptied at any time. Texts that
together exceed the memory push each other out, and are compressed again when asked for again.
"""

from __future__ import annotations

import contextlib
import os
import time
from _thread import allocate_lock
from typing import TYPE_CHECKING

from portico.bounded import BoundedCache
from portico.site.compression import encoders
from portico.site.origin.folder import Folder
from portico.site.origin.freshness import Freshness, Pending
from portico.site.origin.open_file import FileSlice
from portico.site.origin.protocol import Failed, File, tag_of
from portico.site.origin.stat import (
    FolderDependency,
)
from portico.site.representation.media import is_compressible, media_type

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from portico.http.message import Sized
    from portico.site.origin.freshness import Dependencies, Dependency
    from portico.site.origin.protocol import Found, Submit

    Key = tuple[bytes, str]
    """The digest of an original, and a coding."""

COPY_UP_TO = 8 << 20
"""Octets of the largest original whose copy is kept in memory."""
COPY_UP_TO_ON_DISK = 64 << 20
"""Octets of the largest original whose copy is kept in a folder: some seconds of work."""

_OVERHEAD = 512
"""About the octets of memory that a kept copy takes besides its content."""
_PIECE = 256 << 10
"""Octets coded in one step: some milliseconds."""
_OPEN_ORIGINALS = 16
"""Jobs under way that hold their original open: a share of the descriptors."""
_NOTES = 4096
"""Failed attempts that are remembered, so that they are not repeated."""
_TRIES = 3
"""Failures after which no more is tried."""
_REST_SECONDS = 60.0
"""How long a folder that could not be written is left alone."""
_ABANDONED_SECONDS = 3600.0
"""Age at which a temporary file belongs to nobody any more."""


class _Unfit(Exception):  # noqa: N818 (a fact, not an error of ours)
    """There is no copy to be kept. `failures` is how much that weighs against another try."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures


class CompressionCache:
    """Makes and keeps compressed copies.

    `memory` is the octets of copies that may be kept in memory. `submit` takes the work. `folder`
    is a cache folder, "" for none; `report` is told, from the thread that works, when it fails.
    """

    def __init__(
        self,
        memory: int,
        submit: Submit,
        folder: str = "",
        report: Callable[[str], None] | None = None,
        freshness: Freshness | None = None,
    ) -> None:
        self._submit = submit
        self.freshness = freshness or Freshness()
        """Shared with the origin of what is compressed."""
        self._shelf = (
            _Shelf(folder, memory // 2, submit, report, self.freshness) if folder else None
        )
        self._memory = memory // 2 if folder else memory
        self._lock = allocate_lock()  # for all below: jobs put there what they have made
        self._kept: BoundedCache[Key, tuple[bytes, bytes]] = BoundedCache(self._memory, _weight)
        self._failures: BoundedCache[Key, int] = BoundedCache(_NOTES)
        self._pending: dict[Key, Pending] = {}
        self._open_originals = 0

    @property
    def codings(self) -> tuple[str, ...]:
        """The codings in which there can be copies, the preferred first."""
        if not self._memory and self._shelf is None:
            return ()
        try:
            return encoders.available()
        except OSError:  # no descriptor left for an import: so not now
            return ()

    def get(self, file: File, coding: str) -> File | Dependency | None:
        """The copy of `file` in `coding`, with the name and date of the original.

        Or else a dependency that holds until it is worth asking again; None when nothing is gained.
        """
        if file.digest is None or not self._is_worthwhile(file) or coding not in self.codings:
            return None
        key = (file.digest, coding)
        with self._lock:
            if (self._failures.get(key) or 0) >= _TRIES:
                return None
            kept = self._kept.get(key)
        if kept is not None:
            copy = _copy(file, kept[0], ())
            copy.digest, copy.etag = kept[1], tag_of(kept[1])
            return copy
        if self._shelf is None:
            return self._make_pending(key, file, None)
        return self._get_from(self._shelf, key, file)

    def _get_from(self, shelf: _Shelf, key: Key, file: File) -> File | Dependency:
        """The copy on disk, or a dependency that holds until it is worth asking again."""
        found = shelf.look_up(key)
        if not isinstance(found, File):
            # What is there but cannot be read would not be read after writing it again.
            return self._make_pending(key, file, None if isinstance(found, Failed) else shelf)
        if found.etag is None:  # so young that its octets could still change unnoticed
            return _done()
        copy = _copy(file, found.content, _dependencies_of(found))
        copy.digest, copy.etag, copy.aliases = found.digest, found.etag, found.aliases
        return copy

    def expire(self) -> None:
        """Let go of open files that were not used since the last call."""
        if self._shelf is not None:
            self._shelf.folder.expire()

    def _is_worthwhile(self, file: File) -> bool:
        """Could a copy of `file` be made, kept, and smaller?"""
        if self._shelf is not None and self._shelf.is_open():
            most = COPY_UP_TO_ON_DISK
        else:
            most = COPY_UP_TO if self._memory else 0
        return encoders.WORTH_FROM <= file.size <= most and is_compressible(media_type(file.name))

    # Jobs

    def _make_pending(self, key: Key, file: File, shelf: _Shelf | None) -> Pending:
        """The dependency of the job that makes the copy, which is begun if it is not under way."""
        with self._lock:
            pending = self._pending.get(key)
            if pending is not None:
                return pending
            if isinstance(file.content, FileSlice):
                if self._open_originals >= _OPEN_ORIGINALS:
                    return _done()
                self._open_originals += 1
            pending = self._pending[key] = Pending()
        if not self._submit(self._make(key, file, shelf, pending)):
            self._end(key, file, pending, 0)
        return pending

    def _end(self, key: Key, file: File, pending: Pending, failures: int) -> None:
        """The job is over."""
        with self._lock:
            if failures:
                self._failures.put(key, failures + (self._failures.get(key) or 0))
            if isinstance(file.content, FileSlice):
                self._open_originals -= 1
            del self._pending[key]
        pending.done = True

    def _make(self, key: Key, file: File, shelf: _Shelf | None, pending: Pending) -> Iterator[None]:
        """The job: make the copy and keep it, on disk if that can be, in memory if it cannot."""
        failures = 1  # unless we get to the end
        try:
            if shelf is None or not (yield from shelf.keep(key, file)):
                yield from self._keep_in_memory(key, file)
            failures = 0
        except _Unfit as unfit:
            failures = unfit.failures
        except OSError:  # the system is out of something; an import, too, needs a descriptor
            return
        finally:
            self._end(key, file, pending, failures)

    def _keep_in_memory(self, key: Key, file: File) -> Iterator[None]:
        """Make the copy and keep it in memory. Raises _Unfit."""
        from hashlib import sha256

        if file.size > COPY_UP_TO or not self._memory:
            raise _Unfit(1)
        digest, pieces = sha256(), []
        for piece in _coded(file, key[1]):
            digest.update(piece)
            pieces.append(piece)
            yield
        with self._lock:
            self._kept.put(key, (b"".join(pieces), digest.digest()))
            if self._kept.get(key) is None:  # too large for it
                raise _Unfit(1)


class _Shelf:
    """The cache folder: writes copies, named after their originals' digests; a Folder reads."""

    def __init__(
        self,
        folder: str,
        memory: int,
        submit: Submit,
        report: Callable[[str], None] | None,
        freshness: Freshness,
    ) -> None:
        self._path = os.path.realpath(folder)
        self.folder = Folder(self._path, memory, submit, freshness=freshness)
        self._submit = submit
        self._report = report
        self._swept = False
        self._closed_until = 0.0

    def is_open(self) -> bool:
        """Can copies be kept here, as far as is known?"""
        return not self._closed_until or time.monotonic() >= self._closed_until

    def look_up(self, key: Key) -> Found:
        """The copy, if it is here."""
        if not self._swept:
            self._swept = self._submit(self._sweep())
        return self.folder.look_up((_name_of(key),))

    def keep(self, key: Key, file: File) -> Generator[None, None, bool]:
        """Make the copy and keep it here; False if it cannot be written. Raises _Unfit."""
        if not self.is_open():
            return False
        name = _name_of(key)
        path = os.path.join(self._path, name)
        if os.path.isfile(path) and not os.path.islink(path):
            return True  # meanwhile another process has made it
        try:
            yield from self._write(name, _coded(file, key[1]))
        except OSError as error:
            if self._report is not None and not self._closed_until:
                reason = error.strerror or type(error).__name__
                self._report(f"compressed copies cannot be kept in {self._path!r}: {reason}")
            self._closed_until = time.monotonic() + _REST_SECONDS
            return False
        return True

    def _write(self, name: str, pieces: Iterator[bytes]) -> Iterator[None]:
        """Write a file whole or not at all. Raises OSError, and whatever `pieces` raises."""
        os.makedirs(self._path, 0o700, exist_ok=True)
        temporary = os.path.join(self._path, f".{name}.{os.urandom(8).hex()}.tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        fd = os.open(temporary, flags, 0o600)
        try:
            with open(fd, "wb", buffering=0) as opened:
                for piece in pieces:
                    left = memoryview(piece)
                    while left:
                        left = left[opened.write(left) or 0 :]
                    yield
                os.fsync(fd)  # or a power cut could leave the name and not the octets
            os.replace(temporary, os.path.join(self._path, name))
        finally:
            with contextlib.suppress(OSError):  # it is gone if all went well
                os.unlink(temporary)

    def _sweep(self) -> Iterator[None]:
        """A job: delete what processes that were killed have left half written."""
        import re

        ours = re.compile(r"\.[0-9a-f]{64}\.(br|zst|gz)\.[0-9a-f]{16}\.tmp")
        before = time.time() - _ABANDONED_SECONDS
        with contextlib.suppress(OSError), os.scandir(self._path) as entries:
            for entry in entries:
                if ours.fullmatch(entry.name):
                    with contextlib.suppress(OSError):
                        if entry.stat(follow_symlinks=False).st_mtime < before:
                            os.unlink(entry.path)
                yield


def _coded(file: File, coding: str) -> Iterator[bytes]:
    """The content of `file` coded, piece by piece, some of them empty.

    Raises _Unfit instead of giving the last piece if the result is not worth keeping, or if what
    was read is not what the file's digest is of.
    """
    from hashlib import sha256

    encoder = encoders.encoder(coding, size=file.size)
    if encoder is None:
        raise _Unfit(_TRIES)
    digest, length = sha256(), 0
    for octets in _pieces_of(file.content):
        digest.update(octets)
        coded = encoder.compress(octets)
        length += len(coded)
        yield coded
    coded = encoder.flush()
    if digest.digest() != file.digest:
        raise _Unfit(1)
    if not encoders.is_worth(file.size, length + len(coded)):
        raise _Unfit(_TRIES)
    yield coded


def _pieces_of(content: Sized) -> Iterator[bytes]:
    """The octets of `content`, as far as they can be read. The digest tells if some are missing."""
    if isinstance(content, bytes):
        for start in range(0, len(content), _PIECE):
            yield content[start : start + _PIECE]
    elif isinstance(content, FileSlice):
        position, end = content.offset, content.offset + len(content)
        with contextlib.suppress(OSError):
            while position < end:
                octets = content.file.read(min(_PIECE, end - position), position)
                if not octets:
                    return
                yield octets
                position += len(octets)


def _done() -> Pending:
    """Return a dependency that never holds."""
    return Pending(done=True)


def _copy(file: File, content: Sized, dependencies: Dependencies) -> File:
    copy = File(file.name, len(content), file.modified, content, dependencies)
    copy.names = file.names
    return copy


def _dependencies_of(found: File) -> Dependencies:
    """What a copy in the cache folder rests on: not on what is written beside it."""
    if found.dependencies is None:
        return None
    return tuple([each for each in found.dependencies if not isinstance(each, FolderDependency)])


def _name_of(key: Key) -> str:
    digest, coding = key
    return digest.hex() + encoders.SUFFIXES[coding]


def _weight(_key: Key, copy: tuple[bytes, bytes]) -> int:
    return len(copy[0]) + _OVERHEAD
