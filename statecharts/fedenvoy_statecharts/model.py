"""What a chart is made of: states, events, guards, effects, and the rows that tie them together.

This module knows nothing of any particular lifecycle and nothing of the agent that runs one. A chart is plain data:
frozen rows over enums, so that a type checker finds a misspelt state or guard at the row, and so that everything else
(the running machine, the drawings, the proofs, the tests) can be computed from the same rows.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations, product

__all__ = [
    "Chart",
    "ChartError",
    "Condition",
    "Ignored",
    "Initial",
    "Row",
    "Scope",
    "Vocabulary",
    "Why",
    "unless",
    "when",
]


class ChartError(ValueError):
    """A chart that contradicts itself: the message names the rows."""


class Vocabulary(str, enum.Enum):
    """Base of the enums a chart is written in; every member carries one sentence that says what it means."""

    doc: str

    def __new__(cls, value: str, doc: str) -> Vocabulary:  # noqa: PYI034 - Self needs Python 3.11
        """Keep the sentence beside the value."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.doc = doc
        return member

    def __str__(self) -> str:
        return str(self.value)


class Scope(Vocabulary):
    """Which number an event must carry to be current; an event of an older number changes nothing."""

    ACTIVITY = (
        "activity",
        "the entry number of the state whose activity produced it; a new one at every entry",
    )
    RUN = "run", "the number of the experiment run it speaks of"
    LINK = "link", "the epoch of the channel to the director; a new one at every dial"
    RUN_AND_LINK = "run and link", "both the run and the channel must be the current ones"
    AGENT = "agent", "never stale: it speaks of the agent itself"


class Why(Vocabulary):
    """The closed list of reasons for which an event has no row in a state."""

    STALE = "stale by scope", "its number ended when the state that could produce it was left"
    IMPOSSIBLE = "cannot be produced here", "its producer does not run in this state"
    DECIDED = "decided already", "the first decision about a run counts; cancelling is the way to end it now"
    OVER = "session is over", "Stopped is final; nothing changes a session that has ended"


@dataclass(frozen=True, slots=True)
class Condition:
    """One named guard, asked to hold or asked not to."""

    guard: Vocabulary
    expected: bool = True

    def __str__(self) -> str:
        return str(self.guard) if self.expected else f"not {self.guard}"

    def holds(self, valuation: Mapping[Vocabulary, bool]) -> bool:
        """Whether the condition is met when every guard has the truth value given."""
        return valuation[self.guard] is self.expected


def when(guard: Vocabulary) -> Condition:
    """Build the condition that `guard` holds."""
    return Condition(guard)


def unless(guard: Vocabulary) -> Condition:
    """Build the condition that `guard` does not hold."""
    return Condition(guard, expected=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One permitted step: in `source`, on `event`, if all `conditions` hold, go to `target` and do `effects`.

    A row whose target is None is internal: it is recorded and its effects run, while the state and its activity stay.
    A row whose target is its source is a self-transition: the state is entered anew, its activity begins again.
    """

    source: Vocabulary
    event: Vocabulary
    target: Vocabulary | None
    conditions: tuple[Condition, ...] = ()
    effects: tuple[Vocabulary, ...] = ()
    note: str = ""

    @property
    def internal(self) -> bool:
        """Whether the state stays as it is, activity and entry number included."""
        return self.target is None

    @property
    def goal(self) -> Vocabulary:
        """The state after the step."""
        return self.source if self.target is None else self.target

    @property
    def guards(self) -> frozenset[Vocabulary]:
        """The guards this row asks about."""
        return frozenset(condition.guard for condition in self.conditions)

    def holds(self, valuation: Mapping[Vocabulary, bool]) -> bool:
        """Whether every condition is met under `valuation` (which must name every guard asked about)."""
        return all(condition.holds(valuation) for condition in self.conditions)

    def excludes(self, other: Row) -> bool:
        """Whether the two rows ask for opposite values of some guard, so that never both apply."""
        mine = {condition.guard: condition.expected for condition in self.conditions}
        return any(mine.get(c.guard, c.expected) is not c.expected for c in other.conditions)

    def __str__(self) -> str:
        guards = f" [{', '.join(map(str, self.conditions))}]" if self.conditions else ""
        return f"{self.source} --{self.event}{guards}--> {'-' if self.target is None else self.target}"


@dataclass(frozen=True, slots=True)
class Initial:
    """How a session begins: the event recorded first, the state entered, and what is done there."""

    event: Vocabulary
    target: Vocabulary
    effects: tuple[Vocabulary, ...]


@dataclass(frozen=True, slots=True)
class Ignored:
    """An event that has no row in a state, and why that is right."""

    state: Vocabulary
    event: Vocabulary
    why: Why
    note: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A whole lifecycle. Building one refuses rows that could both apply, and pairs that are named twice or not at all.

    Attributes:
        name: What is drawn as the title.
        states: All states, in the order in which they are drawn.
        events: All events, each with the scope that decides when it is stale.
        guards: All guards.
        effects: All effects.
        initial: How a session begins.
        final: The states that end a session.
        rows: The permitted steps, in table order.
        ignored: Every (state, event) pair without a row.
        activities: What runs while a state is current; it is cancelled whenever the state is left.

    Raises:
        ChartError: When the rows contradict each other or leave a pair unmentioned.

    """

    name: str
    states: tuple[Vocabulary, ...]
    events: Mapping[Vocabulary, Scope]
    guards: tuple[Vocabulary, ...]
    effects: tuple[Vocabulary, ...]
    initial: Initial
    final: frozenset[Vocabulary]
    rows: tuple[Row, ...]
    ignored: tuple[Ignored, ...]
    activities: Mapping[Vocabulary, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = [*self._overlaps(), *self._coverage(), *self._gaps()]
        if problems:
            raise ChartError("; ".join(problems))

    def _overlaps(self) -> Iterator[str]:
        for source, event in self.pairs():
            for one, other in combinations(self.at(source, event), 2):
                if not one.excludes(other):
                    yield f"both {one} and {other} could apply"

    def _coverage(self) -> Iterator[str]:
        rowed = {(row.source, row.event) for row in self.rows}
        named = [(entry.state, entry.event) for entry in self.ignored]
        for state, event in self.pairs():
            count = named.count((state, event)) + ((state, event) in rowed)
            if count != 1:
                how = "is not mentioned" if count == 0 else "is named more than once"
                yield f"{state} on {event} {how}"

    def _gaps(self) -> Iterator[str]:
        for source, event in self.pairs():
            rows = self.at(source, event)
            guards = sorted(frozenset().union(*(row.guards for row in rows)))
            for values in product((True, False), repeat=len(guards)) if rows else ():
                valuation = dict(zip(guards, values, strict=True))
                if not any(row.holds(valuation) for row in rows):
                    when = ", ".join(map(str, (Condition(guard, expected=value) for guard, value in valuation.items())))
                    yield f"{source} on {event} is not covered when {when}"

    def pairs(self) -> Iterator[tuple[Vocabulary, Vocabulary]]:
        """Give every (state, event) pair, in drawing order."""
        return ((state, event) for state in self.states for event in self.events)

    def at(self, state: Vocabulary, event: Vocabulary) -> tuple[Row, ...]:
        """Give the rows for one pair; empty when the event is ignored there."""
        return tuple(row for row in self.rows if row.source == state and row.event == event)

    def step(self, state: Vocabulary, event: Vocabulary, valuation: Mapping[Vocabulary, bool]) -> Row | None:
        """Read the table directly: the one row that applies, or None when the event is ignored."""
        return next((row for row in self.at(state, event) if row.holds(valuation)), None)

    def row_id(self, row: Row) -> str:
        """Give the row's stable name: R01, R02, ... in table order."""
        return next(name for name, other in self.named_rows() if other is row or other == row)

    def named_rows(self) -> Iterator[tuple[str, Row]]:
        """Give every row with its stable name."""
        return ((f"R{number:02d}", row) for number, row in enumerate(self.rows, 1))


def ignore(states: Iterable[Vocabulary], event: Vocabulary, why: Why, note: str) -> tuple[Ignored, ...]:
    """Spell out the same reason for several states."""
    return tuple(Ignored(state, event, why, note) for state in states)
