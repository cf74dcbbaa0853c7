"""Mistakes planted on purpose, to see that the simulation bites: each is one that a programmer could make.

A plant changes the agent (or the contract of its disk) for as long as it is in force, and nothing of the simulation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any
from unittest.mock import patch

from fedenvoy.commands import CancelActivity, Command, Dial, Disarm, EndRun, Persist, Record
from fedenvoy.core import CarriedOver, Core, effects, guards, link, verdicts
from fedenvoy.core.state import Memory
from fedenvoy.core.step import Step
from fedenvoy.events import Message
from fedenvoy.loop import Loop
from fedenvoy_statecharts import LIFECYCLE, SCOPES, Chart, Effect, Event, Guard, Row, Scope, State
from fedenvoy_statecharts.model import when

from simulation.disk import Disk

__all__ = ["PLANTS", "planted"]

Plant = Callable[[ExitStack], None]


def _effect(stack: ExitStack, effect: Effect, instead: Callable[[Step], None]) -> None:
    stack.enter_context(patch.dict(effects._EFFECTS, {effect: instead}))


def _nothing(_step: Step) -> None:
    """Does nothing."""


def _without(effect: Effect) -> Plant:
    return lambda stack: _effect(stack, effect, _nothing)


def _method(stack: ExitStack, owner: Any, name: str, instead: Callable[..., Any]) -> None:
    stack.enter_context(patch.object(owner, name, instead))


def _unasked(kind: type[Command]) -> Plant:
    """Forget to ask for one kind of command."""
    original = Step.ask

    def ask(step: Step, command: Command) -> None:
        if not isinstance(command, kind):
            original(step, command)

    return lambda stack: _method(stack, Step, "ask", ask)


def _same_epoch(stack: ExitStack) -> None:
    """Redial on the old link epoch."""
    for effect in (Effect.DIAL, Effect.DIAL_LATER):
        original = effects._EFFECTS[effect]

        def redial(step: Step, original: Callable[[Step], None] = original) -> None:
            original(step)
            if step.data.link.epoch > 1:
                step.data.link.epoch -= 1
                step.commands[-1] = replace(step.commands[-1], scopes=step.data.scopes)

        _effect(stack, effect, redial)


def _no_probe(stack: ExitStack) -> None:
    original = Step.ask

    def ask(step: Step, command: Command) -> None:
        original(step, replace(command, probe=False) if isinstance(command, Dial) else command)

    _method(stack, Step, "ask", ask)


def _no_settling(stack: ExitStack) -> None:
    original = verdicts._settle
    _method(stack, verdicts, "_settle", lambda step, why, *, for_good: original(step, why, for_good=for_good and False))


def _believes(scope: Scope) -> Plant:
    """Take stale events of one scope for current ones."""
    original = Core.is_current

    def is_current(core: Core, message: Message) -> bool:
        return SCOPES[message.event] is scope or original(core, message)

    return lambda stack: _method(stack, Core, "is_current", is_current)


def _effects_first(stack: ExitStack) -> None:
    """Carry the commands out before the record is written."""
    original = Loop._step

    def step(loop: Loop, commands: tuple[Command, ...]) -> None:
        order = sorted(commands, key=lambda command: isinstance(command, Persist))
        original(loop, tuple(order))

    _method(stack, Loop, "_step", step)


def _unwritten_counts(stack: ExitStack) -> None:
    """Go on when a record could not be written."""
    original = Loop._write

    def write(loop: Loop, record: Record) -> bool:
        original(loop, record)
        return True

    _method(stack, Loop, "_write", write)


def _forgets(*, reports: bool) -> Plant:
    """Do not take over what an earlier session left."""
    original = Disk.carried

    def carried(disk: Disk) -> CarriedOver:
        both = original(disk)
        return CarriedOver((), both.settled) if reports else CarriedOver(both.reports, ())

    return lambda stack: _method(stack, Disk, "carried", carried)


def _two_transactions(stack: ExitStack) -> None:
    """Write the line first, and the outbox with the next line."""
    original, late = Disk.append, dict[int, Record]()

    def append(disk: Disk, session: str, record: Record) -> None:
        earlier = late.pop(id(disk), None)
        if earlier is not None and earlier.report is not None:
            disk.outbox[earlier.report.id] = earlier.report
        original(disk, session, record)
        if record.report is not None:
            late[id(disk)] = record
            del disk.outbox[record.report.id]

    _method(stack, Disk, "append", append)


def _told_too_early(stack: ExitStack) -> None:
    """Let a report leave the outbox when it is sent, not when it is answered."""
    original = effects._EFFECTS[Effect.DELIVER]

    def deliver(step: Step) -> None:
        original(step)
        step.delivered, step.outcome = step.data.delivering, "sent"

    _effect(stack, Effect.DELIVER, deliver)


def _no_delay(module: ModuleType, name: str) -> Plant:
    return lambda stack: _method(stack, module, name, lambda *_args, **_options: 0.0)


def _welcome_in_a_pause(stack: ExitStack) -> None:
    """Take offers while the node is paused."""
    original = guards._ANSWERS[Guard.OFFER_WELCOME]

    def welcome(question: guards.Question) -> bool:
        return original(replace(question, data=replace(question.data, paused=False)))

    stack.enter_context(patch.dict(guards._ANSWERS, {Guard.OFFER_WELCOME: welcome}))


def _pause_ends_with_its_session(stack: ExitStack) -> None:
    original = Disk.carried
    _method(stack, Disk, "carried", lambda disk: replace(original(disk), paused=False))


def _no_rest(stack: ExitStack) -> None:
    """Take a failed name again at once."""
    _method(stack, Memory, "rest", lambda _memory, _now, _why: None)


def _late_commands(stack: ExitStack) -> None:
    _method(stack, Core, "wants", lambda _core, _command: True)


def _chart(change: Callable[[Row], Row]) -> Plant:
    """Follow another table."""
    mutant: Chart = replace(LIFECYCLE, rows=tuple(change(row) for row in LIFECYCLE.rows))
    original = Core.__init__

    def init(core: Core, *args: Any, **options: Any) -> None:
        original(core, *args, **options, chart=mutant)

    return lambda stack: _method(stack, Core, "__init__", init)


def _trains_on(event: Event) -> Plant:
    """Let one event lead to Training."""
    return _chart(
        lambda row: replace(row, target=State.TRAINING, effects=(Effect.LAUNCH,)) if row.event is event else row
    )


def _moves_the_end(row: Row) -> Row:
    """Set the stop clock anew at each further request."""
    if row.event is Event.STOP_REQUESTED and row.conditions == (when(Guard.STOPPING),):
        return replace(row, effects=(Effect.DRAIN if row.source is State.TRAINING else Effect.BOUND,))
    return row


def _second_verdict(stack: ExitStack) -> None:
    """Keep the run in hand when a cancel has made its verdict."""
    original = verdicts.drop_run

    def drop_run(step: Step) -> None:
        run = step.data.run
        original(step)
        if step.message.event is Event.CANCEL_REQUESTED:
            step.data.run = run

    _method(stack, verdicts, "drop_run", drop_run)


PLANTS: dict[str, Plant] = {
    "redials on the old link epoch": _same_epoch,
    "redials without asking whether the director knows the run": _no_probe,
    "redials without a delay": _no_delay(link, "director_delay"),
    "polls again at once after declining": _no_delay(effects, "decline_delay"),
    "takes a failed name again at once": _no_rest,
    "does not remember what settled": _no_settling,
    "forgets what settled when it is started again": _forgets(reports=False),
    "forgets the outbox when it is started again": _forgets(reports=True),
    "writes line and outbox in two transactions": _two_transactions,
    "carries commands out before the record is written": _effects_first,
    "goes on when a record could not be written": _unwritten_counts,
    "lets a report leave before it is answered": _told_too_early,
    "does not end the run": _unasked(EndRun),
    "does not cancel what it leaves": _unasked(CancelActivity),
    "does not forget the orphan clock": _unasked(Disarm),
    "makes two verdicts of a cancelled run": _second_verdict,
    "believes late answers of activities": _believes(Scope.ACTIVITY),
    "believes late answers of links": _believes(Scope.LINK),
    "believes messages of earlier runs": _believes(Scope.RUN),
    "carries out commands that are over": _late_commands,
    "does not bound a training when stopping": _without(Effect.DRAIN),
    "does not bound a delivery when stopping": _without(Effect.BOUND),
    "forgets that it is stopping": _without(Effect.NOTE_STOP),
    "moves its end when asked to stop again": _chart(_moves_the_end),
    "does not come back to a postponed report": _without(Effect.WATCH_OUTBOX),
    "does not poll when it becomes idle": _without(Effect.POLL),
    "does not look for the director's offers beside the work": _without(Effect.WATCH_OFFERS),
    "has no orphan clock": _without(Effect.START_ORPHAN_CLOCK),
    "does not forget that the director was away": _without(Effect.STOP_ABSENCE_CLOCK),
    "takes offers while paused": _welcome_in_a_pause,
    "forgets that it is paused when it is started again": _pause_ends_with_its_session,
    "does not check a new link": _without(Effect.CHECK),
    "trains what was rejected": _trains_on(Event.PLAN_REJECTED),
    "trains what could not be installed": _trains_on(Event.REQUIREMENTS_FAILED),
}
"""Every mistake, by what it does."""


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Have a mistake for the length of a block."""
    with ExitStack() as stack:
        PLANTS[name](stack)
        yield
