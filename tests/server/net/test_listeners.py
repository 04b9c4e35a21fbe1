"""Binding: what is set on a listening socket, what is said when it fails, and its URLs."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from portico.config.config import Config
from portico.server.net.listeners import (
    BindError,
    bind,
    bind_anew,
    discard,
    is_local,
    is_loopback,
    reachable_urls,
    url_of,
)
from tests.server.clients import PATIENCE, Client, get
from tests.server.conftest import Serve
from tests.server.processes.supervised import Supervised


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
    assert "--port 0" in message


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("192.0.2.1", "192.0.2.1 is not an address of this machine"),
        ("no-such-host.invalid", "unknown host: 'no-such-host.invalid'"),
        ("x" * 300, "unknown host"),
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


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "127.0.0.2", "0.0.0.0"),
        *[pytest.param(host, marks=needs_ipv6) for host in ("::1", "[::1]", "::")],
    ],
)
def test_each_host_answers_at_its_url(serve: Serve, host: str) -> None:
    server = serve(host=host)
    assert server.url.startswith("http://[::1]:") == (":" in host)
    with Client(server.url) as client:
        head = f"GET /small.txt HTTP/1.1\r\nHost: {server.url[7:-1]}\r\n\r\n"
        assert client.ask(head.encode()).content == b"small"


@pytest.mark.parametrize(("host", "local"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_whether_only_this_machine_can_connect(host: str, local: bool) -> None:
    with bound(host) as listener:
        assert is_loopback(listener) == local


def test_all_addresses_are_listed_this_machine_first() -> None:
    with bound("0.0.0.0") as listener:
        port = listener.getsockname()[1]
        first, *others = reachable_urls(Config.of(host="0.0.0.0"), [listener])
    assert first == f"http://127.0.0.1:{port}/"
    assert all(url.startswith("http://") and url.endswith(f":{port}/") for url in others)
    assert not any("127." in url or "::1" in url for url in others)


def test_no_name_server_is_asked_for_the_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    """It might not answer, and the machine's name may be one that it cannot be asked for."""

    def ask(*_: object) -> None:
        raise AssertionError

    for name in ("getaddrinfo", "gethostname", "getfqdn", "gethostbyname"):
        monkeypatch.setattr(socket, name, ask)
    (listener,) = listening(":0")
    with listener:
        assert len(reachable_urls(Config.of(listens=[":0"]), [listener])) >= 1


@needs_ipv6
def test_localhost_is_both_addresses_of_loopback_at_one_port() -> None:
    config = Config.of(port=0, base="/docs/")
    held = bind_anew(config, {})
    try:
        places = [listener.getsockname()[:2] for listener in held.values()]
        port = places[0][1]
        assert places == [("127.0.0.1", port), ("::1", port)]
        assert reachable_urls(config, list(held.values())) == [f"http://localhost:{port}/docs/"]
        assert bind_anew(config, held) == held
        held.pop("127.0.0.1:0").close()
        with pytest.raises(BindError, match=f"port {port} on ::1 is in use"):
            bind(Config.of(port=port))
        with socket.create_server(("127.0.0.1", port)):  # the first was closed again
            pass
    finally:
        discard(held)


def test_localhost_is_ipv4_alone_where_there_is_no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_ipv6", False)
    (listener,) = bind(Config.of(port=0))
    with listener:
        host, port = listener.getsockname()
        assert host == "127.0.0.1"
        assert reachable_urls(Config.of(), [listener]) == [f"http://localhost:{port}/"]


@pytest.mark.parametrize(
    ("host", "allowed", "status"),
    [
        ("files.example", [], 200),
        ("files.example", ["files.example"], 200),
        ("evil.example", ["files.example"], 421),
    ],
)
def test_beyond_loopback_any_host_is_answered_unless_some_are_allowed(
    serve: Serve, host: str, allowed: list[str], status: int
) -> None:
    """What other machines call this one cannot be known."""
    with Client(serve(host="0.0.0.0", allow_hosts=allowed).url) as client:
        head = f"GET /small.txt HTTP/1.1\r\nHost: {host}\r\n\r\n"
        assert client.ask(head.encode()).status == status


# --- addresses in one line, and unix sockets


def listening(*addresses: str) -> list[socket.socket]:
    return bind(Config.of(listens=list(addresses)))


@needs_ipv6
def test_everywhere_is_one_socket_for_both_protocols() -> None:
    (listener,) = listening(":0")
    with listener:
        port = listener.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), PATIENCE).close()
        first, *others = reachable_urls(Config.of(listens=["*:0"]), [listener])
        assert first == f"http://localhost:{port}/"
        assert not any("127." in url or "[::1]" in url for url in others)
        assert not is_local(listener)


@needs_ipv6
def test_all_of_ipv6_leaves_ipv4_to_others() -> None:
    (first,) = listening("[::]:0")
    with first:
        port = first.getsockname()[1]
        (second,) = listening(f"0.0.0.0:{port}")
        with second:
            assert {each.family for each in (first, second)} == {socket.AF_INET, socket.AF_INET6}
        assert not any("127.0.0.1" in url for url in reachable_urls(Config.of(), [first]))


def test_everywhere_without_ipv6_is_all_of_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_ipv6", False)
    (listener,) = listening(":0")
    with listener:
        assert listener.getsockname()[0] == "0.0.0.0"


def test_several_addresses_are_bound_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "www"
    listeners = listening("127.0.0.1:0", f"unix:{path}", "127.0.0.2:0")
    urls = reachable_urls(Config.of(listens=["127.0.0.1:0"]), listeners)
    for listener in listeners:
        listener.close()
    assert [url.partition(":0")[0].rpartition(":")[0] for url in urls] == [
        "http://127.0.0.1",
        "unix",
        "http://127.0.0.2",
    ]
    assert urls[1] == f"unix:{path}"


def test_when_one_address_cannot_be_had_none_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "www"
    with bound("127.0.0.1") as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match=f"port {port} on 127.0.0.1 is in use.*--listen 127"):
            listening(f"unix:{path}", f"127.0.0.1:{port}")
    assert not path.exists()


@needs_ipv6
@pytest.mark.parametrize("host", ["", "[::1]"])
def test_the_cure_for_a_port_in_use_is_an_address_that_can_be_given(host: str) -> None:
    (taken,) = listening(f"{host}:0")
    with taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match="choose another: --listen ") as told:
            listening(f"{host}:{port}")
        (another,) = listening(str(told.value).partition("--listen ")[2].split()[0])
        another.close()


def test_what_is_held_is_kept_and_only_the_rest_is_bound(tmp_path: Path) -> None:
    unix = f"unix:{tmp_path / 'www'}"
    held = bind_anew(Config.of(listens=["127.0.0.1:0"]), {})
    both = bind_anew(Config.of(listens=[unix, "127.0.0.1:0"]), held)
    assert list(both) == [unix, "127.0.0.1:0"]
    assert both["127.0.0.1:0"] is held["127.0.0.1:0"]
    with pytest.raises(BindError, match="unknown host"):
        bind_anew(Config.of(listens=["127.0.0.1:0", "no-such-host.invalid:0"]), both)
    assert both["127.0.0.1:0"].fileno() >= 0
    discard(both)
    assert not (tmp_path / "www").exists()


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Where a unix socket may be; its name is short enough from the working directory."""
    before = Path.cwd()
    os.chdir(tmp_path)
    yield Path("www")
    os.chdir(before)


def unix_listeners(
    path: Path, held: dict[str, socket.socket] | None = None
) -> dict[str, socket.socket]:
    return bind_anew(Config.of(listens=[f"unix:{path}"]), held or {})


def test_a_unix_socket_is_open_to_everybody_and_its_file_goes_with_it(path: Path) -> None:
    before = os.umask(0o077)
    try:
        listeners = unix_listeners(path)
    finally:
        assert os.umask(before) == 0o077
    (listener,) = listeners.values()
    whole = path.absolute()
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    assert is_local(listener)
    assert not is_loopback(listener)
    os.chdir("/")  # the file is known by its whole path
    for _ in range(2):
        discard(listeners)
        assert not whole.exists()


def test_a_stale_socket_is_replaced(path: Path) -> None:
    first = unix_listeners(path)
    (old,) = first.values()
    old.close()
    assert path.is_socket()
    second = unix_listeners(path)
    os.utime(path, (0, 0))  # as if some time had gone by
    discard(first)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    (new,) = second.values()
    new.close()


def test_a_unix_socket_whose_file_is_gone_is_made_again(path: Path) -> None:
    first = unix_listeners(path)
    assert unix_listeners(path, first) == first
    path.unlink()
    second = unix_listeners(path, first)
    os.utime(path, (0, 0))
    discard(first, kept=second)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    (new,) = second.values()
    new.close()


def test_a_socket_in_use_is_not_taken(path: Path) -> None:
    (first,) = listening(f"unix:{path}")
    with (
        first,
        pytest.raises(BindError, match="www is in use by another server, or is not a socket"),
    ):
        listening(f"unix:{path}")
    assert path.is_socket()


def test_a_file_that_is_no_socket_has_stopped_alone(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(BindError, match="www is in use by another server, or is not a socket"):
        listening(f"unix:{path}")
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "said"),
    [("none/www", "no such folder: 'none'"), ("x" * 200, "cannot listen on x")],
)
def test_a_unix_socket_that_cannot_be_made(path: Path, name: str, said: str) -> None:
    with pytest.raises(BindError, match=said):
        listening(f"unix:{path.parent / name}")


def test_a_client_of_a_unix_socket_is_served_and_logged_as_unix(path: Path, site: Path) -> None:
    """Behind it is a proxy: whatever the host, it is answered."""
    with Supervised(Path(), str(site), "--listen", f"unix:{path}") as portico:
        portico.start()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(path))
            client.sendall(b"GET /large.bin HTTP/1.0\r\nHost: www.example\r\n\r\n")
            with client.makefile("rb") as answer:
                received = answer.read()
        assert received.startswith(b"HTTP/1.1 200 OK\r\n")
        assert received.endswith((site / "large.bin").read_bytes())
        assert portico.end() == 0
    assert portico.logged.startswith("unix - - [")
    assert portico.urls == [f"unix:{path}"]
    assert "Warning" not in portico.said
    assert not path.exists()
