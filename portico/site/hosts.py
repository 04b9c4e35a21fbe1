"""The hosts whose requests are answered, by the site and by the metrics alike (RFC 9110, 7.4).

Rule: requests for an unknown host name are refused, because the name may belong to an attacker
whose DNS points to this machine (DNS rebinding): scripts on a page from there could read the
responses. IP addresses are always accepted, because no DNS is involved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.http.fields import host_name, is_ip_address

if TYPE_CHECKING:
    from collections.abc import Iterable

LOOPBACK_HOSTS = ("localhost", "*.localhost")
"""Names that always mean this machine (RFC 6761, 6.3)."""

LAN_HOSTS = ("*.local", "*.home.arpa", "*.internal", "*.lan")
"""Names in a local network: nobody can have them in the internet (RFC 6762, RFC 8375)."""


class Hosts:
    """The hosts in `names`: "*.name" stands for all names below a name, "*" and None for any."""

    def __init__(self, names: Iterable[str] | None) -> None:
        lowered = ["*"] if names is None else [name.lower() for name in names]
        self._any = "*" in lowered
        self._names = frozenset(lowered)
        self._suffixes = tuple([name[1:] for name in lowered if name.startswith("*.")])

    def are_meant(self, authority: str) -> bool:
        """Return whether the authority of a request has one of these hosts, or an IP address.

        An empty authority (HTTP/1.0 only) is accepted: no browser sends one, so DNS rebinding is
        no danger.
        """
        if self._any or not authority:
            return True
        host = host_name(authority)
        return host in self._names or host.endswith(self._suffixes) or is_ip_address(host)
