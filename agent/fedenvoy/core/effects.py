"""What each effect of the table means: changes of the agent's data, and commands for the adapters.

One function per effect, here or in the module of what it is about, bound to it by name at the end. None of them knows
the state or the event: which effects a step has is the table's business alone.
"""

from __future__ import annotations

from collections.abc import Callable

from fedenvoy_statecharts import Effect, Event

from fedenvoy.backoff import decline_delay, retry_delay
from fedenvoy.commands import Arm, DescribeShard, End, Poll, Timer
from fedenvoy.core import link, outbox, run, verdicts
from fedenvoy.core.step import Step
from fedenvoy.errors import Exit
from fedenvoy.events import Forget, Message

__all__ = ["perform"]


def _describe(step: Step) -> None:
    step.ask(DescribeShard(scopes=step.data.scopes))


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
    Effect.DIAL: link.dial,
    Effect.DIAL_LATER: link.dial_later,
    Effect.CHECK: link.check,
    Effect.NOTE_CONTACT: link.note_contact,
    Effect.COUNT_MISS: link.count_miss,
    Effect.POLL: _poll,
    Effect.POLL_LATER: _poll_later,
    Effect.WATCH_OUTBOX: outbox.watch_outbox,
    Effect.DECLINE: verdicts.decline,
    Effect.BEGIN_RUN: run.begin_run,
    Effect.DROP_RUN: verdicts.drop_run,
    Effect.FETCH: run.fetch,
    Effect.FETCH_LATER: run.fetch_later,
    Effect.NOTE_APPROVAL: run.note_approval,
    Effect.PREPARE: run.prepare,
    Effect.LAUNCH: run.launch,
    Effect.WATCH_OFFERS: run.watch_offers,
    Effect.START_ORPHAN_CLOCK: run.start_orphan_clock,
    Effect.STOP_ORPHAN_CLOCK: run.stop_orphan_clock,
    Effect.START_ABSENCE_CLOCK: run.start_absence_clock,
    Effect.STOP_ABSENCE_CLOCK: run.stop_absence_clock,
    Effect.NOTE_PAUSE: _note_pause,
    Effect.NOTE_RESUME: _note_resume,
    Effect.FORGET_NAME: _forget_name,
    Effect.VERDICT_FINISHED: verdicts.finished,
    Effect.VERDICT_FAILED: verdicts.failed,
    Effect.VERDICT_REJECTED: verdicts.rejected,
    Effect.VERDICT_CANCELLED: verdicts.cancelled,
    Effect.VERDICT_ORPHANED: verdicts.orphaned,
    Effect.DELIVER: outbox.deliver,
    Effect.DELIVER_LATER: outbox.deliver_later,
    Effect.SETTLE_REPORT: outbox.settle_report,
    Effect.POSTPONE_REPORT: outbox.postpone_report,
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
