"""TLS as a transport: octets through `ssl.MemoryBIO`, so that nothing ever waits (RFC 8446).

A non-blocking `ssl.SSLSocket` would demand that a call which sent nothing is repeated with the very
same octets. Here what was encrypted is kept until the kernel has taken it, and only then counts as
sent.

The client's first message, the ClientHello, is read before OpenSSL has it: the name of the server
in it chooses the context, so a session of one name is never resumed under another; a client that
speaks other protocols only (ALPN) is refused, and so is one that demands a key exchange by a finite
field, which may cost 200 ms (CVE-2002-20001); and one that speaks no TLS is told so.
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
"""The protocol that is spoken inside (RFC 7301)."""
ENCRYPTED_AT_ONCE = 32 << 10
"""Octets that are encrypted in one call: two records. OpenSSL keeps a buffer of that size for as
long as the connection lives."""
SENT_AT_ONCE = 256 << 10
"""Octets that one call sends at most, however fast the client takes them."""
RECEIVED_FIRST, RECEIVED_AT_ONCE = 4 << 10, 64 << 10
"""Octets that are received in the first call, and in any: a request, and four records."""
RECORDS_AT_ONCE = 16
"""Records that are received in one call: who sends small ones has as much time as others."""
HELLO_LIMIT = 16384
"""Octets in which a ClientHello must end, or the head of a request without TLS."""
HELLO_RECORDS = 8
"""Records over which it may be spread."""

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _GROUPS, _ALPN, _KEY_SHARE = 0, 10, 16, 51
_EXTENSION = struct.Struct(">HH")
"""The kind of an extension, and its length; also the group of a key share, and its length."""
_GROUP = struct.Struct(">H")
_CURVES = frozenset({23, 24, 25, 29, 30})
"""secp256r1, secp384r1, secp521r1, x25519 and x448 (RFC 8446, 4.2.7)."""
_FINITE_FIELDS = range(0x0100, 0x0200)
"""ffdhe2048 to ffdhe8192, and what is reserved for more (RFC 7919)."""
_HANDSHAKE_FAILURE = b"\x15\x03\x03\x00\x02\x02\x28"
_NO_APPLICATION_PROTOCOL = b"\x15\x03\x03\x00\x02\x02\x78"
"""Fatal alerts (RFC 8446, 6.2; RFC 7301, 3.2), as records."""
_KINDS = {
    "commonName": "CN", "countryName": "C", "domainComponent": "DC", "localityName": "L",
    "organizationName": "O", "organizationalUnitName": "OU", "stateOrProvinceName": "ST",
    "userId": "UID",
}  # fmt: skip
"""The kinds of names in a subject (RFC 4514, 3)."""
_SPECIAL, _ESCAPED = re.compile(r'[,+"\\<>;]'), r"\\\g<0>"
_HOST = re.compile(rb"\r\nHost:[ \t]*([!-~]+)[ \t]*\r\n", re.IGNORECASE)


class Tls:
    """An encrypted connection over `plain`, which must not block; a `transport.Transport`.

    `choose` returns the context for the name of a server. The handshake goes on with each
    `receive`, and nothing may be sent before one has returned. If it fails, `failed` is told for
    which name and why. `are_meant` says whether a host is one of this server: see `site.hosts`.
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
        self._most = RECEIVED_FIRST  # octets that are received in one call
        self._name = ""  # of the server, as the client asks for it
        self.subject: list[str] = []
        """The subject of the client's certificate, once `receive` has returned; "" without one. It
        is in a list, so that who keeps it need not keep the connection."""
        self._hello = b""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None  # once the ClientHello is there
        self._is_established = self._is_reset = False
        self._is_told = False  # that this is TLS, and it speaks none
        self._encrypted: Buffer = b""  # what the kernel has not taken yet
        self._owed = 0  # octets in it, or sent since, that the caller does not know to be sent

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._plain.fileno()

    def readiness(self, wanted: int, /) -> int:
        """Return the events to wait for when the connection waits for `wanted`.

        What is encrypted goes out first, and nothing is received meanwhile: else a client that
        sends and does not read would have the loop turn without an end. A step of a handshake takes
        as long as tens of requests, so it comes after all else.
        """
        if self._encrypted and wanted:
            return WRITE
        return wanted if self._is_established else wanted | LAST

    def receive(self, _most: int, /) -> bytes:
        """Return all that has come and can be decrypted; b"" when the client sends no more."""
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
        """Send octets, as many as there is room for; return how many the kernel has now."""
        if len(octets) > ENCRYPTED_AT_ONCE:
            view = memoryview(octets)
            return self._send_parts(lambda at, count: view[at : at + count], len(octets), flags)
        if octets and not self._owed:
            self._encrypt(octets)
        self._flush(flags)
        return self._take_owed(len(octets))

    def send_pieces(self, pieces: Sequence[Buffer], flags: int = 0, /) -> int:
        """Send the first of several pieces as if they were one."""
        count, size = 0, 0
        while size < ENCRYPTED_AT_ONCE and count < len(pieces):
            size += len(pieces[count])
            count += 1
        if count == 1:
            return self.send(pieces[0], flags)
        return self.send(b"".join(pieces[:count]), flags)

    def send_file(self, fd: int, offset: int, count: int, /) -> int:
        """Send `count` octets of an open file; return how many, 0 at the file's end."""
        return self._send_parts(lambda at, some: read_at(fd, some, offset + at), count, 0)

    def expect(self, length: int, /) -> None:
        """Prepare for so many octets of content; CHUNKED if that is not known."""
        self._plain.expect(length)

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

    # The handshake

    def _begin(self, octets: bytes) -> ssl.SSLObject:
        """Take some of the ClientHello; once it is whole, choose the context."""
        if self._is_told:
            raise BlockingIOError  # until the client has read it, and closes
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
        """Answer a request without TLS once its head is there. Always raises."""
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
                    break  # to try in vain would cost more
        except ssl.SSLWantReadError:
            if not pieces:
                self._collect()  # new sessions, a key update
                self._flush()
                raise BlockingIOError from None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass
        return pieces

    # Sending

    def _send_parts(self, part: Callable[[int, int], Buffer], count: int, flags: int) -> int:
        """Send what `part` returns of `count` octets, at an offset, as far as there is room."""
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
        """Return how many octets are sent that the caller has not been told of, at most `most`."""
        sent = min(self._owed, most)
        self._owed -= sent
        return sent

    def _collect(self) -> None:
        """Take what OpenSSL has encrypted."""
        if self._outgoing.pending:
            new = self._outgoing.read()
            self._encrypted = b"".join((self._encrypted, new)) if self._encrypted else new

    def _flush(self, flags: int = 0) -> None:
        """Hand what is encrypted to the kernel. Raises BlockingIOError if it does not take all."""
        while self._encrypted:
            sent = self._plain.send(self._encrypted, flags)
            whole = sent == len(self._encrypted)
            self._encrypted = b"" if whole else memoryview(self._encrypted)[sent:]

    def _say_goodbye(self) -> None:
        """Send what is left, and the end of the session (RFC 8446, 6.1), or why it has failed."""
        if self._tls is not None and self._is_established:
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
        self._collect()
        with contextlib.suppress(BlockingIOError):
            self._flush()


def client_hello(octets: bytes) -> bytes | None:
    """Return the message that TLS records begin with; None if more has to come.

    It is cut short where it is too long, and empty where it is no ClientHello: OpenSSL will say
    what is wrong with that.
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
    """Return whether a ClientHello is longer than what is read of it."""
    return len(message) >= 4 and len(message) < 4 + int.from_bytes(message[1:4], "big")


class Hello(NamedTuple):
    """What a ClientHello says; empty where it says nothing, or cannot be read."""

    name: str = ""
    """The name of the server, in lower case."""
    protocols: Sequence[bytes] = ()
    """Those that the client speaks inside."""
    groups: Sequence[int] = ()
    """Ways to exchange keys that the client knows."""
    shares: Sequence[int] = ()
    """Those for which it has sent its share."""

    @property
    def is_costly(self) -> bool:
        """Whether keys would be exchanged by a finite field, which no usual client asks for.

        OpenSSL takes the first share that it can use, else what both sides know; `ssl` cannot tell
        it which groups to leave out.
        """
        if any(group in _FINITE_FIELDS for group in self.shares):
            return True
        return _CURVES.isdisjoint(self.groups) and any(
            group in _FINITE_FIELDS for group in self.groups
        )


def read_hello(message: bytes) -> Hello:
    """Return what a ClientHello says (RFC 8446, 4.1.2)."""
    name, protocols, groups, shares = "", list[bytes](), list[int](), list[int]()
    try:
        at = 4 + 2 + 32  # its kind and length, the version, the random octets
        at += 1 + message[at]  # the session
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
    """Return the subject of what SSLObject.getpeercert returns, as RFC 4514 has it."""
    pairs = [pair for names in (certificate or {}).get("subject", ()) for pair in names]
    return ",".join(
        [f"{_KINDS.get(kind, kind)}={_SPECIAL.sub(_ESCAPED, name)}" for kind, name in pairs[::-1]]
    )


def explain_https(url: str) -> bytes:
    """Return the response to a request without TLS, with the URL at which it should be sent."""
    response = error(400, None, f"This port speaks HTTPS. The address is {url}")
    octets = [piece.in_memory or b"" for piece in response.content]
    date = imf_fixdate(int(time.time())).encode("ascii")
    return Head(400, response.fields, CLOSE).octets(date) + b"".join(octets)
