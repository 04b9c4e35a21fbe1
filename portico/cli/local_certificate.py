"""`--https`: a certificate for work on this machine, made once by the package `cryptography`.

A certificate authority of this user signs it, so a browser that trusts the authority also trusts
later certificates. Certificates and keys are in the user's state folder, which only the user can
read.

Rules:
- The certificate is for localhost, the machine's name and the machine's private addresses. When one
  of these is missing, or less than RENEWED_DAYS are left, a new certificate is made.
- The authority can sign only for these names and for private addresses (name constraints; RFC 5280,
  4.2.1.10), so its key is of little use to a thief. When the authority expires, or the machine has
  another name, a new authority is made, which browsers do not trust yet.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import socket
import sys
from typing import TYPE_CHECKING

from portico.config.config import Config, ConfigError
from portico.config.options import OPTIONS
from portico.server.net.listeners import own_addresses

if TYPE_CHECKING:
    from typing import Any

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey as Key
    from cryptography.x509 import Certificate, ExtensionType, KeyUsage

DAYS, AUTHORITY_DAYS = 397, 3650
"""How long a certificate and an authority are valid."""
RENEWED_DAYS = 30
"""How long before its expiry a certificate or an authority is replaced."""
SERVER, AUTHORITY = os.path.join("server", "localhost.pem"), "authority.pem"
"""Files: the server's certificate with its key, and the authority's certificate. They are in
different folders, because the sandbox lets the server read the folder of its certificate, and must
not let it read the authority's key (see `sandbox`)."""
_AUTHORITY_KEY = "authority.key"
_PRIVATE = (
    "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7",
)  # fmt: skip
"""The loopback and private networks (RFC 1918, RFC 4193)."""


def with_local_certificate(config: Config) -> tuple[Config, str]:
    """Return `config`, with --https with its certificate as --tls-cert, and a line about it.

    The line says how to trust the certificate's authority. Raises ConfigError.
    """
    try:
        import cryptography  # noqa: F401 (whether it is there)
    except ImportError:
        cure = "pip install 'portico-server[tls]', or give a certificate with --tls-cert"
        raise ConfigError(f"--https needs the package cryptography: {cure}") from None
    folder = state_folder()
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.makedirs(os.path.dirname(os.path.join(folder, SERVER)), mode=0o700, exist_ok=True)
        is_new = _Maker(folder).make()
    except (OSError, ValueError) as problem:
        raise ConfigError(f"--https: {folder} cannot be used; remove it: {problem}") from None
    given = {each.name: getattr(config, each.attribute) for each in OPTIONS}
    given = {name: value for name, value in given.items() if name in config.given}
    line = how_to_trust() if is_new else f"Certificate by {os.path.join(folder, AUTHORITY)}."
    return Config({**given, "tls_cert": (os.path.join(folder, SERVER),)}), line


def state_folder() -> str:
    """Return the path of the user's state folder for Portico (XDG Base Directory Specification)."""
    state = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):
        state = os.path.expanduser("~/.local/state")
    return os.path.join(state, "portico")


def how_to_trust() -> str:
    """Return a line with the command that makes this user's browsers trust the authority."""
    path = os.path.join(state_folder(), AUTHORITY)
    commands = {
        "darwin": f"security add-trusted-cert -k ~/Library/Keychains/login.keychain-db '{path}'",
        "win32": f'certutil -user -addstore Root "{path}"',
    }
    others = f"certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n Portico -i '{path}'"
    return f"Have browsers trust this, once: {commands.get(sys.platform, others)}"


class _Maker:
    """Makes the missing or expiring certificates in `folder`.

    All methods raise OSError, or ValueError for a file with bad content. `cryptography` is imported
    here, because the import takes a tenth of a second.
    """

    def __init__(self, folder: str) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        self._folder = folder
        self._x509, self._ec, self._serialization = x509, ec, serialization
        self._hash = hashes.SHA256()
        self._now = dt.datetime.now(dt.UTC)
        machine = socket.gethostname().lower()
        self._hosts = list(dict.fromkeys(["localhost", *([machine] if machine.isascii() else [])]))
        networks = [ipaddress.ip_network(network) for network in _PRIVATE]
        found = map(ipaddress.ip_address, ["127.0.0.1", "::1", *own_addresses()])
        self._addresses = [each for each in found if any(each in network for network in networks)]
        self._permitted = [
            *map(x509.DNSName, self._hosts),
            *map(x509.IPAddress, networks),
        ]

    def make(self) -> bool:
        """Make a server certificate unless there is a suitable one; and an authority likewise.

        Return whether the authority is new.
        """
        x509 = self._x509
        authority = self._read(AUTHORITY, x509.NameConstraints)
        is_known = authority is not None and authority[1].permitted_subtrees == self._permitted
        server = self._read(SERVER, x509.SubjectAlternativeName)
        names = [*map(x509.DNSName, self._hosts), *map(x509.IPAddress, self._addresses)]
        if is_known and server is not None and {*names} <= {*server[1]}:
            return False
        issuer_key: Any = None
        if authority is not None and is_known:
            issuer = authority[0]
            with open(os.path.join(self._folder, _AUTHORITY_KEY), "rb") as file:
                issuer_key = self._serialization.load_pem_private_key(file.read(), None)
        else:
            issuer_key = self._ec.generate_private_key(self._ec.SECP256R1())
            constraints = x509.NameConstraints(self._permitted, None)
            issuer = self._certificate(
                f"Portico on {self._hosts[-1]}", issuer_key, AUTHORITY_DAYS, None, issuer_key,
                (x509.BasicConstraints(ca=True, path_length=0), True), (constraints, True),
                (self._usage(signs=True), True),
            )  # fmt: skip
            self._write(_AUTHORITY_KEY, self._pem(issuer_key))
            self._write(AUTHORITY, issuer.public_bytes(self._serialization.Encoding.PEM))
        key = self._ec.generate_private_key(self._ec.SECP256R1())
        certificate = self._certificate(
            "localhost", key, DAYS, issuer, issuer_key,
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (x509.SubjectAlternativeName(names), False), (self._usage(signs=False), True),
            (x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), False),
        )  # fmt: skip
        text = certificate.public_bytes(self._serialization.Encoding.PEM)
        self._write(SERVER, text + self._pem(key))
        return not is_known

    def _certificate(
        self,
        name: str,
        key: Key,
        days: int,
        issuer: Certificate | None,
        issuer_key: Key,
        *extensions: tuple[ExtensionType, bool],
    ) -> Certificate:
        x509 = self._x509
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = x509.CertificateBuilder(
            subject_name=subject,
            issuer_name=subject if issuer is None else issuer.subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=self._now - dt.timedelta(days=1),
            not_valid_after=self._now + dt.timedelta(days=days),
        )
        public = issuer_key.public_key()
        for extension, is_critical in (
            *extensions,
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(public), False),
        ):
            builder = builder.add_extension(extension, is_critical)
        certificate: Certificate = builder.sign(issuer_key, self._hash)
        return certificate

    def _usage(self, *, signs: bool) -> KeyUsage:
        return self._x509.KeyUsage(
            digital_signature=not signs, key_cert_sign=signs, crl_sign=signs,
            content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip

    def _pem(self, key: Key) -> bytes:
        form = self._serialization
        octets: bytes = key.private_bytes(
            form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
        )
        return octets

    def _read(self, name: str, kind: type[Any]) -> tuple[Certificate, Any] | None:
        """Return a certificate and its extension of this kind; None if missing or expiring soon."""
        try:
            with open(os.path.join(self._folder, name), "rb") as file:
                found = self._x509.load_pem_x509_certificate(file.read())
        except FileNotFoundError:
            return None
        if found.not_valid_after_utc - self._now < dt.timedelta(days=RENEWED_DAYS):
            return None
        return found, found.extensions.get_extension_for_class(kind).value

    def _write(self, name: str, content: bytes) -> None:
        """Write a file that only its owner may read; replace an existing one atomically."""
        path = os.path.join(self._folder, name)
        new = f"{path}.{os.getpid()}"
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        os.replace(new, path)
