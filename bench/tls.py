"""TLS beside nginx: `python3 -m bench.tls`, which needs nginx, h2load and openssl.

Both have one worker, the same P-256 certificate, TLS 1.3 and their own defaults otherwise, and take
turns. What counts is the CPU time of the process that serves, per request or connection. Then
Portico is started without and with TLS; what counts is the shortest time to the first answer.
"""

from __future__ import annotations

import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bench import machine
from bench.attackers import client_context
from bench.process import free_port, keeping_compiled

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 4
REQUESTS, CONNECTIONS, DOWNLOADS = 20_000, 600, 60
STARTS = 10
PORTS = {"Portico": 18643, "nginx": 18644}
REQUEST = b"GET /small.html HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
NGINX = """\
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; types {{ }}
    server {{
        listen 127.0.0.1:{port} ssl; root {folder}/site; ssl_protocols TLSv1.3;
        ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    }}
}}
"""


def main() -> None:
    """Print the medians, and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_site(folder)
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=PORTS["nginx"]))
        folder.chmod(0o755)  # nginx's worker is another user
        commands = {
            "Portico": portico(folder, "--port", str(PORTS["Portico"]), *certificate(folder)),
            "nginx": ["nginx", "-c", str(folder / "nginx.conf")],
        }
        running = {
            server: subprocess.Popen(command, stderr=subprocess.DEVNULL)
            for server, command in commands.items()
        }
        try:
            time.sleep(2)
            pids = {server: _serving(process.pid) for server, process in running.items()}
            for scenario, run in SCENARIOS.items():
                spent: dict[str, list[float]] = {server: [] for server in PORTS}
                for _ in range(ROUNDS):
                    for server, port in PORTS.items():
                        before = machine.cpu_seconds(pids[server])
                        count = run(port)
                        spent[server].append((machine.cpu_seconds(pids[server]) - before) / count)
                ours, theirs = (statistics.median(spent[server]) * 1e6 for server in PORTS)
                line = f"Portico {ours:8.1f} us, nginx {theirs:8.1f} us: {ours / theirs:.2f}"
                sys.stdout.write(f"{scenario:26} {line}\n")
                sys.stdout.flush()
        finally:
            for process in running.values():
                process.terminate()
            for process in running.values():
                process.wait()
        _measure_start(folder)


def make_site(folder: Path) -> None:
    """Make a site in `folder`, with a certificate for localhost."""
    (folder / "site").mkdir()
    (folder / "site" / "small.html").write_bytes(b"x" * 1024)
    (folder / "site" / "large.bin").write_bytes(os.urandom(10 << 20))
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", str(folder / "key.pem"),
            "-out", str(folder / "cert.pem"),
        ],
        check=True, capture_output=True,
    )  # fmt: skip


def portico(folder: Path, *options: str) -> list[str]:
    """Return the command that serves what `make_site` has made."""
    command = [sys.executable, "-m", "portico", str(folder / "site"), "--no-access-log"]
    return [*command, *options]


def certificate(folder: Path) -> tuple[str, ...]:
    """Return the options for TLS."""
    return ("--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem"))


def _measure_start(folder: Path) -> None:
    ways: dict[str, tuple[list[str], Callable[[int], socket.socket]]] = {
        "clear": (
            portico(folder),
            lambda port: socket.create_connection(("127.0.0.1", port)),
        ),
        "secure": (
            portico(folder, *certificate(folder)),
            lambda port: _connect_to(port, client_context()),
        ),
    }
    spent: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(1 + STARTS):
        for way, (command, connect) in ways.items():
            spent[way].append(_start(command, connect))
    for what, place in {"time": 0, "CPU time": 1}.items():
        without, secure = (min(start[place] for start in each[1:]) * 1e3 for each in spent.values())
        line = f"{without:.0f} ms, with TLS {secure:.0f} ms: {secure - without:.0f} ms more"
        sys.stdout.write(f"{f'start, {what}':26} {line}\n")


def _start(command: list[str], connect: Callable[[int], socket.socket]) -> tuple[float, float]:
    """Return the seconds, and those of CPU time, from the command to the first answer."""
    port, began = free_port(), time.perf_counter()
    process = subprocess.Popen(
        [*command, "--port", str(port)], stderr=subprocess.DEVNULL, env=keeping_compiled()
    )
    try:
        while True:
            with suppress(ConnectionRefusedError), connect(port) as client:
                client.sendall(REQUEST)
                client.recv(1)
                return time.perf_counter() - began, machine.cpu_seconds(process.pid)
            time.sleep(0.0005)
    finally:
        process.terminate()
        process.wait()


def _serving(pid: int) -> int:
    """Return the process that serves: nginx's worker, or the process itself."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid


def _h2load(path: str, count: int, clients: int) -> Callable[[int], int]:
    def run(port: int) -> int:
        url = f"https://127.0.0.1:{port}/{path}"
        command = ["h2load", "--h1", "-n", str(count), "-c", str(clients), url]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        if f"{count} succeeded" not in said:
            raise AssertionError(said)
        return count

    return run


def _connect(*, resumes: bool) -> Callable[[int], int]:
    def run(port: int) -> int:
        context, session = client_context(), None
        for number in range(CONNECTIONS):
            with _connect_to(port, context, session) as tls:
                tls.sendall(REQUEST)
                while tls.recv(65536):
                    pass
                if bool(tls.session_reused) != (resumes and number > 0):
                    raise AssertionError(number)
                session = tls.session if resumes else None
        return CONNECTIONS

    return run


def _connect_to(
    port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port))
    return context.wrap_socket(plain, server_hostname="localhost", session=session)


SCENARIOS: dict[str, Callable[[int], int]] = {
    "small page, keep-alive": _h2load("small.html", REQUESTS, 64),
    "new connection, full": _connect(resumes=False),
    "new connection, resumed": _connect(resumes=True),
    "10 MiB": _h2load("large.bin", DOWNLOADS, 4),
}

if __name__ == "__main__":
    main()
