"""What each effect of the table means: changes of the agent's data, and commands for the adapters.

One function per effect, bound to it by name at the end. None of them knows the state or the event: which effects a
step has is the table's business alone.
"""

from __future__ import annotations

from collections.abc import Callable

from fedenvoy_statecharts import Effect, Event

from fedenvoy.backoff import decline_delay, director_delay, retry_delay
from fedenvoy.commands import (
    Arm,
    CheckHealth,
    Deliver,
    DescribeShard,
    Dial,
    Disarm,
    DropLink,
    End,
    Fetch,
    Launch,
    Poll,
    Prepare,
    Timer,
    WatchOffers,
)
from fedenvoy.core import verdicts
from fedenvoy.core.state import Run
from fedenvoy.core.step import Step
from fedenvoy.errors import Exit
from fedenvoy.events import Approved, Forget, Health, Message, Offer, Problem

__all__ = ["perform"]

SOON = 0.1
"""Seconds: how soon a report that is overdue wakes Idle; not zero, so that the poll is always begun first."""


def _describe(step: Step) -> None:
    step.ask(DescribeShard(scopes=step.data.scopes))


def _redial(step: Step, *, at_once: bool) -> None:
    """End the present link and dial: at once after a link that lived a while, else after back-off."""
    link = step.data.link
    if link.lived(step.now, step.settings.link.settle):
        link.down_since, link.dials, link.rejections = step.now, 0, 0
    if step.message.event is Event.LINK_REJECTED:
        link.rejections += 1
    first = at_once and link.dials == 0
    delay = 0.0 if first else director_delay(step.now - link.down_since, step.rng)
    link.epoch, link.up, link.misses = link.epoch + 1, False, 0
    link.dials += 1
    step.attempt = link.dials
    step.ask(DropLink())
    # A director that was restarted during the outage would take the registration and hide that it lost the run.
    probe = step.data.run is not None and step.message.event is not Event.SHARD_FORGOTTEN
    step.ask(Dial(scopes=step.data.scopes, delay=delay, probe=probe))


def _dial(step: Step) -> None:
    _redial(step, at_once=True)


def _dial_later(step: Step) -> None:
    _redial(step, at_once=False)


def _check(step: Step) -> None:
    link = step.data.link
    link.up, link.up_since, link.misses = True, step.now, 0
    step.ask(CheckHealth(scopes=step.data.scopes))


def _note_contact(step: Step) -> None:
    message = step.message
    assert isinstance(message, Health)
    step.data.link.misses, step.data.link.contact = 0, step.now
    step.data.link.period, step.data.readings = message.period, message.readings


def _count_miss(step: Step) -> None:
    step.data.link.misses += 1
    step.attempt = step.data.link.misses


def _poll(step: Step) -> None:
    step.data.declines = 0
    step.ask(Poll(scopes=step.data.scopes))


def _poll_later(step: Step) -> None:
    data = step.data
    if step.message.event is Event.POLL_FAILED:
        recent = step.now - data.poll_failed_at <= step.settings.poll.timeout
        data.poll_failures, data.poll_failed_at = (data.poll_failures if recent else 0) + 1, step.now
        step.attempt, delay = data.poll_failures, retry_delay(data.poll_failures, step.rng)
    else:
        data.declines += 1
        step.attempt, delay = data.declines, decline_delay(data.declines, step.rng)
    step.ask(Poll(scopes=data.scopes, delay=delay))


def _watch_outbox(step: Step) -> None:
    if step.data.outbox:
        due = min(pending.due for pending in step.data.outbox)
        message = Message(event=Event.REPORT_DUE, scopes=step.data.scopes)
        step.ask(Arm(timer=Timer.REPORT, delay=max(SOON, due - step.now), message=message, scopes=step.data.scopes))


def _begin_run(step: Step) -> None:
    assert isinstance(step.message, Offer)
    step.data.runs += 1
    step.data.declines = 0
    name = step.message.experiment
    step.data.run = Run(number=step.data.runs, experiment=name, cuts=step.data.cuts.pop(name, 0))
    step.experiment = name


def _ask_fetch(step: Step, delay: float) -> None:
    run = step.data.run
    assert run is not None
    memory = step.data.memory.get(run.experiment)
    settled = frozenset(memory.digests) if memory else frozenset()
    step.ask(Fetch(scopes=step.data.scopes, experiment=run.experiment, settled=settled, delay=delay))


def _fetch(step: Step) -> None:
    _ask_fetch(step, 0.0)


def _fetch_later(step: Step) -> None:
    run = step.data.run
    assert run is not None
    run.cuts = run.cuts_with(step.message)
    run.fetches += 1
    step.attempt = run.fetches
    _ask_fetch(step, retry_delay(run.fetches, step.rng))


def _note_approval(step: Step) -> None:
    run = step.data.run
    assert run is not None
    assert isinstance(step.message, Approved)
    run.digest, run.engine = step.message.digest, step.message.engine


def _prepare(step: Step) -> None:
    assert step.data.run is not None
    step.ask(Prepare(scopes=step.data.scopes, experiment=step.data.run.experiment))


def _launch(step: Step) -> None:
    assert step.data.run is not None
    step.ask(Launch(scopes=step.data.scopes, experiment=step.data.run.experiment))


def _watch_offers(step: Step) -> None:
    step.ask(WatchOffers(scopes=step.data.scopes))


def _start_orphan_clock(step: Step) -> None:
    run = step.data.run
    assert run is not None
    if run.orphan_clock:
        return
    run.orphan_clock = True
    message = Message(event=Event.EXPERIMENT_ORPHANED, scopes=step.data.scopes)
    step.ask(Arm(timer=Timer.ORPHAN, delay=step.settings.orphan_timeout, message=message))


def _stop_orphan_clock(step: Step) -> None:
    assert step.data.run is not None
    step.data.run.orphan_clock = False
    step.ask(Disarm(timer=Timer.ORPHAN))


def _start_absence_clock(step: Step) -> None:
    run, limit = step.data.run, step.settings.on_director_loss
    assert run is not None
    if limit is None or run.absence_clock:
        return
    run.absence_clock = True
    message = Message(event=Event.EXPERIMENT_ORPHANED, scopes=step.data.scopes)
    step.ask(Arm(timer=Timer.ABSENCE, delay=limit, message=message))


def _stop_absence_clock(step: Step) -> None:
    run = step.data.run
    assert run is not None
    if run.absence_clock:
        run.absence_clock = False
        step.ask(Disarm(timer=Timer.ABSENCE))


def _note_pause(step: Step) -> None:
    step.data.paused = step.paused = True


def _note_resume(step: Step) -> None:
    step.data.paused = step.paused = False


def _forget_name(step: Step) -> None:
    assert isinstance(step.message, Forget)
    name = step.message.experiment
    step.data.memory.pop(name, None)
    step.data.cuts.pop(name, None)
    step.forgotten = name


def _deliver(step: Step) -> None:
    # The earliest, even if it is due only in a moment: a clock may ring a rounding error too soon.
    pending = min(step.data.outbox, key=lambda p: p.due)
    step.data.delivering = pending.report.id
    step.experiment = step.experiment or pending.report.experiment
    step.ask(Deliver(scopes=step.data.scopes, report=pending.report))


def _deliver_later(step: Step) -> None:
    pending = next(p for p in step.data.outbox if p.report.id == step.data.delivering)
    pending.tries += 1
    step.attempt = pending.tries
    step.experiment = pending.report.experiment
    delay = retry_delay(pending.tries, step.rng)
    step.ask(Deliver(scopes=step.data.scopes, report=pending.report, delay=delay))


def _settle_report(step: Step) -> None:
    data = step.data
    pending = next(p for p in data.outbox if p.report.id == data.delivering)
    data.outbox.remove(pending)
    step.delivered, data.delivering = pending.report.id, ""
    step.experiment = pending.report.experiment
    step.outcome = _outcome(step.message)


def _outcome(message: Message) -> str:
    if message.event is Event.REPORT_DELIVERED:
        return "sent"
    expired = isinstance(message, Problem) and message.code == "expired"
    return "expired" if expired else "undeliverable"


def _postpone_report(step: Step) -> None:
    pending = next(p for p in step.data.outbox if p.report.id == step.data.delivering)
    pending.due = step.now + retry_delay(pending.tries, step.rng, first=30.0, cap=600.0)
    pending.tries, step.data.delivering = 0, ""
    step.experiment = pending.report.experiment


def _note_stop(step: Step) -> None:
    step.data.stopping = True


def _arm_stop(step: Step, seconds: float) -> None:
    step.ask(Arm(timer=Timer.STOP, delay=seconds, message=Message(event=Event.DRAIN_EXPIRED)))


def _drain(step: Step) -> None:
    _arm_stop(step, step.settings.drain_timeout)


def _bound(step: Step) -> None:
    if step.data.stopping:
        _arm_stop(step, step.settings.stop_timeout)


def _end(code: Exit, text: str) -> Callable[[Step], None]:
    def effect(step: Step) -> None:
        step.ask(End(code=code, text=step.message.cause or text))

    return effect


_EFFECTS: dict[Effect, Callable[[Step], None]] = {
    Effect.DESCRIBE: _describe,
    Effect.DIAL: _dial,
    Effect.DIAL_LATER: _dial_later,
    Effect.CHECK: _check,
    Effect.NOTE_CONTACT: _note_contact,
    Effect.COUNT_MISS: _count_miss,
    Effect.POLL: _poll,
    Effect.POLL_LATER: _poll_later,
    Effect.WATCH_OUTBOX: _watch_outbox,
    Effect.DECLINE: verdicts.decline,
    Effect.BEGIN_RUN: _begin_run,
    Effect.DROP_RUN: verdicts.drop_run,
    Effect.FETCH: _fetch,
    Effect.FETCH_LATER: _fetch_later,
    Effect.NOTE_APPROVAL: _note_approval,
    Effect.PREPARE: _prepare,
    Effect.LAUNCH: _launch,
    Effect.WATCH_OFFERS: _watch_offers,
    Effect.START_ORPHAN_CLOCK: _start_orphan_clock,
    Effect.STOP_ORPHAN_CLOCK: _stop_orphan_clock,
    Effect.START_ABSENCE_CLOCK: _start_absence_clock,
    Effect.STOP_ABSENCE_CLOCK: _stop_absence_clock,
    Effect.NOTE_PAUSE: _note_pause,
    Effect.NOTE_RESUME: _note_resume,
    Effect.FORGET_NAME: _forget_name,
    Effect.VERDICT_FINISHED: verdicts.finished,
    Effect.VERDICT_FAILED: verdicts.failed,
    Effect.VERDICT_REJECTED: verdicts.rejected,
    Effect.VERDICT_CANCELLED: verdicts.cancelled,
    Effect.VERDICT_ORPHANED: verdicts.orphaned,
    Effect.DELIVER: _deliver,
    Effect.DELIVER_LATER: _deliver_later,
    Effect.SETTLE_REPORT: _settle_report,
    Effect.POSTPONE_REPORT: _postpone_report,
    Effect.NOTE_STOP: _note_stop,
    Effect.DRAIN: _drain,
    Effect.BOUND: _bound,
    Effect.END_STOPPED: _end(Exit.OK, "stopped as asked"),
    Effect.END_ABORTED: _end(Exit.ABORTED, "aborted by a second request"),
    Effect.END_SHARD: _end(Exit.SHARD, "the shard descriptor is unusable"),
    Effect.END_REFUSED: _end(Exit.REFUSED, "the director does not accept this shard"),
    Effect.END_LINK: _end(Exit.LINK, "the director rejects this link"),
    Effect.END_STORE: _end(Exit.STORE, "the journal cannot be written"),
}


def perform(effect: Effect, step: Step) -> None:
    """Do one effect of a step."""
    _EFFECTS[effect](step)
