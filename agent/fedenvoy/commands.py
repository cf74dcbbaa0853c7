"""What the core asks the adapters to do: frozen, stamped with the scopes that the answering event must carry."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import ClassVar

from fedenvoy_statecharts import Event, Scope, State

from fedenvoy.errors import Exit
from fedenvoy.events import Message, Scopes

__all__ = [
    "Arm",
    "CancelActivity",
    "CheckHealth",
    "Command",
    "Deliver",
    "DescribeShard",
    "Dial",
    "Disarm",
    "DropLink",
    "End",
    "EndRun",
    "Fetch",
    "Launch",
    "Persist",
    "Poll",
    "Prepare",
    "Record",
    "Report",
    "Settled",
    "Timer",
    "Verdict",
    "WatchOffers",
]


class Verdict(str, enum.Enum):
    """How a run ended."""

    FINISHED = "finished"
    FAILED = "failed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    ORPHANED = "orphaned"

    @property
    def is_failure_report(self) -> bool:
        """Whether the director is told by a failure report; else a health check that says "not running" tells it."""
        return self in {Verdict.FAILED, Verdict.REJECTED, Verdict.CANCELLED}


class Timer(str, enum.Enum):
    """The clocks the core sets; each at most once at a time, setting one again replaces it."""

    ORPHAN = "orphan"
    ABSENCE = "absence"
    STOP = "stop"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class Report:
    """A verdict on its way to the director; kept in the outbox until it leaves.

    Attributes:
        id: Unique: session and run number.
        experiment: Name as the director knows it.
        verdict: How the run ended.
        code: Error code on the wire; 0 for a good end.
        text: What the director is told.
        digest: SHA-256 of the archive; empty when none was complete.
        made_at: When it entered the outbox, wall-clock seconds since the epoch; 0 in the session that made it. It is no
            part of what two reports are compared by.

    """

    id: str
    experiment: str
    verdict: Verdict
    code: int = 0
    text: str = ""
    digest: str = ""
    made_at: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Settled:
    """An experiment that ended here and is not to be run again unchanged, or not at once.

    Attributes:
        experiment: Name as the director knows it.
        digest: SHA-256 of the archive that ended by its own fault; empty when the name is only to rest for a while.

    """

    experiment: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One line of the journal: a transition, with all that must be on disk before its effects run.

    Attributes:
        number: Position in this session, from 1.
        entry: Entry number after the transition.
        run: Number of the run in hand, or of the one that has just ended; 0 when there is none.
        link: Link epoch after the transition.
        row: The row's stable name ("R17"); empty for `started`.
        source: State before; None for `started`.
        event: What happened.
        target: State after; equal to `source` for internal rows.
        internal: Whether state and activity stayed.
        experiment: Name of the run in hand, or of the one that has just ended.
        digest: SHA-256 of the archive of the run, once it was approved or found unusable; empty before.
        attempt: How many tries in a row this step is (dials, polls, fetches, deliveries); 0 where that has no meaning.
        cause: The event's words.
        report: A verdict that enters the outbox with this record.
        settled: A memory that is written with this record.
        delivered: Id of a report that leaves the outbox with this record.
        outcome: How it left: "sent", "undeliverable" or "expired".
        paused: Whether a pause was begun (True) or ended (False) with this record; None when neither.
        forgotten: An experiment's name whose memories leave with this record; empty when none does.

    """

    number: int
    entry: int
    run: int
    link: int
    row: str
    source: State | None
    event: Event
    target: State
    internal: bool = False
    experiment: str = ""
    digest: str = ""
    attempt: int = 0
    cause: str = ""
    report: Report | None = None
    settled: Settled | None = None
    delivered: str = ""
    outcome: str = ""
    paused: bool | None = None
    forgotten: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Base of all.

    Attributes:
        scopes: The numbers that the answer must carry.
        delay: Seconds to wait before it is carried out; it is dropped when its scope is over by then.
        scope: Which number must still be the present one when it is carried out.

    """

    scope: ClassVar[Scope] = Scope.AGENT

    scopes: Scopes = field(default_factory=Scopes)
    delay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Persist(Command):
    """Write the record, durably, before anything else of this step is carried out."""

    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeShard(Command):
    """Answer with `shard_described` or `shard_unusable`."""

    scope = Scope.ACTIVITY


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial(Command):
    """Open a channel and register. Answers: `registration_*`, `link_rejected`, with `probe` also `shard_forgotten`.

    Attributes:
        probe: Whether to send a health check first, to learn whether the director still knows this shard.

    """

    scope = Scope.LINK

    probe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DropLink(Command):
    """The link is over: close its channel and end its health checks now; a dial follows, perhaps later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckHealth(Command):
    """Send a health check now and go on at the director's period for as long as this link lives."""

    scope = Scope.LINK


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll(Command):
    """Wait for an offer. Answers: `experiment_offered`, `poll_failed`."""

    scope = Scope.ACTIVITY


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOffers(Command):
    """Wait for an offer beside the work. Answer: `experiment_reoffered`; failures end in silence."""

    scope = Scope.RUN_AND_LINK


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch(Command):
    """Download, verify, unpack, review.

    Answers: `fetch_interrupted`, `experiment_withdrawn`, `archive_settled`, `experiment_unusable`, `plan_approved`,
    `plan_rejected`.

    Attributes:
        experiment: Name as the director knows it.
        settled: Digests of archives of that name that ended here.

    """

    scope = Scope.ACTIVITY

    experiment: str
    settled: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare(Command):
    """Build or reuse the environment. Answers: `requirements_ready`, `requirements_failed`."""

    scope = Scope.ACTIVITY

    experiment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch(Command):
    """Start the experiment's process. Answers: `training_finished`, `training_failed`, `experiment_orphaned`."""

    scope = Scope.ACTIVITY

    experiment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver(Command):
    """Send a report. Answers: `report_delivered`, `report_failed`, `report_undeliverable`."""

    scope = Scope.ACTIVITY

    report: Report


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelActivity(Command):
    """The activity with entry number `scopes.entry` was left: end it.

    Attributes:
        state: The state that was left.

    """

    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class EndRun(Command):
    """Run `scopes.run` is over: end its process and all descendants, its background poll, and remove its files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm(Command):
    """Post `message` when `delay` seconds have passed."""

    timer: Timer
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Disarm(Command):
    """Forget a clock."""

    timer: Timer


@dataclass(frozen=True, slots=True, kw_only=True)
class End(Command):
    """The session is over.

    Attributes:
        code: What the process exits with.
        text: One sentence for people.

    """

    code: Exit
    text: str
