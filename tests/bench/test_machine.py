"""Clocks, trees and memory, read from the kernel for processes of this test."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time

import pytest

from bench import machine
from bench.servers import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux offers")
BUSY = [sys.executable, "-c", "while True: pass"]


def work(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_cpu_time_counts_threads_that_have_ended_and_no_process_that_is_gone() -> None:
    before = machine.cpu_seconds(os.getpid())
    thread = threading.Thread(target=work, args=(0.05,))
    thread.start()
    thread.join()
    assert machine.cpu_seconds(os.getpid()) - before >= 0.05
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert machine.cpu_seconds(process.pid) == 0.0


def test_an_idle_process_settles() -> None:
    with subprocess.Popen(["sleep", "60"]) as idle:
        assert {os.getpid(), idle.pid} <= set(machine.tree(os.getpid()))
        assert machine.settle(idle.pid)
        idle.kill()


def test_a_process_that_uses_cpu_time_does_not_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()  # a process that is really busy may wait for long for a core
    monkeypatch.setattr(machine, "cpu_seconds", lambda _: float(next(clock)))
    assert not machine.settle(os.getpid(), 3 * machine.LOOK_SECONDS)


def test_time_is_known_by_thread_and_who_waits_for_a_core_is_seen_to() -> None:
    work(0.02)
    assert machine.thread_times(os.getpid())[threading.get_native_id()][0] >= 0.02
    with machine.on_core(min(os.sched_getaffinity(0))):
        pair = [subprocess.Popen(BUSY) for _ in range(2)]
    try:
        before = machine.waited_seconds(pair[0].pid)
        while machine.waited_seconds(pair[0].pid) - before < 0.05:
            assert pair[0].poll() is None
    finally:
        for process in pair:
            process.kill()
            process.wait()


def test_a_living_process_has_memory_and_pss_is_no_more_than_rss() -> None:
    memory = machine.memory(os.getpid())
    assert 0 < memory["private"] <= memory["pss"] <= memory["rss"]


def test_a_core_is_taken_and_given_back() -> None:
    before = os.sched_getaffinity(0)
    cores = machine.pick_cores()
    with machine.on_core(cores.load):
        assert os.sched_getaffinity(0) == {cores.load}
    assert os.sched_getaffinity(0) == before
    assert {cores.server, cores.load} <= before


def test_where_too_few_files_may_be_open_this_is_said() -> None:
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (500, 500))\n"
        "from bench import machine\n"
        "try: machine.allow_open_files(11_000)\n"
        "except ValueError as problem: print(problem)"
    )
    words = [sys.executable, "-c", script]
    said = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    assert said.stdout == "needs 11,000 open files, and 500 is the limit (ulimit -n)\n"
