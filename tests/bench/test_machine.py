"""Clocks, trees and memory, read from the kernel for processes of this test."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from bench import machine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux offers")


@pytest.mark.parametrize(
    ("text", "cores"), [("0\n", {0}), ("0-2,5", {0, 1, 2, 5}), ("", set()), ("3,7", {3, 7})]
)
def test_a_list_of_cores_is_read(text: str, cores: set[int]) -> None:
    assert machine.parse_core_list(text) == cores


def test_cpu_time_counts_threads_that_have_ended() -> None:
    def work() -> None:
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass

    before = machine.cpu_seconds(os.getpid())
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert machine.cpu_seconds(os.getpid()) - before >= 0.05


def test_a_process_that_is_gone_has_used_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert machine.cpu_seconds(process.pid) == 0.0


def test_a_tree_has_its_children() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        assert {os.getpid(), child.pid} <= set(machine.tree(os.getpid()))
        child.kill()


def test_a_busy_process_does_not_settle_and_an_idle_one_does() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        assert not machine.settle(busy.pid, 0.5)
        busy.kill()
    with subprocess.Popen(["sleep", "60"]) as idle:
        assert machine.settle(idle.pid)
        idle.kill()


def test_cpu_time_is_known_by_thread() -> None:
    until = time.thread_time() + 0.02
    while time.thread_time() < until:
        pass
    used = machine.cpu_by_thread(os.getpid())
    assert used[threading.get_native_id()] >= 0.02


def test_memory_is_summed_over_the_named_lines() -> None:
    total = {"Rss": 100, "Pss": 0}
    machine.add_smaps(
        "00400000-7ffc ---p 0 0 [rollup]\nRss:  20 kB\nPss:  7 kB\nSwap: 9 kB\n", total
    )
    assert total == {"Rss": 120, "Pss": 7}


def test_a_living_process_has_memory_and_pss_is_no_more_than_rss() -> None:
    memory = machine.memory_of(os.getpid())
    assert 0 < memory.pss <= memory.rss


def test_a_core_is_taken_and_given_back() -> None:
    before = os.sched_getaffinity(0)
    cores = machine.pick_cores()
    with machine.on_core(cores.load):
        assert os.sched_getaffinity(0) == {cores.load}
    assert os.sched_getaffinity(0) == before
    assert {cores.server, cores.load} <= before


def test_the_description_says_what_a_reader_must_know() -> None:
    described = machine.describe()
    assert {"CPU", "cores", "kernel", "Python of the bench"} <= set(described)
    assert all(described.values())
