"""The answer to "what is this node doing": plain values, whose names are the keys of `fedenvoy status --json`.

Points in time are wall-clock seconds since the epoch, durations are seconds. docs/control.md describes every key.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from fedenvoy.status.gpus import Gpus

__all__ = [
    "VERSION",
    "Agent",
    "Declined",
    "Experiment",
    "Link",
    "Node",
    "Retry",
    "Review",
    "Status",
    "Transition",
    "Verdict",
]

VERSION = 1
"""Grows when a key goes or changes its meaning; new keys may come without."""


@dataclass(frozen=True, slots=True)
class Node:
    """Whose status it is."""

    shard_name: str
    director: str
    directory: str


@dataclass(frozen=True, slots=True)
class Agent:
    """The process.

    Attributes:
        running: Whether it lives.
        answering: Whether it answered; what a living agent that does not is said to do is what its journal says.
        pid: Its process id; None when it does not run.
        version: Of the living agent.
        session: Id of the present or the last session.
        started: When that began.
        stopping: Whether it was asked to stop.

    """

    running: bool
    answering: bool
    pid: int | None
    version: str | None
    session: str | None
    started: float | None
    stopping: bool


@dataclass(frozen=True, slots=True)
class Experiment:
    """The experiment in hand.

    Attributes:
        run: Its number in the session.
        since: When it was taken.
        age: Seconds since then; of a dead agent, until its last record.

    """

    name: str
    run: int
    since: float | None
    age: float | None


@dataclass(frozen=True, slots=True)
class Review:
    """What the experiment in hand waits for, where people decide about it.

    Attributes:
        id: What `fedenvoy review` calls it.
        since: Since when.
        deadline: When it counts as rejected.
        approvals: How many people have approved it.
        needed: How many must.
        why: Why it waits.

    """

    id: str
    since: float
    deadline: float
    approvals: int
    needed: int
    why: str


@dataclass(frozen=True, slots=True)
class Link:
    """The director, as far as the agent hears of it.

    Attributes:
        up: Whether the director accepted this shard on the present channel; None when the agent does not answer.
        last_contact: When it last answered a health check.
        misses: Health checks since then that it did not answer.

    """

    up: bool | None
    last_contact: float | None
    misses: int


@dataclass(frozen=True, slots=True)
class Retry:
    """Something that waits for its time to be tried again.

    Attributes:
        what: `dial`, `poll`, `download` or `delivery`.
        at: When.
        seconds: In how many seconds.

    """

    what: str
    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict that the director has not been told."""

    experiment: str
    verdict: str
    text: str
    since: float


@dataclass(frozen=True, slots=True)
class Declined:
    """An experiment that is not taken.

    Attributes:
        why: For people.
        until: When the name is looked at again; None: not before its archive is another, or it is forgotten.

    """

    experiment: str
    why: str
    until: float | None


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of the chart.

    Attributes:
        source: State before; None at the start of a session.
        outcome: How a verdict left the outbox; empty when none did.

    """

    at: float
    session: str
    source: str | None
    event: str
    target: str
    experiment: str
    attempt: int
    cause: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Everything.

    Attributes:
        version: Of this shape.
        at: When it was gathered.
        state: The state of the chart; the last one, where the agent does not run. None where none ever ran.
        since: When it was entered.
        review: What the experiment in hand waits for; None unless people are to decide about it.
        paused: Whether no experiment is taken, on the operator's wish.
        transitions: The last ones, oldest first; steps within a state are left out.
        gpus: The configured GPUs, as a living agent reads them.
        isolation: How far experiments are kept away from this machine, and why not farther; None: not known yet, or
            the agent does not answer.
        not_training: One sentence: why it is not training. None when it is.
        problems: What could not be found out, one sentence each.

    """

    version: int = VERSION
    at: float
    node: Node
    agent: Agent
    state: str | None
    since: float | None
    experiment: Experiment | None
    review: Review | None = None
    link: Link
    retry: Retry | None
    outbox: tuple[Verdict, ...]
    declined: tuple[Declined, ...]
    paused: bool
    transitions: tuple[Transition, ...]
    not_training: str | None
    problems: tuple[str, ...]
    gpus: Gpus = field(default_factory=Gpus)
    isolation: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give plain values, as JSON has them."""
        return asdict(self)
