"""A file system in user space (FUSE) that shows a folder, as slowly as a test wants.

`SlowMount` mounts it and controls it; this file run as a program is its daemon, a process of its
own that shares no lock with the server under test. Each question of the kernel (its name is that of
a FUSE operation; a look-up counts as `getattr`) is counted, waits while questions of its kind
hang, and is answered after the delay, or fails. The kernel keeps no attributes, names or content,
so every question reaches the daemon, except reads by sendfile and mmap of a file that stays open.

The daemon reads commands from its input, a line each, and answers each with a line of JSON. When
its input ends, also because the tests were killed, it unmounts and exits.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self

THREADS = 200
"""Questions that the daemon works on, or lets hang, at the same time."""


class UnusableError(Exception):
    """There is no FUSE on this machine that may be used; says why."""


class SlowMount:
    """The folder `source`, mounted at `path`, without a delay at first.

    Where kinds of questions are given (`"read"`, `"getattr"`, ...), only these are meant, else all.
    """

    def __init__(self, source: Path, path: Path) -> None:
        """Raises UnusableError."""
        self.source = source
        self.path = path
        self._daemon = subprocess.Popen(
            [sys.executable, "-m", "tests.end_to_end.slow_mount", str(source), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"FUSE_LIBRARY_NAME": "fuse3"},
            start_new_session=True,
        )
        assert self._daemon.stdout is not None
        if not self._daemon.stdout.readline():
            said = self._daemon.communicate()[1].strip().splitlines()
            raise UnusableError(f"FUSE cannot be used: {said[-1] if said else 'no reason given'}")

    def delay(self, seconds: float, *kinds: str) -> None:
        """Answer each question so many seconds later than it could be; 0 ends that."""
        self._command("delay", str(seconds), *kinds)

    def hang(self, *kinds: str) -> None:
        """Answer no question until `release`."""
        self._command("hang", *kinds)

    def fail(self, error: int, *kinds: str) -> None:
        """Answer questions with an error of the operating system, until `release`."""
        self._command("fail", str(error), *kinds)

    def release(self) -> None:
        """Answer what hangs, and no longer let anything hang or fail."""
        self._command("release")

    def hanging(self) -> int:
        """How many questions hang now."""
        found: int = self._command("count")["hanging"]
        return found

    def asked(self) -> Counter[str]:
        """How often each kind of question was asked since the last call."""
        return Counter(self._command("count")["asked"])

    def kill(self) -> None:
        """End the daemon as a crash would: the mount stays, and using it fails with ENOTCONN."""
        self._daemon.kill()
        self._daemon.wait()

    def close(self) -> None:
        """Unmount, whatever still uses the mount; what hangs fails."""
        with self._daemon:
            self.kill()
        unmount(str(self.path))

    def _command(self, *words: str) -> dict[str, Any]:
        assert self._daemon.stdin is not None
        assert self._daemon.stdout is not None
        print(*words, file=self._daemon.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._daemon.stdout.readline())
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def unmount(path: str) -> None:
    """Detach the mount at once; the kernel gives it up when nothing uses it any more."""
    command = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-u", "-z"]
    subprocess.run([*command, path], check=False, capture_output=True)


class Gate:
    """Where each question passes: counted, held back and delayed as the commands say."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._asked = Counter[str]()
        self._delays: dict[str, float] = {}
        self._delay = 0.0
        self._hanging_kinds: set[str] | None = set()
        self._hanging = 0
        self._errors: dict[str, int] = {}

    def pass_through(self, kind: str) -> None:
        with self._changed:
            self._asked[kind] += 1
            self._hanging += 1
            self._changed.wait_for(lambda: not self._hangs(kind))
            self._hanging -= 1
            delay = self._delays.get(kind, self._delay)
            error = self._errors.get(kind)
        time.sleep(delay)
        if error:
            raise OSError(error, os.strerror(error))

    def _hangs(self, kind: str) -> bool:
        return self._hanging_kinds is None or kind in self._hanging_kinds

    def command(self, name: str, *words: str) -> dict[str, object]:
        with self._changed:
            if name == "delay":
                seconds, *kinds = words
                self._delay = 0.0 if kinds else float(seconds)
                self._delays = dict.fromkeys(kinds, float(seconds))
            elif name == "hang":
                self._hanging_kinds = set(words) or None
            elif name == "fail":
                error, *kinds = words
                self._errors = dict.fromkeys(kinds, int(error))
            elif name == "release":
                self._hanging_kinds, self._errors = set(), {}
                self._changed.notify_all()
            elif name == "count":
                asked, self._asked = self._asked, Counter()
                return {"asked": asked, "hanging": self._hanging}
            return {}


class Passthrough:
    """Answers questions from a folder; names and arguments are those of mfusepy's Operations."""

    use_ns = True

    def __init__(self, source: str, gate: Gate) -> None:
        self._source = source
        self._gate = gate
        # What needs only the path of a file and has the arguments of a function of os.
        self.readlink = self._by_path("readlink", os.readlink)
        self.rmdir = self._by_path("rmdir", os.rmdir)
        self.unlink = self._by_path("unlink", os.unlink)
        self.mkdir = self._by_path("mkdir", os.mkdir)
        self.chmod = self._by_path("chmod", os.chmod)
        self.chown = self._by_path("chown", partial(os.chown, follow_symlinks=False))
        self.utimens = self._by_path("utimens", set_times)
        self.open = self._by_path("open", os.open)

    def _by_path(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def answer(path: str, *arguments: Any) -> Any:  # noqa: ANN401
            return function(self._ask(kind, path), *arguments)

        return answer

    def _ask(self, kind: str, path: str) -> str:
        """The path in the folder, when the question may be answered.

        As on disks of Windows, names have a short form.
        """
        self._gate.pass_through(kind)
        return self._source + path.replace("/GIT~1", "/.git").replace("/_HEADE~1", "/_headers")

    def init(self, _path: str) -> None:
        """Called when the kernel has mounted."""
        say("mounted")

    def getattr(self, path: str, descriptor: int | None = None) -> dict[str, int]:
        path = self._ask("getattr", path or "")
        found = os.lstat(path) if descriptor is None else os.fstat(descriptor)
        times = {
            name: getattr(found, f"{name}_ns") for name in ("st_atime", "st_mtime", "st_ctime")
        }
        whole = ("st_mode", "st_ino", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks")
        return {**times, **{name: getattr(found, name) for name in whole}}

    def statfs(self, path: str) -> dict[str, int]:
        found = os.statvfs(self._ask("statfs", path))
        return {name: getattr(found, name) for name in dir(found) if name.startswith("f_")}

    def opendir(self, path: str) -> int:
        return os.open(self._ask("opendir", path), os.O_RDONLY)

    def readdir(self, _path: str, descriptor: int) -> Iterator[tuple[str, dict[str, int], int]]:
        self._gate.pass_through("readdir")
        with os.scandir(descriptor) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                yield entry.name, {"st_mode": found.st_mode, "st_ino": found.st_ino}, 0

    def create(self, path: str, mode: int, flags: int) -> int:
        return os.open(self._ask("create", path), flags | os.O_CREAT, mode)

    def read(self, _path: str, size: int, offset: int, descriptor: int) -> bytes:
        self._gate.pass_through("read")
        return os.pread(descriptor, size, offset)

    def write(self, _path: str, content: bytes, offset: int, descriptor: int) -> int:
        self._gate.pass_through("write")
        return os.pwrite(descriptor, content, offset)

    def truncate(self, path: str, length: int, descriptor: int | None = None) -> None:
        self._gate.pass_through("truncate")
        os.truncate(self._source + path if descriptor is None else descriptor, length)

    def fsync(self, _path: str, _only_data: int, descriptor: int) -> None:
        self._gate.pass_through("fsync")
        os.fsync(descriptor)

    def release(self, _path: str, descriptor: int) -> None:
        os.close(descriptor)

    releasedir = release

    def rename(self, old: str, new: str) -> None:
        Path(self._ask("rename", old)).rename(self._source + new)

    def symlink(self, path: str, target: str) -> None:
        Path(self._ask("symlink", path)).symlink_to(target)

    def link(self, path: str, existing: str) -> None:
        os.link(self._source + existing, self._ask("link", path))


def set_times(path: str, times: tuple[int, int]) -> None:
    os.utime(path, ns=times, follow_symlinks=False)


def say(line: str) -> None:
    """Answer whoever started the daemon."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def obey(gate: Gate, path: str) -> None:
    """Carry out the commands from the input; at its end, unmount and exit."""
    for line in sys.stdin:
        say(json.dumps(gate.command(*line.split())))
    unmount(path)
    os._exit(0)


def main(source: str, path: str) -> None:
    """The daemon: mount, and answer until it is ended."""
    from mfusepy import FUSE

    os.umask(0)
    gate = Gate()
    threading.Thread(target=obey, args=(gate, path), daemon=True).start()
    try:
        FUSE(
            Passthrough(source, gate),
            path,
            foreground=True,
            fsname="portico-tests",
            attr_timeout=0,
            entry_timeout=0,
            negative_timeout=0,
            direct_io=True,
            use_ino=True,
            default_permissions=True,
            allow_other=os.geteuid() == 0,
            max_threads=THREADS,
            max_idle_threads=THREADS,
        )
    except RuntimeError:  # libfuse has said why
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
