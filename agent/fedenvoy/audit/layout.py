"""Where each state and each arrow of a chart lies on a sheet: states one below the other, arrows in lanes beside them.

The lanes are found in the chart's rows: one lane for each state that is entered from elsewhere than the state above it,
on the right where that leads down, on the left where it leads back. Lengths are in pixels of 1/96 inch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedenvoy_statecharts import Chart

__all__ = ["Box", "Lane", "Layout", "lay_out"]

Pair = tuple[str, str]
WIDTH, HEIGHT = 158, 32
LANE = 30
LEFT = 40
"""Where the drawing begins."""
_BELOW = 30
"""Room between a state and the next, at least."""


@dataclass(frozen=True, slots=True)
class Box:
    """A state's box: its upper left corner."""

    state: str
    x: float
    y: float

    @property
    def middle(self) -> float:
        """Give the height of its middle."""
        return self.y + HEIGHT / 2


@dataclass(frozen=True, slots=True)
class Lane:
    """A line that several arrows share on their way to one state.

    Attributes:
        target: That state.
        x: Where the lane lies.
        side: 1 where it lies to the right of the states, -1 to the left.
        order: How many lanes lie between it and the states.

    """

    target: str
    x: float
    side: int
    order: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A chart on a sheet.

    Attributes:
        boxes: The states, by name, from above.
        pairs: The arrows of the chart, from state to another state.
        lanes: The lane of each arrow that is no straight one.
        right: Where the drawing ends, and the notes may begin.
        bottom: Where it ends below.

    """

    boxes: Mapping[str, Box]
    pairs: tuple[Pair, ...]
    lanes: Mapping[Pair, Lane]
    right: float
    bottom: float

    def is_straight(self, pair: Pair) -> bool:
        """Whether an arrow leads to the state just below."""
        return pair not in self.lanes


def lay_out(chart: Chart, heights: Mapping[str, float], top: float, more: frozenset[Pair] = frozenset()) -> Layout:
    """Lay a chart out.

    Args:
        chart: The chart.
        heights: How high what stands beside each state is; nothing for those that are not named.
        top: Where the drawing begins.
        more: Arrows that the chart does not have, and that are drawn nevertheless.

    """
    states = [str(state) for state in chart.states]
    place = {state: number for number, state in enumerate(states)}
    own = {(str(row.source), str(row.goal)) for row in chart.rows if row.source != row.goal}
    pairs = sorted((pair for pair in own | more if set(pair) <= set(states)), key=lambda p: (place[p[0]], place[p[1]]))
    beside = [pair for pair in pairs if place[pair[1]] != place[pair[0]] + 1]
    back = _targets(beside, place, forward=False)
    on = _targets(beside, place, forward=True)
    x = LEFT + LANE * len(back)
    # The lane of what lies nearest is the innermost, so that fewest lines cross.
    lanes = {state: Lane(state, x - LANE * (1 + number), -1, number) for number, state in enumerate(reversed(back))}
    down = {state: Lane(state, x + WIDTH + LANE * (1 + number), 1, number) for number, state in enumerate(on)}
    boxes, y = {}, top
    for state in states:
        boxes[state] = Box(state, x, y)
        y += max(HEIGHT + _BELOW, heights.get(state, 0.0) + _BELOW / 2)
    return Layout(
        boxes=boxes,
        pairs=tuple(pairs),
        lanes={pair: (down if place[pair[1]] > place[pair[0]] else lanes)[pair[1]] for pair in beside},
        right=x + WIDTH + LANE * (len(on) + 1),
        bottom=y,
    )


def _targets(pairs: list[Pair], place: Mapping[str, int], *, forward: bool) -> list[str]:
    """Give the states that arrows beside the straight line lead to, from above."""
    found = {target for source, target in pairs if (place[target] > place[source]) is forward}
    return sorted(found, key=place.__getitem__)
