"""Several worker processes on the same listening sockets: started, watched, replaced, renewed.

Signals only queue. The loop acts on them, hears what workers say, and reconciles what runs with
what is wanted:

1. Workers that have ended are taken off the list. Whoever was not told to is replaced: at once, or
   after a pause that doubles while workers die young.
2. A generation is the workers that share a configuration, and code. A reload starts the next one on
   the same sockets, which stay open, so no client is turned away. Only when each worker of it is
   ready do they begin to accept, and the old ones are retired. When one of them cannot start, all
   of them go, and the old ones never knew.
3. To stop is to close the sockets and to have all workers drain. One that has not ended some time
   after it should have is killed.

When the supervisor dies, whatever the reason, its workers notice and drain (see `process`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from portico.config.config import ConfigError
from portico.server.net.listeners import BindError, discard
from portico.server.net.loop import READ, Loop
from portico.server.processes import systemd
from portico.server.processes.generation import Generation, start
from portico.server.processes.worker_main import (
    COMPLAINT,
    DRAIN,
    END,
    GO,
    LEAVING,
    READY,
    RETIRE,
    SERVED,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from portico.config.config import Config
    from portico.server.net.listeners import Listeners
    from portico.server.processes.generation import Child, Place
    from portico.server.telemetry.counters import Ledger

PAUSE_SECONDS = 0.1
"""How long a place stays empty after its worker has died young: a while, doubled each time."""
LONGEST_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 10.0
"""A worker that has lived so long has not died young."""
BOOT_SECONDS = 60.0
"""How long a worker may take to be ready."""
LEAVE_SECONDS = 10.0
"""How long a reload waits for the old workers to accept no more."""
KILL_SECONDS = 5.0
"""How long after its time a worker that does not end is killed."""


class StartError(Exception):
    """The first workers did not come up."""


class Surroundings(Protocol):
    """What the supervisor needs of the program around it."""

    def renew(self, held: Listeners) -> tuple[Config, Listeners]:
        """The configuration as it is now, and its sockets: of those `held`, and new ones.

        Raises ConfigError or BindError.
        """
        ...

    def started(self, config: Config, listeners: Listeners) -> None:
        """All workers serve for the first time."""
        ...

    def say(self, text: str) -> None:
        """Tell the operator."""
        ...


class Supervisor:
    """Keeps workers running until it is stopped.

    `stop`, `reload`, `call` and `look` may be called from signal handlers.
    """

    def __init__(
        self,
        config: Config,
        listeners: Listeners,
        surroundings: Surroundings,
        ledger: Ledger | None = None,
    ) -> None:
        """`ledger` is where the workers' counts come together, if somebody wants to know."""
        self.requests = 0
        """Requests answered by the workers that have ended."""
        self._around = surroundings
        self._ledger = ledger
        self._next: Generation | None = Generation(config, listeners)
        self._current: Generation | None = None
        self._children: list[Child] = []
        self._loop = Loop()
        self._stops_asked = 0
        self._stops = 0
        self._reload_asked = False
        self._hand_over_until = 0.0
        """When the old workers must have left; 0 while there are none that accept."""
        self._kill_at = 0.0
        self._failure = ""

    def stop(self) -> None:
        """Have all workers drain; asked again, end at once."""
        self._stops_asked += 1
        self._loop.wake()

    def reload(self) -> None:
        """Replace all workers by new ones, with the code and the configuration as they are now."""
        self._reload_asked = True
        self._loop.wake()

    def call(self, what: Callable[[], None]) -> None:
        """Have the loop call `what`."""
        self._loop.call(what)

    def look(self) -> None:
        """Look after the workers: one of them has ended."""
        self._loop.wake()

    def run(self) -> None:
        """Serve until stopped, and all workers have ended. Raises StartError."""
        self._loop.wake()
        try:
            self._loop.run(on_rest=self._reconcile)
        finally:
            for child in self._children:  # none, unless there is a bug
                child.control.close()  # then they drain
            self._loop.close()
        if self._failure:
            raise StartError(self._failure)

    def _reconcile(self) -> None:
        """At the end of each turn."""
        self._reap()
        if self._stops_asked > self._stops:
            self._begin_end()
        if self._stops:
            self._see_to_the_end()
            return
        self._see_to_reload()
        for generation in self._generations():
            self._fill(generation)

    def _generations(self) -> list[Generation]:
        return [each for each in (self._current, self._next) if each is not None]

    # Workers

    def _fill(self, generation: Generation) -> None:
        """Start the workers that are missing."""
        for number, place in enumerate(generation.places):
            if place.child is None and place.due <= self._loop.now and not generation.failure:
                try:
                    child = start(number, generation, self._ledger)
                except OSError as error:
                    why = f"worker {number + 1} cannot be started: {error.strerror}"
                    self._vacate(generation, place, why)
                    continue
                place.child = child
                if self._ledger is not None and place.pause:
                    self._ledger.restarts += 1
                self._children.append(child)
                self._loop.later(BOOT_SECONDS + 1, _nothing)
                self._loop.watch(child.control.fileno(), READ, partial(self._hear, child))

    def _hear(self, child: Child, _events: int = READ) -> None:
        """Take in what a worker says."""
        try:
            data = child.control.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:  # it ends: SIGCHLD will tell
            self._loop.forget(child.control.fileno())
            child.control.close()
            return
        *lines, child.heard = (child.heard + data).split(b"\n")
        for line in lines:
            if line == READY:
                child.ready = True
                if self._current is not None and self._current.place_of(child) is not None:
                    child.tell(GO)
            elif line == LEAVING:
                self._lost(child, "has been told to end")
            elif line.startswith(SERVED):
                self.requests += int(line.removeprefix(SERVED))
            elif line.startswith(COMPLAINT):
                self._around.say(line.removeprefix(COMPLAINT).decode("utf-8", "replace"))

    def _reap(self) -> None:
        """Take those off the list that have ended."""
        for child in list(self._children):
            if child.process.poll() is not None:
                while child.control.fileno() >= 0:
                    self._hear(child)  # its last words
                self._children.remove(child)
                if self._ledger is not None and child.counts is not None:
                    self._ledger.close(child.counts)
                self._lost(child, child.ending)
            elif not child.ready and self._loop.now - child.born > BOOT_SECONDS:
                child.process.kill()
                self._lost(child, f"was not ready within {BOOT_SECONDS:g} s")

    def _lost(self, child: Child, why: str) -> None:
        """A worker accepts no more. If it was not told so, its place is to be filled again."""
        child.accepts = False
        for generation in self._generations():
            place = generation.place_of(child)
            if place is not None:
                who = f"worker {child.number + 1} (process {child.process.pid})"
                self._vacate(generation, place, f"{who} {why}")

    def _vacate(self, generation: Generation, place: Place, why: str) -> None:
        child, place.child = place.child, None
        if generation is self._next:
            generation.failure = why
            return
        if child is not None and self._loop.now - child.born > STEADY_SECONDS:
            place.pause = 0.0
        place.pause = min(LONGEST_PAUSE_SECONDS, 2 * place.pause or PAUSE_SECONDS)
        place.due = self._loop.now + place.pause
        self._loop.later(place.pause, _nothing)
        self._around.say(f"{why}; another takes its place in {place.pause:g} s")

    # Reload

    def _see_to_reload(self) -> None:
        """Bring what is under way of a reload a step further, or begin one."""
        coming = self._next
        if coming is not None:
            if coming.failure:
                self._give_up(coming)
            elif coming.is_ready:
                self._adopt(coming)
        elif self._hand_over_until:
            self._see_to_hand_over(self._hand_over_until)
        elif self._reload_asked:
            self._reload_asked = False
            self._begin_reload()

    def _begin_reload(self) -> None:
        systemd.reloading()
        current = self._current
        try:
            config, listeners = self._around.renew({} if current is None else current.listeners)
        except (ConfigError, BindError) as problem:
            self._refuse_reload(str(problem))
            return
        self._next = Generation(config, listeners)

    def _refuse_reload(self, why: str) -> None:
        if self._ledger is not None:
            self._ledger.failed_reloads += 1
        self._around.say(f"not reloaded, all goes on as before: {why}")
        systemd.ready(f"Not reloaded: {why}")

    def _give_up(self, coming: Generation) -> None:
        """The next generation cannot take over; none of it has accepted anything."""
        self._next = None
        for place in coming.places:
            if place.child is not None:
                place.child.process.kill()
        current = self._current
        if current is None:
            self._failure = coming.failure
            self._next = coming  # its sockets are to be closed
            self.stop()
            return
        _discard_but(coming.listeners, current.listeners)
        self._refuse_reload(coming.failure)

    def _adopt(self, coming: Generation) -> None:
        """The next generation is ready: let it accept, and retire all others."""
        former, self._current, self._next = self._current, coming, None
        for child in self._children:
            if coming.place_of(child) is not None:
                child.tell(GO)
            elif child.accepts:
                child.tell(RETIRE)
        if former is None:
            self._around.started(coming.config, coming.listeners)
            systemd.ready(coming.status)
        else:
            _discard_but(former.listeners, coming.listeners)
            self._hand_over_until = self._loop.now + LEAVE_SECONDS
            self._loop.later(LEAVE_SECONDS, _nothing)

    def _see_to_hand_over(self, until: float) -> None:
        """A reload is done when no old worker accepts any more."""
        current = self._current
        if current is None:
            return
        stay = [each for each in self._children if each.accepts and not current.place_of(each)]
        if stay and self._loop.now < until:
            return
        self._hand_over_until = 0.0
        for child in stay:
            self._around.say(f"process {child.process.pid}, an old worker, does not react")
        if self._ledger is not None:
            self._ledger.reloads += 1
        self._around.say(f"reloaded: {current.status}")
        systemd.ready(current.status)

    # The end

    def _begin_end(self) -> None:
        """Act on `stop`."""
        at_once = self._stops > 0 or self._stops_asked > 1
        self._stops = self._stops_asked
        patience = KILL_SECONDS
        if not at_once:
            systemd.stopping()
        for generation in self._generations():
            discard(generation.listeners)
            generation.listeners, generation.places = {}, []
            patience = max(patience, generation.config.grace + KILL_SECONDS)
        for child in self._children:
            child.tell(END if at_once else DRAIN)
            if not child.ready:  # it serves nobody, and does not listen yet
                child.process.kill()
        self._kill_at = self._loop.now + patience
        self._loop.later(patience, _nothing)

    def _see_to_the_end(self) -> None:
        if not self._children:
            self._loop.stop()
        elif self._loop.now >= self._kill_at:
            for child in self._children:
                child.process.kill()


def _discard_but(listeners: Listeners, kept: Listeners) -> None:
    """Close those of the sockets that are not among the kept."""
    discard({name: each for name, each in listeners.items() if kept.get(name) is not each})


def _on_turn(_now: float) -> None:
    """Nothing is to be done when a turn begins."""


def _on_bug(_fd: int) -> None:
    """What has failed was reported; all else goes on."""


def _nothing() -> None:
    """Reconciling is all that is to be done when the time has come."""
