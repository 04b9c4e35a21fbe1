"""TLS on a server, by real clients: the ssl module, octet by octet where that matters."""

from __future__ import annotations

import shutil
import ssl
import struct
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from portico.config.config import Config, ConfigError
from portico.server.embedded import Server
from portico.server.net.certificates import Certificates
from portico.server.net.loop import LAST, READ, WRITE
from portico.server.net.tls import ENCRYPTED_AT_ONCE, Hello, Tls, client_hello, read_hello
from portico.server.net.transport import Plain
from tests.server.certifying import TlsClient, make
from tests.server.clients import PATIENCE, Client, get, request
from tests.server.conftest import Serve
from tests.server.net.conftest import Pair

LARGE = bytes(range(256)) * (10 << 12)
"""10 MiB."""
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes keys")
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """For localhost, and for *.example.org and more."""
    folder = tmp_path_factory.mktemp("certificates")
    return str(make(folder, "one.pem", "localhost")), str(
        make(folder, "other.pem", "*.example.org", "example.org")
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "small.txt").write_bytes(b"small")
    (tmp_path / "root" / "large.bin").write_bytes(LARGE)
    return tmp_path / "root"


@pytest.fixture
def server(serve: Serve, root: Path, certificates: tuple[str, str]) -> Server:
    return serve(root, tls_certs=certificates, allow="write", hsts=60, max_upload="20M")


@pytest.fixture
def trusting(certificates: tuple[str, str]) -> ssl.SSLContext:
    """What a client needs to trust both certificates."""
    context = ssl.create_default_context(cafile=certificates[0])
    context.load_verify_locations(certificates[1])
    return context


@pytest.mark.parametrize("version", VERSIONS)
def test_requests_are_answered(
    server: Server, trusting: ssl.SSLContext, version: ssl.TLSVersion, root: Path
) -> None:
    trusting.minimum_version = trusting.maximum_version = version
    assert server.url.startswith("https://")
    with TlsClient(server.url, trusting) as client:
        for _ in range(2):
            answer = client.ask(get("/small.txt"))
            assert answer.content == b"small"
            assert answer.fields["strict-transport-security"] == "max-age=60"
        head = request("PUT", "/new.bin", f"Content-Length: {len(LARGE)}")
        assert client.ask(head, LARGE).status == 201
        client.send(get("/new.bin") + get("/small.txt"), get("/large.bin", "Connection: close"))
        assert [client.answer().content for _ in range(3)] == [LARGE, b"small", LARGE]
        assert client.at_end()  # by close_notify: a bare end raises SSLEOFError
    assert (root / "new.bin").read_bytes() == LARGE


def test_slow_clients_get_all_of_it(server: Server, trusting: ssl.SSLContext) -> None:
    """Who takes a record at a time, of a file and of memory, through a narrow connection."""
    with TlsClient(server.url, trusting, receive_buffer=4096) as client:
        client.send(get("/large.bin", "Range: bytes=0-999999"), get("/small.txt"))
        assert client.answer().content == LARGE[:1_000_000]
        assert client.answer().content == b"small"


def test_the_name_chooses_the_certificate(server: Server, trusting: ssl.SSLContext) -> None:
    for name in ("localhost", "www.example.org", "EXAMPLE.org"):
        with TlsClient(server.url, trusting, name) as client:
            client.ask(get("/small.txt"))
    for name in ("a.b.example.org", "other.example"):
        with pytest.raises(ssl.SSLCertVerificationError):
            TlsClient(server.url, trusting, name)


@pytest.mark.parametrize("version", VERSIONS)
def test_sessions_are_resumed_but_not_under_another_name(
    server: Server, trusting: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    trusting.minimum_version = trusting.maximum_version = version

    def ask(name: str, session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession]:
        with TlsClient(server.url, trusting, name, session=session) as client:
            client.ask(get("/small.txt", "Connection: close"))
            assert client.tls.session is not None
            return bool(client.tls.session_reused), client.tls.session

    _, session = ask("localhost", None)
    assert ask("localhost", session)[0]
    assert not ask("www.example.org", session)[0]


class Handshake:
    """A client's side of TLS, whose octets the test carries."""

    def __init__(self, context: ssl.SSLContext, name: str = "localhost") -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)

    def hello(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()

    def complete(self, send: Callable[[bytes], object], receive: Callable[[], bytes]) -> None:
        """Shake hands, once the ClientHello is sent."""
        done = False
        while not done:
            self.incoming.write(receive())
            try:
                self.tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
        send(self.outgoing.read())


def octet_by_octet(client: Client) -> Callable[[bytes], None]:
    return lambda octets: client.send(*[bytes([octet]) for octet in octets])


def test_one_octet_at_a_time(server: Server, trusting: ssl.SSLContext) -> None:
    """The handshake, and a request, from a client that sends so."""
    client_side = Handshake(trusting)
    with Client(server.url) as client:
        send = octet_by_octet(client)
        send(client_side.hello())
        client_side.complete(send, lambda: client.socket.recv(65536))
        client_side.tls.write(get("/small.txt"))
        send(client_side.outgoing.read())
        received = b""
        while not received.endswith(b"small"):
            client_side.incoming.write(client.socket.recv(65536))
            try:
                received += client_side.tls.read(65536)
            except ssl.SSLWantReadError:
                continue


def test_a_hello_over_several_records_has_its_name(
    server: Server, trusting: ssl.SSLContext
) -> None:
    """Such as clients send that do not want to be watched."""
    client_side = Handshake(trusting, "www.example.org")
    message = client_side.hello()[5:]
    parts = message[:7], message[7:60], message[60:]
    records = [b"\x16\x03\x01" + struct.pack(">H", len(part)) + part for part in parts]
    with Client(server.url) as client:
        client.send(*records)
        client_side.complete(client.send, lambda: client.socket.recv(65536))


@pytest.mark.parametrize("pieces", [1, 4])
def test_who_speaks_no_tls_is_told_the_address(server: Server, pieces: int) -> None:
    port = urlsplit(server.url).port
    asked = f"POST / HTTP/1.1\r\nhost: localhost:{port}\r\nContent-Length: 90000\r\n\r\n"
    octets = asked.encode() + bytes(90000)
    with Client(server.url) as client:
        client.send(*[octets[start::pieces] if pieces == 1 else b"" for start in range(1)])
        if pieces > 1:
            client.send(octets[:3], octets[3:30], octets[30:200], octets[200:])
        answer = client.answer()
        assert answer.status == 400
        assert f"https://localhost:{port}/".encode() in answer.content
        assert answer.closes
        assert client.at_end()


@pytest.mark.parametrize("host", ["<script>", "evil.example", "localhost:x", ""])
def test_no_address_is_made_of_a_host_that_is_not_ours(server: Server, host: str) -> None:
    with Client(server.url) as client:
        answer = client.ask(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert answer.status == 400
        assert f"The address is https://127.0.0.1:{urlsplit(server.url).port}/<".encode() in (
            answer.content
        )


def test_other_protocols_are_refused(server: Server, trusting: ssl.SSLContext) -> None:
    trusting.set_alpn_protocols(["h2"])
    with pytest.raises(ssl.SSLError, match=r"NO_APPLICATION_PROTOCOL|alert"):
        TlsClient(server.url, trusting)
    trusting.set_alpn_protocols(["h2", "http/1.1"])
    with TlsClient(server.url, trusting) as client:
        assert client.tls.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize("groups", ["ffdhe8192", "ffdhe2048:X25519", "X25519:ffdhe2048"])
def test_keys_are_not_exchanged_by_finite_fields(server: Server, groups: str) -> None:
    """Not even by the only share that the client has sent: that is the first one it names."""
    port = server.url.rpartition(":")[2].strip("/")
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3"]
    said = subprocess.run(
        [*command, "-groups", groups], check=False, input=b"", capture_output=True
    )
    assert (b"X25519" in said.stdout) == groups.startswith("X25519")
    assert (said.returncode == 0) == groups.startswith("X25519")


def hello(name: bytes, length: int | None = None) -> bytes:
    """A ClientHello with this server name, in a record."""
    entry = b"\0" + struct.pack(">H", len(name)) + name
    names = struct.pack(">H", len(entry)) + entry
    extension = struct.pack(">HH", 0, len(names)) + names
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\xc0\x2b" + b"\x01\0"
    body += struct.pack(">H", len(extension)) + extension
    message = b"\x01" + (length or len(body)).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack(">H", len(message)) + message


def test_names_are_read_from_any_hello() -> None:
    whole = hello(b"WWW.example.org")
    assert read_hello(whole[5:]) == Hello("www.example.org", [], [], [])
    for end in range(len(whole)):
        assert client_hello(whole[:end]) is None
        read_hello(whole[5:end])
    for position in range(5, len(whole)):
        for octet in (0, 1, 127, 255):
            read_hello(whole[5:position] + bytes([octet]) + whole[position + 1 :])
    assert client_hello(b"\x16\x03\x01\0\0" * 100) is not None, "it does not go on for ever"


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        b"\x16\x03\x01\xff\xff" + b"x" * 70000,
        b"\x16\x03\x01\0\0" * 40,
        b"\x15\x03\x01\x00\x02\x02\x00",
        hello("münchen.example".encode()),
        hello(b"\xff\xfe"),
        hello(b"localhost", 1 << 20),
        b"\x80\x2e\x01\0\x02" + b"\r\n\r\n",
    ],
)
def test_what_is_broken_leaves_no_trace(
    server: Server, octets: bytes, trusting: ssl.SSLContext
) -> None:
    """On stderr: a fixture looks."""
    with Client(server.url) as broken:
        broken.send_as_far_as_possible([octets])
        with suppress(OSError):
            broken.half_close()
        broken.is_cut()
    with TlsClient(server.url, trusting) as client:
        assert client.ask(get("/small.txt")).status == 200


@pytest.mark.parametrize("octets", [b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n"])
def test_a_handshake_that_stalls_is_ended(
    serve: Serve, root: Path, certificates: tuple[str, str], octets: bytes
) -> None:
    server = serve(root, tls_certs=certificates, head_timeout=0.2)
    with Client(server.url) as client:
        client.send(octets)
        assert client.at_end()


def test_a_response_that_is_cut_does_not_look_complete(
    server: Server, root: Path, trusting: ssl.SSLContext
) -> None:
    with TlsClient(server.url, trusting, receive_buffer=4096) as client:
        client.send(get("/large.bin"))
        client.head()
        (root / "large.bin").write_bytes(b"other")
        client.hurry()
        with suppress(ConnectionResetError, ssl.SSLError):
            assert len(client.until_end()) < len(LARGE)


def test_renegotiation_is_refused(server: Server, certificates: tuple[str, str]) -> None:
    port = urlsplit(server.url).port
    said = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_2", "-CAfile",
         certificates[0], "-servername", "localhost"],
        input=b"R\n" + get("/small.txt", "Connection: close"), capture_output=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert b"RENEGOTIATING" in said.stdout + said.stderr
    assert b"no renegotiation" in said.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_client_certificates_are_demanded(
    serve: Serve,
    root: Path,
    trusting: ssl.SSLContext,
    certificates: tuple[str, str],
    version: ssl.TLSVersion,
) -> None:
    trusting.minimum_version = trusting.maximum_version = version
    one, other = certificates
    server = serve(root, tls_certs=[one], tls_client_ca=other)
    with pytest.raises((ssl.SSLError, ConnectionError)), TlsClient(server.url, trusting) as client:
        client.ask(get("/small.txt"))
    trusting.load_cert_chain(other)
    session = None
    for _ in range(2):
        with TlsClient(server.url, trusting, session=session) as client:
            assert client.ask(get("/small.txt")).content == b"small"
            session = client.tls.session


# The transport by itself


def fail(_name: str, problem: Exception) -> None:
    raise AssertionError(problem)


@pytest.fixture
def both(
    pair: Pair, certificates: tuple[str, str], trusting: ssl.SSLContext
) -> tuple[Tls, Handshake, Pair]:
    """A transport and its client after the handshake."""
    plain, client = pair
    chosen = Certificates(Config.of(tls_certs=certificates))
    client_side = Handshake(trusting)
    transport = Tls(plain, chosen.context_for, fail, bool)
    client.send(client_side.hello())
    with pytest.raises(BlockingIOError):
        transport.receive(1)
    assert transport.readiness(READ) == READ | LAST, "it has to shake hands first"
    client_side.complete(client.send, lambda: client.recv(65536))
    with pytest.raises(BlockingIOError):
        transport.receive(1)
    assert transport.readiness(WRITE) == WRITE
    return transport, client_side, pair


def test_what_is_blocked_goes_out_once(both: tuple[Tls, Handshake, Pair]) -> None:
    """Whatever is called between the attempts, and in whichever pieces it is offered again."""
    transport, client_side, (_, client) = both
    octets = LARGE[: 3 * ENCRYPTED_AT_ONCE + 5]
    offers = [len(octets), 10, 5000, 1]
    received, sent, turn = b"", 0, 0
    while len(received) < len(octets):
        turn += 1
        offer = offers[turn % len(offers)]
        try:
            some = octets[sent : sent + offer]
            sent += transport.send_pieces([some[:3], some[3:]])
        except BlockingIOError:
            assert transport.readiness(READ) == transport.readiness(WRITE) == WRITE
            assert transport.readiness(0) == 0
        client_side.tls.write(b"x") if turn % 7 == 0 else None
        client.send(client_side.outgoing.read())
        with suppress(BlockingIOError):
            assert set(transport.receive(1)) == {ord("x")}
        try:
            client_side.incoming.write(client.recv(3000))
            received += client_side.tls.read(1 << 16)
        except (BlockingIOError, ssl.SSLWantReadError):
            continue
    assert received == octets
    assert sent == len(octets)


def test_who_sends_and_does_not_read_gives_the_loop_no_work(
    both: tuple[Tls, Handshake, Pair],
) -> None:
    """What is to be written first, such as the answer to a key update, is all that it waits for."""
    transport, client_side, (plain, client) = both
    with suppress(BlockingIOError):
        while transport.send(bytes(ENCRYPTED_AT_ONCE)):
            pass
    client_side.tls.write(b"x")
    client.send(client_side.outgoing.read())
    with pytest.raises(BlockingIOError):
        transport.receive(1)
    assert transport.readiness(READ) == WRITE
    assert isinstance(plain, Plain)


# The certificates


def refreshed(held: Certificates, reports: list[str]) -> ssl.SSLContext:
    """The context after two looks."""
    for _ in range(2):
        held.refresh(reports.append)
    return held.context_for("")


def test_a_changed_file_is_loaded_and_a_broken_one_is_not(tmp_path: Path) -> None:
    """Through links as well, such as those to certbot's archive."""
    old, new = make(tmp_path, "old", "old.example"), make(tmp_path, "new", "new.example")
    link = tmp_path / "link.pem"
    link.symlink_to(old)
    held, reports = Certificates(Config.of(tls_cert=str(link))), list[str]()
    first = held.context_for("")
    assert refreshed(held, reports) is first
    link.unlink()
    link.symlink_to(new)
    held.refresh(reports.append)
    assert held.context_for("") is first, "it may still be being written"
    second = refreshed(held, reports)
    assert second is not first
    new.write_text("broken")
    assert refreshed(held, reports) is refreshed(held, reports) is second
    link.unlink()
    assert refreshed(held, reports) is second
    assert [str(link) in report for report in reports] == [True, True], reports
    link.symlink_to(old)
    assert refreshed(held, reports) is not second
    third = held.context_for("")
    held.refresh(reports.append, now=True)
    assert held.context_for("") is not third, "SIGHUP loads in any case"


def test_an_exact_name_goes_before_a_wildcard(tmp_path: Path) -> None:
    files = [make(tmp_path, "any", "*.example.org"), make(tmp_path, "www", "www.example.org")]
    held = Certificates(Config.of(tls_cert=[str(file) for file in files]))
    wild, exact = held.context_for("other.example.org"), held.context_for("www.example.org")
    assert wild is not exact
    for name in ("", "example.org", "*.example.org.evil", "\ufffd"):
        assert held.context_for(name) is wild


@pytest.mark.parametrize(
    ("problem", "says"),
    [
        ("none", "No such file"),
        ("empty", "there is no certificate"),
        ("locked", "protected by a password"),
        ("other", "is not the key of"),
        ("folder", "Is a directory"),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path: Path, problem: str, says: str) -> None:
    file, key = tmp_path / f"{problem}.pem", None
    if problem == "empty":
        file.write_text("")
    if problem == "folder":
        file.mkdir()
    if problem == "other":
        key = file
        file, key = (
            make(tmp_path, "one.pem", "one.example"),
            make(tmp_path, "other.pem", "other.example"),
        )
    if problem == "locked":
        make(tmp_path, "unlocked", "one.example")
        subprocess.run(
            ["openssl", "pkey", "-in", str(tmp_path / "key"), "-aes256", "-passout", "pass:x",
             "-out", str(tmp_path / "secret")],
            check=True, capture_output=True, timeout=PATIENCE,
        )  # fmt: skip
        file.write_text((tmp_path / "secret").read_text() + (tmp_path / "cert").read_text())
    given = {"tls_cert": str(file)} | ({"tls_key": str(key)} if key else {})
    with pytest.raises(ConfigError, match=rf"{problem}\.pem.*{says}"):
        Certificates(Config.of(**given))
