"""How often and how long: each state and each arrow over a period, counted from the records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median

from fedenvoy_statecharts import State

from fedenvoy.store import JournalEntry, SessionEntry

__all__ = ["Period", "Stays"]


@dataclass(slots=True)
class Stays:
    """The times in one state, in seconds."""

    each: list[float] = field(default_factory=list)

    @property
    def total(self) -> float:
        """Give the time in all."""
        return sum(self.each)

    @property
    def longest(self) -> float:
        """Give the longest stay."""
        return max(self.each)

    @property
    def middle(self) -> float:
        """Give the stay that as many were shorter than as were longer."""
        return median(self.each)


@dataclass(slots=True)
class Period:
    """What happened in a period.

    Attributes:
        since: Wall-clock seconds; the period begins there.
        until: Wall-clock seconds; it ends there.
        states: The stays that lie in the period at least in part, by state; each counts with that part.
        steps: The steps from state to state, by (source, target) and event; each with the whole stay before it.
        within: How often each step within a state was, by (state, event).
        first: The first record's time; None where there was none.
        last: The last one's.
        sessions: The sessions that wrote in the period.
        records: How many records there were.

    """

    since: float = float("-inf")
    until: float = float("inf")
    states: dict[str, Stays] = field(default_factory=dict)
    steps: dict[tuple[str, str], dict[str, Stays]] = field(default_factory=dict)
    within: Counter[tuple[str, str]] = field(default_factory=Counter)
    first: float | None = None
    last: float | None = None
    sessions: set[str] = field(default_factory=set)
    records: int = 0

    @classmethod
    def of(
        cls,
        entries: Iterable[JournalEntry],
        sessions: Mapping[str, SessionEntry],
        since: float | None = None,
        until: float | None = None,
    ) -> Period:
        """Count.

        Args:
            entries: All records of the journal, oldest first: a stay may have begun before the period.
            sessions: The sessions, by id.
            since: Wall-clock seconds; None: from the first record on.
            until: Likewise, to the last.

        """
        period = cls(float("-inf") if since is None else since, float("inf") if until is None else until)
        held: JournalEntry | None = None
        last: JournalEntry | None = None
        for entry in entries:
            if held and held.session != entry.session:
                period._stayed(held, _end(sessions, held, last))
                held = None
            period._count(entry, entry.at if held is None else held.at)
            if not entry.internal:
                if held:
                    period._stayed(held, entry.at)
                held = entry
            last = entry
        if held:
            period._stayed(held, _end(sessions, held, last))
        return period

    def _count(self, entry: JournalEntry, entered: float) -> None:
        if not self.since <= entry.at < self.until:
            return
        self.records += 1
        self.sessions.add(entry.session)
        self.first = entry.at if self.first is None else min(self.first, entry.at)
        self.last = entry.at if self.last is None else max(self.last, entry.at)
        if entry.internal:
            self.within[entry.target, entry.event] += 1
        elif entry.source is not None:
            events = self.steps.setdefault((entry.source, entry.target), {})
            events.setdefault(entry.event, Stays()).each.append(max(0.0, entry.at - entered))

    def _stayed(self, entry: JournalEntry, left: float) -> None:
        """Note a stay in the state that a record entered."""
        begin, end = max(entry.at, self.since), min(left, self.until)
        if entry.target != State.STOPPED and (begin < end or (begin == end and entry.at == begin)):
            self.states.setdefault(entry.target, Stays()).each.append(end - begin)


def _end(sessions: Mapping[str, SessionEntry], held: JournalEntry, last: JournalEntry | None) -> float:
    """Give when the last state of a session ended, as far as its records tell."""
    told = sessions.get(held.session)
    ended = told.ended_at if told else None
    return ended if ended is not None else (last or held).at
