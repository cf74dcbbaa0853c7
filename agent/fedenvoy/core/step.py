"""One step under way: the message, the row taken, and what its effects have gathered so far."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from fedenvoy.commands import Command, Report, Settled
from fedenvoy.config import AgentSettings
from fedenvoy.core.state import Data
from fedenvoy.events import Message

__all__ = ["Step"]


@dataclass(slots=True)
class Step:
    """What effects read and write.

    Attributes:
        message: What happened.
        data: The agent's data, changed in place.
        settings: What the site wants.
        rng: Where the chance of back-off comes from.
        now: Monotonic seconds.
        session: The session's id.
        commands: What the adapters will be asked to do, in order.
        experiment: Name for the record; kept although the run may end in this step.
        run: Number for the record, likewise.
        digest: Archive's digest for the record, likewise.
        cause: For the record, where the event's own words do not say it all.
        attempt: For the record: which try in a row this is.
        report: A verdict that enters the outbox in this step.
        settled: A memory that is written in this step.
        delivered: Id of a report that leaves the outbox in this step.
        outcome: How it left.
        paused: Whether a pause begins or ends in this step.
        forgotten: A name whose memories leave in this step.

    """

    message: Message
    data: Data
    settings: AgentSettings
    rng: random.Random
    now: float
    session: str
    experiment: str = ""
    run: int = 0
    digest: str = ""
    cause: str = ""
    attempt: int = 0
    commands: list[Command] = field(default_factory=list)
    report: Report | None = None
    settled: Settled | None = None
    delivered: str = ""
    outcome: str = ""
    paused: bool | None = None
    forgotten: str = ""

    def ask(self, command: Command) -> None:
        """Add a command."""
        self.commands.append(command)
