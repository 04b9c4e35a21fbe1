"""TLS beside nginx: `python3 -m bench.tls`, which needs nginx, h2load and openssl.

Both have one worker, the same P-256 certificate, TLS 1.3 and their own defaults otherwise, and take
turns. What counts is the CPU time of the process that serves, per request or connection.
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
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS = 4
REQUESTS, CONNECTIONS, DOWNLOADS = 20_000, 600, 60
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
        _prepare(folder)
        commands = {
            "Portico": [
                sys.executable, "-m", "portico", str(folder / "site"), "--no-access-log",
                "--port", str(PORTS["Portico"]), "--tls-cert", str(folder / "cert.pem"),
                "--tls-key", str(folder / "key.pem"),
            ],
            "nginx": ["nginx", "-c", str(folder / "nginx.conf")],
        }  # fmt: skip
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
                        before = _cpu(pids[server])
                        count = run(port)
                        spent[server].append((_cpu(pids[server]) - before) / count)
                ours, theirs = (statistics.median(spent[server]) * 1e6 for server in PORTS)
                line = f"Portico {ours:8.1f} us, nginx {theirs:8.1f} us: {ours / theirs:.2f}"
                sys.stdout.write(f"{scenario:26} {line}\n")
                sys.stdout.flush()
        finally:
            for process in running.values():
                process.terminate()
            for process in running.values():
                process.wait()


def _prepare(folder: Path) -> None:
    (folder / "site").mkdir()
    (folder / "site" / "small.html").write_bytes(b"x" * 1024)
    (folder / "site" / "large.bin").write_bytes(os.urandom(10 << 20))
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=PORTS["nginx"]))
    folder.chmod(0o755)  # nginx's worker is another user
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", str(folder / "key.pem"),
            "-out", str(folder / "cert.pem"),
        ],
        check=True, capture_output=True,
    )  # fmt: skip


def _serving(pid: int) -> int:
    """Return the process that serves: nginx's worker, or the process itself."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
        for _ in _sessions(port, resumes=resumes):
            pass
        return CONNECTIONS

    return run


def _sessions(port: int, *, resumes: bool) -> Iterator[bool]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    session = None
    for number in range(CONNECTIONS):
        plain = socket.create_connection(("127.0.0.1", port))
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as tls:
            tls.sendall(REQUEST)
            while tls.recv(65536):
                pass
            if bool(tls.session_reused) != (resumes and number > 0):
                raise AssertionError(number)
            session = tls.session if resumes else None
            yield bool(tls.session_reused)


SCENARIOS: dict[str, Callable[[int], int]] = {
    "small page, keep-alive": _h2load("small.html", REQUESTS, 64),
    "new connection, full": _connect(resumes=False),
    "new connection, resumed": _connect(resumes=True),
    "10 MiB": _h2load("large.bin", DOWNLOADS, 4),
}

if __name__ == "__main__":
    main()
