"""Property 10: nothing begins itself again without a pause.

A hot loop is a circle of causes: something whose answer begins the next thing, and so on, until the first is begun
again, and no step of the circle waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from fedenvoy_statecharts.checks.parts import PARTS, STARTED_BY, Part
from fedenvoy_statecharts.checks.report import Finding
from fedenvoy_statecharts.model import Chart, Row, when
from fedenvoy_statecharts.vocabulary import Effect, Event, Guard

__all__ = ["hot_loops"]

E, X = Event, Effect

_PATIENT: dict[Effect, str] = {
    X.DIAL: "backs off by itself unless the last link lived a while",
    X.DIAL_LATER: "backs off",
    X.POLL_LATER: "waits longer each time",
    X.FETCH_LATER: "backs off",
    X.DELIVER_LATER: "backs off",
    X.WATCH_OUTBOX: "is a clock; a report that is put off waits half a minute at least",
    X.START_ORPHAN_CLOCK: "is a clock",
    X.START_ABSENCE_CLOCK: "is a clock",
    X.DRAIN: "is a clock",
    X.BOUND: "is a clock",
    X.BEGIN_RUN: "the operator is a person",
}
"""Beginnings that are no part of a hot loop, and why."""


def _names_rest(chart: Chart) -> bool:
    """Whether every run that is dropped for an offer to come is declined, so that its name rests.

    Verdicts make names rest by themselves. `poll later` alone is not enough: each run that begins resets its count.
    """
    polls = {X.POLL, X.POLL_LATER}
    return all(X.DECLINE in row.effects for row in chart.rows if X.DROP_RUN in row.effects and polls & set(row.effects))


def _patient(row: Row, part: Part, begun: Effect, *, names_rest: bool) -> bool:
    """Whether there is a pause between the event of a row and what one of its effects begins."""
    if row.event is E.EXPERIMENT_OFFERED and when(Guard.OFFER_WELCOME) in row.conditions:
        return names_rest
    if X.SETTLE_REPORT in row.effects and part is STARTED_BY[begun]:
        return True  # one report less
    if begun is X.WATCH_OUTBOX and row.event is E.REPORT_FAILED:
        return X.POSTPONE_REPORT in row.effects
    if begun is X.POLL_LATER and X.DROP_RUN in row.effects:
        return X.DECLINE in row.effects
    return begun in _PATIENT


def hot_loops(chart: Chart) -> Iterator[Finding]:
    """Find the shortest circle of beginnings without a pause."""
    causes: dict[Part, list[tuple[Part, Row]]] = {}
    rest = _names_rest(chart)
    for row in chart.rows:
        for part in PARTS:
            if row.event not in part.events:
                continue
            for effect in row.effects:
                assert isinstance(effect, Effect)
                begun = STARTED_BY.get(effect)
                if begun is not None and not _patient(row, part, effect, names_rest=rest):
                    causes.setdefault(part, []).append((begun, row))
    circles = [circle for part in PARTS if (circle := _circle(causes, part))]
    for circle in sorted(circles, key=len)[:1]:
        told = tuple(f"{chart.row_id(row)} {row}: {', '.join(row.effects)}" for row in circle)
        yield Finding(10, "a circle of beginnings without a pause", told)


def _circle(causes: dict[Part, list[tuple[Part, Row]]], start: Part) -> list[Row]:
    """Give the rows of the shortest way from a part's answer to its next beginning; empty when there is none."""
    queue: deque[tuple[Part, list[Row]]] = deque([(start, [])])
    seen: set[Part] = set()
    while queue:
        part, way = queue.popleft()
        for begun, row in causes.get(part, ()):
            if begun is start:
                return [*way, row]
            if begun not in seen:
                seen.add(begun)
                queue.append((begun, [*way, row]))
    return []
