"""What goes in and out of the core as a whole: what an earlier session left, and the picture that others see."""

from __future__ import annotations

from dataclasses import dataclass, field

from fedenvoy_statecharts import State

from fedenvoy.commands import Report
from fedenvoy.events import Scopes

__all__ = ["CarriedOver", "Declined", "Snapshot"]


@dataclass(frozen=True, slots=True)
class CarriedOver:
    """What an earlier session left on disk.

    Attributes:
        reports: Undelivered verdicts, oldest first.
        settled: Digests of archives that ended by their own fault, by experiment name.
        paused: Whether the operator paused the node and has not resumed it.

    """

    reports: tuple[Report, ...] = ()
    settled: tuple[tuple[str, str], ...] = ()
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Declined:
    """An experiment's name that rests: it is not taken before its time.

    Attributes:
        experiment: Name as the director knows it.
        why: For people.
        until: Monotonic seconds.

    """

    experiment: str
    why: str
    until: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The agent at one moment, for everybody but the core: immutable, published after every step.

    Attributes:
        state: The settled state.
        since: When it was entered (monotonic seconds).
        experiment: Name of the run in hand; empty when none.
        scopes: The present numbers.
        link_up: Whether the link is up.
        stopping: Whether a stop was requested.
        outbox: How many reports wait.
        contact: When a health check was last answered (monotonic seconds); None before the first.
        latency: Seconds that the director took to answer it.
        stale: Stale events so far.
        period: Seconds between health checks, as the director wants it.
        misses: Health checks missed in a row.
        paused: Whether offers are declined on the operator's wish.
        declined: Names that rest, the one that is looked at again soonest first.
        retry_at: When a dial, poll, download or delivery that waits is begun (monotonic seconds); None when none waits.

    """

    state: State
    since: float
    experiment: str = ""
    scopes: Scopes = field(default_factory=Scopes)
    link_up: bool = False
    stopping: bool = False
    outbox: int = 0
    contact: float | None = None
    latency: float = 0.0
    stale: int = 0
    period: float = 60.0
    misses: int = 0
    paused: bool = False
    declined: tuple[Declined, ...] = ()
    retry_at: float | None = None

    @property
    def describing(self) -> bool:
        """Whether the shard is still being described: the director has not been dialled yet."""
        return self.state is State.DISCONNECTED and self.scopes.link == 0

    @property
    def training(self) -> bool:
        """Whether the director should be told that an experiment runs."""
        return self.state is State.TRAINING
