"""Behind real proxies, which are configured as docs/deploying.md says.

Clients come to the proxy from 127.0.0.9; it comes to Portico from 127.0.0.1, which is trusted.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.end_to_end.serving import PATIENCE, installed, unavailable
from tests.server.certifying import TlsClient, make
from tests.server.clients import Client, eventually, get
from tests.server.processes.supervised import Supervised

PAGE = Path(__file__).parent.parent.parent / "docs" / "deploying.md"
SECTION = PAGE.read_text(encoding="utf-8").partition("## Behind a proxy\n")[2].partition("\n## ")[0]
HTTP, STREAM = SECTION.split("### The PROXY protocol")
STRANGER = "127.0.0.9"
FORGED = [
    "X-Forwarded-For: 198.51.100.9",
    "X-Forwarded-Proto: https",
    "Forwarded: for=198.51.100.9;proto=https",
]
MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr crit; events {{ }}
"""
PATHS = "".join(
    f"{name}_temp_path {{folder}}/{name};\n"
    for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)
Start = Callable[..., int]


def configuration(kind: str, text: str = HTTP) -> str:
    """What the page has in a fence of this kind."""
    found = re.search(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a proxy before a port, with a configuration of the page, and return its own port."""
    with ExitStack() as stack:

        def start(kind: str, text: str, behind: int, *replaced: tuple[str, str]) -> int:
            port = free_port()
            folder = tmp_path / f"{kind}{port}"
            folder.mkdir()
            for old, new in [
                *replaced,
                ("listen 80;", f"listen 127.0.0.1:{port};"),
                ("listen 443;", f"listen 127.0.0.1:{port};"),
                ("bind :80\n", f"bind 127.0.0.1:{port}\n"),
                ("bind :443\n", f"bind 127.0.0.1:{port}\n"),
                ("bind :80 ssl", f"bind 127.0.0.1:{port} ssl"),
                ("127.0.0.1:8080", f"127.0.0.1:{behind}"),
                ("127.0.0.1:8443", f"127.0.0.1:{behind}"),
                ("www.example.org {", f"http://:{port} {{"),
            ]:
                text = text.replace(old, new)
            file = folder / "configuration"
            if kind == "nginx":
                text = in_nginx(text, folder)
                command = ["-p", str(folder), "-c", str(file)]
            elif kind == "haproxy":
                command = ["-db", "-f", str(file)]
            else:
                text = "{\n admin off\n}\n" + text
                command = ["run", "--adapter", "caddyfile", "--config", str(file)]
            file.write_text(text)
            proxy = subprocess.Popen(
                [installed(kind), *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**os.environ, "HOME": str(folder)},
            )
            stack.callback(end, proxy)
            eventually(lambda: is_open(port) or proxy.poll() is not None)
            assert proxy.poll() is None, proxy.stderr and proxy.stderr.read()
            return port

        yield start


def in_nginx(text: str, folder: Path) -> str:
    """The whole of which a configuration is a part."""
    more = NGINX.format(folder=folder)
    if "stream {" not in text:
        return f"{more}http {{ access_log off;\n{PATHS.format(folder=folder)}{text}}}"
    if not MODULE.exists():
        unavailable("nginx has no module for streams")
    return f"load_module {MODULE};\n{more}{text}"


def end(proxy: subprocess.Popen[bytes]) -> None:
    proxy.terminate()
    try:
        proxy.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        proxy.kill()
        proxy.communicate()


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    """Start Portico with options; 127.0.0.1 is trusted."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "small.txt").write_bytes(b"small")
    with ExitStack() as stack:

        def serve(*options: str) -> Supervised:
            command = Supervised(
                tmp_path, "site", "--listen", "127.0.0.1:0", "--log-format", "json",
                "--trust-proxy", "127.0.0.1", "--allow-host", "www.example.org", *options,
            )  # fmt: skip
            return stack.enter_context(command).start()

        yield serve


Serve = Callable[..., Supervised]


def port_of(command: Supervised) -> int:
    return int(command.url.rpartition(":")[2].strip("/"))


def clients(command: Supervised, count: int) -> list[str]:
    """Who is in the access log as the client of each of `count` requests for the file."""

    def found() -> list[str]:
        lines = map(json.loads, command.logged.splitlines())
        return [line["client"] for line in lines if "small.txt" in line["target"]]

    eventually(lambda: len(found()) == count)
    return found()


FORWARDED = """\
    http-request del-header X-Forwarded-For
    http-request add-header Forwarded proto=http;for=%[src]
"""
"""What `option forwarded` does from HAProxy 2.8 on."""


@pytest.mark.parametrize(
    ("kind", "option"), [("nginx", ""), ("haproxy", ""), ("caddyfile", ""), ("haproxy", FORWARDED)]
)
def test_the_client_of_a_proxy_is_logged(
    serve: Serve, start: Start, kind: str, option: str
) -> None:
    command = serve("--hsts", "60", *(["--trust-proxy-header", "forwarded"] if option else []))
    text = configuration(kind)
    if option:
        text = re.sub(r"    option forwardfor\n(.*\n){2}", lambda _: option, text)
    port = start(kind.removesuffix("file"), text, port_of(command))
    for _ in range(2):
        # Not the client of these tests: Caddy sends Server twice.
        with closing(HTTPConnection("127.0.0.1", port, source_address=(STRANGER, 0))) as client:
            for _ in range(3):
                client.request(
                    "GET", "/small.txt", headers=dict(line.split(": ") for line in FORGED)
                )
                answer = client.getresponse()
                assert answer.read() == b"small"
                assert answer.getheader("Strict-Transport-Security") is None
    assert clients(command, 6) == [STRANGER] * 6


def test_the_client_of_two_proxies_in_a_row_is_logged(serve: Serve, start: Start) -> None:
    command = serve("--workers", "2")
    inner = start("nginx", configuration("nginx"), port_of(command))
    outer = start("haproxy", configuration("haproxy"), inner)
    with Client(f"http://127.0.0.1:{outer}/", source=STRANGER) as client:
        assert client.ask(get("/small.txt", *FORGED)).content == b"small"
    assert clients(command, 1) == [STRANGER]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes keys")
def test_a_proxy_with_tls_makes_it_https(serve: Serve, start: Start, tmp_path: Path) -> None:
    command = serve("--hsts", "60")
    certificate = make(tmp_path, "c.pem", "www.example.org")
    tls = ("bind :80\n", f"bind :80 ssl crt {certificate}\n")
    port = start("haproxy", configuration("haproxy"), port_of(command), tls)
    trusting = ssl.create_default_context(cafile=str(certificate))
    url = f"https://127.0.0.1:{port}/"
    with TlsClient(url, trusting, "www.example.org") as client:
        answer = client.ask(get("/small.txt", "X-Forwarded-Proto: http"))
        assert answer.fields["strict-transport-security"] == "max-age=60"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes keys")
@pytest.mark.parametrize(
    ("kind", "header"), [("haproxy", "send-proxy"), ("haproxy", "send-proxy-v2"), ("nginx", "")]
)
def test_the_client_of_a_proxy_header_is_logged(
    serve: Serve, start: Start, tmp_path: Path, kind: str, header: str
) -> None:
    certificate = make(tmp_path, "c.pem", "www.example.org")
    command = serve("--proxy-protocol", "--tls-cert", str(certificate))
    text = configuration(kind, STREAM)
    port = start(kind, text, port_of(command), ("send-proxy-v2", header))
    trusting = ssl.create_default_context(cafile=str(certificate))
    url = f"https://127.0.0.1:{port}/"
    with TlsClient(url, trusting, "www.example.org", source=STRANGER) as client:
        for _ in range(2):
            assert client.ask(get("/small.txt", *FORGED)).content == b"small"
    assert clients(command, 2) == [STRANGER] * 2


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes keys")
def test_who_has_come_by_https_is_not_redirected_to_it(serve: Serve, tmp_path: Path) -> None:
    port = free_port()
    certificate = make(tmp_path, "c.pem", "www.example.org")
    serve("--tls-cert", str(certificate), "--redirect-http", f"127.0.0.1:{port}")
    head = get("/small.txt", "X-Forwarded-Proto: https").replace(b"localhost", b"www.example.org")
    for source, status in [("", 200), (STRANGER, 301)]:
        with Client(f"http://127.0.0.1:{port}/", source=source) as client:
            assert client.ask(head).status == status
