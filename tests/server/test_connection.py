"""Persistence, versions, HEAD, and connections that are closed from one side."""

from __future__ import annotations

from pathlib import Path

import pytest

from portico.server.embedded import Server
from tests.server.clients import Client, eventually, get, request
from tests.server.conftest import Connect

pytestmark = pytest.mark.usefixtures("any_poller")


def test_a_connection_serves_one_request_after_the_other(server: Server, client: Client) -> None:
    for number in range(50):
        answer = client.ask(get(f"/n/{number}.txt"))
        assert (answer.status, answer.content) == (200, b"%d" % number)
        assert "connection" not in answer.fields
    assert client.ask(get("/none")).status == 404
    assert client.ask(request("PUT", "/n/1.txt")).status == 405
    assert client.ask(request("BREW", "/n/1.txt")).status == 501
    assert client.ask(get("/n")).status == 301
    assert client.ask(get("/n/1.txt")).content == b"1"
    eventually(lambda: server.requests == 55)


@pytest.mark.parametrize("value", ["close", "Close", "keep-alive, close", "close,x"])
def test_close_is_obeyed_once_the_response_is_sent(client: Client, site: Path, value: str) -> None:
    answer = client.ask(get("/large.bin", f"Connection: {value}"))
    assert answer.closes
    assert answer.content == (site / "large.bin").read_bytes()
    assert client.at_end()


@pytest.mark.parametrize(
    "head", [get("/large.bin", "Connection: close"), get("/large.bin", version="1.0")]
)
@pytest.mark.parametrize("more", [b"\r\n", get("/small.txt")])
def test_what_comes_during_the_last_response_costs_nothing_of_it(
    connect: Connect, server: Server, site: Path, head: bytes, more: bytes
) -> None:
    """To close with octets unread would reset the connection, and lose what was not sent yet."""
    client = connect(server, receive_buffer=4096)
    client.send(head)
    eventually(client.has_news)
    client.send(more)
    assert client.answer().content == (site / "large.bin").read_bytes()
    assert client.at_end()


def test_http_1_0_ends_with_the_response(server: Server, connect: Connect) -> None:
    for head in (b"GET /small.txt HTTP/1.0\r\n\r\n", get("/small.txt", version="1.0")):
        client = connect(server)
        answer = client.ask(head)
        assert (answer.status, answer.content) == (200, b"small")
        assert answer.closes
        assert client.at_end()


def test_http_1_0_may_ask_to_go_on(client: Client) -> None:
    for _ in range(3):
        answer = client.ask(get("/small.txt", "Connection: Keep-Alive", version="1.0"))
        assert answer.content == b"small"
        assert answer.fields["connection"].lower() == "keep-alive"
    assert client.ask(get("/small.txt", version="1.0")).closes
    assert client.at_end()


@pytest.mark.parametrize("path", ["/small.txt", "/empty.txt", "/large.bin", "/none", "/n", "/n/"])
def test_head_has_the_fields_of_get_and_no_content(client: Client, path: str) -> None:
    whole = client.ask(get(path))
    bare = client.ask(request("HEAD", path), method="HEAD")
    assert bare.status == whole.status
    assert bare.content == b""
    for answer in (whole, bare):
        del answer.fields["date"]
    assert bare.fields == whole.fields
    assert int(bare.fields["content-length"]) == len(whole.content)
    assert client.ask(get("/small.txt")).content == b"small"


@pytest.mark.parametrize("path", ["small.txt", "medium.bin", "large.bin"])
def test_a_half_closed_client_gets_the_whole_answer(client: Client, site: Path, path: str) -> None:
    client.send(get(f"/{path}"))
    client.half_close()
    assert client.answer().content == (site / path).read_bytes()
    assert client.at_end()


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"", b""),
        (b"GET /small", b""),
        (request("POST", "/", "Content-Length: 9") + b"x", b"HTTP/1.1 405"),
        (request("POST", "/", "Transfer-Encoding: chunked") + b"9\r\nx", b"HTTP/1.1 405"),
    ],
)
def test_a_client_that_stops_in_the_middle_has_stopped(
    client: Client, start: bytes, said: bytes
) -> None:
    client.send(start)
    client.half_close()
    assert client.until_end()[:12] == said


def test_an_empty_line_before_a_request_is_ignored(client: Client) -> None:
    for _ in range(2):
        assert client.ask(b"\r\n" + get("/small.txt")).content == b"small"
    assert client.ask(b"\r", b"\n", get("/small.txt")).content == b"small"
