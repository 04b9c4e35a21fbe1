"""Entity tags (RFC 9110, 8.8.3): one tag for one state of a file.

Rule: a state has the same tag from the first response on, after a restart, and on every worker.
Up to HASHED_UP_TO it is made of the content's SHA-256, so replicas agree on it whatever dates their
files have. The tag of a larger file is made of its size and modification time, because hashing it
would keep a processor busy for seconds; replicas agree on that if they preserve the time. So is the
tag of a smaller one that changes whenever it is hashed, such as a log.

A file of more than a few KiB is hashed in a thread, and the request waits for it; what was hashed
is remembered by the file's fingerprint.
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
"""Bytes of a file that is hashed: some ten milliseconds of a thread."""
KNOWN = 4096
"""Digests that are remembered."""
_WORTH_REMEMBERING = 4096
"""Bytes of a file; to hash fewer takes hardly longer than to remember their digest."""
_WORTH_OPENSSL = 2 << 20
"""Bytes of small files after which OpenSSL is loaded, which hashes them four times as fast. By then
they have taken as long as loading does; a small site goes without."""
_PIECE = 1 << 20
"""Bytes read and hashed at a time."""

# The interpreter's own module is slower than hashlib, but spares the 4 MiB and the milliseconds
# that OpenSSL takes to load. Loaded now, because later there may be no descriptor left for it.
for _name in ("_sha2", "_sha256", "hashlib"):  # Python 3.12 and later, before, and elsewhere
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
    """Return what `sha256` does, in less time; or that, where OpenSSL cannot be loaded."""
    try:
        from hashlib import sha256 as begin
    except (ImportError, OSError):
        return sha256
    return lambda octets: begin(octets).digest()


def tag_of(digest: bytes) -> str:
    """Return the strong entity tag for content with this SHA-256 digest."""
    return f'"{digest[:16].hex()}"'


def tag_of_copy(original: bytes, digest: bytes) -> str:
    """Return the tag of a compressed copy: it tells which state of the original it is of, too."""
    return f'{tag_of(original)[:-1]}-{digest[:8].hex()}"'


def tags_of_originals(tags: str) -> str:
    """Return the value of If-Match or If-None-Match with the tags of originals for their copies'.

    To change a file is to change all its forms, so the tag of each one names the state that the
    client has seen (RFC 9110, 8.8.3.3 and 13.1.1).
    """
    import re

    return re.sub(r'("[0-9a-f]{32})-[0-9a-f]{16}"', r'\1"', tags)


def tag_of_large(status: os.stat_result) -> str:
    """Return the entity tag of a file that is too large to be hashed."""
    return f'"{status.st_mtime_ns:x}-{status.st_size:x}"'


def tag_of_page(octets: bytes) -> str:
    """Return the strong entity tag for a page that was made here; of 100 KB it takes 150 us."""
    return f'"{_blake2b(octets, digest_size=16).hexdigest()}"'


class Digests:
    """The SHA-256 digests of files, by fingerprint. Thread-safe."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._known: BoundedCache[Fingerprint, bytes] = BoundedCache(KNOWN)
        self._hash: Callable[[bytes], bytes] = self._hash_and_count
        self._hashed = 0  # bytes of small files so far, until OpenSSL does that

    def recall(self, status: os.stat_result) -> bytes | None:
        """Return the digest of the file with this stat result, if it is known."""
        if not is_settled(status):
            return None
        with self._lock:
            return self._known.get(fingerprint(status))

    def of_octets(self, octets: bytes, status: os.stat_result) -> bytes:
        """Return the digest of a small file's content, which is remembered if that is worth it."""
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
                with contextlib.suppress(RuntimeError):  # the system grants no thread
                    start_new_thread(self._use_openssl, ())  # from a cold disk it takes 70 ms
        return sha256(octets)

    def _use_openssl(self) -> None:
        self._hash = _sha256_of_openssl()

    def of_file(self, file: OpenFile, status: os.stat_result) -> bytes:
        """Read and hash a file, however long that takes. Raises Disturbed if it changes meanwhile.

        Raises OSError.
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
