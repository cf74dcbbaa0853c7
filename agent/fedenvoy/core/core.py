"""The core: takes one message at a time, asks the machine, and answers with what must be done.

The order inside one step is the product's promise: a stale event is dropped; the machine settles; the effects change
the agent's data and gather commands; and the first command is always the record, so that whoever carries the commands
out has the journal written before anything can be seen from outside.
"""

from __future__ import annotations

import random

from fedenvoy_statecharts import LIFECYCLE, SCOPES, Chart, Effect, Event, Row, State

from fedenvoy.commands import Arm, CancelActivity, Command, Persist, Record
from fedenvoy.config import AgentSettings
from fedenvoy.core.effects import perform
from fedenvoy.core.guards import Question, answer
from fedenvoy.core.snapshot import CarriedOver, Snapshot
from fedenvoy.core.state import Data, Link
from fedenvoy.core.step import Step
from fedenvoy.events import Message
from fedenvoy.machine import LifecycleMachine

__all__ = ["Core"]


class Core:
    """The agent's decisions, without any I/O.

    Args:
        settings: What the site wants.
        session: Id of this session, unique on this machine.
        now: Monotonic seconds.
        rng: Where the chance of back-off comes from; seed it to repeat a run exactly.
        carried: What an earlier session left on disk.
        chart: The chart to follow.

    """

    def __init__(
        self,
        settings: AgentSettings,
        *,
        session: str,
        now: float,
        rng: random.Random | None = None,
        carried: CarriedOver | None = None,
        chart: Chart = LIFECYCLE,
    ) -> None:
        self._settings = settings
        self._session = session
        self._rng = rng or random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._machine = LifecycleMachine(chart)
        self._data = Data(link=Link(down_since=now))
        self._records = 0
        self._since = self._now = now
        self._take_over(carried or CarriedOver(), now)

    def _take_over(self, carried: CarriedOver, now: float) -> None:
        self._data.paused = carried.paused
        for report in carried.reports:
            self._data.enqueue(report, now)
        for experiment, digest in carried.settled:
            memory = self._data.memory_of(experiment)
            memory.digests.add(digest)
            memory.rest(now, "failed or was rejected in an earlier session")

    @property
    def state(self) -> State:
        """The settled state."""
        return self._machine.state

    @property
    def ended(self) -> bool:
        """Whether the session is over."""
        return self.state in self._machine.chart.final

    def snapshot(self) -> Snapshot:
        """Give an immutable picture of the agent, for other threads."""
        data = self._data
        return Snapshot(
            state=self.state,
            since=self._since,
            experiment=data.run.experiment if data.run else "",
            scopes=data.scopes,
            link_up=data.link.up,
            stopping=data.stopping,
            outbox=len(data.outbox),
            contact=data.link.contact,
            latency=data.link.latency,
            stale=data.stale,
            period=data.link.period,
            misses=data.link.misses,
            paused=data.paused,
            declined=data.declined(self._now),
            retry_at=data.retry_at,
        )

    def is_current(self, message: Message) -> bool:
        """Whether the numbers that the message's event is judged by are the present ones."""
        return message.scopes.current(self._data.scopes, SCOPES[message.event])

    def wants(self, command: Command) -> bool:
        """Whether a command that waited is still to be carried out."""
        return command.scopes.current(self._data.scopes, command.scope)

    def start(self, now: float) -> tuple[Command, ...]:
        """Begin the session: the first record, and the first activity."""
        initial = self._machine.chart.initial
        step = self._step(Message(event=Event.STARTED), now)
        self._data.entry = 1
        self._run_effects(initial.effects, step)
        return self._finish(step, row=None, source=None)

    def handle(self, message: Message, now: float) -> tuple[Command, ...]:
        """Take one message.

        Args:
            message: What happened.
            now: Monotonic seconds; never less than at the last call.

        Returns:
            The commands in the order in which they must be carried out, `Persist` first; empty when the event is
            stale or the chart ignores it here.

        """
        if not self.is_current(message):
            self._data.stale += 1
            return ()
        question = Question(message, self._data, self._settings, now)
        source = self.state
        row = self._machine.fire(message.event, answer(question))
        if row is None:
            return ()
        step = self._step(message, now)
        if not row.internal:
            self._enter(source, step)
        self._run_effects(row.effects, step)
        return self._finish(step, row=row, source=source)

    def _step(self, message: Message, now: float) -> Step:
        step = Step(message, self._data, self._settings, self._rng, now, self._session)
        if self._data.run is not None:
            step.experiment, step.run = self._data.run.experiment, self._data.run.number
        return step

    def _enter(self, source: State, step: Step) -> None:
        """Leave a state: its activity is cancelled. Enter the next: a new number makes late answers stale."""
        step.ask(CancelActivity(scopes=self._data.scopes, state=source))
        self._data.entry += 1
        self._since = step.now

    @staticmethod
    def _run_effects(effects: tuple[object, ...], step: Step) -> None:
        for effect in effects:
            assert isinstance(effect, Effect)
            perform(effect, step)

    def _finish(self, step: Step, *, row: Row | None, source: State | None) -> tuple[Command, ...]:
        """Write the record of the step and put it before everything else."""
        self._records += 1
        data = self._data
        if self.state is not State.REPORTING:
            data.delivering = ""
        self._now = step.now
        if row is None or not row.internal:
            data.retry_at = None
        for command in step.commands:
            if command.delay and not isinstance(command, Arm):
                data.retry_at = step.now + command.delay
        scopes = data.scopes
        # A step that ends a run is still that run's.
        run = scopes.run or step.run
        record = Record(
            number=self._records,
            entry=scopes.entry,
            run=run,
            link=scopes.link,
            row=self._machine.row_id(row) if row else "",
            source=source,
            event=step.message.event,
            target=self.state,
            internal=row is not None and row.internal,
            experiment=step.experiment,
            digest=data.run.digest if data.run else step.digest,
            attempt=step.attempt,
            cause=step.cause or step.message.cause,
            report=step.report,
            settled=step.settled,
            delivered=step.delivered,
            outcome=step.outcome,
            paused=step.paused,
            forgotten=step.forgotten,
        )
        return (Persist(record=record), *step.commands)
