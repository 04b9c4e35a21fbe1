"""The sandbox: what a bug can reach in a server that runs, and that all else goes on in it."""

from __future__ import annotations

import resource
import shutil
import socket
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from portico.server.processes.sandbox import _allow, landlock_abi
from portico.site.users import hash_token
from tests.server.certifying import TlsClient, make, trusting
from tests.server.clients import Client, eventually, get, request
from tests.server.processes.supervised import Supervised, package_copy

NEEDS_LANDLOCK = pytest.mark.skipif(landlock_abi() < 6, reason="the kernel has less of Landlock")
DENIED = "PermissionError"
PUT = request("PUT", "/up.txt", "Content-Length: 2") + b"up"

BUG = """

def _with_bug(answer):
    from urllib.parse import unquote

    def evaluate(self, request):
        if not request.path.startswith("/bug"):
            return answer(self, request)
        try:
            result = eval(unquote(request.query))
        except Exception as error:
            result = type(error).__name__
        return errors.unstored(200, "text/plain", str(result).encode()), None

    return evaluate

Site.answer = _with_bug(Site.answer)
"""
"""Makes of a copy of Portico one in which clients can have any expression evaluated."""

OLD_KERNEL = """

_call_as_it_is = _call

def _call(number, *arguments):
    if number == _RESTRICT_SELF and "REFUSED" in os.environ:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))
    abi = int(os.environ.get("ABI", 99))
    if number == _CREATE_RULESET and arguments[0] is None:
        if abi == 0:
            raise OSError
        return min(abi, _call_as_it_is(number, *arguments))
    if number == _CREATE_RULESET and abi < 6:
        files, network, scopes = struct.unpack("=QQQ", arguments[0])
        assert files < 1 << {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}[abi]
        assert bool(network) == (abi >= 4)
        assert not scopes
    return _call_as_it_is(number, *arguments)
"""
"""Makes of it one for which the kernel has at most the Landlock ABI that the environment says,
or a filter of system calls refuses the last of them."""


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of Portico that is changed so."""
    folder = tmp_path_factory.mktemp("code")
    package = package_copy(folder)
    for file, addition in (
        (package / "site" / "site.py", BUG),
        (package / "server" / "processes" / "sandbox.py", OLD_KERNEL),
    ):
        file.write_text(file.read_text() + addition)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project" / "site"
    (root / "folder").mkdir(parents=True)
    (root / "small.txt").write_bytes(b"small")
    (root.parent / ".env").write_text("secret")
    return root


@pytest.fixture(params=["1", "2"])
def workers(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@NEEDS_LANDLOCK
@pytest.mark.parametrize("allowed", [[], ["--allow", "write"]])
def test_what_a_bug_reaches(
    root: Path, code: Path, tmp_path: Path, workers: str, allowed: list[str]
) -> None:
    writes, moves = ("x", "OSError") if allowed else (DENIED, DENIED)  # EXDEV, or EACCES
    in_thread = "__import__('concurrent.futures').futures.ThreadPoolExecutor().submit"
    with socket.create_server(("127.0.0.1", 0)) as other, socket.socket(socket.AF_UNIX) as abstract:
        port = other.getsockname()[1]
        name = f"\0portico-{uuid.uuid4().hex}"
        abstract.bind(name)
        abstract.listen()
        expected = {
            "open('/etc/passwd').read()": DENIED,
            f"open({str(root.parent / '.env')!r}).read()": DENIED,
            "open('/proc/self/environ').read()": DENIED,
            f"type({in_thread}(open, '/etc/passwd').exception()).__name__": DENIED,
            f"os.listdir({str(root.parent)!r})": DENIED,
            f"open({str(root.parent / 'new')!r}, 'w')": DENIED,
            f"os.unlink({str(root.parent / '.env')!r})": DENIED,
            f"os.link({str(root.parent / '.env')!r}, {str(root / 'link')!r})": moves,
            f"os.symlink('/etc/passwd', {str(root / 'link')!r})": DENIED,
            f"open({str(root / 'small.txt')!r}).read()": "small",
            f"os.listdir({str(root / 'folder')!r})": "[]",
            f"open({str(root / 'new')!r}, 'w') and 'x'": writes,
            f"__import__('socket').create_connection(('127.0.0.1', {port}))": DENIED,
            "__import__('socket').create_server(('127.0.0.1', 0))": DENIED,
            f"__import__('socket').socket(1).connect({name!r})": DENIED,
            "os.kill(os.getppid(), 0)": DENIED,
            "__import__('subprocess').run(['/bin/true'])": DENIED,
            "__import__('unicodedata').name('a')": "LATIN SMALL LETTER A",  # imported late
            "'zlib' in __import__('sys').modules": "True",  # its library may be anywhere
            "__import__('lzma').compress(b'')[:6]": r"b'\xfd7zXZ\x00'",  # with a library
        }
        options = [str(root), "--port", "0", "--workers", workers, *allowed]
        with Supervised(tmp_path, *options, environ={"PYTHONPATH": str(code)}) as portico:
            portico.start()
            for expression, result in expected.items():
                assert portico.content(f"/bug?{quote(expression)}").decode() == result, expression
            assert f"(Landlock ABI {landlock_abi()}): reads only beneath {root} (" in portico.said
            assert portico.end() == 0


@NEEDS_LANDLOCK
def test_all_of_the_python_path_can_be_read(
    root: Path, code: Path, tmp_path: Path, workers: str
) -> None:
    """Also the first folder in it, with PYTHONSAFEPATH."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "late.py").write_text("WORD = 'here'")
    environ = {"PYTHONPATH": f"{tmp_path / 'more'}:{code}", "PYTHONSAFEPATH": "1"}
    options = [str(root), "--port", "0", "--workers", workers]
    with Supervised(tmp_path, *options, environ=environ) as portico:
        portico.start()
        assert portico.content("/bug?__import__('late').WORD") == b"here"
        assert portico.end() == 0


@NEEDS_LANDLOCK
def test_a_file_in_the_home_folder_that_is_replaced_takes_a_restart(
    root: Path, tmp_path: Path
) -> None:
    """And that is said, instead of a right that seems to lack."""
    home = tmp_path / "home"
    home.mkdir()
    certificate, new = (make(home, f"{name}.pem", "localhost") for name in ("cert", "new"))
    users = home / "users"
    users.write_text("")
    options = [str(root), "--port", "0", "--access", "/* users=read", "--users", str(users)]
    options += ["--tls-cert", str(certificate)]
    with Supervised(tmp_path, *options, environ={"HOME": str(home)}) as portico:
        context = trusting(certificate)
        portico.start()
        new.replace(certificate)
        (home / "new").write_text("")
        (home / "new").replace(users)
        with TlsClient(portico.url, context) as client:
            assert client.ask(get("/small.txt")).status == 401
            client.ask(get("/small.txt", "Authorization: Bearer secret"))
        for path in (users, certificate):
            portico.hears(f"portico: {path}: it was replaced where the sandbox lets only")
        assert portico.end() == 0


@NEEDS_LANDLOCK
def test_what_is_beside_a_unix_socket(root: Path, code: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "other").write_text("of another program")
    options = [str(root), "--listen", "127.0.0.1:0", "--listen", f"unix:{run}/sock"]
    with Supervised(tmp_path, *options, environ={"PYTHONPATH": str(code)}) as portico:
        portico.start()
        expression = f"os.unlink({str(run / 'other')!r})"
        assert portico.content(f"/bug?{quote(expression)}").decode() == DENIED
        assert (run / "sock").exists()
        assert portico.end() == 0
    assert [path.name for path in run.iterdir()] == ["other"]


@pytest.mark.parametrize("workers", ["2"])
def test_without(root: Path, code: Path, tmp_path: Path, workers: str) -> None:
    options = [str(root), "--port", "0", "--workers", workers, "--no-sandbox"]
    with Supervised(tmp_path, *options, environ={"PYTHONPATH": str(code)}) as portico:
        portico.start()
        assert portico.content(f"/bug?{quote('open(os.devnull).read()')}") == b""
        assert "andbox" not in portico.said
        assert portico.end() == 0


@pytest.mark.parametrize(
    ("workers", "abi", "options", "why"),
    [
        ("2", "0", [], "this system has no Landlock (Linux 5.13)"),
        ("1", "1", ["--allow", "create"], "uploads need Landlock ABI 2, and this kernel has 1"),
    ],
)
def test_a_kernel_that_cannot_do_it(
    root: Path, code: Path, tmp_path: Path, workers: str, abi: str, options: list[str], why: str
) -> None:
    options = [str(root), "--port", "0", "--workers", workers, *options]
    with Supervised(tmp_path, *options, environ={"PYTHONPATH": str(code), "ABI": abi}) as portico:
        assert portico.start().content() == b"small"
        assert f"Sandbox: none, because {why}." in portico.said
        assert portico.end() == 0


@NEEDS_LANDLOCK
def test_a_system_that_refuses_it(root: Path, code: Path, tmp_path: Path, workers: str) -> None:
    """Such as a filter of system calls: then the banner does not claim one."""
    options = [str(root), "--port", "0", "--workers", workers]
    environ = {"PYTHONPATH": str(code), "REFUSED": "1"}
    with Supervised(tmp_path, *options, environ=environ) as portico:
        assert portico.start().content() == b"small"
        assert "Sandbox: none, because the system refuses it." in portico.said
        assert "reads only" not in portico.said
        told = "portico: no sandbox, the system refuses it: Operation not permitted\n"
        assert portico.said.count(told) == int(workers)
        assert portico.end() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only there is a sandbox")
def test_without_a_descriptor_left_a_rule_is_not_left_out() -> None:
    """It would keep the server from its own root."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            _allow(-1, "/", 0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@NEEDS_LANDLOCK
@pytest.mark.parametrize("abi", ["1", "2", "4"])
def test_an_older_kernel(root: Path, code: Path, tmp_path: Path, abi: str) -> None:
    """What it does not know is not asked of it."""
    options = [str(root), "--port", "0", *(["--allow", "create"] if abi != "1" else [])]
    with Supervised(tmp_path, *options, environ={"PYTHONPATH": str(code), "ABI": abi}) as portico:
        assert portico.start().content() == b"small"
        assert f"ABI {abi})" in portico.said
        assert portico.content(f"/bug?{quote('open(os.devnull)')}").decode() == DENIED
        assert portico.end() == 0


# --- what changes while it serves


@NEEDS_LANDLOCK
def test_what_leads_out_is_missing_as_without_it(root: Path, tmp_path: Path, workers: str) -> None:
    (root / "out.txt").symlink_to("/etc/passwd")
    (root / "up").symlink_to("/etc")
    (root / "inner").mkdir()
    (root / "inner" / "index.html").symlink_to("/etc/passwd")
    options = (str(root), "--port", "0", "--workers", workers)
    with Supervised(tmp_path, *options) as portico, Client(portico.start().url) as client:
        for path in ("/out.txt", "/up/", "/up/passwd"):
            assert client.ask(get(path)).status == 404, path
        assert client.ask(get("/inner/")).status == 200


def replace_folder(root: Path) -> None:
    """Build it anew beside it, as many programs do."""
    (root.parent / "new").mkdir()
    (root.parent / "new" / "small.txt").write_bytes(b"new")
    root.rename(root.parent / "old")
    (root.parent / "new").rename(root)


def make_folder_again(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()
    (root / "small.txt").write_bytes(b"new")


@NEEDS_LANDLOCK
@pytest.mark.parametrize(
    ("workers", "change"),
    [("1", replace_folder), ("2", replace_folder), ("1", make_folder_again)],
)
def test_a_root_that_becomes_another_folder(
    root: Path, tmp_path: Path, workers: str, change: Callable[[Path], None]
) -> None:
    """The next answer is of the new one, also on a connection that is open, and for uploads."""
    options = [str(root), "--port", "0", "--workers", workers, "--allow", "write"]
    with Supervised(tmp_path, *options) as portico:
        with Client(portico.start().url) as client:
            assert client.ask(get("/small.txt")).content == b"small"
            change(root)
            for _ in range(3):
                assert client.ask(get("/small.txt")).content == b"new"
            assert client.ask(PUT).status == 201
        assert (root / "up.txt").read_bytes() == b"up"
        assert portico.content() == b"new"
        assert portico.end() == 0


@NEEDS_LANDLOCK
@pytest.mark.parametrize("workers", ["2"])
def test_a_root_that_leads_far_away(root: Path, tmp_path: Path, workers: str) -> None:
    """That is told, and takes a reload."""
    link, far = root.parent / "link", tmp_path / "far" / "away"
    link.symlink_to(root)
    far.mkdir(parents=True)
    (far / "small.txt").write_bytes(b"far")
    with Supervised(tmp_path, str(link), "--port", "0", "--workers", workers) as portico:
        assert portico.start().content() == b"small"
        (root.parent / "next").symlink_to(far)
        (root.parent / "next").rename(link)
        portico.hears(f"{link} leads to where the sandbox does not reach")
        with Client(portico.url) as client:
            assert client.ask(get("/small.txt", "Connection: close")).status == 403
        portico.reload()
        assert portico.content() == b"far"


@NEEDS_LANDLOCK
@pytest.mark.parametrize("workers", ["2"])
def test_uploads_alone_find_the_new_root_too(root: Path, tmp_path: Path, workers: str) -> None:
    options = [str(root), "--port", "0", "--workers", workers, "--allow", "write"]
    with Supervised(tmp_path, *options) as portico, Client(portico.start().url) as client:
        replace_folder(root)
        eventually(lambda: client.ask(PUT).status == 201)
        assert (root / "up.txt").read_bytes() == b"up"


@NEEDS_LANDLOCK
def test_certificates_and_users_that_change(root: Path, tmp_path: Path, workers: str) -> None:
    """As certbot does it: a link in one folder leads to the newest of another."""
    live, archive, etc = tmp_path / "live", tmp_path / "archive", tmp_path / "etc"
    for folder in (live, archive, etc):
        folder.mkdir()
    first, second = (make(archive, f"{name}.pem", "localhost") for name in ("1", "2"))
    second.rename(tmp_path / "second.pem")
    (live / "cert.pem").symlink_to("../archive/1.pem")
    users = etc / "users"
    users.write_text("")
    ask = get("/small.txt", "Authorization: Bearer secret")
    options = [str(root), "--port", "0", "--workers", workers, "--access", "/* users=read"]
    options += ["--tls-cert", str(live / "cert.pem"), "--users", str(users)]
    with Supervised(tmp_path, *options) as portico:
        with TlsClient(portico.start().url, trusting(first)) as client:
            assert client.ask(ask).status == 401
        (tmp_path / "second.pem").rename(second)
        (live / "new").symlink_to("../archive/2.pem")
        (live / "new").rename(live / "cert.pem")
        (etc / "new").write_text(f"robot:{hash_token('secret')}\n")
        (etc / "new").rename(users)

        def serves_second() -> bool:
            try:
                TlsClient(portico.url, trusting(second)).close()
            except OSError:
                return False
            return True

        eventually(serves_second)
        with TlsClient(portico.url, trusting(second)) as client:
            assert client.ask(ask).content == b"small"
        assert portico.end() == 0
