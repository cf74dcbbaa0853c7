"""The pairs that have no row, each with its reason: what cannot happen in a state, or comes too late to matter.

Written by event: for which states it is ignored, why (from the closed list `Why`), and a note that names the producer.
Together with the rows this makes the table total; the chart refuses to be built otherwise.
"""

from __future__ import annotations

from fedenvoy_statecharts.model import Ignored, Why, ignore
from fedenvoy_statecharts.vocabulary import BUSY, SCOPES, Event, State

__all__ = ["IGNORED"]

E, S = Event, State
_ALIVE = tuple(state for state in State if state is not State.STOPPED)


def _except(*states: State) -> tuple[State, ...]:
    """Give every state but Stopped and those named."""
    return tuple(state for state in _ALIVE if state not in states)


_BY_ACTIVITY = {
    E.SHARD_DESCRIBED: (_except(S.DISCONNECTED), "the description runs in Disconnected only"),
    E.SHARD_UNUSABLE: (_except(S.DISCONNECTED), "the description runs in Disconnected only"),
    E.EXPERIMENT_OFFERED: (
        _except(S.IDLE),
        "the poll is Idle's; a late answer belongs to a poll that was cancelled",
    ),
    E.POLL_FAILED: (_except(S.IDLE), "the poll is Idle's; cancelling it ends as a failure"),
    E.REPORT_DUE: (_except(S.IDLE), "the clock is Idle's; it is set again at every entry"),
    E.EXPERIMENT_WITHDRAWN: (_except(S.REVIEWING_PLAN), "only a download learns it"),
    E.ARCHIVE_SETTLED: (_except(S.REVIEWING_PLAN), "only a download learns it"),
    E.FETCH_INTERRUPTED: (_except(S.REVIEWING_PLAN), "only a download can be cut"),
    E.EXPERIMENT_UNUSABLE: (
        _except(S.REVIEWING_PLAN, S.INSTALLING_REQUIREMENTS),
        "found while fetching, reviewing or preparing",
    ),
    E.REQUIREMENTS_READY: (
        _except(S.INSTALLING_REQUIREMENTS),
        "the installer runs in InstallingRequirements only",
    ),
    E.REQUIREMENTS_FAILED: (
        _except(S.INSTALLING_REQUIREMENTS),
        "the installer runs in InstallingRequirements only",
    ),
    E.REPORT_DELIVERED: (_except(S.REPORTING), "deliveries run in Reporting only"),
    E.REPORT_FAILED: (
        _except(S.REPORTING),
        "deliveries run in Reporting only; cancelling one ends as a failure",
    ),
    E.REPORT_UNDELIVERABLE: (_except(S.REPORTING), "deliveries run in Reporting only"),
}

_BY_RUN = {
    E.PLAN_APPROVED: (_except(*BUSY), "the run it speaks of is over"),
    E.PLAN_REJECTED: (_except(*BUSY), "the run it speaks of is over"),
    E.TRAINING_FINISHED: (_except(S.TRAINING), "the process is ended and awaited before its run is over"),
    E.TRAINING_FAILED: (_except(S.TRAINING), "the process is ended and awaited before its run is over"),
    E.EXPERIMENT_ORPHANED: (_except(*BUSY), "the orphan clock is the run's, and the run has its verdict"),
    E.EXPERIMENT_REOFFERED: (_except(*BUSY), "the background poll is the run's, and the run has its verdict"),
    E.CANCEL_REQUESTED: (_except(*BUSY), "the run it names is over"),
}

_DECIDED = (
    *ignore((S.INSTALLING_REQUIREMENTS, S.TRAINING), E.PLAN_APPROVED, Why.DECIDED, "approved before"),
    *ignore((S.INSTALLING_REQUIREMENTS, S.TRAINING), E.PLAN_REJECTED, Why.DECIDED, "approved before"),
)

_IMPOSSIBLE = (
    *ignore(
        (S.REGISTERED, S.IDLE),
        E.REGISTRATION_ACCEPTED,
        Why.IMPOSSIBLE,
        "dialling is over once a registration is accepted; a new dial begins in Disconnected",
    ),
    *ignore((S.REGISTERED, S.IDLE), E.REGISTRATION_FAILED, Why.IMPOSSIBLE, "no registration is under way here"),
    *ignore((S.REGISTERED, S.IDLE), E.REGISTRATION_REFUSED, Why.IMPOSSIBLE, "no registration is under way here"),
    *ignore((S.DISCONNECTED,), E.HEALTH_CHECKED, Why.STALE, "health checks begin with an accepted registration"),
    *ignore((S.DISCONNECTED,), E.HEALTH_MISSED, Why.STALE, "health checks begin with an accepted registration"),
    *ignore((S.DISCONNECTED,), E.DIRECTOR_LOST, Why.STALE, "the failure detector watches accepted registrations"),
    *ignore((S.DISCONNECTED,), E.SHARD_FORGOTTEN, Why.STALE, "the failure detector watches accepted registrations"),
    *ignore(
        _except(S.TRAINING, S.REPORTING),
        E.DRAIN_EXPIRED,
        Why.IMPOSSIBLE,
        "its clock starts in Training and Reporting, which a stopping session leaves only for Reporting and Stopped",
    ),
)

IGNORED: tuple[Ignored, ...] = (
    *(entry for event, (states, note) in _BY_ACTIVITY.items() for entry in ignore(states, event, Why.STALE, note)),
    *(entry for event, (states, note) in _BY_RUN.items() for entry in ignore(states, event, Why.STALE, note)),
    *_DECIDED,
    *_IMPOSSIBLE,
    *(Ignored(State.STOPPED, event, Why.OVER, "the session has ended") for event in SCOPES),
)
"""Every (state, event) pair of the lifecycle that has no row."""
