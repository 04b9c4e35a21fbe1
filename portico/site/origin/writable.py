"""Writing below a folder: files and folders are made, replaced and deleted in one step each.

Rules:
- Whole. A file is written without a name, or under a hidden one, and takes its place in one step,
  so nobody sees a part of it. With `sync` it is on the disk before the call returns, and so is its
  name.
- Beneath. A path is walked from the root, one folder at a time, and no symlink is followed. What is
  changed is named within the folder that is held open, so swapping a folder above gains nothing.
- One writer. What decides about a change (`check`) is asked, and the change made, while the folder
  is locked (flock), so that of two changes the second sees the first, in whichever process.

A hidden file that a killed process left is found unlocked, and removed by `sweep`.

Limits: a lock binds those who take it; other programs' changes may come between, and then the last
one stays. Where the system has no flock for folders (some network file systems), changes of several
processes are not ordered. Needs a system with openat and linkat: any POSIX.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from portico.site.origin.etags import HASHED_UP_TO, tag_of, tag_of_large
from portico.site.origin.fingerprint import absolute
from portico.site.origin.new_file import (
    HIDDEN_PREFIX,
    NO_LINK,
    READ_FILE,
    NewFile,
    hidden_name,
    link,
    lock,
    remove_if_left,
)
from portico.site.target import STAGING, encode_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    Check = Callable[["Current"], None]
    Names = tuple[str, ...]

_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_HIDDEN = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | NO_LINK
_NAMELESS = os.O_RDWR | getattr(os, "O_TMPFILE", 0) | getattr(os, "O_CLOEXEC", 0)
_HAS_NAMELESS = hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd")
_NO_NAMELESS = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL})
SYNCED = 32 << 20
"""Bytes after which they are brought to the disk, so that the end need not wait long for that."""
_TRIES = 8
"""Times that a change is tried when a folder vanishes, or a name appears, in its middle."""


class Refused(Exception):  # noqa: N818 (what the caller answers, not an error of ours)
    """The change is not made; `status` is the response's, `detail` a sentence for people."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Current:
    """What has the name that is to be changed, while its folder is locked."""

    __slots__ = ("_folder", "_name", "status")

    def __init__(self, folder: int | None, name: str) -> None:
        """`folder` is its open folder; None if there is no such folder."""
        self._folder = folder
        self._name = name
        self.status: os.stat_result | None = None
        """None if there is nothing."""
        if folder is not None:
            with contextlib.suppress(FileNotFoundError):
                self.status = os.stat(name, dir_fd=folder, follow_symlinks=False)

    @property
    def is_file(self) -> bool:
        """Whether a regular file is there."""
        return self.status is not None and stat.S_ISREG(self.status.st_mode)

    @property
    def is_folder(self) -> bool:
        """Whether a folder is there."""
        return self.status is not None and stat.S_ISDIR(self.status.st_mode)

    def has_sibling(self, name: str) -> bool:
        """Return whether there is another `name` beside it."""
        return Current(self._folder, name).status is not None

    def tag(self) -> str:
        """Return the entity tag of the file, which is read for that unless it is large."""
        fd = os.open(self._name, READ_FILE, dir_fd=self._folder)
        with open(fd, "rb") as file:
            return tag_of_open(file.fileno())


def tag_of_open(fd: int) -> str:
    """Return the entity tag of an open file: see `etags`. Raises OSError."""
    from hashlib import sha256

    status = os.fstat(fd)
    if status.st_size > HASHED_UP_TO:
        return tag_of_large(status)
    return tag_of(sha256(os.pread(fd, HASHED_UP_TO + 1, 0)).digest())


class WritableFolder:
    """Changes what is below `root`. For threads, since each call waits for the disk.

    Names are as in `target.path_names`, and safe by form. Calls raise Refused, or OSError.
    """

    def __init__(self, root: str, *, sync: bool = True, base: Names = ()) -> None:
        """`base` are the names of the path under which the folder is served."""
        self._root = os.path.join(absolute(root), "")
        self._sync = sync
        self._base = base

    def url_path(self, names: Names) -> str:
        """Return the path of the URL of what is called `names`."""
        return encode_path((*self._base, *names))

    def begin(self, names: Names) -> NewFile:
        """Return a new file, on the file system where a file called `names` will be."""
        with self.beneath(names[:-1], as_far_as_it_goes=True) as opened:
            return opened.new_file()

    def look(self, names: Names, check: Check) -> None:
        """Tell `check` what has a name, without changing anything."""
        try:
            with self.beneath(names[:-1]) as opened:
                lock(opened.folder)
                check(_current(opened.folder, names[-1]))
        except FileNotFoundError:
            check(Current(None, names[-1]))

    def check_folder(self, names: Names) -> None:
        """Raise Refused unless there is a folder called `names`."""
        try:
            with self.beneath(names):
                return
        except FileNotFoundError:
            raise Refused(404, "There is no folder of that name.") from None

    def put(self, names: Names, file: NewFile, check: Check) -> bool:
        """Give a file its place, and its folders above as needed; return whether its name is new.

        `check` is told what has the name at this moment, and raises to leave that alone.
        """
        if self._sync:
            os.fsync(file.fd)
        return self._tried(lambda: self._put(names, file, check))

    def put_octets(self, names: Names, pieces: list[bytes], check: Check) -> bool:
        """Do the same with a file that is made of `pieces`: `begin`, `write` and `put` in one."""
        return self._tried(lambda: self._put(names, pieces, check))

    def _put(self, names: Names, what: NewFile | list[bytes], check: Check) -> bool:
        with self.beneath(names[:-1], make=True) as opened:
            file = what if isinstance(what, NewFile) else opened.new_file()
            try:
                if not isinstance(what, NewFile):
                    file.write([*what])
                    if self._sync:
                        os.fsync(file.fd)
                lock(opened.folder)
                current = _current(opened.folder, names[-1])
                check(current)
                if current.status is None:
                    file.link(opened.folder, names[-1])
                else:
                    file.replace(opened.folder, names[-1], opened.staging)
                self._synced(opened.folder)
            finally:
                if file is not what:
                    file.close()
            return current.status is None

    def put_all(
        self, folder: Names, files: list[tuple[str, NewFile]], check: Callable[[str, Current], None]
    ) -> None:
        """Give several files their names in one folder, which exists: all of them or none."""
        if self._sync:
            for _, file in files:
                os.fsync(file.fd)
        with self.beneath(folder) as opened:
            lock(opened.folder)
            found = {name: _current(opened.folder, name) for name, _ in files}
            for name, current in found.items():
                check(name, current)
            former = _Former(opened)
            try:
                for name, file in files:
                    if found[name].status is None:
                        file.link(opened.folder, name)
                        former.created.append(name)
                    else:
                        former.keep(name)
                        file.replace(opened.folder, name, opened.staging)
            except BaseException:
                former.restore()
                raise
            finally:
                former.close()
            self._synced(opened.folder)

    def _tried(self, put: Callable[[], bool]) -> bool:
        for _ in range(_TRIES):
            try:
                return put()
            except (FileExistsError, FileNotFoundError):
                continue  # another program has made the name, or removed a folder above
            except IsADirectoryError:
                raise Refused(409, "There is a folder of that name.") from None
        raise Refused(409, "What is there changes all the time.")

    def make_folder(self, names: Names, check: Check, *, makes_above: bool) -> None:
        """Make a folder, and those above if `makes_above`."""
        with self._above(names, make=makes_above) as opened:
            lock(opened.folder)
            current = _current(opened.folder, names[-1])
            check(current)
            if current.status is not None:
                raise Refused(405, "There is a file of that name.")
            os.mkdir(names[-1], dir_fd=opened.folder)
            self._synced(opened.folder)

    @contextlib.contextmanager
    def _above(self, names: Names, *, make: bool) -> Iterator[Opened]:
        try:
            with self.beneath(names[:-1], make=make) as opened:
                yield opened
        except FileNotFoundError:
            raise Refused(409, "The folder above is missing.") from None

    def delete(self, names: Names, check: Check) -> None:
        """Delete a file or an empty folder. `check` raises for what is missing."""
        with self.beneath(names[:-1]) as opened:
            lock(opened.folder)
            current = _current(opened.folder, names[-1])
            check(current)
            try:
                remove = os.rmdir if current.is_folder else os.unlink
                remove(names[-1], dir_fd=opened.folder)
            except OSError as error:
                if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise Refused(409, "The folder is not empty.") from None
                raise
            self._synced(opened.folder)

    def append(self, file: NewFile, pieces: list[bytes]) -> None:
        """Append `pieces` to a file, and now and then bring it to the disk."""
        size = sum(map(len, pieces))
        file.write(pieces)
        end = os.lseek(file.fd, 0, os.SEEK_CUR)
        if self._sync and end // SYNCED > (end - size) // SYNCED:
            getattr(os, "fdatasync", os.fsync)(file.fd)

    def free(self) -> int:
        """Return the bytes that are free on the root's file system."""
        status = os.statvfs(self._root)
        return status.f_bavail * status.f_frsize

    def sweep(self) -> None:
        """Remove the hidden files that killed processes left."""
        with contextlib.suppress(OSError, Refused), self.beneath((STAGING,)) as opened:
            for name in os.listdir(opened.folder):
                if name.startswith(HIDDEN_PREFIX):
                    remove_if_left(name, opened.folder)

    def _synced(self, folder: int) -> None:
        """Bring the names in a folder to the disk."""
        if self._sync:
            os.fsync(folder)

    def beneath(
        self, names: Names, *, make: bool = False, as_far_as_it_goes: bool = False
    ) -> Opened:
        """Open the folder called `names`. `make` makes what is missing of it."""
        try:
            opened = Opened(os.open(self._root, _FOLDER))
        except FileNotFoundError:
            raise Refused(503, "The folder of this site is not there.") from None
        try:
            for name in names:
                folder = opened.folder
                try:
                    below = os.open(name, _FOLDER | NO_LINK, dir_fd=folder)
                except FileNotFoundError:
                    if as_far_as_it_goes:
                        break
                    if not make:
                        raise
                    below = self._make_below(folder, name)
                except OSError as error:
                    if error.errno in {errno.ENOTDIR, errno.ELOOP}:
                        _refuse_as_folder(folder, name)
                    raise
                opened.folder = below
                if folder != opened.root:
                    os.close(folder)
        except BaseException:
            opened.close()
            raise
        return opened

    def _make_below(self, folder: int, name: str) -> int:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700 if name == STAGING else 0o777, dir_fd=folder)
            self._synced(folder)
        return os.open(name, _FOLDER | NO_LINK, dir_fd=folder)


class Opened:
    """The root and a folder below it, as descriptors, which the end of a `with` block closes."""

    __slots__ = ("folder", "root")

    def __init__(self, root: int) -> None:
        self.root = root
        self.folder = root

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close both."""
        if self.folder != self.root:
            os.close(self.folder)
        os.close(self.root)

    def new_file(self) -> NewFile:
        """Return a new file on the folder's file system."""
        if _HAS_NAMELESS:
            try:
                fd = os.open(".", _NAMELESS, 0o666, dir_fd=self.folder)
            except OSError as error:
                if error.errno not in _NO_NAMELESS:
                    raise
            else:
                return NewFile(fd)
        hidden, staging = hidden_name(), self.staging()
        try:
            fd = os.open(hidden, _HIDDEN, 0o666, dir_fd=staging)
        except BaseException:
            os.close(staging)
            raise
        lock(fd)
        return NewFile(fd, staging, hidden)

    def staging(self) -> int:
        """Open where files on this file system may have hidden names."""
        try:
            try:
                staging = os.open(STAGING, _FOLDER | NO_LINK, dir_fd=self.root)
            except FileNotFoundError:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(STAGING, 0o700, dir_fd=self.root)
                staging = os.open(STAGING, _FOLDER | NO_LINK, dir_fd=self.root)
        except PermissionError:
            return os.dup(self.folder)  # nothing may be made in the root
        except NotADirectoryError:
            _refuse_as_folder(self.root, STAGING)
            raise
        if os.fstat(staging).st_dev == os.fstat(self.folder).st_dev:
            return staging
        os.close(staging)
        return os.dup(self.folder)  # another file system is mounted here


class _Former:
    """What was in a folder before several names were changed, to take that back."""

    def __init__(self, opened: Opened) -> None:
        self.created: list[str] = []
        """Names that are new."""
        self._folder = opened.folder
        self._staging = opened.staging()
        self._kept: dict[str, str] = {}

    def keep(self, name: str) -> None:
        """Keep the file that is called `name` under a hidden one."""
        hidden = hidden_name()
        link(name, self._folder, hidden, self._staging)
        self._kept[name] = hidden

    def restore(self) -> None:
        """Bring back what was there, as far as the system lets us."""
        for name in self.created:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=self._folder)
        for name, hidden in self._kept.items():
            with contextlib.suppress(OSError):
                os.replace(hidden, name, src_dir_fd=self._staging, dst_dir_fd=self._folder)

    def close(self) -> None:
        """Let go of what was kept."""
        for hidden in self._kept.values():
            with contextlib.suppress(OSError):
                os.unlink(hidden, dir_fd=self._staging)
        os.close(self._staging)


def _current(folder: int, name: str) -> Current:
    current = Current(folder, name)
    if current.status is not None and not (current.is_file or current.is_folder):
        raise Refused(403, "What has that name is no plain file: it is left alone.")
    return current


def _refuse_as_folder(above: int, name: str) -> None:
    """Refuse a name in a path that is not that of a folder."""
    status = os.stat(name, dir_fd=above, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        raise Refused(403, "The path leads through a symbolic link, which is not followed here.")
    raise Refused(409, "There is a file in the place of a folder of that path.")
