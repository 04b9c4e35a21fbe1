"""The certificates of a server: select one by server name, and reload them when files change.

Rules:
- The files are checked every few seconds, with symlinks followed, and on SIGHUP. Changed files that
  are equal in two consecutive checks are loaded into new SSL contexts by a thread; existing
  connections keep the old contexts. If the new files cannot be used, the old contexts stay in use,
  and that is reported once.
- The first pair of certificate and key is used for names that are in no other certificate. Names
  match as in RFC 6125, 6.4: a wildcard stands for one whole label on the left, and a certificate
  with the exact name takes precedence.
"""

from __future__ import annotations

import os
import ssl
import threading
from typing import TYPE_CHECKING

from portico.config.config import ConfigError
from portico.site.origin.fingerprint import why_unreadable

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from portico.config.config import Config

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!SHA1"
"""Cipher suites of TLS 1.2 with forward secrecy and authenticated encryption (RFC 9325, 4.2)."""
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL."""

State = tuple[tuple[int, int, int, int], ...]
"""Device, inode, size and mtime_ns of each file, with symlinks followed."""


class Certificates:
    """SSL contexts for the configured pairs of certificate and key. Thread-safe."""

    def __init__(self, config: Config) -> None:
        """Load the certificates and keys. Raises ConfigError for a file that cannot be used."""
        keys = config.tls_keys or config.tls_certs
        self._pairs = [
            (_absolute(certificate), _absolute(key))
            for certificate, key in zip(config.tls_certs, keys, strict=True)
        ]
        self._lock = threading.Lock()
        self._client_ca = _absolute(config.tls_client_ca) if config.tls_client_ca else ""
        self._state = self._seen = self._look()
        self._first, self._by_name = self._load()

    def context_for(self, name: str) -> ssl.SSLContext:
        """Return the context for a server name, which must be in lower case."""
        by_name = self._by_name
        return by_name.get(name) or by_name.get("*." + name.partition(".")[2]) or self._first

    def refresh(self, report: Callable[[str], None], *, now: bool = False) -> None:
        """Load the files again if they have changed; call `report` if they cannot be used.

        A change is loaded only if the previous call has seen it as well: before, a file may be only
        half written. With `now`, load in any case.
        """
        with self._lock:
            self._refresh(report, now=now)

    def _refresh(self, report: Callable[[str], None], *, now: bool) -> None:
        state = self._look()
        is_settled, self._seen = state == self._seen, state
        if not now and (state == self._state or not is_settled):
            return
        self._state = state
        try:
            self._first, self._by_name = self._load()
        except ConfigError as problem:
            report(f"{problem}; the certificates that were loaded before go on")

    def _look(self) -> State:
        found = []
        for path in (*(path for pair in self._pairs for path in pair), self._client_ca):
            try:
                status = os.stat(path)
            except OSError:
                found.append((0, 0, 0, 0))
            else:
                found.append((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
        return tuple(found)

    def _load(self) -> tuple[ssl.SSLContext, dict[str, ssl.SSLContext]]:
        """Return the context of the first pair, and the contexts by name."""
        contexts: list[ssl.SSLContext] = []
        by_name: dict[str, ssl.SSLContext] = {}
        for certificate, key in self._pairs:
            context = self._load_pair(certificate, key)
            for name in _names(context, certificate) if len(self._pairs) > 1 else ():
                by_name.setdefault(name, context)
            contexts.append(context)
        return contexts[0], by_name

    def _load_pair(self, certificate: str, key: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.options |= getattr(ssl, "OP_NO_RENEGOTIATION", 0)
        context.set_ciphers(CIPHERS)
        context.set_alpn_protocols(["http/1.1"])
        context.num_tickets = 1  # enough for the next connection, and cheaper than the default of 2
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
            raise ConfigError(_explain(problem, path, key)) from None
        except OSError as problem:
            unreadable = _unreadable(path, key)
            raise ConfigError(f"{unreadable}: {why_unreadable(unreadable, problem)}") from None
        return context


def _explain(problem: ssl.SSLError, path: str, key: str) -> str:
    reason = problem.reason or ""
    if reason == "KEY_VALUES_MISMATCH":
        return f"{key}: is not the key of the certificate in {path}; give them in the same order"
    if reason == "NO_START_LINE" or not reason:
        kind = "certificate and its key" if path == key else "certificate, or its key,"
        return f"{path}: there is no {kind} in PEM"
    return f"{path}: cannot be used: {reason.replace('_', ' ').lower()}"


def _unreadable(*paths: str) -> str:
    """Return the first of `paths` that cannot be opened."""
    for path in paths[:-1]:
        try:
            open(path, "rb").close()
        except OSError:
            return path
    return paths[-1]


class _LockedError(Exception):
    """A private key is protected by a password."""


def _refuse_password() -> str:
    raise _LockedError


def _absolute(path: str) -> str:
    return os.path.join(os.getcwd(), path)


def _names(context: ssl.SSLContext, certificate: str) -> frozenset[str]:
    """Return the DNS names in a certificate, in lower case; none if the certificate is unusable.

    `ssl` tells them only after a handshake, so this does one in memory, with a client that trusts
    only this certificate.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.verify_flags |= _NO_CHECK_TIME  # an expired certificate is still used for its names
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
    except ssl.SSLError:  # no other client would accept this certificate either
        return frozenset()
    finally:
        context.verify_mode = mode
    names: Any = found.get("subjectAltName", ())  # pairs of type and value
    return frozenset(value.lower() for kind, value in names if kind == "DNS")
