"""The rules for uploads: names, digests, conditions, rights. Only `Current` accesses the disk."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from portico.config.config import DEFAULT_FILE
from portico.http import digests
from portico.http.conditional import NOTHING, PROCEED, Validators, evaluate, is_conditional
from portico.site.compression.encoders import SUFFIXES
from portico.site.dotfiles import is_hidden
from portico.site.origin.etags import tags_of_originals
from portico.site.origin.writable import Current, Refused
from portico.site.rules.rulebook import is_rules_file
from portico.site.target import is_safe

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Iterable

    from portico.http.message import Field, RequestHead

LEVELS = 100
"""The maximum number of names in a path: systems open no path of more than some 4,000 bytes."""
NAME_OCTETS = 255
"""The maximum length of a name in bytes: that of most file systems."""
_SHORT = re.compile("~[0-9]")
"""Marks the short names that Windows generates, such as GIT~1 for .git."""


def check_writable(names: tuple[str, ...]) -> None:
    """Raise Refused unless the path `names` may be written; the last name is "" for a folder.

    A path may be written only if it would be served, and only with names that every system allows.
    """
    if names == ("",):
        raise Refused(405, "The site's own folder cannot be changed.")
    check_served(names[:-1] if names[-1] == "" else names)


def check_served(names: tuple[str, ...]) -> None:
    """Raise Refused unless the path `names` would be served, and every system allows the names."""
    if len(names) > LEVELS:
        raise Refused(400, f"More than {LEVELS} folders lie within each other.")
    if is_hidden(names) or is_rules_file(names[:1]) or _is_configuration(names):
        raise Refused(403, "A name that is not served cannot be written.")
    for name in names:
        check_name(name)


def name_of(filename: str) -> str:
    """Return the name for a file that a client calls `filename`: the last of its path, in NFC."""
    import unicodedata

    return unicodedata.normalize("NFC", filename.replace("\\", "/").rpartition("/")[2])


def check_name(name: str) -> None:
    """Raise Refused for a name that not every system allows."""
    if not name:
        raise Refused(400, "A name in the path is empty.")
    if len(name.encode("utf-8", "surrogateescape")) > NAME_OCTETS:
        raise Refused(400, f"A name has more than {NAME_OCTETS} bytes.")
    if name.isprintable() and is_safe(name, windows=True):
        return
    if name[-1] in ". ":
        raise Refused(400, "A name cannot end with a dot or a space.")
    if _SHORT.search(name):
        raise Refused(400, "On some systems ~ and a digit stand for the rest of another name.")
    raise Refused(400, "A name is one, or has characters, that not every system allows.")


def claimed_digests(
    request: RequestHead, names: Iterable[str] = ("content-digest", "repr-digest")
) -> dict[str, bytes]:
    """Return the digests that the client has sent, by algorithm (RFC 9530). Raises Refused.

    No content coding is accepted, so for a whole file Content-Digest and Repr-Digest mean the same.
    """
    claims: dict[str, bytes] = {}
    for field in names:
        value = request.get(field)
        if value is None:
            continue
        try:
            found = digests.claimed(value)
        except ValueError:
            raise Refused(400, f"{field.title()} is malformed.") from None
        if any(claims.get(name, digest) != digest for name, digest in found.items()):
            raise Refused(400, "Content-Digest and Repr-Digest contradict each other.")
        claims |= found
    return claims


def check_content_fields(request: RequestHead) -> None:
    """Raise Refused for content that is only a part of a file, or has a content coding."""
    if request.get("content-range") is not None:
        raise Refused(400, "A part of a file cannot be put (RFC 9110, 14.5).")
    if request.get("content-encoding") not in {None, "identity"}:
        raise Refused(415, "Content-Encoding is not undone here.")


class Terms:
    """The terms on which a file may be stored. `check` is called while the folder is locked."""

    def __init__(
        self, method: str, fields: Iterable[Field], name: str, rights: frozenset[str]
    ) -> None:
        """`fields` are those of the request; `rights` are those of the client to the path."""
        self._method = method
        self._fields = tuple(fields)
        self._name = name
        self._rights = rights

    def check(self, current: Current) -> None:
        """Raise Refused unless the file may be created, or may replace `current`."""
        if current.is_folder:
            raise Refused(409, "There is a folder of that name.")
        check_conditions(self._method, self._fields, current)
        right = "create" if current.status is None else "replace"
        if right not in self._rights:
            raise Refused(403, f"It is not allowed to {right} files here.")
        if "replace" not in self._rights and _changes_another(self._name, current):
            raise Refused(403, "It would change what is sent for a file that exists.")


def check_conditions(method: str, fields: Iterable[Field], current: Current) -> None:
    """Raise Refused unless the request's conditions hold (RFC 9110, 13)."""
    if not is_conditional(fields):
        return
    validators = NOTHING
    if current.status is not None:
        tag = current.tag() if current.is_file else None
        validators = Validators(tag, int(current.status.st_mtime))
    found: dict[str, str] = {}
    for name, value in fields:
        found[name] = f"{found[name]}, {value}" if name in found else value
    for name in found.keys() & {"if-match", "if-none-match"}:
        found[name] = tags_of_originals(found[name])
    if evaluate(found.get, method, validators, time.time()) != PROCEED:
        raise Refused(412, "What is there is not what the condition asks for.")


class Hashes:
    """Hashes content that comes in pieces, and verifies the digests that the client has sent."""

    def __init__(self, claims: dict[str, bytes], *, most: int) -> None:
        """Make a SHA-256 digest of up to `most` bytes, and those in `claims` of any number."""
        import hashlib

        self._claims = claims
        self._most = most
        self._taken = 0
        self._hashes: dict[str, hashlib._Hash] = {"sha-256": hashlib.sha256()}
        for name in claims:
            self._hashes[name] = hashlib.new(name.replace("-", ""))

    def update(self, pieces: Iterable[bytes]) -> None:
        """Hash the next `pieces`."""
        for piece in pieces:
            self._taken += len(piece)
            for name, digest in self._hashes.items():
                if name in self._claims or self._taken <= self._most:
                    digest.update(piece)

    def check(self) -> None:
        """Raise Refused unless the content has all digests in `claims`."""
        for name, claimed in self._claims.items():
            if self._hashes[name].digest() != claimed:
                raise Refused(400, f"The content does not have the {name} digest that was sent.")

    @property
    def sha256(self) -> bytes | None:
        """The SHA-256 digest; None if there were more than `most` bytes."""
        return self._hashes["sha-256"].digest() if self._taken <= self._most else None


def _is_configuration(names: tuple[str, ...]) -> bool:
    """Return whether Portico would read its options there if it were started in that folder."""
    return any(name.lower() == DEFAULT_FILE for name in names)


def _changes_another(name: str, current: Current) -> bool:
    """Return whether a new file `name` changes what is sent for the path of another one.

    It would be sent as that file's compressed form, or at its clean URL.
    """
    stem, dot, suffix = name.rpartition(".")
    if f"{dot}{suffix}" in SUFFIXES.values() or suffix == "html":
        return current.has_sibling(stem)
    return not dot and current.has_sibling(f"{name}.html")
