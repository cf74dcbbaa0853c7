"""The property kit's ways: one case for each row, on a shortest way that can happen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from fedenvoy.testing import RowCase, every_row, row_cases
from fedenvoy.testing.facts import DIALLED, LIFECYCLE_FACTS, ORPHANABLE, PUT_OFF, WATCHING
from fedenvoy.testing.paths import Facts, Paths
from fedenvoy_statecharts import LIFECYCLE, ChartError, Effect, Event, Guard, Row, State
from fedenvoy_statecharts.checks.explore import Move, explore
from fedenvoy_statecharts.checks.parts import ABSENCE_CLOCK, DESCRIPTION, ORPHAN_CLOCK, PROCESS, WATCH
from fedenvoy_statecharts.checks.world import Config
from fedenvoy_statecharts.model import Vocabulary
from support.kit_charts import Act, Deed, Doubt, Place, door


@every_row()
def test_each_case_leads_through_the_table_to_its_row(case: RowCase) -> None:
    state: Vocabulary = LIFECYCLE.initial.target
    for step in case.steps:
        assert step.state is state
        assert set(step.valuation) == set(Guard)
        assert LIFECYCLE.step(state, step.event, step.valuation) is step.row
        state = step.goal
    assert case.step.row is case.row


@every_row(door(), argument="way")
def test_each_case_of_a_chart_of_ones_own(way: RowCase) -> None:
    state: Vocabulary = Place.SHUT
    for step in way.steps:
        assert door().step(state, step.event, step.valuation) == step.row
        state = step.goal
    assert len(way.path) == (0 if way.row.source is Place.SHUT else 1)


def test_there_is_one_case_for_each_row_in_table_order() -> None:
    cases = row_cases()
    assert [case.row for case in cases] == list(LIFECYCLE.rows)
    assert [case.id for case in cases] == [LIFECYCLE.row_id(row) for row in LIFECYCLE.rows]
    assert row_cases() == cases, "the same in every run"
    assert len({case.name for case in cases}) == len(cases)
    assert cases[0].name == "R01-Disconnected-shard_described-Disconnected"


def test_ways_are_shortest() -> None:
    """Against a search that knows nothing of ways: how far a fact and a state are, in rounds."""
    paths = Paths(LIFECYCLE, LIFECYCLE_FACTS)
    distance = dict.fromkeys(paths.starts, 0)
    for _ in range(len(paths.moves)):
        for standing, moves in paths.moves.items():
            for move in moves:
                if standing in distance:
                    distance[move.after] = min(distance.get(move.after, 10**6), distance[standing] + 1)
    assert {standing: len(paths.way_to(standing)) for standing in paths.moves} == distance


def test_without_facts_ways_are_shorter_and_cannot_happen() -> None:
    free = {case.id: case for case in row_cases(facts=Facts())}
    kept = {case.id: case for case in row_cases()}
    assert all(len(free[name].path) <= len(kept[name].path) for name in kept)
    drained = next(name for name, case in kept.items() if (case.row.source, case.row.event) == DRAINED)
    assert [step.event for step in free[drained].steps[-2:]] == [Event.HEALTH_CHECKED, Event.DRAIN_EXPIRED]
    assert Event.STOP_REQUESTED in {step.event for step in kept[drained].path}


DRAINED = (State.REPORTING, Event.DRAIN_EXPIRED)


def test_a_mutated_lifecycle_has_the_facts_of_the_lifecycle() -> None:
    chart = replace(LIFECYCLE, rows=tuple(reversed(LIFECYCLE.rows)))
    assert {case.row for case in row_cases(chart)} == set(LIFECYCLE.rows)
    assert sorted(len(case.path) for case in row_cases(chart)) == sorted(len(case.path) for case in row_cases())


def test_facts_that_contradict_a_row_leave_it_unreached() -> None:
    never = Facts(start={Doubt.KEY: False})
    with pytest.raises(ChartError, match=r"no way through 'door' leads to R02 shut --turn \[key at hand\]--> locked"):
        row_cases(door(), facts=never)


def test_every_row_that_nothing_leads_to_is_named() -> None:
    without = door(lose=Row(Place.SHUT, Deed.PUSH, Place.OPEN, (), (Act.RING,)))
    with pytest.raises(ChartError, match=r"leads to R03 open --push--> shut; R09 open --burn--> gone"):
        every_row(without)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (Facts(start={Guard.LINK_UP: True}), "'door' does not have: guards: link up"),
        (Facts(fixed=(Guard.LINK_UP,)), "guards: link up"),
        (Facts(changes={Effect.DIAL: {}}), "effects: dial"),
        (Facts(needs={Event.HEALTH_CHECKED: {}}), "events: health_checked"),
        (Facts(changes={Act.RING: {"heard": True}}), "facts without a start: heard"),
    ],
)
def test_facts_about_other_charts_are_refused_in_words(facts: Facts, words: str) -> None:
    with pytest.raises(ChartError, match=words):
        every_row(door(), facts=facts)


def test_a_fact_may_be_any_word() -> None:
    facts = Facts(start={"heard": False}, changes={Act.RING: {"heard": True}}, needs={Deed.BURN: {"heard": True}})
    cases = row_cases(door(), facts=facts)
    burnt = next(case for case in cases if case.row.source is Place.SHUT and case.row.event is Deed.BURN)
    assert [step.event for step in burnt.path] == [Deed.PUSH, Deed.PUSH]


# ---- The facts of the agent, against the exhaustive model


def _told(config: Config) -> dict[str, bool]:
    """The facts as they are in a configuration of the model."""
    described = config.state is not State.DISCONNECTED or not config.runs(DESCRIPTION)
    return {
        Guard.LINK_UP: config.link_up,
        Guard.STOPPING: config.stopping,
        DIALLED: described,
        ORPHANABLE: any(config.runs(part) for part in (ORPHAN_CLOCK, ABSENCE_CLOCK, PROCESS)),
        WATCHING: config.runs(WATCH),
        PUT_OFF: config.later > 0,
    }


def _wrong(facts: Facts, moves: Iterator[tuple[Config, Move, Config]]) -> Iterator[str]:
    for config, move, after in moves:
        if move.row is None or after.state is State.STOPPED:
            continue
        told = _told(config)
        needs = facts.needs.get(move.row.event, {})
        if any(told[key] is not value for key, value in needs.items()):
            yield f"{move.label} with {told}: the facts rule it out"
        for effect in move.row.effects:
            told.update(facts.changes.get(effect, {}))
        expected = _told(after)
        for key in (PUT_OFF, ORPHANABLE):
            told[key] = expected[key] if told[key] else False  # these may be out of date, one way
        if told != expected:
            yield f"{move.label}: the facts make it {told}, the model {_told(after)}"


@pytest.fixture(scope="module")
def possible() -> list[tuple[Config, Move, Config]]:
    seen = explore(LIFECYCLE)
    return [(config, move, after) for config, moves in seen.moves.items() for move, after in moves]


def test_facts_never_rule_out_what_the_exhaustive_model_can_do(possible: list[tuple[Config, Move, Config]]) -> None:
    found = sorted(set(_wrong(LIFECYCLE_FACTS, iter(possible))))
    assert found == []


@pytest.mark.parametrize(
    "wrong",
    [
        replace(LIFECYCLE_FACTS, changes={**LIFECYCLE_FACTS.changes, Effect.POSTPONE_REPORT: {}}),
        replace(LIFECYCLE_FACTS, needs={**LIFECYCLE_FACTS.needs, Event.REPORT_FAILED: {Guard.LINK_UP: True}}),
        replace(LIFECYCLE_FACTS, needs={**LIFECYCLE_FACTS.needs, Event.SHARD_FORGOTTEN: {Guard.LINK_UP: True}}),
        replace(LIFECYCLE_FACTS, changes={**LIFECYCLE_FACTS.changes, Effect.FETCH: {Guard.LINK_UP: False}}),
        replace(LIFECYCLE_FACTS, changes={**LIFECYCLE_FACTS.changes, Effect.STOP_ORPHAN_CLOCK: {ORPHANABLE: False}}),
    ],
)
def test_the_model_finds_a_wrong_fact(wrong: Facts, possible: list[tuple[Config, Move, Config]]) -> None:
    assert next(_wrong(wrong, iter(possible)), None)
