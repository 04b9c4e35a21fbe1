"""The rights of users to paths: one decision for every method.

Rule: the first [[access]] block whose path matches applies. In this block, a user has the rights of
`anonymous`, of `users` and of the user's own name together. Except for the right to read, a block
gives only rights that --allow names. Without blocks, everyone may read, and the rights of --allow
need a password if there are users.

Blocks are matched against decoded names (see `target`), so no percent-encoding evades a block.
`/inbox/*` also matches the folder itself.

Blocks match in any letter case and Unicode normalization form, since some file systems take such
spellings for the same name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import translate
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from portico.config.config import Config
    from portico.config.kinds import Block
    from portico.http.message import RequestHead

READ = "read"
ANONYMOUS, USERS = "anonymous", "users"

Rights = frozenset[str]
RightsFor = Callable[[tuple[str, ...]], Rights]
"""Returns the rights of one client to a path."""


class Authenticator(Protocol):
    """Identifies the user who sent a request: `users.Users`, or that of `portico explain`."""

    def who(self, request: RequestHead, *, may_wait: bool) -> str | None:
        """Return the name of the user; None without valid credentials.

        Raises TooManyGuesses, and Waiting unless `may_wait`.
        """
        ...


class TooManyGuesses(Exception):  # noqa: N818 (what the caller answers, not an error of ours)
    """An address has sent too many wrong passwords; it may try again after `seconds`."""

    def __init__(self, seconds: int) -> None:
        super().__init__()
        self.seconds = seconds


def network_of(address: str) -> str:
    """Return the key by which an address is counted: for IPv6, its first 64 bits.

    One client may have all addresses that begin with the same 64 bits.
    """
    if ":" not in address:
        return address
    from socket import AF_INET6, inet_pton

    return inet_pton(AF_INET6, address.partition("%")[0])[:8].hex()


class Access:
    """The rights that a configuration gives."""

    def __init__(self, config: Config) -> None:
        self._most: Rights = frozenset({READ, *config.allows})
        self._has_users = bool(config.users)
        self.is_open = not config.users and not config.accesses
        """Whether everyone has all rights that a site can give: to read, and those of --allow."""
        self._blocks = [(_pattern(path), given) for path, given in _blocks(config)]

    def rights(self, names: tuple[str, ...], user: str | None) -> Rights:
        """Return the rights of `user` (None: anonymous) to the path `names`."""
        given = self._given(names)
        rights: Rights = given.get(ANONYMOUS, frozenset())
        if user is not None:
            rights = rights.union(given.get(USERS, ()), given.get(user, ()))
        return self._most & rights

    def some_may_write(self, names: tuple[str, ...]) -> bool:
        """Return whether any user may create or replace a file at the path `names`."""
        all_rights = frozenset().union(*self._given(names).values())
        return bool(self._most & all_rights & {"create", "replace"})

    def is_the_same_for_all(self, names: tuple[str, ...]) -> bool:
        """Return whether all users, known or not, may read the path `names` alike."""
        return not self._has_users or READ in self.rights(names, None)

    def _given(self, names: tuple[str, ...]) -> dict[str, Rights]:
        path = _folded("/" + "/".join(names))
        for pattern, given in self._blocks:
            if pattern.match(path):
                return given
        return {}


def _blocks(config: Config) -> list[Block]:
    if config.accesses:
        return list(config.accesses)
    writer = USERS if config.users else ANONYMOUS
    everyone: dict[str, Rights] = {ANONYMOUS: frozenset({READ})}
    return [("/*", {**everyone, writer: frozenset({READ, *config.allows})})]


def _pattern(glob: str) -> re.Pattern[str]:
    """Return a pattern for the folded paths to which a block applies."""
    glob = _folded(glob)
    pattern = translate(glob)
    if glob.endswith("/*") and len(glob) > 2:
        pattern = f"{pattern}|{translate(glob.removesuffix('/*'))}"
    return re.compile(pattern)


def _folded(path: str) -> str:
    """Return what is the same for all spellings that a file system may take for one name."""
    if path.isascii():
        return path.lower()
    from unicodedata import normalize

    return normalize("NFD", normalize("NFD", path).casefold())
