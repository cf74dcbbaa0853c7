"""What must never be true of a configuration, by property."""

from __future__ import annotations

from collections.abc import Iterator

from fedenvoy_statecharts.checks.parts import (
    ABSENCE_CLOCK,
    CHECKS,
    DELIVERY,
    DESCRIPTION,
    DIAL,
    FETCH,
    INSTALLATION,
    ORPHAN_CLOCK,
    POLL,
    PROCESS,
    REPORT_CLOCK,
    STOP_CLOCK,
    WATCH,
    Part,
)
from fedenvoy_statecharts.checks.world import Clock, Config
from fedenvoy_statecharts.vocabulary import BUSY, WAITING, State

__all__ = ["wrong"]

_OWN: dict[State, tuple[Part, ...]] = {
    State.DISCONNECTED: (DESCRIPTION, DIAL),
    State.REGISTERED: (CHECKS,),
    State.IDLE: (POLL,),
    State.REVIEWING_PLAN: (FETCH,),
    State.INSTALLING_REQUIREMENTS: (INSTALLATION,),
    State.TRAINING: (PROCESS,),
    State.REPORTING: (DELIVERY,),
}
"""What must run in each state."""

_PLACE: dict[Part, State] = {
    DESCRIPTION: State.DISCONNECTED,
    POLL: State.IDLE,
    REPORT_CLOCK: State.IDLE,
    FETCH: State.REVIEWING_PLAN,
    INSTALLATION: State.INSTALLING_REQUIREMENTS,
    PROCESS: State.TRAINING,
    DELIVERY: State.REPORTING,
}
"""What may run in one state only."""


def wrong(config: Config) -> Iterator[tuple[int, str]]:
    """Give the properties that a configuration breaks, and how."""
    if config.state is State.STOPPED:
        return
    yield from _run(config)
    yield from _stop(config)
    yield from _activity(config)
    yield from _link(config)
    yield from _prospects(config)


def _run(config: Config) -> Iterator[tuple[int, str]]:
    if (config.run > 0) is not (config.state in BUSY):
        yield 6, f"{config.state} with {'a' if config.run else 'no'} run in hand"


def _stop(config: Config) -> Iterator[tuple[int, str]]:
    if config.asked and config.state in WAITING:
        yield 8, f"a stop was asked for, and the agent goes on in {config.state}"
    if config.asked is not config.stopping:
        yield 8, f"a stop was asked for: {config.asked}; the agent knows of one: {config.stopping}"
    clock = Clock.DRAIN if config.state is State.TRAINING else Clock.DELIVERY
    if config.asked and not (config.runs(STOP_CLOCK) and config.clock == clock):
        yield 8, f"a stop was asked for, and no clock of its own bounds {config.state}"


def _activity(config: Config) -> Iterator[tuple[int, str]]:
    if not any(config.runs(part) for part in _OWN[config.state]):
        yield 11, f"{config.state}, and nothing runs there"
    for part, place in _PLACE.items():
        if config.runs(part) and config.state is not place:
            yield 11, f"{part.name} runs in {config.state}"


def _link(config: Config) -> Iterator[tuple[int, str]]:
    if config.state in {State.REGISTERED, State.IDLE} and not config.link_up:
        yield 9, f"{config.state} without a registration on this link"
    if config.link_up and not config.runs(CHECKS):
        yield 9, "the link counts as up and nobody checks it"


def _prospects(config: Config) -> Iterator[tuple[int, str]]:
    """12: what would have to go on is going on."""
    if config.state is State.IDLE and config.outbox and not config.runs(REPORT_CLOCK):
        yield 12, "a report waits and no clock wakes Idle for it"
    if not config.link_up and not any(config.runs(part) for part in (DESCRIPTION, DIAL, DELIVERY)):
        yield 12, "the link is down and nobody dials"
    if config.run and not config.link_up and not (config.runs(ABSENCE_CLOCK) or config.runs(ORPHAN_CLOCK)):
        yield 12, "a run goes on without a director, and no clock could end it"
    if config.link_up and config.runs(ABSENCE_CLOCK):
        yield 12, "the director is there, and the clock of its absence runs"
    if config.link_up and config.runs(ORPHAN_CLOCK) and not config.runs(WATCH):
        yield 12, "the orphan clock runs, and nobody watches whether the run is offered again"
