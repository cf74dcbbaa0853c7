"""One process of the agent: the real core and the real loop, between simulated adapters; and the ways it can die."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedenvoy.commands import (
    CancelActivity,
    CheckHealth,
    Command,
    Deliver,
    DescribeShard,
    Dial,
    DropLink,
    EndRun,
    Fetch,
    Launch,
    Poll,
    Prepare,
    Record,
    WatchOffers,
)
from fedenvoy.core import Core
from fedenvoy.errors import StoreError
from fedenvoy.events import Forget, Message, Problem, Shard, ShardDescription
from fedenvoy.loop import Loop
from fedenvoy_statecharts import Event

from simulation.connection import Connection
from simulation.jobs import Job
from simulation.monitor import Monitor
from simulation.workshop import Workshop

if TYPE_CHECKING:
    from simulation.world import World

__all__ = ["Agent", "Killed", "Kills"]

SHARD = ShardDescription(("8",), ("1",), "numbers")
TWICE = frozenset(
    {
        Event.REGISTRATION_ACCEPTED,
        Event.REGISTRATION_FAILED,
        Event.REGISTRATION_REFUSED,
        Event.LINK_REJECTED,
        Event.HEALTH_CHECKED,
        Event.HEALTH_MISSED,
        Event.DIRECTOR_LOST,
        Event.SHARD_FORGOTTEN,
        Event.EXPERIMENT_OFFERED,
        Event.EXPERIMENT_REOFFERED,
        Event.POLL_FAILED,
        Event.REPORT_DELIVERED,
        Event.REPORT_FAILED,
    }
)
"""The director's answers, which may come twice."""


class Killed(BaseException):
    """kill -9: nothing of the process goes on."""


@dataclass
class Kills:
    """The moments at which the agent is to be killed, counted over all sessions; None: not.

    Attributes:
        before: Just before this record is written.
        after: Just after this record is written, before anything else.
        in_commands: After so many commands from now.
        records: Records written or tried so far.

    """

    before: int | None = None
    after: int | None = None
    in_commands: int | None = None
    records: int = 0

    def at_record(self, *, written: bool) -> None:
        """Die here if this is the moment."""
        if not written:
            self.records += 1
        moment = self.after if written else self.before
        if moment == self.records:
            self.before = self.after = None
            raise Killed

    def at_command(self) -> None:
        """Die here if this is the moment."""
        if self.in_commands is not None:
            self.in_commands -= 1
            if self.in_commands <= 0:
                self.in_commands = None
                raise Killed


class Agent:
    """One session, from its start to the end of its process.

    Attributes:
        session: Its id.
        alive: Whether the process lives.
        loop: The real one.

    """

    def __init__(self, world: World, session: str) -> None:
        kernel, settings = world.kernel, world.schedule.settings
        self.session = session
        self.alive = True
        self._world = world
        self._kernel = kernel
        self._closing: Job | None = None
        core = Core(settings, session=session, now=kernel.now, rng=kernel.rng, carried=world.disk.carried())
        self.loop = Loop(
            core, persist=self._persist, dispatch=self._dispatch, observe=self._observe, clock=lambda: kernel.now
        )
        self._monitor = Monitor(kernel, self._from_monitor, lambda: self.loop.snapshot.training)
        self._connection = Connection(
            kernel=kernel,
            network=world.network,
            settings=settings,
            tell=self.tell,
            monitor=self._monitor,
            count=world.witness.called,
            mute=world.schedule.mute,
        )
        connection = self._connection
        self._workshop = workshop = Workshop(
            kernel=kernel,
            site=world.site,
            nursery=world.nursery,
            settings=settings,
            session=session,
            tell=self.tell,
            link=lambda: connection.link,
        )
        self._activity: Job | None = None
        self._entry = 0
        self._ways: dict[type[Command], Callable[[Any], None]] = {
            DescribeShard: lambda c: self._begin(c, self._describe(c)),
            Poll: lambda c: self._begin(c, connection.poll(c)),
            Fetch: lambda c: self._begin(c, workshop.fetch(c)),
            Prepare: lambda c: self._begin(c, workshop.prepare(c)),
            Launch: lambda c: self._begin(c, workshop.launch(c)),
            Deliver: lambda c: self._begin(c, connection.deliver(c, workshop.wait_over, world.witness.told)),
            Dial: connection.dial,
            DropLink: lambda _c: connection.drop(),
            CheckHealth: connection.check,
            WatchOffers: lambda c: workshop.watch(c.scopes.run, connection.watch(c)),
            CancelActivity: self._cancel,
            EndRun: workshop.end,
        }

    # --- messages

    def tell(self, message: Message, job: Job | None = None) -> None:
        """Post an answer from a thread that looked at its job just before, and may be held up in between."""
        if job is None or not job.cancelled:
            if job is not None:
                job.answered = True
            self._kernel.after(self._world.hold_up(), lambda: self.post(message))

    def _from_monitor(self, message: Message) -> None:
        self.post(message)

    def post(self, message: Message) -> None:
        """Put a message into the mailbox, if there is still somebody to read it."""
        if not self.alive or self.loop.end is not None:
            return
        self.loop.post(message)
        if message.event in TWICE and self._kernel.chance(self._world.network.twice):
            self._kernel.after(
                self._kernel.between(0.0, self._kernel.pick((1.0, 20.0))), lambda: self._post_again(message)
            )

    def _post_again(self, message: Message) -> None:
        if self.alive and self.loop.end is None:
            self.loop.post(message)

    def stop(self) -> None:
        """First signal."""
        self._world.witness.stop_asked(self)
        self.post(Message(event=Event.STOP_REQUESTED))

    def abort(self) -> None:
        """Second signal."""
        self.post(Message(event=Event.ABORT_REQUESTED))

    def cancel(self) -> None:
        """The operator ends the run that is shown to be in hand; the message may come when that one is over."""
        scopes = self.loop.snapshot.scopes
        problem = Problem(event=Event.CANCEL_REQUESTED, scopes=scopes, text=f"run {scopes.run}", code="cancelled")
        self.tell(problem)

    def pause(self) -> None:
        """The operator wants no further experiment."""
        self.post(Message(event=Event.PAUSE_REQUESTED))

    def resume(self) -> None:
        """The operator ends the pause."""
        self.post(Message(event=Event.RESUME_REQUESTED))

    def forget(self, name: str) -> None:
        """The operator wants a name to be taken again."""
        self.post(Forget(event=Event.FORGET_REQUESTED, experiment=name))

    # --- the owner thread

    def pump(self) -> None:
        """Let the owner thread do what is due."""
        if not self.alive or self._closing is not None:
            return
        try:
            self.loop.run_pending()
        except Killed:
            self.die()
            return
        if self.loop.end is not None:
            self._take_down()

    @property
    def next_due(self) -> float | None:
        """When the owner thread's next clock is due."""
        return self.loop.next_due if self.alive and self._closing is None else None

    def _persist(self, record: Record) -> None:
        world = self._world
        world.witness.about_to_write(self, record)
        world.kills.at_record(written=False)
        try:
            world.disk.append(self.session, record)
        except StoreError:
            world.witness.unwritten()
            raise
        world.witness.written(self, record)
        world.kills.at_record(written=True)

    def _observe(self, record: Record) -> None:
        self._world.entered(record)

    def _dispatch(self, command: Command) -> None:
        self._world.witness.commanded(self, command, self._workshop.archive())
        self._ways[type(command)](command)
        self._world.kills.at_command()

    def _begin(self, command: Command, job: Job) -> None:
        self._world.witness.began(self._activity, job)
        self._activity, self._entry = job, command.scopes.entry

    def _cancel(self, command: CancelActivity) -> None:
        if self._activity is not None and self._entry == command.scopes.entry:
            self._activity.cancel()
            self._activity = None

    def _describe(self, command: DescribeShard) -> Job:
        job = Job("describe")

        def described() -> None:
            if self._world.shard_broken:
                text = "the shard descriptor cannot be constructed"
                self.tell(Problem(event=Event.SHARD_UNUSABLE, scopes=command.scopes, text=text), job)
            else:
                self.tell(Shard(event=Event.SHARD_DESCRIBED, scopes=command.scopes, description=SHARD), job)

        self._kernel.after(self._kernel.between(0.1, 2.0), described)
        return job

    # --- the end

    def die(self) -> None:
        """kill -9: its connections break, and the guards of its children mostly notice."""
        if self.alive:
            self.alive = False
            self._kernel.log("agent", "%s is killed", self.session)
            self._world.witness.killed()
            self._connection.drop()
            self._workshop.abandon()
            for child in self._world.nursery.alive:
                if child.session == self.session and self._kernel.chance(0.8):
                    child.ask()
            self._world.gone(self)

    def _take_down(self) -> None:
        """Take the parts down in order, and end the process when nothing of its children is left."""
        self._closing = Job("closing")
        self._world.witness.closing()
        if self._activity is not None:
            self._activity.cancel()
        self._connection.drop()
        self._workshop.close()
        self._wait_for_children()

    def _wait_for_children(self) -> None:
        if not self.alive:
            return
        if any(child.session == self.session for child in self._world.nursery.alive):
            self._kernel.after(0.25, self._wait_for_children)
            return
        self.alive = False
        end = self.loop.end
        assert end is not None
        self._kernel.log("agent", "%s has ended: %s, %s", self.session, end.code.name, end.text)
        self._world.gone(self)
