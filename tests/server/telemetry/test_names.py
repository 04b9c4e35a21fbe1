"""Who a client is: users and the subjects of certificates in the log, and who gets no TLS."""

from __future__ import annotations

import gc
import json
import shutil
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from portico.config.config import Config
from portico.server.net.tls import Tls, subject_of
from portico.server.telemetry import counters
from portico.server.telemetry.access_log import AccessLog
from portico.server.telemetry.counters import ServerCounters
from portico.server.telemetry.telemetry import Telemetry
from tests.server import inside
from tests.server.certifying import TlsClient, make
from tests.server.clients import Client, eventually, get
from tests.server.test_users import CHEAP, basic

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes keys")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """That of the server, and that of a client, which is its own authority."""
    folder = tmp_path_factory.mktemp("certificates")
    return str(make(folder, "one.pem", "localhost")), str(make(folder, "two.pem", "Al ice"))


@pytest.fixture
def trusting(certificates: tuple[str, str]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificates[0])


class Watched:
    """A worker with TLS: its URL, its log, what it tells, and how many handshakes have failed."""

    def __init__(self, url: str, log: Path, told: list[str], counted: Callable[[], int]) -> None:
        self.url = url
        self.log = log
        self.told = told
        self.counted = counted

    def lines(self, count: int) -> list[str]:
        eventually(lambda: self.log.read_bytes().count(b"\n") == count)
        return self.log.read_text().splitlines()


@contextmanager
def watched(
    site: Path, tmp_path: Path, log_format: str = "common", **options: object
) -> Iterator[Watched]:
    (tmp_path / "users").write_text(f"alice:{CHEAP}\n")
    config = Config.of(root=str(site), port=0, users=str(tmp_path / "users"), **options)
    told: list[str] = []
    server = ServerCounters()
    with (tmp_path / "log").open("wb") as file:
        log = AccessLog(
            file.fileno(), Config.of(log_format=log_format, color="never", users="users")
        )
        telemetry = Telemetry(log, server.add(), told.append)
        with inside.running(config, telemetry=telemetry) as (_, url):
            yield Watched(
                url, tmp_path / "log", told, lambda: server.sums()[0][counters.HANDSHAKES_FAILED]
            )


@pytest.mark.parametrize("log_format", ["common", "json"])
def test_clients_have_their_names(
    site: Path,
    tmp_path: Path,
    certificates: tuple[str, str],
    trusting: ssl.SSLContext,
    log_format: str,
) -> None:
    """The user, who is the person, goes before the certificate; and nobody's name is kept."""
    trusting.load_cert_chain(certificates[1])
    options = {"tls_cert": certificates[0], "tls_client_ca": certificates[1]}
    with watched(site, tmp_path, log_format, **options) as server:
        with TlsClient(server.url, trusting) as client:
            for lines in ((), (basic("alice"),), (basic("alice", "wrong"),), ()):
                client.ask(get("/small.txt", *lines))
        found = server.lines(4)
    if log_format == "common":
        subject = r"127.0.0.1 - CN=Al\x20ice ["
        names = ["CN=Al\\x20ice", "alice", "CN=Al\\x20ice", "CN=Al\\x20ice"]
        assert [line.split(" ")[2] for line in found] == names
        assert found[0].startswith(subject)
    else:
        said = [(line["client_subject"], line["user"]) for line in map(json.loads, found)]
        assert said == [("CN=Al ice", name) for name in (None, "alice", None, None)]


@pytest.mark.parametrize(
    ("header", "line"),
    [
        (b"", "127.0.0.1 - CN=Al\\x20ice ["),
        (b"PROXY TCP4 192.0.2.7 127.0.0.1 4 5\r\n", "192.0.2.7 - CN=Al\\x20ice ["),
    ],
)
def test_a_name_goes_with_the_address_of_a_header_and_no_connection_with_an_address(
    site: Path,
    tmp_path: Path,
    certificates: tuple[str, str],
    trusting: ssl.SSLContext,
    header: bytes,
    line: str,
) -> None:
    """Addresses are keys of caches, which must not hold connections that have ended."""
    trusting.load_cert_chain(certificates[1])
    earlier = transports()  # of other tests, which are kept, so that none gets the place of another
    with watched(
        site,
        tmp_path,
        tls_cert=certificates[0],
        tls_client_ca=certificates[1],
        trust_proxies=["127.0.0.1"],
        proxy_protocol=bool(header),
        client_requests=9,
    ) as server:
        with TlsClient(server.url, trusting, before=header) as client:
            client.ask(get("/small.txt"))
        assert server.lines(1)[0].startswith(line)
        eventually(lambda: transports().keys() <= earlier.keys())


def transports() -> dict[int, Tls]:
    """All that there are in this process, by id."""
    gc.collect()
    return {id(each): each for each in gc.get_objects() if type(each) is Tls}


def test_without_names_there_is_a_hyphen(site: Path, tmp_path: Path) -> None:
    with watched(site, tmp_path) as server, Client(server.url) as client:
        client.ask(get("/small.txt"))
        assert server.lines(1)[0].startswith("127.0.0.1 - - [")


def test_a_subject_cannot_pretend_to_be_another() -> None:
    names = ((("organizationName", "x"),), (("commonName", "a,O=b"), ("title", "\\")))
    assert subject_of({"subject": names}) == r"title=\\,CN=a\,O=b,O=x"


def old_protocol(context: ssl.SSLContext) -> None:
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")


def old_cipher(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA")


def other_application(context: ssl.SSLContext) -> None:
    context.set_alpn_protocols(["h2"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (old_protocol, "it speaks neither TLS 1.2 nor 1.3"),
        (old_cipher, "it has no cipher in common with this server"),
        (other_application, "it speaks other protocols only, not HTTP/1.1"),
        (lambda _context: None, "it has no certificate, which --tls-client-ca demands"),
        (lambda context: context, "its certificate is not accepted: self-signed certificate"),
    ],
)
def test_a_handshake_that_fails_is_told_and_counted(
    site: Path,
    tmp_path: Path,
    certificates: tuple[str, str],
    trusting: ssl.SSLContext,
    change: Callable[[ssl.SSLContext], object],
    reason: str,
) -> None:
    """Once, however many there are in a short time."""
    if change(trusting) is not None:
        trusting.load_cert_chain(make(tmp_path, "other.pem", "stranger"))
    options = {"tls_cert": certificates[0], "tls_client_ca": certificates[1]}
    with watched(site, tmp_path, **options) as server:
        for _ in range(2):
            with suppress(OSError), TlsClient(server.url, trusting) as client:
                client.until_end()
        eventually(lambda: server.counted() == 2)
        assert server.told == [f"no TLS with 127.0.0.1 (for 'localhost'): {reason}"]


def test_a_client_that_does_not_trust_the_server_is_told(
    site: Path, tmp_path: Path, certificates: tuple[str, str]
) -> None:
    stranger = ssl.create_default_context()
    stranger.maximum_version = ssl.TLSVersion.TLSv1_2  # in TLS 1.3 it is through before it objects
    with watched(site, tmp_path, tls_cert=certificates[0]) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            TlsClient(server.url, stranger)
        eventually(lambda: server.told)
        assert server.told[0].endswith("it does not trust this server's certificate")


def test_a_client_that_leaves_is_only_counted(
    site: Path, tmp_path: Path, certificates: tuple[str, str]
) -> None:
    outgoing = ssl.MemoryBIO()
    begun = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="x")
    with suppress(ssl.SSLWantReadError):
        begun.do_handshake()
    with watched(site, tmp_path, tls_cert=certificates[0]) as server, Client(server.url) as client:
        client.send(outgoing.read())
        client.half_close()
        eventually(lambda: server.counted() == 1)
        assert server.told == []
