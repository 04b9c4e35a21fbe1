"""The certificates of a server: which one for which name, and new ones when their files change.

Rules:
- A file is looked at every CHECK_SECONDS, also through links, and on a reload. What has changed is
  loaded into a new context by a thread; connections that are there keep the old one. If it cannot
  be used, the old one goes on, and that is reported once.
- The first pair serves names that no other has. A name is matched as RFC 6125, 6.4 does: a wildcard
  stands for one whole label on the left.
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

from portico.config.config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

CHECK_SECONDS = 5.0
"""How often the files are looked at."""

State = tuple[tuple[int, int, int], ...]
"""Inode, size and mtime_ns of each file, where its links lead."""


class Certificates:
    """Contexts for pairs of certificate and key files. `context_for` is for any thread."""

    def __init__(self, pairs: Sequence[tuple[str, str]], client_ca: str = "") -> None:
        """`client_ca` is a file of authorities; with it, clients need a certificate.

        Raises ConfigError for a file that cannot be used.
        """
        self._pairs = [tuple(map(_absolute, pair)) for pair in pairs]
        self._client_ca = _absolute(client_ca) if client_ca else ""
        self._state = self._look()
        self._contexts = self._load()
        self._refused: State = ()

    def context_for(self, name: str) -> ssl.SSLContext:
        """Return the context for a server of this name, in lower case."""
        contexts = self._contexts
        for names, context in contexts:
            if name in names or "*." + name.partition(".")[2] in names:
                return context
        return contexts[0][1]

    def has_changed(self) -> bool:
        """Return whether there is something to load."""
        return self._look() not in {self._state, self._refused}

    def reload(self, report: Callable[[str], None]) -> None:
        """Load what has changed, in a thread; tell `report` if that cannot be used."""
        state = self._look()
        try:
            self._contexts = self._load()
        except ConfigError as problem:
            self._refused = state
            report(f"{problem}; the certificate that was loaded before goes on")
        else:
            self._state = state

    def _look(self) -> State:
        found = []
        for path in (*(path for pair in self._pairs for path in pair), self._client_ca):
            try:
                status = os.stat(path) if path else None
            except OSError:
                status = None
            if status is not None:
                found.append((status.st_ino, status.st_size, status.st_mtime_ns))
            else:
                found.append((0, 0, 0))
        return tuple(found)

    def _load(self) -> list[tuple[frozenset[str], ssl.SSLContext]]:
        return [self._load_pair(certificate, key) for certificate, key in self._pairs]

    def _load_pair(self, certificate: str, key: str) -> tuple[frozenset[str], ssl.SSLContext]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.options |= getattr(ssl, "OP_NO_RENEGOTIATION", 0)
        context.set_ciphers(CIPHERS)
        context.set_alpn_protocols(["http/1.1"])
        path = certificate
        try:
            context.load_cert_chain(certificate, key, _refuse_password)
            if self._client_ca:
                path = self._client_ca
                context.load_verify_locations(path)
                context.verify_mode = ssl.CERT_REQUIRED
        except _LockedError:
            raise ConfigError(f"{key}: is protected by a password; give one without") from None
        except ssl.SSLError as problem:
            wrong = problem.reason or "cannot be read"
            raise ConfigError(
                f"{path}: {wrong.replace('_', ' ').lower()}; give a certificate and its key in PEM"
            ) from None
        except OSError as problem:
            missing = key if os.path.exists(path) else path
            raise ConfigError(f"{missing}: {problem.strerror}") from None
        return _names(context, certificate), context


CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!SHA1"
"""Of TLS 1.2: those with forward secrecy and authenticated encryption (RFC 9325, 4.2)."""


class _LockedError(Exception):
    """A key needs a password."""


def _refuse_password() -> str:
    raise _LockedError


def _absolute(path: str) -> str:
    return os.path.join(os.getcwd(), path)


def _names(context: ssl.SSLContext, certificate: str) -> frozenset[str]:
    """Return the names in a certificate, by a handshake with a client that trusts just this one."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    mode, context.verify_mode = context.verify_mode, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        client.load_verify_locations(certificate)
        ours = context.wrap_bio(to_server, to_client, server_side=True)
        theirs = client.wrap_bio(to_client, to_server)
        for side in (theirs, ours, theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
        found = theirs.getpeercert() or {}
    except ssl.SSLError:  # it has expired, so no client will take it either
        return frozenset()
    finally:
        context.verify_mode = mode
    names: Any = found.get("subjectAltName", ())  # pairs of a kind and a value
    return frozenset(value.lower() for kind, value in names if kind == "DNS")
