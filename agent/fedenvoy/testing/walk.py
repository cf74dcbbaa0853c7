"""Random walks over a chart with a system under test beside them, as a Hypothesis state machine.

Each walk starts with a shortest way to some row: plain walks rarely get deep before something ends them.
What is tested is the user's own: `ChartWalk` knows the chart and tells what happens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from fedenvoy_statecharts import LIFECYCLE, Chart, Row
from fedenvoy_statecharts.model import Vocabulary
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from fedenvoy.testing.facts import facts_for
from fedenvoy.testing.paths import Facts, Paths, Shown, Standing, Step

__all__ = ["ChartWalk"]

T = TypeVar("T")

TAIL = 4
"""Steps by chance at the end of a way, at most."""


@dataclass(frozen=True, slots=True, repr=False)
class Way(Shown):
    """How a session of a walk begins: where, and the rows that are taken then."""

    start: Standing
    rows: tuple[Row, ...] = ()

    def __repr__(self) -> str:
        return "; ".join(map(str, self.rows)) or "from the start"


@st.composite
def _ways(draw: st.DrawFn) -> Way:
    walk: ChartWalk = draw(st.runner())
    paths = walk.paths
    if not walk.seeded:
        return Way(_one_of(draw, paths.starts))
    # By row first: a state in which many facts may differ is not the more interesting for it.
    row = _one_of(draw, paths.rows)
    place = _one_of(draw, paths.places[row])
    way = (*paths.way_to(place), (place, row))
    return Way(way[0][0], (*(one for _, one in way), *_tail(draw, paths, paths.after(place, row))))


def _tail(draw: st.DrawFn, paths: Paths, standing: Standing) -> Iterator[Row]:
    # Hypothesis begins new sessions more often than it goes on with one; so some steps by chance come with the way.
    for _ in range(draw(st.integers(0, TAIL))):
        if not paths.moves[standing]:
            return
        row, standing = _one_of(draw, paths.moves[standing])
        yield row


@st.composite
def _steps(draw: st.DrawFn) -> Step:
    walk: ChartWalk = draw(st.runner())
    row = _one_of(draw, walk.rows())
    return walk.paths.step(walk.standing, row, draw(st.integers(0, 2**walk.paths.free - 1)))


@st.composite
def _illegal(draw: st.DrawFn) -> Step:
    walk: ChartWalk = draw(st.runner())
    return _one_of(draw, walk.paths.illegal[walk.state])


def _one_of(draw: st.DrawFn, choices: Sequence[T]) -> T:
    # By position: Hypothesis keeps the strategies of numbers, and would build one of things anew at each step.
    return choices[draw(st.integers(0, len(choices) - 1))]


# Functions with names: Hypothesis tells them in messages, and older releases read the source of a lambda at each step.
def _may_begin(walk: ChartWalk) -> bool:
    return walk.seeded or not walk.rows()


def _may_go_on(walk: ChartWalk) -> bool:
    return bool(walk.rows())


def _may_be_disturbed(walk: ChartWalk) -> bool:
    return walk.illegal and bool(walk.paths.illegal[walk.state])


class ChartWalk(RuleBasedStateMachine):
    """A walk over a chart.

    Subclass it, and let pytest find its `TestCase`::

        class LeaseWalk(ChartWalk):
            def on_start(self) -> None:
                self.lease = Lease()

            def on_step(self, step: Step) -> None:
                self.lease.follow(step.row)

            @invariant()
            def held_while_training(self) -> None:
                assert self.lease.held is (self.state is State.TRAINING)

        TestLease = LeaseWalk.TestCase

    A walk has several sessions, the next when one has ended or, as if it was killed, before; `on_start` begins each.

    Attributes:
        chart: The chart to walk over.
        facts: What rules a session beside the table; None: the agent's own for a chart in the agent's words, else none.
        seeded: Whether each session begins with a shortest way to a drawn row, rather than at the chart's start.
        illegal: Whether events happen that must change nothing; `on_illegal` is told.
        standing: Where the walk is: the state, and the facts.

    """

    chart: ClassVar[Chart] = LIFECYCLE
    facts: ClassVar[Facts | None] = None
    seeded: ClassVar[bool] = True
    illegal: ClassVar[bool] = False

    standing: Standing

    def on_start(self) -> None:
        """A session begins: make the system under test."""

    def on_step(self, step: Step) -> None:
        """A row was taken; `state` is the one after it. Called on the way to the drawn row, too."""

    def on_illegal(self, step: Step) -> None:
        """Something happened that must change nothing: the chart ignores it here, or its number is an old one."""

    def may_take(self, row: Row) -> bool:  # noqa: ARG002 - a hook
        """Whether a row may be taken now, as far as the system under test has a say in it.

        Asked for each row and more than once, so it must not change anything.
        """
        return True

    @property
    def state(self) -> Vocabulary:
        """The state the walk is in."""
        return self.standing.state

    @property
    def paths(self) -> Paths:
        """The ways through the chart; computed once for each class."""
        cls = type(self)
        if "_paths" not in cls.__dict__:
            cls._paths = Paths(cls.chart, facts_for(cls.chart, cls.facts))
        return cls._paths

    _paths: ClassVar[Paths]

    def rows(self) -> list[Row]:
        """Give the rows that can be taken now, and may be."""
        return [move.row for move in self.paths.moves[self.standing] if self.may_take(move.row)]

    @initialize()
    def begin(self) -> None:
        """Begin the first session."""
        self._begin(self.paths.starts[0])

    @precondition(_may_begin)
    @rule(way=_ways())
    def go(self, way: Way) -> None:
        """Begin a session and go a way; the last one is over, or was killed."""
        self._begin(way.start)
        for row in way.rows:
            if not self.may_take(row):
                break  # the walk goes on from here
            self._take(self.paths.step(self.standing, row))

    @precondition(_may_go_on)
    @rule(step=_steps())
    def take(self, step: Step) -> None:
        """Take a row."""
        self._take(step)

    @precondition(_may_be_disturbed)
    @rule(step=_illegal())
    def disturb(self, step: Step) -> None:
        """Let something happen that must change nothing."""
        self.on_illegal(step)

    def _begin(self, start: Standing) -> None:
        self.standing = start
        self.on_start()

    def _take(self, step: Step) -> None:
        assert step.row is not None
        self.standing = self.paths.after(self.standing, step.row)
        self.on_step(step)
