"""A worker: what it does with a fault of ours, and that it touches nothing but its own."""

from __future__ import annotations

import select
import shutil
import socket
import ssl
import threading
import time
from _thread import start_new_thread
from pathlib import Path
from typing import Any

import pytest

from portico.config.config import Config
from portico.server import fairness
from portico.server import worker as worker_module
from portico.server.background import threads as threads_module
from portico.server.connection import Connection
from portico.server.embedded import Server
from portico.server.net.listeners import bind, url_of
from portico.server.net.loop import EXCLUSIVE, READ
from portico.server.net.send_queue import SendQueue
from portico.server.responder import Responder
from portico.server.worker import Worker
from portico.site.hosts import Hosts
from tests.server.certifying import TlsClient, make, trusting
from tests.server.clients import PATIENCE, Client, eventually, get
from tests.server.conftest import Connect
from tests.server.inside import running


@pytest.fixture
def _faulty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests whose head has the word "fault" in it meet one in the responder."""
    answer = Responder._find_or_make

    def find_or_make(responder: Responder, head: bytes, peer: str) -> object:
        if b"fault" in head:
            raise LookupError("on purpose")
        return answer(responder, head, peer)

    monkeypatch.setattr(Responder, "_find_or_make", find_or_make)


FAULTS = {
    "the first request": [get("/fault")],
    "a later request": [get("/small.txt"), get("/fault")],
    "a piece of it": [get("/small.txt"), get("/fault")[:9], get("/fault")[9:]],
    "many at once": [get("/small.txt") * 50 + get("/fault")],
}


@pytest.mark.usefixtures("_faulty", "any_poller")
@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_ends_its_own_connection_only(
    server: Server, connect: Connect, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    steady = connect(server)
    assert steady.ask(get("/small.txt")).content == b"small"
    client = connect(server)
    requests = FAULTS[what]
    for number, piece in enumerate(requests):
        client.send(piece)
        if number == 0 and len(requests) > 1:
            assert client.answer().content == b"small"
    client.is_cut()
    assert client.received.count(b"small") in {0, 50}
    assert steady.ask(get("/small.txt")).content == b"small"
    assert connect(server).ask(get("/small.txt")).content == b"small"
    report = capfd.readouterr().err
    assert report.count("portico: a bug, please report it:") == 1
    assert "LookupError: on purpose" in report


@pytest.mark.usefixtures("any_poller")
def test_a_fault_behind_a_download(
    server: Server,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Found when there is room to send again."""

    def fail(_connection: Connection) -> None:
        raise LookupError("on purpose")

    client = connect(server, receive_buffer=4096)
    client.send(get("/large.bin"))
    eventually(client.has_news)
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "_flush", fail)
        client.is_cut()
    assert "LookupError: on purpose" in capfd.readouterr().err
    assert connect(server).ask(get("/small.txt")).content == b"small"


def test_a_second_stop_does_not_wait(site: Path) -> None:
    with (
        running(Config.of(root=str(site), port=0)) as (worker, url),
        Client(url, receive_buffer=4096) as client,
    ):
        client.send(get("/large.bin"))
        eventually(client.has_news)
        worker.stop()
        eventually(lambda: worker._responder.draining)
        worker.stop()
        client.is_cut()
        assert len(client.received) < 1 << 22


def test_clients_that_come_before_it_runs_are_served(site: Path) -> None:
    config = Config.of(root=str(site), port=0)
    listeners = bind(config)
    worker, url = Worker(config, listeners), url_of(listeners[0])
    clients = [Client(url) for _ in range(100)]
    for client in clients:
        client.send(get("/small.txt"))
    thread = threading.Thread(target=worker.run)
    thread.start()
    for client in clients:
        assert client.answer().content == b"small"
        client.close()
    eventually(lambda: worker.requests == 100)
    worker.stop()
    thread.join()


def test_a_turn_has_one_budget_however_a_client_may_have_come(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With proxies there are two responders, by HTTP and by HTTPS."""
    monkeypatch.setattr(worker_module, "LISTING_SECONDS", 1e-9)  # so one listing is the last
    monkeypatch.setattr(fairness, "STREAM_SECONDS", 1e-9)
    config = Config.of(root=str(site), port=0, trust_proxies=["127.0.0.1"])
    worker = Worker(config, bind(config))
    responders = worker._responders
    made: list[str] = []

    def make_listing() -> None:
        with worker._folder.freshness.budget:
            made.append("listing")

    class Stream(SendQueue):
        def step(self) -> None:
            made.append("step")

    worker._shares.line.extend([make_listing] * 3)
    begin_turn = worker._on_turn()
    for turn in range(1, 4):
        begin_turn(time.monotonic())
        for responder in responders:
            responder.shares.streams.step(Stream([]))
        assert made == ["listing", "step"] * turn
    assert len(responders) == 2
    assert responders[0].now == responders[1].now
    worker.stop()
    worker.stop()
    worker.run()


@pytest.mark.skipif(not EXCLUSIVE, reason="the system wakes all that wait")
def test_a_newcomer_for_whom_another_was_woken_in_vain_is_served(site: Path) -> None:
    """By a worker that has had no client yet, so that nothing else makes it look."""
    config = Config.of(root=str(site), port=0, workers=2)
    listeners = bind(config)
    url = url_of(listeners[0])
    worker = Worker(config, listeners)
    ours, theirs = socket.socketpair()
    with ours, theirs, select.epoll() as idle:
        idle.register(listeners[0], READ | EXCLUSIVE)  # the first in the queue is woken
        idle.register(ours, READ)
        waits = threading.Event()

        def wait() -> None:
            waits.set()
            idle.poll(PATIENCE)

        threads = threading.Thread(target=wait), threading.Thread(target=worker.run)
        for thread in threads:
            thread.start()
        try:
            assert waits.wait(PATIENCE)
            eventually(lambda: worker._clients._accepting)
            with Client(url) as client:
                assert client.ask(get("/small.txt")).content == b"small"
        finally:
            theirs.send(b"x")
            worker.stop()
            for thread in threads:
                thread.join()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes keys")
def test_new_certificates_are_looked_for_though_at_times_no_thread_is_granted(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (make(tmp_path, f"{name}.pem", "localhost") for name in ("old", "new"))
    refused: list[object] = []

    def start(*arguments: Any) -> object:  # noqa: ANN401
        if len(refused) < 3:
            refused.append(arguments)
            raise RuntimeError("can't start new thread")
        return start_new_thread(*arguments)

    monkeypatch.setattr(threads_module, "start_new_thread", start)
    monkeypatch.setattr(worker_module, "CERTIFICATE_SECONDS", 0.01)
    with running(Config.of(root=str(site), port=0, tls_cert=str(old))) as (_, url):
        eventually(lambda: len(refused) == 3)
        new.replace(old)
        context = trusting(old)

        def serves_new() -> bool:
            try:
                TlsClient(url, context).close()
            except ssl.SSLError:
                return False
            return True

        eventually(serves_new)


@pytest.mark.parametrize(
    ("host", "options", "is_answered"),
    [
        ("printer.local", {"lan": True}, True),
        ("192.0.2.7", {"lan": True}, True),
        (socket.gethostname(), {"lan": True}, True),
        ("www.example.com", {"lan": True}, False),
        ("www.example.com", {"lan": True, "allow_hosts": ["*"]}, True),
        ("www.example.com", {}, True),
    ],
)
def test_in_a_local_network_only_its_names_are_answered(
    host: str, options: dict[str, Any], is_answered: bool
) -> None:
    """What a page of the web calls by a name of its own may be reached from here, too."""
    config = Config.of(**options)
    (listener,) = bind(Config.of(host="0.0.0.0", port=0))
    with listener:
        hosts = Hosts(worker_module._hosts(config, [listener]))
    assert hosts.are_meant(host) == is_answered
