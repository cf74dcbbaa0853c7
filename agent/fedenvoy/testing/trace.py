"""Strategies for whole sequences of events: legal ones, and ones with exactly one step that must change nothing.

For tests that feed a sequence to a function of their own (a parser of journals, a second implementation) and compare.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fedenvoy_statecharts import LIFECYCLE, Chart, ChartError
from fedenvoy_statecharts.model import Vocabulary
from hypothesis import assume
from hypothesis import strategies as st

from fedenvoy.testing.facts import facts_for
from fedenvoy.testing.paths import Facts, Paths, Shown, Step

__all__ = ["Trace", "traces"]


@dataclass(frozen=True, slots=True, repr=False)
class Trace(Shown):
    """A sequence of steps of one session, from its start.

    Attributes:
        chart: The chart they follow.
        steps: The steps; each finds the state that the one before left.
        illegal: Position of the step that must change nothing; None when all are legal.

    """

    chart: Chart
    steps: tuple[Step, ...]
    illegal: int | None = None

    @property
    def states(self) -> tuple[Vocabulary, ...]:
        """The states passed: the initial one, and the one after each step."""
        return self.chart.initial.target, *(step.goal for step in self.steps)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        return "; ".join(map(repr, self.steps)) or "no steps"


def traces(
    chart: Chart = LIFECYCLE, *, illegal: bool = False, max_steps: int = 20, facts: Facts | None = None
) -> st.SearchStrategy[Trace]:
    """Give a strategy of event sequences; every state that can be reached in time is as likely to be passed.

    Args:
        chart: The chart.
        illegal: Whether one step, at `trace.illegal`, is one that must change nothing.
        max_steps: Steps at most; sequences that reach a final state are shorter.
        facts: What rules a session beside the table; None: the agent's own for a chart in the agent's words, else none.

    Raises:
        ValueError: `max_steps` leaves no room.
        ChartError: An illegal step is wanted, and the chart has none in any state that is reached.

    """
    if max_steps < illegal:
        raise ValueError(f"max_steps must be at least {int(illegal)}, not {max_steps}")
    paths = Paths(chart, facts_for(chart, facts))
    if not illegal:
        return _legal(paths, max_steps)
    if not any(paths.illegal.values()):
        raise ChartError(f"{chart.name!r} has a row for every event in every state, and none that can be stale")
    return _disturbed(paths, max_steps)


@st.composite
def _legal(draw: st.DrawFn, paths: Paths, max_steps: int) -> Trace:
    state = draw(st.sampled_from(_within(paths, max_steps)))
    standing = draw(st.sampled_from([s for s in paths.standings[state] if len(paths.way_to(s)) <= max_steps]))
    steps = [paths.step(*before) for before in paths.way_to(standing)]
    for _ in range(draw(st.integers(0, max_steps - len(steps)))):
        moves = paths.moves[standing]
        if not moves:
            break
        row, after = draw(st.sampled_from(moves))
        steps.append(paths.step(standing, row, draw(st.integers(0, 2**paths.free - 1))))
        standing = after
    return Trace(paths.chart, tuple(steps))


def _within(paths: Paths, max_steps: int) -> list[Vocabulary]:
    return [state for state in paths.states if len(paths.way_to(paths.standings[state][0])) <= max_steps]


@st.composite
def _disturbed(draw: st.DrawFn, paths: Paths, max_steps: int) -> Trace:
    """Put one illegal step into a legal trace."""
    trace = draw(_legal(paths, max_steps - 1))
    places = [position for position, state in enumerate(trace.states) if paths.illegal[state]]
    assume(places)
    at = draw(st.sampled_from(places))
    step = draw(st.sampled_from(paths.illegal[trace.states[at]]))
    return Trace(trace.chart, (*trace.steps[:at], step, *trace.steps[at:]), illegal=at)
