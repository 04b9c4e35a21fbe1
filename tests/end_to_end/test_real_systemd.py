"""A real systemd, booted in a container, with the unit that the docs show and one with a socket.

Skipped where systemd-nspawn is missing or cannot boot, as in most containers.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent
BOOT_SECONDS = 120

SOCKET = "[Socket]\nListenStream=127.0.0.1:8000\n[Install]\nWantedBy=sockets.target\n"
PROOF = """\
[Unit]
FailureAction=exit-force
SuccessAction=exit-force
[Service]
Type=oneshot
StandardOutput=file:/proof/out
StandardError=inherit
ExecStart=/usr/bin/python3 /proof/proof.py
"""
SCRIPT = r"""
import subprocess, threading, time, urllib.request

def systemctl(*words):
    return subprocess.run(["systemctl", *words], check=True, capture_output=True, text=True).stdout

def show(unit, what):
    return systemctl("show", "-P", what, unit).strip()

def get(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/small.txt", timeout=20) as answer:
        return answer.read()

def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)

# Type=notify: a start returns when it serves.
systemctl("start", "portico")
assert get(8080) == b"small", "after the start"
assert show("portico", "StatusText") == "2 workers"
main = show("portico", "MainPID")
for _ in range(3):
    systemctl("reload", "portico")
    assert get(8080) == b"small", "after a reload"
assert show("portico", "MainPID") == main
print("started and reloaded")

# Restart=on-failure, and a stop that is no failure.
systemctl("kill", "--kill-whom=main", "--signal=KILL", "portico")
until(lambda: show("portico", "NRestarts") == "1" and show("portico", "ActiveState") == "active")
assert get(8080) == b"small", "after a crash"
systemctl("stop", "portico")
assert show("portico", "Result") == "success", show("portico", "Result")
print("restarted and stopped")

# WatchdogSec=, after which one that hangs is killed.
systemctl("start", "portico")
systemctl("kill", "--kill-whom=main", "--signal=STOP", "portico")
until(lambda: show("portico", "NRestarts") == "1" and show("portico", "ActiveState") == "active")
assert get(8080) == b"small", "after it has hung"
systemctl("stop", "portico")
print("watched")

# A socket of systemd: the first client starts the service, and no restart fails anybody.
systemctl("start", "handed.socket")
assert get(8000) == b"small", "by the socket"
failed, answered, over = [], [0], threading.Event()

def ask():
    while not over.is_set():
        try:
            answered[0] += get(8000) == b"small"
        except OSError as problem:
            failed.append(repr(problem))

asking = [threading.Thread(target=ask) for _ in range(4)]
for thread in asking:
    thread.start()
for _ in range(3):  # more starts at once would be against StartLimitBurst
    before = answered[0]
    systemctl("restart", "handed")
    until(lambda: answered[0] > before + 20)
over.set()
for thread in asking:
    thread.join()
assert not failed, failed[:3]
print("activated and restarted")
"""


@pytest.mark.skipif(
    shutil.which("systemd-nspawn") is None or os.geteuid() != 0,
    reason="there is no systemd-nspawn, or it may not be used",
)
def test_it_notifies_reloads_and_takes_sockets(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "small.txt").write_bytes(b"small")
    tmp_path.chmod(0o755)
    shutil.copytree(REPOSITORY / "portico", tmp_path / "portico")
    (tmp_path / "portico.toml").write_text("root = '/proof/site'\n")
    (tmp_path / "proof.py").write_text(SCRIPT)
    shown = re.search(
        r"\[Unit\].*?WantedBy=multi-user.target\n",
        (REPOSITORY / "docs" / "deploying.md").read_text(),
        re.DOTALL,
    )
    assert shown is not None
    unit = shown[0].replace("--workers auto", "--workers 2")
    command = "/usr/bin/python3 -m portico --config /proof/portico.toml"
    unit = unit.replace("/opt/portico/bin/portico --config /etc/portico.toml", command)
    unit = unit.replace("[Service]\n", "[Service]\nEnvironment=PYTHONPATH=/proof\n")
    assert command in unit
    assert "WatchdogSec=30" in unit
    unit = unit.replace("WatchdogSec=30", "WatchdogSec=3")
    units = {
        "portico.service": unit,
        "handed.service": unit.replace("--workers", "--grace 5 --workers"),
        "handed.socket": SOCKET,
        "proof.service": PROOF,
    }
    binds = []
    for name, text in units.items():
        (tmp_path / name).write_text(text)
        binds.append(f"--bind-ro={tmp_path / name}:/etc/systemd/system/{name}")
    booted = subprocess.run(
        [
            "timeout", str(BOOT_SECONDS), "systemd-nspawn", "--quiet", "--directory=/",
            "--volatile=yes", "--register=no", "--keep-unit", "--private-network",
            f"--bind={tmp_path}:/proof", *binds, "--boot",
            "systemd.firstboot=off", "systemd.unit=proof.service",
        ],
        check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    if not (tmp_path / "out").exists():
        pytest.skip(f"systemd does not boot here: {booted.stdout[-300:]}{booted.stderr[-300:]}")
    assert (tmp_path / "out").read_text().splitlines() == [
        "started and reloaded",
        "restarted and stopped",
        "watched",
        "activated and restarted",
    ]
