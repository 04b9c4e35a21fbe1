"""Reading one answer, and seeing what is wrong with it."""

from __future__ import annotations

import gzip
import socket
from pathlib import Path

import pytest

from bench import check, scenarios
from bench.check import Answer


def answer_to(sent: bytes) -> Answer:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(sent)
        theirs.shutdown(socket.SHUT_WR)
        return check.ask(ours, "GET / HTTP/1.1\r\n\r\n")


def test_a_body_of_known_length_is_read_with_its_size_on_the_wire() -> None:
    sent = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "a"\r\n\r\nhello'
    answer = answer_to(sent)
    assert (answer.status, answer.body, answer.wire_size) == (200, b"hello", len(sent))
    assert answer.fields["etag"] == '"a"'
    assert answer.keeps


def test_chunks_are_put_together() -> None:
    sent = b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"
    sent += b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n"
    answer = answer_to(sent)
    assert (answer.body, answer.wire_size) == (b"hello", len(sent))


def test_a_304_has_no_body_whatever_its_length_says() -> None:
    assert answer_to(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n").body == b""


def test_an_answer_that_says_close_does_not_keep_the_connection() -> None:
    sent = b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n"
    assert not answer_to(sent).keeps


@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"]
)
def test_an_answer_cut_short_is_an_error(sent: bytes) -> None:
    with pytest.raises(ValueError, match="closed within the answer"):
        answer_to(sent)


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (Answer(200, {}, b"hello", 9), None),
        (Answer(200, {"content-encoding": "gzip"}, gzip.compress(b"hello"), 9), None),
        (Answer(500, {}, b"hello", 9), "answered 500 instead of 200"),
        (Answer(200, {}, b"hell", 9), "sent 4 bytes instead of 5"),
        (Answer(200, {}, b"jello", 9), "sent other bytes than the file's"),
    ],
)
def test_a_difference_is_said_in_words(answer: Answer, wrong: str | None) -> None:
    assert check.difference(answer, 200, b"hello") == wrong


def test_the_text_of_an_error_page_is_the_servers_own() -> None:
    assert check.difference(Answer(404, {}, b"anything", 9), 404, None) is None


def test_a_client_asks_again_with_the_validators_it_was_given() -> None:
    fields = {"last-modified": "Thu, 01 Jan 2026 00:00:00 GMT", "etag": '"v"'}
    assert check.validators(Answer(200, fields, b"", 0)) == (
        'If-None-Match: "v"',
        "If-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT",
    )


def test_the_expected_body_of_a_range_is_that_slice_of_the_file(tmp_path: Path) -> None:
    scenario = scenarios.by_names(["range"])[0]
    scenarios.make_files(tmp_path, {"10m"})
    body = scenarios.expected_body(scenario, tmp_path)
    assert body == (tmp_path / "10m.bin").read_bytes()[5_000_000:5_016_384]


@pytest.mark.parametrize(
    ("sent", "wrong"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", None),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234x6789",
            "sent other bytes than the file's",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n0123", "sent 4 bytes instead of 10"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answered 404 instead of 200"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "sent a large file without its length, so that it cannot be compared",
        ),
    ],
)
def test_a_large_answer_is_compared_as_it_comes(
    sent: bytes, wrong: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"0123456789")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(sent)
        theirs.shutdown(socket.SHUT_WR)
        answer, said = check.compare(ours, "GET / HTTP/1.1\r\n\r\n", path)
    assert said == wrong
    assert answer.wire_size == len(sent)
    assert answer.body == b""


def test_a_hollow_file_has_its_size_and_takes_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(scenarios.FILES, "1g", scenarios.Files("1g.bin", 1 << 24, hollow=True))
    scenarios.make_files(tmp_path, {"1g"})
    found = (tmp_path / "1g.bin").stat()
    assert found.st_size == 1 << 24
    assert found.st_blocks * 512 < 1 << 20


def test_files_have_their_size_and_the_same_bytes_each_time() -> None:
    for name in ("page.html", "a.bin"):
        assert len(scenarios.content(name, 1024)) == 1024
        assert scenarios.content(name, 1024) == scenarios.content(name, 1024)


def test_lines_of_a_log_are_counted(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\ntwo\nthr")
    assert check.log_lines(log) == 2
