"""What the bench asks of the machine: cores, CPU clocks, process trees, memory, its description.

CPU time is that of living processes, their ended threads included; a child that was reaped by its
parent during a slice is not counted.
"""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

# A process's CPU clock as the kernel numbers it: ~pid in the upper bits, 2 = scheduler time.
# /proc/PID/task/*/schedstat has the same nanoseconds, but forgets threads that have ended,
# and a server with a thread per connection ends many.
CPU_CLOCK_OF_PROCESS = 2
# Servers that use less of a core than this are idle: a runtime's own timers and a sweep over ten
# thousand connections stay below it.
IDLE_SHARE = 0.05
LOOK_SECONDS = 0.05
PATIENCE = 30.0
MEMORY = {"Rss": "rss", "Pss": "pss", "Private_Clean": "private", "Private_Dirty": "private"}


class Cores(NamedTuple):
    """The core for the servers and the core for the load; the same one if there is no other."""

    server: int
    load: int


def pick_cores() -> Cores:
    """Two allowed cores, on different physical ones if possible; the last is the servers'."""
    allowed = sorted(os.sched_getaffinity(0))
    others = [core for core in allowed if physical(core) != physical(allowed[-1])]
    return Cores(allowed[-1], (others + allowed)[0])


def physical(core: int) -> list[str]:
    """What is the same for logical cores that share a physical one."""
    folder = Path(f"/sys/devices/system/cpu/cpu{core}/topology")
    with suppress(OSError):
        return [(folder / name).read_text() for name in ("physical_package_id", "core_id")]
    return [str(core)]


@contextmanager
def on_core(*cores: int) -> Iterator[None]:
    """Run this thread on these cores alone; a child started inside inherits that."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def prefer(root: int) -> None:
    """Let the tree under *root* run before all else on this machine, which does not count.

    Only if we may ask for that.
    """
    with suppress(OSError):
        for pid in tree(root):
            os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))


def allow_open_files(needed: int) -> None:
    """Let this process and its children open as many files as they may; ValueError if too few."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in (resource.RLIM_INFINITY, max(hard, needed)):
        raise ValueError(f"needs {needed:,} open files, and {hard:,} is the limit (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def tree(root: int) -> list[int]:
    """The process *root* and all its living descendants."""
    found = [root]
    for pid in found:
        with suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def cpu_seconds(root: int) -> float:
    """CPU time, user and system, of the process tree under *root*, in seconds."""
    total = 0.0
    for pid in tree(root):
        with suppress(OSError):
            total += time.clock_gettime((~pid << 3) | CPU_CLOCK_OF_PROCESS)
    return total


def thread_times(root: int) -> dict[int, tuple[float, float]]:
    """For each living thread under *root*, seconds that it ran, and waited while others did."""
    found = {}
    for pid in tree(root):
        with suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                ran, waited, _ = map(int, (task / "schedstat").read_text().split())
                found[int(task.name)] = ran / 1e9, waited / 1e9
    return found


def waited_seconds(root: int) -> float:
    """How long the threads of the tree under *root* were ready to run while others had the core."""
    return sum(waited for _, waited in thread_times(root).values())


def settle(root: int, patience: float = PATIENCE) -> bool:
    """Wait until the tree under *root* is idle; False if it works on for *patience* seconds."""
    until = time.monotonic() + patience
    before = cpu_seconds(root)
    while time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
        now = cpu_seconds(root)
        if now - before <= LOOK_SECONDS * IDLE_SHARE:
            return True
        before = now
    return False


def memory(root: int) -> dict[str, float]:
    """The memory of the process tree under *root* in KiB: resident, proportional and private."""
    total = dict.fromkeys(MEMORY.values(), 0.0)
    for pid in tree(root):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _, rest = line.partition(":")
                if name in MEMORY:
                    total[MEMORY[name]] += int(rest.split()[0])
    return total


def peak(root: int, *, again: bool = False) -> float:
    """The most that each process under *root* had in memory at once, in KiB, added up.

    ``again`` forgets what was before now.
    """
    total = 0.0
    for pid in tree(root):
        with suppress(OSError):
            if again:
                Path(f"/proc/{pid}/clear_refs").write_text("5")
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1])
    return total


def stolen() -> tuple[int, int]:
    """Clock ticks that the hypervisor gave to others, and all ticks, since boot."""
    with Path("/proc/stat").open() as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]
    return ticks[7], sum(ticks)


def describe() -> dict[str, str]:
    """The machine in the words of a report; nothing that names its owner."""
    cores = sorted(os.sched_getaffinity(0))
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = {name.strip(): value for name, _, value in (line.partition(":") for line in lines)}
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        system = "unknown"
    return {
        "CPU": cpu.get("model name", "").strip() or platform.machine(),
        "cores": f"{len(cores)} usable of {os.cpu_count()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "virtual": "yes" if " hypervisor " in cpu.get("flags", "") + " " else "no",
        "kernel": f"{platform.system()} {platform.release()}",
        "system": system,
        "Python of the bench": platform.python_version(),
        "load at start": f"{os.getloadavg()[0]:.2f}",
    }
