"""What takes the content of an upload from the connection, and gives it to threads."""

from __future__ import annotations

import time
from _thread import allocate_lock, start_new_thread
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from portico.http.message import ProtocolError, Response
from portico.site.origin.fingerprint import status_of
from portico.site.origin.open_file import Waiting
from portico.site.origin.writable import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PLACE = "uploads"
"""What threads that write have in common (see `Waiting`): reads do not queue behind them."""
QUICK = "small uploads"
"""The same of those that hardly wait for the disk: their threads would wait for each other."""
PIECE = 256 << 10
"""Bytes that each upload may hold until a thread stores them."""
LARGEST_PIECE, HELD_BY_ALL = 1 << 20, 16 << 20
"""A few large ones may hold more each, so that a thread is called less often."""
HOLD_SECONDS = 0.5
"""For how long bytes of an upload that can be resumed are held."""


class Store(Protocol):
    """Where the content of one request goes. For threads, one call at a time.

    Calls raise Refused, or OSError.
    """

    keeps_parts: bool
    """Whether what was stored is of use, even if no more comes."""

    def prepare(self) -> None:
        """Look whether the content can be stored, before it comes."""
        ...

    def store(self, pieces: list[bytes]) -> None:
        """Store some of the content; more follows."""
        ...

    def commit(self, pieces: list[bytes], check_wanted: Callable[[], None], /) -> Response:
        """Store the rest; return the response once all that it says is safe.

        `check_wanted` raises Refused if nobody waits for the response any more. What is put in its
        place only then could take the place of something newer.
        """
        ...

    def close(self) -> None:
        """Let go of what is open, after `commit` or instead of it."""
        ...


class Upload:
    """Takes the content of one request; a `ContentSink`. Its store is at work in threads.

    `most` is the number of bytes that may come (0: any). `refuse` makes a response of a status and
    a sentence.
    """

    def __init__(
        self,
        store: Store,
        most: int,
        refuse: Callable[[Refused], Response],
        interim: Sequence[Response] = (),
        *,
        under_way: int = 1,
        syncs: bool = True,
        on_close: Callable[[], None],
    ) -> None:
        """`under_way` is the number of uploads, with this one. `syncs` says that the store syncs.

        `on_close` is called once, when no more will be stored.
        """
        self.interim = interim
        self._piece = PIECE
        self._later_piece = PIECE  # of one that is to be gone on with, little shall be lost
        if not store.keeps_parts:
            self._later_piece = max(PIECE, min(LARGEST_PIECE, HELD_BY_ALL // under_way))
        self._syncs = syncs
        self._on_close = on_close
        self._store = store
        self._most = most
        self._refuse = refuse
        self._pieces: list[bytes] = []
        self._held = 0  # bytes in them
        self._held_since = 0.0
        self._taken = 0  # bytes in all
        self._lock = allocate_lock()
        self._is_working = self._is_aborted = self._is_closed = False
        self._has_stored = False
        self._response: Response | None = None
        self._refusal: Refused | None = None

    def write(self, octets: bytes) -> None:
        """Take some of the content. Raises ProtocolError to refuse it, or Waiting."""
        if self._refusal is not None:
            raise ProtocolError(self._refusal.status, self._refusal.detail)
        if self._most and self._taken + len(octets) > self._most:
            raise ProtocolError(413, too_large(self._most))
        if self._held and (self._held + len(octets) > self._piece or self._is_held_for_long()):
            raise Waiting(PLACE, self._store_held)
        if not self._held:
            self._held_since = time.monotonic()
        self._pieces.append(octets)
        self._held += len(octets)
        self._taken += len(octets)

    def finish(self) -> Response:
        """Return the response, since the content is complete. Raises Waiting."""
        if self._refusal is not None:
            return self._refuse(self._refusal)
        if self._response is None:
            raise Waiting(PLACE if self._syncs or self._has_stored else QUICK, self._commit)
        return self._response

    def abort(self) -> None:
        """Let go of what was taken: the rest does not come, or nobody waits for the response."""
        with self._lock:
            self._is_aborted = True
            if self._is_working:
                return  # the thread closes
        if not self._has_stored:
            self._close()
            return
        try:
            start_new_thread(self._close, ())  # to close a file on a remote disk can take long
        except RuntimeError:
            self._close()

    def _is_held_for_long(self) -> bool:
        """Whether a part should be stored, lest it be lost when the connection is."""
        return self._store.keeps_parts and time.monotonic() - self._held_since > HOLD_SECONDS

    def _store_held(self) -> None:
        self._has_stored = True
        self._piece = self._later_piece
        self._run(lambda: self._store.store(self._take_pieces()))

    def _commit(self) -> None:
        def commit() -> None:
            self._response = self._store.commit(self._take_pieces(), self._check_wanted)

        self._run(commit)

    def _check_wanted(self) -> None:
        if self._is_aborted:
            raise Refused(503, "It took too long.")

    def _take_pieces(self) -> list[bytes]:
        pieces, self._pieces, self._held = self._pieces, [], 0
        return pieces

    def _run(self, what: Callable[[], None]) -> None:
        """Do a piece of work, in a thread, and keep what comes of it."""
        with self._lock:
            if self._is_aborted:
                return
            self._is_working = True
        try:
            what()
        except (Refused, OSError) as problem:
            self._refusal = as_refused(problem)
        except BaseException:
            self._refusal = Refused(500, "The fault is on this side.")
            raise  # whoever runs the thread reports it
        finally:
            with self._lock:
                self._is_working = False
            if self._is_over():
                self._close()

    def _is_over(self) -> bool:
        return self._is_aborted or self._response is not None or self._refusal is not None

    def _close(self) -> None:
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
        if was_closed:
            return
        self._pieces = []
        with suppress(OSError):
            self._store.close()
        self._on_close()


def as_refused(problem: Refused | OSError) -> Refused:
    """Return what a client is told of an error of the operating system."""
    if isinstance(problem, Refused):
        return problem
    status = status_of(problem)
    detail = {
        403: "The server may not write there.",
        404: "There is nothing of that name.",
        507: "There is not enough space left on the disk.",
    }.get(status, "It could not be stored.")
    return Refused(status, detail)


def too_large(most: int) -> str:
    """Return the sentence for 413."""
    return f"At most {most:,} bytes can be stored in one file."
