"""The PROXY protocol, versions 1 and 2: a proxy sends a header with the address of its client.

https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt. The header is mandatory. It precedes
all other data of the connection, the TLS handshake included, and may arrive in pieces. The caller
checks beforehand that the peer is a trusted proxy.
"""

from __future__ import annotations

import re
import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from portico.server.net.transport import Plain

V1_LIMIT = 107
"""Most bytes of a header of version 1, with CRLF (2.1)."""
V2_LIMIT = 4096
"""Most bytes of a header of version 2, as in nginx. A header with the name in a certificate has
some hundred bytes; the protocol allows up to 65,551."""

_V1 = b"PROXY "
_V2 = b"\r\n\r\n\0\r\nQUIT\n"
_V2_FIXED = struct.Struct(">12s2BH")
"""The signature; version and command; family and transport; number of bytes that follow."""
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31
_SIZES = {_UNSPECIFIED: 0, _TCP4: 12, _TCP6: 36, _UNIX: 216}
"""Length of the addresses in bytes, by family and transport; further values (TLVs) may follow."""
_PORT = "(0|[1-9][0-9]{0,4})"
_LINE = re.compile(
    f"TCP(?:4 ([0-9.]+) ([0-9.]+)|6 ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+)) {_PORT} {_PORT}"
)


def read_header(octets: bytes) -> tuple[int, str] | None:
    """Return the length of the header that `octets` begin with, and the client's IP address.

    The address is "" if the header has no IP address: the proxy itself has made the connection
    (LOCAL), does not know the client (UNKNOWN, AF_UNSPEC), or has it from a unix socket. Return
    None if the header is incomplete. Raises ValueError if `octets` begin with no valid header.
    """
    if octets.startswith(_V1[: len(octets)]):
        return _read_v1(octets)
    if octets.startswith(_V2[: len(octets)]):
        return _read_v2(octets)
    raise ValueError("no header of the PROXY protocol")


def _read_v1(octets: bytes) -> tuple[int, str] | None:
    end = octets.find(b"\r\n", 0, V1_LIMIT)
    if end < 0:
        if len(octets) >= V1_LIMIT:
            raise ValueError("a header of version 1 is too long")
        return None
    line = octets[len(_V1) : end].decode("latin-1")
    if line.partition(" ")[0] == "UNKNOWN":
        return end + 2, ""
    found = _LINE.fullmatch(line)
    if found is None or max(int(found[5]), int(found[6])) > 65_535:
        raise ValueError("a header of version 1 is malformed")
    if found[1]:
        IPv4Address(found[2])
        return end + 2, str(IPv4Address(found[1]))
    IPv6Address(found[4])
    return end + 2, _ipv6(IPv6Address(found[3]))


def _read_v2(octets: bytes) -> tuple[int, str] | None:
    if len(octets) < _V2_FIXED.size:
        return None
    _, command, family, size = _V2_FIXED.unpack_from(octets)
    length = _V2_FIXED.size + size
    if command not in {_LOCAL, _PROXY} or length > V2_LIMIT:
        raise ValueError("a header of version 2 is malformed")
    if command == _PROXY and size < _SIZES.get(family, V2_LIMIT):
        raise ValueError("a header of version 2 has addresses of an unknown kind, or cut short")
    if len(octets) < length:
        return None
    at = _V2_FIXED.size
    if command == _PROXY and family == _TCP4:
        return length, str(IPv4Address(octets[at : at + 4]))
    if command == _PROXY and family == _TCP6:
        return length, _ipv6(IPv6Address(octets[at : at + 16]))
    return length, ""


def _ipv6(address: IPv6Address) -> str:
    return str(address.ipv4_mapped or address)


def take_header(plain: Plain, begun: bytes) -> tuple[bytes, str | None]:
    """Receive the header, or more of it; `begun` are the bytes of it that were received before.

    Return the bytes received so far, and the client's address (see `read_header`), None instead of
    the address while the header is incomplete. Bytes that follow the header stay in the kernel's
    buffer. Raises ValueError for an invalid header, BlockingIOError if no bytes have arrived, and
    ConnectionAbortedError if the connection has ended.
    """
    come = plain.recv(V2_LIMIT, socket.MSG_PEEK)
    if not come:
        raise ConnectionAbortedError("the connection ended before its header")
    found = read_header(begun + come)
    if found is None:
        return begun + plain.recv(len(come)), None
    length, source = found
    return begun + plain.recv(length - len(begun)), source
