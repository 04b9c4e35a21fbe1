"""How nginx frames requests: it passes them on to a recorder, each on a connection of its own.

Its server listens on a socket of its own for each case, and tells the recorder by a field which one
it was, so that many cases can be under way at once.
"""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

from tests.conformance.others import nginx_with
from tests.differential.readers import CLOSES, GOES_ON, REFUSED, WAITS, Reading

_TOGETHER = 16
"""Cases under way at once."""
_PATIENCE = 10.0
"""Seconds after which a case has failed; nginx itself waits 3 s for a client."""
_SERVER = """\
    server {{
        listen unix:{folder}/{socket};
        client_header_timeout 3s;
        client_body_timeout 3s;
        keepalive_timeout 200ms;
        lingering_close off;
        location / {{
            proxy_pass http://unix:{folder}/recorder;
            proxy_http_version 1.1;
            proxy_set_header X-Case {number};
        }}
    }}
"""


class _Recorder(socketserver.ThreadingUnixStreamServer):
    """Keeps what arrives: by the number of the case, methods and contents."""

    daemon_threads = True
    request_queue_size = 1000
    """Or nginx would find it busy, and refuse in its stead."""

    def __init__(self, path: str, cases: int) -> None:
        super().__init__(path, _Handler)
        self.requests: list[list[tuple[str, bytes]]] = [[] for _ in range(cases)]


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Recorder)
        head = b""
        while line := self.rfile.readline():
            head += line
            if line == b"\r\n":
                break
        case = re.search(rb"\r\nX-Case: (\d+)\r\n", head)
        length = re.search(rb"(?i)\r\nContent-Length: (\d+)\r\n", head)
        assert case is not None
        content = self.rfile.read(int(length[1]) if length else 0)
        self.server.requests[int(case[1])].append((head.split(b" ")[0].decode(), content))
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@contextlib.contextmanager
def _recorder(path: Path, cases: int) -> Iterator[_Recorder]:
    with _Recorder(str(path), cases) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


def by_nginx(streams: Sequence[bytes]) -> list[Reading]:
    """Return how nginx reads each of the streams."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sockets = ["socket", *(f"s{number}" for number in range(1, len(streams)))]
        servers = [
            _SERVER.format(folder=folder, socket=socket, number=number)
            for number, socket in enumerate(sockets)
        ]
        with (
            _recorder(folder / "recorder", len(streams)) as recorder,
            nginx_with("".join(servers), folder),
            ThreadPoolExecutor(_TOGETHER) as pool,
        ):
            paths = [str(folder / each) for each in sockets]
            said = list(pool.map(_say, paths, streams))
    return [
        Reading(tuple(requests), _end(answer))
        for requests, answer in zip(recorder.requests, said, strict=True)
    ]


def _say(path: str, octets: bytes) -> bytes:
    """Send; return all that is answered, until the connection ends."""
    answer = b""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_PATIENCE)
        client.connect(path)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(octets)
            while piece := client.recv(65536):
                answer += piece
    return answer


def _end(answer: bytes) -> str:
    """Return how it went on behind what was passed on."""
    statuses = re.findall(rb"(?:^|\n)HTTP/1\.1 ([2-5]\d\d) ", answer)
    assert b"502" not in statuses, "the recorder has failed"
    if any(status != b"200" for status in statuses):
        return REFUSED
    if b"\r\nConnection: close\r\n" in answer:
        return CLOSES
    return GOES_ON if len(statuses) else WAITS
