"""Drives a core by hand: stamps each message with the present numbers, and keeps what the core asked for."""

from __future__ import annotations

import random

from fedenvoy.commands import Command, Persist, Record
from fedenvoy.config import AgentSettings
from fedenvoy.core import CarriedOver, Core
from fedenvoy.events import Approved, Forget, Health, Message, Offer, Problem, Shard, ShardDescription
from fedenvoy_statecharts import Event, State

SHARD = ShardDescription(("8",), ("1",), "numbers")
PROBLEMS = {
    Event.SHARD_UNUSABLE,
    Event.REGISTRATION_FAILED,
    Event.REGISTRATION_REFUSED,
    Event.LINK_REJECTED,
    Event.HEALTH_MISSED,
    Event.DIRECTOR_LOST,
    Event.SHARD_FORGOTTEN,
    Event.POLL_FAILED,
    Event.FETCH_INTERRUPTED,
    Event.EXPERIMENT_UNUSABLE,
    Event.PLAN_REJECTED,
    Event.REQUIREMENTS_FAILED,
    Event.TRAINING_FAILED,
    Event.CANCEL_REQUESTED,
    Event.REPORT_FAILED,
    Event.REPORT_UNDELIVERABLE,
}


class Driver:
    """A core with a hand-turned clock."""

    def __init__(self, settings: AgentSettings | None = None, carried: CarriedOver | None = None) -> None:
        self.now = 1000.0
        self.core = Core(settings or AgentSettings(), session="s", now=self.now, rng=random.Random(7), carried=carried)
        self.records: list[Record] = []
        self.asked: list[Command] = []
        self._take(self.core.start(self.now))

    def _take(self, commands: tuple[Command, ...]) -> tuple[Command, ...]:
        for position, command in enumerate(commands):
            assert isinstance(command, Persist) == (position == 0), "the record comes first, and once"
        if commands:
            assert isinstance(commands[0], Persist)
            self.records.append(commands[0].record)
        self.asked = list(commands[1:])
        return commands

    def message(self, event: Event, *, name: str = "exp", install: bool = False) -> Message:  # noqa: PLR0911
        """Build a current message of the class that the event has."""
        scopes = self.core.snapshot().scopes
        if event is Event.SHARD_DESCRIBED:
            return Shard(event=event, scopes=scopes, description=SHARD)
        if event is Event.HEALTH_CHECKED:
            return Health(event=event, scopes=scopes, period=5.0)
        if event in {Event.EXPERIMENT_OFFERED, Event.EXPERIMENT_REOFFERED}:
            return Offer(event=event, scopes=scopes, experiment=name)
        if event is Event.PLAN_APPROVED:
            return Approved(event=event, scopes=scopes, digest="d" * 64, engine="callable", install=install)
        if event is Event.FORGET_REQUESTED:
            return Forget(event=event, experiment=name)
        if event in PROBLEMS:
            return Problem(event=event, scopes=scopes, text=f"{event} happened", code="X", digest="d" * 64)
        return Message(event=event, scopes=scopes)

    def feed(self, *events: Event, name: str = "exp", install: bool = False) -> State:
        """Let current events happen one after another; give the state."""
        for event in events:
            self._take(self.core.handle(self.message(event, name=name, install=install), self.now))
        return self.core.state

    def send(self, message: Message) -> State:
        """Let one message happen as it is."""
        self._take(self.core.handle(message, self.now))
        return self.core.state

    def asked_for(self, kind: type[Command]) -> Command:
        """Give the one command of a kind that the last step asked for."""
        (found,) = [command for command in self.asked if type(command) is kind]
        return found

    def to_idle(self) -> Driver:
        assert self.feed(Event.SHARD_DESCRIBED, Event.REGISTRATION_ACCEPTED, Event.HEALTH_CHECKED) is State.IDLE
        return self

    def to_training(self) -> Driver:
        self.to_idle()
        assert self.feed(Event.EXPERIMENT_OFFERED, Event.PLAN_APPROVED) is State.TRAINING
        return self

    def to_reporting(self) -> Driver:
        self.to_training()
        assert self.feed(Event.TRAINING_FAILED) is State.REPORTING
        return self
