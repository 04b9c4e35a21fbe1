"""Reading one answer, and seeing what is wrong with it."""

from __future__ import annotations

import gzip
import socket
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from bench import client
from bench.client import Answer, AnswerError
from bench.scenarios import SMALL

CHUNKED = b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"


def answer_to(sent: bytes, file: Path | None = None) -> Answer:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(sent)
        theirs.shutdown(socket.SHUT_WR)
        return client.read_answer(ours, file)


def answer(status: int, body: bytes, **fields: str) -> Answer:
    message = Message()
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    return Answer(status, message, body, 9, keeps=True)


@pytest.mark.parametrize(
    ("sent", "status", "body", "keeps"),
    [
        (OK + b"0123456789", 200, b"0123456789", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b"", True),
        (
            CHUNKED + b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
            404,
            b"hello",
            True,
        ),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n", 200, b"", False),
    ],
)
def test_an_answer_is_read_with_its_size_on_the_wire(
    sent: bytes, status: int, body: bytes, *, keeps: bool
) -> None:
    found = answer_to(sent)
    assert (found.status, found.body, found.keeps) == (status, body, keeps)
    assert found.wire_size == len(sent)


@pytest.mark.parametrize("sent", [b"", OK + b"hi", b"nonsense\r\n\r\n"])
def test_an_answer_cut_short_is_an_error(sent: bytes) -> None:
    with pytest.raises((OSError, ValueError)):
        answer_to(sent)


@pytest.mark.parametrize(
    ("found", "changes", "wrong"),
    [
        (answer(200, b"hello"), {}, None),
        (answer(200, gzip.compress(b"hello"), Content_Encoding="gzip"), {}, None),
        (answer(500, b"hello"), {}, "answered 500 instead of 200"),
        (answer(200, b"hell"), {}, "sent 4 bytes instead of 5"),
        (answer(200, b"jello"), {}, "sent other bytes than the file's"),
        (answer(206, b"ll"), {"status": 206, "part": (2, 4)}, None),
        (answer(200, b"hello"), {"coding": "gzip"}, "did not send the file that is there in gzip"),
        (answer(404, b"the server's own text"), {"status": 404}, None),
        (answer(404, b""), {"status": 0}, None),
    ],
)
def test_a_difference_to_what_is_right_is_said_in_words(
    found: Answer, changes: dict[str, Any], wrong: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"hello")
    assert client.difference(found, replace(SMALL, **changes), file) == wrong


def test_a_client_asks_again_with_the_validators_it_was_given() -> None:
    date = "Thu, 01 Jan 2026 00:00:00 GMT"
    found = answer(200, b"", Last_Modified=date, ETag='"v"')
    assert client.validators(found) == ['If-None-Match: "v"', f"If-Modified-Since: {date}"]


@pytest.mark.parametrize(
    ("sent", "wrong"),
    [
        (OK + b"0123456789", None),
        (OK + b"01234x6789", "sent other bytes than the file's"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n0123", "announced 4 bytes instead of 10"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "announced None bytes"),
    ],
)
def test_a_large_answer_is_compared_as_it_comes(
    sent: bytes, wrong: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"0123456789")
    if wrong is None:
        found = answer_to(sent, path)
        assert (found.wire_size, found.body) == (len(sent), b"")
    else:
        with pytest.raises(AnswerError, match=wrong):
            answer_to(sent, path)


def test_a_connection_is_open_until_its_peer_closes_it() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert client.is_open(ours)
        theirs.close()
        assert not client.is_open(ours)
