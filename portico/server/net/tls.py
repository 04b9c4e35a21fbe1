"""TLS as a transport: octets through `ssl.MemoryBIO`, so that nothing ever waits (RFC 8446).

A non-blocking `ssl.SSLSocket` would demand that a call which sent nothing is repeated with the very
same octets. Here what was encrypted is kept until the kernel has taken it, and only then counts as
sent.

The client's first message, the ClientHello, is read before OpenSSL has it: the name of the server
in it chooses the certificate, so a session of one name is never resumed under another; a client
that speaks other protocols only (ALPN) is refused; and one that speaks no TLS is told so.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING

from portico.server.net.loop import READ, WRITE
from portico.site.origin.fingerprint import read_at

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from portico.server.net.transport import Plain

    Buffer = bytes | memoryview
    Choose = Callable[[str], ssl.SSLContext]
    Explain = Callable[[bytes], bytes]

PROTOCOL = b"http/1.1"
"""The protocol that is spoken inside (RFC 7301)."""
ENCRYPTED_AT_ONCE = 128 << 10
"""Octets that are encrypted in one call: eight records."""
RECEIVED_AT_ONCE = 64 << 10
"""Octets that are received in one call: four records."""
HELLO_LIMIT = 16384 + 5
"""Octets of the record in which a ClientHello is looked for."""

_HANDSHAKE_RECORD, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _ALPN = 0, 16
_NO_APPLICATION_PROTOCOL = b"\x15\x03\x03\x00\x02\x02\x78"
"""A fatal alert (RFC 7301, 3.2), as a record."""


class Tls:
    """An encrypted connection over `plain`, which must not block; a `transport.Transport`.

    `choose` returns the context for the name of a server, `explain` what a client is sent that
    began with the given octets and speaks no TLS. The handshake goes on with each `receive`.
    """

    __slots__ = (
        "_choose",
        "_encrypted",
        "_explain",
        "_hello",
        "_incoming",
        "_is_established",
        "_is_reset",
        "_outgoing",
        "_owed",
        "_plain",
        "_tls",
    )

    def __init__(self, plain: Plain, choose: Choose, explain: Explain) -> None:
        self._plain = plain
        self._choose = choose
        self._explain = explain
        self._hello = b""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None  # once the ClientHello is there
        self._is_established = self._is_reset = False
        self._encrypted = memoryview(b"")  # what the kernel has not taken yet
        self._owed = 0  # octets in it that the caller does not know to be sent

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._plain.fileno()

    def readiness(self, wanted: int, /) -> int:
        """Return the events to wait for when the connection waits for `wanted`.

        A handshake needs to be read, and what was encrypted has to go out in any case.
        """
        if not self._is_established:
            wanted = READ
        return wanted | WRITE if self._encrypted and wanted else wanted

    def receive(self, _most: int, /) -> bytes:
        """Return all that has come and can be decrypted; b"" when the client sends no more."""
        self._flush()
        octets = self._plain.recv(RECEIVED_AT_ONCE)
        if self._tls is None:
            if not octets:
                return b""
            self._begin(octets)
        elif octets:
            self._incoming.write(octets)
        else:
            self._incoming.write_eof()
        if not self._is_established:
            self._shake_hands()
        return self._decrypt()

    def send(self, octets: Buffer, _flags: int = 0, /) -> int:
        """Send octets, as many as there is room for; return how many the kernel has now."""
        if not self._encrypted:
            count = min(len(octets), ENCRYPTED_AT_ONCE)
            self._encrypt(octets[:count], count)
        self._flush()
        sent, self._owed = self._owed, 0
        return sent

    def send_pieces(self, pieces: Sequence[Buffer], _flags: int = 0, /) -> int:
        """Send several pieces as if they were one."""
        return self.send(b"".join(pieces) if not self._encrypted else b"")

    def send_file(self, fd: int, offset: int, count: int, /) -> int:
        """Send `count` octets of an open file; return how many, 0 at the file's end."""
        if self._encrypted:
            return self.send(b"")
        octets = read_at(fd, min(count, ENCRYPTED_AT_ONCE), offset)
        return self.send(octets) if octets else 0

    def unread(self) -> int:
        """Return how many octets the client has not taken; 0 where the system does not tell."""
        return self._plain.unread()

    def shut_down_sending(self) -> None:
        """Tell the client that nothing more will be sent, and go on receiving."""
        self._say_goodbye()
        self._plain.shut_down_sending()

    def reset_when_closed(self) -> None:
        """Have `close` break the connection, so that what was sent does not look complete."""
        self._is_reset = True
        self._plain.reset_when_closed()

    def close(self) -> None:
        """Close the connection; a client that has all of it is told that this is the end."""
        if not self._is_reset:
            with contextlib.suppress(OSError):
                self._say_goodbye()
        self._plain.close()

    def _begin(self, octets: bytes) -> None:
        """Take some of the ClientHello; once it is whole, choose the context."""
        self._hello += octets
        if self._hello[0] != _HANDSHAKE_RECORD:
            with contextlib.suppress(OSError):
                self._plain.send(self._explain(self._hello))
            raise ConnectionAbortedError("the client speaks no TLS")
        size = 5 + int.from_bytes(self._hello[3:5], "big")
        if len(self._hello) < 5 or len(self._hello) < min(size, HELLO_LIMIT):
            raise BlockingIOError
        name, protocols = read_hello(self._hello[5:size])
        if protocols and PROTOCOL not in protocols:
            with contextlib.suppress(OSError):
                self._plain.send(_NO_APPLICATION_PROTOCOL)
            raise ConnectionAbortedError("the client speaks other protocols only")
        context = self._choose(name)
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._incoming.write(self._hello)
        self._hello = b""

    def _shake_hands(self) -> None:
        assert self._tls is not None  # noqa: S101 (`_begin` has made it)
        try:
            self._tls.do_handshake()
            self._is_established = True
        except ssl.SSLWantReadError:
            pass
        finally:  # an error has an alert to send, too
            self._collect()
        if not self._is_established:
            self._flush()
            raise BlockingIOError

    def _decrypt(self) -> bytes:
        assert self._tls is not None  # noqa: S101 (callers have looked)
        pieces = []
        try:
            while piece := self._tls.read(RECEIVED_AT_ONCE):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            self._collect()  # a key update, or new sessions
            if not pieces:
                self._flush()
                raise BlockingIOError from None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass
        return b"".join(pieces)

    def _encrypt(self, octets: Buffer, owed: int) -> None:
        assert self._tls is not None  # noqa: S101 (nothing is sent before the handshake)
        if owed:
            self._tls.write(octets)
        self._owed = owed
        self._collect()

    def _collect(self) -> None:
        if self._outgoing.pending:
            self._encrypted = memoryview(b"".join((self._encrypted, self._outgoing.read())))

    def _flush(self) -> None:
        """Hand what is encrypted to the kernel. Raises BlockingIOError if it does not take all."""
        while self._encrypted:
            self._encrypted = self._encrypted[self._plain.send(self._encrypted) :]

    def _say_goodbye(self) -> None:
        """Send what is left, and the end of the session (RFC 8446, 6.1)."""
        if self._tls is not None and self._is_established:
            with contextlib.suppress(ssl.SSLError, ValueError):
                self._tls.unwrap()
        self._collect()
        with contextlib.suppress(BlockingIOError):
            self._flush()


def read_hello(message: bytes) -> tuple[str, list[bytes]]:
    """Return the name of the server and the protocols in a ClientHello (RFC 8446, 4.1.2).

    The name is "" and there are no protocols where it has none, or cannot be read: then OpenSSL
    decides what is wrong with it.
    """
    name, protocols = "", []
    try:
        for kind, value in _extensions(message):
            if kind == _SERVER_NAME and value[2] == 0:
                length = int.from_bytes(value[3:5], "big")
                name = value[5 : 5 + length].decode("ascii", "replace").lower()
            elif kind == _ALPN:
                at = 2
                while at < len(value):
                    protocols.append(value[at + 1 : at + 1 + value[at]])
                    at += 1 + value[at]
    except IndexError:
        return "", []
    return name, protocols


def _extensions(message: bytes) -> list[tuple[int, bytes]]:
    if message[0] != _CLIENT_HELLO:
        return []
    at = 4 + 2 + 32  # its length, the version, the random octets
    at += 1 + message[at]  # the session
    at += 2 + int.from_bytes(message[at : at + 2], "big")  # the cipher suites
    at += 1 + message[at]  # the compression methods
    end = at + 2 + int.from_bytes(message[at : at + 2], "big")
    at += 2
    found = []
    while at < min(end, len(message)):
        kind, size = (int.from_bytes(message[at + i : at + i + 2], "big") for i in (0, 2))
        found.append((kind, message[at + 4 : at + 4 + size]))
        at += 4 + size
    return found
