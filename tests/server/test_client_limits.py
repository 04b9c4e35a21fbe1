"""What one address may take: the arithmetic by given times, the rest over the wire."""

from __future__ import annotations

import shutil
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from portico.config.config import Config
from portico.http.content import Octets
from portico.http.message import Response
from portico.server.client_limits import ADDRESSES, REFUSED_AT_ONCE, ClientLimits
from portico.server.connection import Connection
from portico.server.net.pacing import PORTIONS, Bucket, Paced, Pacer
from portico.server.states import CLOSED, IDLE, SEND
from portico.site.access import network_of
from tests.server.certifying import TlsClient, make
from tests.server.clients import eventually, get, request
from tests.server.conftest import Connect, Serve
from tests.server.inside import Answers, Desk, connections, states

ANNOUNCED = b"PROXY TCP4 192.0.2.1 127.0.0.1 4711 80\r\n"

# --- arithmetic


@pytest.mark.parametrize("rate", [1, 3, 10, 1_000_000])
@pytest.mark.parametrize("now", [0.0, 1000.25, 1e8])
def test_a_bucket_has_its_rate_in_reserve_and_then_its_rate(rate: int, now: float) -> None:
    bucket = Bucket(rate)
    assert bucket.room(now) == rate
    for _ in range(min(rate, 100)):
        assert bucket.seconds_until(max(1, rate // 100), now) == 0
        bucket.take(max(1, rate // 100), now)
    bucket.take(bucket.room(now), now)
    assert bucket.seconds_until(1, now) == pytest.approx(1 / rate, abs=1e-5)
    assert bucket.room(now + 0.5) == pytest.approx(rate / 2, abs=1)
    assert bucket.room(now + 100) == rate, "no more than that is saved"


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "20010db800010002"),
        ("2001:db8:1:2::", "20010db800010002"),
        ("fe80::1%eth0", "fe80000000000000"),
        ("::1", "0000000000000000"),
    ],
)
def test_of_ipv6_the_first_half_counts(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.fixture
def limits() -> Iterator[ClientLimits]:
    """Two requests a second."""
    desk = Desk(Config.of(client_requests=2), Answers(lambda _: Response(200, [])))
    yield ClientLimits(desk.responder.config, desk.loop, desk.responder)
    desk.close()


def test_a_flood_of_addresses_neither_grows_the_table_nor_frees_who_goes_on(
    limits: ClientLimits,
) -> None:
    refused = 0
    for number in range(3 * ADDRESSES):
        limits.seconds_to_wait(f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1", 1.0)
        if number % 1000 == 0:
            refused += limits.seconds_to_wait("192.0.2.1", 1.0) > 0
    assert refused == 3 * ADDRESSES // 1000 + 1 - 2
    assert len(limits._others) <= ADDRESSES
    assert limits.seconds_to_wait("unix", 1.0) == 0


# --- requests


def test_too_many_requests_are_told_when_to_come_back(serve: Serve, connect: Connect) -> None:
    """On every way: a head that is known, a new one, pipelined, with content, nonsense."""
    server = serve(client_requests=3)
    client = connect(server)
    client.send(get("/small.txt") * 7)
    answers = [client.answer() for _ in range(7)]
    assert [answer.status for answer in answers] == [200] * 3 + [429] * 4
    assert answers[3].fields["retry-after"] == "1"
    assert b"Come back in 1 second." in answers[3].content
    for asked, content in (
        (request("POST", "/", "Content-Length: 3"), b"abc"),
        (request("HEAD", "/small.txt"), b""),
        (get("/n/1.txt", "Accept: application/json"), b""),
    ):
        answer = client.ask(asked, content, method=asked.split(b" ")[0].decode())
        assert answer.status == 429
        assert not answer.closes
    assert client.ask(b"nonsense\r\n\r\n").status == 400


def test_requests_are_counted_for_the_address_and_not_for_the_connection(
    serve: Serve, connect: Connect
) -> None:
    server = serve(client_requests=3)
    found = [connect(server).ask(get("/small.txt")).status for _ in range(5)]
    assert found == [200] * 3 + [429] * 2


def test_of_a_trusted_proxy_only_the_requests_of_its_clients_count(
    serve: Serve, connect: Connect
) -> None:
    server = serve(client_requests=2, client_connections=1, trust_proxies="127.0.0.1")
    proxies = [connect(server) for _ in range(3)]
    for client, statuses in (("192.0.2.1", [200, 200, 429]), ("192.0.2.2", [200, 200, 429])):
        head = get("/small.txt", f"X-Forwarded-For: {client}")
        assert [proxy.ask(head).status for proxy in proxies] == statuses
    assert [proxy.ask(get("/small.txt")).status for proxy in proxies] == [200] * 3


def test_whoever_waits_may_send_again(limits: ClientLimits) -> None:
    for now, seconds in ((5.0, 0), (5.0, 0), (5.0, 1), (5.4, 1), (5.5, 0), (5.6, 1), (9.0, 0)):
        assert limits.seconds_to_wait("192.0.2.1", now) == seconds
    assert limits.seconds_to_wait("192.0.2.2", 5.0) == 0


# --- connections


def test_a_connection_too_many_is_told_so_and_ends(serve: Serve, connect: Connect) -> None:
    server = serve(client_connections=2)
    first, second = connect(server), connect(server)
    assert [client.ask(get("/small.txt")).status for client in (first, second)] == [200, 200]
    third = connect(server)
    answer = third.ask(get("/small.txt"))
    assert (answer.status, answer.closes) == (429, True)
    assert third.at_end()
    third.close()
    assert answer.fields["retry-after"] == "5"
    assert b"may have 2 connections at once" in answer.content
    first.close()
    eventually(lambda: len(states(server)) == 1)
    assert connect(server).ask(get("/small.txt")).status == 200
    assert second.ask(get("/small.txt")).status == 200


def test_connections_that_a_proxy_header_announces_count_for_their_client(
    serve: Serve, connect: Connect
) -> None:
    """Once the header has come, though no request has."""
    server = serve(client_connections=1, trust_proxies="127.0.0.1", proxy_protocol=True)
    silent = [connect(server) for _ in range(1 + REFUSED_AT_ONCE)]
    for client in silent:
        client.send(ANNOUNCED)
    eventually(lambda: [type(each) for each in connections(server)] == [Connection] * len(silent))
    too_many = connect(server)
    too_many.send(ANNOUNCED)
    assert too_many.at_end()
    statuses = [client.ask(get("/small.txt")).status for client in silent]
    assert sorted(statuses) == [200, *[429] * REFUSED_AT_ONCE]
    for header in (b"PROXY UNKNOWN\r\n", ANNOUNCED.replace(b"192.0.2.1", b"192.0.2.2")):
        assert connect(server).ask(header, get("/small.txt")).status == 200
    for client in silent:
        client.close()
    eventually(lambda: len(states(server)) == 2)
    assert connect(server).ask(ANNOUNCED + get("/small.txt")).status == 200


def test_a_connection_too_many_ends_though_the_request_is_one_as_well(
    serve: Serve, connect: Connect
) -> None:
    server = serve(client_connections=1, client_requests=1)
    first = connect(server)
    assert first.ask(get("/small.txt")).status == 200
    answer = connect(server).ask(get("/small.txt"))
    assert (answer.status, answer.closes) == (429, True)


def test_a_flood_of_connections_takes_few_places(serve: Serve, connect: Connect) -> None:
    server = serve(client_connections=1)
    first = connect(server)
    assert first.ask(get("/small.txt")).status == 200
    silent = [connect(server) for _ in range(REFUSED_AT_ONCE)]
    eventually(lambda: len(states(server)) == 1 + REFUSED_AT_ONCE)
    for _ in range(3):
        assert connect(server).at_end()
    for client in silent:
        assert client.ask(get("/small.txt")).status == 429
        client.close()
    assert first.ask(get("/small.txt")).status == 200


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes keys")
def test_with_tls_as_well(serve: Serve, site: Path, tmp_path: Path) -> None:
    certificate = str(make(tmp_path, "one.pem", "localhost"))
    trusting = ssl.create_default_context(cafile=certificate)
    options = {"client_connections": 1, "client_bandwidth": "100M"}
    server = serve(site, tls_cert=certificate, **options)
    with TlsClient(server.url, trusting) as first:
        assert len(first.ask(get("/large.bin")).content) == 1 << 22
        with TlsClient(server.url, trusting) as second:
            assert second.ask(get("/small.txt")).status == 429
            assert second.at_end()


# --- bandwidth

RATE = 8000
PORTION = RATE // PORTIONS
SIZE = 20 * RATE


class Paced8000:
    """Downloads that share a pace of RATE, driven by hand, by a clock of their own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, send_timeout: float) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        answer = Response(200, [("Content-Length", str(SIZE))], (Octets(bytes(SIZE)),))
        self.desk = Desk(Config.of(send_timeout=send_timeout), Answers(lambda _: answer))
        self.pacer = Pacer(RATE, self.desk.loop, send_timeout)
        self.taken: list[int] = []
        self.connections: list[Connection] = []

    def ask(self) -> None:
        """Have a new client ask for SIZE bytes."""
        self.taken.append(0)
        _, connection = self.desk.connect(get("/"), wrap=lambda plain: Paced(plain, self.pacer))
        self.connections.append(connection)

    def run(self, seconds: float) -> list[int]:
        """Let time go by; return what each client got meanwhile."""
        before = list(self.taken)
        for _ in range(int(seconds * 4 * PORTIONS)):
            self.now += 1 / (4 * PORTIONS)
            self.desk.turn()
            for connection in self.connections:
                if connection.state != CLOSED and connection.deadline < self.now:
                    connection.expire()
            for number, client in enumerate(self.desk.clients):
                with suppress(BlockingIOError):
                    self.taken[number] += len(client.recv(1 << 20))
        return [now - then for now, then in zip(self.taken, before, strict=True)]


@pytest.fixture
def paced(monkeypatch: pytest.MonkeyPatch) -> Iterator[Paced8000]:
    paced = Paced8000(monkeypatch, send_timeout=2)
    yield paced
    paced.desk.close()


def test_the_rate_is_kept_and_shared_fairly(paced: Paced8000) -> None:
    """Whoever comes later gets as much as the others from then on, and nobody is given up."""
    paced.ask()
    (first,) = paced.run(2)
    assert first == pytest.approx(3 * RATE, abs=2 * PORTION), "the reserve comes at once"
    for _ in range(3):
        paced.ask()
    shares = paced.run(4)
    assert sum(shares) == pytest.approx(4 * RATE, abs=2 * PORTION)
    assert max(shares) - min(shares) <= 2 * PORTION
    assert [connection.state for connection in paced.connections] == [SEND] * 4
    for _ in range(60):
        paced.ask()
    shares = paced.run(8)
    assert sum(shares) == pytest.approx(8 * RATE, abs=2 * PORTION)
    assert min(shares) > 0
    assert all(connection.state == SEND for connection in paced.connections)


def test_the_share_of_who_leaves_goes_to_others(paced: Paced8000) -> None:
    for _ in range(3):
        paced.ask()
    paced.run(2)
    for client in paced.desk.clients[:2]:
        client.close()
    del paced.desk.clients[:2], paced.taken[:2]
    (share,) = paced.run(4)
    assert share == pytest.approx(4 * RATE, abs=2 * PORTION)
    assert [connection.state for connection in paced.connections] == [CLOSED, CLOSED, SEND]


def test_all_of_it_comes_and_the_next_request_too(paced: Paced8000) -> None:
    paced.ask()
    paced.run(SIZE / RATE + 1)
    assert paced.taken[0] > SIZE
    assert paced.connections[0].state == IDLE


@pytest.mark.parametrize(
    ("header", "options"),
    [(b"", {}), (ANNOUNCED, {"trust_proxies": "127.0.0.1", "proxy_protocol": True})],
)
def test_small_responses_and_files_are_paced_as_well(
    serve: Serve, connect: Connect, header: bytes, options: dict[str, object]
) -> None:
    """And so is what is sent in one call: the reserve is used up by the first response."""
    server = serve(client_bandwidth="1M", **options)
    client = connect(server)
    client.send(header)
    began = time.monotonic()
    assert len(client.ask(get("/large.bin", "Range: bytes=0-1572863")).content) == 3 << 19
    assert client.ask(get("/small.txt")).content == b"small"
    assert time.monotonic() - began > 0.4  # half a MiB more than the reserve
