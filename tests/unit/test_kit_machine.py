"""The differential test of the machine: `transitions`, wired by us, against a plain reading of the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import pytest
from fedenvoy.machine import LifecycleMachine
from fedenvoy.testing import ChartWalk, Facts, RowCase, Step, Trace, every_row, row_cases, traces
from fedenvoy_statecharts import LIFECYCLE, Chart, Event, Guard, Row, State
from fedenvoy_statecharts.model import Vocabulary
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, run_state_machine_as_test
from support.kit_charts import charts

VALUATIONS = st.fixed_dictionaries({guard: st.booleans() for guard in Guard})
EVENTS = st.sampled_from([Event(str(event)) for event in LIFECYCLE.events])  # type: ignore[call-arg]


def guards(valuation: Mapping[Vocabulary, bool]) -> dict[Guard, bool]:
    return {guard: valuation[guard] for guard in Guard}


def read(chart: Chart, state: Vocabulary, event: Vocabulary, valuation: Mapping[Vocabulary, bool]) -> Row | None:
    """An independent reading: rows are lines of a table, and nothing of the model's own code is asked."""
    found = [
        row
        for row in chart.rows
        if (row.source, row.event) == (state, event)
        and not [c for c in row.conditions if valuation[c.guard] != c.expected]
    ]
    assert len(found) <= 1
    return found[0] if found else None


def take(machine: LifecycleMachine, step: Step) -> None:
    """Let a step happen to a machine, as the core does: an event with an old number never reaches it."""
    if step.stale:
        return
    valuation = guards(step.valuation) if step.row else dict.fromkeys(Guard, True)
    assert machine.fire(step.event, valuation) is step.row


@every_row()
def test_each_row_on_its_way(case: RowCase) -> None:
    machine = LifecycleMachine()
    for step in case.steps:
        take(machine, step)
        assert machine.state is step.goal


@given(st.one_of(traces(), traces(illegal=True), traces(facts=Facts()), traces(facts=Facts(), illegal=True)))
def test_sequences_legal_and_illegal(trace: Trace) -> None:
    machine = LifecycleMachine()
    for step, goal in zip(trace, trace.states[1:], strict=True):
        take(machine, step)
        assert machine.state is goal


@settings(max_examples=100)
@given(charts(), st.lists(st.tuples(EVENTS, VALUATIONS), max_size=25))
def test_any_chart(chart: Chart, steps: list[tuple[Event, dict[Guard, bool]]]) -> None:
    """The adapter is right for every chart, not only for the one that is there today."""
    machine = LifecycleMachine(chart)
    state: Vocabulary = chart.initial.target
    for event, valuation in steps:
        # Events of the rows at hand first, so that sparse charts are walked too.
        here = [row.event for row in chart.rows if row.source is state] or [chart.rows[0].event]
        for one in (event, here[sum(valuation.values()) % len(here)]):
            expected = read(chart, state, one, {guard: value for guard, value in valuation.items()})
            assert machine.fire(one, valuation) is expected
            state = expected.goal if expected else state
            assert machine.state is state


class MachineWalk(ChartWalk):
    illegal: ClassVar[bool] = True
    followed: ClassVar[Chart] = LIFECYCLE

    def on_start(self) -> None:
        self.machine = LifecycleMachine(self.followed)

    def on_step(self, step: Step) -> None:
        take(self.machine, step)

    def on_illegal(self, step: Step) -> None:
        take(self.machine, step)

    @invariant()
    def side_by_side(self) -> None:
        assert self.machine.state is self.state


TestMachineWalk = MachineWalk.TestCase
TestMachineWalk.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


# ---- Each of these must be able to fail


def elsewhere(row: Row) -> Row:
    """A row that leads to another state."""
    others = [state for state in State if state is not row.goal]
    return replace(row, target=others[len(row.event) % len(others)])


def test_a_row_that_leads_elsewhere_is_found_by_its_own_case() -> None:
    unseen = []
    for case in row_cases()[::2]:
        rows = tuple(elsewhere(row) if row is case.row else row for row in LIFECYCLE.rows)
        machine = LifecycleMachine(replace(LIFECYCLE, rows=rows))
        for step in case.steps:
            machine.fire(step.event, guards(step.valuation))
        if machine.state is case.step.goal:
            unseen.append(case.name)
    assert unseen == []


class Deaf(LifecycleMachine):
    """Answers every question with yes."""

    def fire(self, event: Vocabulary, valuation: Mapping[Guard, bool]) -> Row | None:
        return super().fire(event, dict.fromkeys(valuation, True))


class Eager(LifecycleMachine):
    """Forgets that the end is the end."""

    def fire(self, event: Vocabulary, valuation: Mapping[Guard, bool]) -> Row | None:
        if self.state is State.STOPPED:
            self._model.state = State.DISCONNECTED.value
        return super().fire(event, valuation)


@pytest.mark.parametrize("machine", [Deaf, Eager])
def test_a_broken_machine_is_found_by_the_walk(machine: type[LifecycleMachine]) -> None:
    class Broken(MachineWalk):
        def on_start(self) -> None:
            self.machine = machine()

    quick = settings(max_examples=200, database=None, deadline=None, derandomize=True, phases=[Phase.generate])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Broken, settings=quick)
