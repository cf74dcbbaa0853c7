"""Who produces which event, what begins it, and how long it lives, as far as the table relies on it.

This is knowledge of its own, not read from the chart: the scopes that the chart declares are checked against these
lifetimes.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from fedenvoy_statecharts.vocabulary import Effect, Event

__all__ = ["PARTS", "STARTED_BY", "Bond", "Part"]

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
PROCESS = Part(
    7,
    "the experiment's process",
    Bond.ENTRY | Bond.RUN,
    (E.TRAINING_FINISHED, E.TRAINING_FAILED, E.EXPERIMENT_ORPHANED),
)
DELIVERY = Part(8, "the delivery", Bond.ENTRY, (E.REPORT_DELIVERED, E.REPORT_FAILED, E.REPORT_UNDELIVERABLE))
WATCH = Part(9, "the background poll", Bond.RUN | Bond.LINK, (E.EXPERIMENT_REOFFERED,))
ORPHAN_CLOCK = Part(10, "the orphan clock", Bond.RUN, (E.EXPERIMENT_ORPHANED,))
ABSENCE_CLOCK = Part(11, "the absence clock", Bond.RUN, (E.EXPERIMENT_ORPHANED,))
OPERATOR = Part(12, "the operator", Bond.RUN, (), (E.CANCEL_REQUESTED,))
STOP_CLOCK = Part(13, "the stop clock", Bond.SESSION, (E.DRAIN_EXPIRED,))

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
    ABSENCE_CLOCK,
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
    X.START_ABSENCE_CLOCK: ABSENCE_CLOCK,
    X.BEGIN_RUN: OPERATOR,
    X.DRAIN: STOP_CLOCK,
    X.BOUND: STOP_CLOCK,
}
