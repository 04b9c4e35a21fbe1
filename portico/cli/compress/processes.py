"""The threads that write coded siblings, several at a time.

Rule: nobody ever sees a part of a sibling. It grows under a temporary name, gets the time and the
rights of its original, and is renamed when it is whole. Whenever the crew is stopped, and however,
no temporary file of its is left behind.
Limit: only a killed process leaves one. Its name begins with a dot, so it is never served, and a
later run sweeps it away.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import time
from typing import TYPE_CHECKING

from portico.site.compression.encoders import SUFFIXES, encoder, is_worth
from portico.site.origin.stat import (
    Disturbed,
    fingerprint,
    is_settled,
    real_path,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

PREFIX, SUFFIX = ".portico-compress-", ".tmp"
"""Between which a temporary file has its number."""

EFFORT = {"br": 14, "zstd": 4, "gzip": 1}
"""About how long the best level of each coding takes for the same content."""

_PIECE = 1 << 18
"""Octets that are read and coded between two looks at whether to stop."""
_TICK = 0.1
"""Seconds between two reports of progress."""
_LAST_PIECE = 2.0
"""Seconds that a stopped thread gets to finish its piece; the process may end without it."""
_SETTLING = 300, 0.01
"""Looks at a file that was changed just now, and seconds between two. FAT's clock needs 2 s."""

_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class Task:
    """One sibling to write."""

    __slots__ = ("coding", "exists", "made", "name", "path", "size")

    def __init__(self, coding: str, original: tuple[str, str], size: int, *, exists: bool) -> None:
        self.coding = coding
        self.name, self.path = original
        """Of the original: its path below the root, and on disk."""
        self.size = size
        """Of the original, in octets."""
        self.exists = exists
        """Whether something lies in the sibling's place, to be replaced."""
        self.made = 0
        """Of the effort, how much has been made."""

    @property
    def target(self) -> str:
        """The sibling's path on disk."""
        return self.path + SUFFIXES[self.coding]

    @property
    def effort(self) -> int:
        """About how long it will take, in no unit."""
        return self.size * EFFORT[self.coding]


class Written:
    """A sibling that was written, with the sizes of the original and of itself."""

    __slots__ = ("after", "before", "coding")

    def __init__(self, coding: str, before: int, after: int) -> None:
        self.coding = coding
        self.before = before
        self.after = after


class _Stopped(Exception):  # noqa: N818 (a fact, not an error)
    """There is nothing more to be done."""


class Crew:
    """Works off tasks. What has come of them can be read at any time."""

    def __init__(self, root: str, tasks: Sequence[Task]) -> None:
        """`root` is the real path of the folder that no original may lie outside of."""
        self.written: list[Written] = []
        self.worthless = 0
        """Siblings that were not written because they would hardly be smaller."""
        self.troubles: dict[str, None] = {}
        """What went wrong, each in one sentence, each once."""
        self.finished = 0
        self.effort = 0
        """Of all tasks' effort, how much has been made."""
        self._root = root
        self._tasks = iter(sorted(tasks, key=lambda task: (-task.effort, task.name)))
        self._lock = threading.Lock()
        self._temporary: set[str] = set()
        self._stopped = self._swept = False
        self._bug: BaseException | None = None

    def work(self, jobs: int, report: Callable[[], object]) -> None:
        """Do all tasks in as many threads as `jobs`; `report` is called ten times a second.

        KeyboardInterrupt ends it; whatever has been written by then is whole.
        """
        threads = [threading.Thread(target=self._run, daemon=True) for _ in range(jobs)]
        started = []
        try:
            for thread in threads:
                thread.start()
                started.append(thread)
            for thread in threads:
                while thread.is_alive():
                    report()
                    thread.join(_TICK)
        finally:
            while not self._swept:
                with contextlib.suppress(KeyboardInterrupt):  # a second one must not leave any
                    self._stop()
            end = time.monotonic() + _LAST_PIECE
            for thread in started:
                thread.join(max(0.0, end - time.monotonic()))
        if self._bug is not None:
            raise self._bug

    def _stop(self) -> None:
        """Let no file be created or renamed from now on, and remove what is unfinished."""
        with self._lock:
            self._stopped = True
            for path in self._temporary:
                with contextlib.suppress(OSError):
                    os.unlink(path)
            self._swept = True

    def _run(self) -> None:
        """What each thread does."""
        try:
            while True:
                self._do(self._next())
        except _Stopped:
            return
        except BaseException as bug:  # noqa: BLE001 (raised again by the thread that waits)
            self._bug = bug
            self._stopped = True

    def _next(self) -> Task:
        with self._lock:
            task = next(self._tasks, None)
        if task is None or self._stopped:
            raise _Stopped
        return task

    def _do(self, task: Task) -> None:
        """Do one task, and note what has come of it."""
        trouble, result = None, None
        try:
            result = self._code_steadily(task)
        except Disturbed:
            trouble = f"{task.name} changes while it is read; run portico compress again"
        except MemoryError:
            trouble = f"there is not enough memory to code {task.name}"
        except OSError as problem:
            self._go_on()  # what was swept away under us is no trouble
            reading = problem.filename == task.path
            what = f"read {task.name}" if reading else f"write {task.name}{SUFFIXES[task.coding]}"
            trouble = f"cannot {what}: {problem.strerror or problem}"
        with self._lock:
            self.finished += 1
            self.effort += task.effort - task.made
            if trouble is not None:
                self.troubles[trouble] = None
            elif result is None:
                self.worthless += 1
            else:
                self.written.append(result)

    def _code_steadily(self, task: Task) -> Written | None:
        """Write one sibling; a second time, if the original changes meanwhile.

        Returns None for one that is not worth it. Raises Disturbed, OSError.
        """
        try:
            return self._code(task)
        except Disturbed:
            return self._code(task)

    def _code(self, task: Task) -> Written | None:
        fd = os.open(task.path, _READ)
        try:
            before = self._settled(fd, task.path)
            temporary, out = self._create(os.path.dirname(task.path))
            try:
                with open(out, "wb") as file:
                    size = self._encode(task, fd, before.st_size, file)
                if fingerprint(os.stat(task.path)) != fingerprint(before):
                    raise Disturbed
                if not is_worth(before.st_size, size):
                    self._publish(None, task)
                    return None
                _take_after(temporary, before)
                self._publish(temporary, task)
                return Written(task.coding, before.st_size, size)
            finally:
                self._discard(temporary)
        finally:
            os.close(fd)

    def _settled(self, fd: int, path: str) -> os.stat_result:
        """The status of the open original, once every later change would show in it.

        Raises Disturbed for one that goes on changing, OSError for one that is not to be read.
        """
        real = real_path(fd, path)
        if not real.startswith(os.path.join(self._root, "")):
            raise PermissionError(errno.EACCES, "it lies outside of the site", path)
        looks, pause = _SETTLING
        for _ in range(looks):
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is no regular file", path)
            if is_settled(status):
                return status
            self._go_on()
            time.sleep(pause)
        raise Disturbed

    def _encode(self, task: Task, fd: int, size: int, file: BinaryIO) -> int:
        """Code the open original, of `size` octets, into `file`. Returns the octets written."""
        coder = encoder(task.coding, best=True, size=size)
        if coder is None:
            raise AssertionError(f"there is no encoder for {task.coding}")
        written = 0
        for piece in _pieces(fd, size, task.path):
            written += file.write(coder.compress(piece))
            self._advance(task, len(piece))
        return written + file.write(coder.flush())

    def _advance(self, task: Task, octets: int) -> None:
        """Note progress, though not more than there can be."""
        self._go_on()
        more = min(octets * EFFORT[task.coding], task.effort - task.made)
        task.made += more
        with self._lock:
            self.effort += more

    def _go_on(self) -> None:
        if self._stopped:
            raise _Stopped

    def _create(self, folder: str) -> tuple[str, int]:
        """A new temporary file in `folder`: its path and a descriptor to write to."""
        path = os.path.join(folder, f"{PREFIX}{os.urandom(8).hex()}{SUFFIX}")
        with self._lock:
            self._go_on()
            fd = os.open(path, _WRITE, 0o600)
            self._temporary.add(path)
        return path, fd

    def _publish(self, temporary: str | None, task: Task) -> None:
        """Put the temporary file in the sibling's place, or clear the place."""
        with self._lock:
            self._go_on()
            if temporary is not None:
                os.replace(temporary, task.target)
                self._temporary.discard(temporary)
            elif task.exists:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(task.target)

    def _discard(self, temporary: str) -> None:
        """Remove a temporary file, if it is still there."""
        with self._lock:
            if temporary in self._temporary:
                self._temporary.discard(temporary)
                with contextlib.suppress(OSError):
                    os.unlink(temporary)


def _pieces(fd: int, size: int, path: str) -> Iterator[bytes]:
    """The first `size` octets of an open file. Raises Disturbed if there are fewer."""
    while size:
        try:
            piece = os.read(fd, min(size, _PIECE))
        except OSError as problem:
            raise OSError(problem.errno, problem.strerror, path) from problem
        if not piece:
            raise Disturbed
        size -= len(piece)
        yield piece


def _take_after(path: str, original: os.stat_result) -> None:
    """Give the file at `path` the time of its original, and to nobody more rights than that did.

    Where the group cannot be kept, ours gets no right that all others have not.
    """
    mode = stat.S_IMODE(original.st_mode) & 0o777
    if hasattr(os, "chown"):
        for owner in (original.st_uid, -1):
            with contextlib.suppress(OSError):
                os.chown(path, owner, original.st_gid)
                break
        else:
            mode &= 0o707 | (mode & 0o007) << 3
    os.chmod(path, mode)
    os.utime(path, ns=(original.st_atime_ns, original.st_mtime_ns))
