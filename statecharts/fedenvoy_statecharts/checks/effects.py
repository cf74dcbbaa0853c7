"""What a step does to a configuration: the effects of the table, read as words.

A step that contradicts itself (a verdict without a run, a delivery without a report) breaks a property at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedenvoy_statecharts.checks.causes import (
    CHECKS,
    DIAL,
    ORPHAN_CLOCK,
    PARTS,
    REPORT_CLOCK,
    STARTED_BY,
    STOP_CLOCK,
    Bond,
    Part,
)
from fedenvoy_statecharts.checks.world import AGED, BOUND, FRESH, NONE, Clock, Config, Numbers
from fedenvoy_statecharts.model import Chart, Row
from fedenvoy_statecharts.vocabulary import Effect, Event, State

__all__ = ["Broken", "begin", "take"]

X = Effect


class Broken(Exception):  # noqa: N818 - it is a finding, not an error
    """A step broke a property: its number and what is wrong."""

    def __init__(self, number: int, problem: str) -> None:
        super().__init__(number, problem)
        self.number = number
        self.problem = problem


class _Step:
    """A configuration while its effects are carried out."""

    def __init__(self, config: Config, event: Event, numbers: Numbers) -> None:
        self.now: dict[str, Any] = config._asdict()
        self.live: list[int | None] = list(config.live)
        self.late = set(config.late)
        self.event = event
        self.numbers = numbers
        self.ends = 0

    def start(self, part: Part) -> None:
        """Begin something; what it replaces may still answer."""
        if part not in {STOP_CLOCK, REPORT_CLOCK}:
            self.stop(part)
        self.live[part.number] = NONE if part is STOP_CLOCK else FRESH

    def stop(self, part: Part) -> None:
        """End something that may still have an answer under way."""
        numbers = self.live[part.number]
        if numbers is not None:
            self.late.add((part.number, numbers))
            self.live[part.number] = None

    def over(self, bond: Bond) -> None:
        """An entry, a link or a run is over: what belongs to it ends, and its number is an old one from now on."""
        for part in PARTS:
            if bond in part.bond:
                self.stop(part)
        aged = AGED[bond]
        self.live = [None if numbers is None else numbers & aged for numbers in self.live]
        self.late = {(part, numbers & aged) for part, numbers in self.late}

    def require(self, number: int, problem: str, *, met: bool) -> None:
        """Break a property unless a condition is met."""
        if not met:
            raise Broken(number, problem)

    def done(self) -> Config:
        """Give the configuration after the step; with the session everything ends, and nobody hears what comes late."""
        told = self.numbers.told
        if self.now["state"] is State.STOPPED:
            self.live, self.late = [None] * len(PARTS), set()
        self.now["live"] = tuple(
            None if numbers is None else told(part, numbers) for part, numbers in zip(PARTS, self.live, strict=True)
        )
        self.now["late"] = frozenset(
            (part, told(PARTS[part], numbers))
            for part, numbers in self.late
            if self.numbers.any_current(PARTS[part], numbers)
        )
        return Config(**self.now)


def take(config: Config, event: Event, row: Row, source: Part | None, numbers: Numbers) -> Config:
    """Take one step.

    Args:
        config: Where it begins.
        event: What happened.
        row: The row that applies.
        source: The part whose answer it is; None for signals and failures from outside.
        numbers: How the chart judges answers.

    Raises:
        Broken: When the step contradicts itself.

    """
    step = _Step(config, event, numbers)
    if source is not None and event in source.last:
        step.live[source.number] = None
    if row.target is not None:
        step.over(Bond.ENTRY)
        step.now["state"] = row.target
    if event is Event.STOP_REQUESTED:
        step.now["asked"] = True
    if event is Event.REGISTRATION_ACCEPTED:
        step.now["known"] = True
    for effect in row.effects:
        assert isinstance(effect, Effect)
        _perform(effect, step)
    _settle(step, config)
    return step.done()


def begin(chart: Chart, numbers: Numbers, *, outbox: int) -> Config:
    """Give the configuration at the start of a session that finds reports in the outbox."""
    initial = chart.initial
    assert isinstance(initial.target, State)
    row = Row(initial.target, initial.event, initial.target, effects=initial.effects)
    return take(Config(initial.target, due=min(BOUND, outbox)), Event.STARTED, row, None, numbers)


def _settle(step: _Step, before: Config) -> None:
    """Hold the step to what must be true of every step."""
    now, ended = step.now, step.now["state"] is State.STOPPED
    step.require(8, "Stopped is entered without ending the session", met=not ended or step.ends == 1)
    step.require(8, "the session is ended in a state that goes on", met=ended or step.ends == 0)
    if step.event is Event.HEALTH_MISSED and step.live[CHECKS.number] is not None:
        step.require(9, "a miss is not counted", met=now["misses"] == min(BOUND, before.misses + 1))
    if step.event is Event.HEALTH_CHECKED:
        step.require(9, "an answered check does not end the misses in a row", met=now["misses"] == 0)
    if step.event is Event.REGISTRATION_ACCEPTED:
        step.require(9, "an accepted registration does not bring the link up", met=now["link_up"])
    if step.event in {Event.REPORT_DELIVERED, Event.REPORT_UNDELIVERABLE}:
        step.require(6, "a report that was told stays in the outbox", met=now["due"] + now["later"] < before.outbox)
    if before.run and not now["run"] and now["due"] + now["later"] > before.outbox + 1:
        raise Broken(6, "a run has more than one verdict")
    if now["state"] is not State.REPORTING:
        now["sending"] = False


def _perform(effect: Effect, step: _Step) -> None:
    if effect.name.startswith("END_"):
        step.ends += 1
    elif effect.name.startswith("VERDICT_"):
        _end_run(step, f"a run gets its verdict ({effect}) although none is in hand")
        step.now["due"] += 1
    else:
        _RULES.get(effect, _begin)(step)
        if effect in _BEGUN_LAST:
            step.start(STARTED_BY[effect])


def _begin(_step: _Step) -> None:
    """Nothing but to begin what the effect begins, if anything."""


def _end_run(step: _Step, problem: str) -> None:
    step.require(6, problem, met=step.now["run"] > 0)
    step.now["run"], step.now["driven"] = 0, False
    step.over(Bond.RUN)


def _dial(step: _Step) -> None:
    step.over(Bond.LINK)
    step.now["link_up"], step.now["misses"] = False, 0
    step.now["probe"] = step.now["run"] > 0 and step.event is not Event.SHARD_FORGOTTEN
    step.start(DIAL)


def _check(step: _Step) -> None:
    step.now["link_up"], step.now["misses"] = True, 0


def _contact(step: _Step) -> None:
    step.now["misses"] = 0


def _miss(step: _Step) -> None:
    step.now["misses"] = min(BOUND, step.now["misses"] + 1)


def _watch_outbox(step: _Step) -> None:
    if step.now["due"] + step.now["later"]:
        step.start(REPORT_CLOCK)


def _begin_run(step: _Step) -> None:
    step.require(6, "a run is begun while another is in hand", met=step.now["run"] == 0)
    step.over(Bond.RUN)
    step.now["run"], step.now["driven"] = 1, True


def _fetch(step: _Step) -> None:
    step.require(6, "an archive is fetched for no run", met=step.now["run"] > 0)
    step.require(8, "a download is begun although a stop was asked for", met=not step.now["asked"])


def _approve(step: _Step) -> None:
    step.require(4, "a run counts as approved without plan_approved", met=step.event is Event.PLAN_APPROVED)
    step.now["run"] = 2


def _work(step: _Step) -> None:
    step.require(4, "work is begun for a run that was not approved", met=step.now["run"] == 2)
    step.require(8, "work is begun although a stop was asked for", met=not step.now["asked"])


def _watch_offers(step: _Step) -> None:
    step.require(6, "offers are watched for no run", met=step.now["run"] > 0)


def _orphan_clock(step: _Step) -> None:
    step.require(6, "an orphan clock is set for no run", met=step.now["run"] > 0)
    if step.live[ORPHAN_CLOCK.number] is None:
        step.start(ORPHAN_CLOCK)


def _no_orphan(step: _Step) -> None:
    step.live[ORPHAN_CLOCK.number] = None


def _deliver(step: _Step) -> None:
    step.require(6, "a delivery is begun with an empty outbox", met=step.now["due"] + step.now["later"] > 0)
    if not step.now["due"]:
        step.now["due"], step.now["later"] = 1, step.now["later"] - 1
    step.now["sending"] = True


def _sending(step: _Step) -> None:
    step.require(6, "the report in delivery is spoken of, and there is none", met=step.now["sending"])


def _settle_report(step: _Step) -> None:
    _sending(step)
    step.now["due"] -= 1
    step.now["sending"] = False


def _postpone(step: _Step) -> None:
    _settle_report(step)
    step.now["later"] += 1


def _note_stop(step: _Step) -> None:
    step.now["stopping"] = True


def _drain(step: _Step) -> None:
    step.now["clock"] = Clock.DRAIN
    step.start(STOP_CLOCK)


def _bound(step: _Step) -> None:
    if step.now["stopping"]:
        step.now["clock"] = Clock.DELIVERY
        step.start(STOP_CLOCK)


_RULES: dict[Effect, Callable[[_Step], None]] = {
    X.DIAL: _dial,
    X.DIAL_LATER: _dial,
    X.CHECK: _check,
    X.NOTE_CONTACT: _contact,
    X.COUNT_MISS: _miss,
    X.WATCH_OUTBOX: _watch_outbox,
    X.BEGIN_RUN: _begin_run,
    X.DROP_RUN: lambda step: _end_run(step, "a run is dropped although none is in hand"),
    X.FETCH: _fetch,
    X.FETCH_LATER: _fetch,
    X.NOTE_APPROVAL: _approve,
    X.PREPARE: _work,
    X.LAUNCH: _work,
    X.WATCH_OFFERS: _watch_offers,
    X.START_ORPHAN_CLOCK: _orphan_clock,
    X.STOP_ORPHAN_CLOCK: _no_orphan,
    X.DELIVER: _deliver,
    X.DELIVER_LATER: _sending,
    X.SETTLE_REPORT: _settle_report,
    X.POSTPONE_REPORT: _postpone,
    X.NOTE_STOP: _note_stop,
    X.DRAIN: _drain,
    X.BOUND: _bound,
}

_BEGUN_LAST = frozenset(STARTED_BY) - {
    X.DIAL,
    X.DIAL_LATER,
    X.WATCH_OUTBOX,
    X.START_ORPHAN_CLOCK,
    X.DRAIN,
    X.BOUND,
}
"""Effects that, after their rule, always begin their part."""
