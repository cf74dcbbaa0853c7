"""The machine: the library walks exactly the chart's rows, and nothing else."""

from __future__ import annotations

import inspect

import pytest
from fedenvoy import machine as machine_module
from fedenvoy.machine import LifecycleMachine
from fedenvoy_statecharts import LIFECYCLE, Event, Guard, Row, State
from hypothesis import given
from hypothesis import strategies as st

VALUATIONS = st.fixed_dictionaries({guard: st.booleans() for guard in Guard})
ALL_TRUE: dict[Guard, bool] = dict.fromkeys(Guard, True)


@given(st.lists(st.tuples(st.sampled_from([e for e in Event if e is not Event.STARTED]), VALUATIONS), max_size=60))
def test_machine_equals_an_independent_reading_of_the_table(steps: list[tuple[Event, dict[Guard, bool]]]) -> None:
    machine, state = LifecycleMachine(), LIFECYCLE.initial.target
    for event, valuation in steps:
        expected = LIFECYCLE.step(state, event, {guard: value for guard, value in valuation.items()})
        assert machine.fire(event, valuation) is expected
        state = expected.goal if expected else state
        assert machine.state is state


@pytest.mark.parametrize("row", LIFECYCLE.rows, ids=str)
def test_every_row_can_be_taken_from_its_source(row: Row) -> None:
    valuation = {g: all(c.expected for c in row.conditions if c.guard is g) for g in Guard}
    machine = LifecycleMachine()
    machine._model.state = row.source.value
    assert machine.fire(row.event, valuation) is row
    assert machine.state is row.goal


def test_B91_no_trigger_is_shadowed_by_a_method_of_the_model() -> None:
    machine = LifecycleMachine()
    own = {name for name, _ in inspect.getmembers(machine_module._Model)}
    triggers = {row.event.value for row in LIFECYCLE.rows}
    assert not triggers & own
    for trigger in triggers:
        assert callable(getattr(machine._model, trigger)), f"{trigger} is not bound"


def test_B86_an_event_without_a_row_changes_nothing_and_loses_nothing() -> None:
    machine = LifecycleMachine()
    assert machine.fire(Event.TRAINING_FINISHED, ALL_TRUE) is None
    assert [machine.state] == [State.DISCONNECTED]
    assert machine.fire(Event.STOP_REQUESTED, ALL_TRUE) is not None
    assert [machine.state] == [State.STOPPED]
