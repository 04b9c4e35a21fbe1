"""SHA-256 digests of files, from which their entity tags are made.

Rule: a tag says what the octets are, not when or where they were written. So it is the same on each
replica and after each restart, whatever dates an image build has set. A small file is hashed when
it is read. A large one is hashed off the loop; until its digest is known it carries a tag made of
its signature, which stays an alias for that version: a download that was begun with it goes on.
Limit: a file that changed a moment ago has a signature that its next change may not alter. It has
no tag until the file system's clock has moved on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.bounded import Bounded
from portico.site.disk import OpenFile, Signature, is_settled, signature
from portico.site.origin import Pending, tag_of

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from portico.site.origin import File, Submit

KNOWN = 4096
"""Digests of large files that are remembered."""
_PIECE = 1 << 20
"""Octets hashed at once: some milliseconds."""


class Digests:
    """The digests of large files, by signature. `submit` takes the work of hashing them."""

    def __init__(self, submit: Submit) -> None:
        self._submit = submit
        self._known: Bounded[Signature, bytes] = Bounded(KNOWN)
        self._pending: dict[Signature, Pending] = {}

    def identify(self, found: File, file: OpenFile, status: os.stat_result) -> None:
        """Give `found`, the content of which is `file`, its tags, and its digest if it is known."""
        if not is_settled(status):
            return
        state = signature(status)
        provisional = tag_of(sha256(repr(state).encode("ascii")))
        found.digest = self._known.get(state)
        if found.digest is not None:
            found.etag = tag_of(found.digest)
            found.aliases = (provisional,)
            return
        found.etag = provisional
        pending = self._pending.get(state)
        if pending is None:
            pending = Pending()
            self._pending[state] = pending
            if not self._submit(self._hash(file, state, pending)):
                del self._pending[state]
                return
        if found.witnesses is not None:
            found.witnesses = (*found.witnesses, pending)

    def _hash(self, file: OpenFile, state: Signature, pending: Pending) -> Iterator[None]:
        """Hash the open file piece by piece; what changed meanwhile has no digest."""
        from hashlib import sha256 as begin

        digest = begin()
        position, size = 0, state[2]
        try:
            while position < size:
                octets = file.read(_PIECE, position)
                if not octets:
                    return
                digest.update(octets)
                position += len(octets)
                yield
            if position == size and not file.changed():
                self._known.put(state, digest.digest())
        finally:
            pending.done = True
            self._pending.pop(state, None)


def sha256(octets: bytes) -> bytes:
    """The SHA-256 digest of `octets`."""
    from hashlib import sha256 as digest  # here: it takes 4 MiB, and a 404 needs none

    return digest(octets).digest()
