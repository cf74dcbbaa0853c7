"""Journal records as the core makes them, for tests of what keeps them."""

from __future__ import annotations

from fedenvoy.commands import Record, Report, Verdict
from fedenvoy_statecharts import Event, State

REPORT = Report(id="s-1", experiment="exp", verdict=Verdict.FAILED, code=1, text="boom", digest="d" * 64)


def record(number: int = 1, **changes: object) -> Record:
    """A training that failed, or whatever the changes say."""
    fields: dict[str, object] = {
        "number": number,
        "entry": 2,
        "run": 1,
        "link": 1,
        "row": "R17",
        "source": State.TRAINING,
        "event": Event.TRAINING_FAILED,
        "target": State.REPORTING,
        "experiment": "exp",
        "cause": "boom",
    }
    return Record(**(fields | changes))  # type: ignore[arg-type]


def started() -> Record:
    """The first record of a session."""
    return record(1, source=None, event=Event.STARTED, target=State.DISCONNECTED, run=0, experiment="", cause="")


def training(number: int = 2, **changes: object) -> Record:
    """A training begins."""
    told: dict[str, object] = {"source": State.REVIEWING_PLAN, "event": Event.PLAN_APPROVED, "target": State.TRAINING}
    return record(number, **(told | {"cause": "accepted", "digest": "e" * 64} | changes))


def ended(number: int, source: State = State.IDLE, event: Event = Event.STOP_REQUESTED, **changes: object) -> Record:
    """The last record of a session."""
    told: dict[str, object] = {"source": source, "event": event, "target": State.STOPPED, "cause": ""}
    if source is State.IDLE:
        told |= {"run": 0, "experiment": ""}
    return record(number, **(told | changes))
