"""Headers of the PROXY protocol: what they say, what is none, and how they come."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from portico.server.net.proxy_protocol import V1_LIMIT, V2_LIMIT, read_header, take_header
from portico.server.net.transport import Plain
from tests.server.clients import in_pieces

IPV4 = socket.inet_aton("192.0.2.1") + socket.inet_aton("10.0.0.1") + struct.pack(">2H", 4711, 80)
IPV6 = b"".join(socket.inet_pton(socket.AF_INET6, each) for each in ("2001:db8::1", "fd00::1"))
IPV6 += struct.pack(">2H", 4711, 443)
MAPPED = socket.inet_pton(socket.AF_INET6, "::ffff:192.0.2.1") + IPV6[16:]
TLV = b"\x04\x00\x03pad"


def v2(command: int, family: int, content: bytes, *, size: int | None = None) -> bytes:
    length = len(content) if size is None else size
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack(">2BH", command, family, length) + content


GOOD = [
    (b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n", "192.0.2.1"),
    (b"PROXY TCP4 192.0.2.1 10.0.0.1 0 65535\r\n", "192.0.2.1"),
    (b"PROXY TCP6 2001:DB8::1 fd00::1 4711 443\r\n", "2001:db8::1"),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:10.0.0.1 4711 443\r\n", "192.0.2.1"),
    (b"PROXY UNKNOWN\r\n", ""),
    (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", ""),
    (b"PROXY UNKNOWN".ljust(V1_LIMIT - 2) + b"\r\n", ""),
    (v2(0x21, 0x11, IPV4), "192.0.2.1"),
    (v2(0x21, 0x11, IPV4 + TLV * 3), "192.0.2.1"),
    (v2(0x21, 0x11, IPV4.ljust(V2_LIMIT - 16, b"\xff")), "192.0.2.1"),
    (v2(0x21, 0x21, IPV6), "2001:db8::1"),
    (v2(0x21, 0x21, IPV6 + TLV), "2001:db8::1"),
    (v2(0x21, 0x21, MAPPED), "192.0.2.1"),
    (v2(0x21, 0x31, bytes(216)), ""),
    (v2(0x21, 0x00, b""), ""),
    (v2(0x21, 0x00, TLV), ""),
    (v2(0x20, 0x00, b""), ""),
    (v2(0x20, 0x11, IPV4), ""),
    (v2(0x20, 0xFF, b"?"), ""),
]


@pytest.mark.parametrize(("header", "address"), GOOD)
def test_good_headers(header: bytes, address: str) -> None:
    assert read_header(header + b"GET / HTTP/1.1\r\n") == (len(header), address)
    for length in range(len(header)):
        assert read_header(header[:length]) is None


@pytest.mark.parametrize(
    "header",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01",
        b"\r\n\r\nGET",
        b"\0",
        b"proxy TCP4 192.0.2.1 10.0.0.1 4711 80\r\n",
        b"PROXY  TCP4 192.0.2.1 10.0.0.1 4711 80\r\n",
        b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80 \r\n",
        b"PROXY TCP4\t192.0.2.1 10.0.0.1 4711 80\r\n",
        b"PROXY TCP4 192.0.2.1 10.0.0.1 4711\r\n",
        b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80 90\r\n",
        b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\n\r\n",
        b"PROXY TCP4 192.0.2.256 10.0.0.1 4711 80\r\n",
        b"PROXY TCP4 192.0.2.01 10.0.0.1 4711 80\r\n",
        b"PROXY TCP4 192.0.2.1 10.0.0 4711 80\r\n",
        b"PROXY TCP4 192.0.2.1 10.0.0.1 65536 80\r\n",
        b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 080\r\n",
        b"PROXY TCP4 192.0.2.1 10.0.0.1 -1 80\r\n",
        b"PROXY TCP4 2001:db8::1 fd00::1 4711 80\r\n",
        b"PROXY TCP4 192.0.2.1 fd00::1 4711 80\r\n",
        b"PROXY TCP6 192.0.2.1 10.0.0.1 4711 80\r\n",
        b"PROXY TCP6 fe80::1%lo fd00::1 4711 80\r\n",
        b"PROXY TCP6 [2001:db8::1] fd00::1 4711 80\r\n",
        b"PROXY UDP4 192.0.2.1 10.0.0.1 4711 80\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY \r\n",
        b"PROXY UNKNOWN".ljust(V1_LIMIT - 1) + b"\r\n",
        b"PROXY ".ljust(V1_LIMIT, b"x"),
        v2(0x11, 0x11, IPV4),
        v2(0x31, 0x11, IPV4),
        v2(0x22, 0x11, IPV4),
        v2(0x2F, 0x11, IPV4),
        v2(0x21, 0x11, IPV4[:-1]),
        v2(0x21, 0x11, b""),
        v2(0x21, 0x21, IPV6[:-1]),
        v2(0x21, 0x21, IPV4),
        v2(0x21, 0x31, bytes(215)),
        v2(0x21, 0x12, IPV4),
        v2(0x21, 0x22, IPV6),
        v2(0x21, 0x10, IPV4),
        v2(0x21, 0x01, b""),
        v2(0x21, 0x41, bytes(216)),
        v2(0x21, 0x11, IPV4, size=V2_LIMIT - 15),
        v2(0x20, 0x00, b"", size=65535),
    ],
)
def test_what_is_no_header(header: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (several kinds of mistakes)
        read_header(header)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, Plain]]:
    proxy, ours = socket.socketpair()
    with proxy:
        way = Plain(ours.family, ours.type, ours.proto, ours.detach())
        way.setblocking(False)
        yield proxy, way
        way.close()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("header", [GOOD[0][0], GOOD[8][0], GOOD[9][0]])
def test_a_header_may_come_in_pieces(
    pair: tuple[socket.socket, Plain], header: bytes, seed: int
) -> None:
    proxy, way = pair
    begun, source = b"", None
    for piece in in_pieces(header + b"request", seed):
        proxy.sendall(piece)
        if source is None:
            begun, source = take_header(way, begun)
            assert source in {None, "192.0.2.1"}
    assert way.recv(100) == b"request"


@pytest.mark.parametrize("sent", [b"", GOOD[0][0][:20], GOOD[7][0][:-1], b"GET / HTTP/1.1\r\n\r\n"])
def test_what_does_not_begin_with_a_header_is_broken_off(
    pair: tuple[socket.socket, Plain], sent: bytes
) -> None:
    proxy, way = pair
    proxy.sendall(sent)
    proxy.shutdown(socket.SHUT_WR)
    if sent.startswith(b"GET"):
        with pytest.raises(ValueError, match="no header"):
            take_header(way, b"")
        return
    begun = take_header(way, b"")[0] if sent else b""
    with pytest.raises(ConnectionAbortedError):
        take_header(way, begun)
