"""Hostile clients, and what good ones notice: `python3 -m bench.hostile`.

It needs slowhttptest and openssl. One worker serves by TCP and by TLS, on a core of its own. A good
client asks for a small page at a fixed rate, first alone, then beside each kind of hostile clients;
what counts is its 99th percentile, timed from when each request was due, in the best of several
slices, since other programs on the machine only add to it. The good client comes without TLS: the
loop of the worker, in which it waits for its turn, is the same.

The exit code is 1 if a percentile grew by more than is allowed, or a request failed.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import load, machine
from bench.client import Answer, connect, read_answer
from bench.process import free_port
from bench.tls import certificate, make_site, portico

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS, RATE = 20, 1000
"""Of the good client; requests a second."""
WARM = 3.0
SLICES = 5
SLOW = ["slowhttptest", "-c", "4000", "-r", "400", "-l", "600", "-v", "0"]
HEAD = b"GET /small.html HTTP/1.1\r\nHost: localhost\r\n\r\n"
PATIENCE = 10.0


class Attack(NamedTuple):
    """One kind of hostile clients."""

    title: str
    command: list[str]
    """`{clear}` and `{secure}` stand for the ports."""
    allowed: float = 2.0
    """How much larger the good client's percentile may be."""
    times: int = 1
    """How many of the command run at once."""
    saturates: bool = False
    """Whether they take all the time of the server's core that there is."""


def _own(name: str, port: str) -> list[str]:
    return [sys.executable, "-m", "bench.attackers", name, port]


CLEAR = "http://127.0.0.1:{clear}"
ATTACKS = {
    "slow headers": Attack(
        "slowhttptest -H, 4,000 connections", [*SLOW, "-H", "-i", "5", "-u", CLEAR]
    ),
    "slow content": Attack(
        "slowhttptest -B, 4,000 uploads",
        [*SLOW, "-B", "-i", "5", "-t", "PUT", "-s", "100000", "-u", f"{CLEAR}/never.bin"],
    ),
    "ranges": Attack(
        "slowhttptest -R, 4,000 connections",
        [*SLOW, "-R", "-a", "1", "-b", "3000", "-t", "GET", "-u", f"{CLEAR}/large.bin"],
    ),
    "slow reading": Attack(
        "slowhttptest -X, 4,000 downloads of 10 MiB",
        [*SLOW, "-X", "-w", "1", "-y", "512", "-n", "1", "-z", "32", "-u", f"{CLEAR}/large.bin"],
    ),
    "silence": Attack("10,000 connections that say nothing", _own("silent", "{clear}")),
    "preface": Attack("as many HTTP/2 prefaces as it takes", _own("preface", "{clear}")),
    "half handshakes": Attack(
        "as many ClientHellos as it takes", _own("half_done", "{secure}"), 3.0, saturates=True
    ),
    "handshakes": Attack(
        "as many handshakes as it takes, of 4 openssl s_time",
        ["openssl", "s_time", "-connect", "127.0.0.1:{secure}", "-new", "-time", "600"],
        3.0, 4, saturates=True,
    ),
    "renegotiation": Attack(
        "8 openssl s_client that ask for it all the time, TLS 1.2",
        _own("renegotiation", "{secure}"), 3.0, 8, saturates=True,
    ),
    "tiny records": Attack(
        "4 uploads in TLS records of one byte", _own("tiny_records", "{secure}"), 2.0, 4,
        saturates=True,
    ),
}  # fmt: skip


def main() -> int:
    """Print a line for each attack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=ATTACKS, help="this attack; repeatable")
    parser.add_argument("--seconds", type=float, default=1, help="of a slice")
    given = parser.parse_args()
    machine.allow_open_files(15_000)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nobody is left
    cores = machine.pick_cores()
    is_well = True
    with tempfile.TemporaryDirectory() as name, machine.on_core(cores.load):
        folder = Path(name)
        make_site(folder)
        with _serving(folder, cores.server) as (pid, ports):
            for title in given.only or ATTACKS:
                with suppress(OSError):
                    _prefer(pid, saturates=ATTACKS[title].saturates)
                is_well &= _measure(title, ports, given.seconds)
    return 0 if is_well else 1


def _prefer(pid: int, *, saturates: bool) -> None:
    """Let the server run before others on this machine, which do not count, unless it `saturates`.

    Linux stops what is FIFO for a twentieth of the time, if it takes all that there is; and by a
    high priority it would starve the kernel's own thread that hands over what the network brings.
    """
    policy = os.SCHED_OTHER if saturates else os.SCHED_FIFO
    os.sched_setscheduler(pid, policy, os.sched_param(0 if saturates else 1))


def _measure(title: str, ports: dict[str, int], seconds: float) -> bool:
    attack = ATTACKS[title]
    quiet = _good_client(ports["clear"], seconds)
    with _attacked(attack, ports):
        time.sleep(WARM)
        busy = _good_client(ports["clear"], seconds)
    times = busy.p99 / quiet.p99
    failures = sum(busy.failures.values())
    is_well = times <= attack.allowed and not failures
    sys.stdout.write(
        f"{title:16} p99 {quiet.p99:6.0f} us alone, {busy.p99:6.0f} beside it: {times:4.1f} times"
        f" ({attack.allowed:g} allowed){'' if is_well else ' TOO MUCH'}; p50 {quiet.p50:.0f} and"
        f" {busy.p50:.0f}; {failures} failures; {attack.title}\n"
    )
    sys.stdout.flush()
    _settle(ports["clear"])
    return is_well


def _good_client(port: int, seconds: float) -> load.Seen:
    with connect(port) as connection:
        connection.sendall(HEAD)
        answer: Answer = read_answer(connection)
    words = [port, CONNECTIONS, RATE, 0.5, seconds, answer.wire_size]
    command = [sys.executable, "-m", "bench.steady", *map(str, words)]
    slices = []
    for _ in range(SLICES):
        done = subprocess.run(command, input=HEAD, capture_output=True, check=True)
        slices.append(load.parse(done.stdout.decode()))
    failures = sum((Counter(each.failures) for each in slices), Counter[str]())
    return replace(min(slices, key=lambda each: each.p99), failures=failures)


@contextmanager
def _attacked(attack: Attack, ports: dict[str, int]) -> Iterator[None]:
    command = [word.format(**ports) for word in attack.command]
    forever = ["sh", "-c", 'while :; do "$@"; done', "sh", *command]
    quiet = subprocess.DEVNULL
    attackers = [
        subprocess.Popen(forever, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
        for _ in range(attack.times)
    ]
    try:
        yield
    finally:
        for each in attackers:
            os.killpg(each.pid, signal.SIGKILL)
        for each in attackers:
            each.wait()


def _settle(port: int) -> None:
    """Wait until the server has done with those who have gone."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        began = time.perf_counter()
        with suppress(OSError), connect(port) as connection:
            connection.sendall(HEAD)
            read_answer(connection)
            if time.perf_counter() - began < 0.01:
                break
    time.sleep(2)


@contextmanager
def _serving(folder: Path, core: int) -> Iterator[tuple[int, dict[str, int]]]:
    ports = {"clear": free_port(), "secure": free_port()}
    command = portico(
        folder, *certificate(folder), "--allow", "create", "--keep-free", "0",
        "--max-connections", "12000", "--listen", f"127.0.0.1:{ports['secure']}",
        "--listen", f"http://127.0.0.1:{ports['clear']}",
    )  # fmt: skip
    with machine.on_core(core):
        server = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        assert server.stderr is not None  # noqa: S101 (it is a pipe)
        for line in server.stderr:
            if b"Ctrl+C" in line:
                break
        yield server.pid, ports
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
