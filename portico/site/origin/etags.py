"""SHA-256 digests of files, from which their entity tags are made.

Rule: a tag says what the octets are, not when or where they were written. So it is the same on each
replica and after each restart, whatever dates an image build has set. A small file is hashed when
it is read. A large one is hashed off the loop; until its digest is known it carries a tag made of
its fingerprint, which stays an alias for that version: a download that was begun with it goes on.
Limit: a file that changed a moment ago has a fingerprint that its next change may not alter. It has
no tag until the file system's clock has moved on.
"""

from __future__ import annotations

import contextlib
from _thread import allocate_lock
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from portico.bounded import BoundedCache
from portico.site.origin.freshness import Pending
from portico.site.origin.protocol import tag_of
from portico.site.origin.stat import (
    Fingerprint,
    fingerprint,
    is_settled,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from portico.site.origin.open_file import OpenFile
    from portico.site.origin.protocol import File, Submit

KNOWN = 4096
"""Digests that are remembered."""
AT_ONCE = 16
"""Files that wait to be hashed. Each is held open."""
_PIECE = 1 << 20
"""Octets hashed at once: some milliseconds."""


class Digests:
    """The digests of files, by fingerprint.

    `submit` takes the work of hashing large ones; without it they have none.
    """

    def __init__(self, submit: Submit | None) -> None:
        self._submit = submit
        self._lock = allocate_lock()  # for what the jobs write, too
        self._known: BoundedCache[Fingerprint, bytes] = BoundedCache(KNOWN)
        self._pending: dict[Fingerprint, Pending] = {}
        self._turned_away = Pending()
        """For files that have to wait until another is done."""
        _own_sha256()  # now, not when the descriptors are used up

    def recall(self, status: os.stat_result) -> bytes | None:
        """The digest of the file that has this status, if it is known."""
        if not is_settled(status):
            return None
        with self._lock:
            return self._known.get(fingerprint(status))

    def of_octets(self, octets: bytes, status: os.stat_result) -> bytes:
        """The digest of a small file, read under `status`; remembered where that can be told."""
        digest = sha256(octets)
        if is_settled(status):
            with self._lock:
                self._known.put(fingerprint(status), digest)
        return digest

    def identify(self, found: File, file: OpenFile, status: os.stat_result) -> None:
        """Give `found`, the content of which is `file`, its tags, and its digest if it is known."""
        if not is_settled(status):
            return
        state = fingerprint(status)
        provisional = tag_of(sha256(repr(state).encode("ascii")))
        with self._lock:
            found.digest = self._known.get(state)
        if found.digest is not None:
            found.etag = tag_of(found.digest)
            found.aliases = (provisional,)
            return
        found.etag = provisional
        if self._submit is not None and found.dependencies is not None:
            found.dependencies = (*found.dependencies, self._hashing(file, state, self._submit))

    def _hashing(self, file: OpenFile, state: Fingerprint, submit: Submit) -> Pending:
        """What holds until it is worth looking again for the file's digest."""
        with self._lock:
            pending = self._pending.get(state)
            if pending is not None:
                return pending
            if len(self._pending) >= AT_ONCE:
                return self._turned_away
            self._pending[state] = pending = Pending()
        if not submit(self._hash(file, state, pending)):
            self._end(state, pending)  # there is too much to do: try again at the next look
        return pending

    def _hash(self, file: OpenFile, state: Fingerprint, pending: Pending) -> Iterator[None]:
        """Hash the open file piece by piece; what changed meanwhile has no digest."""
        position, size = 0, state[2]
        try:
            from hashlib import sha256 as begin

            digest = begin()
            while position < size:
                octets = file.read(_PIECE, position)
                if not octets:
                    return
                digest.update(octets)
                position += len(octets)
                yield
            if position == size and not file.changed():
                with self._lock:
                    self._known.put(state, digest.digest())
        except (OSError, ImportError):
            return  # the disk fails, whoever is sent the file will see it; or no descriptor is left
        finally:
            self._end(state, pending)

    def _end(self, state: Fingerprint, pending: Pending) -> None:
        """The work on a file has ended, whatever came of it."""
        with self._lock:
            self._pending.pop(state, None)
            waiting, self._turned_away = self._turned_away, Pending()
        pending.done = waiting.done = True


class _Digest(Protocol):
    def digest(self) -> bytes: ...


def sha256(octets: bytes) -> bytes:
    """The SHA-256 digest of `octets`, of which there are few.

    By the interpreter's own module, which is slower than hashlib, but spares 4 MiB and several
    milliseconds that OpenSSL takes to load. A page costs some ten microseconds, once.
    """
    return _own_sha256()(octets).digest()


@lru_cache(maxsize=1)
def _own_sha256() -> Callable[[bytes], _Digest]:
    for name in ("_sha2", "_sha256", "hashlib"):  # from Python 3.12 on, before, and elsewhere
        with contextlib.suppress(ImportError):
            return cast("Callable[[bytes], _Digest]", import_module(name).sha256)
    raise AssertionError("hashlib is part of every Python")
