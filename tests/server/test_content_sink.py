"""The content of a request on its way to a sink, by a connection that is driven by hand."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence

import pytest

from portico.config.config import Config
from portico.http.content import Octets
from portico.http.message import ProtocolError, RequestHead, Response
from portico.server.connection import Connection
from portico.server.net.loop import READ
from portico.server.states import CONTENT, IDLE, LINGER, WAIT
from portico.server.timeouts import CONTENT_RATE
from portico.site.origin.open_file import Waiting
from tests.server.clients import chunked, get, request
from tests.server.inside import Answers, Desk, Threads, statuses

LENGTH = "Content-Length: 9"
CODED = "Transfer-Encoding: chunked"
CONTENT_OF_NINE = b"nine octe"


class Collecting:
    """A sink that keeps what it takes; its response is 201 with the whole of it.

    It raises what `problems` has for a call, first to last, before the call is made again.
    """

    def __init__(self) -> None:
        self.interim: Sequence[Response] = ()
        self.problems: dict[str, list[Exception]] = {"write": [], "finish": [], "abort": []}
        self.content = b""
        self.aborted = 0

    def _trip(self, call: str) -> None:
        if self.problems[call]:
            raise self.problems[call].pop(0)

    def write(self, octets: bytes) -> None:
        self._trip("write")
        self.content += octets

    def finish(self) -> Response:
        self._trip("finish")
        length = ("Content-Length", str(len(self.content)))
        return Response(201, [length], (Octets(self.content),))

    def abort(self) -> None:
        self.aborted += 1
        self._trip("abort")


@pytest.fixture
def sink() -> Collecting:
    return Collecting()


@pytest.fixture
def threads() -> Threads:
    return Threads()


@pytest.fixture
def desk(sink: Collecting, threads: Threads) -> Iterator[Desk]:
    """Gives what is PUT to the sink, and answers all else with 204."""

    def answer(head: RequestHead) -> Response | Collecting:
        return sink if head.method == "PUT" else Response(204, [])

    desk = Desk(Config.of(head_timeout=10), Answers(answer), threads.submit)
    yield desk
    desk.close()


def put(*lines: str, version: str = "1.1") -> bytes:
    return request("PUT", "/new.txt", *lines, version=version)


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    ("line", "sent", "content"),
    [
        (LENGTH, CONTENT_OF_NINE, CONTENT_OF_NINE),
        (CODED, chunked(b"nine ", b"octe"), CONTENT_OF_NINE),
        (CODED, chunked(), b""),
        ("Content-Length: 0", b"", b""),
    ],
)
def test_the_sink_gets_the_content_and_makes_the_response(
    desk: Desk, sink: Collecting, size: int, line: str, sent: bytes, content: bytes
) -> None:
    """However it is cut; the request behind it is answered after it."""
    client, connection = desk.connect()
    data = put(line) + sent + get("/")
    for start in range(0, len(data), size):
        client.send(data[start : start + size])
        desk.turn()
    said = client.recv(1 << 16)
    assert said.startswith(b"HTTP/1.1 201 ")
    assert said.partition(b"\r\n\r\n")[2].startswith(content + b"HTTP/1.1 204 ")
    assert sink.content == content
    assert (connection.state, sink.aborted) == (IDLE, 0)


@pytest.mark.parametrize(
    ("version", "lines", "expected"),
    [
        ("1.1", ["Expect: 100-continue"], [104, 100]),
        ("1.1", [], [104]),
        ("1.0", ["Expect: 100-continue"], []),
    ],
)
def test_interim_responses_come_before_the_content(
    desk: Desk, sink: Collecting, version: str, lines: list[str], expected: list[int]
) -> None:
    """None to an HTTP/1.0 client, which knows none (RFC 9110, 15.2)."""
    sink.interim = [Response(104, [("Location", "/uploads/1")])]
    client, connection = desk.connect(put(LENGTH, *lines, version=version))
    assert connection.state == CONTENT
    assert statuses(client) == expected
    client.send(CONTENT_OF_NINE)
    desk.turn()
    assert statuses(client)[0] == 201
    assert sink.content == CONTENT_OF_NINE


def test_one_that_was_refused_from_its_head_is_not_told_to_continue(desk: Desk) -> None:
    client, _ = desk.connect(request("POST", "/", LENGTH, "Expect: 100-continue"))
    assert statuses(client) == [204, 0]


@pytest.mark.parametrize("call", ["write", "finish"])
def test_a_sink_may_have_a_thread_work_first(
    desk: Desk, sink: Collecting, threads: Threads, call: str
) -> None:
    """Meanwhile nothing is received; then the same call is made again, as often as it takes."""
    done: list[int] = []
    sink.problems[call] = [Waiting("disk", lambda: done.append(len(done))) for _ in range(2)]
    client, connection = desk.connect(put(LENGTH) + CONTENT_OF_NINE)
    client.send(get("/"))
    for count in range(2):
        assert connection.state == WAIT
        desk.turn()
        assert len(done) == count
        assert statuses(client) == []
        threads.run()
    assert statuses(client) == [201]
    desk.turn()
    assert statuses(client) == [204]
    assert sink.content == CONTENT_OF_NINE


@pytest.mark.parametrize(
    ("call", "problem", "status"),
    [
        ("write", ProtocolError(413, "too much"), 413),
        ("finish", ProtocolError(409, "in the way"), 409),
        ("write", Waiting("disk", print), 503),
        ("finish", Waiting("disk", print), 503),
    ],
)
def test_a_sink_may_refuse_the_content(
    desk: Desk, sink: Collecting, threads: Threads, call: str, problem: Exception, status: int
) -> None:
    """As it must where a thread is needed, and too many requests wait for one."""
    threads.has_room = False
    sink.problems[call] = [problem]
    client, connection = desk.connect(put(LENGTH) + CONTENT_OF_NINE + get("/"))
    assert statuses(client) == [status, 0]
    assert (connection.state, sink.aborted) == (LINGER, 1)


@pytest.mark.parametrize("call", ["write", "finish"])
def test_a_bug_in_a_sink_is_answered_with_500(
    desk: Desk, sink: Collecting, call: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """One in its `abort`, which follows, changes nothing."""
    sink.problems |= {call: [ZeroDivisionError()], "abort": [ZeroDivisionError()]}
    client, connection = desk.connect(put(LENGTH) + CONTENT_OF_NINE)
    assert statuses(client) == [500, 0]
    assert (connection.state, sink.aborted) == (LINGER, 1)
    assert capfd.readouterr().err.count("portico: a bug, please report it:\nTraceback") == 2


def test_a_disk_that_takes_too_long_ends_the_request(
    desk: Desk, sink: Collecting, threads: Threads
) -> None:
    sink.problems["write"] = [Waiting("disk", lambda: None)]
    client, connection = desk.connect(put(LENGTH) + CONTENT_OF_NINE)
    connection.expire()
    assert statuses(client) == [503, 0]
    threads.run()
    assert (sink.content, sink.aborted) == (b"", 1)


def leaves(client: socket.socket, _connection: Connection) -> None:
    client.close()


def says_no_more(client: socket.socket, _connection: Connection) -> None:
    client.shutdown(socket.SHUT_WR)


def is_closed(_client: socket.socket, connection: Connection) -> None:
    connection.close()


def is_late(_client: socket.socket, connection: Connection) -> None:
    connection.expire()


def breaks_the_coding(client: socket.socket, _connection: Connection) -> None:
    client.send(b"nonsense\r\n")


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (leaves, []),
        (says_no_more, [0]),
        (is_closed, [0]),
        (is_late, [408, 0]),
        (breaks_the_coding, [400, 0]),
    ],
)
def test_content_that_does_not_come_whole_is_given_up(
    desk: Desk,
    sink: Collecting,
    happens: Callable[[socket.socket, Connection], None],
    said: list[int],
) -> None:
    client, connection = desk.connect(put(CODED) + b"4\r\nnine\r\n")
    assert (connection.state, sink.content) == (CONTENT, b"nine")
    happens(client, connection)
    desk.turn()
    assert sink.aborted == 1
    assert client.fileno() < 0 or statuses(client) == said


def test_a_drain_lets_content_come_to_its_end(desk: Desk, sink: Collecting) -> None:
    client, connection = desk.connect(put(LENGTH) + CONTENT_OF_NINE[:3])
    desk.responder.begin_drain()
    connection.drain()
    client.send(CONTENT_OF_NINE[3:])
    desk.turn()
    assert statuses(client) == [201, 0]
    assert sink.content == CONTENT_OF_NINE


@pytest.mark.parametrize(
    ("rate", "lasts"),
    [(CONTENT_RATE // 2, 20), (CONTENT_RATE - 100, 94), (CONTENT_RATE, None), (9999, None)],
)
def test_content_may_last_as_long_as_it_comes_fast_enough(
    desk: Desk, rate: int, lasts: int | None
) -> None:
    """`rate` octets come in each second. Too slow a drip uses up the time for a pause."""
    client, connection = desk.connect(put("Content-Length: 100000000"))
    begun = desk.responder.now
    for second in range(300):
        desk.responder.now = begun + second
        if connection.deadline < desk.responder.now:
            assert second == pytest.approx(lasts, abs=1)
            break
        client.send(bytes(rate))
        connection._on_more(READ)
    else:
        assert lasts is None
    assert connection.state == CONTENT


def test_a_client_that_was_fast_may_pause_no_longer_than_others(desk: Desk) -> None:
    client, connection = desk.connect(put("Content-Length: 100000000"))
    for _ in range(20):
        client.send(bytes(CONTENT_RATE * 10))
        connection._on_more(READ)
    assert connection.deadline == desk.responder.now + 10
