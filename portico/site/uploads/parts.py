"""Uploads that can be resumed, on the disk: what has come of each, and what it shall become.

An upload is two files in the staging folder: its content so far, and a note (JSON) with its terms.
Whoever knows its name, 128 random bits, may go on with it.

Rules:
- The offset is the size of the content file. It never goes back, except by content whose digest was
  wrong, which was never acknowledged.
- The newest request owns the upload: each writes its own token beside the content before it
  appends, and appends only while that is there. So a connection that died locks nobody out, and
  none of its octets comes after those of the next.
- At the end the content file itself takes its name, in one step. What is left is the note of how it
  ended, so a client that has missed the response learns it.
- What nobody has gone on with for `expiry` seconds is removed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import time
from typing import TYPE_CHECKING

from portico.site.origin.new_file import READ_FILE, NewFile, lock
from portico.site.origin.writable import Refused, WritableFolder, tag_of_open
from portico.site.target import STAGING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from portico.site.uploads.rules import Terms

FOLDER = (STAGING, "uploads")
"""The folder of uploads, below the root."""
ID = re.compile(r"[0-9a-f]{32}")
_COPIED = 1 << 20
"""Bytes copied at a time to another file system."""


class Note:
    """What is known of an upload besides its content."""

    __slots__ = ("claims", "conditions", "etag", "is_done", "length", "metadata", "names", "status")

    def __init__(
        self,
        names: tuple[str, ...],
        length: int | None = None,
        *,
        claims: dict[str, bytes] | None = None,
        conditions: list[tuple[str, str]] | None = None,
        metadata: str = "",
    ) -> None:
        self.names = names
        """The path that it shall have."""
        self.length = length
        """Bytes of the whole; None as long as that is not known."""
        self.claims = claims or {}
        """The digests of the whole that its client has sent."""
        self.conditions = conditions or []
        """The conditions under which it may take its name."""
        self.metadata = metadata
        """What the client wants to be told again (Upload-Metadata of tus)."""
        self.is_done = False
        """Whether it has taken its name, or was about to; then `status` and `etag` tell how."""
        self.status = 0
        self.etag = ""

    def to_json(self) -> bytes:
        """Return it as the content of a file."""
        members = {name: getattr(self, name) for name in self.__slots__}
        members["claims"] = {name: digest.hex() for name, digest in self.claims.items()}
        return json.dumps(members).encode()

    @classmethod
    def of_json(cls, octets: bytes) -> Note:
        """Return what `to_json` was made of."""
        members = json.loads(octets)
        note = cls(
            tuple(members["names"]),
            members["length"],
            claims={name: bytes.fromhex(digest) for name, digest in members["claims"].items()},
            conditions=[(name, value) for name, value in members["conditions"]],
            metadata=members["metadata"],
        )
        note.is_done, note.status, note.etag = (
            members[name] for name in ("is_done", "status", "etag")
        )
        return note


class Parts:
    """The uploads below one root. For threads, since each call waits for the disk.

    Calls raise Refused, or OSError.
    """

    def __init__(self, folder: WritableFolder, *, sync: bool) -> None:
        self._folder = folder
        self._sync = sync

    def create(self, note: Note) -> str:
        """Make an upload without content; return its name."""
        name = os.urandom(16).hex()
        with self._folder.beneath(FOLDER, make=True) as opened:
            folder = opened.folder
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=folder))
            _write(folder, f"{name}.json", note.to_json(), sync=self._sync)
            if self._sync:
                os.fsync(folder)
        return name

    @contextlib.contextmanager
    def open(self, name: str, owner: str = "") -> Iterator[Part]:
        """Hold an upload open and locked. With `owner` it must be the one that came last.

        Raises Refused(404) if there is none of that name, Refused(409) for an owner that has been
        overtaken.
        """
        with self._beneath() as folder:
            note = _note(folder, name)
            fd = -1
            with contextlib.suppress(FileNotFoundError):
                fd = os.open(name, os.O_RDWR | os.O_NOFOLLOW, dir_fd=folder)
            try:
                if fd >= 0:
                    lock(fd)
                    note = _note(folder, name)  # as it is now that nobody else is at work
                part = Part(self._folder, folder, name, fd, note, sync=self._sync)
                if fd < 0:  # it has its name
                    note.is_done = True
                elif os.fstat(fd).st_nlink != 1:  # it has both names, or has just lost this one
                    part.settle()
                if owner and part.owner() != owner:
                    raise Refused(409, "A newer request goes on with this upload.")
                yield part
            finally:
                if fd >= 0:
                    os.close(fd)

    def expire(self, seconds: float) -> None:
        """Remove what nobody has gone on with for so long."""
        oldest = time.time() - seconds
        with contextlib.suppress(Refused, OSError), self._beneath() as folder:
            entries = os.listdir(folder)
            for entry in entries:
                name, _, kind = entry.partition(".")
                with contextlib.suppress(Refused, OSError, ValueError):
                    if kind == "json":
                        with self.open(name) as part:
                            if part.changed() < oldest:
                                part.remove()
                    elif (kind.endswith("new") or f"{name}.json" not in entries) and (
                        os.stat(entry, dir_fd=folder).st_mtime < oldest
                    ):
                        os.unlink(entry, dir_fd=folder)  # a crash, or a full disk, left it

    @contextlib.contextmanager
    def _beneath(self) -> Iterator[int]:
        try:
            with self._folder.beneath(FOLDER) as opened:
                yield opened.folder
        except FileNotFoundError:
            raise Refused(404, "There is no such upload.") from None


class Part:
    """An upload while it is held open and locked."""

    def __init__(
        self, root: WritableFolder, folder: int, name: str, fd: int, note: Note, *, sync: bool
    ) -> None:
        self.note = note
        self.name = name
        self._root = root
        self._folder = folder
        self._fd = fd
        self._sync = sync

    @property
    def offset(self) -> int:
        """How many bytes have come."""
        if self.note.is_done:
            return self.note.length or 0
        return os.fstat(self._fd).st_size

    def changed(self) -> float:
        """Return when it was last gone on with, in seconds since the epoch."""
        latest = os.stat(f"{self.name}.json", dir_fd=self._folder).st_mtime
        return latest if self._fd < 0 else max(latest, os.fstat(self._fd).st_mtime)

    def own(self) -> str:
        """Make the caller the owner; return the token that shows it."""
        token = os.urandom(8).hex()
        _write(self._folder, f"{self.name}.owner", token.encode(), sync=False)
        return token

    def owner(self) -> str:
        """Return the token of the owner; "" if there is none."""
        with contextlib.suppress(FileNotFoundError):
            return _read(self._folder, f"{self.name}.owner").decode()
        return ""

    def append(self, pieces: list[bytes]) -> None:
        """Append content."""
        os.lseek(self._fd, 0, os.SEEK_END)
        self._root.append(NewFile(self._fd), pieces)

    def cut(self, offset: int) -> None:
        """Drop what came after `offset`, since its digest was wrong."""
        os.ftruncate(self._fd, offset)

    def sync(self) -> None:
        """Bring the content to the disk, before its offset is told."""
        if self._sync and self._fd >= 0:
            os.fsync(self._fd)

    def save(self) -> None:
        """Write down what has changed in `note`."""
        _write(self._folder, f"{self.name}.json", self.note.to_json(), sync=self._sync)

    def read(self) -> Iterator[bytes]:
        """Yield the content."""
        offset = 0
        while octets := os.pread(self._fd, _COPIED, offset):
            yield octets
            offset += len(octets)

    def finish(self, terms: Terms) -> None:
        """Let the content take its name; `note` tells how that went."""
        note = self.note
        self.sync()
        note.etag = tag_of_open(self._fd)
        if note.length is None:  # who is told only that it is done must be told that, too
            note.length = self.offset
            self.save()
        note.status = 201 if self._place(terms) else 204
        self.settle()

    def settle(self) -> None:
        """Drop what an upload that has its name leaves: its content under the old one.

        To be called at once, even after a crash. As long as it has both names it is known to be
        done; if the new one were given to another file, it would seem not to be.
        """
        for name in (self.name, f"{self.name}.owner"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._folder)
        if not self.note.is_done:
            self.note.is_done = True
            self.save()

    def _place(self, terms: Terms) -> bool:
        file = NewFile(os.dup(self._fd), os.dup(self._folder), self.name, keeps_hidden=True)
        try:
            return self._root.put(self.note.names, file, terms.check)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        finally:
            file.close()
        file = self._root.begin(self.note.names)  # on another file system, where it shall be
        try:
            for octets in self.read():
                file.write([octets])
            is_new = self._root.put(self.note.names, file, terms.check)
            self.note.etag = tag_of_open(file.fd)
            return is_new
        finally:
            file.close()

    def remove(self) -> None:
        """Remove all of it."""
        for name in (self.name, f"{self.name}.owner", f"{self.name}.json"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._folder)


def _note(folder: int, name: str) -> Note:
    if not ID.fullmatch(name):
        raise Refused(404, "There is no such upload.")
    try:
        return Note.of_json(_read(folder, f"{name}.json"))
    except (FileNotFoundError, ValueError, KeyError):
        raise Refused(404, "There is no such upload.") from None


def _read(folder: int, name: str) -> bytes:
    with open(os.open(name, READ_FILE, dir_fd=folder), "rb") as file:
        return file.read()


def _write(folder: int, name: str, octets: bytes, *, sync: bool) -> None:
    """Write a small file, in one step."""
    new = f"{name}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with open(os.open(new, flags, 0o600, dir_fd=folder), "wb") as file:
        file.write(octets)
        file.flush()
        if sync:
            os.fsync(file.fileno())
    os.replace(new, name, src_dir_fd=folder, dst_dir_fd=folder)
