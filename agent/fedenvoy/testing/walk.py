"""Random walks over a chart with a system under test beside them, as a Hypothesis state machine.

Each walk starts somewhere in the chart, on a shortest way: plain walks rarely get deep before something ends them.
What is tested is the user's own: `ChartWalk` knows the chart and tells what happens.
"""

from __future__ import annotations

from typing import ClassVar

from fedenvoy_statecharts import LIFECYCLE, Chart, Row
from fedenvoy_statecharts.model import Vocabulary
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from fedenvoy.testing.facts import facts_for
from fedenvoy.testing.paths import Facts, Paths, Standing, Step

__all__ = ["ChartWalk"]


def _starts(walk: ChartWalk) -> st.SearchStrategy[Standing]:
    if not walk.seeded:
        return st.sampled_from(walk.paths.starts)
    # By state first: a state in which many facts may differ is not the more interesting for it.
    states = st.sampled_from(walk.paths.states())
    return states.flatmap(lambda state: st.sampled_from(walk.paths.standings(state)))


def _steps(walk: ChartWalk) -> st.SearchStrategy[Step]:
    bits = st.integers(0, 2**walk.paths.free - 1)
    return st.builds(walk.paths.step, st.just(walk.standing), st.sampled_from(walk.rows()), bits)


def _illegal(walk: ChartWalk) -> st.SearchStrategy[Step]:
    return st.sampled_from(walk.paths.illegal(walk.state))


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

    A walk that cannot go on (its session has ended) begins a new session, so `on_start` may be called more than once.

    Attributes:
        chart: The chart to walk over.
        facts: What rules a session beside the table; None: the agent's own for a chart in the agent's words, else none.
        seeded: Whether each session begins with a shortest way to a drawn state, rather than at the chart's start.
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
        """A row was taken; `state` is the one after it. Called on the way to the drawn state, too."""

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

    @initialize(to=st.runner().flatmap(_starts))
    def begin(self, to: Standing) -> None:
        """Begin a session, and go to a standing."""
        self.standing = self.paths.start_of(to)
        self.on_start()
        for standing, row in self.paths.way_to(to):
            if not self.may_take(row):
                break  # the walk goes on from here
            step = self.paths.step(standing, row)
            note(f"  on the way: {step!r}")
            self._take(step)

    @precondition(lambda self: self.rows())
    @rule(step=st.runner().flatmap(_steps))
    def take(self, step: Step) -> None:
        """Take a row."""
        self._take(step)

    @precondition(lambda self: self.illegal and self.paths.illegal(self.state))
    @rule(step=st.runner().flatmap(_illegal))
    def disturb(self, step: Step) -> None:
        """Let something happen that must change nothing."""
        self.on_illegal(step)

    @precondition(lambda self: not self.rows())
    @rule(to=st.runner().flatmap(_starts))
    def begin_again(self, to: Standing) -> None:
        """Begin a new session, since this one is over."""
        self.begin(to)

    def _take(self, step: Step) -> None:
        assert step.row is not None
        self.standing = self.paths.after(self.standing, step.row)
        self.on_step(step)
