"""The director, as the one of OpenFL 1.6 behaves: all it knows is in memory, and an unfinished experiment is offered
again at every poll, failed or not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from fedenvoy.calls import CallError, CallKind

from simulation.kernel import Kernel
from simulation.network import Call, Network, failure
from simulation.schedule import Archive

__all__ = ["Director", "Experiment"]


@dataclass(slots=True)
class Experiment:
    """A submitted experiment.

    Attributes:
        archive: What is downloaded.
        ready_at: When its aggregator exists; a node that polls again before gets an error.
        finished: Whether its rounds are over.
        failed: Whether some node said that it failed.

    """

    archive: Archive
    ready_at: float
    finished: bool = False
    failed: bool = False


class Director:
    """One director over all its lives.

    Attributes:
        up: Whether its process runs.
        life: How often it was started.
        frozen: While above zero, it is stopped: it takes calls and does nothing about them.
        refusing: While above zero, it accepts no shard.
        erring: Chance that a call raises inside it.
        period: Seconds between health checks.
        registered: Whether it knows the node.
        experiments: What it holds, by name.

    """

    def __init__(self, kernel: Kernel, network: Network, periods: tuple[float, ...]) -> None:
        self._kernel = kernel
        self._network = network
        self._periods = periods
        self.up = True
        self.life = 1
        self.frozen = self.refusing = 0
        self.erring = 0.0
        self.registered = False
        self.experiments: dict[str, Experiment] = {}
        self._aggregators: set[str] = set()
        self._latest: dict[str, str] = {}
        self._queue: deque[str] = deque()
        self._current: str | None = None
        self._parked: list[Call] = []
        self._backlog: list[Call] = []
        self._ways: dict[str, Callable[[Call], object]] = {
            "register": self._register,
            "health": self._health,
            "poll": self._poll,
            "data": self._data,
            "report": self._report,
        }

    @property
    def period(self) -> float:
        """Seconds between health checks; each life may want another."""
        return self._periods[self.life % len(self._periods)]

    # --- its process

    def crash(self) -> None:
        """End the process; everything it knew is gone, and the connections with it."""
        if not self.up:
            return
        self.up = False
        self.registered = False
        self.experiments = {}
        self._aggregators.clear()
        self._queue.clear()
        self._current = None
        self._parked.clear()
        self._backlog.clear()
        self._network.reset(client_sees=not self._network.vanishing, server_sees=True)
        self._kernel.log("director", "is down")

    def start(self) -> None:
        """Begin anew, knowing nothing."""
        if not self.up:
            self.up, self.life = True, self.life + 1
            self._kernel.log("director", "is up, life %d", self.life)

    def thaw(self) -> None:
        """Go on with what has come in meanwhile."""
        backlog, self._backlog = self._backlog, []
        for call in backlog:
            self.receive(call)

    # --- its users

    def submit(self, archive: Archive) -> bool:
        """Take an experiment; tell whether there was anybody to take it."""
        if not self.up or self.frozen:
            return False
        self._aggregators.add(archive.digest)
        self._latest[archive.name] = archive.digest
        self.experiments[archive.name] = Experiment(archive, self._kernel.now + self._kernel.between(0.0, 2.0))
        self._queue.append(archive.name)
        self._kernel.log("director", "has %s", archive.digest)
        self._hand_out()
        return True

    def remove(self, name: str) -> None:
        """Let an experiment be taken away."""
        if self.experiments.pop(name, None) is not None:
            self._kernel.log("director", "has %s no more", name)

    def rounds_over(self, archive: Archive) -> None:
        """An experiment's process took part to the end."""
        experiment = self.experiments.get(archive.name)
        if self.up and experiment is not None and experiment.archive.digest == archive.digest:
            experiment.finished = True

    def replaced(self, archive: Archive) -> bool:
        """Whether another archive was submitted under its name since, in whatever life."""
        return self._latest.get(archive.name) != archive.digest

    def drives(self, archive: Archive) -> bool:
        """Whether this archive's aggregator runs; taking the experiment away leaves it alone."""
        return self.up and archive.digest in self._aggregators

    # --- its calls

    def receive(self, call: Call) -> None:
        """Take a call."""
        if self.frozen:
            self._backlog.append(call)
        else:
            life = self.life
            self._kernel.after(0.001, lambda: self._serve(call, life))

    def left(self, call: Call) -> None:
        """A caller is known to be gone."""
        self._parked = [parked for parked in self._parked if parked is not call]

    def _serve(self, call: Call, life: int) -> None:
        if not self.up or self.life != life:
            return
        if self.frozen:
            self._backlog.append(call)
        elif not call.gone:
            raises = self._kernel.chance(self.erring)
            result = failure(CallKind.RETRYABLE, "UNKNOWN") if raises else self._ways[call.rpc](call)
            if result is not None:
                self._network.reply(call, result)

    def _register(self, _call: Call) -> object:
        if self.refusing:
            return False
        self.registered = True
        return True

    def _health(self, _call: Call) -> object:
        return self.period if self.registered else failure(CallKind.REREGISTER, "NOT_FOUND")

    def _report(self, call: Call) -> object:
        experiment = self.experiments.get(str(call.request))
        if experiment is not None:
            experiment.failed = True
        return True

    def _poll(self, call: Call) -> object:
        current = self.experiments.get(self._current) if self._current else None
        if current is not None and not current.finished:
            early = current.ready_at > self._kernel.now
            return failure(CallKind.RETRYABLE, "UNKNOWN") if early else current.archive.name
        self._current = None
        self._parked.append(call)
        self._hand_out()
        return None

    def _hand_out(self) -> None:
        """Give waiting experiments to parked polls, the oldest first, whether anybody still waits there or not."""
        while self._queue and self._parked:
            self._current = self._queue.popleft()
            self._network.reply(self._parked.pop(0), self._current)

    def _data(self, call: Call) -> CallError | None:
        experiment = self.experiments.get(str(call.request))
        if experiment is None:
            return failure(CallKind.WITHDRAWN, "UNKNOWN", "no such experiment")
        self._send(call, experiment.archive, 0, self.life)
        return None

    def _send(self, call: Call, archive: Archive, sent: int, life: int) -> None:
        """Send the next piece of an archive; a stop on the way stops the stream, and a crash ends it."""
        if call.over or self.life != life or not self.up:
            return
        stuck = self.frozen or self._network.vanishing or call.channel.dead
        if not stuck and sent == archive.chunks:
            self._network.reply(call, archive)
            return
        if not stuck:
            if self._kernel.chance(self._network.loss):
                call.end(failure(CallKind.RETRYABLE, "UNAVAILABLE"))
                return
            call.progressed()
            sent += 1
        pause = 1.0 if stuck else self._network.latency()
        self._kernel.after(pause, lambda: self._send(call, archive, sent, life))
