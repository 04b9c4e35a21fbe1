"""SIGHUP: new configuration and new code, while clients go on as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.load import Load
from tests.server.certifying import TlsClient, make
from tests.server.clients import PATIENCE, Client, UnixClient, eventually, get, request
from tests.server.processes.supervised import Supervised, is_gone, needs_proc, package_copy

pytestmark = needs_proc

LARGE = 1 << 22


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder in which the command runs: a site, a configuration, room for what it writes."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "small.txt").write_bytes(b"small")
    (site / "large.bin").write_bytes(bytes(LARGE))
    configure(tmp_path)
    return tmp_path


def configure(root: Path, *lines: str) -> None:
    """Write the configuration file; it names the site last, unless these lines do."""
    own = [] if any(line.startswith("root") for line in lines) else ["root = 'site'"]
    file = root / "new.toml"
    file.write_text("\n".join([*lines, *own]))
    file.replace(root / "portico.toml")


@pytest.fixture
def run(root: Path) -> Iterator[Callable[..., Supervised]]:
    """Start the command, with two workers unless other options say so."""
    with ExitStack() as stack:

        def start(*options: str, pythonpath: Path | None = None) -> Supervised:
            if "listen" not in (root / "portico.toml").read_text():
                options = ("--port", "0", *options)
            environ = {"PORTICO_WORKERS": "2"}
            if pythonpath is not None:
                environ["PYTHONPATH"] = str(pythonpath)
            portico = Supervised(root, "--config", "portico.toml", *options, environ=environ)
            return stack.enter_context(portico).start()

        yield start


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


Run = Callable[..., Supervised]


def allows_all(portico: Supervised) -> bool:
    """Whether --cors is in effect for a new client."""
    with Client(portico.url) as client:
        head = get("/small.txt", "Origin: http://a.test", "Connection: close")
        return client.ask(head).fields.get("access-control-allow-origin") == "*"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes keys")
def test_no_request_fails_and_all_that_is_new_takes_effect(root: Path, run: Run) -> None:
    """By TCP, TLS and a unix socket; new code and a new configuration each time."""
    pages = package_copy(root) / "site" / "pages" / "errors.py"
    certificate = make(root, "cert.pem", "localhost")
    context = ssl.create_default_context(cafile=certificate)
    listen = "listen = ['http://127.0.0.1:0', '127.0.0.1:0', 'unix:s']"
    tls = "tls_cert = 'cert.pem'"
    configure(root, listen, tls)
    portico = run("--grace", "2", pythonpath=root)  # more than a client sleeps on a busy machine
    secure = portico.urls[1]
    code = pages.read_text()
    with Load(
        *[lambda: Client(portico.url)] * 3,
        *[lambda: TlsClient(secure, context)] * 2,
        *[lambda: UnixClient(root / "s")] * 3,
    ) as load:
        load.goes_on()
        for number in (1, 2):
            before = portico.workers
            # Each longer than the last: Python tells a file that was edited twice within a second
            # from its cached bytecode by the size alone.
            told = f"import sys\nsys.stderr.write('code {number * 1111}\\n')\n"
            pages.write_text(f"{code}\n{told}{number * '#'}\n")
            configure(root, listen, tls, "cors = true" if number % 2 else "cors = false")
            portico.reload(number)
            assert allows_all(portico) == bool(number % 2)
            assert portico.said.count(f"code {number * 1111}\n") == 2
            load.goes_on()
            eventually(lambda: len(portico.workers) == 2)  # the old ones have gone
            assert not portico.workers & before
        for number in range(3, 21):
            portico.reload(number)
        load.goes_on()
    assert not load.failed
    assert portico.end() == 0


def test_a_bad_configuration_changes_nothing(root: Path, run: Run) -> None:
    portico = run()
    before = portico.workers
    for lines, complaint in {
        "ports = 1": "portico.toml, line 1, key ports: no such option",
        "root = 'none'": "no such file or folder: 'none'",
    }.items():
        configure(root, lines)
        portico.send(signal.SIGHUP)
        portico.hears(f"portico: not reloaded, all goes on as before: {complaint}")
    assert portico.content() == b"small"
    assert portico.workers == before
    configure(root, "cors = true")
    portico.reload()
    assert allows_all(portico)
    assert portico.end() == 0


def test_code_that_does_not_run_changes_nothing(root: Path, run: Run) -> None:
    code = package_copy(root) / "server" / "worker.py"
    portico = run(pythonpath=root)
    before = portico.workers
    good = code.read_text()
    code.write_text(f"{good}\nraise SystemExit(7)\n")
    portico.send(signal.SIGHUP)
    portico.hears("has ended with exit code 7")
    eventually(lambda: portico.workers == before)
    assert "portico: not reloaded, all goes on as before: worker " in portico.said
    assert portico.content() == b"small"
    code.write_text(good)
    portico.reload()
    assert portico.content() == b"small"
    assert portico.end() == 0


def test_a_worker_that_is_replaced_has_the_configuration_of_the_others(
    root: Path, run: Run
) -> None:
    """Not that of a file that has been edited since."""
    portico = run()
    configure(root, "cors = true")
    for pid in portico.workers:
        os.kill(pid, signal.SIGKILL)
        portico.hears(f"(process {pid}) was killed by signal 9")
    assert not any(allows_all(portico) for _ in range(10))
    assert portico.end() == 0


def test_addresses_come_and_go(root: Path, run: Run, stack: ExitStack) -> None:
    kept, gone = "127.0.0.1:0", "127.0.0.2:0"
    configure(root, f'listen = ["{kept}", "{gone}", "unix:a.sock"]')
    portico = run()
    stays, leaves, unix = portico.urls
    assert unix == "unix:a.sock"
    client = stack.enter_context(Client(leaves))
    client.send(get("/large.bin")[:20])
    configure(root, f'listen = ["unix:b.sock", "{kept}"]')
    portico.reload()
    with Client(stays) as another:
        assert another.ask(get("/small.txt")).content == b"small"
    with pytest.raises(ConnectionRefusedError):
        Client(leaves)
    assert len(client.ask(get("/large.bin")[20:]).content) == LARGE
    assert not (root / "a.sock").exists()
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(root / "b.sock"))
    client.close()
    assert portico.end() == 0
    assert not (root / "b.sock").exists()


def test_an_address_that_cannot_be_had_changes_nothing(root: Path, run: Run) -> None:
    configure(root, 'listen = ["127.0.0.1:0"]')
    portico = run()
    configure(root, 'listen = ["unix:a.sock", "127.0.0.1:0", "unix:none/b.sock"]')
    portico.send(signal.SIGHUP)
    portico.hears("none/b.sock'\n")
    assert portico.content() == b"small"
    assert not (root / "a.sock").exists()
    assert portico.end() == 0


def test_the_number_of_workers_changes(root: Path) -> None:
    configure(root, "workers = 2")
    with Supervised(root, "--config", "portico.toml", "--port", "0") as portico:
        portico.start()
        for times, number in enumerate((3, 1), start=1):
            configure(root, f"workers = {number}")
            portico.reload(times)
            eventually(lambda: len(portico.workers) == number)  # noqa: B023 (called at once)
            assert portico.content() == b"small"
        assert "portico: reloaded: 3 workers\nportico: reloaded: 1 worker\n" in portico.said
        assert portico.end() == 0
    assert "Stopped after 2 requests" in portico.said


def test_old_workers_finish_however_long_it_takes(run: Run, stack: ExitStack) -> None:
    """The grace time is for idle connections, and for a stop."""
    portico = run("--grace", "0.05")
    download = stack.enter_context(Client(portico.url, receive_buffer=4096))
    download.send(get("/large.bin"))
    eventually(download.has_news)
    idle = stack.enter_context(Client(portico.url))
    assert idle.ask(get("/small.txt")).content == b"small"
    before = portico.workers
    portico.reload()
    assert idle.at_end()
    assert len(portico.workers) > 2
    download.hurry()
    answer = download.answer()
    assert len(answer.content) == LARGE
    download.close()
    eventually(lambda: not portico.workers & before)
    assert portico.end() == 0


def test_a_connection_that_waits_is_answered_once_more(run: Run, stack: ExitStack) -> None:
    portico = run("--grace", "3600")
    clients = [stack.enter_context(Client(portico.url)) for _ in range(8)]
    for client in clients:
        assert not client.ask(get("/small.txt")).closes
    before = portico.workers
    portico.reload()
    for client in clients:
        answer = client.ask(get("/small.txt"))
        assert answer.content == b"small"
        assert answer.closes
        assert client.at_end()
        client.close()
    eventually(lambda: not portico.workers & before)
    assert portico.end() == 0


@pytest.mark.parametrize("grace", ["0.2", "3600"])
def test_a_download_begun_before_is_not_the_last_answer(
    run: Run, stack: ExitStack, grace: str
) -> None:
    """It announced no end of the connection; who asks for nothing more is closed all the same."""
    portico = run("--grace", grace)
    download = stack.enter_context(Client(portico.url, receive_buffer=4096))
    download.send(get("/large.bin"))
    eventually(download.has_news)
    before = portico.workers
    portico.reload()
    download.hurry()
    answer = download.answer()
    assert (len(answer.content), answer.closes) == (LARGE, False)
    if grace == "3600":
        assert download.ask(get("/small.txt")).closes
    assert download.at_end()
    eventually(lambda: not portico.workers & before)
    assert portico.end() == 0


def test_a_stop_does_not_wait_for_old_workers(run: Run, stack: ExitStack) -> None:
    """They drain within the grace time, as all workers do then."""
    portico = run("--grace", "0.1")
    download = stack.enter_context(Client(portico.url, receive_buffer=4096))
    download.send(get("/large.bin"))
    eventually(download.has_news)
    portico.reload()
    assert portico.workers
    assert portico.end() == 0
    download.is_cut()


def test_an_upload_outlives_a_reload(root: Path, run: Run, stack: ExitStack) -> None:
    """What is under way comes to its end; what was broken off is gone on with by new workers."""
    configure(root, 'allow = "write"')
    portico = run("--grace", "0.05")
    client = stack.enter_context(Client(portico.url))
    content = os.urandom(LARGE)
    length = f"Content-Length: {LARGE}"
    client.send(request("PUT", "/whole.bin", length), content[: LARGE // 2])
    broken = stack.enter_context(Client(portico.url))
    broken.send(
        request(
            "PUT", "/broken.bin", "Upload-Complete: ?1", length, "Upload-Draft-Interop-Version: 8"
        )
    )
    url = broken.head()[1]["location"]
    broken.send(content[: LARGE // 2])
    portico.reload()
    assert client.ask(content[LARGE // 2 :]).status == 201
    broken.vanish()
    with Client(portico.url) as other:
        offset = int(other.ask(request("HEAD", url), method="HEAD").fields["upload-offset"])
        rest = content[offset:]
        answer = other.ask(
            request(
                "PATCH", url, "Content-Type: application/partial-upload", "Upload-Complete: ?1",
                f"Upload-Offset: {offset}", f"Content-Length: {len(rest)}",
            ) + rest
        )  # fmt: skip
        assert answer.status == 201
    assert (root / "site" / "whole.bin").read_bytes() == content
    assert (root / "site" / "broken.bin").read_bytes() == content
    assert portico.end() == 0


def test_many_reloads_at_once(run: Run) -> None:
    portico = run("--grace", "5")
    with Load(*[lambda: Client(portico.url)] * 6) as load:
        for _ in range(20):
            portico.send(signal.SIGHUP)
        portico.hears("portico: reloaded: ")
        load.goes_on()
        portico.send(signal.SIGHUP)
        portico.send(signal.SIGHUP)
        load.goes_on()
    assert not load.failed
    assert portico.end(signal.SIGINT) == 0


@pytest.mark.parametrize("new", [0, 1, 2])
def test_a_stop_in_the_middle_of_a_reload(root: Path, run: Run, new: int) -> None:
    """At once, and when one or both of the new workers are there, which share the sockets."""
    configure(root, 'listen = ["127.0.0.1:0", "unix:a.sock"]')
    portico = run()
    before = portico.workers
    portico.send(signal.SIGHUP)
    eventually(lambda: len(portico.workers - before) >= new)
    assert portico.end() == 0
    assert not (root / "a.sock").exists()


# --- when the terminal goes

IN_TERMINAL = """
import os, pty, signal, sys
{prepare}
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.executable, [sys.executable, "-m", "portico", *sys.argv[1:]])
said = b""
while b"Press Ctrl+C" not in said:
    said += os.read(terminal, 4096)
print(pid, *[word for word in said.decode().split() if word.startswith("http:")], flush=True)
sys.stdin.read()
os.close(terminal)
_, status = os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status), flush=True)
"""


@contextmanager
def in_terminal(root: Path, hangup: str, workers: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a terminal that lasts as long as stdin is open; it prints PID and URL."""
    prepare = f"signal.signal(signal.SIGHUP, signal.{hangup})"
    command = [sys.executable, "-c", IN_TERMINAL.format(prepare=prepare)]
    options = ["site", "--port", "0", "--color", "never", "--workers", workers]
    pipe = subprocess.PIPE
    with subprocess.Popen([*command, *options], cwd=root, stdin=pipe, stdout=pipe) as popen:
        yield popen


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_terminal_that_is_closed_ends_the_preview(root: Path, workers: str) -> None:
    with in_terminal(root, "SIG_DFL", workers) as popen:  # these tests may run under nohup
        assert popen.stdout is not None
        _, url = popen.stdout.readline().decode().split()
        with Client(url) as client:
            assert client.ask(get("/small.txt")).content == b"small"
        out, _ = popen.communicate(timeout=PATIENCE)  # which closes stdin, and so the terminal
    assert out.split() == [b"0"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_nohup_outlives_the_terminal(root: Path, workers: str) -> None:
    with in_terminal(root, "SIG_IGN", workers) as popen:
        assert popen.stdin is not None
        assert popen.stdout is not None
        pid, url = popen.stdout.readline().decode().split()
        popen.stdin.close()
        try:
            for _ in range(3):
                with Client(url) as client:
                    assert client.ask(get("/small.txt")).content == b"small"
                os.kill(int(pid), signal.SIGHUP)
        finally:
            os.kill(int(pid), signal.SIGTERM)
        assert popen.stdout.read().split() == [b"0"]
    assert is_gone(int(pid))
