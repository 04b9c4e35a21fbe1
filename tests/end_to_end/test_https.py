"""HTTPS by the command as a whole: addresses with TLS and without, new certificates, reloads."""

from __future__ import annotations

import shutil
import signal
import ssl
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.certifying import TlsClient, make, trusting
from tests.server.clients import Client, eventually, get, request
from tests.server.processes.supervised import Supervised

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes keys")
TOKEN = "/.well-known/acme-challenge/token"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    (root / TOKEN[1:]).parent.mkdir(parents=True)
    (root / TOKEN[1:]).write_bytes(b"proof")
    (root / "small.txt").write_bytes(b"small")
    return root


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    (tmp_path / "made").mkdir()
    return make(tmp_path / "made", "first.pem", "localhost")


@pytest.fixture(params=["1", "2"])
def command(
    request: pytest.FixtureRequest, root: Path, certificate: Path, tmp_path: Path
) -> Iterator[Supervised]:
    """The command with an address of each kind, with one worker and with two."""
    live = tmp_path / "live.pem"
    shutil.copy(certificate, live)
    (tmp_path / "portico.toml").write_text(f"tls_cert = '{live.name}'\nhsts = 60\n")
    options = [str(root), "--config", "portico.toml", "--workers", request.param]
    options += ["--listen", "127.0.0.1:0", "--listen", "http://127.0.0.1:0"]
    options += ["--listen", f"unix:{tmp_path / 's'}", "--redirect-http", "localhost:0"]
    options += ["--allow-host", "localhost"]
    with Supervised(tmp_path, *options) as command:
        yield command.start()


def test_each_address_is_served_as_it_is_said(command: Supervised, certificate: Path) -> None:
    secure, clear, unix = command.urls
    assert secure.startswith("https://")
    assert unix.startswith("unix:")
    with TlsClient(secure, trusting(certificate)) as client:
        answer = client.ask(get("/small.txt"))
        assert answer.content == b"small"
        assert answer.fields["strict-transport-security"] == "max-age=60"
        assert client.ask(get("https://localhost/small.txt")).status == 200
    with Client(clear) as plain:
        for _ in range(2):
            answer = plain.ask(get("/small.txt"))
            assert answer.content == b"small"
            assert "strict-transport-security" not in answer.fields
        assert plain.ask(get("https://localhost/small.txt")).status == 421
    assert command.end() == 0
    assert '"GET /small.txt HTTP/1.1" 200 5' in command.logged


@pytest.mark.parametrize("command", ["1"], indirect=True)
def test_a_new_certificate_serves_and_a_broken_one_does_not(
    command: Supervised, certificate: Path, tmp_path: Path
) -> None:
    """Without a word from anyone, and on SIGHUP; and connections that are there go on."""
    second = make(tmp_path / "made", "second.pem", "localhost")
    third = make(tmp_path / "made", "third.pem", "localhost")
    live = tmp_path / "live.pem"

    def serves(file: Path) -> bool:
        try:
            TlsClient(command.url, trusting(file)).close()
        except ssl.SSLCertVerificationError:
            return False
        return True

    with TlsClient(command.url, trusting(certificate)) as client:
        client.ask(get("/small.txt"))
        shutil.copy(second, live)
        eventually(lambda: serves(second))
        live.write_text("broken")
        command.hears("the certificates that were loaded before go on")
        assert serves(second)
        shutil.copy(third, live)
        command.send(signal.SIGHUP)
        command.hears("only certificates are reloaded")
        eventually(lambda: serves(third))
        assert client.ask(get("/small.txt")).content == b"small"
    assert command.said.count("live.pem: there is no certificate") == 1


@pytest.mark.parametrize("command", ["2"], indirect=True)
def test_a_reload_fails_nobody(command: Supervised, certificate: Path) -> None:
    failed: list[str] = []
    answered = [0]
    done = threading.Event()
    context = trusting(certificate)

    def ask() -> None:
        while not done.is_set():
            try:
                with TlsClient(command.url, context) as client:
                    for _ in range(3):
                        answer = client.ask(get("/small.txt"))
                        answered[0] += answer.status == 200
                        if answer.closes:
                            break
            except (OSError, AssertionError) as problem:
                failed.append(repr(problem))

    asking = threading.Thread(target=ask)
    asking.start()
    for times in (1, 2):
        command.reload(times)
        before = answered[0]
        eventually(lambda: answered[0] > before + 5)  # noqa: B023 (called in this turn)
    done.set()
    asking.join()
    assert not failed


def test_who_comes_without_tls_is_redirected(command: Supervised) -> None:
    """But an authority, which wants its proof, is not, however it is asked for."""
    port = command.url.rstrip("/").rpartition(":")[2]
    (redirecting,) = {
        socket for socket in listening(command) if f":{socket}/" not in " ".join(command.urls)
    }
    url = f"http://127.0.0.1:{redirecting}/"
    with Client(url) as client:
        answer = client.ask(get("/a%20b?c=d"))
        assert answer.status == 301
        assert answer.fields["location"] == "https://localhost/a%20b?c=d", "port 80 is mapped here"
        named = request("POST", "/a", "Content-Length: 0").replace(
            b"localhost", f"localhost:{redirecting}".encode()
        )
        answer = client.ask(named)
        assert answer.status == 308
        assert answer.fields["location"] == f"https://localhost:{port}/a"
        assert client.ask(get(TOKEN)).content == b"proof"
        assert client.ask(get("/.well-known/acme-challenge/")).status == 301
        assert client.ask(request("HEAD", "/"), method="HEAD").status == 301
        unknown = get("/").replace(b"localhost", b"evil.example")
        assert client.ask(unknown).status == 421
    for path in ("/.well-known/acme-challenge/../../small.txt", "//evil.example/"):
        with Client(url) as client:
            answer = client.ask(get(path))
            assert b"small" not in answer.content
            assert "evil" not in answer.fields.get("location", "").split("/")[2:3]


def listening(command: Supervised) -> set[str]:
    """The ports on which the command listens."""
    inodes = {
        link.readlink().name
        for link in Path(f"/proc/{command.popen.pid}/fd").iterdir()
        if link.is_symlink()
    }
    ports = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *rest = line.split()
        if state == "0A" and f"socket:[{rest[5]}]" in inodes:
            ports.add(str(int(local.rpartition(":")[2], 16)))
    return ports


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--tls-cert", "none.pem"], "none.pem: No such file or directory"),
        (["--tls-key", "k"], "--tls-key needs TLS"),
        (["--hsts", "5"], "--hsts needs TLS"),
        (["--redirect-http", ":0"], "--redirect-http needs TLS"),
        (["--tls-cert", "a", "--tls-key", "a", "--tls-key", "b"], "one for each --tls-cert"),
        (["--tls-cert", "a", "--https"], "give no --tls-cert with it"),
        (["--tls-cert", "none.pem", "--workers", "2"], "none.pem: No such file or directory"),
    ],
)
def test_mistakes_are_told_at_the_start(
    root: Path, tmp_path: Path, options: list[str], says: str
) -> None:
    with Supervised(tmp_path, str(root), "--port", "0", *options) as command:
        assert command.end(None) != 0
        assert says in command.said
        assert command.said.count("\n") == 1


def test_a_certificate_for_work_on_this_machine(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    state = tmp_path / "state" / "portico"
    server = state / "server" / "localhost.pem"

    def serve(*, is_new: bool = False) -> tuple[bytes, bytes]:
        options = [str(root), "--port", "0", "--https"]
        with Supervised(tmp_path, *options, environ=environ) as command:
            command.start()
            assert ("Have browsers trust this, once: " in command.said) == is_new
            assert str(state / "authority.pem") in command.said
            context = trusting(state / "authority.pem")
            for name in ("localhost", "127.0.0.1"):
                with TlsClient(command.url, context, name) as client:
                    assert client.ask(get("/small.txt")).content == b"small"
            assert command.end() == 0
        return (state / "authority.pem").read_bytes(), server.read_bytes()

    first = serve(is_new=True)
    assert serve() == first, "it is made once"
    for file in (server, state / "authority.pem", state / "authority.key"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    server.unlink()
    assert serve()[0] == first[0], "the authority stays"
    (state / "authority.pem").unlink()
    serve(is_new=True)
