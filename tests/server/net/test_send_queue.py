"""What waits to be sent goes out in order and whole, whatever the socket takes at a time."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from portico.http.content import Content, ContentChanged, Octets
from portico.server.net import transport
from portico.server.net.send_queue import BURST, SendQueue
from portico.server.net.transport import Plain
from portico.site.origin.freshness import Freshness
from portico.site.origin.open_file import TAIL, FileSlice, OpenFile, Waiting, open_file
from tests.server.net.conftest import Pair


@pytest.fixture(params=["the system's calls", "no sendfile", "no sendmsg", "neither"])
def _any_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other systems lack is done without."""
    if request.param in {"no sendfile", "neither"}:
        monkeypatch.setattr(transport, "_HAS_SENDFILE", False)
    if request.param in {"no sendmsg", "neither"}:
        monkeypatch.setattr(transport, "_HAS_SENDMSG", False)


def opened(path: Path, content: bytes) -> OpenFile:
    path.write_bytes(content)
    return open_file(str(path), os.O_RDONLY, Freshness())[0]


def queue_of(*content: Content, sent: int = 0) -> SendQueue:
    return SendQueue([piece.outgoing() for piece in content], sent)


def drain(send_queue: SendQueue, pair: Pair, dice: random.Random) -> bytes:
    """Flush and receive by turns until all is through."""
    sender, receiver = pair
    got = b""
    done = False
    while not done:
        try:
            done = send_queue.flush(sender)
        except Waiting as waiting:
            if waiting.work is not None:
                waiting.work()
        while True:
            try:
                got += receiver.recv(dice.randint(1, 9000))
            except BlockingIOError:
                break
            if dice.random() < 0.3:
                break
    receiver.setblocking(True)
    while len(got) < send_queue.sent:
        got += receiver.recv(65536)
    return got


@pytest.mark.usefixtures("_any_system")
@pytest.mark.parametrize("seed", range(6))
def test_all_pieces_go_out_in_order(pair: Pair, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    pieces: list[Content] = []
    wanted = b""
    for number in range(dice.randint(1, 9)):
        content = dice.randbytes(dice.choice([0, 1, 100, TAIL, TAIL + 1, 5000, 100_000]))
        if dice.random() < 0.5:
            pieces.append(Octets(content))
            wanted += content
        else:
            begin = dice.randint(0, len(content))
            count = dice.randint(0, len(content) - begin)
            pieces.append(FileSlice(opened(tmp_path / str(number), content), begin, count))
            wanted += content[begin : begin + count]
    send_queue = queue_of(*pieces)
    assert drain(send_queue, pair, dice) == wanted
    assert send_queue.sent == len(wanted)


def test_what_was_sent_before_counts(pair: Pair) -> None:
    send_queue = queue_of(Octets(b"1234567"), Octets(b"abc"), sent=7)
    assert send_queue.flush(pair[0])
    assert send_queue.sent == 10
    assert pair[1].recv(9) == b"abc"


@pytest.mark.parametrize("count", range(3))
def test_nothing_is_sent_at_once(pair: Pair, count: int) -> None:
    assert queue_of(*[Octets()] * count).flush(pair[0])


def test_a_burst_is_bounded(tmp_path: Path) -> None:
    """Also when the socket would take more, others are to have their turn."""
    content = bytes(BURST * 3)
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, socket.create_connection(listener.getsockname()) as receiver:
        accepted, _ = listener.accept()
        with closing(Plain(fileno=accepted.detach())) as sender:
            sender.setblocking(False)
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BURST * 8)
            file = FileSlice(opened(tmp_path / "f", content), 0, len(content))
            send_queue = queue_of(Octets(b"head"), file)
            left = 4 + len(content)
            while not send_queue.flush(sender):
                assert 0 < send_queue.sent + left - 4 - len(content) <= BURST + 4
                left = 4 + len(content) - send_queue.sent
                for _ in range(send_queue.sent // 65536):
                    receiver.setblocking(False)
                    try:
                        receiver.recv(1 << 20)
                    except BlockingIOError:
                        break
            assert send_queue.sent == 4 + len(content)


def queue_of_file(tmp_path: Path, size: int) -> tuple[Path, SendQueue]:
    path = tmp_path / "file"
    file = opened(path, b"x" * size)
    return path, queue_of(Octets(b"head"), FileSlice(file, 0, size))


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def touch(path: Path) -> None:
    os.utime(path, (1, 1))


@pytest.mark.usefixtures("_any_system")
@pytest.mark.parametrize("change", [cut_off, touch])
@pytest.mark.parametrize("size", [1, TAIL, 100_000])
def test_a_file_that_was_changed_is_never_complete(
    pair: Pair, tmp_path: Path, size: int, change: Callable[[Path], None]
) -> None:
    path, send_queue = queue_of_file(tmp_path, size)
    change(path)
    with pytest.raises(ContentChanged):
        drain(send_queue, pair, random.Random(0))
    assert send_queue.sent < 4 + size


def test_a_file_that_lost_its_name_is_whole(pair: Pair, tmp_path: Path) -> None:
    path, send_queue = queue_of_file(tmp_path, 100_000)
    path.unlink()
    assert drain(send_queue, pair, random.Random(0)) == b"head" + b"x" * 100_000


def test_a_receiver_that_has_gone_is_an_error(pair: Pair, tmp_path: Path) -> None:
    sender, receiver = pair
    receiver.close()
    with pytest.raises(BrokenPipeError):
        queue_of(Octets(b"abc")).flush(sender)
    with pytest.raises(BrokenPipeError):
        queue_of_file(tmp_path, 100_000)[1].flush(sender)
