"""What each effect of the table means for a configuration: the words of the vocabulary, read one by one.

An effect that contradicts the rest (a verdict without a run, a delivery without a report) breaks a property at once.
"""

from __future__ import annotations

from collections.abc import Callable

from fedenvoy_statecharts.checks.parts import (
    ABSENCE_CLOCK,
    DIAL,
    ORPHAN_CLOCK,
    REPORT_CLOCK,
    STARTED_BY,
    STOP_CLOCK,
    Bond,
    Part,
)
from fedenvoy_statecharts.checks.steps import Step
from fedenvoy_statecharts.checks.world import BOUND, Clock
from fedenvoy_statecharts.vocabulary import Effect, Event

__all__ = ["perform"]

X = Effect


def perform(effect: Effect, step: Step) -> None:
    """Carry one effect out.

    Raises:
        Broken: When it contradicts what is.

    """
    if effect.name.startswith("END_"):
        step.ends += 1
    elif effect.name.startswith("VERDICT_"):
        _end_run(step, f"a run gets its verdict ({effect}) although none is in hand")
        step.now["due"] += 1
    else:
        _RULES.get(effect, _begin)(step)
        if effect in _BEGUN_LAST:
            step.start(STARTED_BY[effect])


def _begin(_step: Step) -> None:
    """Nothing but to begin what the effect begins, if anything."""


def _end_run(step: Step, problem: str) -> None:
    step.require(6, problem, met=step.now["run"] > 0)
    step.now["run"], step.now["driven"] = 0, False
    step.over(Bond.RUN)


def _dial(step: Step) -> None:
    step.over(Bond.LINK)
    step.now["link_up"], step.now["misses"] = False, 0
    step.now["probe"] = step.now["run"] > 0 and step.event is not Event.SHARD_FORGOTTEN
    step.start(DIAL)


def _check(step: Step) -> None:
    step.now["link_up"], step.now["misses"] = True, 0


def _contact(step: Step) -> None:
    step.now["misses"] = 0


def _miss(step: Step) -> None:
    step.now["misses"] = min(BOUND, step.now["misses"] + 1)


def _watch_outbox(step: Step) -> None:
    if step.now["due"] + step.now["later"]:
        step.start(REPORT_CLOCK)


def _begin_run(step: Step) -> None:
    step.require(6, "a run is begun while another is in hand", met=step.now["run"] == 0)
    step.over(Bond.RUN)
    step.now["run"], step.now["driven"] = 1, True


def _fetch(step: Step) -> None:
    step.require(6, "an archive is fetched for no run", met=step.now["run"] > 0)
    step.require(8, "a download is begun although a stop was asked for", met=not step.now["asked"])


def _approve(step: Step) -> None:
    step.require(4, "a run counts as approved without plan_approved", met=step.event is Event.PLAN_APPROVED)
    step.now["run"] = 2


def _work(step: Step) -> None:
    step.require(4, "work is begun for a run that was not approved", met=step.now["run"] == 2)
    step.require(8, "work is begun although a stop was asked for", met=not step.now["asked"])


def _watch_offers(step: Step) -> None:
    step.require(6, "offers are watched for no run", met=step.now["run"] > 0)


def _clock(part: Part) -> Callable[[Step], None]:
    def begin(step: Step) -> None:
        step.require(6, f"{part.name} is set for no run", met=step.now["run"] > 0)
        if step.live[part.number] is None:
            step.start(part)

    return begin


def _no_clock(part: Part) -> Callable[[Step], None]:
    def end(step: Step) -> None:
        step.live[part.number] = None

    return end


def _deliver(step: Step) -> None:
    step.require(6, "a delivery is begun with an empty outbox", met=step.now["due"] + step.now["later"] > 0)
    if not step.now["due"]:
        step.now["due"], step.now["later"] = 1, step.now["later"] - 1
    step.now["sending"] = True


def _sending(step: Step) -> None:
    step.require(6, "the report in delivery is spoken of, and there is none", met=step.now["sending"])


def _settle_report(step: Step) -> None:
    _sending(step)
    step.now["due"] -= 1
    step.now["sending"] = False


def _postpone(step: Step) -> None:
    _settle_report(step)
    step.now["later"] += 1


def _note_stop(step: Step) -> None:
    step.now["stopping"] = True


def _drain(step: Step) -> None:
    step.now["clock"] = Clock.DRAIN
    step.start(STOP_CLOCK)


def _bound(step: Step) -> None:
    if step.now["stopping"]:
        step.now["clock"] = Clock.DELIVERY
        step.start(STOP_CLOCK)


_RULES: dict[Effect, Callable[[Step], None]] = {
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
    X.START_ORPHAN_CLOCK: _clock(ORPHAN_CLOCK),
    X.STOP_ORPHAN_CLOCK: _no_clock(ORPHAN_CLOCK),
    X.START_ABSENCE_CLOCK: _clock(ABSENCE_CLOCK),
    X.STOP_ABSENCE_CLOCK: _no_clock(ABSENCE_CLOCK),
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
    X.START_ABSENCE_CLOCK,
    X.DRAIN,
    X.BOUND,
}
"""Effects that, after their rule, always begin their part."""
