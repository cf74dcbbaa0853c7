"""Taking a step of the table in the model: the row's effects, and what must be true of every step."""

from __future__ import annotations

from fedenvoy_statecharts.checks.effects import perform
from fedenvoy_statecharts.checks.parts import CHECKS, Bond, Part
from fedenvoy_statecharts.checks.steps import Broken, Step
from fedenvoy_statecharts.checks.world import BOUND, Config, Numbers
from fedenvoy_statecharts.model import Chart, Row
from fedenvoy_statecharts.vocabulary import Effect, Event, State

__all__ = ["begin", "take"]


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
    step = Step(config, event, numbers)
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
        perform(effect, step)
    _settle(step, config)
    return step.done()


def begin(chart: Chart, numbers: Numbers, *, outbox: int) -> Config:
    """Give the configuration at the start of a session that finds reports in the outbox."""
    initial = chart.initial
    assert isinstance(initial.target, State)
    row = Row(initial.target, initial.event, initial.target, effects=initial.effects)
    return take(Config(initial.target, due=min(BOUND, outbox)), Event.STARTED, row, None, numbers)


def _settle(step: Step, before: Config) -> None:
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
