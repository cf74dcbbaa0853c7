"""The differential test of the whole core: messages with any numbers, against a second reading of the table.

First every row is taken once, on the kit's own way and at a site for which the row's guards come true. Then chance:
any message in any state, with numbers that are the present ones, old ones or mixed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import pytest
from fedenvoy.commands import Command, Persist, Report, Verdict
from fedenvoy.config import AgentSettings, FetchSettings, LinkSettings, PollSettings, ReportSettings
from fedenvoy.core import CarriedOver, Core
from fedenvoy.core.guards import Question, answer
from fedenvoy.events import Approved, Forget, Message, Offer, Problem, Scopes
from fedenvoy.testing import RowCase, Step, every_row, messages, row_cases
from fedenvoy.testing.payloads import PAYLOADS
from fedenvoy_statecharts import LIFECYCLE, SCOPES, Effect, Event, Guard, Row, State
from fedenvoy_statecharts.model import Vocabulary
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from support.core_driver import SHARD
from support.core_oracle import Oracle

G = Guard
RESTING = "resting"
"""An experiment that failed in an earlier session, so that it is not welcome in the first minute."""


@dataclass(frozen=True)
class Site:
    """What decides the guards that follow from settings and from earlier sessions."""

    on_stop: str = "leave"
    on_refused: str = "retry"
    tries: int = 3
    carried: int = 0

    def core(self, make: Callable[..., Core] = Core) -> Core:
        reports = tuple(Report(f"old-{n}", f"old {n}", Verdict.FAILED) for n in range(self.carried))
        return make(
            AgentSettings(
                on_stop=self.on_stop,
                link=LinkSettings(on_refused=self.on_refused, tries=self.tries),
                poll=PollSettings(tries=self.tries),
                fetch=FetchSettings(tries=self.tries),
                report=ReportSettings(tries=self.tries),
            ),
            session="s",
            now=1000.0,
            rng=random.Random(5),
            carried=CarriedOver(reports, ((RESTING, "d" * 64),)),
        )


SITES = st.builds(
    Site,
    st.sampled_from(["leave", "report"]),
    st.sampled_from(["retry", "exit"]),
    st.integers(1, 3),
    st.integers(0, 2),
)


def word(event: Vocabulary) -> Event:
    assert isinstance(event, Event)
    return event


def message_for(event: Event, wanted: Mapping[Vocabulary, bool], scopes: Scopes, experiment: str) -> Message:
    """Build a message by which the guards that ask about messages come true as wanted."""
    kind = PAYLOADS.get(event, Message)
    if kind is Offer:
        if event is Event.EXPERIMENT_OFFERED:
            experiment = "new" if wanted[G.OFFER_WELCOME] else RESTING
        elif not wanted[G.SAME_RUN]:
            experiment = "another"
        return Offer(event=event, scopes=scopes, experiment=experiment)
    if kind is Forget:
        return Forget(event=event, scopes=scopes, experiment=RESTING)
    if kind is Approved:
        wants = wanted[G.INSTALL_WANTED]
        return Approved(event=event, scopes=scopes, digest="a" * 64, engine="callable", install=wants)
    if kind is Problem:
        return Problem(event=event, scopes=scopes, text="why", code="CUT")
    extra: dict[Event, dict[str, Any]] = {
        Event.SHARD_DESCRIBED: {"description": SHARD},
        Event.HEALTH_CHECKED: {"period": 5.0},
    }
    return kind(event=event, scopes=scopes, **extra.get(event, {}))


MESSAGES = {event: messages(event, scopes=Scopes(), experiments=["exp", "other", RESTING]) for event in SCOPES}


@st.composite
def some_message(draw: st.DrawFn) -> Message:
    """Mostly one that has a row here; mostly with the present numbers."""
    walk: CoreWalk = draw(st.runner())
    oracle = walk.oracle
    here = sorted({word(row.event) for row in LIFECYCLE.rows if row.source is oracle.state})
    common: int = draw(st.integers(0, 3))
    events = here if here and common else list(SCOPES)
    event = events[draw(st.integers(0, len(events) - 1))]
    if event is Event.REPORT_DUE and not oracle.outbox:
        event = Event.HEALTH_CHECKED  # the core's own clock, which it sets when it has a report
    return replace(draw(MESSAGES[event]), scopes=draw(some_numbers(oracle.now)))


@st.composite
def some_numbers(draw: st.DrawFn, now: Scopes) -> Scopes:
    """Give the present numbers in three of four cases, else any that are near."""
    if draw(st.integers(0, 3)):
        return now
    entry, run, link = (abs(number - draw(st.integers(0, 2))) for number in (now.entry, now.run, now.link))
    return Scopes(entry, run, link)


NAMED = {effect for effect in Effect if effect.name.startswith(("VERDICT", "DELIVER"))} | {
    Effect.DECLINE,
    Effect.BEGIN_RUN,
    Effect.DROP_RUN,
    Effect.SETTLE_REPORT,
    Effect.POSTPONE_REPORT,
}
"""Effects that are about an experiment, so that the record must name it."""
WAYS = [case.steps for case in row_cases()]


class CoreWalk(RuleBasedStateMachine):
    """A core, and the oracle beside it."""

    make: ClassVar[Callable[..., Core]] = Core
    taken: ClassVar[Counter[str] | None] = None

    @initialize()
    def begin(self) -> None:
        """Start the first session."""
        self.go(Site(), ())

    @rule(site=SITES, way=st.integers(0, len(WAYS) - 1).map(lambda number: WAYS[number]))
    def go(self, site: Site, way: tuple[Step, ...]) -> None:
        """Start a session and go the way to a row, as far as this site lets it."""
        self.time = 1000.0
        self.core = site.core(self.make)
        self.oracle = Oracle(outbox=site.carried)
        self.rows: list[str] = []
        first = self.core.start(self.time)[0]
        assert isinstance(first, Persist)
        assert (first.record.number, first.record.entry, first.record.event) == (1, 1, Event.STARTED)
        for step in way:
            self.time += 0.5
            row = self.let(message_for(word(step.event), step.valuation, self.oracle.now, self.oracle.experiment))
            if row != step.row:
                break

    @rule(message=some_message(), after=st.sampled_from([0.1, 1.0, 40.0, 400.0, 4000.0]))
    def handle(self, message: Message, after: float) -> None:
        """Let a message arrive after some time."""
        self.time += after
        self.let(message)

    def let(self, message: Message) -> Row | None:
        """Let a message arrive; give the row that the oracle takes."""
        core, oracle = self.core, self.oracle
        before, chance, stale = deepcopy(core._data), core._rng.getstate(), oracle.stale
        answers = answer(Question(message, core._data, core._settings, self.time))
        assert core._data == before, "asking changes nothing"
        assert answers[G.LINK_UP] is oracle.facts[G.LINK_UP]
        assert answers[G.STOPPING] is oracle.facts[G.STOPPING]
        row = oracle.expect(message, answers)
        commands = core.handle(message, self.time)
        if row is None:
            before.stale += oracle.stale - stale
            assert commands == ()
            assert core._data == before, "nothing changes but the counter"
            assert core._rng.getstate() == chance
        else:
            self.check(row, commands, oracle.now.run, oracle.take(row, message, self.time))
        return row

    def check(self, row: Row, commands: tuple[Command, ...], run: int, kinds: list[type[Command]]) -> None:
        """Hold one step's record and commands against the oracle."""
        first, oracle = commands[0], self.oracle
        assert isinstance(first, Persist), "the record comes first"
        record = first.record
        assert record.number == oracle.records
        assert (record.entry, record.link) == (oracle.now.entry, oracle.now.link)
        assert record.run == (oracle.now.run or run)
        assert record.row == LIFECYCLE.row_id(row)
        assert (record.source, record.event, record.target) == (row.source, row.event, row.goal)
        assert record.internal is row.internal
        assert [type(command) for command in commands[1:]] == kinds
        noted = {Effect.NOTE_PAUSE: True, Effect.NOTE_RESUME: False}
        assert record.paused is next((noted[e] for e in map(Effect, row.effects) if e in noted), None)  # type: ignore[arg-type]
        assert bool(record.forgotten) is (Effect.FORGET_NAME in row.effects)
        assert not record.forgotten or record.forgotten not in self.core._data.memory
        assert (record.report is not None) is any(str(effect).startswith("verdict") for effect in row.effects)
        assert bool(record.delivered) is bool(record.outcome) is ("settle report" in row.effects)
        assert record.experiment or not set(row.effects) & NAMED
        memory = self.core._data.memory.get(record.experiment)
        assert "decline" not in row.effects or (memory and memory.recheck > self.time)
        assert record.attempt == oracle.misses or "count miss" not in row.effects
        self.rows.append(record.row)
        if self.taken is not None:
            self.taken[record.row] += 1

    @invariant()
    def side_by_side(self) -> None:
        """The agent and the oracle are in the same place."""
        snapshot, oracle = self.core.snapshot(), self.oracle
        assert snapshot.state is self.core.state is oracle.state
        assert snapshot.scopes == oracle.now
        assert snapshot.stale == oracle.stale
        assert snapshot.outbox == oracle.outbox
        assert snapshot.experiment == oracle.experiment
        assert snapshot.link_up is oracle.facts[G.LINK_UP]
        assert snapshot.paused is oracle.paused
        assert snapshot.stopping is oracle.facts[G.STOPPING]
        assert snapshot.contact == oracle.contact
        assert self.core._data.link.misses == oracle.misses
        assert self.core.ended is (oracle.state is State.STOPPED)


# ---- Row by row


def sites(case: RowCase) -> Iterator[Site]:
    """Give sites for which the guards of a case may come true."""
    asked = {c.guard: c.expected for step in case.steps if step.row for c in step.row.conditions}
    tries = (G.LINK_TRIES_LEFT, G.POLL_TRIES_LEFT, G.FETCH_TRIES_LEFT, G.DELIVER_TRIES_LEFT)
    for carried in range(3):
        yield Site(
            on_stop="report" if asked.get(G.STOP_REPORTS) else "leave",
            on_refused="exit" if asked.get(G.REFUSAL_ENDS) else "retry",
            tries=3 if all(asked.get(guard, True) for guard in tries) else 1,
            carried=carried,
        )


def follow(case: RowCase, walk: type[CoreWalk] = CoreWalk) -> bool:
    """Go the whole way of a case, each step held against the oracle; say whether some site takes all its rows."""
    wanted = [LIFECYCLE.row_id(step.row) for step in case.steps if step.row]
    for site in sites(case):
        going = walk()
        going.go(site, case.steps)
        going.side_by_side()
        if going.rows == wanted:
            return True
    return False


@every_row()
def test_the_core_takes_every_row_on_the_kits_way(case: RowCase) -> None:
    """So the ways are not only legal: they can happen, with a real core, real messages and some site's settings."""
    assert follow(case)


# ---- By chance

WALK = settings(max_examples=40, stateful_step_count=25, deadline=None, database=None, derandomize=True)


def rows_taken(how: settings) -> int:
    """Walk, and give the number of different rows that were taken."""

    class Counted(CoreWalk):
        taken: ClassVar[Counter[str] | None] = Counter()

    run_state_machine_as_test(Counted, settings=settings(how, suppress_health_check=[HealthCheck.too_slow]))
    assert Counted.taken is not None
    return len(Counted.taken)


def test_the_core_and_the_table_agree_on_any_messages() -> None:
    assert rows_taken(WALK) > 0.15 * len(LIFECYCLE.rows), "else it says little; by the seed it is 0.3 to 0.5"


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_the_core_and_the_table_agree_on_any_messages_for_long() -> None:
    assert rows_taken(settings(WALK, max_examples=800, derandomize=False)) > 0.9 * len(LIFECYCLE.rows)


# ---- Each of these must be able to fail


class Credulous(Core):
    """Takes an event of an old run for a present one."""

    def is_current(self, message: Message) -> bool:
        present = replace(message.scopes, run=self.snapshot().scopes.run)
        return super().is_current(replace(message, scopes=present))


class Restless(Core):
    """Enters the state anew with rows that only record something."""

    def handle(self, message: Message, now: float) -> tuple[Command, ...]:
        commands = super().handle(message, now)
        self._data.entry += len(commands) == 1
        return commands


class Hasty(Core):
    """Asks before it records."""

    def handle(self, message: Message, now: float) -> tuple[Command, ...]:
        commands = super().handle(message, now)
        return (*commands[1:], *commands[:1])


class Forgetful(Core):
    """Loses count of its records when a stop is asked for."""

    def handle(self, message: Message, now: float) -> tuple[Command, ...]:
        if message.event is Event.STOP_REQUESTED and not self.ended:
            self._records -= 1
        return super().handle(message, now)


class Touchy(Core):
    """A stale event leaves a trace."""

    def handle(self, message: Message, now: float) -> tuple[Command, ...]:
        if not self.is_current(message):
            self._data.link.misses += 1
        return super().handle(message, now)


@pytest.mark.parametrize("core", [Credulous, Restless, Hasty, Forgetful, Touchy])
def test_a_broken_core_is_found(core: type[Core]) -> None:
    class Broken(CoreWalk):
        make = core

    with pytest.raises(AssertionError):
        run_state_machine_as_test(Broken, settings=settings(WALK, max_examples=200, phases=[Phase.generate]))


def changes(row: Row) -> Iterator[Row]:
    """Give the row with one effect less, for each that always does something, and the row leading elsewhere."""
    for effect in set(row.effects) - {
        Effect.BOUND,
        Effect.WATCH_OUTBOX,
        Effect.START_ABSENCE_CLOCK,
        Effect.STOP_ABSENCE_CLOCK,
    }:
        yield replace(row, effects=tuple(one for one in row.effects if one is not effect))
    if not row.internal:
        yield replace(row, target=State.IDLE if row.goal is not State.IDLE else State.REGISTERED)


@pytest.mark.parametrize("case", row_cases()[::3], ids=lambda case: case.name)
def test_a_core_with_another_table_is_found(case: RowCase) -> None:
    for other in changes(case.row):
        chart = replace(LIFECYCLE, rows=tuple(other if one is case.row else one for one in LIFECYCLE.rows))
        broken = type("Broken", (CoreWalk,), {"make": staticmethod(partial(Core, chart=chart))})
        with pytest.raises((AssertionError, LookupError, ValueError, StopIteration)):
            assert follow(case, broken)
