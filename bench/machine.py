"""What the bench asks of the machine: cores, CPU clocks, process trees, memory, its description.

Rule: everything is read from the kernel, for processes the bench started itself.
Limits: Linux.  CPU time is that of living processes, their ended threads included; a child that
was reaped by its parent during a slice is not counted.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

# A process's CPU clock as the kernel numbers it: ~pid in the upper bits, 2 = scheduler time.
# /proc/PID/task/*/schedstat has the same nanoseconds, but forgets threads that have ended,
# and a server with a thread per connection ends many.
CPU_CLOCK_OF_PROCESS = 2
# A tree that uses less of a core than this share, over one look, is idle: a runtime's own timers
# and a sweep over ten thousand connections stay below it.
IDLE_SHARE = 0.05
LOOK_SECONDS = 0.1
PATIENCE = 30.0


class Cores(NamedTuple):
    """The core for the servers and the core for the load; the same one if there is no other."""

    server: int
    load: int


class Memory(NamedTuple):
    """Resident, proportional and private memory of a process tree, in KiB."""

    rss: int
    pss: int
    private: int


def siblings(core: int) -> set[int]:
    """The logical cores that share the physical core of *core*, itself included."""
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    try:
        return parse_core_list(path.read_text())
    except OSError:
        return {core}


def parse_core_list(text: str) -> set[int]:
    """The kernel's list of cores, such as ``0-2,5``, as a set."""
    cores: set[int] = set()
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            cores.update(range(int(first), int(last or first) + 1))
    return cores


def pick_cores() -> Cores:
    """Two allowed cores, on different physical ones if possible; the last is the servers'."""
    allowed = sorted(os.sched_getaffinity(0))
    server = allowed[-1]
    shared = siblings(server)
    others = [core for core in allowed if core not in shared]
    others += [core for core in allowed if core != server]
    return Cores(server, others[0] if others else server)


@contextmanager
def on_core(*cores: int) -> Iterator[None]:
    """Run this thread on these cores alone; a child started inside inherits that."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def tree(root: int) -> list[int]:
    """The process *root* and all its living descendants."""
    found, at = [root], 0
    while at < len(found):
        with suppress(OSError):
            for task in Path(f"/proc/{found[at]}/task").iterdir():
                text = (task / "children").read_text()
                found += [int(child) for child in text.split()]
        at += 1
    return found


def cpu_seconds(root: int) -> float:
    """CPU time, user and system, of the process tree under *root*, in seconds."""
    return sum(_cpu_of(pid) for pid in tree(root))


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


def cpu_by_thread(root: int) -> dict[int, float]:
    """CPU time of each living thread of the process tree under *root*, in seconds."""
    found = {}
    for pid in tree(root):
        with suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                found[int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1e9
    return found


def _cpu_of(pid: int) -> float:
    try:
        return time.clock_gettime((~pid << 3) | CPU_CLOCK_OF_PROCESS)
    except OSError:
        return 0.0


def waited_seconds(root: int) -> float:
    """How long the threads of the tree under *root* were ready to run while others had the core."""
    return sum(_waited_by(pid) for pid in tree(root))


def _waited_by(pid: int) -> float:
    waited = 0
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            waited += int((task / "schedstat").read_text().split()[1])
    return waited / 1e9


def memory_of(root: int) -> Memory:
    """The memory of the process tree under *root*, as ``/proc/PID/smaps_rollup`` has it."""
    total = dict.fromkeys(("Rss", "Pss", "Private_Clean", "Private_Dirty"), 0)
    for pid in tree(root):
        with suppress(OSError):
            add_smaps(Path(f"/proc/{pid}/smaps_rollup").read_text(), total)
    return Memory(total["Rss"], total["Pss"], total["Private_Clean"] + total["Private_Dirty"])


def add_smaps(text: str, total: dict[str, int]) -> None:
    """Add the KiB of one smaps_rollup to those names that *total* already has."""
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if name in total:
            total[name] += int(rest.split()[0])


def stolen() -> tuple[int, int]:
    """Clock ticks that the hypervisor gave to others, and all ticks, since boot."""
    with Path("/proc/stat").open() as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]
    return ticks[7], sum(ticks)


def describe() -> dict[str, str]:
    """The machine in the words of a report; nothing that names its owner."""
    cores = sorted(os.sched_getaffinity(0))
    return {
        "CPU": _cpu_model(),
        "cores": f"{len(cores)} usable of {os.cpu_count()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "virtual": "yes" if " hypervisor " in _cpu_info("flags") + " " else "no",
        "kernel": f"{platform.system()} {platform.release()}",
        "system": _system_name(),
        "Python of the bench": platform.python_version(),
        "load at start": f"{os.getloadavg()[0]:.2f}",
    }


def _system_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "unknown"


def _cpu_model() -> str:
    return _cpu_info("model name").strip() or platform.machine()


def _cpu_info(wanted: str) -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == wanted:
            return value
    return ""
