"""The folder on disk as an origin: containment, index files, whole reads, shared descriptors.

Rules:
- Check what you send. A path is opened first; then the descriptor, not the path, is asked where it
  really lies and what it is. So a symlink may lead anywhere within the root, and one that is
  swapped between two looks gains nothing.
- Whole. A small file is read between two equal signatures, and twice while it is young. A large one
  is sent from a descriptor whose signature is compared again before the last piece
  (`OpenFile.changed`). What is disturbed while it is looked up is looked up again.
- Nothing but regular files and folders is ever opened, so no FIFO or device can hold the server up.

Limits: what leaves no trace in a signature is not seen. That is a change in place of the same size
within the same tick of the file system's clock, wherefore a file that young is not reused; what is
written through a memory mapping after its first change. And a large file that is opened in the
middle of a write in place may be sent half old, half new, since the write has left its stamp
before. To be safe, write elsewhere and rename.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time

from portico.bounded import Bounded
from portico.site.origin import Directory, Entry, Failed, File, Found, Missing, Moved, Witness
from portico.site.target import is_safe

SMALL = 32768
"""Octets up to which a file is kept in memory. Above, sendfile costs less than a copy."""
_TRIES = 32
"""Looks at a path before we give up, because what it leads to changes during each of them."""
_DOUBTS = 2
"""Looks that find a path outside of the root before we believe it."""
_OPEN_FILES = 64
"""Descriptors of large files kept open for reuse."""
_PLACES = 1024
"""Folders whose witnesses are shared by the files in them."""

_FINE_CLOCK_NS = 50_000_000
"""Kernels stamp files with a clock that ticks every 1 to 10 ms; this is well above."""
_COARSE_CLOCK_NS = 2_000_000_000
"""The coarsest clock in use: FAT's."""

# O_NONBLOCK: if a FIFO or a device took the regular file's place just now, do not wait in open().
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)

_INDEX = "index.html"

Signature = tuple[int, int, int, int, int]
"""What tells one state of a file from another: device, inode, size, mtime_ns, ctime_ns."""


def signature(status: os.stat_result) -> Signature:
    """The signature in a stat result."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def is_settled(status: os.stat_result) -> bool:
    """Would a change from now on show in the signature? Not while the file's clock stands still."""
    now = time.time_ns()
    for stamp in (status.st_ctime_ns, status.st_mtime_ns):
        age = abs(now - stamp)
        if age < _FINE_CLOCK_NS or (age < _COARSE_CLOCK_NS and stamp % 1_000_000_000 == 0):
            return False
    return True


def status_of(error: OSError) -> int:
    """The status that an error of the operating system comes to. Its text reaches no client."""
    return _STATUS.get(error.errno or 0, 500)


_STATUS = {
    errno.ENOENT: 404,
    errno.ENOTDIR: 404,
    errno.ELOOP: 404,
    errno.ENAMETOOLONG: 404,
    errno.EINVAL: 404,
    errno.ENXIO: 404,
    errno.EACCES: 403,
    errno.EPERM: 403,
    errno.EMFILE: 503,
    errno.ENFILE: 503,
    errno.ENOMEM: 503,
    errno.EAGAIN: 503,
    errno.ENOSPC: 507,
    errno.EDQUOT: 507,
}


class Disturbed(Exception):  # noqa: N818 (a fact, not an error of ours)
    """What a path leads to changed while it was looked up: look again."""


class PathWitness:
    """A path and the signature of what it leads to; None for a path that leads nowhere."""

    __slots__ = ("_epoch", "_path", "_settled", "_signature")

    def __init__(self, path: str, status: os.stat_result | None, epoch: int) -> None:
        self._path = path
        self._signature = None if status is None else signature(status)
        self._settled = status is None or is_settled(status)
        self._epoch = epoch

    def holds(self, epoch: int) -> bool:
        """Does the path still lead to the same file in the same state?"""
        if self._epoch == epoch:
            return True
        try:
            now = signature(os.stat(self._path))
        except OSError as error:
            if self._signature is not None or status_of(error) != 404:
                return False
        else:
            if now != self._signature or not self._settled:
                return False
        self._epoch = epoch
        return True


class PlaceWitness:
    """A folder on the way to a file: still itself, and not a symlink in its place?

    Without it a file in memory would be served on when a folder above it was moved out of the root
    and linked from its old place, for nothing about the file has changed then.
    """

    __slots__ = ("_epoch", "_folder", "_path")

    def __init__(self, path: str, epoch: int) -> None:
        """Raises Disturbed when `path`, which was found to be a folder just now, is none."""
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode):
            raise Disturbed
        self._path = path
        self._folder = status.st_dev, status.st_ino
        self._epoch = epoch

    def holds(self, epoch: int) -> bool:
        """Is the same folder at the path?"""
        if self._epoch == epoch:
            return True
        try:
            status = os.lstat(self._path)
        except OSError:
            return False
        if (status.st_dev, status.st_ino) != self._folder:
            return False
        self._epoch = epoch
        return True


class OpenFile:
    """A descriptor that closes itself when nothing refers to it any more."""

    __slots__ = ("_signature", "fd")

    def __init__(self, fd: int, status: os.stat_result) -> None:
        self.fd = fd
        self._signature = signature(status)

    def changed(self) -> bool:
        """Has the file's content changed since it was opened?

        Its names do not matter: a file that was replaced or deleted meanwhile is still whole. So
        ctime, which a rename or a removed name moves too, is left out.
        """
        now = os.fstat(self.fd)
        return (now.st_size, now.st_mtime_ns) != self._signature[2:4]

    def read(self, count: int, offset: int) -> bytes:
        """At most `count` octets from `offset`."""
        return read_at(self.fd, count, offset)

    def __del__(self) -> None:
        os.close(self.fd)


class FileSlice:
    """`count` octets of an open file from `offset`: content that is sent without being read."""

    __slots__ = ("_count", "file", "offset")

    def __init__(self, file: OpenFile, offset: int, count: int) -> None:
        self.file = file
        self.offset = offset
        self._count = count

    def __len__(self) -> int:
        return self._count


class Folder:
    """Serves the files below one folder; implements `origin.Origin`.

    `memory` is the number of octets of file content that may be kept.
    """

    def __init__(self, root: str, memory: int) -> None:
        # As it was named, not where its symlinks lead today: "current" may lead to the next
        # release. And not abspath(), which takes "link/.." for "." where the system follows link.
        self._below = os.path.join(os.getcwd(), root, "")
        self._real, self._root = os.path.realpath(self._below), (0, 0)
        self._doubts = 0
        self._small: Bounded[str, File] = Bounded(memory, _weight)
        self._large: Bounded[str, File] = Bounded(_OPEN_FILES if memory else 0)
        self._places: Bounded[str, PlaceWitness] = Bounded(_PLACES)

    def look_up(self, names: tuple[str, ...], epoch: int) -> Found:  # noqa: PLR0911 (outcomes)
        """What the path of `names` stands for: see `origin`."""
        if "" in names[:-1]:
            return Missing(())
        path = self._below + os.sep.join(names)
        is_folder = names[-1] == ""
        file = path + _INDEX if is_folder else path
        known = self._known(file, epoch)
        if known is not None:
            return known
        self._doubts = _DOUBTS
        look = self._folder if is_folder else self._file
        for _ in range(_TRIES):
            try:
                return look(path, names[-1], epoch)
            except Disturbed:
                continue
            except OSError as error:
                if (status := status_of(error)) != 404:
                    self.expire()  # perhaps it was for want of the descriptors kept here
                    return Failed(status)
                return Missing((PathWitness(path, None, epoch),))
            except ValueError:  # no name of this system, such as one with a lone surrogate
                return Missing(None)
        return Failed(503)

    def expire(self) -> None:
        """Let go of what was not used since the last call, so that no deleted file is kept open."""
        self._large.turn()

    def _known(self, path: str, epoch: int) -> File | None:
        """The file at `path` from memory, if it is still the same."""
        for memory in (self._small, self._large):
            known = memory.get(path)
            if known is not None:
                if known.witnesses and all(witness.holds(epoch) for witness in known.witnesses):
                    return known
                memory.drop(path)
        return None

    def _folder(self, path: str, _name: str, epoch: int) -> Found:
        """The index file of the folder at `path`, which ends with a slash, or its entries."""
        try:
            index = self._file(path + _INDEX, _INDEX, epoch)
        except FileNotFoundError:
            index = None
        return index if isinstance(index, File) else Directory(self._entries(path))

    def _file(self, path: str, name: str, epoch: int) -> Found:
        """Look, open, ask the descriptor where it lies, read, and look whether all stood still."""
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode) and self._contains(os.path.realpath(path)):
            return Moved((PathWitness(path, status, epoch),))
        if not stat.S_ISREG(status.st_mode):
            return Missing(None)
        fd = os.open(path, _FLAGS)
        try:
            status = os.fstat(fd)
            real = real_path(fd, path)
            if not stat.S_ISREG(status.st_mode) or not self._contains(real):
                return Missing(None)
            places = self._places_above(real, epoch)
            content: bytes | FileSlice
            if status.st_size <= SMALL:
                memory = self._small
                content, status = _read_whole(fd, status)
            else:
                memory = self._large
                file, fd = OpenFile(fd, status), -1
                content = FileSlice(file, 0, status.st_size)
        finally:
            if fd >= 0:
                os.close(fd)
        witnesses: tuple[Witness, ...] = (PathWitness(path, status, epoch), *places)
        found = File(name, status.st_size, status.st_mtime, content, witnesses)
        memory.put(path, found)
        return found

    def _places_above(self, real: str, epoch: int) -> list[PlaceWitness]:
        """The folders between the root and what lies at the real path `real`, as witnesses."""
        places = []
        folder = os.path.dirname(real)
        while len(folder) > len(self._real):
            place = self._places.get(folder)
            if place is None or not place.holds(epoch):
                place = PlaceWitness(folder, epoch)
                self._places.put(folder, place)
            places.append(place)
            folder = os.path.dirname(folder)
        return places

    def _entries(self, path: str) -> list[Entry]:
        """What may be served of the folder at `path`, read through a checked descriptor."""
        fd = os.open(path, _FLAGS | getattr(os, "O_DIRECTORY", 0))
        try:
            if not self._contains(real_path(fd, path)):
                raise FileNotFoundError(errno.ENOENT, "outside of the root")
            with os.scandir(fd if os.scandir in os.supports_fd else path) as names:
                return [entry for name in names if (entry := self._entry(path, name)) is not None]
        finally:
            os.close(fd)

    def _entry(self, folder: str, name: os.DirEntry[str]) -> Entry | None:
        """One line of a listing; None for what would not be served."""
        if name.name.startswith(".") or not is_safe(name.name):
            return None
        try:
            if name.is_symlink() and not self._contains(
                os.path.realpath(os.path.join(folder, name.name))
            ):
                return None
            status = name.stat()
        except OSError:
            return None
        is_folder = stat.S_ISDIR(status.st_mode)
        if not is_folder and not stat.S_ISREG(status.st_mode):
            return None
        return Entry(name.name, is_folder, status.st_size, status.st_mtime)

    def _contains(self, real: str) -> bool:
        """Does the real path `real` lie in the root, wherever the root lies by now?

        Raises Disturbed at first if not, since the root may just have become another folder.
        """
        status = os.stat(self._below)
        root = status.st_dev, status.st_ino
        if root != self._root or not _is_below(real, self._real):
            self._root, self._real = root, os.path.realpath(self._below)
        contained = _is_below(real, self._real)
        if not contained and self._doubts:
            self._doubts -= 1
            raise Disturbed
        return contained


def real_path(fd: int, path: str) -> str:
    """Where the open descriptor really lies; `path` is what it was opened by.

    Raises Disturbed when that cannot be told, as for a file that was just replaced or deleted.
    """
    with contextlib.suppress(OSError):  # where there is no /proc
        real = os.readlink(f"/proc/self/fd/{fd}")
        if not real.endswith(" (deleted)"):
            return real
    real = os.path.realpath(path)
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.stat(real, follow_symlinks=False), os.fstat(fd)):
            return real
    raise Disturbed


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))


def _read_whole(fd: int, status: os.stat_result) -> tuple[bytes, os.stat_result]:
    """A small file's content and the status that it was read under, never a mixture of two.

    Raises Disturbed for a file that did not stand still.
    """
    content = read_at(fd, SMALL + 1, 0)
    # A write that is under way has left its stamp already; only the content shows it.
    if not is_settled(status) and read_at(fd, SMALL + 1, 0) != content:
        raise Disturbed
    after = os.fstat(fd)
    if signature(after) != signature(status) or len(content) != status.st_size:
        raise Disturbed
    return content, after


def read_at(fd: int, count: int, offset: int) -> bytes:
    """At most `count` octets of a file from `offset`."""
    if hasattr(os, "pread"):
        return os.pread(fd, count, offset)
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, count)


def _weight(path: str, file: File) -> int:
    """About the octets of memory that a kept file takes."""
    return len(path) + len(file.content) + 1024
