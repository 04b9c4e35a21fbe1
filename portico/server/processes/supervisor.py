"""The supervisor of worker processes, which share the same listening sockets.

Signal handlers only queue an action. The event loop performs it and receives the workers' messages.
At the end of each iteration it starts missing workers, and takes the next step of a reload or stop:

1. A generation is a set of workers with the same configuration and code, each in a slot. A worker
   that ends without a command to end is replaced after 0.1 s. The pause doubles, up to 10 s, when
   the worker of a slot dies within 10 s of its start.
2. A reload starts the next generation on the same sockets, so no client is turned away. When all
   its workers are ready, they begin to accept and the old ones are retired. When one of the new
   workers cannot start, all new ones are killed, and the old ones continue to serve.
3. A stop closes the sockets and lets all workers drain. Workers that take too long are killed.
4. Each worker that serves gets a PING every PING_SECONDS. A worker with PINGS_UNANSWERED open
   pings, because it is stopped or its loop hangs, is killed. Since pings are counted instead of
   time, no worker is killed because the whole machine was asleep.

When the supervisor dies, its workers notice and drain (see `worker_main`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from portico.config.config import ConfigError
from portico.server.net.listeners import BindError, discard
from portico.server.net.loop import READ, Loop
from portico.server.processes import systemd
from portico.server.processes.signals import reap
from portico.server.processes.worker_main import (
    DRAIN,
    END,
    LEAVING,
    PONG,
    READY,
    RETIRE,
    SERVED,
    UNSANDBOXED,
    WARNING,
)
from portico.server.processes.worker_process import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from portico.config.config import Config
    from portico.server.net.listeners import Listeners
    from portico.server.telemetry.counters import ServerCounters

PAUSE_SECONDS = 0.1
"""How long a slot stays empty after its worker has died; doubled as long as its workers die before
STEADY_SECONDS."""
LONGEST_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 10.0
"""The age of a worker from which on its death does not double the pause."""
BOOT_SECONDS = 60.0
"""How long a worker may take to send READY; then it is killed."""
LEAVE_SECONDS = 10.0
"""How long a reload waits for the old workers to stop accepting."""
KILL_SECONDS = 5.0
"""How long after the grace time a worker that has not ended is killed."""
PING_SECONDS = 10.0
PINGS_UNANSWERED = 6
"""Makes a minute: a busy machine or a slow disk delays a loop far less."""


class StartError(Exception):
    """The first workers did not start."""


class Slot:
    """The place of one worker of a generation."""

    def __init__(self) -> None:
        self.worker: WorkerProcess | None = None
        self.pause = 0.0
        """Seconds between the last worker's end and the start of the next one; 0 at first."""
        self.due = 0.0
        """When the next worker may be started, in monotonic seconds."""


class Generation:
    """Workers with the same configuration and the same code."""

    def __init__(self, config: Config, listeners: Listeners) -> None:
        self.config = config
        self.listeners = listeners
        self.slots = [Slot() for _ in range(config.workers)]
        self.failure = ""
        """Why this generation cannot take over; empty while nothing has failed."""

    @property
    def is_ready(self) -> bool:
        """Whether all workers of this generation are ready."""
        return all(slot.worker is not None and slot.worker.ready for slot in self.slots)

    @property
    def status(self) -> str:
        """The number of workers as text for the operator."""
        return "1 worker" if len(self.slots) == 1 else f"{len(self.slots)} workers"

    def slot_of(self, worker: WorkerProcess) -> Slot | None:
        """Return the slot of `worker`; None if it is not, or no longer, in this generation."""
        return next((slot for slot in self.slots if slot.worker is worker), None)


class Supervisor:
    """Keeps the workers of a generation running until it is stopped."""

    def __init__(
        self,
        first: Generation,
        *,
        load: Callable[[Listeners], Generation],
        on_start: Callable[[Config, Listeners, bool], None],
        report: Callable[[str], None],
        metrics: ServerCounters | None = None,
    ) -> None:
        """`load` reads the configuration again and returns the next generation.

        It is given the present listening sockets and keeps those that are still wanted; it raises
        ConfigError or BindError. `on_start` is called once, when the workers of `first` serve; its
        third argument tells whether the system refuses them the sandbox. `report` shows a text to
        the operator. `metrics` is None when metrics are off.
        """
        self.requests = 0
        """Requests answered by the workers that have ended."""
        self.cut = 0
        """Responses that these workers cut off when they ended."""
        self._load = load
        self._on_start = on_start
        self._report = report
        self._metrics = metrics
        self._next: Generation | None = first
        self._current: Generation | None = None
        self._workers: list[WorkerProcess] = []
        """All worker processes, including those of former generations that have not ended yet."""
        self._loop = Loop()
        self._reload_asked = False
        self._hand_over_until: float | None = None
        """Until when a reload waits for old workers to stop accepting; None while it does not.

        In the loop's monotonic seconds.
        """
        self._stopping = False
        self._failure = ""

    def stop(self) -> None:
        """Have all workers drain; end at once when called again. Signal handlers may call this."""
        self._loop.call(self._stop)

    def reload(self) -> None:
        """Replace all workers by new ones, with the present code and configuration."""
        self._reload_asked = True
        self._loop.wake()

    def call(self, what: Callable[[], None]) -> None:
        """Have the event loop call `what`. Signal handlers may call this."""
        self._loop.call(what)

    def run(self) -> None:
        """Supervise until stopped and all workers have ended. Raises StartError."""
        self._loop.wake()
        self._loop.later(PING_SECONDS, self._ping)
        systemd.watch(self._loop.later)
        try:
            self._loop.run(on_turn_end=self._reconcile)
        finally:
            for worker in self._workers:  # empty unless the loop has raised an exception
                worker.control.close()
            self._loop.close()
        if self._failure:
            raise StartError(self._failure)

    def _reconcile(self) -> None:
        """Start the workers that are missing, and take the next steps of a reload or a stop."""
        if self._stopping:
            if not self._workers:
                self._loop.stop()
            return
        for generation in self._generations():
            self._fill(generation)
        if self._next is not None and self._next.failure:
            self._give_up(self._next)
        if self._next is not None and self._next.is_ready:
            self._adopt(self._next)
        if self._hand_over_until is not None:
            self._await_hand_over(self._hand_over_until)
        is_idle = self._next is None and self._hand_over_until is None and not self._stopping
        if self._reload_asked and is_idle:
            self._begin_reload()

    def _generations(self) -> list[Generation]:
        return [each for each in (self._current, self._next) if each is not None]

    def _reconcile_in(self, seconds: float) -> None:
        self._loop.later(seconds, self._loop.wake)

    # Workers

    def _fill(self, generation: Generation) -> None:
        """Start a worker in each empty slot whose pause is over."""
        for number, slot in enumerate(generation.slots):
            if slot.worker is None and slot.due <= self._loop.now and not generation.failure:
                try:
                    slot.worker = self._start(number, generation)
                except OSError as error:
                    self._vacate(
                        generation, slot, f"worker {number + 1} cannot be started: {error}"
                    )
                    continue
                if self._metrics is not None and slot.pause:
                    self._metrics.restarts += 1

    def _start(self, number: int, generation: Generation) -> WorkerProcess:
        counters = None if self._metrics is None else self._metrics.add(shared=True)
        try:
            worker = WorkerProcess(number, generation.config, generation.listeners, counters)
        except OSError:
            if self._metrics is not None and counters is not None:
                self._metrics.remove(counters)
            raise
        self._workers.append(worker)
        self._loop.watch(worker.fd, READ, partial(self._receive, worker))
        self._loop.later(BOOT_SECONDS, partial(self._check_boot, worker))
        return worker

    def _check_boot(self, worker: WorkerProcess) -> None:
        if not worker.ready and worker in self._workers:
            worker.process.kill()
            self._lost(worker, f"was not ready within {BOOT_SECONDS:g} s")

    def _receive(self, worker: WorkerProcess, _events: int) -> None:
        """Act on the messages of `worker`, or on its end."""
        messages = worker.receive()
        if messages is None:
            self._ended(worker)
            return
        for message in messages:
            if message == READY:
                worker.ready = True
                if self._current is not None and self._current.slot_of(worker) is not None:
                    worker.go()
            elif message == UNSANDBOXED:
                worker.is_sandboxed = False
            elif message == PONG:
                worker.pings = 0
            elif message == LEAVING:
                self._lost(worker, "has been told to end")
            elif message.startswith(SERVED):
                requests, cut = map(int, message.removeprefix(SERVED).split())
                self.requests += requests
                self.cut += cut
            elif message.startswith(WARNING):
                self._report(message.removeprefix(WARNING).decode("utf-8", "replace"))

    def _ping(self) -> None:
        """Ping all workers that serve, and kill those that have not answered too many pings."""
        self._loop.later(PING_SECONDS, self._ping)
        for worker in self._workers:
            if worker.pings == PINGS_UNANSWERED:
                worker.process.kill()
                self._report(f"{worker} has not reacted for a long time, so it is killed")
            if worker.serves:
                worker.ping()

    def _ended(self, worker: WorkerProcess) -> None:
        self._loop.forget(worker.fd)
        worker.control.close()
        self._workers.remove(worker)
        self._lost(worker, worker.wait())
        if self._metrics is not None and worker.counters is not None:
            self._metrics.remove(worker.counters)
        self.reap()  # one SIGCHLD may stand for several ended children

    def reap(self) -> None:
        """Reap ended children that are not workers, as process 1."""
        reap({worker.process.pid for worker in self._workers})

    def _lost(self, worker: WorkerProcess, why: str) -> None:
        """Note that `worker` accepts no more connections, and vacate its slot, if it still has one.

        Workers that were told to stop have none.
        """
        worker.accepts = False
        for generation in self._generations():
            slot = generation.slot_of(worker)
            if slot is not None:
                self._vacate(generation, slot, f"{worker} {why}")

    def _vacate(self, generation: Generation, slot: Slot, why: str) -> None:
        worker, slot.worker = slot.worker, None
        if generation is self._next:
            generation.failure = why
            return
        if worker is not None and self._loop.now - worker.started > STEADY_SECONDS:
            slot.pause = 0.0
        slot.pause = min(LONGEST_PAUSE_SECONDS, 2 * slot.pause or PAUSE_SECONDS)
        slot.due = self._loop.now + slot.pause
        self._reconcile_in(slot.pause)
        self._report(f"{why}; another takes its place in {slot.pause:g} s")

    # Reload

    def _begin_reload(self) -> None:
        self._reload_asked = False
        systemd.reloading()
        current = self._current
        try:
            self._next = self._load({} if current is None else current.listeners)
        except (ConfigError, BindError) as problem:
            self._refuse_reload(str(problem))
        self._loop.wake()

    def _refuse_reload(self, why: str) -> None:
        if self._metrics is not None:
            self._metrics.failed_reloads += 1
        self._report(f"not reloaded, all goes on as before: {why}")
        systemd.ready(f"Not reloaded: {why}")

    def _give_up(self, coming: Generation) -> None:
        """Kill the next generation, one of whose workers failed; it has accepted no connection."""
        self._next = None
        for slot in coming.slots:
            if slot.worker is not None:
                slot.worker.process.kill()
        if self._current is None:
            discard(coming.listeners)
            self._failure = coming.failure
            self._stop()
        else:
            discard(coming.listeners, kept=self._current.listeners)
            self._refuse_reload(coming.failure)

    def _adopt(self, coming: Generation) -> None:
        """Let the next generation, which is ready, accept connections; retire all other workers."""
        former, self._current, self._next = self._current, coming, None
        for worker in self._workers:
            if coming.slot_of(worker) is not None:
                worker.go()
            elif worker.accepts:
                worker.send(RETIRE)
        if former is None:
            is_refused = not all(worker.is_sandboxed for worker in self._workers)
            self._on_start(coming.config, coming.listeners, is_refused)
            systemd.ready(coming.status)
        else:
            discard(former.listeners, kept=coming.listeners)
            self._hand_over_until = self._loop.now + LEAVE_SECONDS
            self._reconcile_in(LEAVE_SECONDS)

    def _await_hand_over(self, until: float) -> None:
        """End the reload if no old worker accepts any more, or the time `until` has come."""
        current = self._current
        assert current is not None  # noqa: S101 (only a generation that serves is reloaded)
        old = [each for each in self._workers if each.accepts and current.slot_of(each) is None]
        if old and self._loop.now < until:
            return
        self._hand_over_until = None
        for worker in old:
            self._report(f"process {worker.process.pid}, an old worker, does not react")
        if self._metrics is not None:
            self._metrics.reloads += 1
        self._report(f"reloaded: {current.status}")
        systemd.ready(current.status)

    # Stop

    def _stop(self) -> None:
        seconds = KILL_SECONDS
        if not self._stopping:
            systemd.stopping()
            for generation in self._generations():
                discard(generation.listeners)
                seconds = max(seconds, generation.config.grace + KILL_SECONDS)
        for worker in self._workers:
            worker.send(END if self._stopping else DRAIN)
            if not worker.ready:  # and therefore has no clients
                worker.process.kill()
        self._stopping = True
        self._current = self._next = None
        self._loop.later(seconds, self._kill_all)
        self._loop.wake()  # if there is no worker, nothing else wakes the loop to end

    def _kill_all(self) -> None:
        for worker in self._workers:
            worker.process.kill()
