"""An engine that is not ours runs the SCXML export and agrees with the table, step for step.

Compared are the state, the id of the row taken, and how many states were entered: only the last tells an internal row
from a self-transition.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
from fedenvoy_statecharts import LIFECYCLE, Event, Guard, State
from fedenvoy_statecharts.model import Row, Vocabulary
from fedenvoy_statecharts.render import render
from fedenvoy_statecharts.render.scxml import guard_name
from statemachine.io.scxml.processor import SCXMLProcessor

Given = tuple[Event, Mapping[Vocabulary, bool]]
"""An event, and the values of the guards at that moment."""

SEQUENCES = 200
LONGEST = 80


class _Data:
    """The document's data items; the engine initialises them in the first machine of a document only."""

    def __init__(self) -> None:
        self.row = ""
        self.entries = 0
        self.state: Any = None


@dataclass
class Theirs:
    """The independent engine."""

    processor: SCXMLProcessor

    def begin(self) -> None:
        self.data = _Data()
        self.machine: Any = self.processor.start(model=self.data)  # type: ignore[no-untyped-call]

    def send(self, given: Given) -> tuple[str, str, int]:
        event, values = given
        self.data.row = ""
        self.machine.send(str(event), **{guard_name(guard): value for guard, value in values.items()})
        (state,) = self.machine.configuration
        return state.id, self.data.row, self.data.entries


class Ours:
    """The table, read directly."""

    def begin(self) -> None:
        self.state: Vocabulary = LIFECYCLE.initial.target
        self.entries = 1

    def send(self, given: Given) -> tuple[str, str, int]:
        row = LIFECYCLE.step(self.state, *given)
        if row is None:
            return str(self.state), "", self.entries
        self.entries += not row.internal
        self.state = row.goal
        return str(self.state), LIFECYCLE.row_id(row), self.entries


@pytest.fixture(scope="module")
def theirs() -> Theirs:
    processor = SCXMLProcessor()
    processor.parse_scxml("lifecycle", render(LIFECYCLE, "scxml"))
    return Theirs(processor)


def compare(theirs: Theirs, sequence: list[Given]) -> list[str]:
    """Drive both; give the rows taken."""
    ours = Ours()
    ours.begin()
    theirs.begin()
    taken = []
    for given in sequence:
        mine = ours.send(given)
        assert theirs.send(given) == mine, (given, sequence)
        taken.append(mine[1])
    return taken


def all_false() -> dict[Vocabulary, bool]:
    return dict.fromkeys(Guard, False)


def values_for(row: Row) -> dict[Vocabulary, bool]:
    return all_false() | {condition.guard: condition.expected for condition in row.conditions}


def ways() -> dict[Vocabulary, list[Given]]:
    """Give a shortest sequence to every state."""
    found: dict[Vocabulary, list[Given]] = {LIFECYCLE.initial.target: []}
    queue = deque(found)
    while queue:
        state = queue.popleft()
        for row in LIFECYCLE.rows:
            if row.source == state and row.goal not in found:
                assert isinstance(row.event, Event)
                found[row.goal] = [*found[state], (row.event, values_for(row))]
                queue.append(row.goal)
    return found


def cases() -> Iterator[list[Given]]:
    """Every state, every event, every value of the guards asked there, each once, over a shortest way."""
    reach = ways()
    for state in State:
        for event in LIFECYCLE.events:
            assert isinstance(event, Event)
            guards = sorted({guard for row in LIFECYCLE.at(state, event) for guard in row.guards})
            for values in product((False, True), repeat=len(guards)):
                yield [*reach[state], (event, all_false() | dict(zip(guards, values, strict=True)))]


def test_the_engine_agrees_on_every_case(theirs: Theirs) -> None:
    last = [compare(theirs, case)[-1] for case in cases()]
    assert set(last) - {""} == {LIFECYCLE.row_id(row) for row in LIFECYCLE.rows}, "every row was the last of some case"
    assert last.count("") == len(LIFECYCLE.ignored)


def walk(rng: random.Random) -> list[Given]:
    """A sequence that goes on for long: what ends the session is held back, and one event in five is any at all."""
    reach = ways()
    state = rng.choice([state for state in reach if state not in LIFECYCLE.final])
    sequence = list(reach[state])
    for _ in range(rng.randrange(20, LONGEST)):
        rows = [row for row in LIFECYCLE.rows if row.source == state]
        if not rows:
            break
        going = [row for row in rows if row.goal not in LIFECYCLE.final]
        row = rng.choice(rows if rng.random() < 0.03 else going)
        values: dict[Vocabulary, bool] = {guard: rng.random() < 0.5 for guard in Guard}
        event, values = row.event, values | {c.guard: c.expected for c in row.conditions}
        if rng.random() < 0.2:
            event = rng.choice(list(LIFECYCLE.events))
        assert isinstance(event, Event)
        sequence.append((event, values))
        taken = LIFECYCLE.step(state, event, values)
        state = state if taken is None else taken.goal
    return sequence


def test_the_engine_agrees_on_random_sequences(theirs: Theirs) -> None:
    rng = random.Random(2026)
    taken = [name for _ in range(SEQUENCES) for name in compare(theirs, walk(rng))]
    assert len(taken) > SEQUENCES * 20
    assert len(set(taken)) > 0.8 * len(LIFECYCLE.rows)


def test_the_comparison_would_notice_a_row_that_became_internal() -> None:
    """State and row alone would not: only the count of entries differs."""
    text = render(LIFECYCLE, "scxml")
    event = 'event="registration_failed" target="Disconnected"'
    assert text.count(event) == 1
    processor = SCXMLProcessor()
    processor.parse_scxml("lifecycle", text.replace(event, 'event="registration_failed"'))
    with pytest.raises(AssertionError):
        compare(Theirs(processor), [(Event.REGISTRATION_FAILED, all_false())])
