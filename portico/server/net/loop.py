"""A readiness loop: waits for sockets, calls their handlers, keeps timers. It knows no HTTP.

One turn: wait, note the time, call `on_turn`, call the handler of each ready descriptor, then what
was put off for this moment, a little of what is LAST, then the timers that are due, then
`on_turn_end`. Level-triggered: a handler need not read or write all there is. No exception in one
of these ends the loop.

Not thread-safe, except for `wake` and `call`, which signal handlers may call as well.
"""

from __future__ import annotations

import contextlib
import heapq
import select
import selectors
import socket
import sys
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from portico.server.telemetry.output import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

READ = 0x001
"""Ready to be read; EPOLLIN."""
WRITE = 0x004
"""Ready to be written; EPOLLOUT."""
EXCLUSIVE = getattr(select, "EPOLLEXCLUSIVE", 0)
"""With READ: of several processes that wait for a descriptor, wake one, not all."""
LAST = 1 << 20
"""With READ: served after all others, in order, for LAST_SECONDS in a turn but at least one. For
what hostile clients may cause a lot of at once: half heads, steps of TLS handshakes."""
LAST_SECONDS = 0.0001
"""About ten half heads; much shorter than a step of a handshake."""

_EVENTS_AT_ONCE = 512
"""Descriptors handled in a turn: bounds how long timers and signals wait."""
LONG_TURN = 0.001
"""Seconds. If a turn takes longer, the next is interrupted each time that so many have passed."""


class SelectorPoller:
    """The standard library's best selector (kqueue, poll, select) in the shape of epoll."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def register(self, fd: int, eventmask: int) -> None:
        """Wait for events of `fd`."""
        if eventmask:  # selectors refuse to wait for nothing but errors
            self._selector.register(fd, _to_selector(eventmask))

    def modify(self, fd: int, eventmask: int) -> None:
        """Wait for other events of `fd`."""
        self.unregister(fd)
        self.register(fd, eventmask)

    def unregister(self, fd: int) -> None:
        """Do not wait for `fd` any more."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def poll(self, timeout: float | None, maxevents: int) -> list[tuple[int, int]]:
        """Return the descriptors that are ready, each with its events."""
        ready = self._selector.select(timeout)
        return [
            (
                key.fd,
                (READ if events & selectors.EVENT_READ else 0)
                | (WRITE if events & selectors.EVENT_WRITE else 0),
            )
            for key, events in ready[:maxevents]
        ]

    def fileno(self) -> int:
        """Return the descriptor that is ready when one of those watched is; -1 without one."""
        fileno: Callable[[], int] = getattr(self._selector, "fileno", lambda: -1)
        return fileno()

    def close(self) -> None:
        """Close the selector."""
        self._selector.close()


def _to_selector(eventmask: int) -> int:
    return (selectors.EVENT_READ if eventmask & READ else 0) | (
        selectors.EVENT_WRITE if eventmask & WRITE else 0
    )


def new_poller() -> select.epoll | SelectorPoller:
    """Return epoll where there is one, else the best selector of the standard library."""
    return select.epoll() if hasattr(select, "epoll") else SelectorPoller()


class Loop:
    """Calls `handler(events)` for each watched descriptor that is ready, until `stop`.

    `now` is when the present turn began, in seconds of time.monotonic().
    """

    def __init__(self) -> None:
        self._poller = new_poller()
        self._last_poller = new_poller()
        self._last: set[int] = set()  # the descriptors that this one waits for
        self._serves_last = False  # at the end of this turn
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._soon: list[tuple[int, Callable[[], None]]] = []
        self._calls: deque[Callable[[], None]] = deque()
        self._is_called = False  # since `_calls` were last made, so the loop is awake, or wakes
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timers_made = 0
        self._forgotten: set[int] = set()  # in this turn
        self._late: dict[int, Callable[[int], None]] = {}  # their new handlers, from the next turn
        self._on_long_turn: Callable[[], None] | None = None
        self._on_bug: Callable[[int], None] | None = None
        self._interrupted = 0.0  # when that was called last
        self._count = _EVENTS_AT_ONCE  # handlers to call between two looks at the clock
        self._stopped = False
        self._left = False
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self.watch(self._woken.fileno(), READ, self._on_wake)
        if self._last_poller.fileno() >= 0:
            self.watch(self._last_poller.fileno(), READ, self._on_last)
        self.now = time.monotonic()

    def watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        """Call `handler` whenever `fd` is ready for one of `events`, or broken."""
        if events & LAST and self._last_poller.fileno() >= 0:
            self._last_poller.register(fd, events & ~LAST)
            self._last.add(fd)
            self._on_last(READ)  # it may have come already
        else:
            self._poller.register(fd, events & ~LAST)
        self.handle(fd, handler)

    def change(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        """Wait for other events of a watched descriptor, or with another handler."""
        if events & LAST or fd in self._last:
            self._unregister(fd)
            self.watch(fd, events, handler)
        else:
            self._poller.modify(fd, events)
            self.handle(fd, handler)

    def handle(self, fd: int, handler: Callable[[int], None]) -> None:
        """Replace the handler of a watched descriptor; it waits for the same events."""
        # Of one that had another owner in this turn, what is ready may be the other's.
        (self._late if fd in self._forgotten else self._handlers)[fd] = handler

    def forget(self, fd: int) -> None:
        """Stop watching `fd`; before it is closed as well.

        epoll drops a closed descriptor by itself only if no forked process has a copy of it.
        """
        if self._late.pop(fd, None) is None:
            del self._handlers[fd]
        self._forgotten.add(fd)
        self._unregister(fd)

    def _unregister(self, fd: int) -> None:
        if fd in self._last:
            self._last.remove(fd)
            self._last_poller.unregister(fd)
        else:
            self._poller.unregister(fd)

    def ready(self, fd: int, events: int) -> None:
        """Call the handler of `fd`, if there is one, as if it were ready for `events`."""
        handler = self._late.get(fd) or self._handlers.get(fd)
        if handler is not None:
            handler(events)

    def soon(self, fd: int, call: Callable[[], None]) -> None:
        """Make `call` on behalf of `fd` at the end of a turn, after others have had theirs."""
        self._soon.append((fd, call))

    def call(self, call: Callable[[], None]) -> None:
        """Make `call` at the end of a turn. For any thread, and for signal handlers."""
        self._calls.append(call)
        if not self._is_called:
            self._is_called = True
            self.wake()

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Make `call` after `seconds`."""
        self._timers_made += 1
        heapq.heappush(self._timers, (self.now + seconds, self._timers_made, call))

    def wake(self) -> None:
        """End the current wait, from another thread or from a signal handler."""
        try:
            self._waker.send(b"!")
        except OSError:  # full, so the loop wakes anyway; or closed, so there is none to wake
            return

    def stop(self) -> None:
        """Let `run` return at the end of this turn."""
        self._stopped = True

    def leave(self) -> None:
        """Let `run` return at the end of this turn, to be called again by another thread."""
        self._left = True

    def run(  # noqa: C901, PLR0912 (hot)
        self,
        *,
        on_turn: Callable[[float], None] | None = None,
        on_long_turn: Callable[[], None] | None = None,
        on_turn_end: Callable[[], None] | None = None,
        on_bug: Callable[[int], None] | None = None,
    ) -> bool:
        """Turn until stopped, or left; return whether it was only left.

        What raises has a bug of ours: it is reported, and the rest goes on.

        `on_turn(now)` is called when a turn begins, `on_long_turn()` for each LONG_TURN that it
        lasts, `on_turn_end()` when it ends, `on_bug(fd)` when a handler has raised.
        """
        poll = self._poller.poll
        handlers = self._handlers
        self._on_long_turn, self._on_bug = on_long_turn, on_bug
        self._left = False
        while not (self._stopped or self._left):
            if self._forgotten:
                self._forgotten.clear()
                handlers.update(self._late)
                self._late.clear()
            ready = poll(self._timeout(), _EVENTS_AT_ONCE)
            self.now = now = time.monotonic()
            if on_turn is not None:
                try:
                    on_turn(now)
                except Exception:  # noqa: BLE001
                    report_bug()
            for part in (ready,) if len(ready) <= self._count else self._parts(ready):
                for fd, events in part:
                    handler = handlers.get(fd)
                    if handler is None:
                        continue  # closed in this turn
                    try:
                        handler(events)
                    except Exception:  # noqa: BLE001
                        report_bug()
                        if on_bug is not None:
                            run_guarded(partial(on_bug, fd))
            if len(ready) > 1:
                spent = time.monotonic() - now
                self._count = _EVENTS_AT_ONCE
                if spent > LONG_TURN:
                    self._count = max(1, int(len(ready) * LONG_TURN / spent))
            self._run_due()
            if on_turn_end is not None:
                try:
                    on_turn_end()
                except Exception:  # noqa: BLE001
                    report_bug()
        return not self._stopped

    def _parts(self, ready: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
        """Yield what is ready in parts, each LONG_TURN of work by the last turn's measure."""
        count = self._count
        for start in range(0, len(ready), count):
            yield ready[start : start + count]
            self._look_at_clock()

    def _look_at_clock(self) -> None:
        """Call `on_long_turn` if the turn has lasted long since that was done last."""
        since = max(self.now, self._interrupted)
        if self._on_long_turn is not None and time.monotonic() - since > LONG_TURN:
            run_guarded(self._on_long_turn)
            self._interrupted = time.monotonic()

    def close(self) -> None:
        """Give back the loop's own descriptors."""
        self._woken.close()
        self._waker.close()
        self._last_poller.close()
        self._poller.close()

    def _timeout(self) -> float | None:
        """Return how long the loop may wait, in seconds; None for ever."""
        if self._soon:
            return 0
        if self._timers:
            return max(0.0, self._timers[0][0] - time.monotonic())
        return None

    def _run_due(self) -> None:
        """Make the calls that were put off for now."""
        self._is_called = False  # first: what is added from now on may come too late to be seen
        while self._calls:
            run_guarded(self._calls.popleft())
            self._look_at_clock()
        if self._soon:
            calls, self._soon = self._soon, []
            for fd, call in calls:
                self._call(fd, call)
                self._look_at_clock()
        while self._timers and self._timers[0][0] <= self.now:
            run_guarded(heapq.heappop(self._timers)[2])

    def _call(self, fd: int, call: Callable[[], None]) -> None:
        if not run_guarded(call) and self._on_bug is not None:
            run_guarded(partial(self._on_bug, fd))

    def _on_last(self, _events: int) -> None:
        if not self._serves_last:
            self._serves_last = True
            self.soon(-1, self._serve_last)

    def _serve_last(self) -> None:
        """At the end of a turn: serve some of what is LAST, one by one, so that each has a turn."""
        self._serves_last = False
        end = time.monotonic() + LAST_SECONDS
        while ready := self._last_poller.poll(0, 1):
            for fd, events in ready:
                if handler := self._handlers.get(fd):
                    self._call(fd, partial(handler, events))
            if time.monotonic() > end:
                break

    def _on_wake(self, _events: int) -> None:
        self._woken.recv(4096)


def run_guarded(call: Callable[[], None]) -> bool:
    """Make `call`; False if it raised."""
    try:
        call()
    except Exception:  # noqa: BLE001
        report_bug()
        return False
    return True


def report_bug() -> None:
    """Tell the operator of an exception that should not have come here. Raises nothing."""
    with contextlib.suppress(Exception):  # there may be no memory for it
        if isinstance(sys.exception(), MemoryError):
            tell("portico: out of memory\n")
            return
        told = f"{sys.exception()!r}\n"
        with contextlib.suppress(ImportError, OSError):  # a user who cannot read Python's code
            import traceback  # here, because it costs a start two milliseconds

            told = traceback.format_exc()
        tell(f"portico: a bug, please report it:\n{told}")
