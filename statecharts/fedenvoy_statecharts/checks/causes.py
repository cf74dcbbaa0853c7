"""Who produces which event, what begins it, and how long it lives, as far as the table relies on it.

This is knowledge of its own, not read from the chart: the scopes that the chart declares are checked against these
lifetimes. A hot loop (property 10) is a circle in it: something whose answer begins the next thing, and so on, until
the first is begun again, without any pause.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from fedenvoy_statecharts.checks.report import Finding
from fedenvoy_statecharts.model import Chart, Row, when
from fedenvoy_statecharts.vocabulary import Effect, Event, Guard

__all__ = ["PARTS", "STARTED_BY", "Bond", "Part", "hot_loops"]

E, X = Event, Effect


class Bond(enum.Flag):
    """With what a part ends."""

    ENTRY = enum.auto()
    LINK = enum.auto()
    RUN = enum.auto()
    SESSION = enum.auto()


@dataclass(frozen=True, slots=True)
class Part:
    """Something that runs and answers.

    Attributes:
        number: Position among PARTS.
        name: For people.
        bond: With what it ends; with the first of several.
        last: Events that end it.
        more: Events after which it goes on.

    """

    number: int
    name: str
    bond: Bond
    last: tuple[Event, ...] = ()
    more: tuple[Event, ...] = ()

    @property
    def events(self) -> tuple[Event, ...]:
        """Everything it may say."""
        return *self.more, *self.last


DESCRIPTION = Part(0, "the description of the shard", Bond.ENTRY, (E.SHARD_DESCRIBED, E.SHARD_UNUSABLE))
DIAL = Part(
    1,
    "the dial",
    Bond.LINK,
    (
        E.REGISTRATION_ACCEPTED,
        E.REGISTRATION_FAILED,
        E.REGISTRATION_REFUSED,
        E.LINK_REJECTED,
        E.SHARD_FORGOTTEN,
    ),
)
CHECKS = Part(
    2,
    "the health checks",
    Bond.LINK,
    (E.DIRECTOR_LOST, E.SHARD_FORGOTTEN, E.LINK_REJECTED),
    (E.HEALTH_CHECKED, E.HEALTH_MISSED),
)
POLL = Part(3, "the long poll", Bond.ENTRY, (E.EXPERIMENT_OFFERED, E.POLL_FAILED))
REPORT_CLOCK = Part(4, "the clock of the outbox", Bond.ENTRY, (E.REPORT_DUE,))
FETCH = Part(
    5,
    "the download and review",
    Bond.ENTRY | Bond.RUN,
    (
        E.EXPERIMENT_WITHDRAWN,
        E.ARCHIVE_SETTLED,
        E.FETCH_INTERRUPTED,
        E.EXPERIMENT_UNUSABLE,
        E.PLAN_APPROVED,
        E.PLAN_REJECTED,
    ),
)
INSTALLATION = Part(
    6,
    "the installation",
    Bond.ENTRY | Bond.RUN,
    (E.REQUIREMENTS_READY, E.REQUIREMENTS_FAILED, E.EXPERIMENT_UNUSABLE),
)
PROCESS = Part(7, "the experiment's process", Bond.ENTRY | Bond.RUN, (E.TRAINING_FINISHED, E.TRAINING_FAILED))
DELIVERY = Part(8, "the delivery", Bond.ENTRY, (E.REPORT_DELIVERED, E.REPORT_FAILED, E.REPORT_UNDELIVERABLE))
WATCH = Part(9, "the background poll", Bond.RUN | Bond.LINK, (E.EXPERIMENT_REOFFERED,))
ORPHAN_CLOCK = Part(10, "the orphan clock", Bond.RUN, (E.EXPERIMENT_ORPHANED,))
OPERATOR = Part(11, "the operator", Bond.RUN, (), (E.CANCEL_REQUESTED,))
STOP_CLOCK = Part(12, "the stop clock", Bond.SESSION, (E.DRAIN_EXPIRED,))

PARTS: tuple[Part, ...] = (
    DESCRIPTION,
    DIAL,
    CHECKS,
    POLL,
    REPORT_CLOCK,
    FETCH,
    INSTALLATION,
    PROCESS,
    DELIVERY,
    WATCH,
    ORPHAN_CLOCK,
    OPERATOR,
    STOP_CLOCK,
)

STARTED_BY: dict[Effect, Part] = {
    X.DESCRIBE: DESCRIPTION,
    X.DIAL: DIAL,
    X.DIAL_LATER: DIAL,
    X.CHECK: CHECKS,
    X.POLL: POLL,
    X.POLL_LATER: POLL,
    X.WATCH_OUTBOX: REPORT_CLOCK,
    X.FETCH: FETCH,
    X.FETCH_LATER: FETCH,
    X.PREPARE: INSTALLATION,
    X.LAUNCH: PROCESS,
    X.DELIVER: DELIVERY,
    X.DELIVER_LATER: DELIVERY,
    X.WATCH_OFFERS: WATCH,
    X.START_ORPHAN_CLOCK: ORPHAN_CLOCK,
    X.BEGIN_RUN: OPERATOR,
    X.DRAIN: STOP_CLOCK,
    X.BOUND: STOP_CLOCK,
}

_PATIENT: dict[Effect, str] = {
    X.DIAL: "backs off by itself unless the last link lived a while",
    X.DIAL_LATER: "backs off",
    X.POLL_LATER: "waits longer each time",
    X.FETCH_LATER: "backs off",
    X.DELIVER_LATER: "backs off",
    X.WATCH_OUTBOX: "is a clock; a report that is put off waits half a minute at least",
    X.START_ORPHAN_CLOCK: "is a clock",
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
