"""Writing below a folder: files and folders are created, replaced and deleted in one step each.

Rules:
- Whole. A temporary file, without a name or with a hidden one, is written and then takes its place
  in one step, so no reader sees a part of it. With `sync`, the file and its name are on the disk
  before the call returns.
- Beneath. A path is opened from the root, one folder at a time, and no symlink is followed. Changes
  are made relative to the descriptor of the last folder, so swapping a folder above has no effect.
- One writer. The decision about a change (`check`) and the change itself are made while the folder
  is locked (flock). So of two changes the second sees the first, even in another process.

A hidden file that a killed process has left is not locked any more, and `sweep` removes it.

Limits: programs that do not take the lock may make changes in between; then the last change stays.
Where folders cannot be locked (some network file systems), the changes of several processes are not
ordered. Needs a system with openat and linkat: any POSIX.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from portico.site.dotfiles import STAGING
from portico.site.origin.etags import HASHED_UP_TO, tag_of, tag_of_large
from portico.site.origin.fingerprint import absolute
from portico.site.origin.new_file import (
    HIDDEN_PREFIX,
    NO_HARD_LINKS,
    NO_LINK,
    READ_FILE,
    NewFile,
    hidden_name,
    link,
    lock,
    remove_if_left,
)
from portico.site.target import encode_path

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
"""Bytes after which a file being written is synced, so that syncing it at the end is fast."""
_TRIES = 8
"""How often a change is tried while other programs remove its folder or create its name."""


class Refused(Exception):  # noqa: N818 (what the caller answers, not an error of ours)
    """The change is not made; `status` is that of the response, `detail` a sentence for people."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Current:
    """The present state of a name that is to be changed; its folder is locked."""

    __slots__ = ("_folder", "_name", "status")

    def __init__(self, folder: int | None, name: str) -> None:
        """`folder` is the descriptor of the folder; None if there is no such folder."""
        self._folder = folder
        self._name = name
        self.status: os.stat_result | None = None
        """The status of the file or folder, or of a symlink itself; None if there is none."""
        if folder is not None:
            with contextlib.suppress(FileNotFoundError):
                self.status = os.stat(name, dir_fd=folder, follow_symlinks=False)

    @property
    def is_file(self) -> bool:
        """Whether the name is that of a regular file."""
        return self.status is not None and stat.S_ISREG(self.status.st_mode)

    @property
    def is_folder(self) -> bool:
        """Whether the name is that of a folder."""
        return self.status is not None and stat.S_ISDIR(self.status.st_mode)

    def has_sibling(self, name: str) -> bool:
        """Return whether `name` exists in the same folder."""
        return Current(self._folder, name).status is not None

    def tag(self) -> str:
        """Return the entity tag of the file; see `tag_of_open`. Raises OSError."""
        fd = os.open(self._name, READ_FILE, dir_fd=self._folder)
        with open(fd, "rb") as file:
            return tag_of_open(file.fileno())


def tag_of_open(fd: int) -> str:
    """Return the entity tag of an open file, which is read unless it is large. Raises OSError."""
    from hashlib import sha256

    status = os.fstat(fd)
    if status.st_size > HASHED_UP_TO:
        return tag_of_large(status)
    return tag_of(sha256(os.pread(fd, HASHED_UP_TO + 1, 0)).digest())


class WritableFolder:
    """Changes files and folders below `root`.

    Calls wait for the disk, so only threads other than the event loop's may make them. Paths are
    names as in `target.path_names`, which the caller has checked. Calls raise Refused or OSError.
    """

    def __init__(self, root: str, *, sync: bool = True, base: Names = ()) -> None:
        """`base` is the path under which the folder is served. With `sync`, changes are durable."""
        self._root = os.path.join(absolute(root), "")
        self._sync = sync
        self._base = base

    def url_path(self, names: Names) -> str:
        """Return the path of the URL of the file or folder `names`."""
        return encode_path((*self._base, *names))

    def begin(self, names: Names) -> NewFile:
        """Return a temporary file, on the file system where the file `names` will be."""
        with self.beneath(names[:-1], as_far_as_it_goes=True) as opened:
            return opened.new_file()

    def look(self, names: Names, check: Check) -> None:
        """Call `check` with the present state of `names`, without changing anything."""
        try:
            with self.beneath(names[:-1]) as opened:
                lock(opened.folder)
                check(_current(opened.folder, names[-1]))
        except FileNotFoundError:
            check(Current(None, names[-1]))

    def check_folder(self, names: Names) -> None:
        """Raise Refused(404) unless the folder `names` exists."""
        try:
            with self.beneath(names):
                return
        except FileNotFoundError:
            raise Refused(404, "There is no folder of that name.") from None

    def put(self, names: Names, file: NewFile, check: Check) -> bool:
        """Put a temporary file at the path `names`; return whether the file is new.

        Folders above are created as needed. `check` is called with the present state of the name,
        and raises Refused to prevent the change.
        """
        if self._sync:
            os.fsync(file.fd)
        return self._tried(lambda: self._put(names, file, check))

    def put_octets(self, names: Names, pieces: list[bytes], check: Check) -> bool:
        """Do `begin`, `write` and `put` in one call, for a file with the content `pieces`."""
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
        """Give all files their names in `folder`, which exists, or none of them."""
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
                continue  # another program has created the name, or removed a folder above
            except IsADirectoryError:
                raise Refused(409, "There is a folder of that name.") from None
        raise Refused(409, "What is there changes all the time.")

    def make_folder(self, names: Names, check: Check, *, makes_above: bool) -> None:
        """Create a folder; with `makes_above`, also missing folders above it."""
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
        """Delete a file or an empty folder. `check` raises Refused if there is neither."""
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
        """Append `pieces` to a temporary file; with `sync`, sync it after every SYNCED bytes."""
        size = sum(map(len, pieces))
        file.write(pieces)
        end = os.lseek(file.fd, 0, os.SEEK_CUR)
        if self._sync and end // SYNCED > (end - size) // SYNCED:
            getattr(os, "fdatasync", os.fsync)(file.fd)

    def free(self) -> int:
        """Return the number of bytes that are free on the root's file system."""
        try:
            status = os.statvfs(self._root)
        except FileNotFoundError:
            raise _no_root() from None
        return status.f_bavail * status.f_frsize

    def sweep(self) -> None:
        """Remove the hidden files that killed processes have left in the staging folder."""
        with contextlib.suppress(OSError, Refused), self.beneath((STAGING,)) as opened:
            for name in os.listdir(opened.folder):
                if name.startswith(HIDDEN_PREFIX):
                    remove_if_left(name, opened.folder)

    def _synced(self, folder: int) -> None:
        """Write the names in a folder to the disk, with `sync`."""
        if self._sync:
            os.fsync(folder)

    def beneath(
        self, names: Names, *, make: bool = False, as_far_as_it_goes: bool = False
    ) -> Opened:
        """Open the folder `names`. With `make`, missing folders are created.

        With `as_far_as_it_goes`, opens the last folder of the path that exists.
        """
        try:
            opened = Opened(os.open(self._root, _FOLDER))
        except FileNotFoundError:
            raise _no_root() from None
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
    """Descriptors of the root and of a folder below it; the end of a `with` block closes them."""

    __slots__ = ("folder", "root")

    def __init__(self, root: int) -> None:
        self.root = root
        self.folder = root

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close both descriptors."""
        if self.folder != self.root:
            os.close(self.folder)
        os.close(self.root)

    def new_file(self) -> NewFile:
        """Return a temporary file on the folder's file system."""
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
        """Open a folder for hidden names, on the same file system; return its descriptor."""
        try:
            try:
                staging = os.open(STAGING, _FOLDER | NO_LINK, dir_fd=self.root)
            except FileNotFoundError:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(STAGING, 0o700, dir_fd=self.root)
                staging = os.open(STAGING, _FOLDER | NO_LINK, dir_fd=self.root)
        except PermissionError:
            return os.dup(self.folder)  # the staging folder may not be created or opened
        except NotADirectoryError:
            _refuse_as_folder(self.root, STAGING)
            raise
        if os.fstat(staging).st_dev == os.fstat(self.folder).st_dev:
            return staging
        os.close(staging)
        return os.dup(self.folder)  # the folder is on another file system than the root


class _Former:
    """The files that a folder had before several names were changed, to undo the changes."""

    def __init__(self, opened: Opened) -> None:
        self.created: list[str] = []
        """Names that did not exist before."""
        self._folder = opened.folder
        self._staging = opened.staging()
        self._kept: dict[str, str] = {}

    def keep(self, name: str) -> None:
        """Keep the file called `name`, which will be replaced, under a hidden name."""
        hidden = self._kept[name] = hidden_name()
        try:
            link(name, self._folder, hidden, self._staging)
        except OSError as error:
            if error.errno not in NO_HARD_LINKS:
                raise
            self._copy(name, hidden)

    def _copy(self, name: str, hidden: str) -> None:
        import shutil

        with (
            open(os.open(name, READ_FILE, dir_fd=self._folder), "rb") as old,
            open(os.open(hidden, _HIDDEN, 0o666, dir_fd=self._staging), "wb") as new,
        ):
            shutil.copyfileobj(old, new)

    def restore(self) -> None:
        """Undo the changes, as far as the system permits."""
        for name in self.created:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=self._folder)
        for name, hidden in self._kept.items():
            with contextlib.suppress(OSError):
                os.replace(hidden, name, src_dir_fd=self._staging, dst_dir_fd=self._folder)

    def close(self) -> None:
        """Delete the hidden names, and close the staging folder."""
        for hidden in self._kept.values():
            with contextlib.suppress(OSError):
                os.unlink(hidden, dir_fd=self._staging)
        os.close(self._staging)


def _current(folder: int, name: str) -> Current:
    current = Current(folder, name)
    if current.status is not None and not (current.is_file or current.is_folder):
        raise Refused(403, "What has that name is no plain file: it is left alone.")
    return current


def _no_root() -> Refused:
    return Refused(503, "The folder of this site is not there.")


def _refuse_as_folder(above: int, name: str) -> None:
    """Raise Refused for `name`, which is in the place of a folder but is none."""
    status = os.stat(name, dir_fd=above, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        raise Refused(403, "The path leads through a symbolic link, which is not followed here.")
    raise Refused(409, "There is a file in the place of a folder of that path.")
