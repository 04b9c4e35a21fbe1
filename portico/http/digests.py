"""Repr-Digest and Content-Digest: digests that a client has asked for (RFC 9530).

Rule: only what is wanted is sent, and only SHA-256, whose digests are at hand. A field that is no
dictionary (RFC 8941, 3.2) wants nothing.
"""

from __future__ import annotations

import re

FIELDS = frozenset({"want-content-digest", "want-repr-digest"})
"""The fields evaluated here, in lower case."""

ALGORITHM = "sha-256"

# A member of the dictionary: a key with the preference from 0, "not at all", to 10 (RFC 9530, 4).
_MEMBER = re.compile(r"[ \t]*([a-z*][a-z0-9_.*-]*)=(10|[0-9])[ \t]*")


def is_wanted(value: str | None) -> bool:
    """Does a Want-Repr-Digest or Want-Content-Digest field want a SHA-256 digest?"""
    if value is None:
        return False
    preferences = {}
    for member in value.split(","):
        found = _MEMBER.fullmatch(member.partition(";")[0])  # parameters mean nothing here
        if found is None:
            return False
        preferences[found[1]] = found[2]  # of a key that comes twice, the last counts (8941, 4.2.2)
    return preferences.get(ALGORITHM, "0") != "0"


def digest_value(digest: bytes) -> str:
    """The value of Repr-Digest or Content-Digest for a SHA-256 digest (RFC 9530, 2 and 3)."""
    from binascii import b2a_base64

    return f"{ALGORITHM}=:{b2a_base64(digest, newline=False).decode('ascii')}:"
