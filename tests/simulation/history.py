"""Runs one history from its seed to its end: the storm, the calm after it, and the proof that the node still works."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field

from fedenvoy_statecharts import State

from simulation.agent import Kills
from simulation.disk import Disk
from simulation.journal import Violation
from simulation.kernel import Kernel
from simulation.schedule import NAMES, Archive, Schedule, draw_schedule
from simulation.shelf import machines_used_again
from simulation.storm import Storm
from simulation.world import World

__all__ = ["History", "run_history"]

HEALS_WITHIN = 3600.0
"""Seconds after the last fault within which the node must be Idle with an empty outbox."""
WORKS_WITHIN = 2400.0
"""Seconds within which a new, good experiment must then be trained and reported: a name may rest for half an hour."""
STEPS = 200_000
"""Events after which a history counts as one that never ends."""


@dataclass(slots=True)
class History:
    """What came of one seed.

    Attributes:
        seed: The seed.
        wrong: What went wrong; empty when nothing did.
        trace: The lines of the trace, if one was kept.
        records: Journal lines written.
        sessions: Agent processes.
        calls: Calls to the director.
        verdicts: Verdicts made.
        virtual: Seconds that passed.
        rows: How often each row was taken.
        peaks: The most calls in any minute, by method.

    """

    seed: int
    wrong: str = ""
    trace: list[str] = field(default_factory=list)
    records: int = 0
    sessions: int = 0
    calls: int = 0
    verdicts: int = 0
    virtual: float = 0.0
    rows: Counter[str] = field(default_factory=Counter)
    peaks: dict[str, int] = field(default_factory=dict)


def run_history(
    seed: int,
    *,
    kill: tuple[str, int] | None = None,
    left_out: frozenset[int] = frozenset(),
    traced: bool = False,
    disk: Disk | None = None,
    fresh: bool = False,
) -> History:
    """Run one history.

    Args:
        seed: Makes it.
        kill: One more fault: kill -9 ("before" or "after", which record, counted over all sessions from 1).
        left_out: Positions of faults of the schedule that are not to happen.
        traced: Whether to keep a trace.
        disk: Another disk than the simulated one.
        fresh: Whether each session builds its machine anew, which takes longer and changes nothing.

    """
    kernel = Kernel(seed, traced=traced)
    schedule = draw_schedule(kernel).without(left_out)
    kills = Kills()
    if kill is not None:
        setattr(kills, kill[0], kill[1])
    world = World(kernel, schedule, kills, disk or Disk())
    _write_head(kernel, seed, schedule, kill)
    wrong = ""
    try:
        with nullcontext() if fresh else machines_used_again():
            _live(world)
    except Violation as violation:
        wrong = str(violation)
    except Exception as error:
        wrong = f"the owner thread failed: {type(error).__name__}: {error}"
    if wrong:
        kernel.log("WRONG", "%s", wrong)
    witness = world.witness
    return History(
        seed=seed,
        wrong=wrong,
        trace=kernel.trace,
        records=len(world.disk.journal),
        sessions=world.sessions,
        calls=witness.calls,
        verdicts=len(witness.reports),
        virtual=kernel.now,
        rows=witness.journal.taken,
        peaks=witness.peaks,
    )


def _write_head(kernel: Kernel, seed: int, schedule: Schedule, kill: tuple[str, int] | None) -> None:
    if kernel.traced:
        kernel.trace.append(f"seed {seed}" + (f", killed {kill[0]} record {kill[1]}" if kill else ""))
        kernel.trace.extend(schedule.lines())


class _Until:
    """Lets a world go on until something holds."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._steps = 0

    def time(self, at: float) -> None:
        """Go on until a moment."""
        kernel = self._world.kernel
        over: list[bool] = []
        kernel.after(max(0.0, at - kernel.now), lambda: over.append(True))
        while not over:
            self._step()

    def idle(self, within: float, why: str) -> None:
        """Go on until the node is Idle with nothing in its outbox and nothing on its way."""
        world = self._world
        limit = world.kernel.now + within
        while not self._rests():
            if world.kernel.now > limit:
                state = world.agent.loop.snapshot.state if world.agent else "between two sessions"
                raise Violation(f"{why}: {state}, outbox {list(world.disk.outbox)}")
            self._step()

    def _rests(self) -> bool:
        agent = self._world.agent
        return agent is not None and agent.loop.snapshot.state is State.IDLE and not self._world.disk.outbox

    def _step(self) -> None:
        self._steps += 1
        if self._steps > STEPS:
            raise Violation(f"more than {STEPS} events: time hardly passes")
        self._world.step()


def _live(world: World) -> None:
    storm, until = Storm(world), _Until(world)
    storm.begin()
    world.begin_session()
    until.time(world.schedule.horizon)
    storm.heal()
    until.idle(HEALS_WITHIN, "not Idle with an empty outbox an hour after the last fault")
    _work(world, until)
    _stop(world, until)
    world.witness.no_verdict_is_lost()


def _work(world: World, until: _Until) -> None:
    """A node that looks well must also do its work: the next good experiment, perhaps of an old name, is trained."""
    for name in list(world.director.experiments):
        world.director.remove(name)
    proof = Archive(world.kernel.pick(("proof", *NAMES)), "proof")
    world.director.submit(proof)
    began = world.kernel.now
    while not _told_well(world, proof):
        if world.kernel.now > began + WORKS_WITHIN:
            raise Violation(f"a good experiment was not trained and told within {WORKS_WITHIN:g} s")
        until.time(world.kernel.now + 5.0)
    until.idle(WORKS_WITHIN, "not Idle after a good experiment")


def _told_well(world: World, archive: Archive) -> bool:
    told = (r for i, r in world.witness.reports.items() if i in world.witness.confirmed)
    return any(report.digest == archive.digest and report.verdict.value == "finished" for report in told)


def _stop(world: World, until: _Until) -> None:
    """At last, a stop: from Idle, at once."""
    agent = world.agent
    assert agent is not None
    agent.stop()
    until.time(world.kernel.now)
    if agent.alive:
        raise Violation("a stop in Idle does not end the agent at once")
