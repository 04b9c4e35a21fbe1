"""The client of a proxied request: X-Forwarded-For and -Proto, or Forwarded (RFC 7239).

Each proxy appends the address of its own peer on the right. So the elements are read from the
right, as long as the proxy that added the element is trusted; the first address that does not
belong to a trusted proxy is the client's. Elements further left may be forged by anyone.

Rules:
- An element without an IP address (`unknown`, an obfuscated identifier, a mistake) ends the search:
  the address of the proxy that added the element is taken for the client's.
- Elements are split off from the right, so nothing that a client has sent, such as an unterminated
  quote, changes how the proxies' elements are read.
- A port is dropped. An IPv4-mapped IPv6 address becomes the IPv4 address.

Pure: values in, values out. Never raises, since any client may send these fields.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from portico.http.h1.grammar import QUOTED, TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable

    Trusts = Callable[[str], bool]
    """Returns whether an address belongs to a trusted proxy."""

HOPS = 32
"""Most elements that are read: no chain of proxies is longer, and a longer list would cost time."""
_COMMAS = 8
"""Most commas in quoted strings of one element of Forwarded; proxies write none."""
_SCHEMES = frozenset({"http", "https"})

_PORT = r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?"
_NODE = re.compile(rf"(?:([0-9.]+)|\[([0-9A-Fa-f:.]+)\]){_PORT}")
"""node = nodename [ ":" node-port ] (RFC 7239, 6), with an IP address as nodename."""
_BARE_IPV6 = re.compile(r"()([0-9A-Fa-f:.]+)")
"""An IPv6 address without brackets, which X-Forwarded-For may have."""

_PAIR = rf"({TOKEN.pattern})=({TOKEN.pattern}|{QUOTED})"
_PAIRS = re.compile(_PAIR)
_ELEMENT = re.compile(rf"(?:{_PAIR})?(?:;(?:{_PAIR})?)*")
"""forwarded-element = [ forwarded-pair ] *( ";" [ forwarded-pair ] ) (RFC 7239, 4)"""
_ESCAPED = re.compile(r"\\(.)")


def client_of_x_forwarded(
    addresses: str, schemes: str, peer: str, trusts: Trusts
) -> tuple[str, str]:
    """Return the client's address and scheme: "http", "https", or "" if no trusted proxy tells it.

    `addresses` is the value of X-Forwarded-For, `schemes` that of X-Forwarded-Proto, `peer` the
    address of the connection. Of several schemes, the one that was added together with the client's
    address counts. If there are fewer schemes than addresses, the first one counts, since the
    proxies passed it on unchanged.
    """
    if not trusts(peer):
        return peer, ""
    client, hops = peer, 0
    for element in reversed(addresses.rsplit(",", HOPS)[-HOPS:]):
        if not trusts(client):
            break
        if not (node := element.strip(" \t")):
            continue  # an empty element (RFC 9110, 5.6.1)
        hops += 1
        address = _address(_NODE.fullmatch(node) or _BARE_IPV6.fullmatch(node))
        if address is None:
            break
        client = address
    said = [scheme.strip(" \t").lower() for scheme in schemes.rsplit(",", HOPS)]
    scheme = said[-min(max(hops, 1), len(said))]
    return client, scheme if scheme in _SCHEMES else ""


def client_of_forwarded(value: str, peer: str, trusts: Trusts) -> tuple[str, str]:
    """Return the client's address and scheme: "http", "https", or "" if no trusted proxy tells it.

    `value` is the value of Forwarded, `peer` the address of the connection.
    """
    client, scheme, left = peer, "", value
    for _ in range(HOPS):
        if not left or not trusts(client):
            break
        left, element = _last_element(left)
        if element == "":
            continue  # an empty element (RFC 9110, 5.6.1)
        pairs = _pairs(element)
        scheme = pairs.get("proto", "").lower()
        address = _address(_NODE.fullmatch(pairs.get("for", "")))
        if address is None:
            break
        client = address
    return client, scheme if scheme in _SCHEMES else ""


def _last_element(value: str) -> tuple[str, str | None]:
    """Return `value` without its last element, and this element; None if it is malformed."""
    at = len(value)
    for _ in range(_COMMAS):
        at = value.rfind(",", 0, at)
        element = value[at + 1 :].strip(" \t")
        if _ELEMENT.fullmatch(element):
            return value[: max(0, at)], element
        if at < 0:
            break
    return "", None


def _pairs(element: str | None) -> dict[str, str]:
    """Return the parameters by name in lower case; none at all if a name is repeated."""
    pairs = [(name.lower(), _unquoted(value)) for name, value in _PAIRS.findall(element or "")]
    found = dict(pairs)
    return found if len(found) == len(pairs) else {}


def _unquoted(value: str) -> str:
    return _ESCAPED.sub(r"\1", value[1:-1]) if value[0] == '"' else value


def _address(found: re.Match[str] | None) -> str | None:
    """Return the matched IP address in canonical form; None if it is not a valid address."""
    if found is None:
        return None
    try:
        if found[1]:
            return str(IPv4Address(found[1]))
        address = IPv6Address(found[2])
    except ValueError:
        return None
    return str(address.ipv4_mapped or address)
