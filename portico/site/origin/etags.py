"""SHA-256 digests of files, from which their entity tags are made.

Rule: a tag depends on the content alone, not on when or where it was written. So it is the same on
each replica and after each restart. A small file is hashed when it is read, a large one in the
background; until that is done it has a tag made of its fingerprint, which then remains as an alias
for that version: a download that began with it can go on.
Limit: a file that changed a moment ago has no tag until the file system's clock has ticked, because
its next change might leave the fingerprint as it is.
"""

from __future__ import annotations

import contextlib
from _thread import allocate_lock
from importlib import import_module
from typing import TYPE_CHECKING

from portico.bounded import BoundedCache
from portico.site.origin.fingerprint import Fingerprint, fingerprint, is_settled
from portico.site.origin.freshness import Pending
from portico.site.origin.protocol import tag_of

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from portico.site.origin.open_file import OpenFile
    from portico.site.origin.protocol import File, Submit

KNOWN = 4096
"""Digests that are remembered."""
AT_ONCE = 16
"""Files queued to be hashed. Each is held open."""
_PIECE = 1 << 20
"""Bytes hashed in one step: some milliseconds."""

# The interpreter's own module is slower than hashlib, but spares the 4 MiB and the milliseconds
# that OpenSSL takes to load. Loaded now, because later there may be no descriptor left for it.
for _name in ("_sha2", "_sha256", "hashlib"):  # Python 3.12 and later, before, and elsewhere
    with contextlib.suppress(ImportError):
        _sha256 = import_module(_name).sha256
        break


def sha256(octets: bytes) -> bytes:
    """Return the SHA-256 digest of a small number of bytes; for a page it takes about 10 us."""
    digest: bytes = _sha256(octets).digest()
    return digest


class Digests:
    """The digests of files, by fingerprint.

    `submit` takes the jobs that hash large files; without it they have no digest.
    """

    def __init__(self, submit: Submit | None) -> None:
        self._submit = submit
        self._lock = allocate_lock()  # for what the jobs write, too
        self._known: BoundedCache[Fingerprint, bytes] = BoundedCache(KNOWN)
        self._pending: dict[Fingerprint, Pending] = {}

    def recall(self, status: os.stat_result) -> bytes | None:
        """Return the digest of the file with this stat result, if it is known."""
        if not is_settled(status):
            return None
        with self._lock:
            return self._known.get(fingerprint(status))

    def of_octets(self, octets: bytes, status: os.stat_result) -> bytes:
        """Return the digest of a small file's content; remember it unless the file is too young."""
        digest = sha256(octets)
        if is_settled(status):
            with self._lock:
                self._known.put(fingerprint(status), digest)
        return digest

    def identify(self, found: File, file: OpenFile, status: os.stat_result) -> None:
        """Give `found`, whose content is `file`, its tags, and its digest if that is known."""
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
        """Have a file hashed; return a dependency that holds until it is worth looking again."""
        with self._lock:
            pending = self._pending.get(state)
            if pending is None and len(self._pending) >= AT_ONCE:
                pending = next(iter(self._pending.values()))  # try again when the oldest is done
            if pending is not None:
                return pending
            self._pending[state] = pending = Pending()
        if not submit(self._hash(file, state, pending)):
            self._end(state, pending)  # too many jobs: try again at the next look
        return pending

    def _hash(self, file: OpenFile, state: Fingerprint, pending: Pending) -> Iterator[None]:
        """Hash the open file piece by piece. A file that changes meanwhile gets no digest."""
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
            return  # a failing disk shows when the file is sent; or no descriptor is left
        finally:
            self._end(state, pending)

    def _end(self, state: Fingerprint, pending: Pending) -> None:
        with self._lock:
            self._pending.pop(state, None)
        pending.done = True
