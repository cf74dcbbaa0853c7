"""Strategies for the messages that reach the agent's core, each with the payload that its event has.

For tests that stand where the agent's parts meet: an observer, a journal reader, a core with another chart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedenvoy_statecharts import SCOPES, Event
from hypothesis import strategies as st

from fedenvoy.events import (
    Approved,
    DeviceReading,
    Forget,
    Health,
    Message,
    Named,
    Offer,
    Problem,
    RunEnded,
    Scopes,
    Shard,
    ShardDescription,
)

__all__ = ["PAYLOADS", "descriptions", "messages", "messages_of", "numbers", "readings"]

PAYLOADS: Mapping[Event, type[Message]] = {
    Event.SHARD_DESCRIBED: Shard,
    Event.SHARD_UNUSABLE: Problem,
    Event.REGISTRATION_FAILED: Problem,
    Event.REGISTRATION_REFUSED: Problem,
    Event.LINK_REJECTED: Problem,
    Event.HEALTH_CHECKED: Health,
    Event.HEALTH_MISSED: Problem,
    Event.DIRECTOR_LOST: Problem,
    Event.SHARD_FORGOTTEN: Problem,
    Event.EXPERIMENT_OFFERED: Offer,
    Event.EXPERIMENT_REOFFERED: Offer,
    Event.POLL_FAILED: Problem,
    Event.EXPERIMENT_WITHDRAWN: Problem,
    Event.FETCH_INTERRUPTED: Problem,
    Event.EXPERIMENT_UNUSABLE: Problem,
    Event.PLAN_APPROVED: Approved,
    Event.PLAN_REJECTED: Problem,
    Event.REQUIREMENTS_FAILED: Problem,
    Event.TRAINING_FINISHED: RunEnded,
    Event.TRAINING_FAILED: Problem,
    Event.CANCEL_REQUESTED: Problem,
    Event.FORGET_REQUESTED: Forget,
    Event.REPORT_FAILED: Problem,
    Event.STORE_FAILED: Problem,
}
"""The class of message that each event comes with; the events that are not named come as a plain `Message`."""

EXPERIMENTS = ("exp-1", "exp-2")
CODES = ("", "UNAVAILABLE", "DEADLINE_EXCEEDED", "CUT", "timeout", "exit 3", "signal 9", "disk", "network", "plan")
LONGEST_PERIOD = 3600.0


def numbers() -> st.SearchStrategy[Scopes]:
    """Give a strategy of numbers as they are early in a session."""
    number = st.integers(0, 20)
    return st.builds(Scopes, entry=number, run=number, link=number)


def messages(
    event: Event | None = None,
    *,
    scopes: Scopes | st.SearchStrategy[Scopes] | None = None,
    experiments: Sequence[str] = EXPERIMENTS,
) -> st.SearchStrategy[Message]:
    """Give a strategy of messages.

    Args:
        event: What they tell; None: any event that can happen in a session.
        scopes: The numbers they carry; None: any.
        experiments: The names that offers are drawn from.

    """
    if event is None:
        return st.sampled_from(list(SCOPES)).flatmap(lambda one: messages(one, scopes=scopes, experiments=experiments))
    carried = numbers() if scopes is None else st.just(scopes) if isinstance(scopes, Scopes) else scopes
    kind = PAYLOADS.get(event, Message)
    return st.builds(kind, event=st.just(event), scopes=carried, **_payload(kind, experiments))


def messages_of(kind: type[Message]) -> st.SearchStrategy[Message]:
    """Give a strategy of messages of one class, with the events that come in it; of the base: of all messages."""
    if kind is Message:
        return messages()
    return st.sampled_from([event for event, one in PAYLOADS.items() if one is kind]).flatmap(messages)


def _payload(kind: type[Message], experiments: Sequence[str]) -> dict[str, st.SearchStrategy[Any]]:
    if issubclass(kind, Named):
        return {"experiment": st.sampled_from(experiments)}
    words = st.text(max_size=40)
    parts: dict[type[Message], dict[str, st.SearchStrategy[Any]]] = {
        Shard: {"description": descriptions()},
        Health: {
            "period": st.floats(1.0, LONGEST_PERIOD),
            "latency": st.floats(0.0, 10.0),
            "readings": st.lists(readings(), max_size=2).map(tuple),
        },
        Approved: {
            "digest": digests(),
            "engine": st.sampled_from(("callable", "openfl")),
            "install": st.booleans(),
            "reviewer": words,
            "lock": st.just("") | digests(),
            "policy": st.just("") | digests(),
        },
        RunEnded: {
            "metrics": st.dictionaries(st.text(min_size=1, max_size=10), st.floats(allow_infinity=False), max_size=3)
        },
        Problem: {"text": words, "code": st.sampled_from(CODES), "detail": words, "digest": st.just("") | digests()},
    }
    return parts.get(kind, {})


def digests() -> st.SearchStrategy[str]:
    """Give a strategy of SHA-256 digests, hexadecimal."""
    return st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}")


def descriptions() -> st.SearchStrategy[ShardDescription]:
    """Give a strategy of shards, as the director is told of them."""
    shape = st.lists(st.integers(1, 4096).map(str), min_size=1, max_size=3).map(tuple)
    return st.builds(ShardDescription, sample_shape=shape, target_shape=shape, description=st.text(max_size=40))


def readings() -> st.SearchStrategy[DeviceReading]:
    """Give a strategy of readings of one GPU."""
    return st.builds(
        DeviceReading,
        index=st.integers(0, 15),
        memory_total=st.integers(0, 2**40),
        memory_utilized=st.integers(0, 2**40),
        device_utilization=st.integers(0, 100).map(lambda percent: f"{percent}%"),
        cuda_driver_version=st.just("550.54.15"),
        cuda_version=st.just("12.4"),
        name=st.just("NVIDIA A100-SXM4-40GB"),
    )
