"""Teaches Hypothesis the agent's types: `st.from_type(Event)`, `st.from_type(Message)` work once both are installed.

Loaded by Hypothesis itself, through the entry-point group `hypothesis`, when somebody imports Hypothesis; so it must be
quick, and it loads nothing of the agent but its words and messages. Types are all that is registered. What is drawn is
looked up when something is drawn: the kit itself may be what imports Hypothesis, and is half loaded then.
"""

from __future__ import annotations

from types import ModuleType

from fedenvoy_statecharts import LIFECYCLE, Condition, Effect, Event, Guard, Row, Scope, State

from fedenvoy.events import (
    Approved,
    DeviceReading,
    Health,
    Message,
    Offer,
    Problem,
    RunEnded,
    Scopes,
    Shard,
    ShardDescription,
)

__all__ = ["register"]


def register() -> None:
    """Register a strategy for each type; what Hypothesis calls."""
    from hypothesis import strategies as st  # noqa: PLC0415 - see above

    for words in (Event, State, Guard, Effect, Scope):
        st.register_type_strategy(words, st.sampled_from(words))
    st.register_type_strategy(Row, st.sampled_from(LIFECYCLE.rows))
    st.register_type_strategy(Condition, st.builds(Condition, st.sampled_from(Guard), st.booleans()))
    st.register_type_strategy(Scopes, lambda _: _payloads().numbers())
    st.register_type_strategy(ShardDescription, lambda _: _payloads().descriptions())
    st.register_type_strategy(DeviceReading, lambda _: _payloads().readings())
    for kind in (Message, Approved, Health, Offer, Problem, RunEnded, Shard):
        st.register_type_strategy(kind, lambda kind: _payloads().messages_of(kind))


def _payloads() -> ModuleType:
    from fedenvoy.testing import payloads  # noqa: PLC0415 - see above

    return payloads
