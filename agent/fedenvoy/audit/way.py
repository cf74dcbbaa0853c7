"""The way that one run took through the chart: numbered steps, and what happened between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fedenvoy_statecharts import State

from fedenvoy.audit.runs import Run
from fedenvoy.store import JournalEntry
from fedenvoy.store.trail import Trail

__all__ = ["Line", "Stay", "Way", "way_of"]

_LONGEST = 5000
"""Records, beyond which a way is cut: a sheet of paper has no room for them."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the way's table.

    Attributes:
        number: Of the step; 0 for what happened within a state.
        entry: The record, or the first of several alike.
        times: How many there were, one upon the other.
        last: When the last of them was, wall-clock seconds.

    """

    number: int
    entry: JournalEntry
    times: int
    last: float


@dataclass(frozen=True, slots=True)
class Stay:
    """A time in one state; `left` is None where the record ends there. Wall-clock seconds."""

    state: str
    entered: float
    left: float | None


@dataclass(frozen=True, slots=True)
class Way:
    """What a run did, from its offer until its verdict was told.

    Attributes:
        lines: All of it, oldest first.
        cut: Whether it went on, and is not told further.

    """

    lines: tuple[Line, ...]
    cut: bool

    def steps(self) -> Iterator[Line]:
        """Give the steps from state to state."""
        return (line for line in self.lines if line.number)

    def stays(self) -> Iterator[Stay]:
        """Give the times in each state, in order."""
        steps = [step.entry for step in self.steps()]
        for entry, after in zip(steps, [*steps[1:], None], strict=True):
            yield Stay(entry.target, entry.at, after.at if after else None)


def way_of(trail: Trail, run: Run) -> Way:
    """Follow a run: its own records, and then the node until the verdict was told or another run began."""
    entries: list[JournalEntry] = []
    cut = False
    for entry in trail.from_record(run.session, run.first):
        if entry.number > run.last and entry.run not in ({0, run.number} if run.verdict else {run.number}):
            break
        if len(entries) == _LONGEST:
            cut = True
            break
        entries.append(entry)
        if entry.number >= run.last and run.verdict and _is_over(entry, run):
            break
    return Way(tuple(_lines(entries)), cut)


def _is_over(entry: JournalEntry, run: Run) -> bool:
    told = bool(entry.outcome) and entry.at == run.delivered
    return told or entry.target == State.STOPPED


def _lines(entries: Iterable[JournalEntry]) -> Iterator[Line]:
    number = 0
    held: Line | None = None
    for entry in entries:
        if held and entry.internal and (entry.event, entry.target) == (held.entry.event, held.entry.target):
            held = Line(0, held.entry, held.times + 1, entry.at)
            continue
        if held:
            yield held
        held = None
        if entry.internal:
            held = Line(0, entry, 1, entry.at)
        else:
            number += 1
            yield Line(number, entry, 1, entry.at)
    if held:
        yield held
