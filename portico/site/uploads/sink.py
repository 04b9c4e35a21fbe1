"""The sink of uploads: buffers the content that the connection receives; threads store it."""

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
"""The place (see `Waiting`) of the threads that write, so that reads do not queue behind them."""
QUICK = "small uploads"
"""The place of small uploads that are not synced. They hardly wait for the disk, so several threads
would only wait for each other."""
PIECE = 256 << 10
"""Bytes that each upload may buffer before a thread stores them."""
LARGEST_PIECE, HELD_BY_ALL = 1 << 20, 16 << 20
"""Bytes that an upload may buffer after its first piece, and that all uploads may then buffer
together; but each may buffer PIECE. So a few large uploads need a thread less often."""
HOLD_SECONDS = 0.5
"""How long bytes of a resumable upload are buffered while more of them arrive."""


class Store(Protocol):
    """Stores the content of one request. Called in threads, one call at a time.

    Calls raise Refused or OSError.
    """

    keeps_parts: bool
    """Whether content that was stored is kept even if the rest does not arrive."""

    def prepare(self) -> None:
        """Check whether the content can be stored; called before 100 (Continue) is sent."""
        ...

    def store(self, pieces: list[bytes]) -> None:
        """Store the next `pieces` of the content, which are not the last."""
        ...

    def commit(self, pieces: list[bytes], check_wanted: Callable[[], None], /) -> Response:
        """Store the last `pieces`; return the response once all is stored (with `sync`: durably).

        `check_wanted` raises Refused if the client no longer waits for the response. Call it before
        a file takes its place: so late, the file could replace a newer one.
        """
        ...

    def close(self) -> None:
        """Close the temporary files. Called once: after `commit`, or instead of it."""
        ...


class Upload:
    """Takes the content of one request; a `ContentSink`. Threads call its store.

    `most` is the largest size of the content in bytes (0: any). `refuse` returns the response for a
    Refused.
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
        """`under_way` is the number of uploads under way, with this one.

        `syncs` tells whether the store syncs to the disk. `on_close` is called once, after the
        store was closed.
        """
        self.interim = interim
        self._piece = PIECE
        self._later_piece = PIECE  # little of a resumable upload shall be lost with its connection
        if not store.keeps_parts:
            self._later_piece = max(PIECE, min(LARGEST_PIECE, HELD_BY_ALL // under_way))
        self._syncs = syncs
        self._on_close = on_close
        self._store = store
        self._most = most
        self._refuse = refuse
        self._pieces: list[bytes] = []
        self._held = 0  # bytes in _pieces
        self._held_since = 0.0
        self._taken = 0  # bytes in total
        self._lock = allocate_lock()
        self._is_working = self._is_aborted = self._is_closed = False
        self._has_stored = False
        self._response: Response | None = None
        self._refusal: Refused | None = None

    def write(self, octets: bytes) -> None:
        """Take the next piece of the content. Raises ProtocolError to refuse it, or Waiting."""
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
        """Return the response, after all content was written. Raises Waiting."""
        if self._refusal is not None:
            return self._refuse(self._refusal)
        if self._response is None:
            raise Waiting(PLACE if self._syncs or self._has_stored else QUICK, self._commit)
        return self._response

    def abort(self) -> None:
        """Release all resources: the rest does not come, or nobody waits for the response."""
        with self._lock:
            self._is_aborted = True
            if self._is_working:
                return  # the thread will close the store
        if not self._has_stored:
            self._close()
            return
        try:
            start_new_thread(self._close, ())  # closing a file on a remote disk can take long
        except RuntimeError:
            self._close()

    def _is_held_for_long(self) -> bool:
        """Return whether buffered bytes should be stored now, before the connection may be lost."""
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
        """Call `what`, in a thread, and keep its error. Close the store if the upload is over."""
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
            raise  # the caller, in the thread, reports it
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
    """Return the Refused that tells a client of an error, without the text of an OSError."""
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
    """Return the detail of 413, where at most `most` bytes are allowed."""
    return f"At most {most:,} bytes can be stored in one file."
