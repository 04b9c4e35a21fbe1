"""Networks: addresses that an operator names as 10.0.0.0/8, 2001:db8::1 or unix."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Network, ip_address, ip_network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

UNIX_PEER = "unix"
"""What stands for the address of who comes by a unix socket."""
_KNOWN = 4096
"""Addresses of which is known whether they belong here."""


def canonical(raw: object) -> str:
    """Return a network as it is written usually, or UNIX_PEER. Raises ValueError."""
    if raw == UNIX_PEER:
        return UNIX_PEER
    try:
        network = ip_network(raw if isinstance(raw, str) and "%" not in raw else "")
    except ValueError as problem:
        why = "; bits beyond its length are set" if "host bits" in str(problem) else ""
        wrong = f"{raw!r} is not an address, a network such as 10.0.0.0/8, or unix{why}"
        raise ValueError(wrong) from None
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:  # addresses of peers are not written so
        return str(ip_network((mapped, network.prefixlen - 96)))
    return str(network)


class Networks:
    """Some networks, by their canonical names."""

    def __init__(self, names: Iterable[str]) -> None:
        self._has_unix = UNIX_PEER in names
        self._networks = [ip_network(name) for name in names if name != UNIX_PEER]
        self.have = lru_cache(_KNOWN)(self._have)
        """Whether an address is in one of them, given as text; or UNIX_PEER."""

    def _have(self, address: str) -> bool:
        if address == UNIX_PEER:
            return self._has_unix
        found = ip_address(address.partition("%")[0])
        return any(found in network for network in self._networks)
