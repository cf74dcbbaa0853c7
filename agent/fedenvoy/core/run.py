"""Effects on the run in hand: its way to training, and the clocks that end it when nobody drives it any more."""

from __future__ import annotations

from fedenvoy_statecharts import Event

from fedenvoy.backoff import retry_delay
from fedenvoy.commands import Arm, Disarm, Fetch, Launch, Prepare, Timer, WatchOffers
from fedenvoy.core.state import Run
from fedenvoy.core.step import Step
from fedenvoy.events import Approved, Message, Offer

__all__ = [
    "begin_run",
    "fetch",
    "fetch_later",
    "launch",
    "note_approval",
    "prepare",
    "start_absence_clock",
    "start_orphan_clock",
    "stop_absence_clock",
    "stop_orphan_clock",
    "watch_offers",
]


def begin_run(step: Step) -> None:
    """The experiment offered is the run in hand."""
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


def fetch(step: Step) -> None:
    """Ask for its archive."""
    _ask_fetch(step, 0.0)


def fetch_later(step: Step) -> None:
    """Ask for its archive again, after back-off."""
    run = step.data.run
    assert run is not None
    run.cuts = run.cuts_with(step.message)
    run.fetches += 1
    step.attempt = run.fetches
    _ask_fetch(step, retry_delay(run.fetches, step.rng))


def note_approval(step: Step) -> None:
    """Keep what was approved."""
    run = step.data.run
    assert run is not None
    assert isinstance(step.message, Approved)
    run.digest, run.engine = step.message.digest, step.message.engine


def prepare(step: Step) -> None:
    """Ask for its environment."""
    assert step.data.run is not None
    step.ask(Prepare(scopes=step.data.scopes, experiment=step.data.run.experiment))


def launch(step: Step) -> None:
    """Ask for its process."""
    assert step.data.run is not None
    step.ask(Launch(scopes=step.data.scopes, experiment=step.data.run.experiment))


def watch_offers(step: Step) -> None:
    """Ask whether the director still drives it."""
    step.ask(WatchOffers(scopes=step.data.scopes))


def _start_clock(step: Step, timer: Timer, delay: float) -> None:
    """Begin a clock at whose end the run counts as orphaned; one that runs is left alone."""
    run = step.data.run
    assert run is not None
    if timer not in run.clocks:
        run.clocks.add(timer)
        message = Message(event=Event.EXPERIMENT_ORPHANED, scopes=step.data.scopes)
        step.ask(Arm(timer=timer, delay=delay, message=message))


def start_orphan_clock(step: Step) -> None:
    """Bound how long a restarted director has to offer it again."""
    _start_clock(step, Timer.ORPHAN, step.settings.orphan_timeout)


def stop_orphan_clock(step: Step) -> None:
    """The director drives it."""
    assert step.data.run is not None
    step.data.run.clocks.discard(Timer.ORPHAN)
    step.ask(Disarm(timer=Timer.ORPHAN))


def start_absence_clock(step: Step) -> None:
    """Bound how long it goes on without a director, if the site wants that."""
    if step.settings.on_director_loss is not None:
        _start_clock(step, Timer.ABSENCE, step.settings.on_director_loss)


def stop_absence_clock(step: Step) -> None:
    """The director is back."""
    run = step.data.run
    assert run is not None
    if Timer.ABSENCE in run.clocks:
        run.clocks.remove(Timer.ABSENCE)
        step.ask(Disarm(timer=Timer.ABSENCE))
