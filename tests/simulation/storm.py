"""Makes the faults of a schedule happen, and all of them end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fedenvoy_statecharts import State

from simulation.schedule import Archive, Fault, Submission, draw_archive

if TYPE_CHECKING:
    from simulation.world import World

__all__ = ["Storm"]


class Storm:
    """One schedule's faults and submissions, at work on a world.

    Attributes:
        over: Whether everything is healed; no fault begins any more.

    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._kernel = world.kernel
        self._waiting: list[tuple[State, Fault]] = []
        self._versions = 100
        self._submitted: list[Archive] = []
        self.over = False
        self._strikes: dict[str, Callable[[Fault], None]] = {
            "restart": self._restart,
            "crash loop": self._crash_loop,
            "outage": self._restart,
            "freeze": self._freeze,
            "refuse": lambda f: self._count(f, world.director, "refusing"),
            "reject": lambda f: self._count(f, world.network, "denying" if f.amount < 0.4 else "rejecting"),
            "vanish": lambda f: self._count(f, world.network, "vanishing"),
            "reset": lambda f: world.network.reset(client_sees=f.amount < 0.6, server_sees=f.amount * 10 % 1 < 0.5),
            "loss": lambda f: self._set(f, world.network, "loss", 0.1 + 0.7 * f.amount),
            "slow": lambda f: self._set(f, world.network, "slow", 20.0 * f.amount**2),
            "twice": lambda f: self._set(f, world.network, "twice", 0.2 + 0.6 * f.amount),
            "errors": lambda f: self._set(f, world.director, "erring", 0.2 + 0.8 * f.amount),
            "starve": lambda f: self._set(f, world, "starving", 10.0 * f.amount),
            "full": lambda f: self._count(f, world.site, "full"),
            "child": lambda _f: self._crash_child(),
            "stop": self._stop,
            "abort": self._abort,
            "cancel": lambda _f: self._with_agent("cancel"),
            "pause": self._pause,
            "forget": self._forget,
            "store": self._break_store,
            "kill": lambda _f: self._with_agent("die"),
            "kill before a record": lambda _f: setattr(world.kills, "before", world.kills.records + 1),
            "kill after a record": lambda _f: setattr(world.kills, "after", world.kills.records + 1),
            "kill after a command": lambda f: setattr(world.kills, "in_commands", 1 + int(f.amount * 4)),
            "remove": self._remove,
            "renew": self._renew,
        }

    def begin(self) -> None:
        """Arm everything."""
        for fault in self._world.schedule.faults:
            self._kernel.after(fault.at, lambda fault=fault: self._arm(fault))  # type: ignore[misc]
        for submission in self._world.schedule.submissions:
            self._kernel.after(submission.at, lambda sub=submission: self._submit(sub))  # type: ignore[misc]
        self._world.on_entered = self._entered

    def _arm(self, fault: Fault) -> None:
        if fault.state is None:
            self._strike(fault)
        else:
            self._waiting.append((fault.state, fault))

    def _entered(self, state: State) -> None:
        due = [fault for wanted, fault in self._waiting if wanted is state]
        if due:
            self._waiting = [pair for pair in self._waiting if pair[0] is not state]
            for fault in due:
                delay = self._kernel.between(0.0, self._kernel.pick((0.01, 0.1, 2.0)))
                self._kernel.after(delay, lambda fault=fault: self._strike(fault))  # type: ignore[misc]

    def _strike(self, fault: Fault) -> None:
        if not self.over:
            self._kernel.log("fault", "%s", fault)
            self._world.trouble_until = max(self._world.trouble_until, self._kernel.now + fault.lasts)
            self._strikes[fault.kind](fault)

    # --- faults with an end

    def _count(self, fault: Fault, owner: object, name: str) -> None:
        """Have a fault for a while; several overlap."""
        setattr(owner, name, getattr(owner, name) + 1)
        self._kernel.after(fault.lasts, lambda: self._uncount(owner, name))

    def _uncount(self, owner: object, name: str) -> None:
        if not self.over:
            setattr(owner, name, getattr(owner, name) - 1)

    def _set(self, fault: Fault, owner: object, name: str, value: float) -> None:
        """Have a fault of a certain size for a while; the last one counts."""
        setattr(owner, name, value)
        self._kernel.after(fault.lasts, lambda: setattr(owner, name, 0.0))

    # --- the director

    def _restart(self, fault: Fault) -> None:
        director = self._world.director
        if director.up:
            lost = [experiment.archive for experiment in director.experiments.values() if not experiment.finished]
            director.crash()
            self._kernel.after(fault.lasts, director.start)
            for archive in lost if fault.amount < 0.7 else ():
                again = archive if fault.amount < 0.5 else self._new_version(archive.name)
                self._resubmit(again, fault.lasts + self._kernel.between(0.5, 100.0))

    def _crash_loop(self, fault: Fault) -> None:
        """Let the director come up and go down again for a while; what it knew is lost with the first time."""
        at = 0.0
        while at < fault.lasts:
            down = self._kernel.between(0.1, 2.0)
            self._kernel.after(at, self._crash)
            self._kernel.after(at + down, self._world.director.start)
            at += down + self._kernel.between(0.1, 10.0)

    def _crash(self) -> None:
        if not self.over:
            self._world.director.crash()

    def _freeze(self, fault: Fault) -> None:
        director = self._world.director
        director.frozen += 1
        self._kernel.after(fault.lasts, self._thaw)

    def _thaw(self) -> None:
        director = self._world.director
        if not self.over:
            director.frozen -= 1
            if not director.frozen:
                director.thaw()

    # --- users

    def _submit(self, submission: Submission) -> None:
        if self.over:
            return
        archive = submission.archive
        if not self._world.director.submit(archive):
            self._kernel.after(5.0, lambda: self._submit(submission))
            return
        self._submitted.append(archive)
        if submission.removed_after is not None:
            self._kernel.after(submission.removed_after, lambda: self._take_away(archive))

    def _take_away(self, archive: Archive) -> None:
        experiment = self._world.director.experiments.get(archive.name)
        if experiment is not None and experiment.archive is archive and not self.over:
            self._world.director.remove(archive.name)

    def _resubmit(self, archive: Archive, delay: float) -> None:
        self._kernel.after(delay, lambda: self._submit(Submission(0.0, archive)))

    def _remove(self, _fault: Fault) -> None:
        for name in list(self._world.director.experiments)[:1]:
            self._world.director.remove(name)

    def _renew(self, fault: Fault) -> None:
        """Submit a new archive under an old name, or one from earlier again."""
        if self._submitted:
            archive = self._kernel.pick(self._submitted)
            self._resubmit(self._new_version(archive.name) if fault.amount < 0.5 else archive, 0.0)

    def _new_version(self, name: str) -> Archive:
        self._versions += 1
        return draw_archive(self._kernel, name, self._versions)

    # --- the machine and its operator

    def _crash_child(self) -> None:
        for child in list(self._world.nursery.alive):
            if not child.asked:
                child.crash()

    def _with_agent(self, action: str) -> None:
        if self._world.agent is not None:
            getattr(self._world.agent, action)()

    def _stop(self, fault: Fault) -> None:
        """Ask for a stop, sometimes again and again."""
        self._with_agent("stop")
        if fault.amount > 0.5:
            for delay in (1.0, 2.0, 5.0):
                self._kernel.after(delay, lambda: self._with_agent("stop"))

    def _abort(self, fault: Fault) -> None:
        self._with_agent("stop")
        self._kernel.after(fault.lasts, lambda: self._with_agent("abort"))

    def _pause(self, fault: Fault) -> None:
        self._with_agent("pause")
        self._kernel.after(fault.lasts, lambda: self._with_agent("resume"))

    def _forget(self, _fault: Fault) -> None:
        """Forget a name that ended here, or one that never came."""
        names = sorted({name for name, _digest in self._world.disk.settled}) or ["never"]
        if self._world.agent is not None:
            self._world.agent.forget(self._kernel.pick(tuple(names)))

    def _break_store(self, fault: Fault) -> None:
        if fault.amount < 0.5:
            self._world.disk.fails_once = True
        else:
            self._count(fault, self._world.disk, "failing")

    def heal(self) -> None:
        """End everything: the director is up, the network sound, the disk writable, and users and operator help."""
        world = self._world
        self.over = True
        self._waiting.clear()
        network, director = world.network, world.director
        network.vanishing = network.rejecting = network.denying = director.refusing = world.site.full = 0
        network.loss = network.slow = network.twice = director.erring = world.starving = 0.0
        world.disk.failing, world.disk.fails_once = 0, False
        world.kills.before = world.kills.after = world.kills.in_commands = None
        world.site.healed, world.shard_broken = True, False
        director.frozen = 0
        director.start()
        director.thaw()
        self._kernel.log("fault", "everything is healed")
        for name, experiment in list(director.experiments.items()):
            if experiment.archive.ending == "hang" or not experiment.archive.counts:
                director.remove(name)
        self._free_stuck()
        self._resume()

    def _resume(self) -> None:
        """The operator resumes what is still paused, also in the next session."""
        if self._world.disk.paused:
            self._with_agent("resume")
            self._kernel.after(20.0, self._resume)

    def _free_stuck(self) -> None:
        """The operator ends processes that hang by themselves, for as long as there are any."""
        if any(child.hangs and not child.asked for child in self._world.nursery.alive):
            self._with_agent("cancel")
        self._kernel.after(20.0, self._free_stuck)
