"""What the access log says of exchanges that did not end well, by connections driven by hand."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from portico.config.config import Config
from portico.http.content import Octets
from portico.http.content_sink import ContentSink, Discard
from portico.http.message import RequestHead, Response
from portico.server.connection import Connection
from portico.server.states import CLOSED, CONTENT, SEND, WAIT
from portico.server.telemetry.access_log import AccessLog
from portico.server.telemetry.ends import BY_CLIENT, BY_SERVER, TIMED_OUT
from portico.site.origin.open_file import Waiting
from tests.server.clients import get, request
from tests.server.inside import Answers, Desk, Threads

UPLOAD = request("PUT", "/put", "Content-Length: 100") + b"x" * 50
SIZE = 8 << 20

Ending = Callable[[Desk, socket.socket, Connection], None]


def answer(head: RequestHead) -> Response | ContentSink:
    if head.path == "/wait":
        raise Waiting("disk")
    if head.path == "/put":
        return Discard(1000)
    return Response(200, [("Content-Length", str(SIZE))], (Octets(bytes(SIZE)),))


Start = Callable[[str], Desk]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def start(path: Path) -> Iterator[Start]:
    """Return what begins a log of this format."""
    desks: list[Desk] = []
    with path.open("wb") as file:

        def begin(log_format: str) -> Desk:
            log = AccessLog(file.fileno(), Config.of(log_format=log_format, color="never"))
            desks.append(Desk(Config.of(), Answers(answer), Threads().submit, log=log))
            return desks[0]

        yield begin
        for desk in desks:
            desk.close()


def leave(desk: Desk, client: socket.socket, connection: Connection) -> None:
    """The client goes."""
    client.close()
    while connection.state != CLOSED:
        desk.turn()


def cut(_desk: Desk, _client: socket.socket, connection: Connection) -> None:
    """The server ends, or needs the place."""
    connection.close()


def read_nothing(desk: Desk, _client: socket.socket, connection: Connection) -> None:
    """The client does not read."""
    while connection.state != CLOSED:
        desk.responder.now = connection.deadline
        connection.expire()


CASES = {
    "a download is aborted": (get("/"), SEND, leave, BY_CLIENT, 499),
    "a download is cut": (get("/"), SEND, cut, BY_SERVER, 599),
    "a download is not read": (get("/"), SEND, read_nothing, TIMED_OUT, 408),
    "an upload is aborted": (UPLOAD, CONTENT, leave, BY_CLIENT, 499),
    "an upload is cut": (UPLOAD, CONTENT, cut, BY_SERVER, 599),
    "who waits leaves": (get("/wait"), WAIT, leave, BY_CLIENT, 499),
}


@pytest.mark.parametrize("log_format", ["common", "json", "short"])
@pytest.mark.parametrize("case", CASES)
def test_what_does_not_end_well_is_marked(
    start: Start, path: Path, case: str, log_format: str
) -> None:
    sent, state, ending, end, status = CASES[case]
    desk = start(log_format)
    client, connection = desk.connect(sent)
    assert connection.state == state
    taken = len(client.recv(50_000)) if state == SEND else 0
    ending(desk, client, connection)
    assert desk.responder.log is not None
    desk.responder.log.flush()
    (line,) = path.read_text().splitlines()
    found = re.search(r'HTTP/1.1" (\d+) (\d+)$', line)
    if log_format == "json":
        said = json.loads(line)
        assert (said["end"], said["status"]) == (end, 200 if taken else status)
        assert said["duration"] >= 0
        length = said["bytes"]
    elif log_format == "short":
        mark = {BY_CLIENT: "aborted", BY_SERVER: "cut off", TIMED_OUT: "timed out"}[end]
        assert line.endswith(mark)
        return
    else:
        assert found is not None
        assert int(found[1]) == status
        length = int(found[2])
    if sys.platform == "linux" and ending is not leave:
        # Elsewhere, and of a unix socket that was closed, nobody tells what the client has taken.
        assert length <= taken
    assert bool(length) == bool(taken)


def test_a_complete_exchange_says_so(start: Start, path: Path) -> None:
    desk = start("json")
    client, _ = desk.connect(get("/"))
    length = 0
    while length < SIZE:
        desk.turn()
        length += len(client.recv(1 << 20))
    desk.turn()
    assert desk.responder.log is not None
    desk.responder.log.flush()
    said = json.loads(path.read_text())
    assert (said["status"], said["end"], said["bytes"]) == (200, "complete", SIZE)
