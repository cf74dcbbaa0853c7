"""A chart that contradicts itself, or leaves something open, cannot be built: two-sided, for every guard value."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from fedenvoy_statecharts import LIFECYCLE, ChartError, Event, Guard, Ignored, Row, State, Why
from fedenvoy_statecharts.model import unless, when


def rows_without(event: Event, source: State, *, count: int = 1) -> tuple[Row, ...]:
    """Drop the first rows of a pair."""
    doomed = LIFECYCLE.at(source, event)[:count]
    assert len(doomed) == count
    return tuple(row for row in LIFECYCLE.rows if row not in doomed)


def test_two_rows_that_can_both_apply_are_refused() -> None:
    extra = Row(State.IDLE, Event.EXPERIMENT_OFFERED, State.STOPPED, (when(Guard.STOPPING),))
    with pytest.raises(ChartError, match="could apply"):
        replace(LIFECYCLE, rows=(*LIFECYCLE.rows, extra))


def test_a_row_beside_an_unguarded_one_is_refused() -> None:
    extra = Row(State.IDLE, Event.REPORT_DUE, None, (when(Guard.LINK_UP), unless(Guard.STOPPING)))
    with pytest.raises(ChartError, match=r"Idle --report_due.*could apply"):
        replace(LIFECYCLE, rows=(*LIFECYCLE.rows, extra))


def test_a_pair_that_nobody_mentions_is_refused() -> None:
    with pytest.raises(ChartError, match="Idle on report_due is not mentioned"):
        replace(LIFECYCLE, rows=rows_without(Event.REPORT_DUE, State.IDLE))


def test_a_pair_that_is_both_a_row_and_ignored_is_refused() -> None:
    twice = Ignored(State.IDLE, Event.REPORT_DUE, Why.IMPOSSIBLE, "")
    with pytest.raises(ChartError, match="Idle on report_due is named more than once"):
        replace(LIFECYCLE, ignored=(*LIFECYCLE.ignored, twice))


def test_a_pair_that_is_ignored_twice_is_refused() -> None:
    with pytest.raises(ChartError, match="named more than once"):
        replace(LIFECYCLE, ignored=(*LIFECYCLE.ignored, LIFECYCLE.ignored[0]))


def test_a_guard_value_that_no_row_covers_is_refused() -> None:
    with pytest.raises(ChartError, match="Idle on experiment_offered is not covered when not offer welcome"):
        replace(LIFECYCLE, rows=rows_without(Event.EXPERIMENT_OFFERED, State.IDLE))


def test_exactly_one_row_or_one_reason_for_every_pair_and_every_guard_value() -> None:
    seen = 0
    for state, event in LIFECYCLE.pairs():
        rows = LIFECYCLE.at(state, event)
        reasons = [entry for entry in LIFECYCLE.ignored if (entry.state, entry.event) == (state, event)]
        assert len(reasons) == (0 if rows else 1), (state, event)
        guards = sorted({guard for row in rows for guard in row.guards})
        for values in product((True, False), repeat=len(guards)):
            valuation = dict(zip(guards, values, strict=True))
            assert [row for row in rows if row.holds(valuation)] == [
                row for row in (LIFECYCLE.step(state, event, valuation),) if row is not None
            ]
            seen += 1
    assert seen > len(State) * (len(Event) - 1)
