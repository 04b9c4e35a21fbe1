"""The loop by itself, on socket pairs and whatever there is to wait with."""

from __future__ import annotations

import io
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from portico.server.net.loop import LAST, LONG_TURN, READ, WRITE, Loop, run_guarded

pytestmark = pytest.mark.usefixtures("any_poller")


class Diary:
    """A loop, and what it has called in which order."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.turns_left = 1
        self.loop = Loop()

    def note(self, entry: str) -> None:
        self.entries.append(entry)

    def noting(self, entry: str) -> Callable[..., None]:
        return lambda *_: self.note(entry)

    def _rest(self) -> None:
        self.note("rest")
        self.turns_left -= 1
        if self.turns_left == 0:
            self.loop.stop()

    def run(self, turns: int = 1) -> list[str]:
        """Make so many turns; the entries written in them."""
        self.entries.clear()
        self.turns_left = turns
        self.loop._stopped = False
        self.loop.run(
            on_turn=lambda _: self.note("turn"),
            on_turn_end=self._rest,
            on_bug=lambda fd: self.note(f"bug {fd}"),
        )
        return self.entries


@pytest.fixture
def diary() -> Iterator[Diary]:
    diary = Diary()
    yield diary
    diary.loop.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


Pair = tuple[socket.socket, socket.socket]


def test_a_turn_has_its_order(diary: Diary, pair: Pair) -> None:
    loop, (ours, theirs) = diary.loop, pair

    def read(_events: int) -> None:
        diary.note(ours.recv(9).decode())
        loop.soon(ours.fileno(), diary.noting("soon"))
        loop.later(0, diary.noting("timer"))

    loop.watch(ours.fileno(), READ, read)
    theirs.send(b"read")
    assert diary.run() == ["turn", "read", "soon", "timer", "rest"]


def test_what_is_put_off_is_not_waited_for(diary: Diary, pair: Pair) -> None:
    """A call that puts itself off again lets others have their turn in between."""
    loop, (ours, theirs) = diary.loop, pair

    def again() -> None:
        diary.note("soon")
        loop.soon(ours.fileno(), again)

    loop.soon(ours.fileno(), again)
    loop.watch(ours.fileno(), READ, diary.noting("read"))
    theirs.send(b"x")
    assert diary.run(2) == ["turn", "read", "soon", "rest"] * 2


def test_calls_of_other_threads_wake_it_once_in_a_turn(diary: Diary) -> None:
    loop = diary.loop
    for _ in range(2):  # the second time it has to be woken again
        threads = [threading.Thread(target=loop.call, args=(diary.noting("call"),)) for _ in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert loop._woken.recv(4096, socket.MSG_PEEK) == b"!"
        assert diary.run() == ["turn", "call", "call", "rest"]


def test_timers_run_in_the_order_in_which_they_are_due(diary: Diary) -> None:
    for milliseconds in (30, 10, 20, 10):
        diary.loop.later(milliseconds / 1000, diary.noting(str(milliseconds)))
    diary.loop.later(0.04, diary.loop.stop)
    entries = diary.run(1000)
    assert [entry for entry in entries if entry.isdigit()] == ["10", "10", "20", "30"]


def test_readiness_is_told_again_until_it_is_used(diary: Diary, pair: Pair) -> None:
    loop, (ours, theirs) = diary.loop, pair
    loop.watch(ours.fileno(), READ, diary.noting("read"))
    theirs.send(b"x")
    assert diary.run(2).count("read") == 2
    loop.handle(ours.fileno(), diary.noting("other"))
    assert diary.run().count("other") == 1
    loop.change(ours.fileno(), WRITE, diary.noting("write"))
    assert diary.run().count("write") == 1
    loop.forget(ours.fileno())
    loop.wake()
    assert diary.run() == ["turn", "rest"]


def test_last_comes_after_all_others(
    diary: Diary, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order, one in a turn if that takes long; until it waits for something else."""
    monkeypatch.setattr("portico.server.net.loop.LAST_SECONDS", 0)
    loop, (ours, theirs) = diary.loop, pair
    if loop._last_poller.fileno() < 0:
        pytest.skip("this poller cannot wait for another one")

    def read(one: socket.socket, _events: int) -> None:
        diary.note(one.recv(1).decode())

    with ExitStack() as stack:
        last = [socket.socketpair() for _ in range(4)]
        for name, (one, other) in zip("abcd", last, strict=True):
            stack.enter_context(one)
            stack.enter_context(other).send(name.encode())
            loop.watch(one.fileno(), READ | LAST, partial(read, one))
        theirs.send(b"x")
        loop.watch(ours.fileno(), READ, diary.noting("read"))
        assert diary.run(2) == ["turn", "read", "a", "rest", "turn", "read", "b", "rest"]
        for one, _ in last[:2]:
            loop.forget(one.fileno())
        loop.change(last[3][0].fileno(), READ, diary.noting("moved"))
        assert sorted(diary.run()) == ["c", "moved", "read", "rest", "turn"]
        loop.change(ours.fileno(), READ | LAST, diary.noting("read"))
        assert diary.run() == ["turn", "moved", "read", "rest"]


def test_the_end_of_the_other_side_is_told(diary: Diary, pair: Pair) -> None:
    loop, (ours, theirs) = diary.loop, pair
    loop.watch(ours.fileno(), READ, diary.noting("read"))
    theirs.close()
    assert "read" in diary.run()
    loop.change(ours.fileno(), WRITE, diary.noting("write"))
    assert "write" in diary.run()


def test_one_may_wait_for_nothing(diary: Diary, pair: Pair) -> None:
    """Neither for octets nor for room: then others can be waited for meanwhile, and go on later."""
    loop, (ours, theirs) = diary.loop, pair
    theirs.send(b"x")
    loop.watch(ours.fileno(), 0, diary.noting("nothing"))
    loop.wake()
    assert diary.run() == ["turn", "rest"]
    loop.change(ours.fileno(), READ, diary.noting("read"))
    assert "read" in diary.run()
    loop.change(ours.fileno(), 0, diary.noting("nothing"))
    loop.wake()
    assert diary.run() == ["turn", "rest"]
    loop.forget(ours.fileno())


def test_who_was_closed_in_this_turn_is_not_called(diary: Diary) -> None:
    pairs = [socket.socketpair() for _ in range(2)]

    def close_both(_events: int) -> None:
        diary.note("called")
        for ours, _ in pairs:
            diary.loop.forget(ours.fileno())
            ours.close()

    for ours, theirs in pairs:
        diary.loop.watch(ours.fileno(), READ, close_both)
        theirs.send(b"x")
    assert diary.run().count("called") == 1
    diary.loop.wake()
    assert diary.run() == ["turn", "rest"]
    for _, theirs in pairs:
        theirs.close()


def test_a_descriptor_may_come_again_after_it_was_closed(diary: Diary) -> None:
    for _ in range(3):
        ours, theirs = socket.socketpair()
        diary.loop.watch(ours.fileno(), READ, diary.noting("read"))
        theirs.send(b"x")
        assert diary.run().count("read") == 1
        diary.loop.forget(ours.fileno())
        ours.close()
        theirs.close()


def raising(*_: object) -> None:
    raise LookupError("on purpose")


def test_a_call_that_raises_is_reported_and_the_others_go_on(
    diary: Diary, pair: Pair, capfd: pytest.CaptureFixture[str]
) -> None:
    loop, (ours, theirs) = diary.loop, pair
    fd, other = ours.fileno(), theirs.fileno()
    loop.watch(fd, READ, raising)
    loop.watch(other, READ, diary.noting("other"))
    ours.send(b"x")
    theirs.send(b"x")
    loop.soon(other, raising)
    loop.soon(other, diary.noting("soon"))
    loop.later(0, raising)
    loop.later(0, diary.noting("timer"))
    entries = diary.run()
    assert sorted(entries[1:3]) == sorted([f"bug {fd}", "other"])
    assert entries[3:] == [f"bug {other}", "soon", "timer", "rest"]
    report = capfd.readouterr().err
    assert report.count("portico: a bug, please report it:\nTraceback") == 3
    assert report.count("LookupError: on purpose") == 3


def test_a_report_that_nobody_can_read_does_no_harm(
    diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader of stderr has gone, or there is none at all."""
    reader, writer = os.pipe()
    os.close(reader)
    closed = io.StringIO()
    closed.close()
    with os.fdopen(writer, "w", buffering=1, encoding="utf-8") as gone:
        for stream in (gone, None, closed):
            monkeypatch.setattr(sys, "stderr", stream)
            diary.loop.later(0, raising)
            diary.loop.later(0, diary.noting("timer"))
            assert "timer" in diary.run()
        monkeypatch.undo()
        with Path(os.devnull).open("wb") as null:  # for what `gone` still holds
            os.dup2(null.fileno(), writer)


def test_wake_ends_a_wait_from_another_thread(diary: Diary) -> None:
    thread = threading.Thread(target=diary.loop.wake)
    thread.start()
    assert diary.run() == ["turn", "rest"]
    thread.join()


def test_wake_may_be_called_any_number_of_times_and_when_all_is_over(diary: Diary) -> None:
    for _ in range(10_000):
        diary.loop.wake()
    assert diary.run() == ["turn", "rest"]
    diary.loop.wake()
    assert diary.run() == ["turn", "rest"]
    diary.loop.close()
    diary.loop.wake()


def test_waiting_costs_no_time(diary: Diary) -> None:
    """With a timer ahead the loop sleeps until then, and does not ask again and again."""
    diary.loop.later(0.3, diary.loop.stop)
    before = time.thread_time()
    entries = diary.run(10_000)
    assert time.thread_time() - before < 0.1
    assert len(entries) <= 10


def test_no_exception_ends_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where there is no memory for the report of it."""

    class Exhausted:
        def fileno(self) -> int:
            raise MemoryError

    monkeypatch.setattr(sys, "stderr", Exhausted())
    loop = Loop()
    calls: list[str] = []

    def fail(name: str) -> None:
        calls.append(name)
        raise MemoryError

    def end() -> None:
        if len(calls) > 3:
            loop.stop()
        fail("end of turn")

    for seconds in (0.0, 0.001):
        loop.later(seconds, partial(fail, "timer"))
    loop.call(partial(fail, "call"))
    loop.run(on_turn=lambda _: fail("turn"), on_turn_end=end)
    loop.close()
    assert set(calls) == {"turn", "call", "timer", "end of turn"}


def test_a_newcomer_is_not_told_what_its_predecessor_was(diary: Diary) -> None:
    """It has got the descriptor of one that was closed in the same turn, and was ready as well."""
    pairs = [socket.socketpair() for _ in range(2)]
    fds = {ours.fileno() for ours, _ in pairs}

    def replace_other(_events: int) -> None:
        diary.note("called")
        for ours, theirs in pairs:
            diary.loop.forget(ours.fileno())
            ours.close()
            theirs.close()
        pairs[:] = [socket.socketpair() for _ in range(2)]
        for ours, _ in pairs:
            diary.loop.watch(ours.fileno(), READ, diary.noting("told"))

    for ours, theirs in pairs:
        diary.loop.watch(ours.fileno(), READ, replace_other)
        theirs.send(b"x")
    assert diary.run() == ["turn", "called", "rest"]
    assert fds & {ours.fileno() for ours, _ in pairs}
    pairs[0][1].send(b"x")
    assert diary.run() == ["turn", "told", "rest"]
    for pair in pairs:
        for end in pair:
            end.close()


@pytest.mark.parametrize("how", ["ready", "soon", "call"])
def test_a_long_turn_is_interrupted_between_handlers(diary: Diary, how: str) -> None:
    """After each handler that takes long; that they do shows in the first turn."""
    loop, pairs = diary.loop, [socket.socketpair() for _ in range(20)]

    def handle(*_: object) -> None:
        time.sleep(LONG_TURN)
        diary.note("handled")

    for _ in range(2):
        diary.entries.clear()
        loop._stopped = False
        for ours, theirs in pairs:
            if how == "soon":
                loop.soon(ours.fileno(), handle)
            elif how == "call":
                loop.call(handle)
            else:
                if ours.fileno() not in loop._handlers:
                    loop.watch(ours.fileno(), READ, handle)
                theirs.send(b"x")
        loop.run(on_long_turn=diary.noting("long"), on_turn_end=loop.stop)
    assert diary.entries.count("handled") == len(pairs)
    assert diary.entries[-10:] == ["handled", "long"] * 5
    for pair in pairs:
        for end in pair:
            end.close()


def test_a_bug_is_told_though_nothing_can_be_imported_for_that(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Such as by a user who cannot read Python's code."""

    def fail() -> None:
        raise ValueError

    monkeypatch.setitem(sys.modules, "traceback", None)
    assert not run_guarded(fail)
    told = capfd.readouterr().err
    assert told.startswith("portico: a bug, please report it:\nValueError(")
