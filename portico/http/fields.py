"""The header fields that frame or route a message: one function for each field.

Each function takes the values of all lines of its field, and raises ProtocolError for an invalid
one. Nothing is repaired: ambiguity in one of these fields is how requests are smuggled (RFC 9112,
11.2). `version` is the minor version of HTTP/1, 0 or 1.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from portico.http.h1.grammar import CONTENT_LENGTH, HOST, TOKEN
from portico.http.message import CHUNKED, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

_ADDRESS = re.compile(r"\[[0-9A-Fa-f:.]+\]|[0-9.]+")

_match_host = lru_cache(maxsize=64)(HOST.fullmatch)
"""Cached, because a server has few names, and every request has one of them."""


def content_length(lengths: Sequence[str], codings: Sequence[str], version: int) -> int:
    """Return the number of bytes of content after the head, or CHUNKED (RFC 9112, 6.3).

    `lengths` are the values of Content-Length, `codings` those of Transfer-Encoding. RFC 9112 lets
    a recipient repair a repeated Content-Length, or a Content-Length beside a Transfer-Encoding;
    this function refuses both.
    """
    if codings:
        if lengths:
            raise ProtocolError(
                400, "A request cannot have both Transfer-Encoding and Content-Length."
            )
        if version == 0:
            raise ProtocolError(400, "HTTP/1.0 has no Transfer-Encoding.")
        names = _members(",".join(codings))
        if names[-1] != "chunked" or names.count("chunked") > 1:
            raise ProtocolError(400, "The last transfer coding, and no other, must be chunked.")
        if len(names) > 1:
            raise ProtocolError(501, "The only transfer coding supported is chunked.")
        return CHUNKED
    if not lengths:
        return 0
    if len(lengths) > 1 or not CONTENT_LENGTH.fullmatch(lengths[0]):
        raise ProtocolError(400, "Content-Length must be one decimal number.")
    return int(lengths[0])


def host(values: Sequence[str], version: int) -> str:
    """Return the authority in Host; "" for HTTP/1.0 without the field (RFC 9112, 3.2)."""
    if not values and version == 0:
        return ""
    if len(values) != 1:
        raise ProtocolError(400, "A request must have exactly one Host header.")
    if not is_host(values[0]):
        raise ProtocolError(400, "The Host header is not a valid host.")
    return values[0]


def is_host(authority: str) -> bool:
    """Return whether `authority` is a valid host with an optional port; IPv6 is in brackets."""
    found = _match_host(authority)
    return found is not None and (found[1][0] != "[" or is_ip_address(found[1]))


@lru_cache(maxsize=64)
def is_ip_address(host: str) -> bool:
    """Return whether `host` is an IPv4 address, or an IPv6 address in brackets.

    Only the forms of RFC 3986, 3.2.2 count: browsers convert other forms to these before sending.
    """
    if not _ADDRESS.fullmatch(host):  # host names must not need the import below
        return False
    from ipaddress import IPv4Address, IPv6Address

    try:
        _ = IPv6Address(host[1:-1]) if host[0] == "[" else IPv4Address(host)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=64)
def host_name(authority: str) -> str:
    """Return the host in lower case, without port and final dot; "" if `authority` is invalid.

    See RFC 3986, 6.2.2.1.
    """
    found = _match_host(authority)
    return found[1].lower().removesuffix(".") if found else ""


def keep_alive(values: Sequence[str], version: int) -> bool:
    """Return whether the client wants the connection to persist (RFC 9112, 9.3)."""
    if not values:
        return version == 1
    options = _members(",".join(values))
    if any(option and not TOKEN.fullmatch(option) for option in options):
        raise ProtocolError(400, "The Connection header is not a list of tokens.")
    if "close" in options:
        return False
    return version == 1 or "keep-alive" in options


def expects_continue(values: Sequence[str], version: int) -> bool:
    """Return whether the client waits for 100 (Continue) before it sends content.

    See RFC 9110, 10.1.1. HTTP/1.0 has no expectations.
    """
    if not values or version == 0:
        return False
    if [value.lower() for value in values] != ["100-continue"]:
        raise ProtocolError(417, "The only expectation supported is 100-continue.")
    return True


def _members(value: str) -> list[str]:
    """Return the members of a comma-separated list in lower case, including empty ones."""
    return [member.strip(" \t").lower() for member in value.split(",")]
