"""Writes the compressed files, several at a time, in child processes.

Rules:
- No client ever sees a part of a compressed file. A compressed file is written under a temporary
  name, gets the time, mode and owner of its original, and is renamed when it is complete.
- The child processes only write temporary files; this process renames and removes them. So after
  Ctrl+C, or when a child is killed, it knows which files are complete, and removes the others.
- The folders of a site may belong to another user. That user could replace one by a symlink while
  this process, perhaps as root, is working. So a folder is opened, the real path of its
  descriptor is checked, and its entries are created, renamed and removed only through this
  descriptor.

Limit: if this process is killed, temporary files stay behind. Their names begin with a dot, so they
are never served, and a later run removes them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import active_children, get_context, parent_process
from typing import TYPE_CHECKING, NamedTuple

from portico.site.compression.encoders import SUFFIXES, encode, is_worth
from portico.site.origin.fingerprint import Disturbed, fingerprint, is_below, is_settled, real_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor, Future
    from typing import BinaryIO

PREFIX, SUFFIX = ".portico-compress-", ".tmp"
"""The start and the end of a temporary file's name."""

_EFFORT = {"br": 14, "zstd": 4, "gzip": 1}
"""Approximate times of the best level of each coding for the same content, relative to gzip."""

_PIECE = 1 << 18
"""Bytes that are read and compressed at a time."""
_TICK = 0.1
"""Seconds between two updates of the progress, and the longest delay of Ctrl+C."""
_SETTLING = 300, 0.01
"""How often a file that was just changed is examined, and the seconds between: FAT needs 2 s."""


class Task(NamedTuple):
    """One compressed file to write."""

    coding: str
    name: str
    """The original's path below the root."""
    path: str
    """The original's path on disk."""
    size: int
    """The original's size in bytes."""

    @property
    def suffix(self) -> str:
        """The suffix of the compressed file."""
        return SUFFIXES[self.coding]

    @property
    def effort(self) -> int:
        """The approximate time of the task, in no particular unit."""
        return self.size * _EFFORT[self.coding]


class Written(NamedTuple):
    """A compressed file: its coding, the size of the original, and its own size, in bytes."""

    coding: str
    before: int
    after: int


class Writer:
    """Carries out tasks. Its attributes have the results so far."""

    def __init__(self, root: str, tasks: Sequence[Task]) -> None:
        """`root` is the real path of the folder that holds all originals."""
        self.tasks = sorted(tasks, key=lambda task: (-task.effort, task.name))
        self.written: list[Written] = []
        self.not_worth = 0
        """The number of tasks whose result was not kept, because it saves too little."""
        self.errors: dict[str, None] = {}
        """Error messages, without duplicates and in order, as the keys of a dict."""
        self.finished = self.effort = 0
        """The number of tasks done, with or without success, and the sum of their effort."""
        self._root = root
        self._running: dict[Future[int | None], tuple[Task, str]] = {}
        """The tasks given to the child processes, and the names of their temporary files."""

    def run(self, pool: Executor, jobs: int, show: Callable[[], object]) -> None:
        """Carry out all tasks in `pool`, `jobs` at a time; call `show` ten times a second.

        Raises KeyboardInterrupt after Ctrl+C. In any case, no temporary file is left.
        """
        # SIGINT is blocked until temporary files are removed. Child processes inherit the mask.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._run(pool, jobs, show)
        except BrokenProcessPool:
            cure = "perhaps for want of memory; run it again, with fewer --jobs"
            self.errors[f"a process that compresses was killed, {cure}"] = None
        finally:
            for process in active_children() if self._running else ():
                process.kill()
            pool.shutdown(cancel_futures=True)
            for task, temporary in self._running.values():
                remove(os.path.dirname(task.path), temporary)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _run(self, pool: Executor, jobs: int, show: Callable[[], object]) -> None:
        """Submit the tasks to the pool, until all are done or SIGINT is pending."""
        waiting = iter(self.tasks)
        while not _interrupted():
            for task in islice(waiting, 2 * jobs - len(self._running)):
                temporary = f"{PREFIX}{os.urandom(8).hex()}{SUFFIX}"
                future = pool.submit(compress, task, temporary, self._root)
                self._running[future] = task, temporary
            if not self._running:
                return
            show()
            for future in wait(self._running, _TICK, FIRST_COMPLETED).done:
                task, temporary = self._running[future]
                self._publish(future, task, temporary)
                remove(os.path.dirname(task.path), temporary)
                del self._running[future]
                self.finished += 1
                self.effort += task.effort

    def _publish(self, future: Future[int | None], task: Task, temporary: str) -> None:
        """Rename the result of a task to its final name, or record the error."""
        folder, name = os.path.split(task.path)
        try:
            size = future.result()
            if size is not None:
                with open_folder(folder) as fd:
                    os.replace(temporary, name + task.suffix, src_dir_fd=fd, dst_dir_fd=fd)
                self.written.append(Written(task.coding, task.size, size))
                return
            self.not_worth += 1
            remove(folder, name + task.suffix)  # if there is a stale one
        except Disturbed:
            self.errors[f"{task.name} changes while it is read; run portico compress again"] = None
        except MemoryError:
            self.errors[f"there is not enough memory to compress {task.name}"] = None
        except OSError as problem:
            reading = problem.filename == task.path
            what = f"read {task.name}" if reading else f"write {task.name}{task.suffix}"
            self.errors[f"cannot {what}: {problem.strerror or problem}"] = None


def _interrupted() -> bool:
    """Return whether SIGINT is pending. A shell's background job ignores it: then return False."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return not ignored and signal.SIGINT in signal.sigpending()


@contextlib.contextmanager
def open_folder(path: str) -> Iterator[int]:
    """Open the folder at the real path `path`. Raises OSError if a symlink now replaces a part."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if real_path(fd, path) != path:
            raise PermissionError(errno.EACCES, "a folder was replaced by a link", path)
        yield fd
    finally:
        os.close(fd)


def remove(folder: str, name: str) -> None:
    """Remove the file `name` in `folder`, if it exists. Errors are ignored."""
    with contextlib.suppress(OSError, Disturbed), open_folder(folder) as fd:
        os.unlink(name, dir_fd=fd)


def child_processes(jobs: int) -> Executor:
    """Return a pool of child processes, which end when this process does.

    If the system has no semaphores (a container without /dev/shm), return a pool of threads.
    """
    try:
        # "spawn" is the same on every system, and safe beside threads.
        return ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_end_with_parent)
    except (ImportError, NotImplementedError, OSError):
        return ThreadPoolExecutor(jobs)


def _end_with_parent() -> None:
    """Have this child process end when its parent does, even if the parent is killed."""

    def watch() -> None:
        if (parent := parent_process()) is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def compress(task: Task, temporary: str, root: str) -> int | None:
    """Write the compressed form of the task's original to the new file `temporary` beside it.

    Return the size of the compressed form, None if it saves too little. Raises MemoryError,
    OSError, or Disturbed if the original changed during two attempts.
    """
    with open_folder(os.path.dirname(task.path)) as fd:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        created = os.open(temporary, flags, 0o600, dir_fd=fd)
    with open(created, "wb") as file:
        try:
            return _compress(task, file, root)
        except Disturbed:
            file.seek(0)
            file.truncate()
            return _compress(task, file, root)


def _compress(task: Task, file: BinaryIO, root: str) -> int | None:
    fd = os.open(task.path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        before = _settled(fd, task.path, root)
        pieces = _read(fd, before.st_size, task.path)
        file.writelines(encode(pieces, task.coding, before.st_size, best=True))
        if fingerprint(os.stat(task.path)) != fingerprint(before):
            raise Disturbed
        file.flush()  # a later write would change the time that is set next
        _copy_attributes(before, file.fileno())
        return file.tell() if is_worth(before.st_size, file.tell()) else None
    finally:
        os.close(fd)


def _settled(fd: int, path: str, root: str) -> os.stat_result:
    """Return the status of the open original, when every later change would alter the status.

    That is when the last change is older than the resolution of the file system's clock. Raises
    Disturbed if the file keeps changing, OSError if it is not a regular file beneath `root`.
    """
    if not is_below(real_path(fd, path), root):
        raise PermissionError(errno.EACCES, "it lies outside of the site", path)
    looks, pause = _SETTLING
    for _ in range(looks):
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", path)
        if is_settled(status):
            return status
        time.sleep(pause)
    raise Disturbed


def _read(fd: int, size: int, path: str) -> Iterator[bytes]:
    """Yield the first `size` bytes of an open file. Raises Disturbed if there are fewer."""
    while size:
        try:
            piece = os.read(fd, min(size, _PIECE))
        except OSError as problem:
            raise OSError(problem.errno, problem.strerror, path) from problem
        if not piece:
            raise Disturbed
        size -= len(piece)
        yield piece


def _copy_attributes(original: os.stat_result, fd: int) -> None:
    """Give an open file the time of its original, its owner if possible, and no more rights.

    If the group cannot be set, the file's group gets only the rights that all users have.
    """
    mode = stat.S_IMODE(original.st_mode) & 0o777
    for owner in (original.st_uid, -1):
        with contextlib.suppress(OSError):
            os.fchown(fd, owner, original.st_gid)
            break
    else:
        mode &= 0o707 | (mode & 0o007) << 3
    os.fchmod(fd, mode)
    os.utime(fd, ns=(original.st_atime_ns, original.st_mtime_ns))
