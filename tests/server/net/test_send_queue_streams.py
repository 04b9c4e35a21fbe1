"""A stream in the send queue: a piece for each step, framed or not, and its end only at its end."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress

import pytest

from portico.http.content import Content, Outgoing, Stream
from portico.http.h1.serialize import Chunked
from portico.server.net.send_queue import SendQueue
from tests.server.net.conftest import Pair


def queue_of(content: Content) -> SendQueue:
    return SendQueue([Outgoing(b"head"), content.outgoing()])


def stream_of(*pieces: bytes, error: Exception | None = None, chunked: bool = True) -> SendQueue:
    def made() -> Generator[bytes, None, None]:
        yield from pieces
        if error is not None:
            raise error

    return queue_of(Chunked(Stream(made())) if chunked else Stream(made()))


def test_each_piece_is_a_chunk_and_a_step(pair: Pair) -> None:
    sender, receiver = pair
    send_queue = stream_of(b"one", b"", b"twotwotwotwotwotwo")
    assert not send_queue.needs_step
    said = []
    while not send_queue.flush(sender):
        assert send_queue.needs_step
        send_queue.step()
        with suppress(BlockingIOError):
            said.append(receiver.recv(99))
    said.append(receiver.recv(99))
    assert said == [b"head", b"3\r\none\r\n", b"12\r\ntwotwotwotwotwotwo\r\n", b"0\r\n\r\n"]
    assert send_queue.content_sent(len(b"head")) == len(b"one" + b"twotwotwotwotwotwo")


def test_without_chunks_the_pieces_are_all(pair: Pair) -> None:
    sender, receiver = pair
    send_queue = stream_of(b"", b"one", b"two", chunked=False)
    while not send_queue.flush(sender):
        send_queue.step()
    assert receiver.recv(99) == b"headonetwo"
    assert (send_queue.sent, send_queue.content_sent(4)) == (10, 6)


@pytest.mark.parametrize("room", range(1, 15))
def test_content_is_told_from_framing_at_any_point(room: int) -> None:
    """However much of a chunk the socket has taken."""

    class Narrow:
        """A socket that takes so many octets and no more."""

        left = 4 + room

        def send(self, octets: memoryview, _flags: int) -> int:
            if not self.left:
                raise BlockingIOError
            sent = min(self.left, len(octets))
            self.left -= sent
            return sent

    send_queue = stream_of(b"content")
    narrow = Narrow()
    for _ in range(3):
        send_queue.flush(narrow)  # type: ignore[arg-type]
        if send_queue.needs_step:
            send_queue.step()
    sent = b"7\r\ncontent\r\n0\r\n\r\n"[:room]
    assert send_queue.sent == 4 + room
    assert send_queue.content_sent(4) == len(sent[3:10])


def test_a_stream_that_cannot_go_on_has_no_last_chunk(
    pair: Pair,
) -> None:
    sender, receiver = pair
    send_queue = stream_of(b"one", error=FileNotFoundError())
    send_queue.flush(sender)
    send_queue.step()
    send_queue.flush(sender)
    with pytest.raises(FileNotFoundError):
        send_queue.step()
    assert receiver.recv(99) == b"head3\r\none\r\n"


def test_giving_up_ends_the_stream() -> None:
    ended = []

    def made() -> Generator[bytes, None, None]:
        try:
            while True:
                yield b"piece"
        finally:
            ended.append(True)

    send_queue = SendQueue([Stream(made()).outgoing()])
    send_queue.step()
    send_queue.close()
    assert ended == [True]
