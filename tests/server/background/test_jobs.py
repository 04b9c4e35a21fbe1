"""The pool: jobs beside the loop, in steps, and an end at any moment."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from portico.server.background import jobs as pool_module
from portico.server.background.jobs import QUEUE_LIMIT, JobThread

PATIENCE = 60
"""Seconds in which anything that is going to happen has happened."""


@pytest.fixture(autouse=True)
def _no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a modest thread may wait for seconds before it can end."""
    eventually(lambda: not threads())  # of tests before
    monkeypatch.setattr(pool_module, "CLOSE_SECONDS", PATIENCE)


@pytest.fixture
def pool() -> Iterator[JobThread]:
    pool = JobThread()
    yield pool
    pool.close()
    assert threads() == []


def threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "portico-pool"]


def eventually(holds: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.002)


def noting(notes: list[object], note: object) -> Iterator[None]:
    notes.append(note)
    yield


class Endless:
    """A job that goes on for ever, and what is known of it."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.closed_in: threading.Thread | None = None

    def steps(self) -> Iterator[None]:
        try:
            while True:
                self.begun.set()
                time.sleep(0.001)
                yield
        finally:
            self.closed_in = threading.current_thread()


class Held:
    """A job whose only step lasts until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.let_go = threading.Event()

    def steps(self) -> Iterator[None]:
        self.begun.set()
        assert self.let_go.wait(PATIENCE)
        yield


def test_jobs_are_done_in_their_order_in_one_thread_beside_ours(pool: JobThread) -> None:
    notes: list[object] = []
    places: set[threading.Thread] = set()

    def job(number: int) -> Iterator[None]:
        for step in range(3):
            places.add(threading.current_thread())
            notes.append((number, step))
            yield

    assert all(pool.submit(job(number)) for number in range(50))
    eventually(lambda: len(notes) == 150)
    assert notes == [(number, step) for number in range(50) for step in range(3)]
    assert len(places) == 1
    assert threading.current_thread() not in places


def test_no_thread_before_the_first_job(pool: JobThread) -> None:
    assert threads() == []
    assert pool.submit(noting([], 0))
    assert len(threads()) == 1


def test_any_iterator_may_be_a_job(pool: JobThread) -> None:
    notes: list[object] = []
    assert pool.submit(iter([None, None]))
    assert pool.submit(noting(notes, "next"))
    eventually(lambda: notes)


def test_full_queue_refuses_and_does_not_start_what_it_refused(pool: JobThread) -> None:
    notes: list[object] = []
    held = Held()
    assert pool.submit(held.steps())
    assert held.begun.wait(PATIENCE)
    assert all(pool.submit(noting(notes, number)) for number in range(QUEUE_LIMIT))
    assert not pool.submit(noting(notes, "refused"))
    held.let_go.set()
    eventually(lambda: len(notes) == QUEUE_LIMIT)
    assert pool.submit(noting(notes, "last"))
    eventually(lambda: notes[-1] == "last")
    assert notes == [*range(QUEUE_LIMIT), "last"]


def test_close_ends_the_running_job_in_its_thread_and_drops_the_others(pool: JobThread) -> None:
    notes: list[object] = []
    endless = Endless()
    assert pool.submit(endless.steps())
    assert pool.submit(noting(notes, "never"))
    assert endless.begun.wait(PATIENCE)
    (thread,) = threads()
    pool.close()
    assert endless.closed_in is thread
    assert not thread.is_alive()
    assert notes == []


def test_close_may_come_twice_and_nothing_is_taken_after_it(pool: JobThread) -> None:
    notes: list[object] = []
    assert pool.submit(noting(notes, "before"))
    eventually(lambda: notes)
    pool.close()
    pool.close()
    assert not pool.submit(noting(notes, "after"))
    assert threads() == []
    assert notes == ["before"]


def test_close_without_any_job() -> None:
    pool = JobThread()
    pool.close()
    assert not pool.submit(noting([], 0))
    assert threads() == []


def test_close_does_not_wait_for_ever(pool: JobThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "CLOSE_SECONDS", 0.01)
    held = Held()
    assert pool.submit(held.steps())
    assert held.begun.wait(PATIENCE)
    pool.close()
    (thread,) = threads()
    held.let_go.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_bug_in_a_job_is_reported_and_the_next_job_done(
    pool: JobThread, capfd: pytest.CaptureFixture[str]
) -> None:
    notes: list[object] = []

    def broken() -> Iterator[None]:
        yield
        raise LookupError("a step too far")

    assert pool.submit(broken())
    assert pool.submit(noting(notes, "next"))
    eventually(lambda: notes)
    told = capfd.readouterr().err
    assert told.startswith("portico: a bug")
    assert "LookupError: a step too far" in told


def test_bug_while_a_job_is_closed_is_reported_and_the_thread_ends(
    pool: JobThread, capfd: pytest.CaptureFixture[str]
) -> None:
    begun = threading.Event()

    def stubborn() -> Iterator[None]:
        try:
            while True:
                begun.set()
                yield
        finally:
            raise LookupError("not closed")

    assert pool.submit(stubborn())
    assert begun.wait(PATIENCE)
    pool.close()
    assert threads() == []
    assert "LookupError: not closed" in capfd.readouterr().err


def test_idle_thread_ends_and_another_comes_with_the_next_job() -> None:
    pool = JobThread(idle_seconds=0.01)
    notes: list[object] = []
    for number in range(3):
        assert pool.submit(noting(notes, number))
        eventually(lambda: not threads())
        assert notes == list(range(number + 1))
    pool.close()
    assert threads() == []


def test_no_job_is_lost_while_threads_come_and_go() -> None:
    pool = JobThread(idle_seconds=0)
    notes: list[object] = []
    for number in range(200):
        assert pool.submit(noting(notes, number))
        if number % 3:
            eventually(lambda: len(notes) == number + 1)  # noqa: B023 (called at once)
    eventually(lambda: len(notes) == 200)
    assert notes == list(range(200))
    pool.close()
    eventually(lambda: not threads())


def test_jobs_from_many_threads_are_each_done_once(pool: JobThread) -> None:
    notes: list[object] = []

    def submit_all(first: int) -> None:
        for number in range(first, first + 200):
            while not pool.submit(noting(notes, number)):
                time.sleep(0.001)

    submitters = [threading.Thread(target=submit_all, args=(200 * each,)) for each in range(8)]
    for each in submitters:
        each.start()
    for each in submitters:
        each.join(PATIENCE)
    eventually(lambda: len(notes) == 1600)
    assert sorted(map(str, notes)) == sorted(map(str, range(1600)))
    assert len(threads()) == 1


def test_close_from_another_thread_while_jobs_come(pool: JobThread) -> None:
    notes: list[object] = []
    closer = threading.Timer(0.02, pool.close)
    closer.start()
    taken = 0
    while not closer.finished.is_set() or closer.is_alive():
        taken += pool.submit(noting(notes, taken))
    closer.join(PATIENCE)
    assert not pool.submit(noting(notes, "after"))
    assert threads() == []
    assert notes == list(range(len(notes)))
    assert len(notes) <= taken


def test_what_a_job_held_is_let_go_when_it_is_done(pool: JobThread) -> None:
    class Heavy:
        pass

    def job(heavy: Heavy) -> Iterator[None]:
        yield
        del heavy

    heavy = Heavy()
    gone = weakref.ref(heavy)
    assert pool.submit(job(heavy))
    del heavy
    eventually(lambda: gone() is None)
    assert len(threads()) == 1


def test_without_threads_to_be_had_a_job_is_refused(
    pool: JobThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[object] = []

    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert not pool.submit(noting(notes, "refused"))
    assert pool.submit(noting(notes, "later"))
    eventually(lambda: notes)
    assert notes == ["later"]


@pytest.mark.skipif(sys.platform != "linux", reason="only there has a thread its own priority")
def test_the_thread_gives_way_to_the_loop(pool: JobThread) -> None:
    priorities: list[object] = []

    def job() -> Iterator[None]:
        priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        yield

    ours = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert pool.submit(job())
    eventually(lambda: priorities)
    assert priorities == [max(ours, 10)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == ours


def test_nothing_is_imported_for_a_pool_without_jobs(tmp_path: Path) -> None:
    code = (
        "import sys; before = set(sys.modules);"
        "from portico.server.background.jobs import JobThread; JobThread();"
        "print('threading' in set(sys.modules) - before)"
    )
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
