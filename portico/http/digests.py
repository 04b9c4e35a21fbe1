"""Repr-Digest and Content-Digest: digests that clients ask for, or send with content (RFC 9530).

Responses have SHA-256 only. A Want field that is not a valid dictionary (RFC 8941, 3.2) is ignored.
"""

from __future__ import annotations

import re

FIELDS = frozenset({"want-content-digest", "want-repr-digest"})
"""The request fields that ask for a digest, in lower case."""

ALGORITHM = "sha-256"

LENGTHS = {"sha-256": 32, "sha-512": 64}
"""The algorithms by which a request's content is verified, with their digests' lengths in bytes."""
SENT = frozenset({"content-digest", "repr-digest"})
"""The request fields with a digest of the request's own content, in lower case."""

# A member of a dictionary: its key, its value (captured if it is an item), and its parameters.
_KEY = r"[a-z*][a-z0-9_.*\-]*+"
_BARE = (
    r"""(?:-?[0-9]{1,15}+(?:\.[0-9]{1,3}+)?|"(?:[ !#-\[\]-~]|\\["\\])*"|:[A-Za-z0-9+/=]*+:|\?[01]"""
    r"""|[A-Za-z*][A-Za-z0-9!#$%&'*+\-.^_`|~:/]*+)"""
)
_PARAMETERS = f"(?:; *+{_KEY}(?:={_BARE})?)*"
_INNER_LIST = rf"\( *+(?:{_BARE}{_PARAMETERS}(?: ++|(?=\))))*\)"
_MEMBER = re.compile(f"({_KEY})(?:=(?:({_BARE})|{_INNER_LIST}))?{_PARAMETERS}")
_COMMA = re.compile(r"[ \t]*+,[ \t]*+")

# The client's preference for an algorithm (RFC 9530, 4), without 0, which means "not acceptable".
_PREFERENCE = re.compile("10|[1-9]")


def is_wanted(value: str | None) -> bool:
    """Return whether Want-Repr-Digest or Want-Content-Digest asks for a SHA-256 digest.

    Other members of the dictionary, and values without a meaning in RFC 9530, are ignored.
    """
    if value is None:
        return False
    value = value.strip(" \t")
    preference: str | None = None
    position = 0
    while True:
        member = _MEMBER.match(value, position)
        if member is None:
            return False
        if member[1] == ALGORITHM:
            preference = member[2]  # the last of duplicate keys counts (RFC 8941, 4.2.2)
        if member.end() == len(value):
            break
        comma = _COMMA.match(value, member.end())
        if comma is None:
            return False
        position = comma.end()
    return _PREFERENCE.fullmatch(preference or "") is not None


def claimed(value: str) -> dict[str, bytes]:
    """Return the digests in a Content-Digest or Repr-Digest value, by algorithm of LENGTHS.

    Other algorithms are ignored. Raises ValueError for a malformed digest or a wrong length.
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
