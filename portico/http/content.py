"""Content that a response sends, without any I/O.

`Content` is all that can be sent. It is not changed by that: each connection asks it for an
`Outgoing`, which knows what is left. There are three kinds, with more to come: `Octets` in memory,
a part of a file (`site.origin.open_file.FileSlice`), and a `Stream` that is made while it is sent.
`ByteSource` is content of known length, which can be sliced and read as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


class ContentChanged(Exception):  # noqa: N818 (a fact, not an error of ours)
    """Content is no longer what was announced, so its message must not be completed."""


NOTHING = memoryview(b"")


class Outgoing:
    """Content on its way out on one connection: what is left of it. This kind is all in memory.

    Unless it `is_done`, what is to be sent next is in `memory`. Where that is empty, content that
    `needs_step` has to do a `step` first; for other content `file_part` says what to send from a
    file, or fills `memory`.
    """

    __slots__ = ("is_done", "memory")
    needs_step = False
    """Whether more comes of `step`, once `memory` was sent."""
    ends_with_connection = False
    """Whether only the end of the connection tells the client where the content ends."""

    def __init__(self, octets: bytes = b"") -> None:
        self.memory = memoryview(octets) if octets else NOTHING
        self.is_done = not octets
        """Whether all was sent."""

    @property
    def framing_sent(self) -> int:
        """Octets that were sent to frame the content, and are no part of it."""
        return 0

    def advance(self, count: int) -> None:
        """Note that the next `count` octets were sent, which are in `memory` or `file_part`."""
        if count < len(self.memory):
            self.memory = self.memory[count:]
        else:
            self.memory = NOTHING
            self.is_done = not self.needs_step

    def file_part(self, _most: int) -> tuple[int, int, int] | None:
        """Return a descriptor, an offset and a count of octets to send from there next.

        None when they are in `memory` now. Raises ContentChanged, OSError, or Waiting when the
        file has to be read first.
        """
        return None

    def step(self) -> None:
        """Do a bounded piece of the work that makes the content. Raises OSError if it fails."""

    def close(self) -> None:
        """Give up what is left."""


class Content(Protocol):
    """What a response sends; its length is in octets."""

    is_stream: bool
    """Whether its length is unknown until it was sent, and 0 is given for it."""

    def __len__(self) -> int: ...

    @property
    def in_memory(self) -> bytes | None:
        """All its octets, if they are in memory."""
        ...

    def outgoing(self) -> Outgoing:
        """Return what sends it once."""
        ...

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield its octets, about `size` at a time, however long that takes: not for the loop.

        Raises OSError.
        """
        ...


class ByteSource(Content, Protocol):
    """Content of known length, which can be sliced and read."""

    def slice(self, start: int, end: int) -> ByteSource:
        """Return the octets from `start` up to `end`, which lie within it."""
        ...

    def read(self) -> bytes:
        """Return all its octets; fewer if they are there no more. Raises Waiting or OSError."""
        ...

    def has_changed(self) -> bool:
        """Return whether it is no longer what it was when its length was told. Raises OSError."""
        ...


class Octets(bytes):
    """Content in memory."""

    __slots__ = ()
    is_stream = False

    @property
    def in_memory(self) -> bytes:
        """All its octets."""
        return self

    def slice(self, start: int, end: int) -> Octets:
        """Return the octets from `start` up to `end`."""
        return Octets(self[start:end])

    def read(self) -> bytes:
        """Return all its octets."""
        return self

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield its octets, `size` at a time."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def has_changed(self) -> bool:
        """Return False: what is in memory does not change."""
        return False

    def outgoing(self) -> Outgoing:
        """Return what sends it once."""
        return Outgoing(self)


class Stream:
    """Content that is made while it is sent, since its length is not known before.

    It can be sent once, by HTTP/1.0, where the end of the connection is its end. `http.h1` frames
    it for HTTP/1.1.
    """

    __slots__ = ("steps",)
    is_stream = True
    in_memory = None

    def __init__(self, steps: Generator[bytes, None, None]) -> None:
        """`steps` yields octets; b"" says that a step of the work is done without any result.

        When it raises OSError the content has no end, and the message must not look complete.
        """
        self.steps = steps

    def __len__(self) -> int:
        """Return 0: no octets are there yet."""
        return 0

    def pieces(self, _size: int) -> Iterator[bytes]:
        """Yield its octets as they are made."""
        return self.steps

    def outgoing(self) -> OutgoingStream:
        """Return what sends it."""
        return OutgoingStream(self)


class OutgoingStream(Outgoing):
    """A stream on its way out. What it makes is asked for only when all before was sent.

    So a client that does not read costs no more than one piece.
    """

    __slots__ = ("_steps", "needs_step")
    ends_with_connection = True

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._steps = stream.steps
        self.needs_step = True
        self.is_done = False

    def step(self) -> None:
        """Make the next piece, if one comes of this step. Raises OSError."""
        piece = next(self._steps, None)
        self.needs_step = piece is not None
        self.memory = memoryview(self._framed(piece))
        self.is_done = not self.needs_step and not self.memory

    def close(self) -> None:
        """Close the generator, which lets go of what it holds."""
        self._steps.close()

    def _framed(self, piece: bytes | None) -> bytes:
        """Return a piece, or the end of all pieces, as it is sent."""
        return piece or b""
