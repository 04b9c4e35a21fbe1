"""How resumable uploads are stored: the bytes received so far, and what is known of the file.

Each upload has an ID of 128 random bits; whoever knows the ID may append to the upload. It consists
of up to three files in the staging folder: ID has the content received so far, ID.json the note
(see `Note`), and ID.owner the token of the request that may append.

Rules:
- The upload's offset is the size of its content file. It decreases only when a request's digest
  does not match its content; those bytes were never acknowledged.
- The newest request owns the upload. Each request writes a new token into ID.owner before it
  appends, and appends only while its own token is there. So a connection that hangs never keeps an
  upload locked, and cannot append after the request that has replaced it.
- When the content is complete, the content file is moved to its place in one step. The note stays,
  so a client that has missed the response can still ask for the outcome.
- An upload to which nothing was appended for `--upload-expiry` seconds is removed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import time
from typing import TYPE_CHECKING

from portico.site.dotfiles import STAGING
from portico.site.origin.new_file import READ_FILE, NewFile, lock
from portico.site.origin.writable import Refused, WritableFolder, tag_of_open

if TYPE_CHECKING:
    from collections.abc import Iterator

    from portico.site.uploads.rules import Terms

FOLDER = (STAGING, "uploads")
"""The folder of uploads, below the root."""
ID = re.compile(r"[0-9a-f]{32}")
_COPIED = 1 << 20
"""Bytes copied at a time to another file system."""


class Note:
    """What is known of an upload besides its content; stored as ID.json."""

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
        """The path that the file will have."""
        self.length = length
        """The size of the complete file in bytes; None while the client has not told it."""
        self.claims = claims or {}
        """The digests of the complete file (Repr-Digest) that the client has sent."""
        self.conditions = conditions or []
        """The If-* fields of the request that began the upload, evaluated again at its end."""
        self.metadata = metadata
        """The value of tus's Upload-Metadata, which HEAD repeats."""
        self.is_done = False
        """Whether the file is in its place. Then `status` and `etag` are those of the response, or
        0 and empty after a crash at that moment."""
        self.status = 0
        self.etag = ""

    def to_json(self) -> bytes:
        """Return the note as JSON."""
        members = {name: getattr(self, name) for name in self.__slots__}
        members["claims"] = {name: digest.hex() for name, digest in self.claims.items()}
        return json.dumps(members).encode()

    @classmethod
    def of_json(cls, octets: bytes) -> Note:
        """Return the note that `to_json` has written. Raises ValueError or KeyError."""
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
    """The resumable uploads of one root folder.

    Every call waits for the disk, so only threads other than the event loop's may make it. Calls
    raise Refused or OSError.
    """

    def __init__(self, folder: WritableFolder, *, sync: bool) -> None:
        self._folder = folder
        self._sync = sync

    def create(self, note: Note) -> str:
        """Create an upload without content; return its ID."""
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
        """Open the upload with the ID `name` and lock it for the duration of the `with` block.

        Raises Refused(404) if there is no such upload, and Refused(409) if `owner` is given but a
        newer request owns the upload.
        """
        with self._beneath() as folder:
            note = _note(folder, name)
            fd = -1
            with contextlib.suppress(FileNotFoundError):
                fd = os.open(name, os.O_RDWR | os.O_NOFOLLOW, dir_fd=folder)
            try:
                if fd >= 0:
                    lock(fd)
                    note = _note(folder, name)  # again: it may have changed before it was locked
                part = Part(self._folder, folder, name, fd, note, sync=self._sync)
                if fd < 0:  # the content file was moved to its place
                    note.is_done = True
                elif os.fstat(fd).st_nlink != 1:  # 2 after a crash, 0 if it was just moved
                    part.settle()
                if owner and part.owner() != owner:
                    raise Refused(409, "A newer request goes on with this upload.")
                yield part
            finally:
                if fd >= 0:
                    os.close(fd)

    def expire(self, seconds: float) -> None:
        """Remove uploads to which nothing was appended for `seconds`."""
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
                        os.unlink(entry, dir_fd=folder)  # left by a crash or a full disk

    @contextlib.contextmanager
    def _beneath(self) -> Iterator[int]:
        try:
            with self._folder.beneath(FOLDER) as opened:
                yield opened.folder
        except FileNotFoundError:
            raise Refused(404, "There is no such upload.") from None


class Part:
    """An upload that is open and locked; see `Parts.open`."""

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
        """The number of bytes received so far."""
        if self.note.is_done:
            return self.note.length or 0
        return os.fstat(self._fd).st_size

    def changed(self) -> float:
        """Return when the upload last changed, in seconds since the epoch."""
        latest = os.stat(f"{self.name}.json", dir_fd=self._folder).st_mtime
        return latest if self._fd < 0 else max(latest, os.fstat(self._fd).st_mtime)

    def own(self) -> str:
        """Make the current request the owner; return its token."""
        token = os.urandom(8).hex()
        _write(self._folder, f"{self.name}.owner", token.encode(), sync=False)
        return token

    def owner(self) -> str:
        """Return the owner's token; "" if there is no owner."""
        with contextlib.suppress(FileNotFoundError):
            return _read(self._folder, f"{self.name}.owner").decode()
        return ""

    def append(self, pieces: list[bytes]) -> None:
        """Append `pieces` to the content."""
        os.lseek(self._fd, 0, os.SEEK_END)
        self._root.append(NewFile(self._fd), pieces)

    def cut(self, offset: int) -> None:
        """Drop the bytes after `offset`, because their digest did not match."""
        os.ftruncate(self._fd, offset)

    def sync(self) -> None:
        """Write the content to the disk; to be called before its offset is acknowledged."""
        if self._sync and self._fd >= 0:
            os.fsync(self._fd)

    def save(self) -> None:
        """Store `note`."""
        _write(self._folder, f"{self.name}.json", self.note.to_json(), sync=self._sync)

    def read(self) -> Iterator[bytes]:
        """Yield the content received so far, in pieces."""
        offset = 0
        while octets := os.pread(self._fd, _COPIED, offset):
            yield octets
            offset += len(octets)

    def finish(self, terms: Terms) -> None:
        """Move the complete content to its place, and record the outcome in `note`.

        `terms.check` decides whether the file may be created or replaced now. Raises Refused or
        OSError, and then the upload is as before.
        """
        note = self.note
        self.sync()
        note.etag = tag_of_open(self._fd)
        if note.length is None:  # once the content file is moved, only the note tells the length
            note.length = self.offset
            self.save()
        note.status = 201 if self._place(terms) else 204
        self.settle()

    def settle(self) -> None:
        """Remove the staging names of a file that is in its place, and mark the upload as done.

        After a crash the content file can have both names, and its link count of 2 tells that the
        upload is done. That has to be recorded as soon as it is seen: once another file has taken
        the place, the count is 1 again, as if the upload were not done.
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
        # A file cannot be moved between file systems: copy it, then move the copy.
        file = self._root.begin(self.note.names)
        try:
            for octets in self.read():
                file.write([octets])
            is_new = self._root.put(self.note.names, file, terms.check)
            self.note.etag = tag_of_open(file.fd)
            return is_new
        finally:
            file.close()

    def remove(self) -> None:
        """Remove the upload with all its files."""
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
    """Create or replace a small file in one step."""
    new = f"{name}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with open(os.open(new, flags, 0o600, dir_fd=folder), "wb") as file:
        file.write(octets)
        file.flush()
        if sync:
            os.fsync(file.fileno())
    os.replace(new, name, src_dir_fd=folder, dst_dir_fd=folder)
