"""The send queue: the rest of one message that is still to be sent."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from portico.http.content import ContentChanged
from portico.server.net.transport import MORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portico.http.content import Outgoing
    from portico.server.net.transport import Transport

BURST = 256 << 10
"""Bytes sent on one connection before others are served: some 40 us of work."""
LONG_BURST = 2 << 20
"""The same, if no request was answered for a while: see `fairness.Bursts`."""


class SendQueue:
    """The pieces of one message, in order, that wait to be sent.

    `sent` is the number of bytes of the message that were sent, with head and framing.
    """

    __slots__ = ("_framing", "_pieces", "began", "is_stream", "sent")

    def __init__(self, pieces: Sequence[Outgoing], sent: int = 0, began: float = 0.0) -> None:
        """Queue `pieces`, of which the first `sent` bytes, all in memory, were sent already.

        Only the last piece may be a stream. `began` is when the first bytes were sent, in seconds
        of time.monotonic().
        """
        self.began = began
        self._pieces = [piece for piece in pieces if not piece.is_done]
        self._framing = 0
        self.is_stream = bool(pieces) and pieces[-1].needs_step
        self.sent = sent
        if sent:
            self._advance(sent)

    @property
    def needs_step(self) -> bool:
        """Whether only a stream is left, all it has made so far was sent, and it may make more."""
        return bool(self._pieces) and not self._pieces[0].memory and self._pieces[0].needs_step

    @property
    def ends_with_connection(self) -> bool:
        """Whether the content being sent is delimited by the connection's end (RFC 9112, 6.3)."""
        return bool(self._pieces) and self._pieces[-1].ends_with_connection

    def content_sent(self, head_length: int) -> int:
        """Return the number of content bytes sent, without the head and the chunked framing."""
        framing = self._framing + (self._pieces[-1].framing_sent if self._pieces else 0)
        return max(0, self.sent - framing - head_length)

    def flush(self, transport: Transport, most: int = BURST) -> bool:  # noqa: C901, PLR0912 (hot)
        """Send about `most` bytes, as far as there is room; return True when nothing is left.

        Raises OSError if the connection is broken or a file cannot be read, ContentChanged if a
        file has changed since its length was sent, and Waiting if a thread has to read the file
        first.
        """
        pieces = self._pieces
        try:
            while pieces and most > 0:
                piece = pieces[0]
                memory = piece.memory
                if memory:
                    size = len(memory)
                    if len(pieces) == 1 or pieces[1].needs_step:
                        sent = transport.send(memory, 0)
                    elif not pieces[1].memory:
                        sent = transport.send(memory, MORE)
                    else:
                        sent, size = self._send_joined(transport)
                elif piece.needs_step:
                    break
                else:
                    part = piece.file_part(most)
                    if part is None:
                        continue  # `file_part` has read the bytes into memory
                    size = part[2]
                    sent = transport.send_file(*part)
                    if sent == 0:
                        raise ContentChanged
                most -= sent
                self.sent += sent
                if size > len(memory) > 0:
                    self._advance(sent)
                else:
                    piece.advance(sent)
                    if piece.is_done:
                        self._drop_first()
                if sent < size:
                    break
        except (BlockingIOError, InterruptedError):
            pass
        return not pieces

    def step(self) -> None:
        """Let the stream make more content, in one step. Raises OSError if it cannot."""
        self._pieces[0].step()
        self._advance(0)

    def close(self) -> None:
        """Drop the rest, and release its resources."""
        for piece in self._pieces:
            piece.close()
        self._pieces.clear()  # a closed generator that never ran keeps its arguments alive

    def _send_joined(self, transport: Transport) -> tuple[int, int]:
        """Send the bytes of all leading pieces that are in memory, in one call.

        Return how many bytes were sent, and how many there were to send.
        """
        run = [piece.memory for piece in takewhile(_has_memory, self._pieces)]
        follows = len(run) < len(self._pieces) and not self._pieces[len(run)].needs_step
        return transport.send_pieces(run, MORE if follows else 0), sum(map(len, run))

    def _advance(self, count: int) -> None:
        """Remove the first `count` bytes, which were sent from memory, and finished pieces."""
        pieces = self._pieces
        while pieces:
            piece = pieces[0]
            length = min(count, len(piece.memory))
            piece.advance(length)
            if not piece.is_done:
                break
            count -= length
            self._drop_first()

    def _drop_first(self) -> None:
        if self.is_stream:
            self._framing += self._pieces[0].framing_sent
        del self._pieces[0]


def _has_memory(piece: Outgoing) -> bool:
    return bool(piece.memory)
