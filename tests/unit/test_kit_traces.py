"""The property kit's sequences: legal, or with exactly one step that must change nothing; plans and messages."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from importlib.metadata import entry_points
from typing import Any

import pytest
import yaml
from fedenvoy.events import (
    Approved,
    DeviceReading,
    Health,
    Message,
    Offer,
    Problem,
    RunEnded,
    Scopes,
    Shard,
    ShardDescription,
)
from fedenvoy.testing import Facts, Trace, messages, plans, traces
from fedenvoy.testing.payloads import PAYLOADS
from fedenvoy_statecharts import (
    LIFECYCLE,
    SCOPES,
    Chart,
    ChartError,
    Condition,
    Effect,
    Event,
    Guard,
    Row,
    Scope,
    State,
)
from hypothesis import find, given, settings
from hypothesis import strategies as st
from support.kit_charts import Deed, Place, door


def follow(trace: Trace) -> None:
    """Hold a trace against the table."""
    chart, state = trace.chart, trace.chart.initial.target
    for position, step in enumerate(trace):
        assert step.state is state is trace.states[position]
        if position == trace.illegal:
            assert step.row is None
            assert step.goal is state
            assert step.stale is bool(chart.at(state, step.event))
            assert not step.stale or chart.events[step.event] is not Scope.AGENT
        else:
            assert set(step.valuation) == set(chart.guards)
            assert step.row is not None
            assert chart.step(state, step.event, step.valuation) is step.row
        state = step.goal
    assert trace.states[-1] is state


@given(traces())
def test_legal_traces_are_the_tables(trace: Trace) -> None:
    assert trace.illegal is None
    assert len(trace) <= 20
    follow(trace)


@given(traces(illegal=True, max_steps=12))
def test_illegal_traces_have_one_step_that_must_change_nothing(trace: Trace) -> None:
    assert trace.illegal is not None
    assert [position for position, step in enumerate(trace) if step.row is None] == [trace.illegal]
    assert len(trace) <= 12
    follow(trace)


@given(traces(door()), traces(door(), illegal=True))
def test_traces_of_a_chart_of_ones_own(legal: Trace, illegal: Trace) -> None:
    follow(legal)
    follow(illegal)


def test_traces_reach_far_and_shrink_to_the_shortest() -> None:
    seen: Counter[State] = Counter()

    @settings(max_examples=400, database=None, derandomize=True)
    @given(traces(max_steps=12))
    def look(trace: Trace) -> None:
        seen.update({State(str(state)) for state in trace.states})  # type: ignore[call-arg]

    look()
    assert set(seen) == set(State)
    shortest = find(
        traces(), lambda trace: State.TRAINING in trace.states, settings=settings(max_examples=2000, database=None)
    )
    assert len(shortest) == 5
    assert str(shortest).startswith("Disconnected --shard_described--> -; Disconnected --registration_accepted--> ")


def test_traces_without_facts_may_take_any_row() -> None:
    """A drain ends that nobody began."""

    @settings(max_examples=300, database=None, derandomize=True)
    @given(traces(facts=Facts()))
    def look(trace: Trace) -> None:
        events = [step.event for step in trace]
        assert Event.DRAIN_EXPIRED not in events or Event.STOP_REQUESTED in events

    with pytest.raises(AssertionError):
        look()


def test_what_cannot_be_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="max_steps must be at least 1, not 0"):
        traces(illegal=True, max_steps=0)
    every = door()
    rows = [row for row in every.rows if row.source is Place.OPEN]
    always: Chart = replace(
        every,
        states=(Place.OPEN,),
        initial=replace(every.initial, target=Place.OPEN),
        events=dict.fromkeys((Deed.PUSH, Deed.BURN), Scope.AGENT),
        rows=tuple(replace(row, target=Place.OPEN) for row in rows),
        ignored=(),
        final=frozenset(),
    )
    assert find(traces(always), lambda trace: len(trace) > 3, settings=settings(max_examples=2000, database=None))
    with pytest.raises(ChartError, match="'door' has a row for every event in every state"):
        traces(always, illegal=True)


# ---- Messages


@given(st.sampled_from(list(SCOPES)).flatmap(lambda event: st.tuples(st.just(event), messages(event))))
def test_each_event_comes_in_the_class_it_has(told: tuple[Event, Message]) -> None:
    event, message = told
    assert message.event is event
    assert type(message) is PAYLOADS.get(event, Message)
    assert isinstance(message.cause, str)


@given(messages(scopes=Scopes(entry=3, run=1, link=2), experiments=["mine"]))
def test_numbers_and_names_are_the_users_choice(message: Message) -> None:
    assert message.scopes == Scopes(entry=3, run=1, link=2)
    assert not isinstance(message, Offer) or message.experiment == "mine"


# ---- Plans

GOOD: dict[str, Any] = {"engine": "callable", "callable": {"entry": "work:run", "params": {"rounds": [1, 2]}}}


@given(plans() | plans(GOOD))
def test_plans_survive_a_file(plan: dict[str, Any]) -> None:
    assert yaml.safe_load(yaml.safe_dump(plan)) == plan


def test_bent_plans_are_a_good_one_with_changes() -> None:
    before = str(GOOD)
    seen: Counter[str] = Counter()

    @settings(max_examples=300, database=None, derandomize=True)
    @given(plans(GOOD))
    def look(plan: dict[str, Any]) -> None:
        inner = plan.get("callable")
        seen["untouched"] += plan == GOOD
        seen["something missing"] += len(plan) < 2 or (isinstance(inner, dict) and "entry" not in inner)
        seen["section of another kind"] += "callable" in plan and not isinstance(inner, dict)
        seen["changed inside"] += isinstance(inner, dict) and inner != GOOD["callable"]
        seen["more sections"] += len(plan) > 2 and inner == GOOD["callable"]

    look()
    assert len(seen) == 5
    assert all(seen.values()), seen
    assert str(GOOD) == before


# ---- Types


@pytest.mark.parametrize("kind", [Event, State, Guard, Effect, Scope, Row, Condition, Scopes, ShardDescription])
def test_hypothesis_knows_the_types(kind: type) -> None:
    find(st.from_type(kind), lambda one: isinstance(one, kind), settings=settings(max_examples=2000, database=None))


@given(
    st.one_of(*(st.from_type(kind) for kind in (Message, Problem, Offer, Approved, Health, Shard, RunEnded))),
    st.from_type(DeviceReading),
    st.from_type(Row),
    st.from_type(Scopes),
)
def test_they_come_as_the_agent_makes_them(message: Message, device: DeviceReading, row: Row, scopes: Scopes) -> None:
    assert type(message) is PAYLOADS.get(message.event, Message)
    assert device.memory_total >= 0
    assert row in LIFECYCLE.rows
    assert min(scopes.entry, scopes.run, scopes.link) >= 0


def _python(code: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_importing_hypothesis_is_enough_and_costs_little() -> None:
    assert [entry.value for entry in entry_points(group="hypothesis", name="fedenvoy")] == [
        "fedenvoy.testing.plugin:register"
    ]
    told = _python(
        "import sys, hypothesis.strategies as st\n"
        "from fedenvoy.events import Problem\n"
        "print(st.from_type(Problem).example().event.doc != '', *sys.modules, sep='\\n')",
        "-Wignore",
    ).split()
    assert told[0] == "True"
    assert not {"grpc", "google.protobuf", "transitions", "pytest", "yaml", "fedenvoy.core", "fedenvoy.link"} & set(
        told
    )


@pytest.mark.parametrize("first", ["payloads", "plugin", "walk", "trace", "plan"])
def test_any_module_of_the_kit_may_be_what_imports_hypothesis(first: str) -> None:
    """Hypothesis loads the plugin in the middle of that."""
    code = (
        f"import fedenvoy.testing.{first}\n"
        "import hypothesis.strategies as st\n"
        "from fedenvoy.events import Message\n"
        "st.from_type(Message).validate()\n"
    )
    assert _python(code) == ""


def test_importing_the_agent_or_its_kit_imports_no_hypothesis() -> None:
    code = (
        "import sys, fedenvoy.testing, fedenvoy.envoy\n"
        "from fedenvoy.testing import every_row, row_cases, ManualClock\n"
        "row_cases()\n"
        "print(*{'hypothesis', 'pytest'} & {name.partition('.')[0] for name in sys.modules})"
    )
    assert _python(code).split() == []
