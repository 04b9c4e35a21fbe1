"""Entity tags (RFC 9110, 8.8.3): one tag for one state of a file.

Rule: a state has the same tag from the first response on, after a restart, and on every worker.
The tag of a file of up to HASHED_UP_TO bytes is made of the SHA-256 of its content, so replicas
agree on it whatever dates their files have. The tag of a larger file is made of its size and
modification time, because hashing it would keep a processor busy for seconds; replicas agree on
that if they preserve the time. A smaller file that changes each time it is hashed, such as a log,
has such a tag, too.

A file that is too large to be read at once (`folder.SMALL`) is hashed in a thread, and the request
waits for it. Digests are remembered by the file's fingerprint.
"""

from __future__ import annotations

import contextlib
import os
from _thread import allocate_lock, start_new_thread
from importlib import import_module
from typing import TYPE_CHECKING

from portico.bounded import BoundedCache
from portico.site.origin.fingerprint import Disturbed, Fingerprint, fingerprint, is_settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from portico.site.origin.open_file import OpenFile

HASHED_UP_TO = 8 << 20
"""The size in bytes up to which files are hashed; it takes a thread some ten milliseconds."""
KNOWN = 4096
"""The maximum number of digests that are remembered."""
_WORTH_REMEMBERING = 4096
"""Bytes of a file below which hashing takes hardly longer than remembering the digest."""
_WORTH_OPENSSL = 2 << 20
"""After so many bytes of small files were hashed, OpenSSL is loaded, which is four times as fast.
By then hashing has taken as long as loading does; a small site goes without."""
_PIECE = 1 << 20
"""Bytes read and hashed at a time."""

# The interpreter's own module is slower than hashlib, but spares the 4 MiB and the milliseconds
# that OpenSSL takes to load. Imported now, since later there may be no descriptor left for that.
for _name in ("_sha2", "_sha256", "hashlib"):  # Python 3.12 and later, 3.11, and any other
    with contextlib.suppress(ImportError):
        _sha256 = import_module(_name).sha256
        break
for _name in ("_blake2", "hashlib"):
    with contextlib.suppress(ImportError):
        _blake2b = import_module(_name).blake2b
        break


def sha256(octets: bytes) -> bytes:
    """Return the SHA-256 digest of a small number of bytes; for a page it takes about 10 us."""
    digest: bytes = _sha256(octets).digest()
    return digest


def _sha256_of_openssl() -> Callable[[bytes], bytes]:
    """Return OpenSSL's equivalent of `sha256`, or `sha256` if OpenSSL cannot be loaded."""
    try:
        from hashlib import sha256 as begin
    except (ImportError, OSError):
        return sha256
    return lambda octets: begin(octets).digest()


def tag_of(digest: bytes) -> str:
    """Return the strong entity tag for content with this SHA-256 digest."""
    return f'"{digest[:16].hex()}"'


def tag_of_copy(original: bytes, digest: bytes) -> str:
    """Return the entity tag of a compressed copy.

    `original` and `digest` are the SHA-256 digests of the original and of the copy. The tag begins
    as that of the original, so it tells of which state of the original the copy is.
    """
    return f'{tag_of(original)[:-1]}-{digest[:8].hex()}"'


def tags_of_originals(tags: str) -> str:
    """Return the value of If-Match or If-None-Match with tags of originals instead of copies'.

    A change to a file changes all its compressed copies, too. So the tag of a copy also names the
    state of the file that the client has seen (RFC 9110, 8.8.3.3 and 13.1.1).
    """
    import re

    return re.sub(r'("[0-9a-f]{32})-[0-9a-f]{16}"', r'\1"', tags)


def tag_of_large(status: os.stat_result) -> str:
    """Return the entity tag of a file that is too large to be hashed."""
    return f'"{status.st_mtime_ns:x}-{status.st_size:x}"'


def tag_of_page(octets: bytes) -> str:
    """Return the strong entity tag for a generated page; for 100 KB it takes about 150 us."""
    return f'"{_blake2b(octets, digest_size=16).hexdigest()}"'


class Digests:
    """The SHA-256 digests of files, by fingerprint. Thread-safe."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._known: BoundedCache[Fingerprint, bytes] = BoundedCache(KNOWN)
        self._hash: Callable[[bytes], bytes] = self._hash_and_count
        self._hashed = 0  # bytes of small files hashed without OpenSSL

    def recall(self, status: os.stat_result) -> bytes | None:
        """Return the digest of the file with this stat result; None if it is not known."""
        if not is_settled(status):
            return None
        with self._lock:
            return self._known.get(fingerprint(status))

    def of_octets(self, octets: bytes, status: os.stat_result) -> bytes:
        """Return the digest of a small file's content, and remember it if that is worth it."""
        if len(octets) < _WORTH_REMEMBERING:
            return self._hash(octets)
        digest = self.recall(status)
        if digest is None:
            digest = self._hash(octets)
            self._remember(status, digest)
        return digest

    def _hash_and_count(self, octets: bytes) -> bytes:
        if self._hashed < _WORTH_OPENSSL:
            self._hashed += len(octets)
            if self._hashed >= _WORTH_OPENSSL:
                with contextlib.suppress(RuntimeError):  # the system starts no thread
                    start_new_thread(self._use_openssl, ())  # takes 70 ms from a cold disk
        return sha256(octets)

    def _use_openssl(self) -> None:
        self._hash = _sha256_of_openssl()

    def of_file(self, file: OpenFile, status: os.stat_result) -> bytes:
        """Read and hash a file; waits for the disk. Return the digest, and remember it.

        Raises Disturbed if the file changes meanwhile, or OSError.
        """
        from hashlib import sha256 as begin

        digest = begin()
        for position in range(0, status.st_size, _PIECE):
            digest.update(file.read(_PIECE, position))
        if fingerprint(os.fstat(file.fd)) != fingerprint(status):
            raise Disturbed
        self._remember(status, digest.digest())
        return digest.digest()

    def _remember(self, status: os.stat_result, digest: bytes) -> None:
        if is_settled(status):
            with self._lock:
                self._known.put(fingerprint(status), digest)
