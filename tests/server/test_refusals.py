"""What is no request is answered with a page that says so, and then the connection ends."""

from __future__ import annotations

import random

import pytest

from portico.http.h1.head import FIELDS_LIMIT, HEAD_LIMIT, TARGET_LIMIT
from tests.server.clients import Client, get, request

HOST = b"Host: localhost\r\n"
REFUSED = {
    "no request": (b"hello\r\n\r\n", 400),
    "a request of HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "a bare LF": (b"GET / HTTP/1.1\n", 400),
    "a bare LF after a field": (b"GET / HTTP/1.1\r\nHost: localhost\n\n", 400),
    "a bare CR": (b"GET / HTTP/1.1\rHost: localhost\r\n\r\n", 400),
    "empty lines only": (b"\r\n\r\n", 400),
    "a TLS handshake": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "a space before the colon": (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
    "a folded line": (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n", 400),
    "two lengths": (request("GET", "/", "Content-Length: 1", "Content-Length: 1"), 400),
    "a length and a coding": (
        request("POST", "/", "Content-Length: 1", "Transfer-Encoding: chunked"),
        400,
    ),
    "a path out of the site": (get("/../etc/passwd"), 400),
    "a long target": (get("/" + "a" * TARGET_LIMIT), 414),
    "an endless request line": (b"GET /" + b"a" * HEAD_LIMIT, 414),
    "an endless field": (b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * HEAD_LIMIT, 431),
    "many fields": (get("/", *["A: b"] * FIELDS_LIMIT), 431),
    "an unknown coding": (request("POST", "/", "Transfer-Encoding: gzip, chunked"), 501),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "an unknown expectation": (get("/", "Expect: cake"), 417),
}


def pieces(data: bytes, way: str) -> list[bytes]:
    """`data` in the pieces that `way` says; long data is not cut into single octets."""
    if way == "whole":
        return [data]
    if way == "with what follows":
        return [data + get("/small.txt") * 3]
    dice = random.Random(len(data))
    cut = []
    while data:
        size = 1 if len(data) < 500 else dice.randint(1, 1000)
        cut.append(data[:size])
        data = data[size:]
    return cut


@pytest.mark.parametrize("way", ["whole", "in pieces", "with what follows"])
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_request_gets_a_page_and_the_end(client: Client, what: str, way: str) -> None:
    data, status = REFUSED[what]
    client.send(get("/small.txt"))
    client.send_as_far_as_possible(pieces(data, way))
    assert client.answer().content == b"small"
    answer = client.answer()
    assert answer.status == status
    assert answer.closes
    assert answer.fields["content-type"] == "text/html; charset=utf-8"
    assert str(status).encode() in answer.content
    assert client.at_end()


def test_a_misdirected_request_does_not_end_the_connection(client: Client) -> None:
    answer = client.ask(b"GET /small.txt HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    assert answer.status == 421
    assert not answer.closes
    assert client.ask(get("/small.txt")).content == b"small"


@pytest.mark.parametrize("endless", [b"A: b\r\n", b"a", b"GET / HTTP/1.1 "])
def test_a_head_that_never_ends_is_refused_while_it_comes(client: Client, endless: bytes) -> None:
    """The client sends a megabyte and only then listens; it is not reset before."""
    client.send(b"GET / HTTP/1.1\r\n" + HOST + b"X: ")
    client.send_as_far_as_possible([endless * (1000 // len(endless))] * 1000)
    answer = client.answer()
    assert answer.status == 431
    assert answer.closes
