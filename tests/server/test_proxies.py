"""What trusted proxies say of their clients, over the wire; and strangers who say the same.

Connections come from 127.0.0.1, which is trusted, and from 127.0.0.9, which is not.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from portico.config.config import Config, ConfigError
from portico.server.telemetry.access_log import AccessLog
from portico.server.telemetry.counters import CELLS, NOT_ANNOUNCED, Counters
from portico.server.telemetry.telemetry import Telemetry
from portico.site.rules.rulebook import warn
from portico.site.users import GUESSES
from tests.server.certifying import TlsClient, make
from tests.server.clients import Client, eventually, get, in_pieces, request
from tests.server.conftest import Serve
from tests.server.inside import running
from tests.server.test_users import CHEAP

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere 127.0.0.9 is no address of this machine"
)
STRANGER = "127.0.0.9"
V1 = b"PROXY TCP4 %b 127.0.0.1 4711 80\r\n"
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"


class Site:
    """A server that trusts 127.0.0.1, and its access log."""

    def __init__(self, url: str, log: Path, stack: ExitStack) -> None:
        self.url = url
        self._log = log
        self._stack = stack

    def connect(self, source: str = "") -> Client:
        return self._stack.enter_context(Client(self.url, source=source))

    def logged(self, count: int) -> list[str]:
        """Who is said to have sent the `count` requests so far."""
        eventually(lambda: len(self._log.read_text().splitlines()) >= count)
        return [line.partition(" ")[0] for line in self._log.read_text().splitlines()]


Start = Callable[..., Site]


@pytest.fixture
def start(site: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a server with options."""
    with ExitStack() as stack:
        clients = ExitStack()

        def start(
            counters: Counters | None = None,
            report: Callable[[str], None] = warn,
            **options: object,
        ) -> Site:
            options = {"root": str(site), "trust_proxies": ["127.0.0.1", "10.0.0.0/8"], **options}
            options.setdefault("listens", ["127.0.0.1:0"])
            file = stack.enter_context((tmp_path / "log").open("wb"))
            log = AccessLog(file.fileno(), Config.of(log_format="common", color="never"))
            _, url = stack.enter_context(
                running(Config.of(**options), None, Telemetry(log, counters, report))
            )
            stack.enter_context(clients)
            return Site(url, tmp_path / "log", clients)

        yield start


def test_each_request_is_logged_for_its_client(start: Start) -> None:
    site = start()
    proxy = site.connect()
    first = get("/small.txt", "X-Forwarded-For: 198.51.100.9, 192.0.2.1, 10.0.0.2")
    second = get("/small.txt", "x-forwarded-for:192.0.2.2", "X-Forwarded-For: 10.0.0.3")
    for _ in range(3):  # the last one is kept by its head
        assert proxy.ask(first).status == proxy.ask(second).status == 200
    proxy.send(first + second + get("/none") + second)
    assert [proxy.answer().status for _ in range(4)] == [200, 200, 404, 200]
    expected = ["192.0.2.1", "192.0.2.2"] * 3 + ["192.0.2.1", "192.0.2.2", "127.0.0.1", "192.0.2.2"]
    assert site.logged(10) == expected


def test_a_stranger_is_not_taken_for_a_client_whose_head_it_sends(start: Start) -> None:
    site = start(hsts=60)
    head = get("https://localhost/small.txt", "X-Forwarded-For: 10.1.1.1, 192.0.2.1",
               "X-Forwarded-Proto: https")  # fmt: skip
    proxy, stranger = site.connect(), site.connect(STRANGER)
    for _ in range(4):
        answer = proxy.ask(head)
        assert (answer.status, answer.fields["strict-transport-security"]) == (200, "max-age=60")
        answer = stranger.ask(head)
        assert answer.status == 421
        assert "strict-transport-security" not in answer.fields
    assert site.logged(8) == ["192.0.2.1", STRANGER] * 4


@pytest.mark.parametrize(
    ("header", "lines", "client", "is_secure"),
    [
        ("x-forwarded", ["X-Forwarded-Proto: https"], "127.0.0.1", True),
        ("x-forwarded", ["X-Forwarded-Proto: http"], "127.0.0.1", False),
        ("x-forwarded", ["X-Forwarded-For: unknown"], "127.0.0.1", False),
        ("x-forwarded", ["Forwarded: for=192.0.2.9;proto=https"], "127.0.0.1", False),
        ("forwarded", ["Forwarded: for=192.0.2.1;proto=https"], "192.0.2.1", True),
        ("forwarded", ["Forwarded: for=192.0.2.9", "Forwarded: for=192.0.2.1"], "192.0.2.1", False),
        (
            *("forwarded", ["X-Forwarded-For: 192.0.2.9", "X-Forwarded-Proto: https"]),
            *("127.0.0.1", False),
        ),
    ],
)
def test_one_header_counts(
    start: Start, header: str, lines: list[str], client: str, *, is_secure: bool
) -> None:
    site = start(hsts=60, trust_proxy_header=header)
    proxy = site.connect()
    for _ in range(2):
        answer = proxy.ask(get("/small.txt", *lines))
        assert ("strict-transport-security" in answer.fields) == is_secure
        assert proxy.ask(get("https://localhost/small.txt", *lines)).status == (
            200 if is_secure else 421
        )
    assert site.logged(4) == [client] * 4


def test_what_comes_of_a_head_does_not_tell_whose_it_is(start: Start) -> None:
    site = start(head_timeout=0.1)
    proxy = site.connect()
    whole = get("/small.txt", "X-Forwarded-For: 192.0.2.1")
    assert proxy.ask(whole).status == 200
    assert proxy.ask(whole[:-3]).status == 408
    assert site.connect().ask(whole[:-3]).status == 408
    assert site.connect().ask(*in_pieces(whole, 1)).status == 200
    assert site.logged(4) == ["192.0.2.1", "127.0.0.1", "127.0.0.1", "192.0.2.1"]


def test_guesses_are_counted_for_each_client(start: Start, tmp_path: Path) -> None:
    (tmp_path / "users").write_text(f"alice:{CHEAP}\n")
    site = start(users=str(tmp_path / "users"), accesses=["/* users=read"])
    proxy, stranger = site.connect(), site.connect(STRANGER)
    wrong = f"Authorization: Basic {b64encode(b'alice:wrong').decode()}"
    guess = get("/small.txt", wrong, "X-Forwarded-For: 192.0.2.1")
    statuses = [proxy.ask(guess).status for _ in range(GUESSES + 1)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    assert proxy.ask(get("/small.txt", wrong, "X-Forwarded-For: 192.0.2.2")).status == 401
    # Who is not trusted guesses at its own expense, whatever it says.
    statuses = [
        stranger.ask(get("/small.txt", wrong, f"X-Forwarded-For: 192.0.2.{n}")).status
        for n in range(10, 11 + GUESSES)
    ]
    assert statuses[-1] == 429


def test_a_page_without_tls_does_not_write_to_the_site_with_it(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "root").mkdir()
    options = {"root": str(tmp_path / "root"), "allows": ["create"], "insecure_writes": True}
    proxy = start(**options).connect()

    def put(scheme: str) -> int:
        lines = ["X-Forwarded-Proto: https", f"Origin: {scheme}://localhost", "Content-Length: 0"]
        return proxy.ask(request("PUT", "/a.txt", *lines)).status

    assert [put("http"), put("https")] == [403, 201]


def test_a_unix_socket_is_trusted_by_name(start: Start, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    site = start(listens=[f"unix:{path}"], trust_proxies=["unix"])
    with socket.socket(socket.AF_UNIX) as proxy:
        proxy.connect(path)
        proxy.sendall(get("/small.txt", "X-Forwarded-For: 192.0.2.1"))
        assert proxy.recv(100).startswith(b"HTTP/1.1 200 ")
    assert site.logged(1) == ["192.0.2.1"]


# The PROXY protocol


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (V1 % b"192.0.2.1", "192.0.2.1"),
        (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "2001:db8::1"),
        (LOCAL, "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        # A trusted proxy before that one: what it says in the request's head counts, too.
        (V1 % b"10.0.0.7", "198.51.100.9"),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_address_of_a_header_is_that_of_the_client(
    start: Start, header: bytes, client: str, seed: int
) -> None:
    site = start(proxy_protocol=True)
    proxy = site.connect()
    head = get("/small.txt", "X-Forwarded-For: 198.51.100.9")
    assert proxy.ask(*in_pieces(header + head, seed)).content == b"small"
    assert proxy.ask(head).content == b"small"
    assert site.logged(2) == [client] * 2


def test_who_is_no_trusted_proxy_or_sends_no_header_is_not_answered(start: Start) -> None:
    told: list[str] = []
    counters = Counters(memoryview(bytearray(8 * CELLS)))
    site = start(counters=counters, report=told.append, proxy_protocol=True, head_timeout=0.1)
    head, clients = get("/small.txt"), []
    for source, octets in [
        (STRANGER, V1 % b"192.0.2.1" + head),
        ("", head),
        ("", b"PROXY TCP4 192.0.2.1\r\n" + head),
        ("", b"PROXY TCP4 192.0.2.1"),  # and nothing more, in time
        ("", b""),
    ]:
        clients.append(site.connect(source))
        clients[-1].send_as_far_as_possible([octets])
    for client in clients:
        client.is_cut()  # or closed
        assert client.received == b""
    assert site.connect().ask(V1 % b"192.0.2.1" + head).status == 200
    assert site.logged(1) == ["192.0.2.1"]
    (first,) = told  # one in a minute
    assert first.startswith(f"a connection of {STRANGER} is closed (--proxy-protocol): ")
    assert counters.cells[NOT_ANNOUNCED] == 3, "who leaves or is silent is not refused"


def test_a_malformed_header_is_told(start: Start) -> None:
    told: list[str] = []
    site = start(report=told.append, proxy_protocol=True)
    client = site.connect()
    client.send(b"PROXY TCP4 nowhere\r\n")
    assert client.is_cut() or client.received == b""
    assert told == [
        "a connection of 127.0.0.1 is closed (--proxy-protocol): a header of version 1 is malformed"
    ]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes keys")
def test_a_header_comes_before_the_handshake(start: Start, tmp_path: Path) -> None:
    certificate = make(tmp_path, "c.pem", "localhost")
    site = start(proxy_protocol=True, tls_certs=[str(certificate)], hsts=60)
    trusting = ssl.create_default_context(cafile=str(certificate))
    for header, client, line in [
        (V1 % b"192.0.2.1", "192.0.2.1", "X-Forwarded-For: 192.0.2.9"),
        (V1 % b"10.0.0.2", "192.0.2.2", "X-Forwarded-For: 192.0.2.2"),
    ]:
        with TlsClient(site.url, trusting, before=header) as proxy:
            answer = proxy.ask(get("/small.txt", line))
            assert (answer.content, "strict-transport-security" in answer.fields) == (
                b"small",
                True,
            )
            answer = proxy.ask(get("/small.txt", line, "X-Forwarded-Proto: http"))
            is_trusted = client == "192.0.2.2"
            assert ("strict-transport-security" in answer.fields) != is_trusted
    assert site.logged(4) == ["192.0.2.1"] * 2 + ["192.0.2.2"] * 2


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes keys")
def test_a_handshake_that_fails_is_told_with_the_client_of_the_header(
    start: Start, tmp_path: Path
) -> None:
    told: list[str] = []
    certificate = make(tmp_path, "c.pem", "localhost")
    site = start(report=told.append, proxy_protocol=True, tls_certs=[str(certificate)])
    client = site.connect()
    client.send(V1 % b"192.0.2.1" + b"\x16\x03\x01\x00\x04\x01\x00\x00\x00")
    client.is_cut()
    assert [text.partition(":")[0] for text in told] == ["no TLS with 192.0.2.1"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"proxy_protocol": True}, "--proxy-protocol needs --trust-proxy"),
        ({"trust_proxy_header": "forwarded"}, "--trust-proxy-header needs --trust-proxy"),
        ({"hsts": 60}, "--hsts needs TLS"),
        ({"trust_proxies": ["127.0.0.1"], "allows": ["create"]}, "--insecure-writes"),
    ],
)
def test_options_that_do_not_fit_together(
    serve: Serve, options: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        serve(**options)
