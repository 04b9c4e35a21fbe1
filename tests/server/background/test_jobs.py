"""JobThread: jobs in steps, one after the other in one thread, which can be ended at any moment."""

from __future__ import annotations

import _thread
import os
import sys
import threading
import weakref
from collections.abc import Iterator

import pytest

from portico.server.background import jobs as jobs_module
from portico.server.background import threads as threads_module
from portico.server.background.jobs import QUEUE_LIMIT, JobThread
from tests.server.clients import PATIENCE, eventually


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobThread]:
    """On a busy machine a thread of low priority may need seconds for its last step."""
    monkeypatch.setattr(jobs_module, "CLOSE_SECONDS", PATIENCE)
    before = _thread._count()
    jobs = JobThread()
    yield jobs
    jobs.close()
    eventually(lambda: _thread._count() <= before)


def note(notes: list[object], what: object) -> Iterator[None]:
    notes.append(what)
    yield


class Held:
    """A job whose first step lasts until `let_go` is set; it has many more until `end`."""

    def __init__(self, jobs: JobThread) -> None:
        self.let_go = threading.Event()
        self._ended = False
        self.thread = 0
        self.closed_in = 0
        begun = threading.Event()

        def steps() -> Iterator[None]:
            self.thread = threading.get_ident()
            begun.set()
            assert self.let_go.wait(PATIENCE)
            try:
                while not self._ended:
                    yield
            finally:
                self.closed_in = threading.get_ident()

        assert jobs.submit(steps())
        assert begun.wait(PATIENCE)

    def end(self) -> None:
        self._ended = True
        self.let_go.set()


def test_jobs_run_in_order_in_one_thread_that_comes_with_the_first(jobs: JobThread) -> None:
    notes: list[object] = []
    threads: set[int] = set()
    go_on = threading.Event()

    def job(number: int) -> Iterator[None]:
        for step in range(3):
            assert go_on.wait(PATIENCE)
            threads.add(threading.get_ident())
            notes.append((number, step))
            yield

    assert jobs._count == 0
    assert all(jobs.submit(job(number)) for number in range(50))
    eventually(lambda: jobs._count == 1)
    go_on.set()
    eventually(lambda: len(notes) == 150)
    assert notes == [(number, step) for number in range(50) for step in range(3)]
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    eventually(lambda: jobs._count == 0)


def test_a_thread_waits_a_moment_for_the_next_job_and_closing_does_not_wait_for_that(
    jobs: JobThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads_module, "IDLE_SECONDS", 10 * PATIENCE)
    threads: list[object] = []

    def job() -> Iterator[None]:
        threads.append(threading.get_ident())
        yield

    for count in (1, 2):
        jobs.submit(job())
        eventually(lambda count=count: len(threads) == count)  # type: ignore[misc]
        eventually(lambda: len(jobs._idle) == 1)
    jobs.close()
    assert len(set(threads)) == 1
    assert not jobs._running.locked(), "the thread has ended"


def test_any_iterator_may_be_a_job(jobs: JobThread) -> None:
    notes: list[object] = []
    assert jobs.submit(iter([None, None]))
    assert jobs.submit(note(notes, "next"))
    eventually(lambda: notes)


def test_a_full_queue_refuses_a_job_and_never_starts_it(jobs: JobThread) -> None:
    notes: list[object] = []
    held = Held(jobs)
    assert all(jobs.submit(note(notes, number)) for number in range(QUEUE_LIMIT))
    assert jobs.waiting == QUEUE_LIMIT
    assert not jobs.submit(note(notes, "refused"))
    held.end()
    eventually(lambda: len(notes) == QUEUE_LIMIT)
    assert notes == [*range(QUEUE_LIMIT)]


def test_close_ends_the_running_job_in_its_thread_and_drops_the_others(jobs: JobThread) -> None:
    notes: list[object] = []
    held = Held(jobs)
    assert jobs.submit(note(notes, "never"))
    held.let_go.set()
    jobs.close()
    jobs.close()
    assert held.closed_in == held.thread
    assert not jobs.submit(note(notes, "after"))
    assert notes == []


def test_close_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "CLOSE_SECONDS", 0.01)
    jobs = JobThread()
    held = Held(jobs)
    jobs.close()
    assert not held.closed_in
    held.let_go.set()
    eventually(lambda: held.closed_in)


def test_a_bug_in_a_job_is_reported_and_the_next_job_done(
    jobs: JobThread, capfd: pytest.CaptureFixture[str]
) -> None:
    notes: list[object] = []

    def broken() -> Iterator[None]:
        yield
        raise LookupError("a step too far")

    assert jobs.submit(broken())
    assert jobs.submit(note(notes, "next"))
    eventually(lambda: notes)
    told = capfd.readouterr().err
    assert told.startswith("portico: a bug")
    assert "LookupError: a step too far" in told


def test_a_bug_while_a_job_is_closed_is_reported_and_the_thread_ends(
    jobs: JobThread, capfd: pytest.CaptureFixture[str]
) -> None:
    begun = threading.Event()

    def stubborn() -> Iterator[None]:
        try:
            while True:
                begun.set()
                yield
        finally:
            raise LookupError("not closed")

    assert jobs.submit(stubborn())
    assert begun.wait(PATIENCE)
    jobs.close()
    assert "LookupError: not closed" in capfd.readouterr().err


def test_no_job_is_lost_while_threads_come_and_go(jobs: JobThread) -> None:
    notes: list[object] = []
    for number in range(200):
        assert jobs.submit(note(notes, number))
        if number % 3:
            eventually(lambda: len(notes) == number + 1)  # noqa: B023 (called at once)
    eventually(lambda: len(notes) == 200)
    assert notes == list(range(200))


def test_jobs_from_many_threads_are_each_done_once(jobs: JobThread) -> None:
    notes: list[object] = []

    def submit_all(first: int) -> None:
        for number in range(first, first + 200):
            eventually(lambda: jobs.submit(note(notes, number)))  # noqa: B023 (called at once)

    submitters = [threading.Thread(target=submit_all, args=(200 * each,)) for each in range(8)]
    for each in submitters:
        each.start()
    for each in submitters:
        each.join(PATIENCE)
    eventually(lambda: len(notes) == 1600)
    assert sorted(map(str, notes)) == sorted(map(str, range(1600)))


def test_close_from_another_thread_while_jobs_come(jobs: JobThread) -> None:
    notes: list[object] = []

    def close() -> None:
        eventually(lambda: len(notes) > 50)
        jobs.close()

    closer = threading.Thread(target=close)
    closer.start()
    taken = 0
    while closer.is_alive():
        taken += jobs.submit(note(notes, taken))
    assert not jobs.submit(note(notes, "after"))
    assert notes == list(range(len(notes)))
    assert 50 < len(notes) <= taken


def test_what_a_job_held_is_let_go_when_it_is_done(jobs: JobThread) -> None:
    class Heavy:
        pass

    def job(heavy: Heavy) -> Iterator[None]:
        yield
        del heavy

    heavy = Heavy()
    gone = weakref.ref(heavy)
    assert jobs.submit(job(heavy))
    del heavy
    held = Held(jobs)  # the next job has begun
    assert gone() is None
    held.end()


def test_when_the_system_grants_no_thread_a_job_is_refused(
    jobs: JobThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[object] = []

    def start(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threads_module, "start_new_thread", start)
        assert not jobs.submit(note(notes, "refused"))
    assert jobs.submit(note(notes, "later"))
    eventually(lambda: notes)
    assert notes == ["later"]


def test_a_thread_that_cannot_wait_ends_and_others_come(
    jobs: JobThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[object] = []

    def allocate() -> None:
        raise MemoryError

    monkeypatch.setattr(threads_module, "allocate_lock", allocate)
    for count in (1, 2):
        assert jobs.submit(note(notes, count))
        eventually(lambda: jobs._count == 0)
        assert len(notes) == count


@pytest.mark.skipif(sys.platform != "linux", reason="only there has a thread its own priority")
def test_the_thread_has_a_lower_priority_than_the_loop(jobs: JobThread) -> None:
    priorities: list[object] = []

    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def job() -> Iterator[None]:
        priorities.append(priority())
        yield

    ours = priority()
    assert jobs.submit(job())
    eventually(lambda: priorities)
    assert priorities == [max(ours, 10)]
    assert priority() == ours
