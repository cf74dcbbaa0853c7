"""What every drawing shows, computed once from the rows, so that the drawers only print.

A flat drawing of the table has an arrow for every pair of states and cannot be read. Five things make it readable, and
none of them can disagree with the table, because each is found in the rows: boxes for rows that neighbouring states
share, retries as lines inside the state, rows of every state named once at the final state, one label line per event,
and internal rows in a table instead of arrows.

This module knows nothing of any notation.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fedenvoy_statecharts.model import Chart, Row
from fedenvoy_statecharts.vocabulary import BUSY, WAITING

__all__ = ["Box", "Edge", "Kind", "Line", "Node", "View", "guard_text", "lines_of", "view_of"]


class Kind(str, enum.Enum):
    """Why an arrow is there; drawers give each its own look."""

    HAPPY = "happy"
    OTHER = "other"
    LOST = "lost"
    FAILURE = "failure"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Line:
    """Events that share a guard; an empty guard means "always"; `sources` are told where no arrow shows them."""

    events: tuple[str, ...]
    guard: str = ""
    sources: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Give it on one line."""
        return ", ".join(self.events) + (f" [{self.guard}]" if self.guard else "")


@dataclass(frozen=True, slots=True)
class Node:
    """One state, with what is written inside it.

    Attributes:
        name: The state's name.
        doc: What it means.
        activity: What runs there; empty for a final state.
        initial: Whether a session begins here.
        final: Whether a session ends here.
        retries: The rows that enter this state anew, as lines.
        arrivals: For a final state: the rows that several states share, as lines that name their sources.

    """

    name: str
    doc: str
    activity: str
    initial: bool
    final: bool
    retries: tuple[Line, ...]
    arrivals: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Box:
    """A frame around states that share rows; it exists in pictures only and is no state."""

    name: str
    title: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Edge:
    """One arrow: all rows of one kind from a state, or from every state of a box, to another state."""

    source: str
    target: str
    kind: Kind
    lines: tuple[Line, ...]
    rows: tuple[Row, ...]
    back: bool


@dataclass(frozen=True, slots=True)
class View:
    """All that a picture shows."""

    chart: Chart
    nodes: tuple[Node, ...]
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    shared: tuple[Row, ...]
    internal: tuple[Row, ...]

    @property
    def framed(self) -> tuple[Box, ...]:
        """The boxes at which an arrow starts: a full picture needs no others."""
        return tuple(box for box in self.boxes if any(edge.source == box.name for edge in self.edges))

    def is_framed(self, state: str) -> bool:
        """Whether the state is drawn inside one of those."""
        return any(state in box.members for box in self.framed)

    def box_of(self, state: str) -> Box | None:
        """Give the box a state is drawn in."""
        return next((box for box in self.boxes if state in box.members), None)


_FRAMES = (
    ("waiting", "no experiment in hand", WAITING),
    ("busy", "one experiment in hand", BUSY),
)


def view_of(chart: Chart) -> View:
    """Compute the drawing of `chart`."""
    boxes = tuple(
        Box(name, title, tuple(map(str, members)))
        for name, title, members in _FRAMES
        if set(members) <= set(chart.states)
    )
    arrows = [row for row in chart.rows if row.target is not None and row.target != row.source]
    retries = [row for row in chart.rows if row.target == row.source]
    ends = [row for row in arrows if row.target in chart.final]
    shared = tuple(row for row in ends if len(_sources(ends, row)) > 1)
    drawn = [row for row in arrows if row not in shared]
    edges = tuple(_edges(chart, drawn, boxes))
    return View(
        chart=chart,
        nodes=tuple(_nodes(chart, retries, shared)),
        boxes=boxes,
        edges=edges,
        shared=shared,
        internal=tuple(row for row in chart.rows if row.internal),
    )


def _sources(rows: Iterable[Row], row: Row) -> tuple[str, ...]:
    """Give the states that have the same step: same event, guard and target."""
    return tuple(str(other.source) for other in rows if _step(other) == _step(row))


def _step(row: Row) -> tuple[str, str, str]:
    return str(row.event), guard_text(row), str(row.target)


def guard_text(row: Row) -> str:
    """Give the row's conditions as one text; empty when it has none."""
    return ", ".join(map(str, row.conditions))


def _nodes(chart: Chart, retries: list[Row], shared: tuple[Row, ...]) -> Iterator[Node]:
    for state in chart.states:
        final = state in chart.final
        yield Node(
            name=str(state),
            doc=state.doc,
            activity=chart.activities.get(state, ""),
            initial=state == chart.initial.target,
            final=final,
            retries=lines_of(row for row in retries if row.source == state),
            arrivals=_arrivals(chart, [row for row in shared if row.target == state]),
        )


def _arrivals(chart: Chart, rows: list[Row]) -> tuple[Line, ...]:
    """Write the shared ends: those of the most states last."""
    alive = tuple(str(state) for state in chart.states if state not in chart.final)
    groups: dict[tuple[tuple[str, ...], str], dict[str, None]] = {}
    for row in rows:
        key = tuple(state for state in alive if state in _sources(rows, row)), guard_text(row)
        groups.setdefault(key, {})[str(row.event)] = None
    lines = [
        Line(tuple(events), guard, ("every state",) if sources == alive else sources)
        for (sources, guard), events in groups.items()
    ]
    return tuple(sorted(lines, key=lambda line: line.sources == ("every state",)))


def _edges(chart: Chart, rows: list[Row], boxes: tuple[Box, ...]) -> Iterator[Edge]:
    """Group the rows by where their arrow begins, where it ends, and its kind; table order within each."""
    groups: dict[tuple[str, str, Kind], list[Row]] = {}
    for row in rows:
        source = next((box.name for box in boxes if _boxed(rows, row, box)), str(row.source))
        groups.setdefault((source, str(row.target), _kind(chart, row)), []).append(row)
    place = {str(state): number for number, state in enumerate(chart.states)}
    place |= {box.name: max(place[member] for member in box.members) for box in boxes}
    order = sorted(groups, key=lambda key: (place[key[0]], place[key[1]]))
    for source, target, kind in order:
        group = groups[source, target, kind]
        yield Edge(source, target, kind, lines_of(group), tuple(group), back=place[target] < place[source])


def _boxed(rows: list[Row], row: Row, box: Box) -> bool:
    """Whether the row is drawn once, from the box: every member has it, and it leads out."""
    inside = str(row.source) in box.members and str(row.target) not in box.members
    return inside and set(box.members) <= set(_sources(rows, row))


def _kind(chart: Chart, row: Row) -> Kind:
    if row.target in chart.final:
        return Kind.STOP
    if row.target == chart.initial.target:
        return Kind.LOST
    verdicts = [str(effect).removeprefix("verdict ") for effect in row.effects if str(effect).startswith("verdict ")]
    if verdicts and verdicts != ["finished"]:
        return Kind.FAILURE
    places = [chart.states.index(state) for state in (row.source, row.goal)]
    return Kind.HAPPY if places[1] == places[0] + 1 else Kind.OTHER


def lines_of(rows: Iterable[Row]) -> tuple[Line, ...]:
    """Collect the events that share a guard, in the order in which they are first met; those without one come last.

    A label is read from above: a guard belongs to the events over it, up to the guard before. An event without a guard
    would seem to share the next one, if it stood before it.
    """
    by_guard: dict[str, dict[str, None]] = {}
    for row in sorted(rows, key=lambda row: not row.conditions):
        by_guard.setdefault(guard_text(row), {})[str(row.event)] = None
    return tuple(Line(tuple(events), guard) for guard, events in by_guard.items())
