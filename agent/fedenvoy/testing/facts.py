"""What rules a session of the agent beside its table: the facts that keep walks over the lifecycle to what can happen.

A test holds them against the exhaustive model of the charts' own checks: they never rule out a step that is possible
there.
"""

from __future__ import annotations

from collections.abc import Iterable

from fedenvoy_statecharts import LIFECYCLE, Chart, Effect, Event, Guard
from fedenvoy_statecharts.model import Vocabulary

from fedenvoy.testing.paths import Facts

__all__ = ["DIALLED", "LIFECYCLE_FACTS", "ORPHANABLE", "PUT_OFF", "WATCHING", "facts_for"]

DIALLED = "dialled"
"""The shard is described, and the director was called."""
ORPHANABLE = "may be orphaned"
"""A clock of the run runs, or its process, which may find no aggregator."""
WATCHING = "offers are watched"
PUT_OFF = "a report was put off"

_NEW_LINK: dict[str, bool] = {Guard.LINK_UP: False, DIALLED: True, WATCHING: False}
_NO_RUN: dict[str, bool] = {ORPHANABLE: False, WATCHING: False}
_CALLING: dict[str, bool] = {Guard.LINK_UP: False, DIALLED: True}
_CHECKING: dict[str, bool] = {Guard.LINK_UP: True}

_ENDS_OF_A_RUN = (
    Effect.DROP_RUN,
    Effect.VERDICT_FINISHED,
    Effect.VERDICT_FAILED,
    Effect.VERDICT_REJECTED,
    Effect.VERDICT_CANCELLED,
    Effect.VERDICT_ORPHANED,
)

LIFECYCLE_FACTS = Facts(
    start={
        Guard.LINK_UP: False,
        Guard.STOPPING: False,
        DIALLED: False,
        ORPHANABLE: False,
        WATCHING: False,
        PUT_OFF: False,
    },
    changes={
        Effect.DIAL: _NEW_LINK,
        Effect.DIAL_LATER: _NEW_LINK,
        Effect.CHECK: {Guard.LINK_UP: True},
        Effect.NOTE_STOP: {Guard.STOPPING: True},
        Effect.WATCH_OFFERS: {WATCHING: True},
        # Others may be put off still when one is settled, so this stays as it is.
        Effect.POSTPONE_REPORT: {PUT_OFF: True},
        Effect.START_ORPHAN_CLOCK: {ORPHANABLE: True},
        Effect.START_ABSENCE_CLOCK: {ORPHANABLE: True},
        # One fact for all that may say so; when one of them ends, another may run on.
        Effect.LAUNCH: {ORPHANABLE: True},
        # The background poll has answered, and is not begun again on this link.
        Effect.STOP_ORPHAN_CLOCK: {WATCHING: False},
        **dict.fromkeys(_ENDS_OF_A_RUN, _NO_RUN),
    },
    needs={
        Event.SHARD_DESCRIBED: {DIALLED: False},
        Event.SHARD_UNUSABLE: {DIALLED: False},
        Event.REGISTRATION_ACCEPTED: _CALLING,
        Event.REGISTRATION_FAILED: _CALLING,
        Event.REGISTRATION_REFUSED: _CALLING,
        # A dial with a run in hand asks before it registers, so that these are known before the link is up, too.
        Event.LINK_REJECTED: {DIALLED: True},
        Event.SHARD_FORGOTTEN: {DIALLED: True},
        Event.HEALTH_CHECKED: _CHECKING,
        Event.HEALTH_MISSED: _CHECKING,
        Event.DIRECTOR_LOST: _CHECKING,
        Event.REPORT_DUE: {PUT_OFF: True},
        Event.EXPERIMENT_REOFFERED: {WATCHING: True},
        Event.EXPERIMENT_ORPHANED: {ORPHANABLE: True},
        Event.DRAIN_EXPIRED: {Guard.STOPPING: True},
    },
    fixed=(Guard.STOP_REPORTS, Guard.REFUSAL_ENDS),
)
"""The link and the stop, which guards ask about; and what must have begun for its answer to come."""


def facts_for(chart: Chart, facts: Facts | None) -> Facts:
    """Give the facts wanted, else those of the agent for the agent's words, else none."""
    if facts is not None:
        return facts
    return LIFECYCLE_FACTS if _in_the_agents_words(chart) else Facts()


def _in_the_agents_words(chart: Chart) -> bool:
    words: tuple[tuple[Iterable[Vocabulary], Iterable[Vocabulary]], ...] = (
        (chart.guards, LIFECYCLE.guards),
        (chart.effects, LIFECYCLE.effects),
        (chart.events, LIFECYCLE.events),
    )
    return all(list(map(id, own)) == list(map(id, ours)) for own, ours in words)
