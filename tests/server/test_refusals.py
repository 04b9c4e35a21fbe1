"""What is no request is answered with a page that says so, and then the connection ends."""

from __future__ import annotations

import pytest

from portico.http.h1.head import HEAD_LIMIT
from tests.server.clients import Client, get, in_pieces, request

HOST = b"Host: localhost\r\n"
REFUSED = {
    "no request": (b"hello\r\n\r\n", 400),
    "a TLS handshake": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "a path out of the site": (get("/../etc/passwd"), 400),
    "an endless request line": (b"GET /" + b"a" * HEAD_LIMIT, 414),
    "an endless field": (b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * HEAD_LIMIT, 431),
    "an unknown coding": (request("POST", "/", "Transfer-Encoding: gzip, chunked"), 501),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "an unknown expectation": (get("/", "Expect: cake"), 417),
}
"""One of each kind: what is refused, and how, the tests of `http.h1` say."""


@pytest.mark.parametrize(("seed", "behind"), [(0, b""), (1, b""), (0, get("/small.txt") * 3)])
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_request_gets_a_page_and_the_end(
    client: Client, what: str, seed: int, behind: bytes
) -> None:
    data, status = REFUSED[what]
    client.send(get("/small.txt"))
    client.send_as_far_as_possible(in_pieces(data + behind, seed))
    assert client.answer().content == b"small"
    answer = client.answer()
    assert answer.status == status
    assert answer.closes
    assert answer.fields["content-type"] == "text/html; charset=utf-8"
    assert str(status).encode() in answer.content
    assert client.at_end()


HEADS = {
    "no host": (b"HEAD / HTTP/1.1\r\n\r\n", 400),
    "an unknown expectation": (request("HEAD", "/", "Expect: cake"), 417),
    "an unknown coding": (request("HEAD", "/", "Transfer-Encoding: gzip, chunked"), 501),
    "no HTTP": (b"HEAD / HTTP/2.0\r\n\r\n", 505),
    "a malformed line": (b"HEAD /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "an empty line before": (b"\r\nHEAD /.. HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "an endless field": (b"HEAD / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * HEAD_LIMIT, 431),
}


@pytest.mark.parametrize("what", HEADS)
def test_a_refused_head_gets_no_content(client: Client, what: str) -> None:
    data, status = HEADS[what]
    answer = client.ask(data, method="HEAD")
    assert answer.status == status
    assert int(answer.fields["content-length"]) > 0
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
