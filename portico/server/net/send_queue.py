"""What is still to be sent of one message, in order."""

from __future__ import annotations

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

    __slots__ = ("_framing", "_is_full", "_pieces", "is_stream", "sent")

    def __init__(self, pieces: Sequence[Outgoing], sent: int = 0) -> None:
        """Queue `pieces`; their first `sent` octets, which are in memory, are out already."""
        self._pieces = [piece for piece in pieces if not piece.is_done]
        self.is_stream = any(piece.needs_step for piece in pieces)
        self._framing = 0
        self._is_full = False
        self.sent = sent
        self._advance(sent)

    @property
    def needs_step(self) -> bool:
        """Whether all is out that a stream has made so far, and more may come."""
        return bool(self._pieces) and not self._pieces[0].memory and self._pieces[0].needs_step

    @property
    def ends_with_connection(self) -> bool:
        """Whether only the end of the connection tells the client where the content ends."""
        return any(piece.ends_with_connection for piece in self._pieces)

    @property
    def framing_sent(self) -> int:
        """The octets among those sent that frame content, and are no part of it."""
        return self._framing + sum([piece.framing_sent for piece in self._pieces])

    def flush(self, transport: Transport, most: int = BURST) -> bool:
        """Send what there is room for, about `most` octets; return True when nothing is left.

        Raises OSError when the connection is broken or a file cannot be read, ContentChanged when a
        file is not what was announced any more, and Waiting when it has to be read first.
        """
        pieces = self._pieces
        self._is_full = False
        self._drop_done()
        try:
            while pieces and most > 0 and not self._is_full and not self.needs_step:
                piece = pieces[0]
                part = None if piece.memory else piece.file_part(most)
                if part is None:
                    most -= self._send_memory(transport)
                else:
                    most -= self._send_file(transport, piece, part)
                self._drop_done()
        except (BlockingIOError, InterruptedError):
            pass
        return not pieces

    def step(self) -> None:
        """Let a stream do a step of its work. Raises OSError when it cannot go on."""
        self._pieces[0].step()

    def close(self) -> None:
        """Give up what is left."""
        for piece in self._pieces:
            piece.close()

    def _send_memory(self, transport: Transport) -> int:
        """Send the octets in memory at the front in one call, joined with those behind them."""
        pieces = self._pieces
        run = [pieces[0].memory]
        for piece in pieces[1:]:
            if not piece.memory:
                break
            run.append(piece.memory)
        follows = len(run) < len(pieces) and not pieces[len(run)].needs_step
        flags = MORE if follows else 0
        sent = transport.send_pieces(run, flags) if len(run) > 1 else transport.send(run[0], flags)
        self._is_full = sent < sum(map(len, run))
        self.sent += sent
        self._advance(sent)
        return sent

    def _send_file(self, transport: Transport, piece: Outgoing, part: tuple[int, int, int]) -> int:
        """Send `part` of a file, which is the front of `piece`."""
        sent = transport.send_file(*part)
        if sent == 0:
            raise ContentChanged
        self._is_full = sent < part[2]
        self.sent += sent
        piece.advance(sent)
        return sent

    def _drop_done(self) -> None:
        while self._pieces and self._pieces[0].is_done:
            self._framing += self._pieces.pop(0).framing_sent

    def _advance(self, count: int) -> None:
        """Take the first `count` octets, which were sent from memory, off the front."""
        for piece in self._pieces:
            sent = min(count, len(piece.memory))
            if sent == 0:
                break
            piece.advance(sent)
            count -= sent
