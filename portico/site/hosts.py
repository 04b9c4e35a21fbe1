"""Which hosts are answered, by the site and by the page of the metrics alike (RFC 9110, 7.4).

Rule: a name that is not known here can be an attacker's, whose DNS points to this machine (DNS
rebinding): a page of that name could read what it gets. An IP address has no DNS to be misled by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.http.fields import host_name, is_ip_address

if TYPE_CHECKING:
    from collections.abc import Iterable

LOOPBACK_HOSTS = ("localhost", "*.localhost")
"""Names that always mean this machine (RFC 6761, 6.3)."""


class Hosts:
    """The hosts called `names`: "*.name" means all below a name, "*" any; None means any, too."""

    def __init__(self, names: Iterable[str] | None) -> None:
        lowered = ["*"] if names is None else [name.lower() for name in names]
        self._any = "*" in lowered
        self._names = frozenset(lowered)
        self._suffixes = tuple([name[1:] for name in lowered if name.startswith("*.")])

    def are_meant(self, authority: str) -> bool:
        """Return whether one of them is meant by the authority of a request.

        Without one (HTTP/1.0 only) the client is no browser that could be misled.
        """
        if self._any or not authority:
            return True
        host = host_name(authority)
        return host in self._names or host.endswith(self._suffixes) or is_ip_address(host)
