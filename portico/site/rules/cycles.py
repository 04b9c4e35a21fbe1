"""Chains of redirects that never arrive, found without a request.

Rule: each redirect of the site is followed from a request that it matches, by the very code that
answers requests, words of its own standing for what its placeholders capture.
Limits: what another host answers is not known, so a chain ends there; a loop that only some
captured words close is not found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.site.rules.pattern import ABSOLUTE, normal_path
from portico.site.rules.redirects import REDIRECTS, Redirects, known_host

if TYPE_CHECKING:
    from collections.abc import Callable

HOPS_LIMIT = 20
"""Redirects in a row after which browsers give up (WHATWG Fetch, "HTTP-redirect fetch")."""

_Request = tuple[str, str, str | None]
"""Host, path in normal form, query."""


class Loop:
    """A chain of redirects without an end."""

    __slots__ = ("lines", "start")

    def __init__(self, start: str, lines: tuple[int, ...]) -> None:
        self.start = start
        """The path of a request that goes into it."""
        self.lines = lines
        """The lines of _redirects that it goes through, in this order."""


def loops(redirects: Redirects, exists: Callable[[str], bool] | None = None) -> list[Loop]:
    """The chains in which a client would go round, or on for more than 20 steps.

    `exists` tells whether the site has a file for a path, before which a rule stands back unless it
    is forced. Without it, no file is assumed.
    """
    hosts = {rule.pattern.host for rule in redirects.rules if rule.pattern.host}
    found: dict[frozenset[int], Loop] = {}
    for rule in redirects.rules:
        if rule.status in REDIRECTS:
            request = rule.sample()
            lines = _endless(redirects, request, hosts, exists or _exists_not)
            if lines:
                found.setdefault(frozenset(lines), Loop(request[1], lines))
    return list(found.values())


def _endless(
    redirects: Redirects, request: _Request, hosts: set[str], exists: Callable[[str], bool]
) -> tuple[int, ...]:
    """The lines that `request` goes through for ever; nothing when it arrives, or leaves us."""
    lines: list[int] = []
    seen: dict[_Request, int] = {}
    while request not in seen and len(lines) <= HOPS_LIMIT:
        seen[request] = len(lines)
        host, path, query = request
        found = redirects.match(path, query, host)
        if found is None or found.status not in REDIRECTS or (exists(path) and not found.forced):
            return ()
        lines.append(found.line)
        following = _request(found.location, host)
        if following[0] != host and following[0] not in hosts:
            return ()
        request = following
    return tuple(dict.fromkeys(lines[seen.get(request, 0) :]))


def _request(location: str, host: str) -> _Request:
    """The request that a client makes of a Location that `host` has sent."""
    absolute = ABSOLUTE.fullmatch(location)
    if absolute:
        host, location = known_host(absolute[1]) or "", absolute[2]
    path, mark, query = location.partition("#")[0].partition("?")
    return host, normal_path(path), query if mark else None


def _exists_not(_path: str) -> bool:
    return False
