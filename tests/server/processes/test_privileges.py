"""`--user`: what root does at the start, and what nobody can do afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from portico.config.config import Config, ConfigError
from portico.server.processes.privileges import Account, account, become
from tests.server.certifying import TlsClient, make, trusting
from tests.server.clients import Client, eventually, get, request
from tests.server.processes.supervised import Supervised, package_copy
from tests.server.uploading import put
from tests.unprivileged import NOBODY, public_folder, unprivileged

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a site, a key that only root may read, and the server's output."""
    with public_folder() as folder:
        (folder / "site").mkdir()
        (folder / "site" / "small.txt").write_bytes(b"small")
        (folder / "keys").mkdir(mode=0o700)
        (folder / "made").mkdir()
        yield folder


@AS_ROOT
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("sandbox", ["--sandbox", "--no-sandbox"])
def test_it_listens_and_reads_keys_as_root_and_serves_as_nobody(
    place: Path, workers: str, sandbox: str
) -> None:
    name = pwd.getpwuid(NOBODY).pw_name
    cert = place / "keys" / "cert.pem"
    first, second = (make(place / "made", f"{name}.pem", "localhost") for name in "12")
    shutil.copy(first, cert)
    options = [str(place / "site"), "--listen", "127.0.9.9:843", "--tls-cert", str(cert)]
    options += ["--user", name, "--workers", workers, "--allow", "create", "--allow-host", "*"]
    with Supervised(place, *options, sandbox) as portico:
        with TlsClient(portico.start().url, trusting(first)) as client:
            assert client.ask(get("/small.txt")).content == b"small"
        pids = portico.workers or {portico.popen.pid}
        for pid in pids:
            for task in Path(f"/proc/{pid}/task").iterdir():
                status = (task / "status").read_text()
                for line in ("Uid", "Gid"):
                    assert f"{line}:" + f"\t{NOBODY}" * 4 + "\n" in status
                assert f"\nGroups:\t{NOBODY} \n" in status
                assert "\nCapEff:\t0000000000000000\n" in status
        takes = "restart" if workers == "1" else "reload (SIGHUP)"
        said = f"portico: {cert} cannot be read by --user {name}: a new one takes a {takes}\n"
        assert portico.said.count(said) == 1
        shutil.copy(second, cert)
        portico.send(signal.SIGHUP)
        if workers == "1":
            portico.hears(f"{cert}: Permission denied; the certificates that were loaded before go")
        else:
            portico.hears("portico: reloaded: ")
            assert portico.said.count(said) == 2
        expected = first if workers == "1" else second
        with TlsClient(portico.url, trusting(expected)) as client:
            assert client.ask(get("/small.txt")).content == b"small"
        assert portico.end() == 0


@AS_ROOT
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_site_that_the_user_cannot_read_is_not_served(place: Path, workers: str) -> None:
    (place / "site").chmod(0o700)
    name = pwd.getpwuid(NOBODY).pw_name
    options = (str(place / "site"), "--port", "0", "--user", str(NOBODY), "--workers", workers)
    with Supervised(place, *options) as portico:
        eventually(lambda: portico.popen.poll() is not None)
        assert f"{place / 'site'} cannot be read by --user {NOBODY}" in portico.said, name
        assert portico.popen.returncode != 0


@AS_ROOT
@pytest.mark.parametrize("workers", ["1", "2"])
def test_python_code_that_the_user_cannot_read_is_told(place: Path, workers: str) -> None:
    """What usual requests need is there all the same."""
    package = package_copy(place / "keys")
    options = [str(place / "site"), "--port", "0", "--user", str(NOBODY), "--workers", workers]
    options += ["--allow", "create"]
    os.chown(place / "site", NOBODY, NOBODY)
    environ = {"PYTHONPATH": str(place / "keys")}
    with Supervised(place, *options, environ=environ) as portico:
        portico.start()
        said = f"portico: {package} cannot be read by --user {NOBODY}: what Python loads when"
        assert portico.said.count(said) == 1
        with Client(portico.url) as client:
            assert put(client, "/up.txt", b"up").status == 201
            (place / "site" / "_headers").write_text("/up.txt\n  X-A: b\n")
            assert client.ask(get("/up.txt", "Accept-Encoding: br")).fields["x-a"] == "b"
            assert client.ask(get("/", "Accept-Encoding: gzip")).status == 200
        assert portico.end() == 0


@AS_ROOT
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_site_that_the_user_cannot_write_is_told_and_uploads_are_forbidden(
    place: Path, workers: str
) -> None:
    os.chown(place / "made", NOBODY, NOBODY)
    (place / "made").rename(place / "site" / "in")
    options = [str(place / "site"), "--port", "0", "--user", str(NOBODY), "--workers", workers]
    with Supervised(place, *options, "--allow", "write", "--insecure-writes") as portico:
        with Client(portico.start().url) as client:
            for path, status in [("/up.txt", 403), ("/small.txt", 403), ("/n/a", 403),
                                 ("/n/", 403), ("/in/a", 201)]:  # fmt: skip
                assert put(client, path, b"" if path.endswith("/") else b"up").status == status
            assert client.ask(request("DELETE", "/small.txt")).status == 403
            assert put(client, "/big.bin", bytes(1 << 20)).status == 403
        said = f"portico: {place / 'site'} cannot be written by --user {NOBODY}: uploads get 403"
        portico.hears(said)
        assert portico.said.count(said) == 1
        assert portico.end() == 0


def test_a_system_that_does_not_let_root_become_another() -> None:
    with unprivileged(), pytest.raises(ConfigError, match="the system does not allow it"):
        become(Account(1, 1, [1]), Config.of(user="daemon"), None, is_alone=True)


@pytest.mark.parametrize("name", ["nobody-has-this-name", "4294967294", "9" * 30])
def test_a_user_that_there_is_not(name: str) -> None:
    with pytest.raises(ConfigError, match="there is no user"):
        account(name)


def test_only_root_can_do_it() -> None:
    with unprivileged(), pytest.raises(ConfigError, match="only root can become another user"):
        account("root")
