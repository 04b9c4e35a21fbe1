"""Hostile clients as `bench.hostile` starts them: `python3 -m bench.attackers NAME PORT`.

Each does one thing, as fast as it can, until it is killed.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import ssl
import subprocess
import sys
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SILENT = 10_000
HALF_DONE = 500
"""Handshakes that are left half done at a time."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
RECORDS = 20_000
"""Records of one octet that a connection sends before the next one begins."""


def connect(port: int) -> socket.socket:
    """Return a connection that is reset when it is closed, so that its port is free at once."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    return connection


def client_context(*, newest: bool = True) -> ssl.SSLContext:
    """Return what trusts everybody, by TLS 1.3, or 1.2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if not newest:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def silent(port: int) -> None:
    """Open connections, say nothing, and open others in the place of those that are closed."""
    waiting = select.epoll()
    held: dict[int, socket.socket] = {}
    while True:
        while len(held) < SILENT:
            connection = connect(port)
            held[connection.fileno()] = connection
            waiting.register(connection, select.EPOLLIN)
        for fd, _ in waiting.poll(1):
            held.pop(fd).close()


def half_done(port: int) -> None:
    """Say hello again and again, and never answer what the server says then."""
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        client_context().wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    hello = outgoing.read()
    held: deque[socket.socket] = deque()
    while True:
        held.append(connect(port))
        held[-1].sendall(hello)
        if len(held) > HALF_DONE:
            held.popleft().close()


def renegotiation(port: int) -> None:
    """Ask for another handshake on a connection of TLS 1.2, again and again."""
    command = ["openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{port}"]
    quiet = subprocess.DEVNULL
    while True:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet) as client:
            assert client.stdin is not None  # noqa: S101 (it is a pipe)
            with contextlib.suppress(BrokenPipeError):
                for _ in range(50):
                    client.stdin.write(b"R\n")
                    client.stdin.flush()
                    time.sleep(0.01)
                client.stdin.close()


def tiny_records(port: int) -> None:
    """Send a request's content in records of one octet each."""
    head = b"PUT /never.bin HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n"
    while True:
        with contextlib.suppress(OSError), connect(port) as plain:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = client_context().wrap_bio(incoming, outgoing)
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    plain.sendall(outgoing.read())
                    incoming.write(plain.recv(65536))
            tls.write(head)
            for _ in range(RECORDS):
                tls.write(b"x")
            plain.sendall(outgoing.read())


def preface(port: int) -> None:
    """Begin to speak HTTP/2, as somebody does who knows that the server can."""
    while True:
        with connect(port) as connection, contextlib.suppress(OSError):
            connection.sendall(PREFACE)
            connection.recv(1000)


ATTACKERS: dict[str, Callable[[int], None]] = {
    each.__name__: each for each in (silent, half_done, renegotiation, tiny_records, preface)
}

if __name__ == "__main__":
    while True:
        try:
            ATTACKERS[sys.argv[1]](int(sys.argv[2]))
        except OSError as problem:  # as of a server that is too busy to accept
            if problem.errno == errno.ECONNREFUSED:
                raise
