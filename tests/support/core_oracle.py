"""A second opinion of what the core must do with a message, read from the table and from the words of the vocabulary.

Shares no code with the core: of it, only the answers to the guards are taken, since what a row may ask about is data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedenvoy.commands import (
    Arm,
    CancelActivity,
    CheckHealth,
    Command,
    Deliver,
    DescribeShard,
    Dial,
    Disarm,
    DropLink,
    End,
    EndRun,
    Fetch,
    Launch,
    Poll,
    Prepare,
    WatchOffers,
)
from fedenvoy.events import Message, Offer, Scopes
from fedenvoy.testing.facts import LIFECYCLE_FACTS
from fedenvoy_statecharts import LIFECYCLE, SCOPES, Effect, Guard, Row, Scope, State
from fedenvoy_statecharts.model import Vocabulary

X = Effect
VERDICTS = frozenset(
    {X.VERDICT_FINISHED, X.VERDICT_FAILED, X.VERDICT_REJECTED, X.VERDICT_CANCELLED, X.VERDICT_ORPHANED}
)
ASKS: dict[Effect, tuple[type[Command], ...]] = {
    X.DESCRIBE: (DescribeShard,),
    X.DIAL: (DropLink, Dial),
    X.DIAL_LATER: (DropLink, Dial),
    X.CHECK: (CheckHealth,),
    X.POLL: (Poll,),
    X.POLL_LATER: (Poll,),
    X.FETCH: (Fetch,),
    X.FETCH_LATER: (Fetch,),
    X.PREPARE: (Prepare,),
    X.LAUNCH: (Launch,),
    X.WATCH_OFFERS: (WatchOffers,),
    X.STOP_ORPHAN_CLOCK: (Disarm,),
    X.DROP_RUN: (EndRun, Disarm),
    **dict.fromkeys(VERDICTS, (EndRun, Disarm)),
    X.DELIVER: (Deliver,),
    X.DELIVER_LATER: (Deliver,),
    X.DRAIN: (Arm,),
    **dict.fromkeys((X.END_STOPPED, X.END_ABORTED, X.END_SHARD, X.END_REFUSED, X.END_LINK, X.END_STORE), (End,)),
}
"""What each effect asks of the adapters; those that depend on more are in `asks`."""


@dataclass
class Oracle:
    """The agent as the table has it.

    Attributes:
        state: The state.
        now: The present numbers.
        runs: Runs begun.
        outbox: Reports that wait.
        records: Records written.
        stale: Stale events so far.
        experiment: Name of the run in hand; empty when none.
        clock: Whether the orphan clock runs.
        misses: Health checks missed in a row.
        contact: When one was last answered.
        paused: Whether the operator paused the node.
        facts: What the kit takes for known of the guards.

    """

    outbox: int
    state: Vocabulary = LIFECYCLE.initial.target
    now: Scopes = field(default_factory=lambda: Scopes(entry=1))
    runs: int = 0
    records: int = 1
    stale: int = 0
    experiment: str = ""
    clock: bool = False
    misses: int = 0
    contact: float | None = None
    paused: bool = False
    facts: dict[str, bool] = field(default_factory=lambda: dict(LIFECYCLE_FACTS.start))

    def is_stale(self, message: Message) -> bool:
        """Whether a number that the event is judged by is not the present one."""
        carried, now = message.scopes, self.now
        match SCOPES[message.event]:
            case Scope.ACTIVITY:
                return carried.entry != now.entry
            case Scope.RUN:
                return carried.run != now.run
            case Scope.LINK:
                return carried.link != now.link
            case Scope.RUN_AND_LINK:
                return (carried.run, carried.link) != (now.run, now.link)
            case _:
                return False

    def expect(self, message: Message, answers: Mapping[Guard, bool]) -> Row | None:
        """Give the row that must be taken, None for none, and count a stale event."""
        if self.is_stale(message):
            self.stale += 1
            return None
        rows = [
            row
            for row in LIFECYCLE.rows
            if (row.source, row.event) == (self.state, message.event)
            and all(answers[Guard(c.guard)] is c.expected for c in row.conditions)  # type: ignore[call-arg]
        ]
        assert len(rows) <= 1
        return rows[0] if rows else None

    def take(self, row: Row, message: Message, time: float) -> list[type[Command]]:
        """Take a row; give the kinds of commands it must ask for, in order."""
        self.records += 1
        asked: list[type[Command]] = []
        entry, link, run = self.now.entry, self.now.link, self.now.run
        if row.target is not None:
            self.state, entry = row.target, entry + 1
            asked.append(CancelActivity)
        for effect in map(Effect, row.effects):  # type: ignore[arg-type]
            link += effect in {X.DIAL, X.DIAL_LATER}
            if effect is X.BEGIN_RUN:
                assert isinstance(message, Offer)
                self.runs += 1
                run, self.experiment, self.clock = self.runs, message.experiment, False
            if effect in VERDICTS or effect is X.DROP_RUN:
                run, self.experiment = 0, ""
            if effect in {X.DIAL, X.DIAL_LATER, X.CHECK, X.NOTE_CONTACT}:
                self.misses = 0
            self.misses += effect is X.COUNT_MISS
            self.contact = time if effect is X.NOTE_CONTACT else self.contact
            self.outbox += (effect in VERDICTS) - (effect is X.SETTLE_REPORT)
            asked += self._asks(effect)
            self.facts.update(LIFECYCLE_FACTS.changes.get(effect, {}))
            self.paused = {X.NOTE_PAUSE: True, X.NOTE_RESUME: False}.get(effect, self.paused)
        self.now = Scopes(entry=entry, run=run, link=link)
        return asked

    def _asks(self, effect: Effect) -> tuple[type[Command], ...]:
        if effect is X.WATCH_OUTBOX:
            return (Arm,) if self.outbox else ()
        if effect is X.BOUND:
            return (Arm,) if self.facts[Guard.STOPPING] else ()
        if effect is X.START_ORPHAN_CLOCK:
            started, self.clock = not self.clock, True
            return (Arm,) if started else ()
        if effect is X.STOP_ORPHAN_CLOCK:
            self.clock = False
        return ASKS.get(effect, ())

    @property
    def over(self) -> bool:
        """Whether the session has ended."""
        return self.state is State.STOPPED
