"""Handshakes beside other work of the loop: one step in a turn, so nobody waits long for theirs."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from portico.config.config import Config
from portico.http.message import Response
from portico.server.net.tls import RECORDS_AT_ONCE, Tls
from portico.server.net.transport import Plain
from tests.server.certifying import make
from tests.server.clients import get
from tests.server.inside import Answers, Desk

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes keys")


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr("portico.server.net.loop.LAST_SECONDS", 0)
    desk = Desk(Config.of(), Answers(lambda _: Response(204, [])))
    yield desk
    desk.close()


class Peer:
    """A client that speaks TLS through a socket that does not block."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.socket, ours = socket.socketpair()
        self.socket.setblocking(False)
        plain = Plain(fileno=ours.detach())
        plain.setblocking(False)
        self.transport = Tls(plain, lambda _: context, lambda *_: None, bool)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        self.tls = trusting.wrap_bio(self._incoming, self._outgoing)
        self.requests = self.responses = 0
        self.go_on()

    def go_on(self) -> bool:
        """Make a step, if the server has made one; return whether it has."""
        try:
            self._incoming.write(self.socket.recv(1 << 16))
        except BlockingIOError:
            if self.tls.version() is not None:
                return False
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        self.send()
        return True

    def send(self, octets: bytes = b"") -> None:
        if octets:
            self.requests += 1
            self.tls.write(octets)
        self.socket.sendall(self._outgoing.read())

    def is_answered(self) -> bool:
        """Receive; whether there has been a response to each request."""
        with contextlib.suppress(BlockingIOError):
            self._incoming.write(self.socket.recv(1 << 16))
        with contextlib.suppress(ssl.SSLWantReadError):
            self.responses += self.tls.read(1 << 16).count(b" 204 ")
        return self.responses == self.requests

    def has_news(self) -> bool:
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(make(tmp_path, "cert.pem", "localhost"))
    return context


def test_a_turn_has_one_step(desk: Desk, context: ssl.SSLContext) -> None:
    """In the order of coming; who has left meanwhile is skipped, and others have their turns."""
    known, _ = desk.connect()
    desk.turn()
    peers = [Peer(context) for _ in range(8)]
    for peer in peers:
        desk.serve(peer.socket, peer.transport)
    gone = peers.pop(3)
    gone.socket.close()
    order: list[Peer] = []
    for _ in range(20):
        before = len(order)
        known.sendall(get("/"))
        desk.turn()
        assert known.recv(1000).startswith(b"HTTP/1.1 204 ")
        order += [peer for peer in peers if peer not in order and peer.has_news()]
        assert len(order) <= before + 1
    assert order == peers
    assert gone.transport.fileno() < 0
    assert all(peer.go_on() for peer in peers)
    for peer in peers:  # with the end of the handshake
        peer.send(get("/"))
    for _ in peers:
        desk.turn()
    assert all(peer.is_answered() for peer in peers)
    for peer in peers:  # when it is over, all are served in a turn
        peer.send(get("/"))
    desk.turn()
    assert all(peer.is_answered() for peer in peers)


def test_who_sends_its_hello_late_is_served(desk: Desk, context: ssl.SSLContext) -> None:
    """A client far away, whose connection is there long before its hello, among many others."""
    late, *others = [Peer(context) for _ in range(8)]
    hello = late.transport._plain.recv(1 << 14)
    for peer in (others[0], late):
        desk.serve(peer.socket, peer.transport)
    for _ in range(3):
        desk.turn()
    for peer in others[1:]:
        desk.serve(peer.socket, peer.transport)
    late.socket.sendall(hello)
    for _ in range(20):
        desk.turn()
    assert all(peer.go_on() for peer in (late, *others))


def test_no_step_is_made_when_the_worker_stops(desk: Desk, context: ssl.SSLContext) -> None:
    """There may be hundreds whose hello has come."""
    peer = Peer(context)
    desk.serve(peer.socket, peer.transport).drain()
    assert peer.transport._tls is None
    assert peer.transport.fileno() < 0


def test_who_sends_tiny_records_has_a_share_of_the_time(
    desk: Desk, context: ssl.SSLContext
) -> None:
    peer = Peer(context)
    desk.serve(peer.socket, peer.transport)
    for _ in range(2):
        desk.turn()
        peer.go_on()
    desk.turn()
    desk.loop.change(peer.transport.fileno(), 0, lambda _: None)

    def receive() -> bytes:
        try:
            return peer.transport.receive(1)
        except BlockingIOError:
            return b""

    most = []
    for _ in range(5):
        for _ in range(1000):
            peer.tls.write(b"x")
        peer.send()
        most.append(0)
        while some := len(receive()):
            most[-1] = max(most[-1], some)
    assert most[0] > RECORDS_AT_ONCE
    assert set(most[1:]) == {RECORDS_AT_ONCE}
    for size in (1 << 14, 1 << 14, 1 << 14, 1 << 14, 1):
        peer.send(bytes(size))
        while receive():
            pass
