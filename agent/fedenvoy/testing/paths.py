"""Every way through a chart, shortest first: where a session may stand, and how it got there.

The table is read directly, without the library that runs it, so that what is computed here can judge it. Of any chart
only the rows are known; what else rules a session (that a stop, once asked for, stays asked for) is told as `Facts`.
Standard library only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

from fedenvoy_statecharts import Chart, ChartError, Row, Scope
from fedenvoy_statecharts.model import Vocabulary

__all__ = ["Facts", "Move", "Paths", "Shown", "Standing", "Step"]


class Shown:
    """Tells Hypothesis to show an object by its repr, where it would spell out the fields of a dataclass."""

    __slots__ = ()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002 - the protocol's
        printer.text(repr(self))


@dataclass(frozen=True, slots=True, repr=False)
class Step(Shown):
    """One event in one state.

    Attributes:
        state: The state it finds.
        event: What happens.
        row: The row that is taken; None when the event must change nothing.
        valuation: The truth value of every guard, as the row wants it; empty for a step that changes nothing.
        stale: Whether the event's number is an old one: nothing changes, although the chart has a row for it.

    """

    state: Vocabulary
    event: Vocabulary
    row: Row | None = None
    valuation: Mapping[Vocabulary, bool] = field(default_factory=dict)
    stale: bool = False

    @property
    def goal(self) -> Vocabulary:
        """The state after it."""
        return self.state if self.row is None else self.row.goal

    def __repr__(self) -> str:
        if self.row is not None:
            return str(self.row)
        return f"{self.state} --{self.event}{' (stale)' if self.stale else ''}--> ignored"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a session knows beside its state, so that walks keep to what can happen.

    Without any facts every guard may have any value at every step. A fact is a guard of the chart, or any other word;
    it is true or false from the start, effects change it, and events may need it. A guard that is a fact has that
    value in every step.

    Attributes:
        start: The facts, and their values at the start of a session.
        changes: What an effect makes of them.
        needs: What must be so for an event to happen at all.
        fixed: Guards that keep one value for a whole session, whichever it is: settings.

    """

    start: Mapping[str, bool] = field(default_factory=dict)
    changes: Mapping[Vocabulary, Mapping[str, bool]] = field(default_factory=dict)
    needs: Mapping[Vocabulary, Mapping[str, bool]] = field(default_factory=dict)
    fixed: tuple[Vocabulary, ...] = ()

    def check(self, chart: Chart) -> None:
        """Raise ChartError when they speak of what the chart does not have."""
        told = (*self.changes.values(), *self.needs.values())
        facts = [*self.start, *self.fixed]
        strange: dict[str, list[str]] = {
            "facts without a start": [key for mapping in told for key in mapping if key not in facts],
            "guards": [key for key in facts if isinstance(key, Vocabulary) and not _among(key, chart.guards)],
            "effects": [effect for effect in self.changes if not _among(effect, chart.effects)],
            "events": [event for event in self.needs if not _among(event, chart.events)],
        }
        found = [f"{kind}: {', '.join(map(str, words))}" for kind, words in strange.items() if words]
        if found:
            raise ChartError(f"the facts speak of what {chart.name!r} does not have: {'; '.join(found)}")


def _among(word: Vocabulary, words: Iterable[Vocabulary]) -> bool:
    # Words of two vocabularies may be spelt alike, and compare equal then.
    return any(word is one for one in words)


class Standing(NamedTuple):
    """Where a session is: the state, and the value of every fact, in one fixed order."""

    state: Vocabulary
    known: tuple[bool, ...]


class Move(NamedTuple):
    """A row that can be taken, and where it leads."""

    row: Row
    after: Standing


class Paths:
    """All standings that sessions of a chart reach, each with a shortest way there.

    Args:
        chart: The chart.
        facts: What else rules a session; None: nothing.

    Attributes:
        chart: The chart.
        starts: Where a session may begin: one standing for each choice of the fixed facts.
        moves: For each standing, nearest first, the rows that can be taken there, in table order.
        standings: For each state that is reached, its standings, nearest first.
        states: The states that are reached and from which something goes on, nearest first.
        rows: The rows that are ever taken, in table order.
        places: For each of them, the standings at which it can be taken, nearest first.
        illegal: For each state that is reached, every step that must change nothing there: events without a row, and
            old numbers.

    Raises:
        ChartError: The facts speak of what the chart does not have.

    """

    def __init__(self, chart: Chart, facts: Facts | None = None) -> None:
        facts = facts or Facts()
        facts.check(chart)
        self.chart = chart
        self._facts = facts
        self._keys = (*facts.start, *facts.fixed)
        self._free = tuple(guard for guard in chart.guards if not any(guard is key for key in self._keys))
        self._before: dict[Standing, tuple[Standing, Row] | None] = {}
        self.starts = tuple(self._begin())
        self.moves: dict[Standing, tuple[Move, ...]] = {}
        self._explore()
        self.standings: dict[Vocabulary, list[Standing]] = {}
        for standing in self.moves:
            self.standings.setdefault(standing.state, []).append(standing)
        self.states = [state for state, many in self.standings.items() if any(self.moves[one] for one in many)]
        self.places: dict[Row, list[Standing]] = {}
        for standing, moves in self.moves.items():
            for move in moves:
                self.places.setdefault(move.row, []).append(standing)
        self.rows = [row for row in chart.rows if row in self.places]
        self.illegal = {state: tuple(self._illegal(state)) for state in self.standings}

    def _begin(self) -> Iterator[Standing]:
        for values in product((False, True), repeat=len(self._facts.fixed)):
            known = (*self._facts.start.values(), *values)
            yield Standing(self.chart.initial.target, self._changed(known, self.chart.initial.effects))

    def _changed(self, known: tuple[bool, ...], effects: tuple[Vocabulary, ...]) -> tuple[bool, ...]:
        facts = dict(zip(self._keys, known, strict=True))
        for effect in effects:
            facts.update(self._facts.changes.get(effect, {}))
        return tuple(facts[key] for key in self._keys)

    def _explore(self) -> None:
        self._before.update(dict.fromkeys(self.starts))
        queue = deque(self.starts)
        while queue:
            standing = queue.popleft()
            self.moves[standing] = tuple(self._moves(standing))
            for row, after in self.moves[standing]:
                if after not in self._before:
                    self._before[after] = standing, row
                    queue.append(after)

    def _moves(self, standing: Standing) -> Iterator[Move]:
        facts: dict[str, bool] = dict(zip(self._keys, standing.known, strict=True))
        for row in self.chart.rows:
            if row.source is not standing.state or not self._possible(row, facts):
                continue
            effects = row.effects
            yield Move(row, Standing(row.goal, self._changed(standing.known, effects)))

    def _possible(self, row: Row, facts: Mapping[str, bool]) -> bool:
        needs = self._facts.needs.get(row.event, {})
        if any(facts[key] is not wanted for key, wanted in needs.items()):
            return False
        # A row may ask for both values of one guard; it is never taken.
        asked: dict[Vocabulary, bool] = {}
        for condition in row.conditions:
            value = asked.setdefault(condition.guard, facts.get(condition.guard, condition.expected))
            if value is not condition.expected:
                return False
        return True

    @property
    def free(self) -> int:
        """How many guards have no value of their own; see `step`."""
        return len(self._free)

    def step(self, standing: Standing, row: Row, free: int = 0) -> Step:
        """Give the step that takes a row.

        Args:
            standing: Where.
            row: One of those that can be taken there.
            free: Bits: the values of the guards that are no facts and that the row does not ask about.

        """
        valuation = {guard: bool(free >> position & 1) for position, guard in enumerate(self._free)}
        known = zip(self._keys, standing.known, strict=True)
        valuation.update({key: value for key, value in known if isinstance(key, Vocabulary)})
        valuation.update({condition.guard: condition.expected for condition in row.conditions})
        return Step(standing.state, row.event, row, valuation)

    def way_to(self, standing: Standing) -> tuple[tuple[Standing, Row], ...]:
        """Give a shortest way from a start to a standing: each row with the standing it is taken at."""
        way: list[tuple[Standing, Row]] = []
        before = self._before[standing]
        while before is not None:
            way.append(before)
            before = self._before[before[0]]
        return tuple(reversed(way))

    def after(self, standing: Standing, row: Row) -> Standing:
        """Give where a row leads from a standing at which it can be taken."""
        return next(move.after for move in self.moves[standing] if move.row is row)

    def _illegal(self, state: Vocabulary) -> Iterator[Step]:
        for event, scope in self.chart.events.items():
            stale = bool(self.chart.at(state, event))
            if scope is not Scope.AGENT or not stale:
                yield Step(state, event, stale=stale)
