"""The experiments' processes: they finish, fail, crash or hang, and end when they are asked to, or must be killed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simulation.director import Director
from simulation.kernel import Kernel, Ticket
from simulation.schedule import Archive

__all__ = ["Child", "Ending", "Nursery"]

LOOK = 5.0
"""Seconds between two tries of a process to reach its aggregator."""
PATIENCE = 600.0
"""Seconds without its aggregator after which a process gives up (`agent.aggregator_timeout`). The real one does so
whatever the reason; here only where its experiment was replaced under its own name, which the agent cannot know: in
every other case the agent itself must find out that nobody drives the run."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended by itself; `code` is empty for a good end."""

    code: str = ""


class Child:
    """One process.

    Attributes:
        archive: What it runs.
        session: Of the agent that started it.
        run: Number of the run.
        alive: Whether it lives.
        asked: Whether it was told to end.

    """

    def __init__(
        self,
        kernel: Kernel,
        director: Director,
        siblings: list[Child],
        archive: Archive,
        *,
        session: str,
        run: int,
        grace: float,
    ) -> None:
        self.archive = archive
        self.session = session
        self.run = run
        self.alive = True
        self.asked = False
        self.on_end: Callable[[Ending | None], None] = lambda _ending: None
        self._kernel = kernel
        self._director = director
        self._siblings = siblings
        self._grace = grace
        self._lost_for = 0.0
        self._next: Ticket | None = None
        if archive.ending != "hang":
            self._next = kernel.after(archive.training_time, self._conclude)

    def __str__(self) -> str:
        return f"process of {self.archive.digest}, run {self.run} of {self.session}"

    @property
    def hangs(self) -> bool:
        """Whether it will never end by itself."""
        return self.archive.ending == "hang"

    def _conclude(self) -> None:
        """Come to the end, if the aggregator is there to end with."""
        if self.archive.joined and not self._director.drives(self.archive):
            self._lost_for += LOOK
            if self._lost_for >= PATIENCE and self._director.replaced(self.archive):
                self._die(Ending("aggregator"))
            else:
                self._next = self._kernel.after(LOOK, self._conclude)
            return
        if self.archive.ending == "finish" and self.archive.counts:
            self._director.rounds_over(self.archive)
        codes = {"finish": "", "fail": "exception", "crash": "signal 11"}
        self._die(Ending(codes[self.archive.ending]))

    def crash(self) -> None:
        """End by a signal from elsewhere."""
        self._die(Ending("signal 9"))

    def ask(self) -> None:
        """Ask it to end; it is killed when the grace is over."""
        if self.alive and not self.asked:
            self.asked = True
            self._kernel.after(
                self._grace if self.archive.stubborn else self._kernel.between(0.01, 1.0), lambda: self._die(None)
            )

    def kill(self) -> None:
        """End it at once."""
        self._die(None)

    def _die(self, ending: Ending | None) -> None:
        if self.alive:
            self.alive = False
            if self._next is not None:
                self._next.cancel()
            self._kernel.log("child", "%s is over, %s", self, ending)
            self._siblings.remove(self)
            self.on_end(ending)


class Nursery:
    """All processes of experiments on the machine, whichever agent started them.

    Attributes:
        alive: Those that live.

    """

    def __init__(self, kernel: Kernel, director: Director) -> None:
        self._kernel = kernel
        self._director = director
        self.alive: list[Child] = []

    def start(self, archive: Archive, session: str, run: int, grace: float) -> Child:
        """Start a process."""
        child = Child(self._kernel, self._director, self.alive, archive, session=session, run=run, grace=grace)
        self.alive.append(child)
        self._kernel.log("child", "%s begins", child)
        return child
