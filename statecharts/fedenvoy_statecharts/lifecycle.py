"""The lifecycle of the agent: the one authority on what it may do next.

Everything that decides a next step is a row here. The running machine is built from these rows, and so are the
drawings, the proofs, the property tests and the replay of an audit trail. To change what the agent does, change a
row; there is no second place.

How to read it. Seven states form the path of an experiment; Stopped ends a session. What is not a state (attempts,
misses, whether the link is up, whether a stop was asked for, the outbox) is data, and rows ask about it through guards.
The whole table is flat on purpose: a reader, a lawyer and a model checker all see the same lines.

Three rules make the rows short:

* An event carries the number of its scope, and one of an older number changes nothing. So no row needs to ask
  whether a poll's answer is still wanted.
* Leaving a state cancels its activity. So no row says "stop the download".
* Effects run after the machine has settled and the journal has the record. So a row can be read as a fact, and a crash
  between two rows loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from fedenvoy_statecharts.ignored import IGNORED
from fedenvoy_statecharts.model import Chart, Condition, Initial, Row, unless, when
from fedenvoy_statecharts.vocabulary import BUSY, SCOPES, WAITING, Effect, Event, Guard, State

__all__ = ["LIFECYCLE"]

E, G, S, X = Event, Guard, State, Effect


def _rows(
    sources: State | Iterable[State],
    event: Event,
    target: State | None,
    *conditions: Condition,
    do: tuple[Effect, ...] = (),
    note: str = "",
) -> tuple[Row, ...]:
    """Write one line of the table for one or several sources."""
    many = (sources,) if isinstance(sources, State) else tuple(sources)
    return tuple(Row(source, event, target, conditions, do, note) for source in many)


_DISCONNECTED = (
    *_rows(S.DISCONNECTED, E.SHARD_DESCRIBED, None, do=(X.DIAL,)),
    *_rows(S.DISCONNECTED, E.SHARD_UNUSABLE, S.STOPPED, do=(X.END_SHARD,)),
    *_rows(S.DISCONNECTED, E.REGISTRATION_ACCEPTED, S.REGISTERED, do=(X.CHECK,)),
    *_rows(S.DISCONNECTED, E.REGISTRATION_FAILED, S.DISCONNECTED, do=(X.DIAL_LATER,)),
    *_rows(S.DISCONNECTED, E.REGISTRATION_REFUSED, S.STOPPED, when(G.REFUSAL_ENDS), do=(X.END_REFUSED,)),
    *_rows(S.DISCONNECTED, E.REGISTRATION_REFUSED, S.DISCONNECTED, unless(G.REFUSAL_ENDS), do=(X.DIAL_LATER,)),
    *_rows(S.DISCONNECTED, E.LINK_REJECTED, S.DISCONNECTED, when(G.LINK_TRIES_LEFT), do=(X.DIAL_LATER,)),
    *_rows(S.DISCONNECTED, E.LINK_REJECTED, S.STOPPED, unless(G.LINK_TRIES_LEFT), do=(X.END_LINK,)),
)

_REGISTERED = (
    *_rows(S.REGISTERED, E.HEALTH_CHECKED, S.REPORTING, when(G.REPORT_WAITING), do=(X.NOTE_CONTACT, X.DELIVER)),
    *_rows(
        S.REGISTERED,
        E.HEALTH_CHECKED,
        S.IDLE,
        unless(G.REPORT_WAITING),
        do=(X.NOTE_CONTACT, X.POLL, X.WATCH_OUTBOX),
    ),
    *_rows(S.REGISTERED, E.HEALTH_MISSED, None, do=(X.COUNT_MISS,)),
)

_LINK_LOST_WHILE_FREE = (
    *_rows((S.REGISTERED, S.IDLE), E.DIRECTOR_LOST, S.DISCONNECTED, do=(X.DIAL_LATER,)),
    *_rows(
        (S.REGISTERED, S.IDLE),
        E.SHARD_FORGOTTEN,
        S.DISCONNECTED,
        do=(X.DIAL,),
        note="at once: the director answers; a link that keeps being forgotten is backed off by its short life",
    ),
    *_rows((S.REGISTERED, S.IDLE), E.LINK_REJECTED, S.DISCONNECTED, do=(X.DIAL_LATER,)),
)

_IDLE = (
    *_rows(
        S.IDLE,
        E.EXPERIMENT_OFFERED,
        S.IDLE,
        unless(G.OFFER_WELCOME),
        do=(X.DECLINE, X.POLL_LATER, X.WATCH_OUTBOX),
    ),
    *_rows(S.IDLE, E.EXPERIMENT_OFFERED, S.REVIEWING_PLAN, when(G.OFFER_WELCOME), do=(X.BEGIN_RUN, X.FETCH)),
    *_rows(S.IDLE, E.POLL_FAILED, S.IDLE, when(G.POLL_TRIES_LEFT), do=(X.POLL_LATER, X.WATCH_OUTBOX)),
    *_rows(S.IDLE, E.POLL_FAILED, S.DISCONNECTED, unless(G.POLL_TRIES_LEFT), do=(X.DIAL_LATER,)),
    *_rows(S.IDLE, E.REPORT_DUE, S.REPORTING, do=(X.DELIVER,)),
)

_STOP_WHILE_FREE = (
    *_rows(WAITING, E.STOP_REQUESTED, S.STOPPED, do=(X.NOTE_STOP, X.END_STOPPED)),
    *_rows(WAITING, E.ABORT_REQUESTED, S.STOPPED, do=(X.END_ABORTED,)),
    *_rows(WAITING, E.STORE_FAILED, S.STOPPED, do=(X.END_STORE,)),
)

_REVIEWING = (
    *_rows(
        S.REVIEWING_PLAN,
        E.PLAN_APPROVED,
        S.INSTALLING_REQUIREMENTS,
        when(G.INSTALL_WANTED),
        do=(X.NOTE_APPROVAL, X.PREPARE),
    ),
    *_rows(
        S.REVIEWING_PLAN,
        E.PLAN_APPROVED,
        S.TRAINING,
        unless(G.INSTALL_WANTED),
        do=(X.NOTE_APPROVAL, X.LAUNCH),
    ),
    *_rows(S.REVIEWING_PLAN, E.PLAN_REJECTED, S.REPORTING, do=(X.VERDICT_REJECTED, X.DELIVER)),
    *_rows(S.REVIEWING_PLAN, E.EXPERIMENT_UNUSABLE, S.REPORTING, do=(X.VERDICT_FAILED, X.DELIVER)),
    *(
        row
        for event in (E.ARCHIVE_SETTLED, E.EXPERIMENT_WITHDRAWN)
        for row in (
            *_rows(
                S.REVIEWING_PLAN,
                event,
                S.IDLE,
                when(G.LINK_UP),
                do=(X.DECLINE, X.DROP_RUN, X.POLL_LATER, X.WATCH_OUTBOX),
            ),
            *_rows(
                S.REVIEWING_PLAN,
                event,
                S.DISCONNECTED,
                unless(G.LINK_UP),
                do=(X.DECLINE, X.DROP_RUN, X.DIAL_LATER),
            ),
        )
    ),
    *_rows(
        S.REVIEWING_PLAN,
        E.FETCH_INTERRUPTED,
        None,
        when(G.FETCH_TRIES_LEFT),
        when(G.LINK_UP),
        do=(X.FETCH_LATER,),
    ),
    *_rows(
        S.REVIEWING_PLAN,
        E.FETCH_INTERRUPTED,
        S.DISCONNECTED,
        when(G.FETCH_TRIES_LEFT),
        unless(G.LINK_UP),
        do=(X.DROP_RUN, X.DIAL_LATER),
        note="the director offers the experiment again once the link is back",
    ),
    *_rows(
        S.REVIEWING_PLAN,
        E.FETCH_INTERRUPTED,
        S.REPORTING,
        unless(G.FETCH_TRIES_LEFT),
        do=(X.VERDICT_FAILED, X.DELIVER),
    ),
)

_INSTALLING = (
    *_rows(S.INSTALLING_REQUIREMENTS, E.REQUIREMENTS_READY, S.TRAINING, do=(X.LAUNCH,)),
    *_rows(S.INSTALLING_REQUIREMENTS, E.REQUIREMENTS_FAILED, S.REPORTING, do=(X.VERDICT_FAILED, X.DELIVER)),
    *_rows(S.INSTALLING_REQUIREMENTS, E.EXPERIMENT_UNUSABLE, S.REPORTING, do=(X.VERDICT_FAILED, X.DELIVER)),
)

_TRAINING = (
    *_rows(S.TRAINING, E.TRAINING_FINISHED, S.REPORTING, do=(X.VERDICT_FINISHED, X.BOUND, X.DELIVER)),
    *_rows(S.TRAINING, E.TRAINING_FAILED, S.REPORTING, do=(X.VERDICT_FAILED, X.BOUND, X.DELIVER)),
    *_rows(S.TRAINING, E.STOP_REQUESTED, None, unless(G.STOPPING), do=(X.NOTE_STOP, X.DRAIN)),
    *_rows(S.TRAINING, E.STOP_REQUESTED, None, when(G.STOPPING), note="asking again does not move the end"),
    *_rows(
        S.TRAINING,
        E.DRAIN_EXPIRED,
        S.REPORTING,
        when(G.STOP_REPORTS),
        do=(X.VERDICT_CANCELLED, X.BOUND, X.DELIVER),
    ),
    *_rows(S.TRAINING, E.DRAIN_EXPIRED, S.STOPPED, unless(G.STOP_REPORTS), do=(X.END_STOPPED,)),
)

_BUSY = (
    *_rows(BUSY, E.EXPERIMENT_ORPHANED, S.REPORTING, do=(X.VERDICT_ORPHANED, X.BOUND, X.DELIVER)),
    *_rows(BUSY, E.CANCEL_REQUESTED, S.REPORTING, do=(X.VERDICT_CANCELLED, X.BOUND, X.DELIVER)),
    *_rows(BUSY, E.DIRECTOR_LOST, None, do=(X.DIAL_LATER, X.START_ABSENCE_CLOCK), note="the work goes on"),
    *_rows(BUSY, E.LINK_REJECTED, None, do=(X.DIAL_LATER, X.START_ABSENCE_CLOCK), note="the work goes on"),
    *_rows(BUSY, E.REGISTRATION_FAILED, None, do=(X.DIAL_LATER,), note="the work goes on; the link was lost before"),
    *_rows(BUSY, E.SHARD_FORGOTTEN, None, do=(X.DIAL, X.START_ORPHAN_CLOCK)),
    *_rows(BUSY, E.REGISTRATION_REFUSED, None, do=(X.DIAL_LATER, X.START_ORPHAN_CLOCK)),
    *_rows(BUSY, E.REGISTRATION_ACCEPTED, None, do=(X.CHECK, X.WATCH_OFFERS, X.STOP_ABSENCE_CLOCK)),
    *_rows(BUSY, E.EXPERIMENT_REOFFERED, None, when(G.SAME_RUN), do=(X.STOP_ORPHAN_CLOCK,)),
    *_rows(
        BUSY,
        E.EXPERIMENT_REOFFERED,
        S.REPORTING,
        unless(G.SAME_RUN),
        do=(X.VERDICT_ORPHANED, X.BOUND, X.DELIVER),
        note="the other experiment is offered again once this node is Idle",
    ),
    *_rows(
        (S.REVIEWING_PLAN, S.INSTALLING_REQUIREMENTS),
        E.STOP_REQUESTED,
        S.REPORTING,
        when(G.STOP_REPORTS),
        do=(X.NOTE_STOP, X.VERDICT_CANCELLED, X.BOUND, X.DELIVER),
    ),
    *_rows(
        (S.REVIEWING_PLAN, S.INSTALLING_REQUIREMENTS),
        E.STOP_REQUESTED,
        S.STOPPED,
        unless(G.STOP_REPORTS),
        do=(X.NOTE_STOP, X.END_STOPPED),
        note="the next session is offered the experiment again",
    ),
)

_LINK_ALIVE = (
    *_rows((S.IDLE, *BUSY, S.REPORTING), E.HEALTH_CHECKED, None, do=(X.NOTE_CONTACT,)),
    *_rows((S.IDLE, *BUSY, S.REPORTING), E.HEALTH_MISSED, None, do=(X.COUNT_MISS,)),
)

_REPORTING = (
    *(
        row
        for event in (E.REPORT_DELIVERED, E.REPORT_UNDELIVERABLE)
        for row in (
            *_rows(S.REPORTING, event, S.STOPPED, when(G.STOPPING), do=(X.SETTLE_REPORT, X.END_STOPPED)),
            *_rows(
                S.REPORTING,
                event,
                S.REPORTING,
                unless(G.STOPPING),
                when(G.REPORT_WAITING),
                do=(X.SETTLE_REPORT, X.DELIVER),
            ),
            *_rows(
                S.REPORTING,
                event,
                S.IDLE,
                unless(G.STOPPING),
                unless(G.REPORT_WAITING),
                when(G.LINK_UP),
                do=(X.SETTLE_REPORT, X.POLL, X.WATCH_OUTBOX),
            ),
            *_rows(
                S.REPORTING,
                event,
                S.DISCONNECTED,
                unless(G.STOPPING),
                unless(G.REPORT_WAITING),
                unless(G.LINK_UP),
                do=(X.SETTLE_REPORT, X.DIAL_LATER),
            ),
        )
    ),
    *_rows(
        S.REPORTING,
        E.REPORT_FAILED,
        S.REPORTING,
        when(G.LINK_UP),
        when(G.DELIVER_TRIES_LEFT),
        do=(X.DELIVER_LATER,),
    ),
    *_rows(
        S.REPORTING,
        E.REPORT_FAILED,
        S.REPORTING,
        when(G.LINK_UP),
        unless(G.DELIVER_TRIES_LEFT),
        when(G.STOPPING),
        do=(X.DELIVER_LATER,),
        note="until the stop clock ends it",
    ),
    *_rows(
        S.REPORTING,
        E.REPORT_FAILED,
        S.IDLE,
        when(G.LINK_UP),
        unless(G.DELIVER_TRIES_LEFT),
        unless(G.STOPPING),
        do=(X.POSTPONE_REPORT, X.POLL, X.WATCH_OUTBOX),
    ),
    *_rows(S.REPORTING, E.REPORT_FAILED, S.STOPPED, unless(G.LINK_UP), when(G.STOPPING), do=(X.END_STOPPED,)),
    *_rows(
        S.REPORTING,
        E.REPORT_FAILED,
        S.DISCONNECTED,
        unless(G.LINK_UP),
        unless(G.STOPPING),
        do=(X.DIAL_LATER,),
    ),
    *(
        row
        for event, dial in (
            (E.DIRECTOR_LOST, X.DIAL_LATER),
            (E.SHARD_FORGOTTEN, X.DIAL),
            (E.LINK_REJECTED, X.DIAL_LATER),
        )
        for row in (
            *_rows(S.REPORTING, event, S.STOPPED, when(G.STOPPING), do=(X.END_STOPPED,)),
            *_rows(S.REPORTING, event, S.DISCONNECTED, unless(G.STOPPING), do=(dial,)),
        )
    ),
    *_rows(
        S.REPORTING,
        E.REGISTRATION_ACCEPTED,
        None,
        do=(X.CHECK,),
        note="the late answer of a background redial",
    ),
    *_rows(
        S.REPORTING,
        E.REGISTRATION_FAILED,
        None,
        note="the late answer of a background redial; a failed delivery leads on",
    ),
    *_rows(
        S.REPORTING,
        E.REGISTRATION_REFUSED,
        None,
        note="the late answer of a background redial; a failed delivery leads on",
    ),
    *_rows(S.REPORTING, E.STOP_REQUESTED, None, unless(G.STOPPING), do=(X.NOTE_STOP, X.BOUND)),
    *_rows(S.REPORTING, E.STOP_REQUESTED, None, when(G.STOPPING), note="asking again does not move the end"),
    *_rows(S.REPORTING, E.DRAIN_EXPIRED, S.STOPPED, do=(X.END_STOPPED,)),
)

_ALIVE = tuple(state for state in State if state is not S.STOPPED)
_NOT_IDLE = tuple(state for state in _ALIVE if state is not S.IDLE)

_OPERATOR = (
    *_rows(_ALIVE, E.PAUSE_REQUESTED, None, do=(X.NOTE_PAUSE,), note="what is in hand goes on"),
    *_rows(_NOT_IDLE, E.RESUME_REQUESTED, None, do=(X.NOTE_RESUME,)),
    *_rows(
        S.IDLE,
        E.RESUME_REQUESTED,
        S.IDLE,
        do=(X.NOTE_RESUME, X.POLL, X.WATCH_OUTBOX),
        note="an offer that was declined is asked for again at once",
    ),
    *_rows(_NOT_IDLE, E.FORGET_REQUESTED, None, do=(X.FORGET_NAME,)),
    *_rows(
        S.IDLE,
        E.FORGET_REQUESTED,
        S.IDLE,
        do=(X.FORGET_NAME, X.POLL, X.WATCH_OUTBOX),
        note="an offer that was declined is asked for again at once",
    ),
)

_END_AT_ONCE = (
    *_rows((*BUSY, S.REPORTING), E.ABORT_REQUESTED, S.STOPPED, do=(X.END_ABORTED,)),
    *_rows((*BUSY, S.REPORTING), E.STORE_FAILED, S.STOPPED, do=(X.END_STORE,)),
)

LIFECYCLE = Chart(
    name="fedenvoy node agent",
    states=tuple(State),
    events={event: scope for event, scope in SCOPES.items()},  # noqa: C416 - widens the key type
    guards=tuple(Guard),
    effects=tuple(Effect),
    initial=Initial(Event.STARTED, State.DISCONNECTED, (Effect.DESCRIBE,)),
    final=frozenset({State.STOPPED}),
    rows=(
        *_DISCONNECTED,
        *_REGISTERED,
        *_LINK_LOST_WHILE_FREE,
        *_IDLE,
        *_STOP_WHILE_FREE,
        *_REVIEWING,
        *_INSTALLING,
        *_TRAINING,
        *_BUSY,
        *_LINK_ALIVE,
        *_REPORTING,
        *_OPERATOR,
        *_END_AT_ONCE,
    ),
    ignored=IGNORED,
    activities={
        State.DISCONNECTED: "describe the shard once, then dial and register",
        State.REGISTERED: "the first health check",
        State.IDLE: "the long poll for an offer",
        State.REVIEWING_PLAN: "download, verify, unpack, review",
        State.INSTALLING_REQUIREMENTS: "build or reuse the environment",
        State.TRAINING: "supervise the experiment's process",
        State.REPORTING: "deliver the verdict",
    },
)
"""The lifecycle that every fedenvoy node follows."""
