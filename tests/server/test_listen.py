"""Binding: what is set on a listening socket, what is said when it fails, and its URLs."""

from __future__ import annotations

import socket

import pytest

from portico.config import Config
from portico.server.embed import Server
from portico.server.listen import BindError, bind, is_loopback, reachable_urls, url_of
from tests.server.clients import Client, get
from tests.server.conftest import Serve


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def bound(host: str, port: int = 0) -> socket.socket:
    (listener,) = bind(Config.of(host=host, port=port))
    return listener


def test_a_free_port_is_taken_and_named() -> None:
    with bound("127.0.0.1") as listener:
        port = listener.getsockname()[1]
        assert port > 0
        assert url_of(listener) == f"http://127.0.0.1:{port}/"
        assert not listener.getblocking()
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_in_use_is_said_to_be_so() -> None:
    with bound("127.0.0.1") as listener:
        port = listener.getsockname()[1]
        with pytest.raises(BindError) as caught:
            bound("127.0.0.1", port)
    message = str(caught.value)
    assert f"port {port} on 127.0.0.1 is in use" in message
    assert f"--port {port + 1 if port < 65535 else 8080}" in message
    assert "--port 0" in message


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("192.0.2.1", "192.0.2.1 is not an address of this machine"),
        ("no-such-host.invalid", "no address is known for host 'no-such-host.invalid'"),
        ("x" * 300, "no address is known for host"),
    ],
)
def test_a_host_that_cannot_be_had(host: str, said: str) -> None:
    with pytest.raises(BindError, match=said):
        bound(host)


def test_the_port_can_be_bound_again_while_old_connections_linger(serve: Serve) -> None:
    """The server has closed first, so its side of the connection is in TIME_WAIT."""
    first = serve()
    port = int(first.url.rstrip("/").rpartition(":")[2])
    with Client(first.url) as client:
        assert client.ask(get("/small.txt", "Connection: close")).content == b"small"
        assert client.at_end()
    first.stop()
    second = serve(port=port)
    with Client(second.url) as client:
        assert client.ask(get("/small.txt")).content == b"small"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2", "0.0.0.0"])
def test_each_host_answers_at_its_url(serve: Serve, host: str) -> None:
    server: Server = serve(host=host)
    with Client(server.url) as client:
        authority = server.url[7:-1]
        head = f"GET /small.txt HTTP/1.1\r\nHost: {authority}\r\n\r\n"
        assert client.ask(head.encode()).content == b"small"


@needs_ipv6
@pytest.mark.parametrize("host", ["::1", "[::1]", "::"])
def test_ipv6(serve: Serve, host: str) -> None:
    server: Server = serve(host=host)
    assert server.url.startswith("http://[::1]:")
    with Client(server.url) as client:
        head = f"GET /small.txt HTTP/1.1\r\nHost: {server.url[7:-1]}\r\n\r\n"
        assert client.ask(head.encode()).content == b"small"


@pytest.mark.parametrize(("host", "local"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_whether_only_this_machine_can_connect(host: str, local: bool) -> None:
    with bound(host) as listener:
        assert is_loopback(listener) == local


def test_all_addresses_are_listed_this_machine_first() -> None:
    config = Config.of(host="0.0.0.0", port=0)
    (listener,) = bind(config)
    with listener:
        port = listener.getsockname()[1]
        first, *others = reachable_urls(config, [listener])
    assert first == f"http://127.0.0.1:{port}/"
    assert all(url.startswith("http://") and url.endswith(f":{port}/") for url in others)
    assert not any("127." in url or "::1" in url for url in others)


def test_localhost_is_shown_as_it_was_asked_for() -> None:
    config = Config.of(host="localhost", port=0)
    (listener,) = bind(config)
    with listener:
        assert reachable_urls(config, [listener]) == [
            f"http://localhost:{listener.getsockname()[1]}/"
        ]


def test_a_name_of_the_machine_beyond_loopback_answers_any_host(serve: Serve) -> None:
    """What others call it cannot be known."""
    with Client(serve(host="0.0.0.0").url) as client:
        answer = client.ask(b"GET /small.txt HTTP/1.1\r\nHost: files.example\r\n\r\n")
        assert answer.status == 200
    with Client(serve(host="0.0.0.0", allow_hosts=["files.example"]).url) as client:
        assert client.ask(b"GET /small.txt HTTP/1.1\r\nHost: files.example\r\n\r\n").status == 200
        assert client.ask(b"GET /small.txt HTTP/1.1\r\nHost: evil.example\r\n\r\n").status == 421
