"""The content of a response, without any I/O.

`Content` is the protocol of everything that can be sent. Sending does not change a `Content`: each
connection calls `outgoing` for an `Outgoing`, which keeps track of the rest to send. There are
three kinds, with more to come: `Octets` in memory, a part of a file
(`site.origin.open_file.FileSlice`), and a `Stream` that is made while it is sent. `ByteSource` is
content of known length that can also be sliced and read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


class ContentChanged(Exception):  # noqa: N818 (a fact, not an error of ours)
    """The content has changed since its length was sent, so the message must not be completed."""


NOTHING = memoryview(b"")


class Outgoing:
    """The rest of a content that one connection has to send. This class: content in memory.

    While not `is_done`, the bytes to send next are in `memory`. If `memory` is empty, call `step`
    if `needs_step` is true; otherwise call `file_part`, which tells the part of a file to send, or
    fills `memory`.
    """

    __slots__ = ("is_done", "memory")
    needs_step = False
    """Whether `step` makes more content, after `memory` was sent."""
    ends_with_connection = False
    """Whether the content is delimited by the end of the connection (RFC 9112, 6.3)."""

    def __init__(self, octets: bytes = b"") -> None:
        self.memory = memoryview(octets) if octets else NOTHING
        self.is_done = not octets
        """Whether the whole content was sent."""

    @property
    def framing_sent(self) -> int:
        """The number of bytes sent so far that frame the content and are not part of it."""
        return 0

    def advance(self, count: int) -> None:
        """Note that the next `count` bytes, of `memory` or of the last `file_part`, were sent."""
        if count < len(self.memory):
            self.memory = self.memory[count:]
        else:
            self.memory = NOTHING
            self.is_done = not self.needs_step

    def file_part(self, _most: int) -> tuple[int, int, int] | None:
        """Return the part of a file to send next: descriptor, offset, and number of bytes.

        Return None if the bytes to send are now in `memory`. Raises ContentChanged, OSError, or
        Waiting if a thread has to read the file first.
        """
        return None

    def step(self) -> None:
        """Do a bounded part of the work that makes the content. Raises OSError."""

    def close(self) -> None:
        """Release the resources of the rest, which will not be sent."""


class Content(Protocol):
    """The content of a response, or a part of it. len() is its length in bytes."""

    is_stream: bool
    """Whether the length is unknown until all is sent; len() is 0 then."""

    def __len__(self) -> int: ...

    @property
    def in_memory(self) -> bytes | None:
        """All bytes of the content if they are in memory, else None."""
        ...

    def outgoing(self) -> Outgoing:
        """Return an Outgoing that sends the content once."""
        ...

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield the bytes of the content, about `size` at a time. May block: not for the loop.

        Raises OSError.
        """
        ...


class ByteSource(Content, Protocol):
    """Content of known length that can be sliced and read."""

    def slice(self, start: int, end: int) -> ByteSource:
        """Return the part from `start` up to `end`, which must be within the content."""
        ...

    def read(self) -> bytes:
        """Return all bytes; fewer if the file has become shorter. Raises Waiting or OSError."""
        ...

    def has_changed(self) -> bool:
        """Return whether the content has changed since len() was determined. Raises OSError."""
        ...


class Octets(bytes):
    """Content in memory."""

    __slots__ = ()
    is_stream = False

    @property
    def in_memory(self) -> bytes:
        """All bytes of the content."""
        return self

    def slice(self, start: int, end: int) -> Octets:
        """Return the part from `start` up to `end`."""
        return Octets(self[start:end])

    def read(self) -> bytes:
        """Return all bytes of the content."""
        return self

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield the bytes of the content, `size` at a time."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def has_changed(self) -> bool:
        """Return False: content in memory never changes."""
        return False

    def outgoing(self) -> Outgoing:
        """Return an Outgoing that sends the content once."""
        return Outgoing(self)


class Stream:
    """Content of unknown length that is made while it is sent.

    A stream can be sent only once. As such it is for HTTP/1.0, where the end of the connection
    delimits it; `http.h1.serialize.Chunked` frames it for HTTP/1.1.
    """

    __slots__ = ("steps",)
    is_stream = True
    in_memory = None

    def __init__(self, steps: Generator[bytes, None, None]) -> None:
        """`steps` yields pieces of the content; b"" after a step of work without a result.

        If `steps` raises OSError, the content is incomplete, and so must be the message.
        """
        self.steps = steps

    def __len__(self) -> int:
        """Return 0: the length is unknown."""
        return 0

    def pieces(self, _size: int) -> Iterator[bytes]:
        """Yield the pieces of the content as they are made."""
        return self.steps

    def outgoing(self) -> OutgoingStream:
        """Return an Outgoing that sends the stream."""
        return OutgoingStream(self)


class OutgoingStream(Outgoing):
    """The rest of a stream that one connection has to send.

    The next piece is made only after the previous one was sent, so a client that does not read
    costs the memory of one piece at most.
    """

    __slots__ = ("_steps", "needs_step")
    ends_with_connection = True

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._steps = stream.steps
        self.needs_step = True
        self.is_done = False

    def step(self) -> None:
        """Do the stream's next step, and put its piece, if any, into `memory`. Raises OSError."""
        piece = next(self._steps, None)
        self.needs_step = piece is not None
        self.memory = memoryview(self._framed(piece))
        self.is_done = not self.needs_step and not self.memory

    def close(self) -> None:
        """Close the generator, which releases its resources."""
        self._steps.close()

    def _framed(self, piece: bytes | None) -> bytes:
        """Return the bytes to send for a piece; None stands for the end of the stream."""
        return piece or b""
