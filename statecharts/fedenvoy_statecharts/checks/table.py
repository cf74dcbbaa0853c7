"""The properties that can be decided on the table alone: 1 to 5, 9 to 11."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import product

from fedenvoy_statecharts.checks.loops import hot_loops
from fedenvoy_statecharts.checks.report import Finding
from fedenvoy_statecharts.model import Chart, Condition, Row, Vocabulary, unless, when
from fedenvoy_statecharts.vocabulary import BUSY, Effect, Event, Guard, State

__all__ = ["check_table"]

S, E, X, G = State, Event, Effect, Guard

_STARTERS: dict[Vocabulary, frozenset[Vocabulary]] = {
    S.DISCONNECTED: frozenset({X.DESCRIBE, X.DIAL, X.DIAL_LATER}),
    S.REGISTERED: frozenset({X.CHECK}),
    S.IDLE: frozenset({X.POLL, X.POLL_LATER}),
    S.REVIEWING_PLAN: frozenset({X.FETCH, X.FETCH_LATER}),
    S.INSTALLING_REQUIREMENTS: frozenset({X.PREPARE}),
    S.TRAINING: frozenset({X.LAUNCH}),
    S.REPORTING: frozenset({X.DELIVER, X.DELIVER_LATER}),
}
"""What begins each state's activity. Dialling and health checks may also go on behind others; the rest may not."""

_EXCLUSIVE = frozenset().union(*_STARTERS.values()) - _STARTERS[S.DISCONNECTED] - _STARTERS[S.REGISTERED]


def check_table(chart: Chart) -> Iterator[Finding]:
    """Decide the properties one by one, in order; those that hold say nothing."""
    rules = (_deterministic, _total, _reachable, _reviewed, _forward, _heard, _registered, hot_loops, _activities)
    for rule in rules:
        yield from rule(chart)


def _path(chart: Chart, start: Vocabulary, goal: Vocabulary, without: Iterable[Row] = ()) -> list[Row] | None:
    """Give the shortest way over rows, whatever their guards; None when there is none."""
    banned = set(without)
    ways: dict[Vocabulary, list[Row]] = {start: []}
    queue = deque([start])
    while queue:
        state = queue.popleft()
        if state == goal:
            return ways[state]
        for row in chart.rows:
            if row.source == state and row not in banned and row.goal not in ways:
                ways[row.goal] = [*ways[state], row]
                queue.append(row.goal)
    return None


def _told(chart: Chart, rows: Iterable[Row]) -> tuple[str, ...]:
    return tuple(f"{chart.row_id(row)} {row}" for row in rows)


def _valuations(rows: tuple[Row, ...]) -> Iterator[dict[Vocabulary, bool]]:
    guards = sorted({guard for row in rows for guard in row.guards})
    for values in product((True, False), repeat=len(guards)):
        yield dict(zip(guards, values, strict=True))


def _deterministic(chart: Chart) -> Iterator[Finding]:
    for state, event in chart.pairs():
        for valuation in _valuations(chart.at(state, event)):
            rows = [row for row in chart.at(state, event) if row.holds(valuation)]
            if len(rows) > 1:
                yield Finding(1, f"{state} on {event}: more than one row applies", _told(chart, rows))


def _total(chart: Chart) -> Iterator[Finding]:
    ignored = {(entry.state, entry.event) for entry in chart.ignored}
    for state, event in chart.pairs():
        rows = chart.at(state, event)
        if bool(rows) is ((state, event) in ignored):
            yield Finding(2, f"{state} on {event} is {'both a row and ignored' if rows else 'not mentioned'}")
        for valuation in _valuations(rows) if rows else ():
            if not any(row.holds(valuation) for row in rows):
                asked = ", ".join(str(Condition(guard, expected=value)) for guard, value in valuation.items())
                yield Finding(2, f"{state} on {event}: no row applies when {asked}", _told(chart, rows))


def _reachable(chart: Chart) -> Iterator[Finding]:
    for state in chart.states:
        if _path(chart, chart.initial.target, state) is None:
            yield Finding(3, f"{state} cannot be reached")
        for goal in (S.STOPPED, S.IDLE):
            wanted = goal is S.STOPPED or state not in chart.final
            if wanted and _path(chart, state, goal) is None:
                yield Finding(3, f"{goal} cannot be reached from {state}")


def _reviewed(chart: Chart) -> Iterator[Finding]:
    """4: take the approvals away, and nothing may lead to installing or training; likewise for the installation."""
    approvals = [row for row in chart.rows if row.event is E.PLAN_APPROVED]
    for state in (S.INSTALLING_REQUIREMENTS, S.TRAINING):
        way = _path(chart, chart.initial.target, state, approvals)
        if way is not None:
            yield Finding(4, f"{state} is reached without plan_approved", _told(chart, way))
    skips = [row for row in approvals if unless(G.INSTALL_WANTED) in row.conditions]
    installed = [row for row in chart.rows if row.event is E.REQUIREMENTS_READY]
    way = _path(chart, chart.initial.target, S.TRAINING, [*skips, *installed])
    if way is not None:
        yield Finding(4, "Training is reached although an installation was wanted and not done", _told(chart, way))


def _may_leave(row: Row) -> bool:
    """5: where a run may go from a busy state other than forward."""
    gone = row.event in {E.EXPERIMENT_WITHDRAWN, E.ARCHIVE_SETTLED}
    cut = gone or row.event is E.FETCH_INTERRUPTED
    left = row.event in {E.STOP_REQUESTED, E.DRAIN_EXPIRED} and unless(G.STOP_REPORTS) in row.conditions
    return (
        row.target is S.REPORTING
        or (row.target is S.IDLE and gone)
        or (row.target is S.DISCONNECTED and cut and unless(G.LINK_UP) in row.conditions)
        or (row.target is S.STOPPED and (left or row.event in {E.ABORT_REQUESTED, E.STORE_FAILED}))
    )


def _forward(chart: Chart) -> Iterator[Finding]:
    for row in chart.rows:
        if row.target is None:
            continue
        if row.source in BUSY:
            onward = row.target in BUSY and chart.states.index(row.target) > chart.states.index(row.source)
            if not onward and not _may_leave(row):
                yield Finding(5, "a run moves where it may not", _told(chart, [row]))
        elif row.target in BUSY:
            begins = (row.source, row.event, row.target) == (S.IDLE, E.EXPERIMENT_OFFERED, S.REVIEWING_PLAN)
            if not begins or when(G.OFFER_WELCOME) not in row.conditions:
                yield Finding(5, "a run begins otherwise than by a welcome offer", _told(chart, [row]))


_WISHES = {E.PAUSE_REQUESTED: X.NOTE_PAUSE, E.RESUME_REQUESTED: X.NOTE_RESUME, E.FORGET_REQUESTED: X.FORGET_NAME}
"""What the operator wants, and the effect that notes it."""


def _heard(chart: Chart) -> Iterator[Finding]:
    """7, on the table: a wish of the operator is noted wherever it comes, and nothing else notes it."""
    for row in chart.rows:
        for event, effect in _WISHES.items():
            if (row.event is event) is not (effect in row.effects):
                yield Finding(7, f"{effect!s} and {event!s} do not go together", _told(chart, [row]))


def _registered(chart: Chart) -> Iterator[Finding]:
    for row in chart.rows:
        if row.target is S.REGISTERED and row.event is not E.REGISTRATION_ACCEPTED:
            yield Finding(9, "Registered is entered without an accepted registration", _told(chart, [row]))


def _activities(chart: Chart) -> Iterator[Finding]:
    for state in chart.states:
        if (state in chart.final) is bool(chart.activities.get(state)):
            yield Finding(11, f"{state} {'is final and has' if state in chart.final else 'names'} no activity")
    for row in chart.rows:
        mine = _STARTERS.get(row.goal, frozenset())
        if not row.internal and row.goal not in chart.final and not mine & set(row.effects):
            yield Finding(11, f"{row.goal} is entered and nothing is begun there", _told(chart, [row]))
        for effect in row.effects:
            if effect in _EXCLUSIVE - mine:
                yield Finding(11, f"{effect!s} is begun in {row.goal}, which is not its place", _told(chart, [row]))
