"""TLS as a transport, on top of `ssl.MemoryBIO`, so that no call blocks (RFC 8446).

A non-blocking `ssl.SSLSocket` is not used, because a call that sent nothing would have to be
repeated with exactly the same bytes. Here, encrypted bytes are kept until the kernel has accepted
them, and the plain ones count as sent only then.

The client's first message, the ClientHello, is parsed before OpenSSL gets it:

- The server name in it selects the SSL context, so a session of one name is never resumed under
  another.
- A client that offers only other protocols than HTTP/1.1 (ALPN) is refused.
- A client that demands a finite-field key exchange is refused: it may cost 200 ms (CVE-2002-20001).
- A client that sends a request without TLS gets a response with the HTTPS URL.
"""

from __future__ import annotations

import contextlib
import re
import ssl
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

from portico.http.dates import imf_fixdate
from portico.http.fields import host_name
from portico.http.h1.serialize import CLOSE, Head
from portico.server.net.listeners import HTTPS, url_of
from portico.server.net.loop import LAST, WRITE
from portico.site.origin.fingerprint import read_at
from portico.site.pages.errors import error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NoReturn

    from portico.server.net.transport import Plain

    Buffer = bytes | memoryview

PROTOCOL = b"http/1.1"
"""The application protocol inside TLS, as ALPN names it (RFC 7301)."""
ENCRYPTED_AT_ONCE = 32 << 10
"""Bytes that are encrypted in one call: two records. OpenSSL keeps a buffer of that size for as
long as the connection lives."""
SENT_AT_ONCE = 256 << 10
"""Most bytes that one call sends, however fast the client takes them."""
RECEIVED_FIRST, RECEIVED_AT_ONCE = 4 << 10, 64 << 10
"""Most bytes received in the first call (enough for a request), and in any call (four records)."""
RECORDS_AT_ONCE = 16
"""About as many records are received in one call, so that a client that sends small records does
not get more time than others."""
HELLO_LIMIT = 16384
"""Most bytes of a ClientHello, or of the head of a request without TLS."""
HELLO_RECORDS = 8
"""Most records that a ClientHello may be split into."""

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _GROUPS, _ALPN, _KEY_SHARE = 0, 10, 16, 51
_EXTENSION = struct.Struct(">HH")
"""The type of an extension, and its length; also the group of a key share, and its length."""
_GROUP = struct.Struct(">H")
_CURVES = frozenset({23, 24, 25, 29, 30})
"""secp256r1, secp384r1, secp521r1, x25519 and x448 (RFC 8446, 4.2.7)."""
_FINITE_FIELDS = range(0x0100, 0x0200)
"""ffdhe2048 to ffdhe8192, and the range reserved for further groups (RFC 7919)."""
_HANDSHAKE_FAILURE = b"\x15\x03\x03\x00\x02\x02\x28"
_NO_APPLICATION_PROTOCOL = b"\x15\x03\x03\x00\x02\x02\x78"
"""TLS records with fatal alerts (RFC 8446, 6.2; RFC 7301, 3.2)."""
_KINDS = {
    "commonName": "CN", "countryName": "C", "domainComponent": "DC", "localityName": "L",
    "organizationName": "O", "organizationalUnitName": "OU", "stateOrProvinceName": "ST",
    "userId": "UID",
}  # fmt: skip
"""Short names of the attribute types in a subject (RFC 4514, 3), by the names in `ssl`."""
_SPECIAL, _ESCAPED = re.compile(r'[,+"\\<>;]'), r"\\\g<0>"
_HOST = re.compile(rb"\r\nHost:[ \t]*([!-~]+)[ \t]*\r\n", re.IGNORECASE)


class Tls:
    """An encrypted connection over `plain`, which must be non-blocking; a `transport.Transport`.

    `choose(name)` returns the SSL context for a server name. Each `receive` continues the
    handshake; nothing may be sent before a `receive` has returned. If the handshake fails,
    `failed(name, problem)` is called. `are_meant(host)` tells whether a host is one of this
    server: see `site.hosts`.
    """

    __slots__ = (
        "_are_meant",
        "_choose",
        "_encrypted",
        "_failed",
        "_hello",
        "_incoming",
        "_is_established",
        "_is_reset",
        "_is_told",
        "_most",
        "_name",
        "_outgoing",
        "_owed",
        "_plain",
        "_tls",
        "subject",
    )

    def __init__(
        self,
        plain: Plain,
        choose: Callable[[str], ssl.SSLContext],
        failed: Callable[[str, Exception], None],
        are_meant: Callable[[str], bool],
    ) -> None:
        self._plain = plain
        self._choose = choose
        self._failed = failed
        self._are_meant = are_meant
        self._most = RECEIVED_FIRST  # bytes to receive in the next call
        self._name = ""  # the server name in the ClientHello
        self.subject: list[str] = []
        """Empty during the handshake; then the subject of the client's certificate is appended, or
        "" without a certificate. A list, so that whoever keeps it need not keep the connection."""
        self._hello = b""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None  # None until the ClientHello is complete
        self._is_established = self._is_reset = False
        self._is_told = False  # whether a client without TLS has got the HTTPS URL
        self._encrypted: Buffer = b""  # encrypted bytes that the kernel has not accepted yet
        # Plain bytes that were encrypted, but not yet reported to the caller as sent.
        self._owed = 0

    def fileno(self) -> int:
        """Return the file descriptor that the loop watches."""
        return self._plain.fileno()

    def readiness(self, wanted: int, /) -> int:
        """Return the events that the loop has to wait for when the connection waits for `wanted`.

        Encrypted bytes are sent first, and nothing is received meanwhile: otherwise a client that
        sends and does not read would keep the loop busy. A step of a handshake takes as long as
        tens of requests, so it is LAST.
        """
        if self._encrypted and wanted:
            return WRITE
        return wanted if self._is_established else wanted | LAST

    def receive(self, _most: int, /) -> bytes:
        """Receive and decrypt; return the plain bytes, b"" if the client has ended its side.

        Raises BlockingIOError if there is none yet, as during the handshake.
        """
        self._flush()
        octets = self._plain.recv(self._most)
        if self._tls is None:
            if not octets:
                return b""
            self._tls = self._begin(octets)
        elif octets:
            self._incoming.write(octets)
        else:
            self._incoming.write_eof()
        if not self._is_established:
            self._shake_hands(self._tls)
        pieces = self._decrypt(self._tls)
        if len(octets) == self._most:
            suitable = self._most * RECORDS_AT_ONCE // max(1, len(pieces))
            self._most = min(max(suitable, 256), RECEIVED_AT_ONCE)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def send(self, octets: Buffer, flags: int = 0, /) -> int:
        """Encrypt and send as many of `octets` as there is room for; return how many were sent."""
        if len(octets) > ENCRYPTED_AT_ONCE:
            view = memoryview(octets)
            return self._send_parts(lambda at, count: view[at : at + count], len(octets), flags)
        if octets and not self._owed:
            self._encrypt(octets)
        self._flush(flags)
        return self._take_owed(len(octets))

    def send_pieces(self, pieces: Sequence[Buffer], flags: int = 0, /) -> int:
        """Send `pieces`, joined, up to about ENCRYPTED_AT_ONCE; return the number of bytes sent."""
        count, size = 0, 0
        while size < ENCRYPTED_AT_ONCE and count < len(pieces):
            size += len(pieces[count])
            count += 1
        if count == 1:
            return self.send(pieces[0], flags)
        return self.send(b"".join(pieces[:count]), flags)

    def send_file(self, fd: int, offset: int, count: int, /) -> int:
        """Send up to `count` bytes of an open file; return how many, 0 at the file's end."""
        return self._send_parts(lambda at, some: read_at(fd, some, offset + at), count, 0)

    def expect(self, length: int, /) -> None:
        """Prepare to receive content of `length` bytes, or of unknown length if it is CHUNKED."""
        self._plain.expect(length)

    def unread(self) -> int:
        """Return the number of sent bytes that the client has not acknowledged (0: unknown)."""
        return self._plain.unread()

    def shut_down_sending(self) -> None:
        """End the TLS session and close the sending side; receiving remains possible."""
        self._say_goodbye()
        self._plain.shut_down_sending()

    def reset_when_closed(self) -> None:
        """Make `close` reset the connection, so that the response does not look complete."""
        self._is_reset = True
        self._plain.reset_when_closed()

    def close(self) -> None:
        """Close the connection; end the TLS session first, unless the connection is to be reset."""
        if not self._is_reset:
            with contextlib.suppress(OSError):
                self._say_goodbye()
        self._plain.close()

    # The handshake

    def _begin(self, octets: bytes) -> ssl.SSLObject:
        """Take `octets` of the ClientHello; once it is complete, return an object for its context.

        Raises BlockingIOError until then, ConnectionAbortedError if the client is refused.
        """
        if self._is_told:
            raise BlockingIOError  # until the client, which has got its response, closes
        self._hello += octets
        if self._hello[0] != _HANDSHAKE:
            self._tell_of_https()
        message = client_hello(self._hello)
        if message is None:
            raise BlockingIOError
        hello = read_hello(message)
        self._name = hello.name
        if hello.protocols and PROTOCOL not in hello.protocols:
            self._refuse(_NO_APPLICATION_PROTOCOL, "it speaks other protocols only, not HTTP/1.1")
        if is_cut(message) or hello.is_costly:
            self._refuse(_HANDSHAKE_FAILURE, "its hello is too long, or demands too much")
        self._incoming.write(self._hello)
        self._hello = b""
        return self._choose(self._name).wrap_bio(self._incoming, self._outgoing, server_side=True)

    def _refuse(self, alert: bytes, why: str) -> NoReturn:
        problem = ConnectionAbortedError(why)
        self._failed(self._name, problem)
        self._plain.send(alert)
        raise problem

    def _tell_of_https(self) -> None:
        """Answer a request without TLS once its head is complete. Always raises BlockingIOError."""
        if b"\r\n\r\n" in self._hello or len(self._hello) > HELLO_LIMIT:
            self._is_told = True
            found = _HOST.search(self._hello)
            host = found[1].decode("ascii") if found else ""
            is_own = host_name(host) != "" and self._are_meant(host)
            url = f"https://{host}/" if is_own else url_of(self._plain, HTTPS)
            self._plain.send(explain_https(url))
            self._plain.shut_down_sending()
            self._hello = b""
        raise BlockingIOError

    def _shake_hands(self, tls: ssl.SSLObject) -> None:
        try:
            tls.do_handshake()
            self._is_established = True
            self.subject.append(subject_of(tls.getpeercert()))
        except ssl.SSLWantReadError:
            self._collect()
            self._flush()
            raise BlockingIOError from None
        except ssl.SSLError as problem:
            self._failed(self._name, problem)
            raise

    def _decrypt(self, tls: ssl.SSLObject) -> list[bytes]:
        pieces = []
        try:
            while piece := tls.read(RECEIVED_AT_ONCE):
                pieces.append(piece)
                if not (self._incoming.pending or tls.pending()):
                    break  # a read that finds nothing would raise, which costs more than this check
        except ssl.SSLWantReadError:
            if not pieces:
                self._collect()  # OpenSSL may have to send session tickets, or a key update
                self._flush()
                raise BlockingIOError from None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass
        return pieces

    # Sending

    def _send_parts(self, part: Callable[[int, int], Buffer], count: int, flags: int) -> int:
        """Send up to SENT_AT_ONCE of `count` bytes, as far as there is room; return how many.

        `part(offset, size)` returns the bytes to send next, and no bytes at the end of a file.
        """
        sent, most = 0, min(count, SENT_AT_ONCE)
        try:
            while sent < most:
                if not self._owed:
                    octets = part(sent, min(count - sent, ENCRYPTED_AT_ONCE))
                    if not octets:
                        break
                    self._encrypt(octets)
                self._flush(flags)
                sent += self._take_owed(count - sent)
        except BlockingIOError:
            if not sent:
                raise
        return sent

    def _encrypt(self, octets: Buffer) -> None:
        assert self._tls is not None  # noqa: S101 (nothing is sent before the handshake)
        self._owed = self._tls.write(octets)
        self._collect()

    def _take_owed(self, most: int) -> int:
        """Count up to `most` owed bytes as reported to the caller; return how many."""
        sent = min(self._owed, most)
        self._owed -= sent
        return sent

    def _collect(self) -> None:
        """Append the output of OpenSSL to the encrypted bytes that wait to be sent."""
        if self._outgoing.pending:
            new = self._outgoing.read()
            self._encrypted = b"".join((self._encrypted, new)) if self._encrypted else new

    def _flush(self, flags: int = 0) -> None:
        """Hand all encrypted bytes to the kernel. Raises BlockingIOError if it has no room."""
        while self._encrypted:
            sent = self._plain.send(self._encrypted, flags)
            whole = sent == len(self._encrypted)
            self._encrypted = b"" if whole else memoryview(self._encrypted)[sent:]

    def _say_goodbye(self) -> None:
        """Send the encrypted bytes and a close_notify alert, or the alert of a failed handshake.

        See RFC 8446, 6.1 and 6.2. What the kernel has no room for is dropped.
        """
        if self._tls is not None and self._is_established:
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
        self._collect()
        with contextlib.suppress(BlockingIOError):
            self._flush()


def client_hello(octets: bytes) -> bytes | None:
    """Return the ClientHello in the TLS records that `octets` begin with; None if incomplete.

    The message is cut short if it is too long (see `is_cut`), and empty if it is not a ClientHello:
    OpenSSL then fails the handshake with the right alert.
    """
    message, at = b"", 0
    for _ in range(HELLO_RECORDS):
        if len(octets) < at + 5:
            return None
        size = int.from_bytes(octets[at + 3 : at + 5], "big")
        message += octets[at + 5 : at + 5 + size]
        at += 5 + size
        if octets[at - 5 - size] != _HANDSHAKE or (message and message[0] != _CLIENT_HELLO):
            return b""
        length = 4 + int.from_bytes(message[1:4], "big")
        if length > HELLO_LIMIT or (len(message) >= 4 and len(message) >= length):
            return message
        if len(octets) < at:
            return None
    return message


def is_cut(message: bytes) -> bool:
    """Return whether `message` is only the beginning of its ClientHello, which is too long."""
    return len(message) >= 4 and len(message) < 4 + int.from_bytes(message[1:4], "big")


class Hello(NamedTuple):
    """Extensions of a ClientHello; empty if absent, or if the message is malformed."""

    name: str = ""
    """The server name, in lower case."""
    protocols: Sequence[bytes] = ()
    """The application protocols that the client offers (ALPN)."""
    groups: Sequence[int] = ()
    """The groups for key exchange that the client supports."""
    shares: Sequence[int] = ()
    """The groups for which the client has sent a key share."""

    @property
    def is_costly(self) -> bool:
        """Whether OpenSSL might choose a finite-field key exchange. No usual client asks for that.

        OpenSSL chooses the first key share that it can use, else a group that both sides support.
        The module `ssl` cannot exclude groups.
        """
        if any(group in _FINITE_FIELDS for group in self.shares):
            return True
        return _CURVES.isdisjoint(self.groups) and any(
            group in _FINITE_FIELDS for group in self.groups
        )


def read_hello(message: bytes) -> Hello:
    """Parse a ClientHello (RFC 8446, 4.1.2). A malformed one gives an empty Hello."""
    name, protocols, groups, shares = "", list[bytes](), list[int](), list[int]()
    try:
        at = 4 + 2 + 32  # message type and length, version, random
        at += 1 + message[at]  # the session id
        at += 2 + int.from_bytes(message[at : at + 2], "big")  # the cipher suites
        at += 1 + message[at]  # the compression methods
        end = min(len(message), at + 2 + int.from_bytes(message[at : at + 2], "big"))
        at += 2
        while at + 4 <= end:
            kind, size = _EXTENSION.unpack_from(message, at)
            at += 4
            if kind == _SERVER_NAME and message[at + 2] == 0:
                length = int.from_bytes(message[at + 3 : at + 5], "big")
                name = message[at + 5 : at + 5 + length].decode("ascii", "replace").lower()
            elif kind == _ALPN:
                protocols = _protocols(message[at + 2 : at + size])
            elif kind == _GROUPS:
                groups = [group for (group,) in _GROUP.iter_unpack(message[at + 2 : at + size])]
            elif kind == _KEY_SHARE:
                shares = _shares(message[at + 2 : at + size])
            at += size
    except (IndexError, struct.error):
        return Hello()
    return Hello(name, protocols, groups, shares)


def _protocols(octets: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(octets):
        found.append(octets[at + 1 : at + 1 + octets[at]])
        at += 1 + octets[at]
    return found


def _shares(octets: bytes) -> list[int]:
    found, at = [], 0
    while at + 4 <= len(octets):
        group, size = _EXTENSION.unpack_from(octets, at)
        found.append(group)
        at += 4 + size
    return found


def subject_of(certificate: Mapping[str, Any] | None) -> str:
    """Return the subject of a certificate as SSLObject.getpeercert returns it, as in RFC 4514."""
    pairs = [pair for names in (certificate or {}).get("subject", ()) for pair in names]
    return ",".join(
        [f"{_KINDS.get(kind, kind)}={_SPECIAL.sub(_ESCAPED, name)}" for kind, name in pairs[::-1]]
    )


def explain_https(url: str) -> bytes:
    """Return the bytes of the response to a request without TLS; it names the HTTPS `url`."""
    response = error(400, None, f"This port speaks HTTPS. The address is {url}")
    octets = [piece.in_memory or b"" for piece in response.content]
    date = imf_fixdate(int(time.time())).encode("ascii")
    return Head(400, response.fields, CLOSE).octets(date) + b"".join(octets)
