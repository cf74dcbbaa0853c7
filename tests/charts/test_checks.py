"""The checks hold for the lifecycle, and each of them finds the fault it is there for, by the shortest way."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
from fedenvoy_statecharts import LIFECYCLE, Chart, ChartError, Effect, Event, Guard, Ignored, Row, Scope, State, Why
from fedenvoy_statecharts.checks import PROPERTIES, Finding, check
from fedenvoy_statecharts.checks.explore import explore
from fedenvoy_statecharts.model import Condition, unless, when

S, E, X, G = State, Event, Effect, Guard


def pick(source: State, event: Event, *conditions: Condition) -> Row:
    """Find the row."""
    (row,) = [row for row in LIFECYCLE.at(source, event) if row.conditions == conditions]
    return row


def altered(row: Row, other: Row | None) -> tuple[Row, ...]:
    """Give the table with one row replaced or dropped."""
    return tuple(new for each in LIFECYCLE.rows if (new := other if each is row else each) is not None)


def raw(**changed: object) -> Chart:
    """Make a chart past the gate that refuses contradictions, to see what the checks say of it."""
    chart = copy.copy(LIFECYCLE)
    for name, value in changed.items():
        object.__setattr__(chart, name, value)
    return chart


def without(row: Row, *effects: Effect) -> Row:
    assert set(effects) <= set(row.effects)
    return replace(row, effects=tuple(effect for effect in row.effects if effect not in effects))


def instead(row: Row, effect: Effect, other: Effect) -> Row:
    assert effect in row.effects
    return replace(row, effects=tuple(other if each is effect else each for each in row.effects))


def two_rows_at_once() -> Chart:
    row = pick(S.IDLE, E.REPORT_DUE)
    return raw(rows=(*LIFECYCLE.rows, replace(row, target=S.STOPPED, effects=(X.END_STOPPED,))))


def a_guard_value_without_a_row() -> Chart:
    return raw(rows=altered(pick(S.IDLE, E.EXPERIMENT_OFFERED, when(G.OFFER_WELCOME)), None))


def a_false_claim() -> Chart:
    claim = Ignored(S.IDLE, E.HEALTH_MISSED, Why.IMPOSSIBLE, "no checks here")
    return replace(LIFECYCLE, rows=altered(pick(S.IDLE, E.HEALTH_MISSED), None), ignored=(*LIFECYCLE.ignored, claim))


def a_state_nobody_enters() -> Chart:
    row = pick(S.DISCONNECTED, E.REGISTRATION_ACCEPTED)
    return replace(LIFECYCLE, rows=altered(row, replace(row, target=S.DISCONNECTED, effects=(X.DIAL_LATER,))))


def a_dead_row() -> Chart:
    """Nothing asks for a stop in Training before Training knows of it: the second of the pair is never taken."""
    row = pick(S.TRAINING, E.STOP_REQUESTED, unless(G.STOPPING))
    return replace(LIFECYCLE, rows=altered(row, replace(row, target=S.STOPPED, effects=(X.NOTE_STOP, X.END_STOPPED))))


def training_although_the_installation_failed() -> Chart:
    row = pick(S.INSTALLING_REQUIREMENTS, E.REQUIREMENTS_FAILED)
    return replace(LIFECYCLE, rows=altered(row, replace(row, target=S.TRAINING, effects=(X.LAUNCH,))))


def launched_without_an_approval() -> Chart:
    row = pick(S.REVIEWING_PLAN, E.PLAN_APPROVED, unless(G.INSTALL_WANTED))
    return replace(LIFECYCLE, rows=altered(row, without(row, X.NOTE_APPROVAL)))


def a_failed_run_forgotten() -> Chart:
    row = pick(S.TRAINING, E.TRAINING_FAILED)
    effects = (X.DROP_RUN, X.POLL, X.WATCH_OUTBOX)
    return replace(LIFECYCLE, rows=altered(row, replace(row, target=S.IDLE, effects=effects)))


def no_verdict() -> Chart:
    row = pick(S.TRAINING, E.TRAINING_FINISHED)
    return replace(LIFECYCLE, rows=altered(row, without(row, X.VERDICT_FINISHED)))


def a_report_told_twice() -> Chart:
    row = pick(S.REPORTING, E.REPORT_DELIVERED, when(G.STOPPING))
    return replace(LIFECYCLE, rows=altered(row, without(row, X.SETTLE_REPORT)))


def an_old_link_is_heard() -> Chart:
    return replace(LIFECYCLE, events={**LIFECYCLE.events, E.HEALTH_CHECKED: Scope.AGENT})


def a_poll_is_not_heard() -> Chart:
    return replace(LIFECYCLE, events={**LIFECYCLE.events, E.REGISTRATION_ACCEPTED: Scope.ACTIVITY})


def no_drain_clock() -> Chart:
    row = pick(S.TRAINING, E.STOP_REQUESTED, unless(G.STOPPING))
    return replace(LIFECYCLE, rows=altered(row, without(row, X.DRAIN)))


def a_stop_that_moves() -> Chart:
    row = pick(S.TRAINING, E.STOP_REQUESTED, when(G.STOPPING))
    return replace(LIFECYCLE, rows=altered(row, replace(row, effects=(X.DRAIN,))))


def a_stop_forgotten() -> Chart:
    row = pick(S.REPORTING, E.REPORT_DELIVERED, when(G.STOPPING))
    effects = (X.SETTLE_REPORT, X.DIAL_LATER)
    return replace(LIFECYCLE, rows=altered(row, replace(row, target=S.DISCONNECTED, effects=effects)))


def idle_without_a_link() -> Chart:
    row = pick(S.REPORTING, E.REPORT_DELIVERED, unless(G.STOPPING), unless(G.REPORT_WAITING), unless(G.LINK_UP))
    effects = (X.SETTLE_REPORT, X.POLL, X.WATCH_OUTBOX)
    return replace(LIFECYCLE, rows=altered(row, replace(row, target=S.IDLE, effects=effects)))


def registered_by_another_event() -> Chart:
    row = pick(S.IDLE, E.SHARD_FORGOTTEN)
    return replace(LIFECYCLE, rows=altered(row, replace(row, target=S.REGISTERED, effects=(X.CHECK,))))


def a_hot_delivery() -> Chart:
    row = pick(S.REPORTING, E.REPORT_FAILED, when(G.LINK_UP), when(G.DELIVER_TRIES_LEFT))
    return replace(LIFECYCLE, rows=altered(row, instead(row, X.DELIVER_LATER, X.DELIVER)))


def a_hot_offer() -> Chart:
    row = pick(S.REVIEWING_PLAN, E.ARCHIVE_SETTLED, when(G.LINK_UP))
    return replace(LIFECYCLE, rows=altered(row, without(row, X.DECLINE)))


def nothing_runs() -> Chart:
    row = pick(S.INSTALLING_REQUIREMENTS, E.REQUIREMENTS_READY)
    return replace(LIFECYCLE, rows=altered(row, without(row, X.LAUNCH)))


def an_orphan_for_ever() -> Chart:
    row = pick(S.TRAINING, E.SHARD_FORGOTTEN)
    return replace(LIFECYCLE, rows=altered(row, without(row, X.START_ORPHAN_CLOCK)))


def a_report_that_sleeps() -> Chart:
    row = pick(S.REPORTING, E.REPORT_FAILED, when(G.LINK_UP), unless(G.DELIVER_TRIES_LEFT), unless(G.STOPPING))
    return replace(LIFECYCLE, rows=altered(row, without(row, X.WATCH_OUTBOX)))


FAULTS: list[tuple[int, Callable[[], Chart], str]] = [
    (1, two_rows_at_once, "Idle on report_due: more than one row applies"),
    (2, a_guard_value_without_a_row, "Idle on experiment_offered: no row applies when offer welcome"),
    (2, a_false_claim, "health_missed is ignored in Idle (cannot be produced here), and arrives"),
    (3, a_state_nobody_enters, "cannot be reached"),
    (3, a_dead_row, "a row can never be taken"),
    (4, training_although_the_installation_failed, "an installation was wanted and not done"),
    (4, launched_without_an_approval, "work is begun for a run that was not approved"),
    (5, a_failed_run_forgotten, "a run moves where it may not"),
    (6, no_verdict, "a delivery is begun with an empty outbox"),
    (6, a_report_told_twice, "a report that was told stays in the outbox"),
    (7, an_old_link_is_heard, "an answer that comes too late is taken for a new one"),
    (7, a_poll_is_not_heard, "an answer is taken for a late one although it is not"),
    (8, no_drain_clock, "no clock of its own bounds Training"),
    (8, a_stop_that_moves, "the end of a stop can be put off again and again"),
    (8, a_stop_forgotten, "a stop was asked for, and the agent goes on in Disconnected"),
    (9, idle_without_a_link, "Idle without a registration on this link"),
    (9, registered_by_another_event, "Registered is entered without an accepted registration"),
    (10, a_hot_delivery, "a circle of beginnings without a pause"),
    (10, a_hot_offer, "a circle of beginnings without a pause"),
    (11, nothing_runs, "Training is entered and nothing is begun there"),
    (12, an_orphan_for_ever, "a run goes on without a director, and no clock could end it"),
    (12, a_report_that_sleeps, "a report waits and no clock wakes Idle for it"),
]


def test_the_lifecycle_keeps_every_property() -> None:
    report = check(LIFECYCLE)
    assert report.holds, "\n".join(report.lines())
    assert report.configurations > 1000, "the model must not be explored in a corner only"
    assert [line.split()[:2] for line in report.lines()] == [[str(number), "ok"] for number in PROPERTIES]


@pytest.mark.parametrize(("number", "plant", "words"), FAULTS, ids=[plant.__name__ for _, plant, _ in FAULTS])
def test_a_planted_fault_is_found_by_its_property(number: int, plant: Callable[[], Chart], words: str) -> None:
    finding = found(plant(), number)
    assert words in finding.problem


def found(chart: Chart, number: int) -> Finding:
    findings = {finding.number: finding for finding in check(chart).findings}
    assert number in findings, findings
    return findings[number]


def test_every_property_has_a_planted_fault() -> None:
    assert {number for number, _, _ in FAULTS} == set(PROPERTIES)


def test_a_counterexample_is_a_shortest_way_of_real_steps() -> None:
    chart = no_drain_clock()
    trace = found(chart, 8).trace
    assert set(trace) <= {str(row) for row in chart.rows}
    sources = [step.split(" --")[0] for step in trace]
    assert sources == ["Disconnected", "Disconnected", "Registered", "Idle", "ReviewingPlan", "Training"]
    assert "stop_requested" in trace[-1]


def test_what_the_surroundings_do_stands_in_the_counterexample() -> None:
    assert "(the director is restarted, and knows nothing)" in found(an_orphan_for_ever(), 12).trace


def test_the_first_break_is_enough_where_one_is_asked_for() -> None:
    report = check(no_drain_clock(), stop_at_first=True)
    assert [finding.number for finding in report.findings] == [8]
    assert sum(" open " in line for line in report.lines()) == 11, "what was not decided is not called ok"


def test_what_cannot_be_decided_is_not_called_ok() -> None:
    lines = check(two_rows_at_once()).lines()
    assert any(line.startswith(" 1  BROKEN") for line in lines)
    assert any(line.startswith("12  open") for line in lines)


def test_a_chart_in_other_words_is_refused() -> None:
    class Strange(State.__base__):  # type: ignore[misc,name-defined]
        ODD = "odd", "a state nobody knows"

    with pytest.raises(ChartError, match="has states of its own"):
        check(raw(states=(*LIFECYCLE.states, Strange.ODD)))


def test_b94_a_stop_during_a_pause_ends_without_waiting_for_it() -> None:
    """B94: wherever the agent waits for a retry, a stop is heard in the same configuration."""
    seen = explore(LIFECYCLE)
    for config, moves in seen.moves.items():
        if config.state is not State.STOPPED:
            stops = [after for move, after in moves if move.event is Event.STOP_REQUESTED]
            assert stops, config
            assert all(after.state is State.STOPPED or after.asked for after in stops)
