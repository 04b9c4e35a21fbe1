"""The event loop: waits for file descriptors, calls their handlers, runs timers. Knows no HTTP.

One iteration, called a turn, does in this order: wait for ready descriptors, set `now`, call
`on_turn`, call the handler of each ready descriptor, make the calls scheduled by `call` and `soon`,
serve a few LAST descriptors, run the timers that are due, call `on_turn_end`. An exception in any
of these calls is reported, and the loop continues.

The loop is level-triggered: a handler need not read or write everything at once, because it is
called again in the next iteration.

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
"""The descriptor can be read; equal to EPOLLIN."""
WRITE = 0x004
"""The descriptor can be written; equal to EPOLLOUT."""
EXCLUSIVE = getattr(select, "EPOLLEXCLUSIVE", 0)
"""With READ: if several processes wait for the same socket, wake only one; 0 without epoll."""
LAST = 1 << 20
"""With READ: call the handler after all others, in the order in which descriptors became ready.
In each iteration at least one is served, and more within LAST_SECONDS. For work of which hostile
clients can cause a lot at once: incomplete request heads, steps of TLS handshakes."""
LAST_SECONDS = 0.0001
"""Time for about ten incomplete heads; a step of a handshake takes much longer."""

_EVENTS_AT_ONCE = 512
"""Most descriptors handled per iteration, so that timers and signals do not wait long."""
LONG_TURN = 0.001
"""Seconds after which an iteration is long: `on_long_turn` is called about this often between the
handlers of the next one, and between the calls scheduled by `call` and `soon`."""


class SelectorPoller:
    """The interface of select.epoll over the best selector of the standard library."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def register(self, fd: int, eventmask: int) -> None:
        """Start waiting for the events `eventmask` of `fd`."""
        if eventmask:  # unlike epoll, selectors refuse to wait for errors only
            self._selector.register(fd, _to_selector(eventmask))

    def modify(self, fd: int, eventmask: int) -> None:
        """Replace the events to wait for on `fd`."""
        self.unregister(fd)
        self.register(fd, eventmask)

    def unregister(self, fd: int) -> None:
        """Stop waiting for `fd`."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def poll(self, timeout: float | None, maxevents: int) -> list[tuple[int, int]]:
        """Wait up to `timeout` seconds; return pairs of a ready descriptor and its events."""
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
        """Return the selector's own descriptor, readable while a registered one is ready.

        Return -1 if the selector has none.
        """
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
    """Return an epoll object if the system has epoll, else a SelectorPoller."""
    return select.epoll() if hasattr(select, "epoll") else SelectorPoller()


class Loop:
    """Calls `handler(events)` for each watched descriptor that is ready, until `stop`.

    `now` is when the current iteration began, in seconds of time.monotonic().
    """

    def __init__(self) -> None:
        self._poller = new_poller()
        self._last_poller = new_poller()
        self._last: set[int] = set()  # the descriptors registered with `_last_poller`
        self._serves_last = False  # whether `_serve_last` is scheduled
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._soon: list[tuple[int, Callable[[], None]]] = []
        self._calls: deque[Callable[[], None]] = deque()
        self._is_called = False  # whether `call` has woken the loop since `_calls` were last made
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timers_made = 0
        self._forgotten: set[int] = set()  # descriptors forgotten in this iteration
        # Handlers of numbers in `_forgotten` that are watched anew, used from the next iteration.
        self._late: dict[int, Callable[[int], None]] = {}
        self._on_long_turn: Callable[[], None] | None = None
        self._on_bug: Callable[[int], None] | None = None
        self._interrupted = 0.0  # when `_on_long_turn` was last called
        self._count = _EVENTS_AT_ONCE  # handlers to call between two checks of the clock
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
        """Call `handler(events)` whenever `fd` is ready for one of `events`, or has an error."""
        if events & LAST and self._last_poller.fileno() >= 0:
            self._last_poller.register(fd, events & ~LAST)
            self._last.add(fd)
            self._on_last(READ)  # the descriptor may be ready already
        else:
            self._poller.register(fd, events & ~LAST)
        self.handle(fd, handler)

    def change(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        """Replace the events and the handler of a watched descriptor."""
        if events & LAST or fd in self._last:
            self._unregister(fd)
            self.watch(fd, events, handler)
        else:
            self._poller.modify(fd, events)
            self.handle(fd, handler)

    def handle(self, fd: int, handler: Callable[[int], None]) -> None:
        """Replace the handler of a watched descriptor, and keep its events."""
        # If `fd` was closed and opened again in this iteration, events already returned by the
        # poller may be those of its former owner, so the new handler must not get them.
        (self._late if fd in self._forgotten else self._handlers)[fd] = handler

    def forget(self, fd: int) -> None:
        """Stop watching `fd`. Call this before closing `fd`, too.

        epoll forgets a closed descriptor by itself only if no forked process has a copy of it.
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
        """Call the handler of `fd` now, as if `fd` were ready for `events`. No-op without one."""
        handler = self._late.get(fd) or self._handlers.get(fd)
        if handler is not None:
            handler(events)

    def soon(self, fd: int, call: Callable[[], None]) -> None:
        """Schedule `call` to run after all handlers of this iteration.

        If they have run already, `call` waits for the next iteration. If `call` raises,
        `on_bug(fd)` is called.
        """
        self._soon.append((fd, call))

    def call(self, call: Callable[[], None]) -> None:
        """Schedule `call` to run in the loop's thread. For any thread, and for signal handlers."""
        self._calls.append(call)
        if not self._is_called:
            self._is_called = True
            self.wake()

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Schedule `call` in `seconds`, counted from the beginning of this iteration."""
        self._timers_made += 1
        heapq.heappush(self._timers, (self.now + seconds, self._timers_made, call))

    def wake(self) -> None:
        """End the current wait, from another thread or from a signal handler."""
        try:
            self._waker.send(b"!")
        except OSError:  # the buffer is full, so the loop wakes anyway; or the loop is closed
            return

    def stop(self) -> None:
        """Make `run` return at the end of this iteration."""
        self._stopped = True

    def leave(self) -> None:
        """Make `run` return at the end of this iteration, so that another thread can call it."""
        self._left = True

    def run(  # noqa: C901, PLR0912 (hot)
        self,
        *,
        on_turn: Callable[[float], None] | None = None,
        on_long_turn: Callable[[], None] | None = None,
        on_turn_end: Callable[[], None] | None = None,
        on_bug: Callable[[int], None] | None = None,
    ) -> bool:
        """Run until `stop` or `leave` is called; return False after `stop`, True after `leave`.

        `on_turn(now)` is called when an iteration begins, `on_long_turn()` for each LONG_TURN that
        it lasts, `on_turn_end()` when it ends. An exception in a call or handler is a bug in
        Portico: it is reported, `on_bug(fd)` is called if it has a descriptor, and the loop
        continues.
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
                        continue  # an earlier handler of this iteration has forgotten `fd`
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
        """Yield `ready` in parts, and check the clock after each.

        A part takes about LONG_TURN, by the speed of the preceding iteration.
        """
        count = self._count
        for start in range(0, len(ready), count):
            yield ready[start : start + count]
            self._look_at_clock()

    def _look_at_clock(self) -> None:
        """Call `on_long_turn` if LONG_TURN has passed since its last call in this iteration."""
        since = max(self.now, self._interrupted)
        if self._on_long_turn is not None and time.monotonic() - since > LONG_TURN:
            run_guarded(self._on_long_turn)
            self._interrupted = time.monotonic()

    def close(self) -> None:
        """Close the loop's own descriptors."""
        self._woken.close()
        self._waker.close()
        self._last_poller.close()
        self._poller.close()

    def _timeout(self) -> float | None:
        """Return how long the poller may wait, in seconds; None for any time."""
        if self._soon:
            return 0
        if self._timers:
            return max(0.0, self._timers[0][0] - time.monotonic())
        return None

    def _run_due(self) -> None:
        """Make the calls scheduled by `call` and `soon`, and run the timers that are due."""
        # Reset before the calls: `call` must wake the loop for a call added after the last check.
        self._is_called = False
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
        """Call the handlers of LAST descriptors for LAST_SECONDS, but of at least one.

        They are polled one by one, so that the poller returns all of them in turn.
        """
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
    """Make `call`, and report an exception. Return False if there was one."""
    try:
        call()
    except Exception:  # noqa: BLE001
        report_bug()
        return False
    return True


def report_bug() -> None:
    """Write the exception being handled, which is a bug in Portico, to stderr. Never raises."""
    with contextlib.suppress(Exception):  # there may be too little memory for the report
        if isinstance(sys.exception(), MemoryError):
            tell("portico: out of memory\n")
            return
        told = f"{sys.exception()!r}\n"
        with contextlib.suppress(ImportError, OSError):  # `--user` may be unable to read the code
            import traceback  # not at the top: it would delay the start by two milliseconds

            told = traceback.format_exc()
        tell(f"portico: a bug, please report it:\n{told}")
