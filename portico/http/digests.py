"""Repr-Digest and Content-Digest: digests that the client asks for (RFC 9530).

Only SHA-256 is supported. A request field that is no valid dictionary (RFC 8941, 3.2) is ignored.
"""

from __future__ import annotations

import re

FIELDS = frozenset({"want-content-digest", "want-repr-digest"})
"""The request fields evaluated here, in lower case."""

ALGORITHM = "sha-256"

LENGTHS = {"sha-256": 32, "sha-512": 64}
"""The algorithms in which the digest of a request's content is verified, and their octets."""
SENT = frozenset({"content-digest", "repr-digest"})
"""The fields of a request with content that have one."""

# A member of the dictionary: an algorithm with its preference, 1 to 10, or 0 for "not acceptable"
# (RFC 9530, 4).
_MEMBER = re.compile(r"[ \t]*([a-z*][a-z0-9_.*-]*)=(10|[0-9])[ \t]*")


def is_wanted(value: str | None) -> bool:
    """Return whether Want-Repr-Digest or Want-Content-Digest asks for a SHA-256 digest."""
    if value is None:
        return False
    preferences = {}
    for member in value.split(","):
        found = _MEMBER.fullmatch(member.partition(";")[0])  # parameters are ignored
        if found is None:
            return False
        preferences[found[1]] = found[2]  # the last of duplicate keys counts (RFC 8941, 4.2.2)
    return preferences.get(ALGORITHM, "0") != "0"


def claimed(value: str) -> dict[str, bytes]:
    """Return the digests in Content-Digest or Repr-Digest, by algorithm: those that are supported.

    Raises ValueError for one that is malformed, or has a wrong length.
    """
    from binascii import a2b_base64

    found = {}
    for member in value.split(","):
        name, _, digest = member.partition("=")
        length = LENGTHS.get(name.strip(" \t"))
        if length is None:
            continue
        octets = digest.partition(";")[0].strip(" \t")
        if not (len(octets) > 1 and octets[0] == octets[-1] == ":"):
            raise ValueError(member)
        found[name.strip(" \t")] = a2b_base64(octets[1:-1], strict_mode=True)
        if len(found[name.strip(" \t")]) != length:
            raise ValueError(member)
    return found


def digest_value(digest: bytes) -> str:
    """Return the value of Repr-Digest or Content-Digest for a SHA-256 digest (RFC 9530, 2, 3)."""
    from binascii import b2a_base64

    return f"{ALGORITHM}=:{b2a_base64(digest, newline=False).decode('ascii')}:"
