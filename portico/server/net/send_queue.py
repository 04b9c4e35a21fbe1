"""What is still to be sent of one message, in order."""

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
"""Octets sent on one connection before others are served: some 40 us of work."""
LONG_BURST = 2 << 20
"""The same, for one connection, where nobody was answered for a while."""


class SendQueue:
    """The pieces of one message that wait to be sent; `sent` counts the octets that went out."""

    __slots__ = ("_framing", "_pieces", "began", "is_stream", "sent")

    def __init__(self, pieces: Sequence[Outgoing], sent: int = 0, began: float = 0.0) -> None:
        """Queue `pieces`; their first `sent` octets, which are in memory, are out already.

        A stream must be the last of them. `began` is when the first octets were sent, in seconds of
        time.monotonic().
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
        """Whether all is out that a stream has made so far, and more may come."""
        return bool(self._pieces) and not self._pieces[0].memory and self._pieces[0].needs_step

    @property
    def ends_with_connection(self) -> bool:
        """Whether only the end of the connection tells the client where the content ends."""
        return bool(self._pieces) and self._pieces[-1].ends_with_connection

    def content_sent(self, head_length: int) -> int:
        """Return how many octets of content went out, without a head and what frames it."""
        framing = self._framing + (self._pieces[-1].framing_sent if self._pieces else 0)
        return max(0, self.sent - framing - head_length)

    def flush(self, transport: Transport, most: int = BURST) -> bool:  # noqa: C901, PLR0912 (hot)
        """Send what there is room for, about `most` octets; return True when nothing is left.

        Raises OSError when the connection is broken or a file cannot be read, ContentChanged when a
        file is not what was announced any more, and Waiting when it has to be read first.
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
                        continue  # the octets are in memory now
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
        """Let a stream do a step of its work. Raises OSError when it cannot go on."""
        self._pieces[0].step()
        self._advance(0)

    def close(self) -> None:
        """Give up what is left."""
        for piece in self._pieces:
            piece.close()
        self._pieces.clear()  # with what they hold: a generator that never ran keeps it when closed

    def _send_joined(self, transport: Transport) -> tuple[int, int]:
        """Send the octets in memory at the front in one call.

        Return how many octets were sent, and how many there were.
        """
        run = [piece.memory for piece in takewhile(_has_memory, self._pieces)]
        follows = len(run) < len(self._pieces) and not self._pieces[len(run)].needs_step
        return transport.send_pieces(run, MORE if follows else 0), sum(map(len, run))

    def _advance(self, count: int) -> None:
        """Take the first `count` octets, which were sent from memory, off the front."""
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
