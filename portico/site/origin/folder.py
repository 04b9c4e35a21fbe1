"""The folder on disk as an origin: containment, index files, whole reads, shared descriptors.

Rules:
- Check what you send. A path is opened first; then the descriptor, not the path, is asked where it
  really lies and what it is. So a symlink may lead anywhere within the root, and one that is
  swapped between two looks gains nothing.
- Whole. A small file is read between two equal fingerprints, and twice while it is young; one that
  is read when it is sent, before a look at its path. A large one is sent from a descriptor whose
  fingerprint is compared again before the last piece (`OpenFile.changed`). What is disturbed while
  it is looked up is looked up again.
- A coded sibling (`page.html.br`) counts as one only while it is no older than its original.
- Nothing but regular files and folders is ever opened, so no FIFO or device can hold the server up.

Limits: those of a fingerprint (see `stat`). And a large file that is opened in the middle of a
write in place may be sent half old, half new, since the write has left its stamp before; so may a
small one, once, if the system stops the writer within a write for as long as the two reads take.
To be safe, write elsewhere and rename.
"""

from __future__ import annotations

import errno
import os
import stat
from functools import partial
from typing import TYPE_CHECKING

from portico.bounded import BoundedCache
from portico.site.compression.encoders import SUFFIXES
from portico.site.origin.etags import Digests
from portico.site.origin.freshness import Dependency, Freshness
from portico.site.origin.open_file import FileSlice, OpenFile, open_file
from portico.site.origin.protocol import (
    Directory,
    Entry,
    Failed,
    File,
    Found,
    Missing,
    Precompressed,
    SlashRedirect,
    tag_of,
)
from portico.site.origin.stat import (
    Disturbed,
    FolderDependency,
    PathDependency,
    fingerprint,
    is_settled,
    real_path,
    status_of,
)
from portico.site.pages.entries import Reading
from portico.site.rules import rulebook
from portico.site.target import is_safe

if TYPE_CHECKING:
    from portico.site.origin.protocol import Submit

TINY = 2048
"""Octets up to which a file is kept in memory. Above, it is read when it is sent: that costs hardly
more, since the system has it in memory already."""
SMALL = 65536
"""Octets up to which a file is hashed, and sent, in one piece. Above, sendfile costs less."""
_TRIES = 32
"""Looks at a path before we give up, because what it leads to changes during each of them."""
_DOUBTS = 2
"""Looks that find a path outside of the root before we believe it."""
OPEN_FILES = 64
"""Descriptors of files kept open for reuse, unless more are granted."""
_OVERHEAD = 1024
"""About the octets of memory that a kept file takes besides its content."""
_PLACES = 1024
"""Folders whose dependencies are shared by the files in them."""

# O_NONBLOCK: if a FIFO or a device took the regular file's place just now, do not wait in open().
OPENING = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)

_INDEX = "index.html"
_CODED = tuple(SUFFIXES.values())


class Folder:
    """Serves the files below one folder; implements `origin.Origin`.

    `memory` is the number of octets that kept files may take, `open_files` how many of them may be
    open. `submit` takes the work of hashing large files; without it they are not hashed, which is
    enough for a single look. `freshness` is shared with all that depends on this folder. With
    `may_wait` a look-up reads, however long it takes; else it raises Waiting (see `open_file`).
    """

    def __init__(
        self,
        root: str,
        memory: int,
        submit: Submit | None = None,
        open_files: int = OPEN_FILES,
        freshness: Freshness | None = None,
    ) -> None:
        self.may_wait = True
        self.freshness = freshness or Freshness()
        # As it was named, not where its symlinks lead today: "current" may lead to the next
        # release. And not abspath(), which takes "link/.." for "." where the system follows link.
        self._below = os.path.join(os.getcwd(), root, "")
        self._real, self._root = os.path.realpath(self._below), (0, 0)
        if os.path.normpath(self._below) == self._real:
            self._below = os.path.join(self._real, "")  # so both spell a folder in the same way
        self._doubts = 0
        self._tiny: BoundedCache[str, File] = BoundedCache(memory // 2, _weight)
        self._open: BoundedCache[str, File] = BoundedCache(
            min(open_files, memory // 2 // _OVERHEAD)
        )
        self._places: BoundedCache[str, FolderDependency] = BoundedCache(_PLACES)
        self._digests = Digests(submit)

    def look_up(self, names: tuple[str, ...]) -> Found:  # noqa: PLR0911 (outcomes)
        """What the path of `names` stands for: see `origin`."""
        if "" in names[:-1]:
            return Missing((), in_folder=False)
        path, file = self.paths(names)
        for memory in (self._tiny, self._open):
            known = memory.get(file)
            if known is not None:
                if self.freshness.holds(known.dependencies):
                    return known
                memory.drop(file)  # or it would be kept open for as long as it is asked for
        self._doubts = _DOUBTS
        for _ in range(_TRIES):
            try:
                return self._look(names, path, file)
            except Disturbed:
                continue
            except OSError as error:
                if (status := status_of(error)) == 404:
                    return Missing((PathDependency(path, None, self.freshness),))
                self.expire()  # perhaps it was for want of the descriptors kept here
                return Failed(status)
            except ValueError:  # no name of this system, such as one with a lone surrogate
                return Missing(None)
        return Failed(503)

    def paths(self, names: tuple[str, ...]) -> tuple[str, str]:
        """What the path of `names` is called on the disk, and the file that is looked for there."""
        path = self._below + os.sep.join(names)
        return path, path + _INDEX if names[-1] == "" else path

    def _look(self, names: tuple[str, ...], path: str, file: str) -> Found:
        """The file itself, or it coded, or the folder at `path`, if that ends with a slash."""
        if file != path:
            names = (*names[:-1], _INDEX)
        try:
            status = os.stat(file)
        except OSError as error:
            if status_of(error) != 404:
                raise
            found: Found = self._nothing(file, names)
            is_file = isinstance(found, Precompressed) or not isinstance(error, FileNotFoundError)
        else:
            found = self._found(file, names, status)
            is_file = isinstance(found, File)
        return found if is_file or file == path else Directory(self._entries(path))

    @property
    def real_path(self) -> str:
        """Where the folder really lies."""
        return self._real

    def expire(self) -> None:
        """Let go of what was not used since the last call, so that no deleted file is kept open."""
        self._open.rotate()

    def _found(self, path: str, names: tuple[str, ...], status: os.stat_result) -> Found:
        """Open, ask the descriptor where it lies, read, and look whether all stood still."""
        if stat.S_ISDIR(status.st_mode) and self._contains(os.path.realpath(path)):
            return SlashRedirect((PathDependency(path, status, self.freshness),))
        if not stat.S_ISREG(status.st_mode):
            return Missing(None)
        file, status = open_file(path, OPENING, self.freshness)
        file.may_wait = self.may_wait
        real = real_path(file.fd, path)
        if not stat.S_ISREG(status.st_mode) or not self._contains(real):
            return Missing(None)
        places = self._places_above(real, path)
        content = FileSlice(file, 0, status.st_size)
        found = File(names[-1], status.st_size, status.st_mtime, content, None)
        found.names = names
        if status.st_size <= SMALL:
            self._read_small(found, file, status)
            file.dependency.confirm()  # what was read is of the state that was looked at
        found.codings, siblings = self._siblings(path, status.st_mtime_ns)
        found.dependencies = (file.dependency, *places, *siblings)
        if status.st_size > SMALL:
            self._digests.identify(found, file, status)
        memory = self._open if found.content is content else self._tiny
        memory.put(path, found)
        return found

    def _read_small(self, found: File, file: OpenFile, status: os.stat_result) -> None:
        """Give a small file its tag, and its content if that is tiny, or may be in the making."""
        digest = self._digests.recall(status)
        if digest is None or found.size <= TINY:
            content = _read_whole(file, status)
            digest = digest or self._digests.of_octets(content, status)
            if found.size <= TINY or not is_settled(status):
                found.content = content
        found.digest, found.etag = digest, tag_of(digest)

    def _nothing(self, path: str, names: tuple[str, ...]) -> Missing | Precompressed:
        """Nothing is at `path`: what tells when that changes, and whether it lies there coded."""
        folder = os.path.dirname(path)
        try:
            place = self._place(folder)
        except Disturbed:
            place = PathDependency(folder, os.stat(folder), self.freshness)
        except OSError as error:
            if status_of(error) != 404:
                raise
            return Missing((PathDependency(folder, None, self.freshness),), in_folder=False)
        codings, siblings = self._siblings(path, None)
        # What leads out is missing, whichever coding the client takes.
        codings = tuple(
            [each for each in codings if self._contains(os.path.realpath(path + SUFFIXES[each]))]
        )
        dependencies: tuple[Dependency, ...] = (place, *siblings)
        if os.path.lexists(path):
            if os.path.exists(path):
                raise Disturbed  # it came just now
            # A symlink that leads nowhere yet.
            dependencies = (*dependencies, PathDependency(path, None, self.freshness))
        return Precompressed(names, codings, dependencies) if codings else Missing(dependencies)

    def _siblings(
        self, path: str, modified_ns: int | None
    ) -> tuple[tuple[str, ...], list[PathDependency]]:
        """The codings in which the file at `path` lies beside itself, and what they rest on.

        One that is older than `modified_ns` was made from something else.
        """
        codings, dependencies = [], []
        if not path.endswith(_CODED):
            for coding, suffix in SUFFIXES.items():
                if not os.path.lexists(path + suffix):
                    continue
                try:
                    status = os.stat(path + suffix)
                except OSError:  # a symlink to nowhere yet
                    dependencies.append(PathDependency(path + suffix, None, self.freshness))
                    continue
                dependencies.append(PathDependency(path + suffix, status, self.freshness))
                is_file = stat.S_ISREG(status.st_mode)
                if is_file and (modified_ns is None or status.st_mtime_ns >= modified_ns):
                    codings.append(coding)
        return tuple(codings), dependencies

    def _places_above(self, real: str, path: str) -> list[Dependency]:
        """The folders from the root to what lies at the real path `real`, as dependencies."""
        folder = beside = os.path.dirname(real)
        places = [self._place(folder)]
        while len(folder) > len(self._real):
            folder = os.path.dirname(folder)
            places.append(self._place(folder))
        named = os.path.dirname(path)
        if named != beside:  # by a symlink: siblings are looked for beside the name
            places.append(PathDependency(named, os.stat(named), self.freshness))
        return places

    def _place(self, folder: str) -> Dependency:
        """The folder as a dependency, shared by all in it. Raises Disturbed for a link."""
        place = self._places.get(folder)
        if place is None or not place.holds():
            place = FolderDependency(folder, self.freshness)
            self._places.put(folder, place)
        return place

    def _entries(self, path: str) -> Reading:
        """What may be served of the folder at `path`, to be read through a checked descriptor."""
        fd = os.open(path, OPENING | getattr(os, "O_DIRECTORY", 0))
        try:
            if not self._contains(real_path(fd, path)):
                raise FileNotFoundError(errno.ENOENT, "outside of the root")
            reading = Reading(fd, path, partial(self._entry, path))
            fd = -1
        finally:
            if fd >= 0:
                os.close(fd)
        return reading

    def _entry(self, folder: str, name: os.DirEntry[str]) -> Entry | None:
        """One line of a listing; None for what would not be served."""
        if name.name.startswith(".") or not is_safe(name.name):
            return None
        if folder == self._below and rulebook.is_rules_file((name.name,)):
            return None
        try:
            if name.is_symlink():
                self._doubts = 0  # the entries are read once, after the look-up
                if not self._contains(os.path.realpath(os.path.join(folder, name.name))):
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


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))


def _read_whole(file: OpenFile, status: os.stat_result) -> bytes:
    """A small file's content, never a mixture of two.

    Raises Disturbed for a file that did not stand still.
    """
    content = file.read_now(SMALL + 1, 0)
    # A write that is under way has left its stamp already; only the content shows it.
    if not is_settled(status) and file.read_now(SMALL + 1, 0) != content:
        raise Disturbed
    if fingerprint(os.fstat(file.fd)) != fingerprint(status) or len(content) != status.st_size:
        raise Disturbed
    return content


def _weight(path: str, file: File) -> int:
    """About the octets of memory that a kept file takes."""
    return len(path) + len(file.content) + _OVERHEAD
