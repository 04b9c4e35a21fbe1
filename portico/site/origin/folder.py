"""A folder on disk as an origin: containment, index files, whole reads, shared descriptors.

Rules:
- Contained. A path is opened first; then its descriptor, not the path, tells where the file lies
  and of what type it is. So a symlink may lead anywhere within the root, and an attacker gains
  nothing by replacing a symlink between check and use.
- Whole. A small file is read between two equal fingerprints, and twice if it has just changed;
  after a later read, its path is checked again (`OpenFile.read`). A large file is sent from a
  descriptor, whose fingerprint is compared again before the last piece (`OpenFile.changed`); the
  file may have grown. If anything changes during a look-up, the look-up is repeated.
- A precompressed sibling (`page.html.br`) is used only if it is no older than its original.
- A FIFO or a device cannot block the server: only regular files and folders are opened.

Limits: those of fingerprints (see `fingerprint`). A large file that is opened during a write in
place may be sent half old, half new, because the write has already set the time stamps; so may a
small file, once, if the system pauses the writer during a write for the time of both reads. To be
safe, write to another name and rename.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import closing
from itertools import chain, islice
from typing import TYPE_CHECKING

from portico.bounded import BoundedCache
from portico.budget import Postponed
from portico.http.content import Octets
from portico.site.compression.encoders import SUFFIXES
from portico.site.origin.aliases import are_listed, may_be_alias
from portico.site.origin.entries import FOLDER, WHOLE, Reader
from portico.site.origin.etags import HASHED_UP_TO, Digests, tag_of, tag_of_large
from portico.site.origin.fingerprint import (
    Disturbed,
    FolderDependency,
    PathDependency,
    absolute,
    is_below,
    is_settled,
    real_path,
    status_of,
)
from portico.site.origin.freshness import NEVER, Dependencies, Dependency, Freshness, merge
from portico.site.origin.known_names import UNKNOWN, KnownNames, Names
from portico.site.origin.mounts import RemoteMounts
from portico.site.origin.open_file import OPENING, FileSlice, OpenFile, Waiting, open_file
from portico.site.origin.protocol import (
    Directory,
    Entry,
    Failed,
    File,
    Found,
    Missing,
    Precompressed,
    SlashRedirect,
)
from portico.site.rules import rulebook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from portico.budget import Budget
    from portico.config.config import Config

SMALL = 65536
"""Bytes; files up to this size are read into memory, for larger ones sendfile costs less."""
_SETTLING_SECONDS = 0.1
"""How long a thread waits for the fingerprint of a file to settle before it hashes the file."""
_HASHES = 2
"""Most times that a file is hashed in one look-up, if it changes meanwhile."""
_TRIES = 32
"""Attempts of one look-up, if something at the path changes during each, before 503."""
_DOUBTS = 2
"""Times that a look-up is repeated because the path seems to lead out of the root."""
OPEN_FILES = 64
"""Default number of files kept open for reuse."""
_OVERHEAD = 1024
"""Approximate bytes of memory that a kept file takes besides its content."""
_FEW_NAMES = 256
"""Most names of a remote folder that are read to find siblings; in larger ones, each is tested."""
_FOLDERS = 1024
"""Most folders whose dependencies are kept, to be shared by the files in them."""
_BYTES_PER_NAME = 16
"""`KnownNames` keeps one name per so many bytes of `memory`. At 4 bytes each, that is a quarter."""

INDEX = "index.html"
_CODED = tuple(SUFFIXES.values())


def index_names(index: str) -> tuple[str, ...]:
    """Return the names of index files, the preferred one first, for the option `index`."""
    return (INDEX, "index.htm") if index == INDEX else (index,)


class Folder:
    """Serves the files below `config.root`; implements `protocol.Origin`.

    If the root is a file, it is served as if it were the only one in its folder.

    `memory` limits the bytes of kept files, `open_files` the number of open ones. With `may_wait` a
    look-up waits for the disk; without it `look_up` raises Waiting instead. `budget` limits the
    time for listings. `is_lost` is called when permission is denied: it returns whether the sandbox
    denies the whole root, until the next turn of the loop. `like` is another Folder of the same
    root, whose digests and table of mounts this one uses.
    """

    def __init__(
        self,
        config: Config,
        memory: int,
        open_files: int = OPEN_FILES,
        *,
        may_wait: bool = True,
        budget: Budget | None = None,
        is_lost: Callable[[], bool] | None = None,
        like: Folder | None = None,
    ) -> None:
        self.freshness = Freshness(budget)
        self._may_wait = may_wait
        self._indexes = index_names(config.index)
        self._is_lost = is_lost
        self._hidden = config.hidden
        self._only = ""  # the name of the file that is served alone
        root = config.root
        if os.path.isfile(root):
            root, self._only = os.path.split(os.path.realpath(root))
        # The path as given, symlinks included: "current" may lead to another release later.
        self._below = os.path.join(absolute(root), "")
        self._root = (0, 0)
        self._listed: dict[str, frozenset[str] | None] = {}  # see _paths_in
        self._root_checked = self._listed_in = NEVER  # rounds of the last check and listing
        self.real_path = os.path.realpath(self._below)
        """The path of the root with its symlinks resolved."""
        if os.path.normpath(self._below) == self.real_path:
            self._below = os.path.join(self.real_path, "")  # the same spelling for both
        self._real_below = os.path.join(self.real_path, "")
        self._doubts = self._hashes_left = 0
        self._small: BoundedCache[str, File] = BoundedCache(memory // 2, _weight)
        open_files = min(open_files, memory // 2 // _OVERHEAD)
        self._open: BoundedCache[str, File] = BoundedCache(open_files)
        self._folders: BoundedCache[str, FolderDependency] = BoundedCache(_FOLDERS)
        # By the real path of a folder: the dependencies of it and of those above, up to the root.
        self._paths_to: BoundedCache[str, tuple[Dependency, ...]] = BoundedCache(_FOLDERS)
        self._names = KnownNames(memory // _BYTES_PER_NAME)
        self.digests: Digests = Digests() if like is None else like.digests
        self.mounts: RemoteMounts = RemoteMounts(self.real_path) if like is None else like.mounts
        """The remote file systems at and below the root."""

    def look_up(self, names: tuple[str, ...]) -> Found:
        """Implements `Origin.look_up`. Raises Waiting or Postponed."""
        if "" in names[:-1]:
            return Missing((), in_folder=False)
        if self._only and names != (self._only,):
            if names == ("",):
                return Directory(self._only_entry())
            return Missing((), in_folder=len(names) == 1)
        place = self.mounts.place_of(names)
        if place is not None and not self._may_wait:
            raise Waiting(place)
        found = self._find(names)
        if may_be_alias(names) and not isinstance(found, Missing | Failed):
            if not self._may_wait:
                raise Waiting(self._root[0])
            if not are_listed(self._below, names):
                return Missing(None)
        if place is not None and not isinstance(found, Failed):
            found.dependencies = None  # a check would be another access
        return found

    def _find(self, names: tuple[str, ...]) -> Found:  # noqa: PLR0911 (one for each outcome)
        """Look up `names`, again if something changes meanwhile. Raises Waiting or Postponed."""
        path = self._below + os.sep.join(names)
        if (known := self._known(path if names[-1] else path + self._indexes[0])) is not None:
            return known
        self._doubts, self._hashes_left = _DOUBTS, _HASHES
        for _ in range(_TRIES):
            try:
                return self._look(names, path)
            except Disturbed:
                continue
            except OSError as error:
                if (status := status_of(error)) == 404:
                    return Missing((PathDependency(path, None, self.freshness),))
                if status == 403 and not self._leads_inside(path):
                    return Missing(None)
                if status == 403 and self._is_lost is not None and self._is_lost():
                    if not self._may_wait:
                        raise Postponed from None  # the next turn may read the root
                    status = 503
                self.expire()  # frees descriptors, in case there were none left
                return Failed(status, error.with_traceback(None))  # frames hold open files
            except ValueError:  # no valid name on this system, such as one with a lone surrogate
                return Missing(None)
        return Failed(503)

    def _known(self, path: str) -> File | None:
        """Return the kept file for `path` if it has not changed, else None."""
        known = self._small.get(path) or self._open.get(path)
        if known is None or self.freshness.holds(known.dependencies):
            return known
        self._small.drop(path)
        self._open.drop(path)  # or it would stay open as long as it is requested
        return None

    def expire(self) -> None:
        """Close files not used since the last call, so that no deleted file stays open."""
        self._open.rotate()
        self._names.give_up()

    def _look(self, names: tuple[str, ...], path: str) -> Found:
        """Look at `path` once; if it ends with a slash, at the index files, then the folder."""
        if names[-1] != "":
            return self._look_at(path, names)[0]
        dependencies: Dependencies = ()
        for index in self._indexes:
            if index != self._indexes[0] and self._is_known_to_lack(path + index):
                continue
            found, is_final = self._look_at(path + index, (*names[:-1], index))
            dependencies = merge(dependencies, found.dependencies)
            if isinstance(found, File | Precompressed):
                return found if index == self._indexes[0] else found.depending_on(dependencies)
            if is_final:
                return found
        if not self._may_wait and (place := self.mounts.place_in((*names[:-1], ""))) is not None:
            raise Waiting(place)
        return self._directory(path, dependencies)

    def _look_at(self, path: str, names: tuple[str, ...]) -> tuple[Found, bool]:  # noqa: C901, PLR0911
        """Return what is at `path`, and True if the system says that its folder is no folder."""
        is_remote = bool(self.mounts.places) and self.mounts.place_of(names) is not None
        beside = UNKNOWN
        known = None if is_remote else self._folders.get(_parent(path))
        if known is not None and (known.checked == self.freshness.round or known.holds()):
            beside = self._names.of(known)
        if beside.lack(names[-1]):
            if known is not None and not beside.may_be_coded:
                return Missing((known,)), False
            return self._absent(path, names, beside, is_remote=is_remote), False
        if not beside.have_file(names[-1]):
            try:
                status = os.stat(path)
            except OSError as error:
                if status_of(error) != 404:
                    raise
                is_final = not isinstance(error, FileNotFoundError)
                return self._absent(path, names, beside, is_remote=is_remote), is_final
            if stat.S_ISDIR(status.st_mode) and self._contains(real := os.path.realpath(path)):
                folder = PathDependency(path, status, self.freshness)
                above = [] if is_remote else self._folders_above(real, path)
                return SlashRedirect((folder, *above)), False
            if not stat.S_ISREG(status.st_mode):
                return Missing(None), False
        try:
            return self._present(path, names, beside, is_remote=is_remote), False
        except PermissionError:  # by the sandbox, if a symlink leads out
            if not self._leads_inside(path):
                return Missing(None), False
            raise

    def _present(
        self, path: str, names: tuple[str, ...], beside: Names, *, is_remote: bool
    ) -> Found:
        """Open a file, check by its descriptor where it lies, and read it. Raises Disturbed."""
        file, status = open_file(
            path, OPENING, self.freshness, may_wait=self._may_wait, is_remote=is_remote
        )
        real = real_path(file.fd, path)
        if not stat.S_ISREG(status.st_mode) or not self._contains(real):
            return Missing(None)
        is_forgotten = is_remote and not rulebook.is_rules_file(names)
        folders = () if is_forgotten else self._folders_above(real, path)
        size, digest = status.st_size, None
        content: Octets | FileSlice
        if size <= SMALL:
            content = Octets(file.read_whole(status))
            digest = self.digests.of_octets(content, status)
        else:
            content = FileSlice(file, 0, size)
            if size <= HASHED_UP_TO:
                digest = self.digests.recall(status) or self._hash(file, status)
        found = File(names[-1], size, status.st_mtime, content, None)
        found.names = names
        found.digest = digest
        found.etag = tag_of_large(status) if digest is None else tag_of(digest)
        found.codings, siblings = self._siblings(
            path, names, status.st_mtime_ns, beside, is_remote=is_remote
        )
        if is_forgotten:
            return found
        found.dependencies = (file.dependency, *folders, *siblings)
        memory = self._small if size <= SMALL else self._open
        memory.put(path, found)
        return found

    def _hash(self, file: OpenFile, status: os.stat_result) -> bytes | None:
        """Return the digest of a file above SMALL; None if it was changing during _HASHES tries.

        Raises Waiting, or Disturbed if the file changes meanwhile.
        """
        if not self._may_wait:
            raise Waiting(file.place)
        if not self._hashes_left:
            return None
        self._hashes_left -= 1
        end = time.monotonic() + _SETTLING_SECONDS
        while not is_settled(status) and time.monotonic() < end:
            time.sleep(0.01)  # until every later change will change the fingerprint
        return self.digests.of_file(file, status)

    def _absent(
        self, path: str, names: tuple[str, ...], beside: Names, *, is_remote: bool
    ) -> Missing | Precompressed:
        """Return what to answer if nothing is at `path`, with dependencies that show a change."""
        folder = _parent(path)
        dependencies: Dependencies = None
        try:
            if not is_remote or rulebook.is_rules_file(names):
                dependencies = (self._folder(folder),)
            else:
                self._paths_in(folder)  # raises if there is no such folder
        except Disturbed:
            dependencies = (PathDependency(folder, os.stat(folder), self.freshness),)
        except OSError as error:
            if status_of(error) != 404:
                raise
            if not is_remote:
                dependencies = (PathDependency(folder, None, self.freshness),)
            return Missing(dependencies, in_folder=False)
        codings, siblings = self._siblings(path, names, None, beside, is_remote=is_remote)
        # A sibling outside the root must look missing, whatever codings the client accepts.
        codings = tuple(
            [each for each in codings if self._contains(os.path.realpath(path + SUFFIXES[each]))]
        )
        dependencies = merge(dependencies, tuple(siblings))
        if dependencies is not None and not beside.lack(names[-1]) and os.path.lexists(path):
            if os.path.exists(path):
                raise Disturbed  # a file has just appeared
            # A symlink whose target does not exist yet.
            dependencies = (*dependencies, PathDependency(path, None, self.freshness))
        return Precompressed(names, codings, dependencies) if codings else Missing(dependencies)

    def _siblings(
        self,
        path: str,
        names: tuple[str, ...],
        modified_ns: int | None,
        beside: Names,
        *,
        is_remote: bool,
    ) -> tuple[tuple[str, ...], list[PathDependency]]:
        """Return the codings of the siblings of the file at `path`, and their dependencies.

        A sibling older than `modified_ns` does not count: its original has changed since.
        """
        codings, dependencies = [], []
        is_alone = not beside.may_be_coded or bool(self._only) or path.endswith(_CODED)
        if not is_alone and not rulebook.is_rules_file(names):
            paths = self._paths_in(os.path.dirname(path)) if is_remote else None
            exists = os.path.lexists if paths is None else paths.__contains__
            for coding, suffix in SUFFIXES.items():
                if beside.lack(names[-1] + suffix) or not exists(path + suffix):
                    continue
                try:
                    status = os.stat(path + suffix)
                except OSError:  # a symlink whose target does not exist yet
                    status = None
                dependencies.append(PathDependency(path + suffix, status, self.freshness))
                if status is None or not stat.S_ISREG(status.st_mode):
                    continue
                if modified_ns is None or status.st_mtime_ns >= modified_ns:
                    codings.append(coding)
        return tuple(codings), dependencies

    def _is_known_to_lack(self, path: str) -> bool:
        """Return whether a remote folder was listed in this round and does not have `path`."""
        known = self._listed.get(_parent(path)) if self._listed_in == self.freshness.round else None
        return known is not None and path not in known

    def _paths_in(self, folder: str) -> frozenset[str] | None:
        """Return the paths in a remote folder; None if too many or unreadable. Raises OSError.

        The folder is read once per round, which takes less time than to test for each sibling.
        """
        if self._listed_in != self.freshness.round:
            self._listed_in = self.freshness.round
            self._listed = {}
        if folder not in self._listed:
            try:
                with closing(os.scandir(folder)) as entries:
                    paths = frozenset([each.path for each in islice(entries, _FEW_NAMES + 1)])
            except PermissionError:
                self._listed[folder] = None
            else:
                self._listed[folder] = paths if len(paths) <= _FEW_NAMES else None
        return self._listed[folder]

    def _folders_above(self, real: str, path: str) -> tuple[Dependency, ...]:
        """Return, as dependencies, the folders from the root down to the real path `real`."""
        parent = _parent(real)
        named = parent if real == path else _parent(path)
        folders = self._paths_to.get(parent)
        if folders is None or not self.freshness.holds(folders):
            folders = self._path_to(parent)
            self._paths_to.put(parent, folders)
        if named == parent:
            return folders
        # A symlink: siblings are beside the symlink, so its folder counts, too.
        return (*folders, PathDependency(named, os.stat(named), self.freshness))

    def _path_to(self, folder: str) -> tuple[Dependency, ...]:
        """Return, as dependencies, the folder at a real path and those above, up to the root."""
        folders = [self._folder(folder)]
        while len(folder) > len(self.real_path):
            folder = os.path.dirname(folder)
            folders.append(self._folder(folder))
        return tuple(folders)

    def _folder(self, path: str) -> Dependency:
        """Return a folder as a dependency, shared by all files in it. Raises Disturbed."""
        known = self._folders.get(path)
        if known is None or not known.holds():
            known = FolderDependency(path, self.freshness)
            self._folders.put(path, known)
        return known

    def _directory(self, path: str, dependencies: Dependencies) -> Directory:
        """Return the listing of the folder at `path`, after a check of its descriptor.

        `dependencies` show when an index file appears in it. Raises Postponed or OSError.
        """
        budget = self.freshness.budget
        budget.check()
        folder, status = open_file(path, FOLDER, self.freshness, may_wait=self._may_wait)
        real = real_path(folder.fd, path)
        if not self._contains(real):
            raise FileNotFoundError(errno.ENOENT, "outside of the root")
        reader = Reader(path, self._leads_inside, is_root=path == self._below, hidden=self._hidden)
        with budget:
            names = reader.names(folder, status.st_nlink)
            first = list(islice(names, WHOLE))
            if len(first) == WHOLE:
                entries = reader.entries(folder, chain(first, names))
                found = Directory(iter(list(entries)) if self._may_wait else entries, is_long=True)
            else:
                above = self._folders_above(os.path.join(real, INDEX), path + INDEX)
                read, dependency = reader.read(folder, first, self.freshness)
                found = Directory(iter(read))
                dependencies = merge((folder.dependency, *above), dependencies)
                found.dependencies = merge(dependencies, (dependency,))
        return found

    def _only_entry(self) -> Iterator[Entry]:
        """Yield the only entry, if the root is a file."""
        status = os.stat(os.path.join(self._below, self._only))
        yield Entry(self._only, False, status.st_size, status.st_mtime)

    def _leads_inside(self, path: str) -> bool:
        """Return whether a path, which may be a symlink, leads to a place within the root."""
        self._doubts = 0  # do not raise Disturbed: the look-up is over
        return self._contains(os.path.realpath(path))

    def _contains(self, real: str) -> bool:
        """Return whether the real path `real` lies within the root, wherever that is now.

        Raises Disturbed the first _DOUBTS times it does not: the root may have been replaced.
        """
        if self._root_checked == self.freshness.round and real.startswith(self._real_below):
            return True
        status = os.stat(self._below)
        self._root_checked = self.freshness.round
        root = status.st_dev, status.st_ino
        if root != self._root or not is_below(real, self.real_path):
            self._root, before = root, self.real_path
            self.real_path = os.path.realpath(self._below)
            self._real_below = os.path.join(self.real_path, "")
            if self.real_path != before:
                self._paths_to = BoundedCache(_FOLDERS)
        contained = is_below(real, self.real_path)
        if not contained and self._doubts:
            self._doubts -= 1
            raise Disturbed
        return contained


def _parent(path: str) -> str:
    """Return os.path.dirname(path), in less time unless that is the file system's root."""
    folder = path.rpartition(os.sep)[0]
    return folder if os.sep in folder else os.path.dirname(path)


def _weight(path: str, file: File) -> int:
    """Return the approximate bytes of memory that a kept file takes."""
    return len(path) + len(file.content) + _OVERHEAD
