"""Clients that upload while the server is killed at random moments, and what must hold then.

Run it by itself for many rounds: `python3 -m tests.end_to_end.killing --kills 200`. Rule: every
write that was acknowledged is there, every other name has its old content or its new one, and after
the next start no file is left of those that were not finished.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from portico.site.uploads.parts import FOLDER
from tests.server.clients import PATIENCE, eventually

NAMES = 6
"""Files that each client writes, one after another, over and over."""
TUS = {"Tus-Resumable": "1.0.0"}


class Uploader(threading.Thread):
    """A client that creates, replaces and deletes files of its own, also by resumed uploads."""

    def __init__(
        self, number: int, port: int, largest: int, seed: int, *, pause: float = 0
    ) -> None:
        """`pause` is the time between two files, in seconds."""
        super().__init__(daemon=True)
        self.pause = pause
        self.number = number
        self.port = port
        self.largest = largest
        self.dice = random.Random(seed + number)
        self.may_be: dict[str, set[str]] = {}
        """For each name the digests of what may be there; "" for no file."""
        self.acknowledged = self.unknown = self.resumed = 0
        self.problems: list[str] = []
        self.is_over = threading.Event()

    def run(self) -> None:
        while not self.is_over.wait(self.pause):
            name = f"/{self.number}/{self.dice.randrange(NAMES)}.bin"
            size = int(self.largest ** self.dice.random())
            content = self.dice.randbytes(size)
            digest = hashlib.sha256(content).hexdigest()
            way = self.dice.choice(["put", "put", "resumed", "delete"])
            after = "" if way == "delete" else digest
            self.may_be.setdefault(name, {""}).add(after)
            try:
                if (
                    self._resume(name, content)
                    if way == "resumed"
                    else self._send(name, content, way)
                ):
                    self.may_be[name] = {after}
                    self.acknowledged += 1
            except (OSError, http.client.HTTPException):
                self.unknown += 1
                time.sleep(0.05)

    def check(self, root: Path) -> None:
        """Look at what is there in the end. Raises AssertionError."""
        assert not self.problems, self.problems[:5]
        for name, digests in self.may_be.items():
            path = root / name[1:]
            there = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""
            assert there in digests, (
                f"{name} has {there[:8] or 'nothing'}, not its old content nor its new one: "
                f"{[digest[:8] or 'nothing' for digest in digests]}"
            )

    def _ask(
        self, method: str, path: str, content: bytes | None = None, **fields: str
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            headers = {name.replace("_", "-"): value for name, value in fields.items()}
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            response.read()
            return response
        finally:
            connection.close()

    def _send(self, name: str, content: bytes, way: str) -> bool:
        if way == "delete":
            status = self._ask("DELETE", name).status
            if status == 404 and "" not in self.may_be[name]:
                self.problems.append(f"{name} had been acknowledged, and is not there")
        else:
            status = self._ask("PUT", name, content).status
        if status not in {201, 204, 404}:
            self.problems.append(f"{way} {name}: {status}")
        return status in {201, 204, 404}

    def _resume(self, name: str, content: bytes) -> bool:
        """Upload by tus, and go on after each broken connection, until the end of the test."""
        from base64 import b64encode

        folder, _, file = name.rpartition("/")
        metadata = f"filename {b64encode(file.encode()).decode()}"
        response = self._ask(
            "POST", folder + "/",
            Upload_Length=str(len(content)), Upload_Metadata=metadata, Tus_Resumable="1.0.0",
        )  # fmt: skip
        url = response.headers["Location"]
        known = 0
        while not self.is_over.is_set():
            try:
                response = self._ask("HEAD", url, Tus_Resumable="1.0.0")
                if response.status != 200:
                    self.problems.append(f"HEAD {url} for {name}: {response.status}")
                    return False
                offset = int(response.headers["Upload-Offset"])
                if offset < known:
                    self.problems.append(f"{url} went back from {known} to {offset}")
                known = offset
                if offset == len(content):
                    return True
                piece = content[offset : offset + max(1, len(content) // 3)]
                response = self._ask(
                    "PATCH", url, piece,
                    Tus_Resumable="1.0.0", Upload_Offset=str(offset),
                    Content_Type="application/offset+octet-stream",
                )  # fmt: skip
            except (OSError, http.client.HTTPException):
                self.resumed += 1
                time.sleep(0.05)
        return False


class Killed:
    """A server that is killed again and again, and started anew on the same port."""

    def __init__(self, root: Path, port: int, *options: str) -> None:
        self._command = [
            sys.executable, "-m", "portico", str(root), "--port", str(port), "--workers", "2",
            "--allow", "write", "--no-access-log", "--keep-free", "0", *options,
        ]  # fmt: skip
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, in a process group of its own, and wait until it answers.

        Another program may have taken the port in between, as a client: then it tries again.
        """
        self._process = None
        eventually(self._answers)

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                self._command,
                start_new_session=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
            try:
                connection.request("OPTIONS", "/")
                return connection.getresponse().status == 204
            finally:
                connection.close()
        return False

    def kill(self, dice: random.Random) -> None:
        """Kill a worker, which is replaced, or all processes, which are started anew."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        workers = [int(pid) for pid in children.read_text().split()]
        if len(workers) == 2 and dice.random() < 0.5:
            with contextlib.suppress(ProcessLookupError):
                os.kill(dice.choice(workers), signal.SIGKILL)
        else:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self.start()

    def stop(self) -> None:
        """Let it drain and end."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait()


def rounds(root: Path, kills: int, clients: int, largest: int, seed: int, *options: str) -> str:
    """Kill the server `kills` times while clients upload; return what came of it.

    Raises AssertionError where something was lost or left.
    """
    dice = random.Random(seed)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Killed(root, port, *options)
    server.start()
    for number in range(clients):
        (root / str(number)).mkdir()
    uploaders = [Uploader(number, port, largest, seed) for number in range(clients)]
    for uploader in uploaders:
        uploader.start()
    try:
        for _ in range(kills):
            time.sleep(dice.uniform(0.05, 3.0))
            server.kill(dice)
        time.sleep(0.5)
    finally:
        for uploader in uploaders:
            uploader.is_over.set()
        for uploader in uploaders:
            uploader.join(PATIENCE)
        server.stop()
    server.start()  # what was left is swept
    staging = root / FOLDER[0]
    try:
        eventually(lambda: not list(staging.glob(".new-*")))
    finally:
        server.stop()
    for uploader in uploaders:
        uploader.check(root)
    return (
        f"{kills} kills, {sum(each.acknowledged for each in uploaders):,} acknowledged writes, all "
        f"there; {sum(each.unknown for each in uploaders):,} without an answer, old or new; "
        f"{sum(each.resumed for each in uploaders):,} times an upload was gone on with"
    )


def main() -> None:
    """Run rounds by the command line, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--largest", type=int, default=64 << 20, help="bytes of the largest file")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        said = rounds(Path(folder), given.kills, given.clients, given.largest, given.seed)
    sys.stdout.write(said + "\n")


if __name__ == "__main__":
    main()
