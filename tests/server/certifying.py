"""Certificates for tests, and clients that speak TLS."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

from tests.server.clients import PATIENCE, Client


def make(folder: Path, name: str, *names: str) -> Path:
    """Make a certificate for `names`, which signs itself, with its key in the same file."""
    file = folder / name
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", f"/CN={names[0]}", "-keyout", str(folder / "key"),
            "-out", str(folder / "cert"), "-addext",
            "subjectAltName=" + ",".join(f"DNS:{each}" for each in names),
        ],
        check=True, capture_output=True, timeout=PATIENCE,
    )  # fmt: skip
    file.write_text((folder / "key").read_text() + (folder / "cert").read_text())
    return file


def trusting(*files: Path) -> ssl.SSLContext:
    """The settings of a client that trusts these certificates."""
    context = ssl.create_default_context()
    for file in files:
        context.load_verify_locations(file)
    return context


class TlsClient(Client):
    """A client that speaks TLS."""

    def __init__(
        self,
        url: str,
        context: ssl.SSLContext,
        name: str = "localhost",
        *,
        receive_buffer: int = 0,
        session: ssl.SSLSession | None = None,
        source: str = "",
        before: bytes = b"",
    ) -> None:
        """`before` is sent before the handshake."""
        super().__init__(url, receive_buffer=receive_buffer, source=source)
        self.plain = self.socket
        try:
            self.plain.sendall(before)
            self.tls = context.wrap_socket(self.plain, server_hostname=name, session=session)
        except OSError:
            self.plain.close()
            raise
        self.socket = self.tls
