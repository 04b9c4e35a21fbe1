"""Content that nobody asked for: read up to a bound, so that the connection can go on."""

from __future__ import annotations

import pytest

from portico.server.embedded import Server
from portico.server.responder import DISCARD_LIMIT
from tests.server.clients import Client, chunked, eventually, get, in_pieces, request
from tests.server.conftest import Connect

CODED = "Transfer-Encoding: chunked"
SMUGGLED = get("/small.txt")


def length(count: int) -> str:
    return f"Content-Length: {count}"


CONTENTS = {
    "none": (length(0), b""),
    "one octet": (length(1), b"x"),
    "what looks like a request": (length(len(SMUGGLED)), SMUGGLED),
    "as much as is read": (length(DISCARD_LIMIT), b"x" * DISCARD_LIMIT),
    "no chunk": (CODED, chunked()),
    "chunks": (CODED, chunked(b"x", SMUGGLED, b"y" * 1000)),
    "chunks and a trailer": (CODED, chunked(SMUGGLED, trailer=b"A: b\r\nC: d\r\n")),
    "chunks with extensions": (CODED, b'1;a=b\r\nx\r\n2;c="d"\r\nyy\r\n0\r\n\r\n'),
    "many chunks": (CODED, chunked(*[b"x" * size for size in range(1, 300)])),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("POST", 405)])
@pytest.mark.parametrize("kind", CONTENTS)
def test_the_next_request_is_answered(
    client: Client, kind: str, method: str, status: int, seed: int
) -> None:
    line, content = CONTENTS[kind]
    one = request(method, "/small.txt", line) + content
    client.send(*in_pieces(one + one + get("/n/7.txt"), seed))
    for _ in range(2):
        answer = client.answer()
        assert answer.status == status
        assert not answer.closes
    assert client.answer().content == b"7"
    assert not client.received


def test_content_may_follow_its_answer(client: Client) -> None:
    """Nobody waits for it: the client has the answer first."""
    for line, content in ((length(3), b"abc"), (CODED, chunked(b"abc"))):
        assert client.ask(request("POST", "/", line)).status == 405
        assert client.ask(content[:2], content[2:] + get("/small.txt")).content == b"small"


GREAT = 12 << 20
"""More than both systems take in before the server reads it."""
TOO_MUCH = {
    "a length": (length(DISCARD_LIMIT + 1), b"x" * (DISCARD_LIMIT + 1)),
    "a great length": (length(GREAT), b"x" * GREAT),
    "one chunk": (CODED, chunked(b"x" * GREAT)),
    "many chunks": (CODED, chunked(*[b"x" * 1000] * 900)),
}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("kind", TOO_MUCH)
def test_beyond_the_bound_the_answer_is_read_and_the_connection_ends(
    client: Client, kind: str, method: str
) -> None:
    """The client sends all it has, and only then reads: no reset gets before the answer.

    How long it may go on sending, `test_timeouts` says.
    """
    line, content = TOO_MUCH[kind]
    client.send(request(method, "/medium.bin", line), content)
    answer = client.answer()
    assert answer.status == (200 if method == "GET" else 405)
    assert answer.closes == line.startswith("Content-Length")
    assert client.at_end()


@pytest.mark.parametrize(
    "content",
    [
        b"nonsense\r\n" + SMUGGLED,
        b"-1\r\n\r\n" + SMUGGLED,
        b"1\r\nxx\r\n" + SMUGGLED,
        b"1\nx\r\n" + SMUGGLED,
        b"0\r\n bad\r\n\r\n" + SMUGGLED,
        b"fffffffffffffffff\r\n" + SMUGGLED,
    ],
)
def test_broken_chunks_end_the_connection(client: Client, content: bytes) -> None:
    """The answer was under way before; nothing that follows is taken for a request."""
    client.send(request("POST", "/", CODED))
    client.send_as_far_as_possible([content])
    assert client.answer().status == 405
    assert client.at_end()


@pytest.mark.parametrize("lines", [[length(5)], [CODED], [length(10**9)], []])
def test_nobody_is_told_to_continue(client: Client, lines: list[str]) -> None:
    """The final answer comes at once, and the client may spare itself the content."""
    answer = client.ask(request("POST", "/", "Expect: 100-continue", *lines))
    assert answer.status == 405
    assert answer.closes
    assert client.at_end()


def test_a_client_that_asked_to_close_can_send_its_content_and_read_the_answer(
    server: Server, connect: Connect
) -> None:
    """The answer is longer than what both kernels hold, so a reset would cut it."""
    client = connect(server, receive_buffer=4096)
    client.send(get("/large.bin", "Connection: close", length(50_000)))
    client.send(b"x" * 50_000)
    assert client.answer().content == bytes(range(256)) * 16384
    assert client.at_end()


def test_a_small_answer_and_a_content_that_comes_late(client: Client) -> None:
    client.send(request("POST", "/", "Connection: close", length(50_000)))
    eventually(client.has_news)
    client.send(b"x" * 25_000, b"x" * 25_000)  # the first would meet a closed socket
    answer = client.answer()
    assert answer.status == 405
    assert answer.closes
    assert not client.is_cut()


def test_an_http_1_0_request_with_content(client: Client) -> None:
    client.send(request("POST", "/", length(5), version="1.0") + b"hello")
    assert client.answer().status == 405
    assert client.at_end()
