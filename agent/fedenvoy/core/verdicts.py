"""How a run ends: the verdict, the report that tells it, and what is remembered of the experiment.

A run that failed by its own fault (or was rejected) is *settled*: its archive is not run again. One that failed by
circumstance (network, disk, time) or was cancelled only rests for a while, since the director may offer it again at
once. A run that finished rests its name shortly; one that was orphaned leaves no memory.
"""

from __future__ import annotations

from fedenvoy_statecharts import Event

from fedenvoy.commands import Disarm, EndRun, Report, Settled, Timer, Verdict
from fedenvoy.core.step import Step
from fedenvoy.core.told import told_of
from fedenvoy.events import Offer, Problem

__all__ = ["cancelled", "decline", "drop_run", "failed", "finished", "orphaned", "rejected"]

CIRCUMSTANCES = frozenset(
    {"network", "disk", "timeout", "interrupted", "environment", "start", "shard", "review"},
)
"""Codes of problems that are not the experiment's own fault."""


def decline(step: Step) -> None:
    """Note why the offer is not taken, and when the name will be looked at again."""
    message, run = step.message, step.data.run
    name = message.experiment if isinstance(message, Offer) else (run.experiment if run else "")
    step.experiment = name
    if message.event is Event.ARCHIVE_SETTLED:
        step.data.memory_of(name).rest_longer(step.now, "this archive failed or was rejected here before")
    elif message.event is Event.EXPERIMENT_WITHDRAWN:
        step.data.memory_of(name).rest_longer(step.now, "the director no longer had it")
    memory = step.data.memory.get(name)
    unfit = message.unfit if isinstance(message, Offer) else ""
    if step.data.paused:
        step.cause = "declined: this node is paused"
    elif memory is not None and (step.now < memory.recheck or not unfit):
        step.cause = f"declined: {memory.why}; looked at again in {max(0.0, memory.recheck - step.now):.0f} s"
    else:
        step.cause = f"declined: {unfit}"


def drop_run(step: Step) -> None:
    """End the run without a verdict."""
    run = step.data.run
    assert run is not None
    step.experiment, step.digest = run.experiment, run.digest
    if step.message.event is Event.FETCH_INTERRUPTED and step.report is None:
        step.data.count_cuts(run.experiment, run.cuts_with(step.message))
    step.ask(EndRun(scopes=step.data.scopes))
    step.ask(Disarm(timer=Timer.ORPHAN))
    if Timer.ABSENCE in run.clocks:
        step.ask(Disarm(timer=Timer.ABSENCE))
    step.data.run = None


def _conclude(step: Step, verdict: Verdict, code: int, text: str) -> None:
    """Put the verdict into the outbox, and end the run."""
    run = step.data.run
    assert run is not None
    report = Report(
        id=f"{step.session}-{run.number}",
        experiment=run.experiment,
        verdict=verdict,
        code=code,
        text=text,
        digest=run.digest,
    )
    step.report = report
    step.data.enqueue(report, step.now)
    drop_run(step)


def _settle(step: Step, why: str, *, for_good: bool) -> None:
    run = step.data.run
    assert run is not None
    memory = step.data.memory_of(run.experiment)
    memory.rest(step.now, why)
    if for_good and run.digest:
        memory.digests.add(run.digest)
        step.settled = Settled(run.experiment, run.digest)


def _take_digest(step: Step) -> None:
    """A problem found before approval names its archive itself."""
    run, problem = step.data.run, step.message
    assert run is not None
    if isinstance(problem, Problem) and problem.digest:
        run.digest = problem.digest


def finished(step: Step) -> None:
    """The run ended well, and whatever kept its name from being run is over; it rests shortly."""
    run = step.data.run
    assert run is not None
    step.data.memory_of(run.experiment).rest_after_good_end(step.now, run.digest)
    _conclude(step, Verdict.FINISHED, 0, "")


def failed(step: Step) -> None:
    """The run failed; unless circumstances were to blame, its archive is settled."""
    problem = step.message
    assert isinstance(problem, Problem)
    _take_digest(step)
    _settle(step, problem.text, for_good=problem.code not in CIRCUMSTANCES)
    _conclude(step, Verdict.FAILED, 1, told_of(problem, step.settings.report.detail))


def rejected(step: Step) -> None:
    """The site refused the run."""
    _take_digest(step)
    _settle(step, "rejected here", for_good=True)
    _conclude(step, Verdict.REJECTED, 1, "the experiment was rejected by this node's reviewer")


def cancelled(step: Step) -> None:
    """The site ended the run."""
    _settle(step, "cancelled here", for_good=False)
    text = "the experiment was cancelled by this node"
    if isinstance(step.message, Problem) and step.settings.report.detail != "code":
        text = step.message.text  # what somebody here wrote for the director to read
    _conclude(step, Verdict.CANCELLED, 1, text)


def orphaned(step: Step) -> None:
    """Nobody drives the run any more. The director that gave it has lost it, so only a health check tells."""
    _conclude(step, Verdict.ORPHANED, 0, "")
