"""Who may do what: the one decision for every method.

Rule: of the [[access]] blocks the first counts whose path fits. In it the rights of anonymous, of
users and of the named one add up, and --allow is the most that any block can give. Without blocks
everyone reads, and what --allow names needs a password as soon as there are users.

A path fits with its names decoded, so no spelling of a path evades a block. `/inbox/*` also stands
for the folder itself.

Limit: on a file system that takes names in other cases for the same, blocks fit in any case.
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
"""What one client may do with a path."""


class Authenticator(Protocol):
    """Tells who has sent a request: `users.Users`, or what `portico explain` is told."""

    def who(self, request: RequestHead, *, may_wait: bool) -> str | None:
        """Return the name of a user; None for somebody unknown.

        Raises TooManyGuesses, and Waiting unless `may_wait`.
        """
        ...


class TooManyGuesses(Exception):  # noqa: N818 (what the caller answers, not an error of ours)
    """An address has sent too many wrong passwords; it may try again after `seconds`."""

    def __init__(self, seconds: int) -> None:
        super().__init__()
        self.seconds = seconds


def network_of(address: str) -> str:
    """Return what counts as one client: of IPv6 the first 64 bits, since each may have all such."""
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
        """Whether everyone may read everything, and do what --allow names."""
        self._blocks = [(_pattern(path), given) for path, given in _blocks(config)]

    def rights(self, names: tuple[str, ...], user: str | None) -> Rights:
        """Return what `user` (None: anonymous) may do with what is called `names`."""
        given = self._given(names)
        rights: Rights = given.get(ANONYMOUS, frozenset())
        if user is not None:
            rights = rights.union(given.get(USERS, ()), given.get(user, ()))
        return self._most & rights

    def some_may_write(self, names: tuple[str, ...]) -> bool:
        """Return whether anybody may create or replace what is called `names`."""
        all_rights = frozenset().union(*self._given(names).values())
        return bool(self._most & all_rights & {"create", "replace"})

    def is_the_same_for_all(self, names: tuple[str, ...]) -> bool:
        """Return whether who asks makes no difference to who may read."""
        return not self._has_users or READ in self.rights(names, None)

    def _given(self, names: tuple[str, ...]) -> dict[str, Rights]:
        path = "/" + "/".join(names)
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
    """Return what the paths match to which a block applies."""
    pattern = translate(glob)
    if glob.endswith("/*") and len(glob) > 2:
        pattern = f"{pattern}|{translate(glob.removesuffix('/*'))}"
    return re.compile(pattern)
