"""The runs that a journal tells of: which records belong to one, who decided, and how it ended.

A run is told by records of its session that carry its number; its delivery comes later, perhaps in another session.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from fedenvoy_statecharts import LIFECYCLE

from fedenvoy.audit.decisions import Decision, decision_of
from fedenvoy.store import JournalEntry, SessionEntry
from fedenvoy.store.trail import Trail

__all__ = ["VERDICTS", "Run", "Runs", "verdict_of"]

_VERDICT = "verdict "
_BY_STEP = {
    (str(row.source), str(row.event), str(row.goal)): str(effect).removeprefix(_VERDICT)
    for row in LIFECYCLE.rows
    for effect in row.effects
    if str(effect).startswith(_VERDICT)
}
VERDICTS = tuple(dict.fromkeys(_BY_STEP.values()))
"""How a run can end."""


def verdict_of(entry: JournalEntry) -> str:
    """Give the verdict that a record made; empty where it made none."""
    return _BY_STEP.get((entry.source or "", entry.event, entry.target), "")


@dataclass(slots=True)
class Run:
    """One run of an experiment; times are wall-clock seconds since the epoch.

    Attributes:
        session: Id of its session.
        number: Its number there.
        experiment: Its name.
        first: Number of its first record.
        last: Number of its last record.
        began: When it was offered.
        ended: When it ended, or when it was last heard of.
        verdict: How it ended; empty while it goes on, and where it ended without one.
        decision: What was decided about it; None where nothing was.
        digest: SHA-256 of its archive; empty where that was never whole.
        how: The words of its end.
        delivered: When the director answered.
        outcome: How the verdict left the node: `sent`, `undeliverable`, `expired`.

    """

    session: str
    number: int
    experiment: str
    first: int
    last: int
    began: float
    ended: float
    verdict: str = ""
    decision: Decision | None = None
    digest: str = ""
    how: str = ""
    delivered: float | None = None
    outcome: str = ""

    @property
    def id(self) -> str:
        """Give what the run is called here, and its report on the way to the director."""
        return f"{self.session}-{self.number}"

    def take(self, entry: JournalEntry) -> None:
        """Note one more of its records."""
        self.last, self.ended = entry.number, entry.at
        self.digest = entry.digest or self.digest
        self.decision = decision_of(entry) or self.decision
        if verdict := verdict_of(entry):
            self.verdict, self.how = verdict, entry.cause


@dataclass(slots=True)
class Runs:
    """All runs of a trail, oldest first, and which of them a record belongs to."""

    by_key: dict[tuple[str, int], Run] = field(default_factory=dict)
    _deliveries: dict[tuple[str, int], Run] = field(default_factory=dict)
    _open: dict[str, deque[Run]] = field(default_factory=dict)

    @classmethod
    def of(cls, trail: Trail) -> Runs:
        """Gather the runs of a journal."""
        return cls.from_entries(trail.of_experiments())

    @classmethod
    def from_entries(cls, entries: Iterable[JournalEntry]) -> Runs:
        """Gather the runs that records tell of, oldest record first."""
        runs = cls()
        for entry in entries:
            runs._take(entry)
        return runs

    def _take(self, entry: JournalEntry) -> None:
        key = entry.session, entry.run
        if entry.run:
            run = self.by_key.get(key)
            if run is None:
                at, number = entry.at, entry.number
                run = self.by_key[key] = Run(entry.session, entry.run, entry.experiment, number, number, at, at)
            had = run.verdict
            run.take(entry)
            if run.verdict and not had:
                self._open.setdefault(run.experiment, deque()).append(run)
        if entry.outcome and (waiting := self._open.get(entry.experiment)):
            # Verdicts on one name leave in the order in which they were made.
            run = waiting.popleft()
            run.delivered, run.outcome = entry.at, entry.outcome
            self._deliveries[entry.session, entry.number] = run

    def of_entry(self, entry: JournalEntry) -> Run | None:
        """Give the run that a record belongs to: one of its own, or the delivery of its verdict."""
        if entry.run:
            return self.by_key.get((entry.session, entry.run))
        return self._deliveries.get((entry.session, entry.number))

    def named(self, experiment: str) -> list[Run]:
        """Give the runs of one experiment, oldest first."""
        return [run for run in self.by_key.values() if run.experiment == experiment]

    def names(self) -> list[str]:
        """Give the experiments' names, the newest last."""
        return list(dict.fromkeys(run.experiment for run in self.by_key.values()))


def unfinished(run: Run, session: SessionEntry) -> str:
    """Say how a run without a verdict came to its end, or that it goes on."""
    if run.verdict:
        return run.verdict
    if not session.ended:
        return "under way"
    if session.run == run.number:
        return f"unfinished: the session was {session.ended}"
    return "ended without a verdict"
