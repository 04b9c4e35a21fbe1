"""Networks: addresses that an operator names as 10.0.0.0/8, 2001:db8::1 or unix."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Network, ip_address, ip_network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

UNIX_PEER = "unix"
"""The peer address of connections by unix socket, which have no IP address."""
_KNOWN = 4096
"""Addresses whose results are cached."""


def canonical(raw: object) -> str:
    """Return a network in its canonical notation, or UNIX_PEER. Raises ValueError.

    A network of IPv4-mapped IPv6 addresses becomes the IPv4 network.
    """
    if raw == UNIX_PEER:
        return UNIX_PEER
    try:
        network = ip_network(raw if isinstance(raw, str) and "%" not in raw else "")
    except ValueError as problem:
        why = "; bits beyond its length are set" if "host bits" in str(problem) else ""
        wrong = f"{raw!r} is not an address, a network such as 10.0.0.0/8, or unix{why}"
        raise ValueError(wrong) from None
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:  # as peer addresses are IPv4
        return str(ip_network((mapped, network.prefixlen - 96)))
    return str(network)


class Networks:
    """A set of networks, given in canonical notation, of which one may be UNIX_PEER."""

    def __init__(self, names: Iterable[str]) -> None:
        self._has_unix = UNIX_PEER in names
        self._networks = [ip_network(name) for name in names if name != UNIX_PEER]
        self.have = lru_cache(_KNOWN)(self._have)
        """Whether an address, as text, or UNIX_PEER, is in one of the networks."""

    def _have(self, address: str) -> bool:
        if address == UNIX_PEER:
            return self._has_unix
        found = ip_address(address.partition("%")[0])
        return any(found in network for network in self._networks)
